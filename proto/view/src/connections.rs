//! `mesh status connections`: stable columns, one connection per line.

use std::fmt::Write as _;

use mesh_proto::api::{ConnectionReport, ConnectionState};

/// States of connections, in the order in which they are counted.
pub(crate) const STATES: [ConnectionState; 5] = [
    ConnectionState::Established,
    ConnectionState::Pending,
    ConnectionState::Retrying,
    ConnectionState::Failed,
    ConnectionState::Connecting,
];

/// Returns one line per connection.
pub fn text(rows: &[&ConnectionReport]) -> String {
    let mut out = String::new();
    for connection in rows {
        let line = format!(
            "{} {:<21} {:<11} {}",
            arrow(connection.outbound),
            connection.address,
            state_name(connection.state),
            connection_info(connection)
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// Formats counts by state, as in `5 established, 1 pending`; states without connections are left out.
pub(crate) fn counted(states: impl Iterator<Item = ConnectionState>) -> String {
    let states: Vec<_> = states.collect();
    let count = |state| states.iter().filter(|s| **s == state).count();
    let parts: Vec<_> = STATES
        .into_iter()
        .filter(|state| count(*state) > 0)
        .map(|state| format!("{} {}", count(state), state_name(state)))
        .collect();
    parts.join(", ")
}

/// Returns the direction in which a link was dialled.
pub(crate) fn arrow(outbound: bool) -> &'static str {
    if outbound { "->" } else { "<-" }
}

/// Returns the state of a link that another router announces.
pub(crate) fn announced_state(established: bool) -> ConnectionState {
    if established {
        ConnectionState::Established
    } else {
        ConnectionState::Pending
    }
}

/// Returns the name of a state, as it is printed and given to `--state`.
pub(crate) fn state_name(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Established => "established",
        ConnectionState::Pending => "pending",
        ConnectionState::Retrying => "retrying",
        ConnectionState::Failed => "failed",
        ConnectionState::Connecting => "connecting",
    }
}

fn connection_info(connection: &ConnectionReport) -> String {
    match connection.state {
        ConnectionState::Established | ConnectionState::Pending => live_info(connection),
        ConnectionState::Connecting => connection.error.clone(),
        ConnectionState::Retrying | ConnectionState::Failed => dead_info(connection),
    }
}

fn live_info(connection: &ConnectionReport) -> String {
    let encrypted = if connection.encrypted {
        "encrypted"
    } else {
        "unencrypted"
    };
    let mut info = format!(
        "{encrypted:<11} {:<6} {}",
        connection.datapath, connection.peer
    );
    if !connection.cipher.is_empty() {
        let _ = write!(info, " {}", connection.cipher);
    }
    let _ = write!(info, " mtu={}", connection.mtu);
    if let Some(rtt) = connection.rtt_ms {
        let _ = write!(info, " rtt={rtt:.1}ms");
    }
    if !connection.fast_path_doubt.is_empty() {
        let _ = write!(info, " (encrypted: {})", connection.fast_path_doubt);
    }
    // The error says why the data path of a pending connection is down.
    if !connection.error.is_empty() {
        let _ = write!(info, " {}", connection.error);
    }
    info
}

fn dead_info(connection: &ConnectionReport) -> String {
    let retry = match connection.retry_in {
        Some(seconds) => format!("retry in {:.0}s", seconds.max(0.0).ceil()),
        // Only the other end knows if an inbound connection is retried.
        None if !connection.outbound => return connection.error.clone(),
        None => "no retry".to_owned(),
    };
    if connection.error.is_empty() {
        return retry;
    }
    format!("{}, {retry}", connection.error)
}
