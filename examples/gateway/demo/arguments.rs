//! The arguments of the tools; the comments on them are what `tools/list` shows.

use rmcp::schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Echo {
    /// Comes back as the answer.
    pub(super) text: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Count {
    /// How far to count, and how many progress notifications to send.
    pub(super) steps: u32,
    /// How long to wait before each step.
    #[serde(default)]
    pub(super) delay_ms: u64,
    /// Wait after the first step until the tool `release` is called with this name.
    pub(super) gate: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Release {
    /// The gate of a running `count`.
    pub(super) gate: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Notify {
    /// What to report as updated.
    pub(super) uri: String,
    /// How long after the answer.
    #[serde(default)]
    pub(super) delay_ms: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Ask {
    /// Shown to the user of the calling client.
    pub(super) question: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct HangUp {
    /// Comes back as the answer, on the resumed stream.
    pub(super) text: String,
    /// How long the client is told to wait before it reconnects.
    #[serde(default = "HangUp::default_retry_ms")]
    pub(super) retry_ms: u64,
}

impl HangUp {
    fn default_retry_ms() -> u64 {
        500
    }
}

/// A reply to the question.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Reply {
    /// Your answer.
    pub(super) answer: String,
}
