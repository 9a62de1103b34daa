//! Where one request ends and the next begins: a second, stricter reader of the client's bytes.
//!
//! The HTTP parser behind it repairs some ambiguities silently (it drops a `Content-Length` that
//! stands beside a `Transfer-Encoding`), so that afterwards they cannot be seen any more. This one
//! follows the same bytes, changes none, and says from which request on the connection cannot be
//! trusted. It knows framing only: no routes, no sockets, no clock.

use std::mem;

/// What a client is in the middle of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing: the next byte begins a request.
    Between,
    /// A request head.
    Head,
    /// A request body.
    Body,
    /// Not known: the framing is broken, nothing after it is looked at.
    Lost,
}

/// Follows the bytes of one client connection.
#[derive(Debug)]
pub(crate) struct Framing {
    at: At,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    longest_line: usize,
    /// Heads that are complete.
    heads: u32,
    lengths: u32,
    length: u64,
    chunked: bool,
    /// The first request (counted from 0) that must be refused.
    untrusted_from: Option<u32>,
    /// It was lost inside a body.
    broken_off: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    RequestLine,
    Fields,
    Sized(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    Lost,
}

impl Framing {
    /// Begins before the first byte. Lines longer than `longest_line` bytes are not followed: the
    /// parser refuses them anyway.
    pub(crate) const fn new(longest_line: usize) -> Self {
        Self {
            at: At::RequestLine,
            partial: Vec::new(),
            longest_line,
            heads: 0,
            lengths: 0,
            length: 0,
            chunked: false,
            untrusted_from: None,
            broken_off: false,
        }
    }

    /// What the client is in the middle of.
    pub(crate) fn phase(&self) -> Phase {
        match self.at {
            At::RequestLine if self.partial.is_empty() => Phase::Between,
            At::RequestLine | At::Fields => Phase::Head,
            At::Sized(_) | At::ChunkSize | At::ChunkData(_) | At::ChunkEnd | At::Trailers => Phase::Body,
            At::Lost => Phase::Lost,
        }
    }

    /// A body broke off: nothing that comes after it has a meaning.
    pub(crate) const fn is_broken_off(&self) -> bool {
        self.broken_off
    }

    /// How many heads have ended.
    pub(crate) const fn heads(&self) -> u32 {
        self.heads
    }

    /// The first request, counted from 0, that must be refused.
    pub(crate) const fn untrusted_from(&self) -> Option<u32> {
        self.untrusted_from
    }

    /// Takes the next bytes; how many of them may be passed on. That is all of them, unless a body breaks
    /// off here: then those before the line that is wrong, and never any again.
    ///
    /// (The head of a request that cannot be trusted is passed on: the parser has to see it for a refusal.)
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (phase, sound) = (self.phase(), bytes.len() - rest.len());
            rest = match self.at {
                At::Lost => return if self.broken_off { 0 } else { bytes.len() },
                At::Sized(left) => {
                    let (rest, left) = skip(rest, left);
                    self.at = if left == 0 { At::RequestLine } else { At::Sized(left) };
                    rest
                }
                At::ChunkData(left) => {
                    let (rest, left) = skip(rest, left);
                    self.at = if left == 0 { At::ChunkEnd } else { At::ChunkData(left) };
                    rest
                }
                At::RequestLine | At::Fields | At::ChunkSize | At::ChunkEnd | At::Trailers => {
                    self.follow_line(rest)
                }
            };
            if self.at == At::Lost && phase == Phase::Body {
                self.broken_off = true;
                return sound;
            }
        }
        bytes.len()
    }

    fn follow_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = bytes.iter().position(|&b| b == b'\n') else {
            if self.partial.len() + bytes.len() > self.longest_line {
                self.at = At::Lost;
                self.partial = Vec::new();
            } else {
                self.partial.extend_from_slice(bytes);
            }
            return &[];
        };
        let (line, rest) = bytes.split_at(end + 1);
        if self.partial.is_empty() {
            self.line(&line[..end]);
        } else {
            let mut whole = mem::take(&mut self.partial);
            whole.extend_from_slice(&line[..end]);
            self.line(&whole);
        }
        rest
    }

    /// One line, without its line feed.
    fn line(&mut self, line: &[u8]) {
        let Some(line) = line.strip_suffix(b"\r") else {
            // A line feed alone: some servers end a line there, some do not.
            return self.lose();
        };
        match self.at {
            // Empty lines before a request are to be skipped (RFC 9112, section 2.2).
            At::RequestLine if line.is_empty() => {}
            At::RequestLine => {
                (self.lengths, self.length, self.chunked) = (0, 0, false);
                self.at = At::Fields;
            }
            At::Fields if line.is_empty() => self.end_of_head(),
            At::Fields => self.field(line),
            At::ChunkSize => self.chunk_size(line),
            At::ChunkEnd if line.is_empty() => self.at = At::ChunkSize,
            At::ChunkEnd => self.lose(),
            At::Trailers if line.is_empty() => self.at = At::RequestLine,
            At::Trailers => {}
            At::Sized(_) | At::ChunkData(_) | At::Lost => unreachable!("only called where a line is due"),
        }
    }

    fn field(&mut self, line: &[u8]) {
        // A folded line continues the field before it for some servers, and is a new one for others.
        if line.first().is_some_and(u8::is_ascii_whitespace) {
            return self.lose();
        }
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            return self.lose();
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            match decimal(value) {
                Some(length) => self.length = length,
                None => self.lose(),
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return self.lose();
            }
            self.chunked = true;
        }
    }

    fn end_of_head(&mut self) {
        if self.lengths > 1 || (self.lengths == 1 && self.chunked) {
            return self.lose();
        }
        self.heads += 1;
        self.at = match (self.chunked, self.length) {
            (true, _) => At::ChunkSize,
            (false, 0) => At::RequestLine,
            (false, length) => At::Sized(length),
        };
    }

    fn chunk_size(&mut self, line: &[u8]) {
        let digits = line.split(|&b| b == b';').next().unwrap_or_default().trim_ascii_end();
        match hexadecimal(digits) {
            Some(0) => self.at = At::Trailers,
            Some(size) => self.at = At::ChunkData(size),
            None => self.lose(),
        }
    }

    /// The request whose head is under way, or, inside a body, the one after it, cannot be trusted.
    fn lose(&mut self) {
        self.untrusted_from = Some(self.heads);
        self.at = At::Lost;
    }
}

