//! Commands to the control plane, which the shell carries out.

use mesh_proto::api::ControlReport;
use mesh_proto::control::Forgot;
use mesh_proto::fastpath::Beat;
use mesh_proto::wire::topic::Topic;
use tokio::sync::oneshot;

/// Command of the API or the host side to the control plane.
#[derive(Debug)]
pub enum ControlCommand {
    /// Requests the control plane's part of the report.
    Report(oneshot::Sender<ControlReport>),
    /// Adds targets (`mesh connect`).
    Connect {
        /// Targets as typed.
        targets: Vec<String>,
        /// True if the list of targets is replaced.
        replace: bool,
        /// Receives the result, and then whether it is stored; or the error.
        done: oneshot::Sender<Result<Stored, String>>,
    },
    /// Removes targets (`mesh forget`).
    Forget {
        /// Targets or names.
        targets: Vec<String>,
        /// Receives the result for each, and whether it is stored.
        done: oneshot::Sender<(Vec<Forgot>, Stored)>,
    },
    /// Announces a record for a topic, in place of the previous one.
    Announce(Topic, Vec<u8>),
    /// Handles a keepalive that arrived by VXLAN.
    Beat(Beat),
    /// Stops the control plane in good order.
    Stop,
}

/// Receives the result of storing a change, once it was attempted.
pub type Stored = oneshot::Receiver<Result<(), String>>;
