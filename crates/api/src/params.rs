//! What stands in a path and behind its question mark, with problems for what cannot be read.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::{StatusCode, request::Parts},
};
use grace_types::intent::IntentId;
use serde::de::DeserializeOwned;

use crate::{api::Api, problem::Problem};

/// The id of an intent in a path's `{id}`.
pub(crate) struct Id(pub(crate) IntentId);

impl FromRequestParts<Arc<Api>> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let none = |detail: String| Problem::new(StatusCode::NOT_FOUND, "not_found", detail);
        let Path(text) =
            Path::<String>::from_request_parts(parts, api).await.map_err(|e| none(e.to_string()))?;
        text.parse().map(Self).map_err(|e: grace_types::intent::BadId| none(e.to_string()))
    }
}

/// What stands behind the question mark. What a `T` does not have is refused.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Api>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _api: &Arc<Api>) -> Result<Self, Problem> {
        let read = Query::<T>::try_from_uri(&parts.uri);
        read.map(|Query(params)| Self(params)).map_err(|e| Problem::malformed(e.to_string()))
    }
}
