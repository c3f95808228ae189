//! What requests that are under way wait for.

use serde::{Deserialize, Serialize};

use super::ipam::IpamWaiting;

/// `GET /waiting`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Waiting {
    /// Requests for addresses.
    pub addresses: Vec<IpamWaiting>,
    /// Engines that were asked something and have not answered yet.
    pub engines: Vec<EngineWaiting>,
}

/// An engine that was asked something and has not answered yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EngineWaiting {
    /// `Docker`.
    pub engine: String,
    /// Seconds since it was asked.
    pub since: f64,
    /// Seconds after which it is given up.
    pub limit: f64,
}
