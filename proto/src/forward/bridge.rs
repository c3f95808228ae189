//! Tables of addresses that both directions use: learnt from frames, and published by the control plane.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::{Counter, Counters, DropReason, Snapshot, Underlay, lock};
use crate::arp_proxy::ArpProxy;
use crate::entropy::Entropy;
use crate::fdb::{Fdb, Learn, Owner};
use crate::frame::ethernet::EthernetView;
use crate::ids::Mac;
use crate::limits::MAX_FLAPS;
use crate::time::Instant;

/// MAC table, announced addresses, and underlay addresses of all routers.
#[derive(Debug)]
pub(super) struct BridgeTables {
    fdb: Fdb,
    arp_proxy: ArpProxy,
    underlay: Underlay,
    flapping: Mutex<BTreeMap<Mac, (Owner, Owner)>>,
}

impl BridgeTables {
    /// Creates empty tables; `entropy` gives the hash key of the MAC table.
    pub(super) fn new(entropy: &mut dyn Entropy) -> Self {
        Self {
            fdb: Fdb::new(entropy),
            arp_proxy: ArpProxy::default(),
            underlay: Underlay::default(),
            flapping: Mutex::default(),
        }
    }

    pub(super) fn fdb(&self) -> &Fdb {
        &self.fdb
    }

    pub(super) fn arp_proxy(&self) -> &ArpProxy {
        &self.arp_proxy
    }

    pub(super) fn underlay(&self) -> &Underlay {
        &self.underlay
    }

    /// Checks what holds for frames of either direction: a source of one station, a destination that bridges forward,
    /// and no underlay traffic of this mesh.
    pub(super) fn check(
        &self,
        snapshot: &Snapshot,
        frame: &EthernetView<'_>,
    ) -> Result<(), DropReason> {
        if frame.source().is_group() {
            return Err(DropReason::GroupSource);
        }
        if frame.is_link_local() {
            return Err(DropReason::LinkLocal);
        }
        if self.underlay.carries(snapshot, frame) {
            return Err(DropReason::Underlay);
        }
        Ok(())
    }

    /// Removes expired entries.
    pub(super) fn sweep(&self, now: Instant) {
        self.fdb.sweep(now);
        self.arp_proxy.sweep(now);
    }

    /// Learns that `mac` is behind `owner`.
    pub(super) fn learn(&self, mac: Mac, owner: Owner, now: Instant, counters: &Counters) {
        match self.fdb.learn(mac, owner, now) {
            Learn::Same | Learn::Group => {}
            Learn::New => counters.count(Counter::FdbLearnt),
            Learn::Moved(from) => {
                counters.count(Counter::FdbMoved);
                if self.fdb.flaps(mac) {
                    self.note_flapping(mac, (from, owner));
                }
            }
            Learn::Late => counters.count(Counter::FdbDamped),
            Learn::Damped => {
                counters.count(Counter::FdbDamped);
                let stays = self.fdb.lookup(mac, now).unwrap_or(owner);
                self.note_flapping(mac, (stays, owner));
            }
            Learn::Full => counters.count(Counter::FdbReplaced),
        }
    }

    /// Records for the control plane that `mac` flaps between two owners.
    fn note_flapping(&self, mac: Mac, between: (Owner, Owner)) {
        let mut flapping = lock(&self.flapping);
        if flapping.len() < MAX_FLAPS || flapping.contains_key(&mac) {
            flapping.insert(mac, between);
        }
    }

    /// Takes the MAC addresses that flapped since the last call, each with its last two owners.
    pub(super) fn take_flapping(&self) -> BTreeMap<Mac, (Owner, Owner)> {
        core::mem::take(&mut lock(&self.flapping))
    }
}