/// `bytes` without its first `count`, and how many of these are still to come.
fn skip(bytes: &[u8], count: u64) -> (&[u8], u64) {
    let here = usize::try_from(count).map_or(bytes.len(), |count| count.min(bytes.len()));
    (&bytes[here..], count - here as u64)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    all_digits.then(|| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Phase and verdict after `bytes`, the same however they are cut into reads.
    fn after(bytes: &[u8]) -> (Phase, Option<u32>) {
        let verdict = |cut: usize| {
            let mut framing = Framing::new(1024);
            for part in bytes.chunks(cut) {
                framing.follow(part);
            }
            (framing.phase(), framing.untrusted_from())
        };
        let whole = verdict(bytes.len());
        for cut in [1, 2, 3, 7] {
            assert_eq!(verdict(cut), whole, "cut into {cut}");
        }
        whole
    }

    #[test]
    fn requests_are_told_apart() {
        let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();
        let post = b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello";
        let chunked =
            b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\nhello\r\na\r\n0123456789\r\n0\r\nt: u\r\n\r\n";
        assert_eq!(after(&[get, post, chunked, b"\r\n", get].concat()), (Phase::Between, None));
        assert_eq!(after(&[post, &get[..3]].concat()), (Phase::Head, None));
        assert_eq!(after(&[get, &post[..post.len() - 1]].concat()), (Phase::Body, None));
        assert_eq!(after(&[get, &chunked[..chunked.len() - 2]].concat()), (Phase::Body, None));
    }

    #[test]
    fn ambiguous_framing_is_found_in_the_request_that_has_it() {
        let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();
        for bad in [
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: \r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n\n",
        ] {
            assert_eq!(after(&[get, bad.as_bytes()].concat()), (Phase::Lost, Some(1)), "{bad:?}");
        }
    }

    #[test]
    fn after_a_malformed_chunk_the_next_request_is_not_trusted() {
        for bad in ["x\r\n", "5\r\nhelloX\r\n", "5\n", "-5\r\n", "0x5\r\n", "11112222333344445\r\n", "\r\n"] {
            let request = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{bad}");
            assert_eq!(after(request.as_bytes()), (Phase::Lost, Some(1)), "{bad:?}");
        }
    }

    #[test]
    fn nothing_is_passed_on_from_where_a_body_breaks_off() {
        let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice();
        for bad in ["x\r\n", "0\r\n\n", "0\r\nX: y\n\r\n"] {
            let sound = [head, b"5\r\nhello\r\n", &bad.as_bytes()[..bad.rfind('\n').unwrap_or(0)]].concat();
            let bytes = [head, b"5\r\nhello\r\n", bad.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();
            for cut in 0..bytes.len() {
                let mut framing = Framing::new(1024);
                let (first, second) = bytes.split_at(cut);
                let passed = framing.follow(first) + framing.follow(second);
                assert!(passed <= sound.len(), "{bad:?} cut at {cut}: {passed} passed");
                assert_eq!(framing.follow(b"more"), 0);
            }
        }
        let mut framing = Framing::new(1024);
        let bytes = b"GET / HTTP/1.1\nHost: a\r\n\r\n";
        assert_eq!(framing.follow(bytes), bytes.len(), "a head goes to the parser, which refuses it");
    }

    #[test]
    fn an_endless_line_takes_no_memory() {
        let mut framing = Framing::new(1024);
        for _ in 0..100 {
            framing.follow(&[b'a'; 512]);
            assert!(framing.partial.capacity() <= 2048);
        }
        assert_eq!(framing.phase(), Phase::Lost);
    }
}
