//! How far the body of a message goes (RFC 9112, section 6), and what of it has come. Pure functions over bytes that
//! were read: knows no sockets.

use crate::fields::{fields, has_bare_line_feed};
use crate::reading::READ;
use bytes::{Buf, Bytes};
use http::header::HeaderMap;
use httparse::Status;
use hyper::body::SizeHint;
use std::mem;

/// The longest line before a chunk, in bytes, and the longest trailers: those of others are as short.
const LONGEST_LINE: usize = 16 * 1024;

/// How many bytes the lines before a body's chunks may say besides, all together, beyond [`FREE`] for each of them and as
/// many as the chunks themselves have: more is work that moves no body.
const MOST_BESIDES: u64 = 16 * 1024;

/// How many bytes the line before a chunk may have at no charge.
const FREE: u64 = 16;

/// How many fields trailers may have.
const MOST_TRAILERS: usize = 100;

/// The largest read of a body whose length is known, in bytes.
const LARGEST_READ: usize = 64 * 1024;

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a chunk of a body is malformed")]
    Chunk,
    #[error("the connection ended before a body did")]
    Incomplete,
}

/// What of a body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// So many bytes.
    Sized(u64),
    /// Chunks.
    Chunked(Chunks),
    /// All that comes until the connection ends.
    ToEnd,
}

/// A body of chunks on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunks {
    due: Chunk,
    /// How many bytes the lines so far have said besides.
    besides: u64,
}

/// What is due in a body of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// The line that says how long the next one is.
    Size,
    /// So many bytes of one.
    Data(u64),
    /// The line break behind one.
    Break,
    /// Trailers, or the empty line in their place.
    Trailers,
    /// Nothing more.
    Over,
}

/// A part of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Extent {
    /// Chunks, of which nothing has come.
    pub(crate) const CHUNKED: Self = Self::Chunked(Chunks { due: Chunk::Size, besides: 0 });

    /// There is none, or all of it has come.
    pub(crate) const fn is_over(self) -> bool {
        matches!(self, Self::Sized(0) | Self::Chunked(Chunks { due: Chunk::Over, .. }))
    }

    /// How much to read of it: with some to spare, for a read that leaves room has found all there was.
    pub(crate) fn room(self) -> usize {
        match self {
            Self::Sized(left) | Self::Chunked(Chunks { due: Chunk::Data(left), .. }) => {
                usize::try_from(left).unwrap_or(LARGEST_READ).saturating_add(READ / 8).min(LARGEST_READ)
            }
            Self::Chunked(_) | Self::ToEnd => READ,
        }
    }

    /// How much of it is to come, where that is known.
    pub(crate) fn size_hint(self) -> SizeHint {
        match self {
            Self::Sized(left) => SizeHint::with_exact(left),
            Self::Chunked(_) | Self::ToEnd => SizeHint::default(),
        }
    }

    /// The connection's end ends it as well.
    pub(crate) fn ended(&mut self) -> Result<(), Malformed> {
        match self {
            Self::ToEnd => *self = Self::Sized(0),
            _ => return Err(Malformed::Incomplete),
        }
        Ok(())
    }

    /// Takes the next part from the front of `read`; `None`: all of what is there was taken, or what is left needs
    /// more behind it to make sense.
    pub(crate) fn take(&mut self, read: &mut Bytes) -> Result<Option<Part>, Malformed> {
        match self {
            Self::Sized(left) => Ok(take_data(read, left)),
            Self::ToEnd => Ok((!read.is_empty()).then(|| Part::Data(mem::take(read)))),
            Self::Chunked(chunks) => chunks.take(read),
        }
    }
}

impl Chunks {
    fn take(&mut self, read: &mut Bytes) -> Result<Option<Part>, Malformed> {
        loop {
            match &mut self.due {
                Chunk::Size => match size(read)? {
                    None => return Ok(None),
                    Some((size, line)) => self.begin(size, line)?,
                },
                Chunk::Data(left) => {
                    let data = take_data(read, left);
                    if *left == 0 {
                        self.due = Chunk::Break;
                        // What is known of the end is seen together with the last of the data.
                        self.look_ahead(read);
                    }
                    return Ok(data);
                }
                Chunk::Break => match read.as_ref() {
                    [b'\r', b'\n', ..] => {
                        read.advance(2);
                        self.due = Chunk::Size;
                    }
                    [] | [b'\r'] => return Ok(None),
                    _ => return Err(Malformed::Chunk),
                },
                Chunk::Trailers => {
                    let trailers = trailers(read)?;
                    if trailers.is_some() {
                        self.due = Chunk::Over;
                    }
                    return Ok(trailers.filter(|trailers| !trailers.is_empty()).map(Part::Trailers));
                }
                Chunk::Over => return Ok(None),
            }
        }
    }

