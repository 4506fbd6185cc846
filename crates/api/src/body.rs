//! Bodies of requests: bounded in size and time, with room for all of them together.

use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use tokio::{sync::SemaphorePermit, time::timeout};

use crate::{api::Api, limits, problem::Problem};

/// A body of JSON as a `T`. Fields that a `T` does not have are refused, where it says so.
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
    serde_json::from_slice(&body).map_err(|e| Problem::malformed(format!("the body: {e}")))
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
