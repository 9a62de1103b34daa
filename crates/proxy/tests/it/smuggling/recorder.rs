//! Upstreams that write down which requests they saw, each with another parser: hyper's, which is
//! the usual one in Rust, and that of `tiny_http`, which shares no line with it or with the proxy and is the more
//! gullible one (it takes the first of two lengths, believes any `Transfer-Encoding`, and knows no trailers).

use crate::support::upstream;
use bytes::Bytes;
use dockswap_core::routes::Upstream;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::fmt::{self, Display};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// A request that an upstream saw whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) host: String,
    pub(super) body: String,
}

/// What an upstream answers to it: the one thing that no other request is answered.
impl Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, target, host, body } = self;
        write!(f, "[{method} {target} of {host}: {body}]")
    }
}

/// The two lineages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parser {
    Hyper,
    Tiny,
}

impl Display for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hyper => "hyper",
            Self::Tiny => "tiny_http",
        })
    }
}

/// An upstream that writes down what it sees.
pub(super) struct Recorder {
    pub(super) upstream: Upstream,
    seen: Arc<Mutex<Vec<Seen>>>,
    tiny: Option<Arc<tiny_http::Server>>,
}

impl Recorder {
    pub(super) async fn start(parser: Parser) -> Self {
        let seen = Arc::default();
        let (addr, tiny) = match parser {
            Parser::Hyper => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let addr = listener.local_addr().unwrap();
                tokio::spawn(serve_with_hyper(listener, Arc::clone(&seen)));
                (addr, None)
            }
            Parser::Tiny => {
                let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
                // One that waits for the rest of a body must not keep the others waiting.
                for _ in 0..4 {
                    let (server, seen) = (Arc::clone(&server), Arc::clone(&seen));
                    std::thread::spawn(move || {
                        server.incoming_requests().for_each(|request| answer_with_tiny(request, &seen));
                    });
                }
                (server.server_addr().to_ip().unwrap(), Some(server))
            }
        };
        Self { upstream: upstream(addr), seen, tiny }
    }

    /// What it saw since it was asked last.
    pub(super) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(server) = &self.tiny {
            (0..4).for_each(|_| server.unblock());
        }
    }
}

async fn serve_with_hyper(listener: TcpListener, seen: Arc<Mutex<Vec<Seen>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let seen = Arc::clone(&seen);
        let service = service_fn(move |request: Request<Incoming>| {
            let seen = Arc::clone(&seen);
            async move {
                let (head, body) = request.into_parts();
                // What is not whole is written down nowhere.
                let body = body.collect().await?.to_bytes();
                let request = Seen {
                    method: head.method.to_string(),
                    target: head.uri.to_string(),
                    host: head.headers.get("host").map_or("", |host| host.to_str().unwrap()).to_owned(),
                    body: String::from_utf8_lossy(&body).into_owned(),
                };
                let answer = Response::new(Full::<Bytes>::from(request.to_string()));
                seen.lock().unwrap().push(request);
                Ok::<_, hyper::Error>(answer)
            }
        });
        tokio::spawn(async move {
            // A connection may end in any way: what matters is what was seen on it.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

fn answer_with_tiny(mut request: tiny_http::Request, seen: &Mutex<Vec<Seen>>) {
    let field = |name: &'static str| {
        let found = request.headers().iter().find(|field| field.field.equiv(name));
        found.map(|field| field.value.to_string())
    };
    let host = field("Host").unwrap_or_default();
    // It takes all that follows an upgrade for the new protocol.
    let upgrade = field("Connection").is_some_and(|value| value.contains("upgrade"));
    let mut body = Vec::new();
    let announced = request.body_length();
    if !upgrade && request.as_reader().read_to_end(&mut body).is_err() {
        return;
    }
    if !upgrade && announced.is_some_and(|length| length != body.len()) {
        return;
    }
    let whole = Seen {
        method: request.method().to_string(),
        target: request.url().to_owned(),
        host,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let answer = tiny_http::Response::from_string(whole.to_string());
    seen.lock().unwrap().push(whole);
    // Whoever asked may be gone.
    drop(request.respond(answer));
}
