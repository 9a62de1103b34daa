//! The parameters of a question, after the `?`. What is unknown, or has a value that is none, is
//! refused with what is allowed. It must not know what is asked.

use super::code::Code;
use super::error::Problem;
use super::operations;
use axum::extract::{FromRequestParts, MatchedPath, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dockswap_store::Page;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The most rows of one answer.
pub(super) const MOST: u64 = 500;

/// The rows of one answer when nobody says how many.
pub(super) const USUAL: u64 = 50;

/// The parameters of a request. `T` refuses fields that it does not know.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let asked = Query::from_request_parts(parts, state).await;
        let Query(asked) = asked.map_err(|rejection| {
            let text = rejection.body_text();
            let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            Problem::new(Code::BadParameter, text)
        })?;
        Ok(Self(asked))
    }
}

/// Refuses parameters of a request that takes none. (Those of the others are refused where they are read.)
pub(super) async fn refuse_unknown(path: MatchedPath, request: Request, next: Next) -> Response {
    let takes_none =
        operations::find(request.method(), path.as_str()).is_some_and(|one| one.query.is_empty());
    match request.uri().query() {
        Some(query) if takes_none && !query.is_empty() => {
            let told = "parameters are not taken here: leave out what is behind the `?`";
            Problem::new(Code::BadParameter, told).into_response()
        }
        _ => next.run(request).await,
    }
}

/// Which part of a list.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    #[serde(default)]
    limit: Limit,
    #[serde(default)]
    offset: Offset,
}

/// How many rows.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Limit(u64);

impl Default for Limit {
    fn default() -> Self {
        Self(USUAL)
    }
}

impl TryFrom<String> for Limit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let limit = text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
        limit.map(Self).ok_or_else(|| format!("write a whole number from 1 to {MOST}"))
    }
}

/// How many rows are passed over first.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Offset(u64);

/// Databases count no further.
pub(super) const FARTHEST: u64 = i64::MAX.cast_unsigned();

impl TryFrom<String> for Offset {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let offset = text.parse().ok().filter(|offset| *offset <= FARTHEST);
        offset.map(Self).ok_or_else(|| format!("write a whole number from 0 to {FARTHEST}"))
    }
}

impl Part {
    pub(super) const fn of(limit: Limit, offset: Offset) -> Self {
        Self { limit, offset }
    }

    /// The rows to read: one more than are shown, which tells whether there is a next part.
    pub(super) const fn to_read(self) -> Page {
        Page { limit: self.limit.0 + 1, offset: self.offset.0 }
    }

    /// Takes the row away that is not shown; where there was one, gives the header that names the next
    /// part of the list at `uri`.
    pub(super) fn cut<T>(self, rows: &mut Vec<T>, uri: &Uri) -> Option<[(HeaderName, HeaderValue); 1]> {
        let limit = usize::try_from(self.limit.0).unwrap_or(usize::MAX);
        if rows.len() <= limit {
            return None;
        }
        rows.truncate(limit);
        let offset = self.offset.0.saturating_add(self.limit.0);
        let next = format!("<{}?limit={}&offset={offset}>; rel=\"next\"", uri.path(), self.limit.0);
        Some([(header::LINK, HeaderValue::from_str(&next).ok()?)])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::{Asked, Part};
    use axum::extract::FromRequestParts;
    use axum::http::{Request, Uri};

    async fn asked(query: &str) -> Result<Part, String> {
        let (mut parts, ()) = Request::get(format!("/x{query}")).body(()).unwrap().into_parts();
        let asked = Asked::<Part>::from_request_parts(&mut parts, &()).await;
        asked.map(|Asked(part)| part).map_err(|problem| problem.into_wire().detail)
    }

    #[tokio::test]
    async fn a_part_is_what_was_asked_for_or_refused_with_what_is_allowed() {
        for (query, limit, offset) in
            [("", 50, 0), ("?limit=500", 500, 0), ("?limit=1&offset=9223372036854775807", 1, i64::MAX)]
        {
            let page = asked(query).await.unwrap().to_read();
            assert_eq!((page.limit, page.offset), (limit + 1, offset.cast_unsigned()), "{query}");
        }
        for (query, told) in [
            ("?limit=0", "limit: write a whole number from 1 to 500"),
            ("?limit=501", "limit: write a whole number from 1 to 500"),
            ("?limit=", "limit: write a whole number from 1 to 500"),
            ("?offset=-1", "offset: write a whole number from 0 to 9223372036854775807"),
            ("?ofset=1", "unknown field `ofset`, expected `limit` or `offset`"),
            ("?limit=1&limit=2", "duplicate field `limit`"),
        ] {
            let refused = asked(query).await.unwrap_err();
            assert!(refused.contains(told), "{query}: {refused}");
        }
    }

    #[tokio::test]
    async fn the_next_part_is_named_where_there_is_one() {
        let uri: Uri = "/v1/apps/web/configs?limit=2&offset=4".parse().unwrap();
        let part = asked("?limit=2&offset=4").await.unwrap();
        let mut rows = vec![1, 2, 3];
        let [(name, value)] = part.cut(&mut rows, &uri).unwrap();
        assert_eq!((name.as_str(), rows.len()), ("link", 2));
        assert_eq!(value, "</v1/apps/web/configs?limit=2&offset=6>; rel=\"next\"");
        assert!(part.cut(&mut rows, &uri).is_none(), "the last part has no next one");
    }
}
