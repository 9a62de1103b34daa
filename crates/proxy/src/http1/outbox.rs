//! A request on its way out (RFC 9112, sections 3 and 7): its head, and its body as it comes, framed as its head says.
//! Knows nothing of answers.

use crate::exchange::Outgoing;
use crate::parcel::Parcel;
use crate::request_body::{BrokenRequest, RequestBody};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::body::Body;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// What of a request has not been written.
#[derive(Debug)]
pub(crate) struct Outbox {
    parcel: Parcel,
    framing: Framing,
    /// Nothing more of the body will come.
    ended: bool,
    /// The upstream takes nothing more.
    given_up: bool,
    /// Something of the body was taken.
    has_taken: bool,
    /// Bytes that were written.
    sent: u64,
}

/// How the body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are still to come.
    Sized(u64),
    Chunked,
}

/// Why a request could not be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsent {
    /// Its body broke off.
    #[error("the request broke off")]
    Body(#[from] BrokenRequest),
    /// Its body is not as long as its head says.
    #[error("the request is not as long as it says")]
    Length,
    /// The upstream takes nothing more.
    #[error("the upstream took no more of a request")]
    Upstream(#[from] io::Error),
}

impl Outbox {
    /// All of `request`.
    pub(crate) fn new(request: &Outgoing) -> Self {
        let fields = &request.fields;
        let framing = if request.body.is_end_stream() {
            Framing::Sized(0)
        } else if fields.has(&TRANSFER_ENCODING) {
            Framing::Chunked
        } else {
            let length = fields.get(&CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
            Framing::Sized(length.unwrap_or(0))
        };
        Self {
            parcel: Parcel::new(|to| head(to, request)),
            framing,
            ended: false,
            given_up: false,
            has_taken: false,
            sent: 0,
        }
    }

    /// How many bytes were written.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether the request is still whole, and its upstream has seen nothing of it.
    pub(crate) const fn is_untouched(&self) -> bool {
        self.sent == 0 && !self.has_taken
    }

    /// Whether all was written.
    pub(crate) fn is_sent(&self) -> bool {
        self.ended && !self.has_more()
    }

    /// Whether nothing more will be written.
    pub(crate) fn is_over(&self) -> bool {
        self.given_up || self.is_sent()
    }

    /// Whether there is something to write.
    pub(crate) fn has_more(&self) -> bool {
        self.parcel.has_more()
    }

    /// Writes all that there is of the request to `stream`, `body` being its body.
    pub(crate) fn poll_send<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        body: &mut RequestBody,
    ) -> Poll<Result<(), Unsent>> {
        loop {
            // What there is of the body goes together with the head.
            let waits = self.parcel.has_room() && !self.ended && {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Ready(Some(frame)) => {
                        self.has_taken = true;
                        // A request body has no trailers.
                        if let Ok(data) = frame?.into_data() {
                            self.stage(data)?;
                        }
                        false
                    }
                    Poll::Ready(None) => {
                        self.end()?;
                        false
                    }
                    Poll::Pending => true,
                }
            };
            if self.has_more() {
                let written = ready!(self.parcel.poll_write(cx, stream));
                self.given_up = written.is_err();
                self.sent += written? as u64;
            } else if self.ended {
                return Poll::Ready(Ok(()));
            } else if waits {
                return Poll::Pending;
            }
        }
    }

    fn stage(&mut self, data: Bytes) -> Result<(), Unsent> {
        // A chunk of nothing would be the last.
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.framing {
            Framing::Sized(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Unsent::Length)?;
                self.parcel.add(data);
            }
            Framing::Chunked => self.parcel.add_chunk(data, b"\r\n")?,
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Unsent> {
        match self.framing {
            Framing::Sized(0) => {}
            Framing::Sized(_) => return Err(Unsent::Length),
            Framing::Chunked => self.parcel.add_end(b""),
        }
        self.ended = true;
        Ok(())
    }
}

/// Writes the head of `request`. That no part of it holds a line break is in the types of its parts.
fn head(to: &mut Vec<u8>, request: &Outgoing) {
    let target = request.target.path_and_query().map_or("/", |target| target.as_str());
    for part in [request.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        to.extend_from_slice(part.as_bytes());
    }
    for (name, value) in request.fields.iter() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            to.extend_from_slice(part);
        }
    }
    to.extend_from_slice(b"\r\n");
}
