//! HTTP/1.1 messages, read strictly: the reference that the proxy's own reading is compared with. It
//! takes what RFC 9112 has senders write, and nothing that two readers could take for two things.

/// How a stream of messages ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// After a whole message.
    Clean,
    /// In a head.
    InHead,
    /// In a body, of which this much is there.
    InBody(Box<Message>),
    /// With what no strict reader takes, after `so_far` where a head was good.
    Bad { why: &'static str, so_far: Option<Box<Message>> },
}

/// A request or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Method, target, version; or version, status, reason.
    pub(crate) first: [String; 3],
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Sized(usize),
    Chunked,
    /// Until the connection ends: answers only.
    ToTheEnd,
}

/// Names in lower case, values without the blanks around them.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

type Bad = &'static str;

impl Message {
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_slice())
    }

    /// Whether a chunked body may follow.
    fn is_of_1_1(&self) -> bool {
        self.first.iter().any(|part| part == "HTTP/1.1")
    }

    pub(crate) fn status(&self) -> u16 {
        self.first[1].parse().unwrap_or_default()
    }
}

/// What is read.
#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Request,
    /// To a request of this method.
    Answer(&'a str),
}

/// All requests in `bytes`, and how they end.
pub(crate) fn requests(bytes: &[u8]) -> (Vec<Message>, End) {
    let mut rest = bytes;
    let mut messages = Vec::new();
    loop {
        // Empty lines before a request are skipped (RFC 9112, section 2.2).
        while let Some(after) = rest.strip_prefix(b"\r\n") {
            rest = after;
        }
        if rest.is_empty() {
            return (messages, End::Clean);
        }
        match next(&mut rest, Kind::Request) {
            Ok(message) => messages.push(message),
            Err(end) => return (messages, end),
        }
    }
}

/// The first answer in `bytes`, to a request of `method`, and what comes after it. An interim answer is
/// one. Nothing comes after `bytes`.
///
/// # Errors
/// How they end instead.
pub(crate) fn next_answer<'a>(mut bytes: &'a [u8], method: &str) -> Result<(Message, &'a [u8]), End> {
    next(&mut bytes, Kind::Answer(method)).map(|message| (message, bytes))
}

/// The next message; `rest` is what comes after it.
fn next(rest: &mut &[u8], kind: Kind<'_>) -> Result<Message, End> {
    let bad = |so_far| move |why| End::Bad { why, so_far };
    let mut message = head(rest, kind).map_err(bad(None))?.ok_or(End::InHead)?;
    let body = kind.framing(&message).map_err(bad(None))?;
    match take_body(rest, body, &mut message) {
        Ok(true) => Ok(message),
        Ok(false) => Err(End::InBody(Box::new(message))),
        Err(why) => Err(End::Bad { why, so_far: Some(Box::new(message)) }),
    }
}

impl Kind<'_> {
    /// What follows a head.
    fn framing(self, message: &Message) -> Result<Body, Bad> {
        if let Self::Answer(method) = self {
            let status = message.status();
            if method == "HEAD" || (100..200).contains(&status) || status == 204 || status == 304 {
                return Ok(Body::Sized(0));
            }
        }
        let lengths: Vec<&[u8]> = message.values("content-length").collect();
        let codings: Vec<&[u8]> = message.values("transfer-encoding").collect();
        match (lengths.as_slice(), codings.as_slice()) {
            ([], []) => Ok(if matches!(self, Self::Request) { Body::Sized(0) } else { Body::ToTheEnd }),
            ([length], []) => decimal(length).map(Body::Sized).ok_or("a length that is no number"),
            ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") && message.is_of_1_1() => {
                Ok(Body::Chunked)
            }
            _ => Err("ambiguous framing"),
        }
    }
}

/// The next line without its end; `None`: it has not ended.
fn line<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Bad> {
    let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
        return if rest[..rest.len().saturating_sub(1)].contains(&b'\r') {
            Err("a bare CR")
        } else {
            Ok(None)
        };
    };
    let line = rest[..end].strip_suffix(b"\r").ok_or("a bare LF")?;
    if line.contains(&b'\r') {
        return Err("a bare CR");
    }
    *rest = &rest[end + 1..];
    Ok(Some(line))
}

