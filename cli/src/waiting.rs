//! Requests that may wait for an address or an engine.

use std::time::Duration;

use mesh_proto::api::WaitingReport;
use mesh_view::waiting::{AddressRemarks, late_engine};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{ApiClient, ClientError};
use crate::engine::wait;
use crate::output;

/// Default timeout of an allocation or of `prime`, in seconds; the same as the router's.
pub(crate) const ALLOCATION_TIMEOUT: f64 = 30.0;
/// Time allowed for the other steps of a request.
const REST: Duration = Duration::from_secs(60);

/// Sends a request that may wait for an address or an engine, and tells the user what it waits for.
pub(crate) fn post<T: DeserializeOwned>(
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

/// Returns how long a request with this timeout may take in all.
pub(crate) fn deadline(timeout: Option<f64>) -> Duration {
    let timeout = Duration::try_from_secs_f64(timeout.unwrap_or(ALLOCATION_TIMEOUT));
    // The router refuses a timeout that is not a valid time.
    REST + timeout.unwrap_or_default().min(Duration::from_secs(86_400))
}
