//! A line of the access log: what is said of one request, and how. Where lines go is the business of
//! [`crate::journal`].

use crate::app::App;
use crate::connection::Client;
use crate::journal::{Form, Journal};
use crate::message::Request;
use crate::meter::By;
use chrono::{DateTime, SecondsFormat, Utc};
use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Method, StatusCode, Version};
use serde::{Serialize, Serializer};
use serde_json::ser::{CompactFormatter, Formatter};
use std::fmt::{self, Write as _};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The most bytes that are said of a host, of a path, and of a user agent.
const LONGEST: usize = 1024;

/// The same of a method.
const LONGEST_METHOD: usize = 32;

/// What is known of a request. It is written when this is dropped, which is when the request is over.
#[derive(Debug)]
pub(crate) struct Record {
    journal: Arc<Journal>,
    at: SystemTime,
    begun: Instant,
    client: Box<str>,
    /// `None`, as the path: its head could not be read.
    method: Option<Method>,
    host: Option<Box<[u8]>>,
    path: Option<Box<[u8]>>,
    version: Version,
    scheme: &'static str,
    agent: Option<Box<[u8]>>,
    app: Option<Arc<App>>,
    answer: Option<Said>,
    /// When it was sent to an upstream.
    sent: Option<Instant>,
    upstream: Option<Duration>,
    bytes: u64,
    extent: Extent,
}

/// What the head of an answer was.
#[derive(Debug)]
struct Said {
    by: By,
    status: StatusCode,
    why: Option<&'static str>,
}

/// How much of an answer came to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// Not all, as far as is known.
    Cut,
    Whole,
}

impl Record {
    /// Begins a record of `request`, of which nothing else is known.
    pub(crate) fn begin<B>(journal: &Arc<Journal>, client: &Client, request: &Request<B>) -> Box<Self> {
        let uri = &request.target;
        let host = match uri.authority() {
            Some(authority) => Some(authority.as_str().as_bytes()),
            None => request.fields.get(&HOST).map(HeaderValue::as_bytes),
        };
        let mut record = Self::new(journal, client, request.version);
        if let Some(ip) = client.is_front {
            record.client = client.proxy.front.client(&request.fields, ip).to_string().into();
        }
        record.method = Some(request.method.clone());
        record.host = host.map(|host| short(without_user(host)));
        record.path = Some(short(uri.path().as_bytes()));
        record.agent = request.fields.get(&USER_AGENT).map(|agent| short(agent.as_bytes()));
        Box::new(record)
    }

    /// Writes down a request whose head could not be read, and that was answered with `status`.
    pub(crate) fn unreadable(journal: &Arc<Journal>, client: &Client, status: StatusCode) {
        let mut record = Self::new(journal, client, Version::HTTP_11);
        record.answered(None, By::Proxy, status, Some("unreadable"));
        record.whole();
    }

    fn new(journal: &Arc<Journal>, client: &Client, version: Version) -> Self {
        Self {
            journal: Arc::clone(journal),
            at: SystemTime::now(),
            begun: Instant::now(),
            client: client.peer.to_str().unwrap_or_default().into(),
            method: None,
            host: None,
            path: None,
            version,
            scheme: if client.secured.is_some() { "https" } else { "http" },
            agent: None,
            app: None,
            answer: None,
            sent: None,
            upstream: None,
            bytes: 0,
            extent: Extent::Cut,
        }
    }

    /// It is for `app`.
    pub(crate) fn found(&mut self, app: &Arc<App>) {
        self.app = Some(Arc::clone(app));
    }

    /// It is sent to an upstream; the last time counts.
    pub(crate) fn sent(&mut self) {
        self.sent = Some(Instant::now());
    }

    /// The upstream answers.
    pub(crate) fn heard(&mut self) {
        self.upstream = self.sent.map(|sent| sent.elapsed());
    }

    /// It has an answer.
    pub(crate) fn answered(
        &mut self,
        app: Option<Arc<App>>,
        by: By,
        status: StatusCode,
        why: Option<&'static str>,
    ) {
        self.app = app;
        self.answer = Some(Said { by, status, why });
    }

