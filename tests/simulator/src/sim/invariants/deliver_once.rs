//! I5: no frame is injected into a bridge twice or modified, nor into the bridge it came from.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use mesh_proto::address::mac_for;
use mesh_proto::ids::Mac;

use super::{Check, Violation};
use crate::sim::frames::{ETHERTYPE_ARP, FrameId, Ledger, id_of};
use crate::sim::network::HostId;

const NAME: &str = "I5 deliver once";

/// All deliveries so far.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    seen: HashMap<(FrameId, HostId), Vec<u64>>,
}

impl Deliveries {
    /// Records that a router's process injected `frame` into its bridge.
    pub(crate) fn injected(
        &mut self,
        at: HostId,
        incarnation: u64,
        frame: &[u8],
        ledger: &Ledger,
    ) -> Check {
        let fail = |what: String| Err(Violation::new(NAME, what));
        let Some((id, sent)) = id_of(frame).and_then(|id| Some((id, ledger.sent(id)?))) else {
            return fail(format!("router {at} delivered a frame that nobody sent"));
        };
        if sent.bytes != frame && !is_directed(&sent.bytes, frame) {
            return fail(format!("frame {id} came changed to router {at}"));
        }
        if sent.from == at {
            return fail(format!("frame {id} came back to router {at}"));
        }
        let starts = self.seen.entry((id, at)).or_default();
        if starts.contains(&incarnation) {
            return fail(format!("frame {id} came twice to router {at}"));
        }
        starts.push(incarnation);
        Ok(())
    }

    /// True if the frame reached the router.
    pub(crate) fn reached(&self, id: FrameId, at: HostId) -> bool {
        self.seen.contains_key(&(id, at))
    }

    pub(crate) fn len(&self) -> usize {
        self.seen.len()
    }
}

/// Returns true if `frame` is this ARP request, sent to the container that has the address instead of to everybody.
fn is_directed(sent: &[u8], frame: &[u8]) -> bool {
    let [to @ .., _] = frame.get(..7).unwrap_or_default() else {
        return false;
    };
    let is_request =
        sent.get(12..14) == Some(&ETHERTYPE_ARP) && sent.starts_with(&Mac::BROADCAST.0);
    let target: Option<[u8; 4]> = sent.get(38..42).and_then(|ip| ip.try_into().ok());
    let owner = target.map(|ip| mac_for(Ipv4Addr::from(ip).into()));
    is_request && sent.get(6..) == frame.get(6..) && owner.is_some_and(|mac| to == mac.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::frames::Station;

    #[test]
    fn a_request_may_be_sent_to_the_owner_of_the_address_alone() {
        let mut ledger = Ledger::default();
        let (ip, target) = (Ipv4Addr::new(10, 2, 0, 1), Ipv4Addr::new(10, 2, 0, 2));
        let station = Station {
            ip,
            mac: mac_for(ip.into()),
        };
        let (_, mut frame) = ledger.request(0, &station, target);
        let mut deliveries = Deliveries::default();
        frame[..6].copy_from_slice(&mac_for(target.into()).0);
        assert!(deliveries.injected(1, 1, &frame, &ledger).is_ok());
        frame[..6].copy_from_slice(&station.mac.0);
        assert!(
            deliveries.injected(2, 1, &frame, &ledger).is_err(),
            "to another one"
        );
    }

    #[test]
    fn once_unchanged_and_elsewhere() {
        let mut ledger = Ledger::default();
        let mac = Mac([2; 6]);
        let (id, mut frame) = ledger.frame(0, mac, Mac::BROADCAST, 100);
        let mut deliveries = Deliveries::default();
        assert!(deliveries.injected(1, 1, &frame, &ledger).is_ok());
        assert!(deliveries.injected(2, 1, &frame, &ledger).is_ok());
        assert!(deliveries.injected(1, 2, &frame, &ledger).is_ok());
        assert!(deliveries.injected(1, 1, &frame, &ledger).is_err(), "twice");
        assert!(deliveries.injected(0, 1, &frame, &ledger).is_err(), "back");
        assert!(deliveries.reached(id, 1) && !deliveries.reached(id, 3));
        frame[50] ^= 1;
        assert!(
            deliveries.injected(3, 1, &frame, &ledger).is_err(),
            "changed"
        );
        assert!(deliveries.injected(3, 1, b"what", &ledger).is_err());
    }
}
