//! Requests in progress, with the reasons for their delay.

use serde::{Deserialize, Serialize};

use super::ipam::IpamWaiting;

/// Answer to `GET /waiting`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct WaitingReport {
    /// Waiting requests for addresses.
    pub addresses: Vec<IpamWaiting>,
    /// Engines with an unanswered request.
    pub engines: Vec<EngineWaiting>,
}

/// Engine with an unanswered request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EngineWaiting {
    /// Name of the engine, such as `Docker`.
    pub engine: String,
    /// Seconds since the request.
    pub since: f64,
    /// Seconds after which the request is given up.
    pub limit: f64,
}
