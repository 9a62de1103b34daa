//! Asking the controller: HTTP over its Unix socket, or over TCP to another host, a connection a question. Every
//! question has a deadline; a stream has one between two messages. An order carries a key by which it is carried out
//! once, however often it is sent. It must not know what is asked.

use super::server::{Line, LineError, Server};
use crate::api::wire::Problem;
use bytes::{Bytes, BytesMut};
use dockswap_core::ports::Secret;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

/// For the connection: a controller that runs takes it at once.
const CONNECT: Duration = Duration::from_secs(5);

/// For an answer: longer than the controller gives itself, so that its own reason is the one told.
const ANSWER: Duration = Duration::from_secs(45);

/// Between two pieces of a stream of events: the controller says more often that it is alive.
const SILENCE: Duration = Duration::from_secs(40);

/// The most of an answer that is read.
const MOST: usize = 64 * 1024 * 1024;

/// How soon an order is sent again whose answer did not come.
const AGAIN: Duration = Duration::from_millis(300);

/// How often, until a controller that is started again answers.
const TIMES: usize = 30;

/// The controller, as the commands ask it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    place: Place,
    /// Who asks; `None`: the user of this process, whom the socket tells.
    token: Option<Secret>,
}

/// Where a controller is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// On this host.
    Socket(PathBuf),
    /// On any.
    Server(Server),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Server(server) => write!(f, "{server}"),
        }
    }
}

/// A path that is asked.
struct Question<'a> {
    method: Method,
    path: &'a str,
    body: Bytes,
    /// The last event that was seen.
    after: Option<i64>,
    key: Option<&'a str>,
}

impl<'a> Question<'a> {
    const fn of(path: &'a str) -> Self {
        Self { method: Method::GET, path, body: Bytes::new(), after: None, key: None }
    }
}

