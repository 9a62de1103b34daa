//! Requests and answers on their way through the proxy. What is looked up in a message is little, and its fields are few: a
//! list of them in their order costs less than a map, to make and to move. HTTP/2 brings and takes maps.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::Uri;
use http::{Method, StatusCode, Version};
use hyper::ext::ReasonPhrase;

/// The fields of a message, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(HeaderName, HeaderValue)>);

impl Fields {
    /// None yet, and room for so many.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// The first one of this name.
    pub(crate) fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// All of this name.
    pub(crate) fn get_all(&self, name: HeaderName) -> impl Iterator<Item = &HeaderValue> {
        self.0.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Whether there is one of this name.
    pub(crate) fn has(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// One more, whatever there is of this name.
    pub(crate) fn add(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// The only one of this name.
    pub(crate) fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.remove(&name);
        self.add(name, value);
    }

    /// None of this name any more.
    pub(crate) fn remove(&mut self, name: &HeaderName) {
        self.retain(|other| other != name);
    }

    /// None any more but those of a name that `stays`.
    pub(crate) fn retain(&mut self, stays: impl Fn(&HeaderName) -> bool) {
        self.0.retain(|(name, _)| stays(name));
    }
}

impl From<HeaderMap> for Fields {
    fn from(map: HeaderMap) -> Self {
        let mut fields = Self::with_capacity(map.len());
        let mut last = None;
        for (name, value) in map {
            // Of several of one name only the first has it.
            last = name.or(last);
            if let Some(name) = last.clone() {
                fields.add(name, value);
            }
        }
        fields
    }
}

impl From<Fields> for HeaderMap {
    fn from(fields: Fields) -> Self {
        let mut map = Self::with_capacity(fields.0.len());
        for (name, value) in fields.0 {
            map.append(name, value);
        }
        map
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request<B> {
    pub(crate) method: Method,
    pub(crate) target: Uri,
    pub(crate) version: Version,
    pub(crate) fields: Fields,
    pub(crate) body: B,
}

impl<B> Request<B> {
    /// The same with the body that `change` makes of its own.
    pub(crate) fn map<C>(self, change: impl FnOnce(B) -> C) -> Request<C> {
        let Self { method, target, version, fields, body } = self;
        Request { method, target, version, fields, body: change(body) }
    }
}

impl<B: Default> Default for Request<B> {
    fn default() -> Self {
        let (target, fields) = (Uri::default(), Fields::default());
        Self { method: Method::GET, target, version: Version::HTTP_11, fields, body: B::default() }
    }
}

impl<B> From<http::Request<B>> for Request<B> {
    fn from(request: http::Request<B>) -> Self {
        let (head, body) = request.into_parts();
        let (method, target, version) = (head.method, head.uri, head.version);
        Self { method, target, version, fields: head.headers.into(), body }
    }
}

impl<B> From<Request<B>> for http::Request<B> {
    fn from(request: Request<B>) -> Self {
        let mut made = Self::new(request.body);
        *made.method_mut() = request.method;
        *made.uri_mut() = request.target;
        *made.version_mut() = request.version;
        *made.headers_mut() = request.fields.into();
        made
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Response<B> {
    pub(crate) head: ResponseHead,
    pub(crate) body: B,
}

/// What of an answer comes before its body.
#[derive(Clone, Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    /// What its status is called, where that is not what everybody calls it.
    pub(crate) reason: Option<ReasonPhrase>,
    pub(crate) fields: Fields,
}

impl<B> Response<B> {
    /// One without fields.
    pub(crate) fn new(status: StatusCode, body: B) -> Self {
        Self { head: ResponseHead { status, reason: None, fields: Fields::default() }, body }
    }

    /// The same with the body that `change` makes of its own.
    pub(crate) fn map<C>(self, change: impl FnOnce(B) -> C) -> Response<C> {
        Response { head: self.head, body: change(self.body) }
    }
}

impl<B> From<http::Response<B>> for Response<B> {
    fn from(answer: http::Response<B>) -> Self {
        let (mut head, body) = answer.into_parts();
        let reason = head.extensions.remove::<ReasonPhrase>();
        Self { head: ResponseHead { status: head.status, reason, fields: head.headers.into() }, body }
    }
}

impl<B> From<Response<B>> for http::Response<B> {
    fn from(answer: Response<B>) -> Self {
        let mut made = Self::new(answer.body);
        *made.status_mut() = answer.head.status;
        *made.headers_mut() = answer.head.fields.into();
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{ACCEPT, COOKIE, HOST};

    fn fields(of: &[(HeaderName, &'static str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in of {
            fields.add(name.clone(), HeaderValue::from_static(value));
        }
        fields
    }

    #[test]
    fn they_keep_their_order_and_are_the_same_as_a_map_and_back() {
        let all = fields(&[(COOKIE, "1"), (HOST, "a"), (ACCEPT, "b")]);
        assert_eq!(Fields::from(HeaderMap::from(all.clone())), all);
        let mut map = HeaderMap::from(fields(&[(COOKIE, "1"), (HOST, "a"), (COOKIE, "2")]));
        assert_eq!(Fields::from(map.clone()), fields(&[(COOKIE, "1"), (COOKIE, "2"), (HOST, "a")]));
        map.remove(COOKIE);
        assert_eq!(Fields::from(map), fields(&[(HOST, "a")]));
    }

    #[test]
    fn one_that_is_set_is_the_only_one_of_its_name() {
        let mut all = fields(&[(COOKIE, "1"), (HOST, "a"), (COOKIE, "2")]);
        assert_eq!(all.get_all(COOKIE).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((all.get(&COOKIE), all.get(&ACCEPT)), (Some(&HeaderValue::from_static("1")), None));
        all.set(COOKIE, HeaderValue::from_static("3"));
        assert_eq!(all, fields(&[(HOST, "a"), (COOKIE, "3")]));
        all.remove(&COOKIE);
        assert!(all.has(&HOST) && !all.has(&COOKIE));
    }
}
