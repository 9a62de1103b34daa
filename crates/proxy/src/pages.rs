//! The proxy's own answers: short, plain, and without a word about what is behind it.

use crate::answer::{Answer, AnswerBody};
use crate::client_io::Busy;
use crate::message::Response;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

/// After how many seconds a client may ask an app again that is closed for maintenance.
const MAINTENANCE_RETRY: &str = "60";

/// Why the proxy answers a request itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// The request cannot be understood, or not in one way only.
    BadRequest,
    /// The client stopped sending in the middle of a body.
    RequestTimeout,
    /// The body is longer than the app takes.
    BodyTooLong,
    /// The request target is too long.
    UriTooLong,
    /// The head of the request is too long.
    HeadTooLong,
    /// `CONNECT`: this is no forward proxy.
    MethodNotAllowed,
    /// No app is routed here.
    NoRoute,
    /// This connection was made for other hosts.
    Misdirected,
    /// There are as many requests from this client in flight as it may have.
    TooManyStreams,
    /// The app has nothing that serves.
    Unavailable,
    /// The app has as many requests in flight as it takes.
    Busy,
    /// The app is closed for maintenance; its own page in HTML, if it has one.
    Maintenance(Option<Bytes>),
    /// The app did not answer, or not in HTTP.
    BadGateway,
    /// The app did not answer in time.
    GatewayTimeout,
}

impl Page {
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::TooManyStreams => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable | Self::Busy | Self::Maintenance(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Why, in the words of the access log.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::RequestTimeout => "request_timeout",
            Self::BodyTooLong => "body_too_long",
            Self::UriTooLong => "uri_too_long",
            Self::HeadTooLong => "head_too_long",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NoRoute => "no_route",
            Self::Misdirected => "misdirected",
            Self::TooManyStreams => "too_many_streams",
            Self::Unavailable => "unavailable",
            Self::Busy => "too_many_requests",
            Self::Maintenance(_) => "maintenance",
            Self::BadGateway => "bad_gateway",
            Self::GatewayTimeout => "gateway_timeout",
        }
    }

    fn text(&self) -> Bytes {
        let text = match self {
            Self::Maintenance(Some(page)) => return page.clone(),
            Self::Maintenance(None) => {
                "503 Service Unavailable: closed for maintenance, please come back later.\n"
            }
            Self::BadRequest => {
                "400 Bad Request: this request could be read in more than one way, or in none.\n"
            }
            Self::RequestTimeout => "408 Request Timeout: the rest of this request did not come.\n",
            Self::BodyTooLong => "413 Content Too Large: the body of this request is too long.\n",
            Self::UriTooLong => "414 URI Too Long\n",
            Self::HeadTooLong => "431 Request Header Fields Too Large\n",
            Self::MethodNotAllowed => "405 Method Not Allowed\n",
            Self::NoRoute => "404 Not Found: nothing is served here.\n",
            Self::Misdirected => "421 Misdirected Request: this connection is for other hosts.\n",
            Self::TooManyStreams => "429 Too Many Requests: too many at a time from your address.\n",
            Self::Busy => {
                "503 Service Unavailable: too many requests at a time, please try again in a moment.\n"
            }
            Self::Unavailable => "503 Service Unavailable: please try again in a moment.\n",
            Self::BadGateway => "502 Bad Gateway: the application did not answer.\n",
            Self::GatewayTimeout => "504 Gateway Timeout: the application did not answer in time.\n",
        };
        Bytes::from_static(text.as_bytes())
    }

    const fn content_type(&self) -> &'static str {
        match self {
            Self::Maintenance(Some(_)) => "text/html; charset=utf-8",
            _ => "text/plain; charset=utf-8",
        }
    }

    /// The page as an answer to `HEAD`.
    pub(crate) fn head(self, busy: Busy) -> Answer {
        let length = self.text().len();
        let mut answer = self.answer(busy).map(AnswerBody::without_text);
        answer.head.fields.set(CONTENT_LENGTH, HeaderValue::from(length));
        answer
    }

    /// The page as an answer.
    pub(crate) fn answer(self, busy: Busy) -> Answer {
        let mut answer = Response::new(self.status(), AnswerBody::page(self.text(), busy));
        let fields = &mut answer.head.fields;
        fields.add(CONTENT_TYPE, HeaderValue::from_static(self.content_type()));
        fields.add(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Nothing that follows on this connection can be trusted. (A client that counted on its CONNECT has
        // sent along what is meant for a tunnel, and of a body that is too long the rest is not wanted.)
        if matches!(
            self,
            Self::BadRequest | Self::RequestTimeout | Self::BodyTooLong | Self::MethodNotAllowed
        ) {
            fields.add(CONNECTION, HeaderValue::from_static("close"));
        }
        match self {
            Self::MethodNotAllowed => {
                fields.add(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
            }
            Self::Unavailable | Self::Busy | Self::TooManyStreams => {
                fields.add(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Maintenance(_) => {
                fields.add(RETRY_AFTER, HeaderValue::from_static(MAINTENANCE_RETRY));
            }
            Self::BadRequest
            | Self::RequestTimeout
            | Self::BodyTooLong
            | Self::UriTooLong
            | Self::HeadTooLong
            | Self::NoRoute
            | Self::Misdirected
            | Self::BadGateway
            | Self::GatewayTimeout => {}
        }
        answer
    }
}
