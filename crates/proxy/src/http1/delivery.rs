//! The body of an answer, read off its connection as it is asked for.

use super::Connection;
use crate::extent::{Extent, Malformed, Part};
use crate::upstream_stream::UpstreamStream;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use std::io;
use std::task::{Context, Poll, ready};

/// A body that comes over a connection.
#[derive(Debug)]
pub(crate) struct Delivery {
    connection: Box<Connection>,
    extent: Extent,
    keeps_alive: bool,
}

/// Why a body is not whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the upstream was closed")]
    Closed,
}

impl Delivery {
    /// The body behind a head that came over `connection`. `keeps_alive`: another exchange may follow.
    pub(crate) const fn new(connection: Box<Connection>, extent: Extent, keeps_alive: bool) -> Self {
        Self { connection, extent, keeps_alive }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        // Also where there is always more to read, because the client is the slower one.
        if self.connection.closing.is_given() && !self.is_over() {
            return Poll::Ready(Some(Err(Broken::Closed)));
        }
        match self.poll_part(cx) {
            Poll::Ready(Ok(part)) => Poll::Ready(part.map(|part| {
                Ok(match part {
                    Part::Data(data) => Frame::data(data),
                    Part::Trailers(trailers) => Frame::trailers(trailers),
                })
            })),
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Pending => self.connection.closing.poll(cx).map(|()| Some(Err(Broken::Closed))),
        }
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>, Broken>> {
        loop {
            if let Some(part) = self.extent.take(&mut self.connection.read)? {
                return Poll::Ready(Ok(Some(part)));
            }
            if self.extent.is_over() {
                return Poll::Ready(Ok(None));
            }
            if ready!(self.connection.poll_read(cx, self.extent.room()))? == 0 {
                self.extent.ended()?;
                self.keeps_alive = false;
            }
        }
    }

    /// Whether all of it was taken.
    pub(crate) const fn is_over(&self) -> bool {
        self.extent.is_over()
    }

    /// How much of it is to come.
    pub(crate) fn size_hint(&self) -> SizeHint {
        self.extent.size_hint()
    }

    /// Its connection, if the next exchange may begin there.
    pub(crate) fn into_connection(self) -> Option<Box<Connection>> {
        let reusable = self.keeps_alive && self.extent.is_over() && self.connection.read.is_empty();
        reusable.then_some(self.connection)
    }

    /// The bare stream, and what was read of it: for a tunnel.
    pub(crate) fn into_parts(self) -> (UpstreamStream, Bytes) {
        self.connection.into_parts()
    }
}