fn head(rest: &mut &[u8], kind: Kind<'_>) -> Result<Option<Message>, Bad> {
    let Some(opening) = line(rest)? else { return Ok(None) };
    let opening = std::str::from_utf8(opening).map_err(|_| "a first line that is not ASCII")?;
    let first = match kind {
        Kind::Request => request_line(opening)?,
        Kind::Answer(_) => status_line(opening)?,
    };
    let Some(fields) = fields(rest)? else { return Ok(None) };
    Ok(Some(Message { first, fields, body: Vec::new(), trailers: Vec::new() }))
}

fn fields(rest: &mut &[u8]) -> Result<Option<Fields>, Bad> {
    let mut fields = Vec::new();
    loop {
        let Some(line) = line(rest)? else { return Ok(None) };
        if line.is_empty() {
            return Ok(Some(fields));
        }
        let colon = line.iter().position(|&byte| byte == b':').ok_or("a field without a colon")?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) {
            return Err("a field's name is no token");
        }
        if value.iter().any(|&byte| byte != b'\t' && (byte < b' ' || byte == 0x7f)) {
            return Err("a control character in a field");
        }
        fields.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value.trim_ascii().to_vec()));
    }
}

fn request_line(line: &str) -> Result<[String; 3], Bad> {
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = parts.as_slice() else { return Err("not three parts") };
    if !is_token(method.as_bytes())
        || target.is_empty()
        || target.bytes().any(|byte| byte <= b' ' || byte == 0x7f)
    {
        return Err("a strange method or target");
    }
    if !matches!(*version, "HTTP/1.1" | "HTTP/1.0") {
        return Err("a strange version");
    }
    Ok([method, target, version].map(|part| (*part).to_owned()))
}

fn status_line(line: &str) -> Result<[String; 3], Bad> {
    let (version, rest) = line.split_once(' ').ok_or("no status")?;
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let number: u16 = status.parse().map_err(|_| "a status that is no number")?;
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || status.len() != 3 || !(100..1000).contains(&number) {
        return Err("a strange version or status");
    }
    Ok([version, status, reason].map(str::to_owned))
}

/// Whether the body is whole.
fn take_body(rest: &mut &[u8], body: Body, message: &mut Message) -> Result<bool, Bad> {
    match body {
        Body::Sized(length) => {
            let here = length.min(rest.len());
            message.body.extend_from_slice(&rest[..here]);
            *rest = &rest[here..];
            Ok(here == length)
        }
        Body::ToTheEnd => {
            message.body.extend_from_slice(rest);
            *rest = &[];
            Ok(true)
        }
        Body::Chunked => loop {
            let Some(size) = line(rest)? else { return Ok(false) };
            let size = chunk_size(size).ok_or("a chunk's size that is no number")?;
            if size == 0 {
                let Some(trailers) = fields(rest)? else { return Ok(false) };
                message.trailers = trailers;
                return Ok(true);
            }
            let here = size.min(rest.len());
            message.body.extend_from_slice(&rest[..here]);
            *rest = &rest[here..];
            if rest.len() < 2 {
                return if b"\r\n".starts_with(rest) { Ok(false) } else { Err("a chunk without an end") };
            }
            *rest = rest.strip_prefix(b"\r\n").ok_or("a chunk without an end")?;
        },
    }
}

/// Extensions are passed over: nobody acts on them, and the proxy cuts bodies into chunks of its own.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
    let digits = std::str::from_utf8(digits.trim_ascii_end()).ok()?;
    let hexadecimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal.then(|| usize::from_str_radix(digits, 16).ok())?
}

fn decimal(digits: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(digits).ok()?;
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().ok())?
}

fn is_token(bytes: &[u8]) -> bool {
    let valid = |&byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !bytes.is_empty() && bytes.iter().all(valid)
}
