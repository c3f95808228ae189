//! Registries for tests of the parts.

use super::super::durable::{DurableState, JournalEntry};
use super::super::output::IpamOutput;
use super::super::registry::Registry;
use super::super::slices::{SliceRun, Slicing};
use super::super::wire::{IpamMessage, IpamStatement};
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::time::Instant;

pub(crate) const ME: PeerId = PeerId([5; 16]);
pub(crate) const SMALLER: PeerId = PeerId([2; 16]);
pub(crate) const LARGER: PeerId = PeerId([8; 16]);
pub(crate) const NOW: Instant = Instant::from_nanos(1_000_000_000);

/// Returns the registry of a new router; the range has sixteen slices of sixteen addresses.
pub(crate) fn registry() -> Registry {
    let slicing = Slicing::new("10.32.0.0/24".parse().unwrap()).unwrap();
    let durable = DurableState::open(ME, slicing, []).unwrap();
    Registry::new(durable, 1)
}

/// Returns one that owns all slices.
pub(crate) fn owner() -> Registry {
    let mut registry = registry();
    let run = registry.slicing().all(1);
    registry.record(&JournalEntry::Own { from: None, run });
    registry
}

/// Returns some slices of version 1.
pub(crate) fn run(first: u16, count: u16) -> SliceRun {
    let ver = 1;
    SliceRun { first, count, ver }
}

/// Returns the statement of a router that owns `own`.
pub(crate) fn statement(seq: u64, own: Vec<SliceRun>) -> IpamStatement {
    IpamStatement {
        version: Version { epoch: 1, seq },
        range: "10.32.0.0/24".parse().unwrap(),
        settled: 1,
        live: false,
        free: 1,
        own,
        others: Vec::new(),
        pins: Vec::new(),
        fences: Vec::new(),
        conflicts: Vec::new(),
    }
}

/// Has a reachable router state that it owns `own`.
pub(crate) fn meet(registry: &mut Registry, peer: PeerId, seq: u64, own: Vec<SliceRun>) {
    registry.merge(peer, &statement(seq, own), true, false, NOW);
}

/// Syncs everything, and returns all effects.
pub(crate) fn effects(registry: &mut Registry) -> Vec<IpamOutput> {
    let mut effects = Vec::new();
    while let Some(released) = registry.durable_mut().poll() {
        match IpamOutput::from(released) {
            IpamOutput::Persist { position, .. } => registry.durable_mut().note_synced(position),
            effect => effects.push(effect),
        }
    }
    effects
}

/// Syncs everything, and returns all messages with their receivers.
pub(crate) fn messages(registry: &mut Registry) -> Vec<(PeerId, IpamMessage)> {
    let effects = effects(registry).into_iter();
    let messages = effects.filter_map(|effect| match effect {
        IpamOutput::Send { to, bytes } => Some((to, IpamMessage::decode(&bytes).unwrap())),
        _ => None,
    });
    messages.collect()
}
