//! Where the server listens. Docker's bridge may come after the router, go, or get another address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::clients::{Clients, DOCKER_BRIDGE, docker_address};
use crate::dns::Dns;

/// Time between two looks at the host's addresses.
const PERIOD: Duration = Duration::from_secs(5);

/// Keeps the server where it should be.
pub(super) struct Listening {
    dns: Arc<Dns>,
    clients: Arc<Clients>,
    /// As the operator said; empty for Docker's bridge.
    explicit: Vec<SocketAddr>,
    problems: Mutex<Vec<String>>,
}

impl Listening {
    pub(super) fn new(dns: Arc<Dns>, clients: Arc<Clients>, explicit: Vec<SocketAddr>) -> Self {
        Self {
            dns,
            clients,
            explicit,
            problems: Mutex::default(),
        }
    }

    /// Listens for the first time: now the operator is there to read what is wrong.
    pub(super) fn begin(&self) -> anyhow::Result<()> {
        let wanted = self.wanted()?;
        if let Some(error) = self.dns.listen(&wanted).into_iter().next() {
            return Err(error.into());
        }
        for address in &wanted {
            tracing::info!("DNS queries of containers and of this host are answered on {address}");
        }
        Ok(())
    }

    /// Looks again and again.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PERIOD).await;
            let this = self.clone();
            // Netlink may take its time.
            let looked = tokio::task::spawn_blocking(move || this.look()).await;
            if let Ok(Err(error)) = looked {
                tracing::debug!("cannot look where to listen for DNS queries: {error}");
            }
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
        self.lock().clone()
    }

    fn look(&self) -> Result<(), mesh_sys::error::SysError> {
        self.clients.look()?;
        let wanted = self.wanted()?;
        let errors = self.dns.listen(&wanted);
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
