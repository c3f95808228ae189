//! How long datagrams may be on each direct path: one path MTU discovery ([`crate::pmtu`]) for each.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use core::time::Duration;

use super::Control;
use super::probe::Probe;
use crate::entropy::Entropy;
use crate::ids::PeerId;
use crate::limits::{HEARTBEAT, MAX_DATAGRAM};
use crate::pmtu::{Ask, Pmtu};
use crate::time::Instant;

/// The discoveries; as many as there are direct paths.
#[derive(Debug)]
pub(super) struct Sizes {
    paths: BTreeMap<PeerId, Path>,
    /// No discovery is due before.
    due: Instant,
}

#[derive(Debug)]
struct Path {
    address: SocketAddr,
    /// In all its probes: a reply to one of another path is none to these.
    nonce: u64,
    pmtu: Pmtu,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            paths: BTreeMap::new(),
            due: Instant::FAR_FUTURE,
        }
    }
}

impl Sizes {
    /// When a discovery wants to be polled.
    pub(super) fn next_deadline(&self) -> Instant {
        self.due
    }

    /// The longest datagram that passes to `peer`, if its path is direct.
    pub(super) fn datagram(&self, peer: &PeerId) -> Option<u16> {
        Some(self.paths.get(peer)?.pmtu.datagram())
    }

    /// The same when a search ended at it ([`Pmtu::settled`]).
    pub(super) fn settled(&self, peer: &PeerId) -> Option<u16> {
        self.paths.get(peer)?.pmtu.settled()
    }

    /// All that the snapshot says of the path to `peer`.
    fn published(&self, peer: &PeerId) -> (Option<u16>, Option<u16>) {
        (self.datagram(peer), self.settled(peer))
    }

    /// The direct path to `peer` is this one now; a new one is begun anew.
    fn follow(
        &mut self,
        peer: PeerId,
        direct: Option<SocketAddr>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        if self.paths.get(&peer).map(|path| path.address) == direct {
            return;
        }
        self.paths.remove(&peer);
        if let Some(address) = direct {
            let ceiling = u16::try_from(MAX_DATAGRAM).unwrap_or(u16::MAX);
            let pmtu = Pmtu::new(address, ceiling, now);
            let nonce = entropy.u64();
            let path = Path {
                address,
                nonce,
                pmtu,
            };
            self.paths.insert(peer, path);
            self.due = self.due.min(now);
        }
    }

    /// The next probe of a size to `peer`, where to, and whether a small one is wanted beside it.
    fn poll(
        &mut self,
        peer: &PeerId,
        rtt: Duration,
        now: Instant,
    ) -> Option<(SocketAddr, Probe, bool)> {
        let path = self.paths.get_mut(peer)?;
        let ask = path.pmtu.poll(rtt, now);
        self.due = self.due.min(path.pmtu.next_deadline());
        let Ask { size, sign } = ask?;
        let nonce = path.nonce;
        Some((path.address, Probe::SizeRequest { nonce, size }, sign))
    }

    /// The peers whose discovery is due; the others are not before what is next.
    fn take_due(&mut self, now: Instant) -> Vec<PeerId> {
        let deadline = |path: &Path| path.pmtu.next_deadline();
        let due = self.paths.iter().filter(|(_, path)| deadline(path) <= now);
        let due = due.map(|(peer, _)| *peer).collect();
        let later = self.paths.values().map(deadline).filter(|at| *at > now);
        self.due = later.min().unwrap_or(Instant::FAR_FUTURE);
        due
    }
}

impl Control {
    /// The direct path to `peer` appeared, moved or went.
    pub(super) fn follow_direct(&mut self, peer: PeerId, now: Instant) {
        let direct = self.paths.direct(&peer).map(|direct| direct.address);
        self.sizes.follow(peer, direct, now, &mut *self.entropy);
    }

    /// A heartbeat: what a path passes is confirmed while frames go by it.
    pub(super) fn confirm_size(&mut self, peer: &PeerId, now: Instant) {
        let stats = self.sessions.current(*peer).map(|t| t.stats());
        let last_frame = stats.and_then(|stats| stats.last_frame_sent);
        if last_frame.is_some_and(|at| now.since(at) < 2 * HEARTBEAT)
            && let Some(path) = self.sizes.paths.get_mut(peer)
        {
            path.pmtu.heartbeat(now);
            self.sizes.due = self.sizes.due.min(now);
        }
    }

    /// A small probe to `peer` was answered.
    pub(super) fn small_answered(&mut self, peer: PeerId, now: Instant) {
        self.follow_direct(peer, now);
        if let Some(direct) = self.paths.direct(&peer)
            && let Some(path) = self.sizes.paths.get_mut(&peer)
        {
            path.pmtu.small_answered(direct.asked());
        }
    }

    /// A probe of a size was answered from `from`.
    pub(super) fn size_answered(
        &mut self,
        peer: PeerId,
        from: SocketAddr,
        (nonce, size): (u64, u16),
        now: Instant,
    ) {
        let before = self.sizes.published(&peer);
        let path = self.sizes.paths.get_mut(&peer);
        if let Some(path) = path.filter(|path| path.address == from && path.nonce == nonce) {
            path.pmtu.acknowledged(size, now);
            self.snapshot_dirty |= self.sizes.published(&peer) != before;
            self.ask_sizes(&peer, now);
        }
    }

    /// Sends the probes of sizes that are due.
    pub(super) fn tick_sizes(&mut self, now: Instant) {
        if now >= self.sizes.due {
            for peer in self.sizes.take_due(now) {
                self.ask_sizes(&peer, now);
            }
        }
    }

    fn ask_sizes(&mut self, peer: &PeerId, now: Instant) {
        let Some(rtt) = self.paths.direct(peer).map(|direct| direct.rtt) else {
            return;
        };
        let before = self.sizes.published(peer);
        while let Some((to, probe, sign)) = self.sizes.poll(peer, rtt, now) {
            self.seal_probe(peer, to, probe, now);
            if sign && let Some((to, probe)) = self.paths.ask_direct(peer, now, &mut *self.entropy)
            {
                self.seal_probe(peer, to, probe, now);
            }
        }
        self.snapshot_dirty |= self.sizes.published(peer) != before;
    }
}
