//! I6: when quiet, unicast from each router reaches each other router of its component, and a broadcast reaches all of
//! them. Without discovery, the hops are at most the diameter of the component.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mesh_proto::ids::PeerId;
use mesh_proto::wire::datagram::{Header, Kind};

use super::deliver_once::Deliveries;
use super::forward_once::{RelayKey, relay_key};
use super::{Check, Violation};
use crate::sim::frames::FrameId;
use crate::sim::network::HostId;

const NAME: &str = "I6 delivery";

/// Expected receivers of a frame.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    pub(crate) frame: FrameId,
    pub(crate) from: HostId,
    /// Each of these must get the frame; `deliver_once` checks for duplicates.
    pub(crate) to: BTreeSet<HostId>,
    /// True if no others may get it.
    pub(crate) only: bool,
}

impl Expectation {
    /// Expects that exactly the hosts in `to` get the frame.
    pub(crate) fn new(frame: FrameId, from: HostId, to: impl IntoIterator<Item = HostId>) -> Self {
        Self {
            frame,
            from,
            to: to.into_iter().filter(|h| *h != from).collect(),
            only: true,
        }
    }

    /// Expects that the hosts get the frame, and perhaps others: a frame to an unknown destination is flooded.
    pub(crate) fn or_more(self) -> Self {
        Self {
            only: false,
            ..self
        }
    }
}

/// Checks all expectations.
pub(crate) fn check(expected: &[Expectation], got: &Deliveries, hosts: &BTreeSet<HostId>) -> Check {
    for e in expected {
        let Expectation { frame, from, .. } = e;
        let missed: Vec<_> =
            e.to.iter()
                .filter(|to| !got.reached(*frame, **to))
                .collect();
        if !missed.is_empty() {
            let detail = format!("frame {frame} of router {from} did not reach {missed:?}");
            return Err(Violation::new(NAME, detail));
        }
        let mut others = hosts.difference(&e.to);
        if let Some(other) = others.find(|h| e.only && got.reached(*frame, **h)) {
            let detail = format!("frame {frame} of router {from} reached router {other} as well");
            return Err(Violation::new(NAME, detail));
        }
    }
    Ok(())
}

/// Number of times that a datagram was sent before its frame arrived.
#[derive(Debug, Default)]
pub(crate) struct Hops {
    /// True while hops are counted.
    pub(crate) counting: bool,
    sent: HashMap<RelayKey, usize>,
    arriving: Option<RelayKey>,
    taken: BTreeMap<FrameId, usize>,
}

impl Hops {
    /// Records that a router sent a datagram towards `to`.
    pub(crate) fn sent(&mut self, to: Option<PeerId>, datagram: &[u8]) {
        if let Some(key) = self.key(to, datagram) {
            *self.sent.entry(key).or_default() += 1;
        }
    }

    /// Records that a datagram arrives at `me`; frames injected until [`Hops::done`] were in it.
    pub(crate) fn arrived(&mut self, me: PeerId, datagram: &[u8]) {
        self.arriving = self.key(Some(me), datagram);
    }

    pub(crate) fn done(&mut self) {
        self.arriving = None;
    }

    pub(crate) fn injected(&mut self, frame: FrameId) {
        if let Some(hops) = self.arriving.and_then(|key| self.sent.get(&key)) {
            self.taken.insert(frame, *hops);
        }
    }

    /// Returns the number of hops of each frame.
    pub(crate) fn taken(&self) -> &BTreeMap<FrameId, usize> {
        &self.taken
    }

    fn key(&self, to: Option<PeerId>, datagram: &[u8]) -> Option<RelayKey> {
        if !self.counting {
            return None;
        }
        let header = Header::parse(datagram).ok()?;
        match header.kind {
            Kind::Data => Some((to?.0, header.receiver.0, header.counter)),
            Kind::Relay => relay_key(datagram),
            _ => None,
        }
    }
}

/// Checks that every test frame took at most `most` hops.
pub(crate) fn check_hops(hops: &BTreeMap<FrameId, usize>, most: usize) -> Check {
    match hops.iter().find(|(_, hops)| **hops > most) {
        None => Ok(()),
        Some((frame, hops)) => {
            let detail = format!("frame {frame} took {hops} hops, {most} are enough");
            Err(Violation::new(NAME, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::frames::Ledger;
    use mesh_proto::ids::Mac;

    #[test]
    fn missing_and_stray_frames_are_found() {
        let mut ledger = Ledger::default();
        let (frame, bytes) = ledger.frame(0, Mac([2; 6]), Mac([4; 6]), 60);
        let hosts = BTreeSet::from([0, 1, 2]);
        let expected = [Expectation {
            frame,
            from: 0,
            to: BTreeSet::from([1]),
            only: true,
        }];
        let mut got = Deliveries::default();
        assert!(check(&expected, &got, &hosts).is_err());
        got.injected(1, 1, &bytes, &ledger).unwrap();
        assert!(check(&expected, &got, &hosts).is_ok());
        got.injected(2, 1, &bytes, &ledger).unwrap();
        assert!(check(&expected, &got, &hosts).is_err());
    }

    #[test]
    fn detours_are_found() {
        let hops = BTreeMap::from([(1, 2), (2, 3)]);
        assert!(check_hops(&hops, 3).is_ok());
        assert!(check_hops(&hops, 2).is_err());
    }
}
