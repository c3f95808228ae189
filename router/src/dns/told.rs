//! What the thread is told about names. The view is its own, so that neither the control plane nor a query ever waits
//! for the other.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use mesh_proto::ids::{PeerId, Version};
use mesh_proto::names::{Entry, Held, MeshName};
use tokio::sync::{mpsc, oneshot};

use super::Shared;

/// News, or a question of the router itself.
#[derive(Debug)]
pub enum Told {
    /// What this router states, and knows beside.
    Own(Own),
    /// What another one states.
    Said {
        /// Who.
        origin: PeerId,
        /// How new it is.
        version: Version,
        /// The statement; empty if it was taken back.
        body: Vec<u8>,
    },
    /// Whether another router can be reached.
    Reachable(PeerId, bool),
    /// Nothing is kept of another router any more.
    Forgotten(PeerId),
    /// There is nobody to wait for.
    Settled,
    /// What is shown?
    Show(oneshot::Sender<Shown>),
    /// Where does this name lead?
    Lookup(MeshName, oneshot::Sender<Vec<IpAddr>>),
    /// Which names has this address, in order?
    Reverse(IpAddr, oneshot::Sender<Vec<MeshName>>),
}

/// What this router knows of its own host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// What it states.
    pub entries: Vec<Entry>,
    /// Names that were taken away by hand: nobody else is asked for them.
    pub denied: BTreeSet<MeshName>,
    /// Addresses of its containers, with a name or without.
    pub addresses: BTreeSet<IpAddr>,
}

/// All that is known of names.
#[derive(Debug)]
pub struct Shown {
    /// Everything that is answered, by name.
    pub held: Vec<Held>,
    /// Names of routers that cannot be reached.
    pub hidden: usize,
    /// Statements that were not taken.
    pub refused: u64,
}

/// Listens to news until nobody has any more.
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
            // Who hung up does not want its answer.
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
