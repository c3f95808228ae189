//! Peers that were given to the last start.

use serde::{Deserialize, Serialize};

/// Peers given to a start, stored for the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GivenPeers {
    /// Peers on the command line.
    pub command: Vec<String>,
    /// Peers in the configuration file.
    pub file: Vec<String>,
}
