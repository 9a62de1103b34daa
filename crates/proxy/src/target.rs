//! What a request is for: its host and its target, as far as they can be understood in one way only.

use crate::host::Named;
use crate::message::Request;
use crate::pages::Page;
use http::header::HOST;
use http::uri::Uri;
use http::{HeaderValue, Method, Version};

/// How many bytes there are of it.
pub(crate) fn length(uri: &Uri) -> usize {
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    authority + uri.path_and_query().map_or(0, |target| target.as_str().len())
}

/// The one host that a request names; HTTP/1.0 may name none.
pub(crate) fn host<B>(request: &Request<B>) -> Result<Option<Named>, Page> {
    let mut fields = request.fields.get_all(HOST);
    let (field, second) = (fields.next(), fields.next());
    let authority = request.target.authority();
    let missing = match request.version {
        Version::HTTP_11 => field.is_none(),
        Version::HTTP_2 => field.is_none() && authority.is_none(),
        _ => false,
    };
    // Two that differ are one too many (RFC 9113, section 8.3.1).
    let contradicted = request.version == Version::HTTP_2
        && authority.zip(field).is_some_and(|(authority, field)| authority.as_str() != field);
    if missing || second.is_some() || contradicted {
        return Err(Page::BadRequest);
    }
    let named = match authority {
        // An absolute target: what it says is what counts (RFC 9112, section 3.2.2).
        Some(authority) => Some(HeaderValue::from_str(authority.as_str()).map_err(|_| Page::BadRequest)?),
        None => field.cloned(),
    };
    // Without an authority both are the same.
    if authority.is_some() && field.is_some_and(|field| Named::new(field.clone()).is_none()) {
        return Err(Page::BadRequest);
    }
    named.map(|named| Named::new(named).ok_or(Page::BadRequest)).transpose()
}

/// Whether the target names a resource, or, for `OPTIONS`, the server as a whole.
pub(crate) fn is_valid<B>(request: &Request<B>) -> bool {
    let path = request.target.path();
    path.starts_with('/') || (path == "*" && request.method == Method::OPTIONS)
}
