//! What is asked over a control connection, and what comes back. Over which connection is not its business.

use crate::wire::{self, Failure};
use bytes::Bytes;
use dockswap_core::keyring::Keyring;
use dockswap_core::ports::RouterError;
use dockswap_core::routes::{RouteTable, UpstreamId};
use http::header::HOST;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// A question, so that it can be asked again. It may hold keys, and has no `Debug`.
#[derive(Clone)]
pub(crate) struct Question {
    method: Method,
    path: &'static str,
    body: Bytes,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    body: Bytes,
}

impl Question {
    /// Puts a table in force.
    pub(crate) fn apply(table: &RouteTable) -> Result<Self, RouterError> {
        Self::saying(Method::PUT, wire::TABLE, table)
    }

    /// What the proxy is doing.
    pub(crate) const fn status() -> Self {
        Self { method: Method::GET, path: wire::STATUS, body: Bytes::new() }
    }

    /// Puts certificates in force.
    pub(crate) fn hold(keyring: &Keyring) -> Result<Self, RouterError> {
        Self::saying(Method::PUT, wire::CERTIFICATES, keyring)
    }

    /// Which certificates are in force.
    pub(crate) const fn held() -> Self {
        Self { method: Method::GET, path: wire::CERTIFICATES, body: Bytes::new() }
    }

    /// What the proxy counts.
    pub(crate) const fn metrics() -> Self {
        Self { method: Method::GET, path: wire::METRICS, body: Bytes::new() }
    }

    /// Waits until nothing is in flight on `upstreams`.
    pub(crate) fn drained(upstreams: &[UpstreamId], patience: Duration) -> Result<Self, RouterError> {
        Self::saying(Method::POST, wire::DRAINED, &wire::Drain { upstreams: upstreams.to_vec(), patience })
    }

    /// Closes what is in flight on `upstreams`.
    pub(crate) fn close(upstreams: &[UpstreamId]) -> Result<Self, RouterError> {
        Self::saying(Method::POST, wire::CLOSE, &wire::Close { upstreams: upstreams.to_vec() })
    }

    fn saying<T: Serialize>(method: Method, path: &'static str, body: &T) -> Result<Self, RouterError> {
        let body =
            serde_json::to_vec(body).map_err(|error| RouterError::Refused { message: error.to_string() })?;
        Ok(Self { method, path, body: body.into() })
    }

    /// As a request over HTTP/1.1 or HTTP/2.
    pub(crate) fn to_request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = http::Uri::from_static(self.path);
        request.headers_mut().insert(HOST, HeaderValue::from_static("proxy"));
        request
    }
}

impl Reply {
    /// Reads an answer to its end.
    pub(crate) async fn read(answer: Response<Incoming>) -> hyper::Result<Self> {
        let (head, body) = answer.into_parts();
        Ok(Self { status: head.status, body: body.collect().await?.to_bytes() })
    }

    /// Whether it was done.
    pub(crate) fn done(&self) -> Result<(), RouterError> {
        if self.status.is_success() {
            return Ok(());
        }
        Err(match serde_json::from_slice(&self.body) {
            Ok(Failure::Stale { current, offered }) => RouterError::Stale { current, offered },
            Ok(Failure::Refused { message } | Failure::Misunderstood { message }) => {
                RouterError::Refused { message }
            }
            Ok(Failure::Unavailable { message }) => RouterError::Unavailable { message },
            Err(_) => RouterError::Unavailable { message: format!("it answered {}", self.status) },
        })
    }

    /// Its text.
    pub(crate) fn text(&self) -> Result<String, RouterError> {
        self.done()?;
        Ok(String::from_utf8_lossy(&self.body).into_owned())
    }

    /// What it says.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, RouterError> {
        self.done()?;
        serde_json::from_slice(&self.body).map_err(|error| RouterError::Unavailable {
            message: format!("its answer cannot be read: {error}"),
        })
    }
}
