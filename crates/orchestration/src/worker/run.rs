//! Running one task, by its kind. What it needs was checked when its type was defined, except for what expressions gave.

use std::{collections::BTreeMap, time::Duration};

use grace_bus::{Bus, Message};
use grace_kernel::process::later;
use grace_types::manifest::units;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{exec, http};
use crate::{
    htm::command::{Lease, TaskAnswer},
    intent::{Json, Limits},
};

/// What this worker can run.
pub(super) const KINDS: [&str; 4] = ["exec", "http", "publish", "wait"];

/// What went wrong, and whether trying again makes sense.
pub(super) struct Failed {
    pub(super) why: String,
    pub(super) retry: bool,
}

impl Failed {
    pub(super) fn for_good(why: impl Into<String>) -> Self {
        Self { why: why.into(), retry: false }
    }

    pub(super) fn again(why: impl Into<String>) -> Self {
        Self { why: why.into(), retry: true }
    }
}

/// `exec`.
#[derive(Debug, Deserialize)]
pub(super) struct Exec {
    pub(super) command: Vec<String>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) working_dir: Option<String>,
    #[serde(default)]
    pub(super) limits: Limits,
}

#[derive(Debug, Deserialize)]
struct Wait {
    #[serde(rename = "for")]
    duration: String,
}

#[derive(Debug, Deserialize)]
struct Publish {
    subject: String,
    #[serde(default)]
    message: Value,
}

/// Runs a task to its end, within its time.
pub(super) async fn run(lease: Lease, bus: Bus) -> TaskAnswer {
    let limit = Duration::from_millis(lease.timeout_ms);
    let done = match tokio::time::timeout(limit, by_kind(&lease, &bus)).await {
        Ok(done) => done,
        Err(_) => Err(Failed::again(format!("not done within {} ms, and ended", lease.timeout_ms))),
    };
    let (output, failed, retry) = match done {
        Ok(output) => (output.as_ref().map(Json::of), None, None),
        Err(failed) => (None, Some(failed.why), Some(failed.retry)),
    };
    TaskAnswer { task: lease.task, token: lease.token, output, failed, retry }
}

async fn by_kind(lease: &Lease, bus: &Bus) -> Result<Option<Value>, Failed> {
    match &*lease.kind {
        "exec" => exec::run(lease, &input(lease)?).await.map(Some),
        "http" => http::run(lease, input(lease)?).await.map(Some),
        "wait" => {
            let Wait { duration } = input(lease)?;
            let wait =
                units::duration(&duration).map_err(|e| Failed::for_good(format!("`for`: {}", e.message)))?;
            later(wait).await;
            Ok(None)
        }
        "publish" => {
            let Publish { subject, message } = input(lease)?;
            let body = match message {
                Value::Null => Vec::new(),
                Value::String(text) => text.into_bytes(),
                other => other.to_string().into_bytes(),
            };
            let trace = lease.trace().map(|trace| ("traceparent", trace.to_string()));
            let message = Message::new(subject, body).with_headers(trace.into_iter().collect());
            let sent = async {
                bus.publish(message).await?;
                bus.flush().await
            };
            sent.await.map_err(|e| Failed::again(e.to_string()))?;
            Ok(None)
        }
        kind => Err(Failed::again(format!("this worker does not run tasks of kind `{kind}`"))),
    }
}

fn input<T: DeserializeOwned>(lease: &Lease) -> Result<T, Failed> {
    serde_json::from_str(lease.input.text())
        .map_err(|e| Failed::for_good(format!("the input does not fit a task of kind `{}`: {e}", lease.kind)))
}
