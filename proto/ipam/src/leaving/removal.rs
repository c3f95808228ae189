//! Removal of routers that are gone: their space goes to a survivor.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeSet;

use crate::refusal::Namer;
use crate::registry::Registry;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::{IPAM_BOOTSTRAP_WAIT, IPAM_DEAD_AFTER, IPAM_RECLAIM_TICK};
use mesh_proto::time::Instant;

/// The outcome of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The router that gets the space.
    pub successor: PeerId,
    /// The number of slices.
    pub slices: usize,
}

/// The reason a router is not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveError {
    /// It is this router.
    Myself,
    /// It can be reached.
    Alive(PeerId),
    /// This router does not know yet who lives.
    JustStarted,
    /// It owns and holds nothing.
    Unknown(PeerId),
    /// It has been unreachable for so many seconds only; so many are needed.
    TooSoon(PeerId, u64, u64),
    /// This may be the smaller part of a mesh that is cut in two: so many can be reached, of so many.
    NoMajority(PeerId, usize, usize),
}

impl RemoveError {
    /// Returns one line, with what to do; routers as `name` calls them.
    pub fn text(&self, name: Namer<'_>) -> String {
        match self {
            Self::Myself => {
                "this router cannot remove itself; `mesh reset` hands its space over".to_owned()
            }
            Self::Alive(peer) => format!(
                "{} can be reached, so it is not removed; `mesh reset` there hands its space over",
                name(peer)
            ),
            Self::JustStarted => {
                "this router has just started and does not know yet who else lives; try again in a few seconds"
                    .to_owned()
            }
            Self::Unknown(peer) => format!("{} has no space here", name(peer)),
            Self::TooSoon(peer, silent, enough) => format!(
                "{} has been unreachable for {silent} s, and may be cut off only; wait until {enough} s, or use --force if it is surely off: if it is not, addresses may be given out twice",
                name(peer)
            ),
            Self::NoMajority(peer, reachable, all) => format!(
                "only {reachable} of {all} routers can be reached, which is no majority; use --force if {} is surely off: if it is not, addresses may be given out twice",
                name(peer)
            ),
        }
    }
}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&PeerId::to_string))
    }
}

impl core::error::Error for RemoveError {}

/// The rules of removal, and the clock of those that need no operator.
#[derive(Debug)]
pub(crate) struct Removals {
    started: Instant,
    /// Time after which a router that cannot be reached is removed without being told to; `None` for never.
    automatic_after: Option<Duration>,
    /// The moment of the last look for such routers.
    looked: Instant,
}

impl Removals {
    /// Makes the rules for a router that starts now.
    pub(crate) fn new(automatic_after: Option<Duration>, now: Instant) -> Self {
        Self {
            started: now,
            automatic_after,
            looked: now,
        }
    }

    /// Removes a router that is gone for good.
    ///
    /// # Errors
    /// [`RemoveError`]; `force` overrides the last two.
    pub(crate) fn remove(
        &self,
        registry: &mut Registry,
        dead: PeerId,
        force: bool,
        now: Instant,
    ) -> Result<Removal, RemoveError> {
        if dead == registry.me() {
            return Err(RemoveError::Myself);
        }
        if registry.peers().is_reachable(&dead) {
            return Err(RemoveError::Alive(dead));
        }
        if now.since(self.started) < IPAM_BOOTSTRAP_WAIT {
            return Err(RemoveError::JustStarted);
        }
        let successor = registry.successor_of(dead);
        if !has_anything(registry, dead) {
            let slices = 0;
            return match registry.state().fence_of(&dead) {
                Some(_) => Ok(Removal { successor, slices }),
                None => Err(RemoveError::Unknown(dead)),
            };
        }
        if !force {
            self.check(registry, dead, now)?;
        }
        let slices = registry.reassign(dead, successor);
        Ok(Removal { successor, slices })
    }

    /// Checks that a router is surely gone, and that this is not the smaller part of a mesh that is cut in two.
    fn check(&self, registry: &Registry, dead: PeerId, now: Instant) -> Result<(), RemoveError> {
        let since = registry.peers().since(&dead).unwrap_or(self.started);
        let silent = now.since(since);
        if silent < IPAM_DEAD_AFTER {
            let (silent, enough) = (silent.as_secs(), IPAM_DEAD_AFTER.as_secs());
            return Err(RemoveError::TooSoon(dead, silent, enough));
        }
        let (reachable, all) = registry.majority();
        if reachable * 2 <= all {
            return Err(RemoveError::NoMajority(dead, reachable, all));
        }
        Ok(())
    }

    /// Returns the moment of the next look for routers to remove without being told to.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.automatic_after
            .map(|_| self.looked + IPAM_RECLAIM_TICK)
    }

    /// Returns the owners that have been gone for longer than the operator wants to wait, if it is time to look.
    pub(crate) fn overdue(&mut self, registry: &Registry, now: Instant) -> Vec<PeerId> {
        if now.since(self.looked) < IPAM_RECLAIM_TICK {
            return Vec::new();
        }
        self.looked = now;
        let Some(after) = self.automatic_after else {
            return Vec::new();
        };
        let owners: BTreeSet<PeerId> = registry.state().claims().owners().collect();
        let is_overdue = |id: &PeerId| {
            let since = registry.peers().since(id).unwrap_or(self.started);
            *id != registry.me() && now.since(since) >= after.max(IPAM_DEAD_AFTER)
        };
        owners.into_iter().filter(is_overdue).collect()
    }
}

/// Returns whether a router owns, leases or contests anything, or may yet.
pub(crate) fn has_anything(registry: &Registry, dead: PeerId) -> bool {
    // What it stated may yet lead to leases, when a round under way ends.
    let stated = registry.peers().statement(&dead).map(|s| s.version);
    let has_spoken = stated.is_some() && stated > registry.state().fence_of(&dead);
    has_spoken || registry.state().involves(&dead)
}