/// Why there is no answer, or not the one that was hoped for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientError {
    /// No controller answers.
    Unreachable {
        /// Where it was looked for.
        place: String,
        /// What was seen.
        message: String,
    },
    /// Somebody answers who is not believed to be the controller.
    Distrusted {
        /// Where.
        place: String,
        /// Why not.
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
    pub(crate) const fn new(place: Place, token: Option<Secret>) -> Self {
        Self { place, token }
    }

    /// Whether the controller may be on another host: then nothing of it is here.
    pub(crate) const fn is_remote(&self) -> bool {
        matches!(self.place, Place::Server(_))
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let ask = async {
            let body = self.whole(Question::of(path)).await?.bytes;
            serde_json::from_slice(&body).map_err(garbled)
        };
        timeout(ANSWER, ask).await.unwrap_or_else(|_| Err(self.late()))
    }

    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.order(Method::DELETE, path, Bytes::new()).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.order(Method::POST, path, serde_json::to_vec(body).map_err(garbled)?.into()).await
    }

    /// An answer as it is.
    pub(crate) async fn document(&self, path: &str) -> Result<Document, ClientError> {
        timeout(ANSWER, self.whole(Question::of(path))).await.unwrap_or_else(|_| Err(self.late()))
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
        let question = Question { after, ..Question::of(path) };
        let asked = async { self.send(self.connect().await?, question).await };
        let response = timeout(ANSWER, asked).await.unwrap_or_else(|_| Err(self.late()))?;
        Ok(Stream { body: response.into_body(), silence, client: self.clone() })
    }

    /// Sends an order. When the connection breaks before its answer, it is sent again with the same key: it is
    /// carried out once all the same.
    async fn order<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let key = fresh_key()?;
        let ask = async {
            let question = || Question {
                method: method.clone(),
                path,
                body: body.clone(),
                after: None,
                key: Some(&key),
            };
            // Who never had the order cannot have lost it.
            let mut line = Some(self.connect().await?);
            let mut times = 0;
            loop {
                let sent = match line.take() {
                    Some(line) => self.send(line, question()).await,
                    None => match self.connect().await {
                        Ok(line) => self.send(line, question()).await,
                        Err(error) => Err(error),
                    },
                };
                let done = match sent {
                    Ok(response) => self.read(response.into_body()).await,
                    Err(error) => Err(error),
                };
                times += 1;
                match done {
                    Err(ClientError::Unreachable { .. }) if times < TIMES => {}
                    Err(ClientError::Answered(problem)) if problem.code == "idempotency_running" => {}
                    done => return serde_json::from_slice(&done?).map_err(garbled),
                }
                sleep(AGAIN).await;
            }
        };
        timeout(ANSWER, ask).await.unwrap_or_else(|_| Err(self.late()))
    }

    /// An answer to its end.
    async fn whole(&self, question: Question<'_>) -> Result<Document, ClientError> {
        let response = self.send(self.connect().await?, question).await?;
        let headers = response.headers().clone();
        Ok(Document { headers, bytes: self.read(response.into_body()).await? })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let connect = async {
            match &self.place {
                Place::Socket(socket) => {
                    let stream =
                        UnixStream::connect(socket).await.map_err(|error| self.unreachable(&error))?;
                    self.shake(stream).await
                }
                Place::Server(server) => match server.connect().await {
                    Ok(Line::Plain(stream)) => self.shake(stream).await,
                    Ok(Line::Secured(stream)) => self.shake(stream).await,
                    Err(LineError::Unreachable(message)) => {
                        Err(ClientError::Unreachable { place: self.place.to_string(), message })
                    }
                    Err(LineError::Distrusted(message)) => {
                        Err(ClientError::Distrusted { place: self.place.to_string(), message })
                    }
                },
            }
        };
        timeout(CONNECT, connect).await.unwrap_or_else(|_| Err(self.late()))
    }

    async fn shake(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let shaken = handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| self.unreachable(&error))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// The head of an answer that is a success.
    async fn send(
        &self,
        mut sender: SendRequest<Full<Bytes>>,
        question: Question<'_>,
    ) -> Result<http::Response<Incoming>, ClientError> {
        let host = match &self.place {
            Place::Socket(_) => "dockswap",
            Place::Server(server) => &server.authority,
        };
        let mut request = Request::builder()
            .method(question.method)
            .uri(question.path)
            .header(HOST, host)
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            let mut shown = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(garbled)?;
            shown.set_sensitive(true);
            request = request.header(AUTHORIZATION, shown);
        }
        if let Some(after) = question.after {
            request = request.header("last-event-id", after);
        }
        if let Some(key) = question.key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Full::new(question.body)).map_err(garbled)?;
        let response = sender.send_request(request).await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = self.read(response.into_body()).await?;
        let plain = || Problem {
            kind: String::new(),
            title: String::new(),
            status: status.as_u16(),
            code: "unknown".to_owned(),
            detail: format!("the controller answered {status}: {}", String::from_utf8_lossy(&body).trim()),
        };
        Err(ClientError::Answered(serde_json::from_slice(&body).unwrap_or_else(|_| plain())))
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, ClientError> {
        let limited = http_body_util::Limited::new(body, MOST);
        let whole = limited.collect().await.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => self.unreachable(&*error),
            Err(error) => garbled(error),
        });
        Ok(whole?.to_bytes())
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> ClientError {
        ClientError::Unreachable { place: self.place.to_string(), message: crate::api::with_causes(error) }
    }

    fn late(&self) -> ClientError {
        let message = "it took the connection and gave no answer in time".to_owned();
        ClientError::Unreachable { place: self.place.to_string(), message }
    }
}

/// A key that nobody has used.
fn fresh_key() -> Result<String, ClientError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(garbled)?;
    Ok(format!("cli-{:032x}", u128::from_be_bytes(bytes)))
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
    use super::{Client, ClientError, Message, Place, take_message};
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
        let client = Client::new(Place::Socket(dir.join("api.sock")), None);
        let error = client.get::<serde_json::Value>("/v1/apps").await.expect_err("nobody is there");
        assert!(
            matches!(error, ClientError::Unreachable { place, .. } if place == dir.join("api.sock").display().to_string())
        );
    }
}