    /// A chunk of this `size` begins, as a `line` of so many bytes has said.
    fn begin(&mut self, size: u64, line: u64) -> Result<(), Malformed> {
        self.besides = (self.besides + line).saturating_sub(size.saturating_add(FREE));
        if self.besides > MOST_BESIDES {
            return Err(Malformed::Chunk);
        }
        self.due = if size == 0 { Chunk::Trailers } else { Chunk::Data(size) };
        Ok(())
    }

    /// Is over if the end without trailers is what comes next.
    fn look_ahead(&mut self, read: &mut Bytes) {
        const END: &[u8] = b"\r\n0\r\n\r\n";
        if read.starts_with(END) {
            read.advance(END.len());
            self.due = Chunk::Over;
        }
    }
}

fn take_data(read: &mut Bytes, left: &mut u64) -> Option<Part> {
    let here = usize::try_from(*left).map_or(read.len(), |left| left.min(read.len()));
    *left -= here as u64;
    (here > 0).then(|| Part::Data(read.split_to(here)))
}

/// Takes the line that says how long a chunk is: that length, and the line's own. What it says besides means nothing here.
fn size(read: &mut Bytes) -> Result<Option<(u64, u64)>, Malformed> {
    let Some(end) = read.iter().take(LONGEST_LINE).position(|&byte| byte == b'\n') else {
        let may_go_on = read.len() < LONGEST_LINE && !read[..read.len().saturating_sub(1)].contains(&b'\r');
        return if may_go_on { Ok(None) } else { Err(Malformed::Chunk) };
    };
    let size = read[..end].strip_suffix(b"\r").and_then(|line| {
        let (digits, extension) =
            line.split_at(line.iter().position(|&byte| byte == b';').unwrap_or(line.len()));
        let is_text = |&byte: &u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        hexadecimal(digits).filter(|_| extension.iter().all(is_text))
    });
    let line = end + 1;
    read.advance(line);
    size.map(|size| Some((size, line as u64))).ok_or(Malformed::Chunk)
}

/// The number that `text` is in hexadecimal digits, with blanks behind them or none.
fn hexadecimal(text: &[u8]) -> Option<u64> {
    let blanks = text.iter().rev().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
    let digits = &text[..text.len() - blanks];
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    all_digits.then(|| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())?
}

