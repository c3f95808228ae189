//! `mesh expose`, `hide`, `attach-bridge` and `detach-bridge`: the host's own connection to the mesh.

use mesh_command::args::{AttachBridgeArgs, BridgeArgs, ExposeArgs, HideArgs};
use mesh_command::request;
use mesh_proto::api::{Done, Exposed, Hidden};

use crate::client::ApiClient;
use crate::output;
use crate::output::VerbResult;
use crate::waiting;

/// Gives the host addresses and prints them; other changes are reported on standard error.
pub(crate) fn expose(client: &ApiClient, args: &ExposeArgs) -> VerbResult {
    let request = request::expose(args, std::process::id())?;
    let exposed: Exposed = waiting::post(client, "/expose", &request, args.allocation.timeout)?;
    if args.json {
        output::print_json(&exposed)?;
        return Ok(0);
    }
    let alone = |address: &str| address.split('/').next().unwrap_or_default().to_owned();
    let lines = exposed.addresses.iter().map(|a| alone(&a.address));
    output::print_line(&lines.collect::<Vec<_>>().join(" "))?;
    for note in &exposed.notes {
        output::complain(note);
    }
    Ok(0)
}

/// Removes addresses from the host and prints them.
pub(crate) fn hide(client: &ApiClient, args: &HideArgs) -> VerbResult {
    let hidden: Hidden = client.post("/hide", &request::hide(args)?)?;
    if args.json {
        output::print_json(&hidden)?;
        return Ok(0);
    }
    if !hidden.addresses.is_empty() {
        output::print_line(&hidden.addresses.join(" "))?;
    }
    for argument in &hidden.unknown {
        output::complain(&format!(
            "{argument}: the host does not have this address on the mesh; `mesh ps mesh:expose` lists its addresses"
        ));
    }
    Ok(0)
}

/// Attaches a bridge to the mesh.
pub(crate) fn attach_bridge(client: &ApiClient, args: &AttachBridgeArgs) -> VerbResult {
    client.post::<Done>("/attach-bridge", &request::attach_bridge(args))?;
    Ok(0)
}

/// Detaches a bridge from the mesh.
pub(crate) fn detach_bridge(client: &ApiClient, args: &BridgeArgs) -> VerbResult {
    client.post::<Done>("/detach-bridge", &request::detach_bridge(args))?;
    Ok(0)
}
