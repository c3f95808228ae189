//! HostListeners addresses of the DNS server. Docker's bridge may be created after the router starts, be removed, or change
//! its address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::clients::{DOCKER_BRIDGE, DnsClients, docker_address};
use super::firewall::DnsFirewall;
use crate::dns::Dns;

/// Interval of checks of the host's addresses.
const PERIOD: Duration = Duration::from_secs(5);

/// Keeps the server on the right addresses.
pub(super) struct HostListeners {
    dns: Arc<Dns>,
    clients: Arc<DnsClients>,
    /// Addresses from the operator; empty for Docker's bridge.
    explicit: Vec<SocketAddr>,
    firewall: DnsFirewall,
    problems: Mutex<Vec<String>>,
}

impl HostListeners {
    /// Returns the state for a bridge of the mesh.
    pub(super) fn new(
        dns: Arc<Dns>,
        clients: Arc<DnsClients>,
        explicit: Vec<SocketAddr>,
        bridge: &str,
    ) -> Self {
        Self {
            dns,
            clients,
            explicit,
            firewall: DnsFirewall::new(bridge),
            problems: Mutex::default(),
        }
    }

    /// Listens for the first time. With `by_hand`, an address that is in use is an error, since the operator reads it.
    /// An address that the host does not have yet is not, since it may come.
    pub(super) fn begin(&self, by_hand: bool) -> anyhow::Result<()> {
        let wanted = self.wanted()?;
        let errors = self.dns.listen(&wanted);
        if let Some(error) = errors.iter().find(|e| by_hand && !e.is_absent()) {
            anyhow::bail!("{error}");
        }
        self.note(errors.iter().map(ToString::to_string).collect());
        for address in self.dns.listening() {
            tracing::info!("DNS queries of containers and of this host are answered on {address}");
        }
        Ok(())
    }

    /// Prepares for a container that will use the server, perhaps on a bridge that was just created.
    pub(super) async fn admit(self: &Arc<Self>) {
        let this = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let bridges = this.clients.look()?;
            this.firewall
                .keep_if_changed(&bridges, &this.dns.listening());
            Ok::<(), mesh_sys::error::SysError>(())
        });
        if let Ok(Err(error)) = looked.await {
            tracing::debug!("cannot read the bridges of containers: {error}");
        }
    }

    /// Checks periodically.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let this = self.clone();
            // Netlink and firewall programs may block.
            let looked = tokio::task::spawn_blocking(move || this.look()).await;
            if let Ok(Err(error)) = looked {
                tracing::debug!("cannot read the addresses for DNS queries: {error}");
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Returns all problems, one line each.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = self.errors();
        if self.explicit.is_empty() && self.dns.listening().is_empty() && problems.is_empty() {
            problems.push(format!(
                "DNS queries are answered within podman containers and processes only: there is no {DOCKER_BRIDGE} \
                 with an address; --dns-listen takes another address of this host"
            ));
        }
        problems
    }

    /// Returns the failures only.
    pub(super) fn errors(&self) -> Vec<String> {
        [self.lock().clone(), self.firewall.problems()].concat()
    }

    fn look(&self) -> Result<(), mesh_sys::error::SysError> {
        let bridges = self.clients.look()?;
        let wanted = self.wanted()?;
        let errors = self.dns.listen(&wanted);
        self.firewall.keep(&bridges, &self.dns.listening());
        self.note(errors.iter().map(ToString::to_string).collect());
        Ok(())
    }

    fn wanted(&self) -> Result<Vec<SocketAddr>, mesh_sys::error::SysError> {
        if self.explicit.is_empty() {
            return Ok(docker_address()?.into_iter().collect());
        }
        Ok(self.explicit.clone())
    }

    /// Stores the problems, and logs each new one.
    fn note(&self, problems: Vec<String>) {
        let mut known = self.lock();
        for problem in problems.iter().filter(|p| !known.contains(p)) {
            tracing::warn!("{problem}");
        }
        *known = problems;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
