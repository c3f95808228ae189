//! Tables of addresses that both directions use: learnt from frames, and published by the control plane.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::arp_proxy::ArpProxy;
use crate::fdb::{Fdb, Learn, Owner};
use crate::forward::{Counter, Counters, lock};
use crate::ids::Mac;
use crate::limits::MAX_FLAPS;
use crate::time::Instant;

/// MAC table and announced addresses of one network.
#[derive(Debug)]
pub(in crate::forward) struct BridgeTables {
    fdb: Fdb,
    arp_proxy: ArpProxy,
    flapping: Mutex<BTreeMap<Mac, (Owner, Owner)>>,
}

impl BridgeTables {
    pub(super) fn new(fdb: Fdb, arp_proxy: ArpProxy) -> Self {
        Self {
            fdb,
            arp_proxy,
            flapping: Mutex::default(),
        }
    }

    pub(in crate::forward) fn fdb(&self) -> &Fdb {
        &self.fdb
    }

    pub(in crate::forward) fn arp_proxy(&self) -> &ArpProxy {
        &self.arp_proxy
    }

    /// Removes expired entries.
    pub(super) fn sweep(&self, now: Instant) {
        self.fdb.sweep(now);
        self.arp_proxy.sweep(now);
    }

    /// Learns that `mac` is behind `owner`.
    pub(in crate::forward) fn learn(
        &self,
        mac: Mac,
        owner: Owner,
        now: Instant,
        counters: &Counters,
    ) {
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
