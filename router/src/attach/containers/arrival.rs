//! The check that promised addresses are there: success is told to nobody before.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mesh_proto::api::ArrivedRequest;

use crate::attach::AttachmentError;
use crate::attach::kernel::{KernelHandle, NetnsRef};
use crate::engine::Engines;

/// Longest time for an address to appear in a container that runs.
const PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// Waits until a container has its addresses. One that has ended already cannot be looked at, and is success.
///
/// # Errors
/// The addresses that are missing.
pub(crate) async fn await_addresses(
    request: &ArrivedRequest,
    engines: &Engines,
    kernel: &KernelHandle,
) -> Result<(), AttachmentError> {
    let mut wanted = BTreeSet::new();
    for address in &request.addresses {
        let ip = address.parse::<IpAddr>();
        wanted.insert(ip.map_err(|e| AttachmentError::Invalid(format!("{address}: {e}")))?);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, container) = engines.find(request.runtime, &request.container).await?;
        if !container.running || container.pid == 0 {
            return Ok(());
        }
        let target = NetnsRef::Pid(container.pid);
        let found = kernel.run(move |kernel| kernel.addresses_in(&target)).await;
        let found = found.unwrap_or_default();
        let missing: Vec<IpAddr> = wanted.difference(&found).copied().collect();
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(not_there(&container.name, &missing));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn not_there(name: &str, missing: &[IpAddr]) -> AttachmentError {
    let all: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let hint = match missing.iter().any(IpAddr::is_ipv6) {
        true => "; is IPv6 switched off in it (--sysctl net.ipv6.conf.all.disable_ipv6=1)?",
        false => "",
    };
    let all = all.join(", ");
    AttachmentError::Invalid(format!("container {name} runs without {all}{hint}"))
}
