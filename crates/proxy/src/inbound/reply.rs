//! An answer on its way to a client (RFC 9112, sections 4 and 6): its head, and its body as it comes, framed so that
//! its end is known. Knows nothing of requests but what they say of their answers.

use super::head::Asked;
use super::reply_head::{self, Length, field, says_close};
use crate::answer::BrokenAnswer;
use crate::message::ResponseHead;
use crate::parcel::Parcel;
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    HOST, HeaderMap, HeaderName, MAX_FORWARDS, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{StatusCode, Version};
use hyper::body::Body;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What of an answer has not been written.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) parcel: Parcel,
    framing: Framing,
    /// The trailers that the client was told of; `None`: none are sent.
    trailers: Option<Vec<HeaderName>>,
    ended: bool,
}

/// How the body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are still to come.
    Sized(u64),
    Chunked,
    /// The connection's end ends it.
    ToEnd,
}

/// Whether another request may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Next,
    /// The connection ends, and the answer says so.
    Close,
}

/// Why the rest of an answer cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsent {
    #[error(transparent)]
    Body(#[from] BrokenAnswer),
    #[error("an answer is not as long as it says")]
    Length,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What comes next of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is something to write.
    Write,
    /// All was written.
    Done,
    /// It waits for whoever sends the answer.
    Wait,
}

impl Reply {
    /// The answer with this `head`, and a body of this `length` if it is known, to a request that asked so, behind
    /// `before`; and whether another request may follow, which it may only where `then` says so.
    pub(super) fn new(
        head: &ResponseHead,
        length: Option<u64>,
        asked: Asked,
        then: Then,
        before: &[u8],
    ) -> (Self, Then) {
        let is_switch = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let bare = head.status.is_informational()
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let is_chunked_known = asked.version == Version::HTTP_11;
        let (framing, length) = match length {
            _ if bare => (Framing::Sized(0), Length::None),
            // What it would be may be known all the same.
            Some(0) if asked.for_head => (Framing::Sized(0), Length::AsSaid),
            _ if asked.for_head => (Framing::Sized(0), length.map_or(Length::AsSaid, Length::Known)),
            Some(length) => (Framing::Sized(length), Length::Known(length)),
            None if is_chunked_known => (Framing::Chunked, Length::Chunks),
            None => (Framing::ToEnd, Length::None),
        };
        let closes = then == Then::Close || framing == Framing::ToEnd || says_close(&head.fields);
        let then = if closes && !is_switch { Then::Close } else { Then::Next };
        let mut trailers = None;
        let parcel = Parcel::new(|to| {
            to.extend_from_slice(before);
            trailers = reply_head::write(to, head, asked, length, then);
        });
        let trailers = trailers.filter(|_| framing == Framing::Chunked && asked.takes_trailers);
        let ended = framing == Framing::Sized(0);
        (Self { parcel, framing, trailers, ended }, then)
    }

    /// Takes what there is of `body`, if there is room for it.
    pub(super) fn poll_step<B>(&mut self, cx: &mut Context<'_>, body: &mut B) -> Poll<Result<Step, Unsent>>
    where
        B: Body<Data = Bytes, Error = BrokenAnswer> + Unpin,
    {
        if self.parcel.has_room() && !self.ended {
            loop {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Ready(Some(frame)) => match frame?.into_data() {
                        // A chunk of nothing would be the last.
                        Ok(data) if data.is_empty() => continue,
                        Ok(data) => self.stage(data, body.is_end_stream())?,
                        Err(frame) => self.end(frame.into_trailers().ok().as_ref())?,
                    },
                    Poll::Ready(None) => self.end(None)?,
                    Poll::Pending if self.parcel.has_more() => {}
                    Poll::Pending => return Poll::Ready(Ok(Step::Wait)),
                }
                break;
            }
        }
        Poll::Ready(Ok(if self.parcel.has_more() { Step::Write } else { Step::Done }))
    }

