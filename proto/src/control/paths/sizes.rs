//! The longest datagram that passes each direct path: one path MTU discovery ([`crate::pmtu`]) for each.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use core::time::Duration;

use super::probe::Probe;
use crate::entropy::Entropy;
use crate::ids::PeerId;
use crate::limits::MAX_DATAGRAM;
use crate::pmtu::{Ask, Pmtu};
use crate::time::Instant;

/// The discoveries; as many as there are direct paths.
#[derive(Debug)]
pub(crate) struct Sizes {
    paths: BTreeMap<PeerId, SizedPath>,
    /// Time before which no discovery is due.
    due: Instant,
}

#[derive(Debug)]
struct SizedPath {
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
    /// Returns the time of the next call of [`Sizes::take_due`].
    pub(crate) fn next_deadline(&self) -> Instant {
        self.due
    }

    /// Returns the longest datagram that passes to `peer`, if its path is direct.
    pub(crate) fn datagram(&self, peer: &PeerId) -> Option<u16> {
        Some(self.paths.get(peer)?.pmtu.datagram())
    }

    /// Returns the same if a search ended at it ([`Pmtu::settled`]).
    pub(crate) fn settled(&self, peer: &PeerId) -> Option<u16> {
        self.paths.get(peer)?.pmtu.settled()
    }

    /// Returns the sizes that are published of the path to `peer`.
    pub(crate) fn published(&self, peer: &PeerId) -> (Option<u16>, Option<u16>) {
        (self.datagram(peer), self.settled(peer))
    }

    /// Sets the direct path to `peer`; discovery begins again on a new one.
    pub(crate) fn follow(
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
            let path = SizedPath {
                address,
                nonce,
                pmtu,
            };
            self.paths.insert(peer, path);
            self.due = self.due.min(now);
        }
    }

    /// Returns the next probe of a size to `peer`, its address, and true if a small one is wanted beside it.
    pub(crate) fn poll(
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

    /// Confirms the size of the path to `peer`, which carries frames.
    pub(crate) fn confirm(&mut self, peer: &PeerId, now: Instant) {
        if let Some(path) = self.paths.get_mut(peer) {
            path.pmtu.heartbeat(now);
            self.due = self.due.min(now);
        }
    }

    /// Takes note of the answer to a small probe that was sent at `asked`.
    pub(crate) fn small_answered(&mut self, peer: &PeerId, asked: Instant) {
        if let Some(path) = self.paths.get_mut(peer) {
            path.pmtu.small_answered(asked);
        }
    }

    /// Takes note of the answer to a probe of a size from `from`. Returns true if it is one of these probes.
    pub(crate) fn answered(
        &mut self,
        peer: &PeerId,
        from: SocketAddr,
        (nonce, size): (u64, u16),
        now: Instant,
    ) -> bool {
        let path = self.paths.get_mut(peer);
        let path = path.filter(|path| path.address == from && path.nonce == nonce);
        let is_ours = path.is_some();
        if let Some(path) = path {
            path.pmtu.acknowledged(size, now);
        }
        is_ours
    }

    /// Takes the peers whose discovery is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<PeerId> {
        if now < self.due {
            return Vec::new();
        }
        let deadline = |path: &SizedPath| path.pmtu.next_deadline();
        let due = self.paths.iter().filter(|(_, path)| deadline(path) <= now);
        let due = due.map(|(peer, _)| *peer).collect();
        let later = self.paths.values().map(deadline).filter(|at| *at > now);
        self.due = later.min().unwrap_or(Instant::FAR_FUTURE);
        due
    }
}
