//! Where the server listens. Docker's bridge may come after the router, go, or get another address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::clients::{Clients, DOCKER_BRIDGE, docker_address};
use super::doors::Doors;
use crate::dns::Dns;

/// Time between two looks at the host's addresses.
const PERIOD: Duration = Duration::from_secs(5);

/// Keeps the server where it should be.
pub(super) struct Listening {
    dns: Arc<Dns>,
    clients: Arc<Clients>,
    /// As the operator said; empty for Docker's bridge.
    explicit: Vec<SocketAddr>,
    doors: Doors,
    problems: Mutex<Vec<String>>,
}

impl Listening {
    /// On behalf of a bridge of the mesh.
    pub(super) fn new(
        dns: Arc<Dns>,
        clients: Arc<Clients>,
        explicit: Vec<SocketAddr>,
        bridge: &str,
    ) -> Self {
        Self {
            dns,
            clients,
            explicit,
            doors: Doors::new(bridge),
            problems: Mutex::default(),
        }
    }

    /// Listens for the first time: now the operator is there to read what is wrong.
    /// What others have is refused then; an address that is not there yet may come, and a service is better up without.
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

    /// A container is about to be pointed here, maybe on a bridge that was made a moment ago.
    pub(super) async fn admit(self: &Arc<Self>) {
        let this = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let bridges = this.clients.look()?;
            this.doors.keep_if_changed(&bridges, &this.dns.listening());
            Ok::<(), mesh_sys::error::SysError>(())
        });
        if let Ok(Err(error)) = looked.await {
            tracing::debug!("cannot look by which bridges containers come: {error}");
        }
    }

    /// Looks again and again.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let this = self.clone();
            // Netlink and firewall programs may take their time.
            let looked = tokio::task::spawn_blocking(move || this.look()).await;
            if let Ok(Err(error)) = looked {
                tracing::debug!("cannot look where to listen for DNS queries: {error}");
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// What hinders it, one line each.
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

    /// Of these, what went wrong.
    pub(super) fn errors(&self) -> Vec<String> {
        [self.lock().clone(), self.doors.problems()].concat()
    }

    fn look(&self) -> Result<(), mesh_sys::error::SysError> {
        let bridges = self.clients.look()?;
        let wanted = self.wanted()?;
        let errors = self.dns.listen(&wanted);
        self.doors.keep(&bridges, &self.dns.listening());
        self.note(errors.iter().map(ToString::to_string).collect());
        Ok(())
    }

    fn wanted(&self) -> Result<Vec<SocketAddr>, mesh_sys::error::SysError> {
        if self.explicit.is_empty() {
            return Ok(docker_address()?.into_iter().collect());
        }
        Ok(self.explicit.clone())
    }

    /// Keeps problems; tells each once.
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
