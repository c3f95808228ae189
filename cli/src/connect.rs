//! `mesh connect` and `mesh forget`.

use mesh_proto::api::{ConnectRequest, Done, ForgetRequest};

use crate::Outcome;
use crate::args::{ConnectArgs, PeerArgs};
use crate::client::Client;

/// Adds targets, or replaces them all.
pub(crate) fn connect(client: &Client, args: ConnectArgs) -> Outcome {
    let request = ConnectRequest {
        peers: args.peers,
        replace: args.replace,
    };
    client.post::<Done>("/connect", &request)?;
    Ok(0)
}

/// Removes targets.
pub(crate) fn forget(client: &Client, args: PeerArgs) -> Outcome {
    let request = ForgetRequest { peers: args.peers };
    client.post::<Done>("/forget", &request)?;
    Ok(0)
}