    /// So many more bytes of the body were handed over.
    pub(crate) const fn more(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Nothing is missing of the answer.
    pub(crate) const fn whole(&mut self) {
        self.extent = Extent::Whole;
    }

    fn line(&self) -> Line<'_> {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let app = self.app.as_deref();
        Line {
            time: DateTime::<Utc>::from(self.at).to_rfc3339_opts(SecondsFormat::Micros, true),
            client: &self.client,
            method: self
                .method
                .as_ref()
                .map(|method| method.as_str().get(..LONGEST_METHOD).unwrap_or_else(|| method.as_str())),
            scheme: self.scheme,
            host: self.host.as_deref().map(Bytes),
            path: self.path.as_deref().map(Bytes),
            protocol: match self.version {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2",
                _ => "HTTP/1.1",
            },
            status: self.answer.as_ref().map(|said| said.status.as_u16()),
            body_bytes: self.bytes,
            took_us: micros(self.begun.elapsed()),
            // Its client may have left before.
            upstream_us: self.upstream.or_else(|| self.sent.map(|sent| sent.elapsed())).map(micros),
            app: app.map(|app| app.name.as_str()),
            color: app.and_then(|app| app.color).map(dockswap_core::Color::as_str),
            deployment: app.and_then(|app| app.deployment).map(|deployment| deployment.0),
            by: match self.answer.as_ref().map(|said| said.by) {
                Some(By::App) => "app",
                Some(By::Proxy) => "proxy",
                None => "nobody",
            },
            why: match &self.answer {
                Some(said) => said.why,
                None => Some("client_gone"),
            },
            cut: self.extent == Extent::Cut,
            agent: self.agent.as_deref().map(Bytes),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let mut text = match self.journal.form() {
            Form::Text => self.line().to_string().into_bytes(),
            Form::Json => self.line().json(),
        };
        text.push(b'\n');
        self.journal.push(&text);
    }
}

/// What a line says, in the order in which it says it. The names are those of the JSON form (`docs/json.md`).
#[derive(Debug, Serialize)]
struct Line<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<i64>,
    client: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    scheme: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Bytes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Bytes<'a>>,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    body_bytes: u64,
    took_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_us: Option<u64>,
    by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    cut: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<Bytes<'a>>,
}

/// What a client wrote. Nothing of it moves the reader's cursor or ends the line.
#[derive(Clone, Copy, Debug)]
struct Bytes<'a>(&'a [u8]);

/// As much as is said: what it is a part of need not be kept.
fn short(bytes: &[u8]) -> Box<[u8]> {
    bytes[..bytes.len().min(LONGEST)].into()
}

/// A host without the name and password that some put before it.
fn without_user(host: &[u8]) -> &[u8] {
    host.rsplit(|&byte| byte == b'@').next().unwrap_or_default()
}

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(self.0))
    }
}

