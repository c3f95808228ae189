//! `mesh prime`, `mesh rmpeer`, and requests that wait for an address.

use std::time::Duration;

use mesh_command::args::{PrimeArgs, RmpeerArgs};
use mesh_command::request;
use mesh_proto::api::ipam::{PrimeRequest, Removed};
use mesh_proto::api::{Done, WaitingReport};
use mesh_view::waiting::{AddressRemarks, late_engine};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{ApiClient, ClientError};
use crate::engine::wait;
use crate::output;
use crate::output::VerbResult;

/// Default timeout of an allocation or of `prime`, in seconds; the same as the router's.
const TIMEOUT: f64 = 30.0;
/// Time allowed for the other steps of a request.
const REST: Duration = Duration::from_secs(60);

/// Waits until the address range has an owner.
pub(crate) fn prime(client: &ApiClient, args: &PrimeArgs) -> VerbResult {
    let timeout = args.timeout.unwrap_or(TIMEOUT);
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

/// Sends a request that may wait for an address or an engine, and tells the user what it waits for.
pub(crate) fn post_waiting<T: DeserializeOwned>(
    client: &ApiClient,
    path: &str,
    body: &impl Serialize,
    timeout: Option<f64>,
) -> Result<T, ClientError> {
    let mut remarks = AddressRemarks::default();
    let mut tell = |waiting: WaitingReport| {
        if let Some(engine) = late_engine(&waiting) {
            let limit = Duration::try_from_secs_f64(engine.limit).unwrap_or_default();
            wait::say_once(&engine.engine, limit);
        }
        if let Some(remark) = remarks.next(&waiting, std::process::id()) {
            output::complain(&remark);
        }
    };
    client.post_patiently(path, body, deadline(timeout), "/waiting", &mut tell)
}

fn deadline(timeout: Option<f64>) -> Duration {
    let timeout = Duration::try_from_secs_f64(timeout.unwrap_or(TIMEOUT));
    // The router refuses a timeout that is not a valid time.
    REST + timeout.unwrap_or_default().min(Duration::from_secs(86_400))
}
