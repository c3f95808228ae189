//! What is looked at again and again while a router runs: addresses of the host, and whether it may write its state.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mesh_proto::forward::Forwarder;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Settings;
use crate::host;
use crate::ipam::{Allocator, Ipalloc};
use crate::state::Store;
use crate::warnings::Warnings;
use crate::ways::Inside;

/// How often the host is looked at.
const PERIOD: Duration = Duration::from_secs(5);
/// How often MAC addresses that were not seen for long are forgotten.
const SWEEP: Duration = Duration::from_secs(10);

/// The subject of a warning about `--host`.
const HOST: &str = "host";
/// The subject of a warning about the room for the state.
const ROOM: &str = "room";

/// The subject of a warning about the range of addresses.
const RANGE: &str = "range";
/// A look at the routes takes one part in so many of the time.
const SPARE: u32 = 100;

/// What looks, and where it says what it found.
pub(super) struct Host {
    pub(super) settings: Settings,
    pub(super) warnings: Warnings,
    pub(super) store: Arc<Store>,
    pub(super) forwarder: Arc<Forwarder>,
    pub(super) inside: Arc<ArcSwap<Inside>>,
}

impl Host {
    /// Looks for ever.
    pub(super) async fn run(self, endpoints: watch::Sender<Vec<SocketAddr>>) {
        loop {
            // At once: the bridge was not there yet when the host was looked at first.
            self.look_at_addresses(&endpoints);
            look_at_listening(self.settings.host, &self.warnings);
            look_at_state(&self.store, &self.warnings);
            tokio::time::sleep(PERIOD).await;
        }
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

/// The sockets are bound to the address that was asked for before the host has it, and work as soon as it does.
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

/// A state directory that is full or cannot be written is told before somebody wants to store something.
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

/// Whether the host's routes allow that addresses are allocated.
#[derive(Clone)]
pub(super) struct Range {
    ipalloc: Ipalloc,
    bridge: String,
    allocator: Allocator,
    warnings: Warnings,
}

impl Range {
    pub(super) fn new(settings: &Settings, allocator: Allocator, warnings: Warnings) -> Self {
        Self {
            ipalloc: settings.ipalloc.clone(),
            bridge: settings.bridge.clone(),
            allocator,
            warnings,
        }
    }

    /// Looks for ever.
    pub(super) async fn run(self) {
        let mut pause = PERIOD;
        loop {
            tokio::time::sleep(pause).await;
            let (this, began) = (self.clone(), Instant::now());
            // A host may have very many routes.
            let looked = tokio::task::spawn_blocking(move || this.look()).await;
            if let Err(error) = looked {
                tracing::debug!("{error}");
            }
            pause = PERIOD.max(began.elapsed() * SPARE);
        }
    }

    /// Looks once.
    pub(super) fn look(&self) {
        match self.ipalloc.collision(&self.bridge) {
            Ok(None) => {
                self.warnings.clear(RANGE);
                self.allocator.hinder(None);
            }
            Ok(Some(why)) => {
                self.warnings.set(RANGE, why.clone());
                self.allocator.hinder(Some(why));
            }
            // As it was.
            Err(error) => tracing::debug!("{error}"),
        }
    }
}

/// Forgets MAC addresses that were not seen for long.
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