/// JSON of printable ASCII alone.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        let mut units = [0; 2];
        for letter in text.chars() {
            if matches!(letter, ' '..='~') {
                CompactFormatter.write_string_fragment(writer, letter.encode_utf8(&mut [0; 4]))?;
                continue;
            }
            for unit in letter.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

impl Line<'_> {
    fn json(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(512);
        // Writing texts and numbers into memory cannot fail.
        let _ = self.serialize(&mut serde_json::Serializer::with_formatter(&mut text, Ascii));
        text
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |micros: u64| format!("{}.{:03}ms", micros / 1_000, micros % 1_000);
        write!(f, "{} {} {} {}://", self.time, self.client, self.method.unwrap_or("-"), self.scheme)?;
        match self.host {
            // A space in it would make fields of what a client wrote.
            Some(host) => f.write_str(&host.to_string().replace(' ', "\\x20"))?,
            None => f.write_char('-')?,
        }
        if let Some(path) = self.path {
            write!(f, "{path}")?;
        }
        write!(f, " {} ", self.protocol)?;
        match self.status {
            Some(status) => write!(f, "{status}")?,
            None => f.write_char('-')?,
        }
        write!(f, " {} {} by={}", self.body_bytes, millis(self.took_us), self.by)?;
        if let Some(why) = self.why {
            write!(f, "/{why}")?;
        }
        if let Some(upstream) = self.upstream_us {
            write!(f, " upstream={}", millis(upstream))?;
        }
        if let Some(app) = self.app {
            write!(f, " app={app}")?;
            if let Some(color) = self.color {
                write!(f, "/{color}")?;
            }
            if let Some(deployment) = self.deployment {
                write!(f, "/{deployment}")?;
            }
        }
        if self.cut {
            f.write_str(" cut")?;
        }
        if let Some(agent) = self.agent {
            write!(f, " \"{agent}\"")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use super::*;

    fn line<'a>(path: &'a [u8], agent: &'a [u8]) -> Line<'a> {
        Line {
            time: "2026-01-02T03:04:05.000006Z".to_owned(),
            app: Some("web"),
            color: Some("blue"),
            deployment: Some(7),
            client: "192.0.2.7",
            method: Some("GET"),
            scheme: "https",
            host: Some(Bytes(b"example.com")),
            path: Some(Bytes(path)),
            protocol: "HTTP/2",
            status: Some(200),
            body_bytes: 12,
            took_us: 3_214,
            upstream_us: Some(2_001),
            by: "app",
            why: None,
            cut: false,
            agent: Some(Bytes(agent)),
        }
    }

    #[test]
    fn a_line_for_people_and_one_for_programs() {
        let whole = line(b"/a", b"curl/8");
        assert_eq!(
            whole.to_string(),
            "2026-01-02T03:04:05.000006Z 192.0.2.7 GET https://example.com/a HTTP/2 200 12 3.214ms by=app \
             upstream=2.001ms app=web/blue/7 \"curl/8\""
        );
        assert_eq!(
            String::from_utf8(whole.json()).unwrap(),
            r#"{"time":"2026-01-02T03:04:05.000006Z","app":"web","color":"blue","deployment":7,"client":"192.0.2.7","method":"GET","scheme":"https","host":"example.com","path":"/a","protocol":"HTTP/2","status":200,"body_bytes":12,"took_us":3214,"upstream_us":2001,"by":"app","cut":false,"agent":"curl/8"}"#
        );
        let none = Line {
            app: None,
            color: None,
            deployment: None,
            host: None,
            status: None,
            upstream_us: None,
            by: "nobody",
            why: Some("client_gone"),
            cut: true,
            agent: None,
            ..whole
        };
        assert_eq!(
            none.to_string(),
            "2026-01-02T03:04:05.000006Z 192.0.2.7 GET https://-/a HTTP/2 - 12 3.214ms by=nobody/client_gone cut"
        );
    }

    #[test]
    fn a_host_forges_no_fields_and_tells_no_password() {
        let host = without_user(b"user:secret@a/ HTTP/1.1 200 5 1.000ms by=app");
        let line = Line { host: Some(Bytes(host)), ..line(b"/", b"") }.to_string();
        assert!(line.contains(r"https://a/\x20HTTP/1.1\x20200") && !line.contains("secret"), "{line}");
        assert_eq!(short(&[b'a'; LONGEST + 1]).len(), LONGEST);
    }

    #[test]
    fn nothing_that_a_client_writes_breaks_a_line() {
        let evil = "/\n{\"\\\x1b[2J\u{9b}\u{202e}\u{7f}é".as_bytes();
        let line = line(evil, b"\xff\"\r");
        for text in [line.to_string().into_bytes(), line.json()] {
            assert!(text.iter().all(|byte| matches!(byte, b' '..=b'~')), "{}", text.escape_ascii());
        }
        assert!(line.to_string().ends_with(r#""\xff\"\x0d""#), "{line}");
        let read: serde_json::Value = serde_json::from_slice(&line.json()).unwrap();
        assert_eq!(read["path"].as_str().unwrap().as_bytes(), evil);
        assert_eq!(read["agent"], "\u{fffd}\"\r");
    }
}
