//! `mesh connect` and `mesh forget`.

use mesh_command::args::{ConnectArgs, PeerArgs};
use mesh_command::request;
use mesh_proto::api::{Done, ForgetReply};

use crate::client::ApiClient;
use crate::lookup::PeerLookup;
use crate::output;
use crate::output::VerbResult;

/// Adds targets, or replaces the list of targets.
pub(crate) fn connect(client: &ApiClient, args: ConnectArgs) -> VerbResult {
    let lookup = PeerLookup::begin(&args.peers);
    client.post::<Done>("/connect", &request::connect(args))?;
    lookup.finish();
    Ok(0)
}

/// Makes the router stop dialling these peers.
pub(crate) fn forget(client: &ApiClient, args: PeerArgs) -> VerbResult {
    let done: ForgetReply = client.post("/forget", &request::forget(args))?;
    for peer in done.linked {
        output::complain(&format!(
            "{peer} is linked, and stays so until that link ends; this router does not dial it any more, but it may dial this one"
        ));
    }
    for peer in done.unknown {
        output::complain(&format!(
            "{peer} is no target and no router that is known here; `mesh status targets` and `status peers` list them"
        ));
    }
    Ok(0)
}
