//! Routers that were removed: a removal is decided in `default`, where all routers take part, and followed in the other
//! spaces.

use std::collections::{BTreeMap, BTreeSet};

use crate::Ipam;
use mesh_proto::ids::{PeerId, Version};

/// Removals that the spaces have to follow.
#[derive(Debug, Default)]
pub(super) struct RemovedRouters {
    /// Removals known so far: those of earlier runs were followed, or are the operator's to repeat, as the router may have
    /// come back since.
    known: BTreeMap<PeerId, Version>,
    pending: BTreeSet<PeerId>,
    /// `default` may have more than the known ones.
    is_stale: bool,
}

impl RemovedRouters {
    /// Begins with the removals of earlier runs.
    pub(super) fn new(default: &Ipam) -> Self {
        Self {
            known: fences(default),
            ..Self::default()
        }
    }

    /// Takes note that the state of `default` changed.
    pub(super) fn touch(&mut self) {
        self.is_stale = true;
    }

    /// Returns whether there is anything to look at.
    pub(super) fn is_due(&self) -> bool {
        self.is_stale || !self.pending.is_empty()
    }

    /// Returns the removals to follow, and forgets them.
    pub(super) fn take(&mut self, default: &Ipam) -> BTreeSet<PeerId> {
        if core::mem::take(&mut self.is_stale) {
            let all = fences(default);
            let peers = default.registry.peers();
            let is_new = |(peer, version): &(&PeerId, &Version)| {
                // It may have come back, and be cut off now.
                let lives = peers.statement(peer).is_some_and(|s| s.version > **version);
                !lives && self.known.get(*peer).is_none_or(|known| known < *version)
            };
            let new: Vec<PeerId> = all.iter().filter(is_new).map(|(peer, _)| *peer).collect();
            self.pending.extend(new);
            self.known = all;
        }
        core::mem::take(&mut self.pending)
    }

    /// Keeps a removal that cannot be followed yet.
    pub(super) fn put_back(&mut self, peer: PeerId) {
        self.pending.insert(peer);
    }
}

fn fences(default: &Ipam) -> BTreeMap<PeerId, Version> {
    default.registry.state().fences().iter().copied().collect()
}
