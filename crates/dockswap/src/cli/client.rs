//! Asking the controller: HTTP over its Unix socket, a connection a question. Every question has a
//! deadline; a stream has one between two messages. It must not know what is asked.

use crate::api::wire::Problem;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// For the connection: a controller that runs takes it at once.
const CONNECT: Duration = Duration::from_secs(5);

/// For an answer: longer than the controller gives itself, so that its own reason is the one told.
const ANSWER: Duration = Duration::from_secs(45);

/// Between two pieces of a stream of events: the controller says more often that it is alive.
const SILENCE: Duration = Duration::from_secs(40);

/// The most of an answer that is read.
const MOST: usize = 64 * 1024 * 1024;

/// The controller, as the commands ask it.
#[derive(Clone)]
pub(crate) struct Client {
    socket: PathBuf,
    /// Shown with every question; none: whoever can open the socket may ask.
    token: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// Why there is no answer, or not the one that was hoped for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientError {
    /// No controller answers.
    Unreachable {
        /// Where it was looked for.
        socket: PathBuf,
        /// What was seen.
        message: String,
    },
    /// It said no.
    Answered(Problem),
    /// It said something that is not understood.
    Garbled {
        /// What.
        message: String,
    },
}

/// An answer that is no JSON.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Client {
    pub(crate) const fn new(socket: PathBuf) -> Self {
        Self { socket, token: None }
    }

    /// The same, who shows `token`.
    pub(crate) fn showing(self, token: String) -> Self {
        Self { token: Some(Zeroizing::new(token)), ..self }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::DELETE, path, Bytes::new()).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.ask(Method::POST, path, serde_json::to_vec(body).map_err(garbled)?.into()).await
    }

    /// An answer as it is.
    pub(crate) async fn document(&self, path: &str) -> Result<Document, ClientError> {
        let read = async {
            let response = self.send(Method::GET, path, Bytes::new(), None).await?;
            let headers = response.headers().clone();
            Ok(Document { headers, bytes: self.read(response.into_body()).await? })
        };
        timeout(ANSWER, read).await.unwrap_or_else(|_| Err(self.late()))
    }

    /// A stream of bytes, as they come.
    pub(crate) async fn bytes(&self, path: &str) -> Result<Stream, ClientError> {
        self.open(path, None, None).await
    }

    /// A stream of events; `after`: the last one that was seen.
    pub(crate) async fn events(&self, path: &str, after: Option<i64>) -> Result<Events, ClientError> {
        let stream = self.open(path, after, Some(SILENCE)).await?;
        Ok(Events { stream, open: BytesMut::new() })
    }

    async fn open(
        &self,
        path: &str,
        after: Option<i64>,
        silence: Option<Duration>,
    ) -> Result<Stream, ClientError> {
        let asked = timeout(ANSWER, self.send(Method::GET, path, Bytes::new(), after)).await;
        let response = asked.unwrap_or_else(|_| Err(self.late()))?;
        Ok(Stream { body: response.into_body(), silence, client: self.clone() })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let ask = async {
            let response = self.send(method, path, body, None).await?;
            let body = self.read(response.into_body()).await?;
            serde_json::from_slice(&body).map_err(garbled)
        };
        timeout(ANSWER, ask).await.unwrap_or_else(|_| Err(self.late()))
    }

    /// The head of an answer that is a success.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        after: Option<i64>,
    ) -> Result<http::Response<Incoming>, ClientError> {
        let connected = timeout(CONNECT, UnixStream::connect(&self.socket)).await;
        let stream = connected.map_err(|_| self.late())?.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(&error))?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "dockswap")
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.as_str()));
        }
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let request = request.body(Full::new(body)).map_err(garbled)?;
        let response = sender.send_request(request).await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = self.read(response.into_body()).await?;
        let plain = || Problem {
            status: status.as_u16(),
            code: "unknown".to_owned(),
            detail: format!("the controller answered {status}: {}", String::from_utf8_lossy(&body).trim()),
        };
        Err(ClientError::Answered(serde_json::from_slice(&body).unwrap_or_else(|_| plain())))
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, ClientError> {
        let limited = http_body_util::Limited::new(body, MOST);
        let whole =
            limited.collect().await.map_err(|error| ClientError::Garbled { message: error.to_string() })?;
        Ok(whole.to_bytes())
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> ClientError {
        ClientError::Unreachable { socket: self.socket.clone(), message: crate::api::with_causes(error) }
    }

    fn late(&self) -> ClientError {
        let message = "it took the connection and gave no answer in time".to_owned();
        ClientError::Unreachable { socket: self.socket.clone(), message }
    }
}

