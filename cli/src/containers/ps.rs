//! `mesh ps`.

use mesh_command::args::PsArgs;
use mesh_proto::api::AttachedContainer;
use mesh_view::ps::PsListing;

use crate::client::ApiClient;
use crate::output;
use crate::output::VerbResult;

/// Prints a line for each container, or for those in `args`.
pub(crate) fn ps(client: &ApiClient, args: &PsArgs) -> VerbResult {
    let attached: Vec<AttachedContainer> = client.get("/ps")?;
    let listing = PsListing::of(&attached, &args.containers);
    for name in listing.missing() {
        output::complain(&format!(
            "no container '{name}' on the mesh on this host; `mesh ps` lists them"
        ));
    }
    if args.json {
        output::print_json(&listing.containers())?;
    } else {
        for line in listing.lines() {
            output::print_line(&line)?;
        }
    }
    Ok(u8::from(!listing.missing().is_empty()))
}