    fn stage(&mut self, data: Bytes, is_last: bool) -> Result<(), Unsent> {
        match &mut self.framing {
            Framing::Sized(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Unsent::Length)?;
                self.ended = *left == 0;
                self.parcel.add(data);
            }
            Framing::Chunked if is_last => {
                self.ended = true;
                self.parcel.add_chunk(data, b"\r\n0\r\n\r\n")?;
            }
            Framing::Chunked => self.parcel.add_chunk(data, b"\r\n")?,
            Framing::ToEnd => self.parcel.add(data),
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Unsent> {
        match self.framing {
            Framing::Sized(0) | Framing::ToEnd => {}
            Framing::Sized(_) => return Err(Unsent::Length),
            Framing::Chunked => {
                let mut text = Vec::new();
                let known = |name: &&HeaderName| {
                    self.trailers.as_ref().is_some_and(|known| known.contains(name))
                        && is_fit_for_a_trailer(name)
                };
                for name in trailers.into_iter().flat_map(HeaderMap::keys).filter(known) {
                    let values = trailers.into_iter().flat_map(|trailers| trailers.get_all(name));
                    values.for_each(|value| field(&mut text, name, value.as_bytes()));
                }
                self.parcel.add_end(&text);
            }
        }
        self.ended = true;
        Ok(())
    }
}

/// Whether a field may stand behind a body: those that say what it is, whose or where to, must be known before it, and
/// those about the connection are nobody's but ours (RFC 9110, section 6.5.1).
fn is_fit_for_a_trailer(name: &HeaderName) -> bool {
    ![
        AUTHORIZATION,
        CACHE_CONTROL,
        CONNECTION,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        HOST,
        MAX_FORWARDS,
        SET_COOKIE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ]
    .contains(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;
    use crate::message::Response;
    use http::header::HeaderValue;
    use hyper::body::Frame;
    use hyper::ext::ReasonPhrase;
    use std::collections::VecDeque;

    /// A body of these frames; one of trailers without any: it waits, once.
    struct Frames(VecDeque<Frame<Bytes>>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = BrokenAnswer;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
            match self.get_mut().0.pop_front() {
                None => Poll::Ready(None),
                Some(frame) if frame.trailers_ref().is_some_and(HeaderMap::is_empty) => Poll::Pending,
                Some(frame) => Poll::Ready(Some(Ok(frame))),
            }
        }
    }

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    const ASKED: Asked =
        Asked { version: Version::HTTP_11, for_head: false, keeps_alive: true, takes_trailers: false };
    const OLD: Asked = Asked { version: Version::HTTP_10, ..ASKED };
    const HEAD_ALONE: Asked = Asked { for_head: true, ..ASKED };

    /// All that is written, without the date; and whether another request may follow.
    fn written(
        answer: Response<()>,
        length: Option<u64>,
        frames: impl IntoIterator<Item = Frame<Bytes>>,
        asked: Asked,
    ) -> Result<(String, Then), Unsent> {
        let head = answer.head;
        let mut body = Frames(frames.into_iter().collect());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let (mut reply, then) = Reply::new(&head, length, asked, Then::Next, b"");
        let mut sink = Vec::new();
        loop {
            let Poll::Ready(step) = reply.poll_step(&mut cx, &mut body) else {
                unreachable!("it says so by a step")
            };
            match step? {
                Step::Write => {
                    let Poll::Ready(count) = reply.parcel.poll_write(&mut cx, &mut sink) else {
                        unreachable!()
                    };
                    assert!(count.unwrap() > 0);
                }
                Step::Wait => {}
                Step::Done => break,
            }
        }
        let text = String::from_utf8(sink).unwrap();
        let date =
            text.find("date: ").map_or(0..0, |at| at..at + "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".len());
        assert!(text[date.clone()].is_empty() || text[date.clone()].ends_with(" GMT\r\n"), "{text:?}");
        Ok((format!("{}{}", &text[..date.start], &text[date.end..]), then))
    }

    fn answer(status: u16, fields: &[(&str, &str)]) -> Response<()> {
        let answer = http::Response::builder().status(status);
        fields
            .iter()
            .fold(answer, |answer, (name, value)| answer.header(*name, *value))
            .body(())
            .unwrap()
            .into()
    }

    #[test]
    fn the_end_of_each_answer_is_known_in_the_way_that_the_standard_says() {
        use Then::{Close, Next};
        let ok = || answer(200, &[("content-length", "5")]);
        let plain = || answer(200, &[]);
        let pause = || Frame::trailers(HeaderMap::new());
        let hello = || vec![data("he"), pause(), data("llo")];
        let cases = [
            (ok(), Some(5), hello(), ASKED, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", Next),
            // What its length really is counts.
            (plain(), Some(5), hello(), ASKED, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", Next),
            (
                answer(200, &[("content-length", "6"), ("content-length", "5")]),
                Some(5),
                hello(),
                ASKED,
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
                Next,
            ),
            (plain(), Some(0), vec![], ASKED, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Next),
            (
                plain(),
                None,
                hello(),
                ASKED,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
                Next,
            ),
            (
                plain(),
                None,
                vec![data(""), data("")],
                ASKED,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
                Next,
            ),
            (ok(), Some(0), vec![], HEAD_ALONE, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Next),
            (plain(), Some(5), hello(), HEAD_ALONE, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Next),
            (plain(), None, hello(), HEAD_ALONE, "HTTP/1.1 200 OK\r\n\r\n", Next),
            (
                answer(204, &[("content-length", "5")]),
                Some(5),
                hello(),
                ASKED,
                "HTTP/1.1 204 No Content\r\n\r\n",
                Next,
            ),
            (
                answer(304, &[("etag", "x")]),
                None,
                hello(),
                ASKED,
                "HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n",
                Next,
            ),
            (
                answer(299, &[]),
                Some(0),
                vec![],
                ASKED,
                "HTTP/1.1 299 <none>\r\ncontent-length: 0\r\n\r\n",
                Next,
            ),
            (
                answer(200, &[("connection", "close")]),
                Some(0),
                vec![],
                ASKED,
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                Close,
            ),
            (
                answer(101, &[("connection", "upgrade"), ("upgrade", "x")]),
                Some(0),
                vec![],
                ASKED,
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
                Next,
            ),
            // HTTP/1.0 knows no chunks, and keeps a connection only where that is said.
            (
                ok(),
                Some(5),
                hello(),
                OLD,
                "HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\nhello",
                Next,
            ),
            (plain(), None, hello(), OLD, "HTTP/1.0 200 OK\r\n\r\nhello", Close),
        ];
        for (answer, length, frames, asked, expected, then) in cases {
            assert_eq!(written(answer, length, frames, asked).unwrap(), (expected.to_owned(), then));
        }
    }

    #[test]
    fn a_body_that_is_not_as_long_as_it_says_is_broken_off() {
        for frames in [vec![data("hell")], vec![data("hello"), data("!")], vec![data("hello!")]] {
            let sent = written(answer(200, &[]), Some(5), frames, ASKED);
            match sent {
                Err(Unsent::Length) => {}
                // The piece beyond the end is not asked for.
                Ok((text, Then::Next)) => assert!(text.ends_with("\r\n\r\nhello"), "{text:?}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn trailers_are_sent_where_both_sides_have_said_so() {
        let trailers = || {
            let mut trailers = HeaderMap::new();
            for (name, value) in
                [("x-sum", "1"), ("x-sum", "2"), ("x-other", "3"), ("host", "evil"), ("connection", "close")]
            {
                trailers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            vec![data("ok"), Frame::trailers(trailers)]
        };
        let told = || answer(200, &[("trailer", "X-Sum, host, connection")]);
        let takes = Asked { takes_trailers: true, ..ASKED };
        let ends = |answer, asked| written(answer, None, trailers(), asked).unwrap().0;
        assert!(ends(told(), takes).ends_with("2\r\nok\r\n0\r\nx-sum: 1\r\nx-sum: 2\r\n\r\n"));
        assert!(ends(told(), takes).contains("trailer: X-Sum, host, connection\r\n"));
        for (answer, asked) in [(told(), ASKED), (answer(200, &[]), takes)] {
            assert!(ends(answer, asked).ends_with("2\r\nok\r\n0\r\n\r\n"));
        }
    }

    #[test]
    fn the_reason_and_the_date_are_the_apps_where_it_says_them() {
        let head = |date: &[(&str, &str)]| {
            let mut said = answer(200, date);
            said.head.reason = Some(ReasonPhrase::from_static(b"Fine"));
            let head = said.head;
            let (mut reply, _) = Reply::new(&head, Some(0), ASKED, Then::Next, b"");
            String::from_utf8(reply.parcel.front().clone()).unwrap()
        };
        assert_eq!(
            head(&[("date", "today")]),
            "HTTP/1.1 200 Fine\r\ndate: today\r\ncontent-length: 0\r\n\r\n"
        );
        assert_eq!(head(&[]).matches("date: ").count(), 1);
    }
}
