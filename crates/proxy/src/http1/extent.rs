//! How far the body of an answer goes (RFC 9112, section 6), and what of it has come. Pure functions over bytes that
//! were read: knows no sockets.

use super::Nonsense;
use bytes::{Buf, Bytes};
use http::header::HeaderMap;
use httparse::Status;
use std::mem;

/// The longest line before a chunk, in bytes, and the longest trailers: those of others are as short.
const LONGEST_LINE: usize = 16 * 1024;

/// How many fields trailers may have.
const MOST_TRAILERS: usize = 100;

/// What of a body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// So many bytes.
    Sized(u64),
    /// Chunks.
    Chunked(Chunk),
    /// All that comes until the connection ends.
    ToEnd,
}

/// What is due in a body of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
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
    /// There is none, or all of it has come.
    pub(crate) const fn is_over(self) -> bool {
        matches!(self, Self::Sized(0) | Self::Chunked(Chunk::Over))
    }

    /// The connection's end ends it as well.
    pub(crate) fn ended(&mut self) -> Result<(), Nonsense> {
        match self {
            Self::ToEnd => *self = Self::Sized(0),
            _ => return Err(Nonsense::Incomplete),
        }
        Ok(())
    }

    /// Takes the next part from the front of `read`; `None`: all of what is there was taken, or what is left needs
    /// more behind it to make sense.
    pub(crate) fn take(&mut self, read: &mut Bytes) -> Result<Option<Part>, Nonsense> {
        match self {
            Self::Sized(left) => Ok(take_data(read, left)),
            Self::ToEnd => Ok((!read.is_empty()).then(|| Part::Data(mem::take(read)))),
            Self::Chunked(chunk) => chunk.take(read),
        }
    }
}

impl Chunk {
    fn take(&mut self, read: &mut Bytes) -> Result<Option<Part>, Nonsense> {
        loop {
            match self {
                Self::Size => match size(read)? {
                    None => return Ok(None),
                    Some(0) => *self = Self::Trailers,
                    Some(size) => *self = Self::Data(size),
                },
                Self::Data(left) => {
                    let data = take_data(read, left);
                    if *left == 0 {
                        *self = Self::Break;
                        // What is known of the end is seen together with the last of the data.
                        self.look_ahead(read);
                    }
                    return Ok(data);
                }
                Self::Break => match read.as_ref() {
                    [b'\r', b'\n', ..] => {
                        read.advance(2);
                        *self = Self::Size;
                    }
                    [] | [b'\r'] => return Ok(None),
                    _ => return Err(Nonsense::Chunk),
                },
                Self::Trailers => {
                    let trailers = trailers(read)?;
                    if trailers.is_some() {
                        *self = Self::Over;
                    }
                    return Ok(trailers.filter(|trailers| !trailers.is_empty()).map(Part::Trailers));
                }
                Self::Over => return Ok(None),
            }
        }
    }

    /// Is over if the end without trailers is what comes next.
    fn look_ahead(&mut self, read: &mut Bytes) {
        const END: &[u8] = b"\r\n0\r\n\r\n";
        if read.starts_with(END) {
            read.advance(END.len());
            *self = Self::Over;
        }
    }
}

fn take_data(read: &mut Bytes, left: &mut u64) -> Option<Part> {
    let here = usize::try_from(*left).map_or(read.len(), |left| left.min(read.len()));
    *left -= here as u64;
    (here > 0).then(|| Part::Data(read.split_to(here)))
}

/// Takes the line that says how long a chunk is.
fn size(read: &mut Bytes) -> Result<Option<u64>, Nonsense> {
    match httparse::parse_chunk_size(read) {
        Ok(Status::Complete((length, size))) if length <= LONGEST_LINE => {
            let line = read.split_to(length);
            // The parser takes no digit at all for a zero, and a line feed for a part of an extension.
            let digit_first = line.first().is_some_and(u8::is_ascii_hexdigit);
            let one_line = line.iter().position(|&byte| byte == b'\n') == Some(length - 1);
            if digit_first && one_line { Ok(Some(size)) } else { Err(Nonsense::Chunk) }
        }
        Ok(Status::Partial) if read.len() <= LONGEST_LINE => Ok(None),
        Ok(_) | Err(_) => Err(Nonsense::Chunk),
    }
}

/// Takes trailers, once they are whole.
fn trailers(read: &mut Bytes) -> Result<Option<HeaderMap>, Nonsense> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    let (length, trailers) = match httparse::parse_headers(read, &mut fields) {
        Ok(Status::Complete((length, fields))) if length <= LONGEST_LINE => {
            (length, super::head::fields(read, fields)?)
        }
        Ok(Status::Partial) if read.len() <= LONGEST_LINE => return Ok(None),
        Ok(_) | Err(_) => return Err(Nonsense::Chunk),
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
    ) -> Result<(Vec<u8>, HeaderMap, Extent, Vec<u8>), Nonsense> {
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

    const CHUNKED: Extent = Extent::Chunked(Chunk::Size);

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        let chunked = b"5;x=y\r\nhello\r\nA \r\n0123456789\r\n0\r\nt: u\r\n\r\nmore".as_slice();
        for cut in 1..=chunked.len() {
            let (data, trailers, extent, rest) = read(CHUNKED, chunked, cut).unwrap();
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
        let mut extent = CHUNKED;
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
            " 1\r\n",
            "11112222333344445\r\n",
            "2\r\nokX\r\n",
            "2\r\nok\n",
            "0\r\na b: c\r\n\r\n",
            "0\r\n: c\r\n\r\n",
            "0\r\na: b\r\n c\r\n\r\n",
            &long,
            &many,
            &endless,
        ] {
            for cut in [bad.len().div_ceil(16), bad.len()] {
                assert_eq!(
                    read(CHUNKED, bad.as_bytes(), cut),
                    Err(Nonsense::Chunk),
                    "{:?} cut into {cut}",
                    &bad[..bad.len().min(40)]
                );
            }
        }
    }

    #[test]
    fn only_what_goes_to_the_end_ends_with_the_connection() {
        for mut extent in [Extent::Sized(1), CHUNKED, Extent::Chunked(Chunk::Trailers)] {
            assert_eq!(extent.ended(), Err(Nonsense::Incomplete));
        }
    }
}
