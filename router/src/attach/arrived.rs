//! Whether what was promised is there: success is told to nobody before.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mesh_proto::api::ArrivedRequest;

use super::kernel::Target;
use super::{AttachError, Attachments};

/// How long an address may take to appear in a container that runs.
const PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

impl Attachments {
    /// Looks whether a container has its addresses. One that has ended already cannot be looked at, and is success.
    ///
    /// # Errors
    /// The addresses that are missing.
    pub async fn arrived(&self, request: &ArrivedRequest) -> Result<(), AttachError> {
        let mut wanted = BTreeSet::new();
        for address in &request.addresses {
            let ip = address.parse::<IpAddr>();
            wanted.insert(ip.map_err(|e| AttachError::Invalid(format!("{address}: {e}")))?);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, container) = self
                .engines
                .find(request.runtime, &request.container)
                .await?;
            if !container.running || container.pid == 0 {
                return Ok(());
            }
            let target = Target::Pid(container.pid);
            let found = self
                .on_kernel(move |kernel| kernel.addresses_in(&target))
                .await
                .unwrap_or_default();
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
}

fn not_there(name: &str, missing: &[IpAddr]) -> AttachError {
    let all: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let hint = match missing.iter().any(IpAddr::is_ipv6) {
        true => "; is IPv6 switched off in it (--sysctl net.ipv6.conf.all.disable_ipv6=1)?",
        false => "",
    };
    let all = all.join(", ");
    AttachError::Invalid(format!("container {name} runs without {all}{hint}"))
}
