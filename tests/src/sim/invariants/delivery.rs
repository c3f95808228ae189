//! I6: when it is quiet, each router's unicast reaches each other router of its component in at most as many hops as
//! the component is wide, and a broadcast reaches every one.

use std::collections::{BTreeMap, BTreeSet};

use super::deliver_once::Deliveries;
use super::{Check, Violation};
use crate::sim::frames::FrameId;
use crate::sim::network::HostId;

const NAME: &str = "I6 delivery";

/// Who must get a frame.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    pub(crate) frame: FrameId,
    pub(crate) from: HostId,
    /// Every one of these exactly once; deliver-once sees to the "once".
    pub(crate) to: BTreeSet<HostId>,
    /// Nobody beside them.
    pub(crate) only: bool,
}

/// Whether every expectation came true.
pub(crate) fn check(expected: &[Expectation], got: &Deliveries, hosts: &BTreeSet<HostId>) -> Check {
    for e in expected {
        let Expectation { frame, from, .. } = e;
        let missed: Vec<_> = e.to.iter().filter(|to| !got.reached(*frame, **to)).collect();
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

/// Whether every datagram that carried a frame of the test took at most `most` hops.
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
    use mesh_proto::time::Instant;

    #[test]
    fn missing_and_stray_frames_are_found() {
        let mut ledger = Ledger::default();
        let (frame, bytes) = ledger.frame(0, Mac([2; 6]), Mac([4; 6]), 60, Instant::ZERO);
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