/// Takes trailers, once they are whole.
fn trailers(read: &mut Bytes) -> Result<Option<HeaderMap>, Malformed> {
    // As nearly all bodies end.
    if read.starts_with(b"\r\n") {
        read.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let mut found = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    let (length, trailers) = match httparse::parse_headers(read, &mut found) {
        Ok(Status::Complete((length, found))) if length <= LONGEST_LINE => {
            let sound = !has_bare_line_feed(&read[..length]);
            let (trailers, _) = fields(read, found, 0).filter(|_| sound).ok_or(Malformed::Chunk)?;
            (length, trailers.into())
        }
        Ok(Status::Partial) if read.len() <= LONGEST_LINE => return Ok(None),
        Ok(_) | Err(_) => return Err(Malformed::Chunk),
    };
    read.advance(length);
    Ok(Some(trailers))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;

    /// What comes of a body that arrives in pieces of `cut` bytes: its data, its trailers, what is left over.
    fn read(
        extent: Extent,
        bytes: &[u8],
        cut: usize,
    ) -> Result<(Vec<u8>, HeaderMap, Extent, Vec<u8>), Malformed> {
        let (mut extent, mut data, mut trailers) = (extent, Vec::new(), HeaderMap::new());
        let mut buffer = Vec::new();
        for piece in bytes.chunks(cut) {
            buffer.extend_from_slice(piece);
            let mut read = Bytes::from(std::mem::take(&mut buffer));
            while let Some(part) = extent.take(&mut read)? {
                match part {
                    Part::Data(part) => data.extend_from_slice(&part),
                    Part::Trailers(part) => trailers = part,
                }
            }
            buffer = read.to_vec();
        }
        Ok((data, trailers, extent, buffer))
    }

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        let chunked =
            b"0000000000000000005;x=y\r\nhello\r\nA \r\n0123456789\r\n0\r\nt: u\r\n\r\nmore".as_slice();
        for cut in 1..=chunked.len() {
            let (data, trailers, extent, rest) = read(Extent::CHUNKED, chunked, cut).unwrap();
            assert_eq!((data.as_slice(), rest.as_slice()), (&b"hello0123456789"[..], &b"more"[..]), "{cut}");
            assert!(trailers["t"] == "u" && extent.is_over());
            let (data, _, extent, rest) = read(Extent::Sized(5), b"hellomore", cut.min(9)).unwrap();
            assert_eq!(
                (data.as_slice(), rest.as_slice(), extent.is_over()),
                (&b"hello"[..], &b"more"[..], true)
            );
            let (data, _, mut extent, _) = read(Extent::ToEnd, b"hello", cut.min(5)).unwrap();
            assert_eq!((data.as_slice(), extent.is_over()), (&b"hello"[..], false));
            extent.ended().unwrap();
            assert!(extent.is_over());
        }
    }

    #[test]
    fn the_end_is_known_with_the_last_of_the_data() {
        let mut bytes = Bytes::from_static(b"2\r\nok\r\n0\r\n\r\n");
        let mut extent = Extent::CHUNKED;
        assert_eq!(extent.take(&mut bytes), Ok(Some(Part::Data(Bytes::from_static(b"ok")))));
        assert!(extent.is_over() && bytes.is_empty());
    }

    #[test]
    fn chunks_that_two_readers_could_read_differently_are_nonsense() {
        let long = format!("1;{}\r\n", "x".repeat(LONGEST_LINE));
        let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(MOST_TRAILERS + 1));
        let endless = format!("0\r\na: {}", "b".repeat(LONGEST_LINE));
        for bad in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            "1\n",
            "1\rx",
            "1;\n\r\n",
            "1;a\rb\r\n",
            "1;\0\r\n",
            "1\x0b\r\n",
            "1 1\r\n",
            "1\r\r\n",
            " 1\r\n",
            "11112222333344445\r\n",
            "2\r\nokX\r\n",
            "2\r\nok\n",
            "0\r\na b: c\r\n\r\n",
            "0\r\n: c\r\n\r\n",
            "0\r\na: b\r\n c\r\n\r\n",
            "0\r\na: b\n\r\n",
            "0\r\na: b\r\n\n",
            "0\r\n\n",
            "2\r\nok\r0\r\n\r\n",
            &long,
            &many,
            &endless,
        ] {
            for cut in [bad.len().div_ceil(16), bad.len()] {
                assert_eq!(
                    read(Extent::CHUNKED, bad.as_bytes(), cut),
                    Err(Malformed::Chunk),
                    "{:?} cut into {cut}",
                    &bad[..bad.len().min(40)]
                );
            }
        }
    }

    #[test]
    fn only_what_goes_to_the_end_ends_with_the_connection() {
        let trailers = Extent::Chunked(Chunks { due: Chunk::Trailers, besides: 0 });
        for mut extent in [Extent::Sized(1), Extent::CHUNKED, trailers] {
            assert_eq!(extent.ended(), Err(Malformed::Incomplete));
        }
    }

    #[test]
    fn lines_before_chunks_say_no_more_than_the_body_is_worth() {
        let chunks = |count: usize, data: usize, besides: usize| {
            let chunk = format!("{data:x};{}\r\n{}\r\n", "x".repeat(besides), "y".repeat(data));
            read(Extent::CHUNKED, (chunk.repeat(count) + "0\r\n\r\n").as_bytes(), usize::MAX)
        };
        // A signature for each of many chunks is no more than they are.
        let (data, ..) = chunks(500, 100, 100).unwrap();
        assert_eq!(data.len(), 50_000);
        assert!(chunks(16, 1, 1000).is_ok());
        for (count, data, besides) in [(17, 1, 1000), (2000, 1, 30), (3, 1, 8000)] {
            assert_eq!(chunks(count, data, besides), Err(Malformed::Chunk), "{count} {data} {besides}");
        }
        let zeros = format!("{}1\r\nx\r\n", "0".repeat(1000)).repeat(17);
        assert_eq!(read(Extent::CHUNKED, zeros.as_bytes(), usize::MAX), Err(Malformed::Chunk));
    }
}
