//! Periodic checks while a router runs: addresses of the host, state directory, routes that overlap the address range.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mesh_options::RouterSettings;
use mesh_options::ipalloc::Ipalloc;
use mesh_proto::forward::Forwarder;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::host;
use crate::host_routes::MeshInterfaces;
use crate::ipam::{self, Allocator};
use crate::state::Store;
use crate::warnings::Warnings;

/// Interval of checks of the host.
const PERIOD: Duration = Duration::from_secs(5);
/// Interval of removing aged MAC addresses.
const SWEEP: Duration = Duration::from_secs(10);

/// Subject of the warning about `--host`.
const HOST: &str = "host";
/// Subject of the warning about the state directory.
const ROOM: &str = "room";

/// Subject of the warning about the address range.
const RANGE: &str = "range";
/// A check of the routes uses at most this fraction (1/n) of the time.
const SPARE: u32 = 100;

/// Checks of the host, and the receivers of their results.
pub(super) struct HostWatch {
    pub(super) settings: RouterSettings,
    pub(super) warnings: Warnings,
    pub(super) store: Arc<Store>,
    pub(super) forwarder: Arc<Forwarder>,
    pub(super) inside: Arc<ArcSwap<MeshInterfaces>>,
}

impl HostWatch {
    /// Checks forever.
    pub(super) async fn run(self, endpoints: watch::Sender<Vec<SocketAddr>>) {
        let (this, endpoints) = (Arc::new(self), Arc::new(endpoints));
        // Immediately: the bridge did not exist at the first check.
        loop {
            let (this, endpoints) = (this.clone(), endpoints.clone());
            // In a thread: kernel and disk may take seconds, and this one serves the API.
            let looked = tokio::task::spawn_blocking(move || this.look(&endpoints)).await;
            if let Err(error) = looked {
                tracing::debug!("{error}");
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    fn look(&self, endpoints: &watch::Sender<Vec<SocketAddr>>) {
        self.look_at_addresses(endpoints);
        look_at_listening(self.settings.host, &self.warnings);
        look_at_state(&self.store, &self.warnings);
    }

    fn look_at_addresses(&self, sender: &watch::Sender<Vec<SocketAddr>>) {
        let (host, port) = (self.settings.host, self.settings.port);
        match host::underlay(host, port, &self.settings.bridge) {
            Ok(found) => {
                self.forwarder.underlay().set_host(&found.addresses, port);
                self.inside.store(Arc::new(found.inside));
                sender.send_if_modified(|old| {
                    let changed = *old != found.endpoints;
                    *old = found.endpoints;
                    changed
                });
            }
            Err(error) => tracing::debug!("{error}"),
        }
    }
}

/// Warns while the host lacks the address of `--host`. Sockets are bound to it even before, and work once it exists.
pub(super) fn look_at_listening(host: Option<IpAddr>, warnings: &Warnings) {
    let Some(ip) = host.filter(|ip| !ip.is_unspecified()) else {
        return;
    };
    match host::has_address(ip) {
        Ok(true) => warnings.clear(HOST),
        Ok(false) => warnings.set(
            HOST,
            format!(
                "this host has no address {ip} (--host): no router reaches this one until it has"
            ),
        ),
        Err(error) => tracing::debug!("{error}"),
    }
}

/// Warns while the state directory is full or not writable, before anything must be stored.
pub(super) fn look_at_state(store: &Store, warnings: &Warnings) {
    match store.hindrance() {
        None => warnings.clear(ROOM),
        Some(why) => warnings.set(
            ROOM,
            format!(
                "{}: {why}; nothing that changes now is there after the next start, and no addresses are allocated",
                store.dir().display()
            ),
        ),
    }
}

/// Check of the host's routes against the address range.
#[derive(Clone)]
pub(super) struct Range {
    ipalloc: Ipalloc,
    bridge: String,
    allocator: Allocator,
    warnings: Warnings,
}

impl Range {
    pub(super) fn new(settings: &RouterSettings, allocator: Allocator, warnings: Warnings) -> Self {
        Self {
            ipalloc: settings.ipalloc.clone(),
            bridge: settings.bridge.clone(),
            allocator,
            warnings,
        }
    }

    /// Checks forever.
    pub(super) async fn run(self) {
        let mut pause = PERIOD;
        loop {
            tokio::time::sleep(pause).await;
            let (this, began) = (self.clone(), Instant::now());
            // In a thread, since a host may have very many routes.
            let looked = tokio::task::spawn_blocking(move || this.look()).await;
            if let Err(error) = looked {
                tracing::debug!("{error}");
            }
            pause = PERIOD.max(began.elapsed() * SPARE);
        }
    }

    /// Checks once, and stops or resumes allocation.
    pub(super) fn look(&self) {
        let Some(range) = self.ipalloc.range() else {
            return;
        };
        match ipam::colliding(range, &self.bridge) {
            Ok(None) => {
                self.warnings.clear(RANGE);
                self.allocator.hinder(None);
            }
            Ok(Some(other)) => {
                let why = self.ipalloc.hindrance(&other).unwrap_or(other);
                self.warnings.set(RANGE, why.clone());
                self.allocator.hinder(Some(why));
            }
            // Unknown: keep the previous result.
            Err(error) => tracing::debug!("{error}"),
        }
    }
}

/// Removes aged MAC addresses periodically.
pub(super) async fn sweep(forwarder: Arc<Forwarder>, clock: Clock) {
    loop {
        tokio::time::sleep(SWEEP).await;
        forwarder.sweep(clock.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_not_there_is_told_until_it_is() {
        let warnings = Warnings::default();
        look_at_listening(Some("192.0.2.77".parse().unwrap()), &warnings);
        let told = warnings.lines().concat();
        assert!(told.contains("192.0.2.77 (--host)"), "{told}");
        look_at_listening(Some("127.0.0.1".parse().unwrap()), &warnings);
        assert!(warnings.lines().is_empty());
        look_at_listening(None, &warnings);
        assert!(warnings.lines().is_empty());
    }

    #[test]
    fn a_directory_that_is_gone_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state")).unwrap();
        let warnings = Warnings::default();
        look_at_state(&store, &warnings);
        assert!(warnings.lines().is_empty());
        std::fs::remove_dir_all(store.dir()).unwrap();
        look_at_state(&store, &warnings);
        assert_eq!(warnings.lines().len(), 1);
    }
}
