//! Messages to the DNS thread about names. The thread owns its view, so that neither the control plane nor a query
//! waits for the other.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use mesh_proto::ids::{PeerId, Version};
use mesh_proto::names::{MeshName, NameEntry, ZoneEntry};
use tokio::sync::{mpsc, oneshot};

use super::Shared;

/// An update of names, or a query of the router itself.
#[derive(Debug)]
pub enum Told {
    /// Names that this router announces, with its local settings.
    Own(Own),
    /// Announcement of another router.
    Said {
        /// Router that announces.
        origin: PeerId,
        /// Version of the announcement.
        version: Version,
        /// Encoded announcement; empty if withdrawn.
        body: Vec<u8>,
    },
    /// Reachability of another router: true if reachable.
    Reachable(PeerId, bool),
    /// Another router was removed, with all its names.
    Forgotten(PeerId),
    /// There is no router to wait for.
    Settled,
    /// Requests everything that is known.
    Show(oneshot::Sender<Shown>),
    /// Requests the addresses of a name.
    Lookup(MeshName, oneshot::Sender<Vec<IpAddr>>),
    /// Requests the names of an address, in order.
    Reverse(IpAddr, oneshot::Sender<Vec<MeshName>>),
}

/// Names of this router's own host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Entries that it announces.
    pub entries: Vec<NameEntry>,
    /// Names removed by the operator: they are not forwarded upstream either.
    pub denied: BTreeSet<MeshName>,
    /// Addresses of its containers, named or not.
    pub addresses: BTreeSet<IpAddr>,
}

/// Everything that is known of names.
#[derive(Debug)]
pub struct Shown {
    /// All answered entries, by name.
    pub held: Vec<ZoneEntry>,
    /// Number of names hidden because their router is unreachable.
    pub hidden: usize,
    /// Number of rejected announcements.
    pub refused: u64,
}

/// Processes messages until all senders are gone.
pub(super) async fn learn(shared: Arc<Shared>, mut told: mpsc::Receiver<Told>) {
    while let Some(news) = told.recv().await {
        shared.learn(news);
    }
}

impl Shared {
    fn learn(&self, told: Told) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        match told {
            Told::Own(own) => {
                names.set_own(own.entries);
                names.deny(own.denied);
                names.set_here(own.addresses);
            }
            Told::Said {
                origin,
                version,
                body,
            } => {
                if let Err(error) = names.handle_statement(origin, version, &body) {
                    tracing::warn!("the names of {origin} are not taken: {error}");
                }
            }
            Told::Reachable(origin, is_reachable) => {
                names.set_reachable(origin, is_reachable);
            }
            Told::Forgotten(origin) => {
                names.forget(&origin);
            }
            Told::Settled => names.settle(),
            // A failed send means that the caller is gone.
            Told::Show(answer) => {
                let zone = names.zone();
                let _ = answer.send(Shown {
                    held: zone.iter().cloned().collect(),
                    hidden: zone.hidden(),
                    refused: names.refused(),
                });
            }
            Told::Lookup(name, answer) => {
                let held = names.zone().holders(name.as_str()).iter();
                let found = held.flat_map(|h| h.entry.addresses.iter().copied());
                let _ = answer.send(sorted(found.collect()));
            }
            Told::Reverse(ip, answer) => {
                let names = names.zone().names_of(ip).into_iter();
                let _ = answer.send(names.cloned().collect());
            }
        }
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    list
}