fn garbled(error: impl std::fmt::Display) -> ClientError {
    ClientError::Garbled { message: error.to_string() }
}

/// An answer that goes on.
#[derive(Debug)]
pub(crate) struct Stream {
    body: Incoming,
    silence: Option<Duration>,
    client: Client,
}

impl Stream {
    /// The next piece; `None`: it has ended.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, ClientError>> {
        loop {
            let frame = match self.silence {
                Some(silence) => match timeout(silence, self.body.frame()).await {
                    Ok(frame) => frame?,
                    Err(_) => return Some(Err(self.client.late())),
                },
                None => self.body.frame().await?,
            };
            match frame {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(self.client.unreachable(&error))),
            }
        }
    }
}

/// A message of a stream of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) data: String,
}

impl Message {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_str(&self.data).map_err(garbled)
    }
}

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Events {
    stream: Stream,
    open: BytesMut,
}

impl Events {
    /// The next message; `None`: the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Result<Message, ClientError>> {
        loop {
            if let Some(message) = take_message(&mut self.open) {
                return Some(Ok(message));
            }
            match self.stream.next().await? {
                Ok(piece) => self.open.extend_from_slice(&piece),
                Err(error) => return Some(Err(error)),
            }
            if self.open.len() > MOST {
                return Some(Err(ClientError::Garbled { message: "an event without an end".to_owned() }));
            }
        }
    }
}

/// Takes the first whole message out of `open`. What only says that the stream is alive is passed
/// over.
fn take_message(open: &mut BytesMut) -> Option<Message> {
    loop {
        let end = open.windows(2).position(|pair| pair == b"\n\n")?;
        let block = open.split_to(end + 2);
        let mut message = Message::default();
        for line in String::from_utf8_lossy(&block).lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut message.name),
                "data" => {
                    if !message.data.is_empty() {
                        message.data.push('\n');
                    }
                    message.data.push_str(value);
                }
                _ => {}
            }
        }
        if !message.data.is_empty() {
            return Some(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Client, ClientError, Message, take_message};
    use bytes::BytesMut;

    #[test]
    fn messages_are_taken_whole_and_comments_passed_over() {
        let mut open =
            BytesMut::from(": \n\nevent: transition\nid: 7\ndata: {\"a\":\ndata: 1}\n\nevent: pro");
        let message = Message { name: "transition".to_owned(), data: "{\"a\":\n1}".to_owned() };
        assert_eq!(take_message(&mut open), Some(message));
        assert_eq!(take_message(&mut open), None);
        open.extend_from_slice(b"gress\ndata:{}\n\n");
        let message = Message { name: "progress".to_owned(), data: "{}".to_owned() };
        assert_eq!(take_message(&mut open), Some(message));
        assert!(open.is_empty());
    }

    #[tokio::test]
    async fn no_controller_is_said_with_its_socket() {
        let dir = std::env::temp_dir().join(format!("dockswap-no-controller-{}", std::process::id()));
        let client = Client::new(dir.join("api.sock"));
        let error = client.get::<serde_json::Value>("/v1/apps").await.expect_err("nobody is there");
        assert!(matches!(error, ClientError::Unreachable { socket, .. } if socket == dir.join("api.sock")));
    }
}
