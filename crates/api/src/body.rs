//! Bodies of requests: bounded in size and time, with room for all of them together.

use std::{borrow::Cow, fmt, marker::PhantomData};

use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use tokio::{sync::SemaphorePermit, time::timeout};

use crate::{api::Api, limits, problem::Problem};

/// A `T` that is written as an object. What is derived for a struct takes an array of its fields' values as well, and
/// [the description](crate::openapi) knows of no such form.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Object<T>(pub(crate) T);

impl<T: JsonSchema> JsonSchema for Object<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// For a member that may be left out, but is no `null`.
///
/// # Errors
/// Those of the `T`.
pub(crate) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

/// A body of JSON, an object, as a `T`. Fields that a `T` does not have are refused, where it says so.
///
/// # Errors
/// Status 415, 413, 408, 503, or 400 with the place at fault.
pub(crate) async fn json<T: DeserializeOwned>(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
    most: usize,
) -> Result<T, Problem> {
    let _room = match admit(api, headers, most) {
        Ok(room) => room,
        Err(problem) => {
            refuse(headers, body).await;
            return Err(problem);
        }
    };
    let body = read(body, most).await?;
    let read = serde_json::from_slice(&body).map(|Object(read)| read);
    read.map_err(|e| Problem::malformed(format!("the body: {e}")))
}

fn admit<'a>(api: &'a Api, headers: &HeaderMap, most: usize) -> Result<SemaphorePermit<'a>, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Problem::unsupported("the body is JSON: `Content-Type: application/json`"));
    }
    room(api, headers, most)
}

/// Room for a body, until it is dropped.
///
/// # Errors
/// Status 413 for one that is too large, 503 when there is no room.
pub(crate) fn room<'a>(
    api: &'a Api,
    headers: &HeaderMap,
    most: usize,
) -> Result<SemaphorePermit<'a>, Problem> {
    let expected = expected(headers, most)?;
    api.bodies
        .try_acquire_many(u32::try_from(expected).unwrap_or(u32::MAX))
        .map_err(|_| Problem::unavailable("busy", "too many bodies are being read", limits::RETRY_AFTER))
}

/// How large the body will be at most.
fn expected(headers: &HeaderMap, most: usize) -> Result<usize, Problem> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(most) };
    let length: Option<usize> = length.to_str().ok().and_then(|text| text.parse().ok());
    length.filter(|length| *length <= most).ok_or_else(|| too_large(most))
}

fn too_large(most: usize) -> Problem {
    Problem::too_large(format!("the body has more than {most} bytes"))
}

/// The whole body.
///
/// # Errors
/// Status 413, 408, or 400 for one that ends early.
pub(crate) async fn read(body: Body, most: usize) -> Result<Bytes, Problem> {
    let mut pieces = body.into_data_stream();
    let mut whole = BytesMut::new();
    let reading = async {
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|e| Problem::malformed(format!("the body ended early: {e}")))?;
            if whole.len() + piece.len() > most {
                return Err(too_large(most));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(())
    };
    let Ok(done) = timeout(limits::BODY_TIME, reading).await else {
        let detail = format!("the body did not arrive within {:?}", limits::BODY_TIME);
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail));
    };
    if done.is_err() {
        drain(&mut pieces).await;
    }
    done.map(|()| whole.freeze())
}

/// Takes a body that is not wanted, so that its sender reads the answer. Who asked whether to send it (Expect: 100-continue) has not.
pub(crate) async fn refuse(headers: &HeaderMap, body: Body) {
    if !headers.contains_key(header::EXPECT) {
        drain(&mut body.into_data_stream()).await;
    }
}

/// Takes what is left of a body and throws it away, within bounds: whoever is cut off while sending does not read the answer.
async fn drain(pieces: &mut BodyDataStream) {
    let draining = async {
        let mut rest = limits::DRAINED_BYTES;
        while let Some(Ok(piece)) = pieces.next().await {
            rest = rest.saturating_sub(piece.len());
            if rest == 0 {
                return;
            }
        }
    };
    let _ = timeout(limits::DRAINED_TIME, draining).await;
}
