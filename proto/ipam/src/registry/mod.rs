//! All that this router knows of addresses: its own durable state, and the statements of the others, which flow into it.
//!
//! The parts that decide (requests, grants, the claim round, removals) read it and record in it, one after the other.

mod merge;
mod peers;
mod pins;

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use sha2::{Digest, Sha256};

use super::durable::{AddressState, DurableState, Fault, JournalEntry};
use super::effect::IpamEffect;
use super::refusal::Wait;
use super::slices::Slicing;
use super::wire::IpamMessage;
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::limits::IPAM_BOOTSTRAP_WAIT;
use mesh_proto::time::Instant;
use peers::Peers;

/// This router's state, and the other routers.
#[derive(Debug)]
pub(crate) struct Registry {
    durable: DurableState,
    peers: Peers,
    /// Boot epoch of this router, higher at each start.
    epoch: u64,
    /// The number of the next request in this epoch.
    next_number: u64,
    revision: u64,
}

impl Registry {
    /// Makes the registry of a router that knows no other.
    pub(crate) fn new(durable: DurableState, epoch: u64) -> Self {
        let state = durable.state();
        Self {
            peers: Peers::new(state.me(), state.slicing().range()),
            durable,
            epoch,
            next_number: 1,
            revision: 0,
        }
    }

    /// Returns the identity of this router.
    pub(crate) fn me(&self) -> PeerId {
        self.state().me()
    }

    /// Returns the boot epoch of this router.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the range and its slices.
    pub(crate) fn slicing(&self) -> &Slicing {
        self.state().slicing()
    }

    /// Returns the range.
    pub(crate) fn range(&self) -> Ipv4Net {
        self.slicing().range()
    }

    /// Returns the state.
    pub(crate) fn state(&self) -> &AddressState {
        self.durable.state()
    }

    /// Returns the state with its gate.
    pub(crate) fn durable(&self) -> &DurableState {
        &self.durable
    }

    /// Returns the state with its gate, to change it.
    pub(crate) fn durable_mut(&mut self) -> &mut DurableState {
        &mut self.durable
    }

    /// Returns the other routers.
    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Changes the state, and has the change written.
    pub(crate) fn record(&mut self, entry: &JournalEntry) {
        self.durable.record(entry);
    }

    /// Has an effect carried out once all that was recorded before it is on disk.
    pub(crate) fn emit(&mut self, effect: IpamEffect) {
        self.durable.emit(effect);
    }

    /// Sends a message to another router, likewise.
    pub(crate) fn send(&mut self, to: PeerId, message: &IpamMessage) {
        self.durable.send(to, message);
    }

    /// Returns a number that grows with each change that concerns this router's own statement.
    pub(crate) fn revision(&self) -> u64 {
        self.revision + self.durable.position() + self.peers.revision()
    }

    /// Returns the number that the next request will have.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Gives a request its number.
    pub(crate) fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Uses up a number, so that the next statement says that all before it is settled.
    pub(crate) fn spend_number(&mut self) -> u64 {
        self.revision += 1;
        self.take_number()
    }

    /// Goes over to a later epoch. Returns false for one that is not later.
    pub(crate) fn raise_epoch(&mut self, epoch: u64) -> bool {
        let is_later = epoch > self.epoch;
        if is_later {
            self.epoch = epoch;
            self.revision += 1;
        }
        is_later
    }

    /// Notes whether others exist of which none was met yet.
    pub(crate) fn set_expecting(&mut self, expecting: bool) {
        self.peers.set_expecting(expecting);
    }

    /// Takes the whole range if nobody has it and nobody else should take it. Returns what to wait for otherwise.
    pub(crate) fn bootstrap(&mut self, since: Instant, now: Instant) -> Option<Wait> {
        if self.slicing().is_subnet() {
            // The space of a network has an owner from the beginning.
            return Some(Wait::Space(0, None));
        }
        let smallest = self.peers.members().map(|(id, _)| *id).min();
        match smallest {
            Some(id) if id < self.me() && !self.durable.has_fault(Fault::EverybodyBootstraps) => {
                return Some(Wait::Bootstrap(id));
            }
            None if self.peers.is_expecting() && now < since + IPAM_BOOTSTRAP_WAIT => {
                return Some(Wait::Others(since + IPAM_BOOTSTRAP_WAIT));
            }
            _ => {}
        }
        let run = self.slicing().all(1);
        self.record(&JournalEntry::Own { from: None, run });
        None
    }

    /// Returns the router that gets the space of one that is gone: the reachable one whose hash together with that one is
    /// highest. Routers that reach the same ones name the same.
    pub(crate) fn successor_of(&self, gone: PeerId) -> PeerId {
        let me = self.me();
        let weight = |id: &PeerId| {
            let hash = Sha256::new().chain_update(b"mesh heir v1");
            let hash = hash.chain_update(gone.0).chain_update(id.0).finalize();
            <[u8; 32]>::from(hash)
        };
        let members = self.peers.members().map(|(id, _)| *id);
        let all = members.chain([me]).filter(|id| *id != gone);
        all.max_by_key(weight).unwrap_or(me)
    }

    /// Returns how many of the routers that own anything, or can be reached, can be reached; and how many there are.
    pub(crate) fn majority(&self) -> (usize, usize) {
        let members = self.peers.members().map(|(id, _)| *id);
        let reachable: BTreeSet<PeerId> = members.chain([self.me()]).collect();
        let owners = self.state().claims().owners();
        let all: BTreeSet<PeerId> = owners.chain(reachable.iter().copied()).collect();
        (reachable.len(), all.len())
    }

    /// Returns up to which statement a router is removed, as far as this one or a reachable one knows.
    fn removed(&self, peer: &PeerId) -> Option<Version> {
        let theirs = self.peers.members().flat_map(|(_, s)| s.fences.iter());
        let theirs = theirs.filter(|(id, _)| id == peer).map(|(_, v)| *v);
        theirs.max().max(self.state().fence_of(peer))
    }
}
