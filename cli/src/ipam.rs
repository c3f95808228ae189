//! `mesh prime` and `mesh rmpeer`.

use mesh_command::args::{PrimeArgs, RmpeerArgs};
use mesh_command::request;
use mesh_proto::api::Done;
use mesh_proto::api::ipam::{PrimeRequest, Removed};

use crate::client::ApiClient;
use crate::output;
use crate::output::VerbResult;
use crate::waiting::{ALLOCATION_TIMEOUT, deadline};

/// Waits until the address range has an owner.
pub(crate) fn prime(client: &ApiClient, args: &PrimeArgs) -> VerbResult {
    let timeout = args.timeout.unwrap_or(ALLOCATION_TIMEOUT);
    let request = PrimeRequest { timeout };
    let _: Done = client.post_within("/ipam/prime", &request, deadline(Some(timeout)))?;
    Ok(0)
}

/// Removes routers that are gone for good; other routers take over their address space.
pub(crate) fn rmpeer(client: &ApiClient, args: &RmpeerArgs) -> VerbResult {
    let removed: Removed = client.post("/ipam/remove", &request::remove_peers(args))?;
    if args.json {
        output::print_json(&removed)?;
        return Ok(0);
    }
    for line in removed.lines {
        output::print_line(&line)?;
    }
    Ok(0)
}
