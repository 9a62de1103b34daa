//! The segment of a path that names something: an app, a deployment, a config. What it names is its
//! readers' business.

use super::error::Problem;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

/// The one segment of a path that differs, decoded.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::from_request_parts(parts, state).await?;
        Ok(Self(text))
    }
}
