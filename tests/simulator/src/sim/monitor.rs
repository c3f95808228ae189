//! Instruments that observe frames and datagrams, and check them.

use std::collections::BTreeSet;

use mesh_proto::ids::{Mac, PeerId};
use mesh_proto::network::NetworkId;

use super::frames::{FrameId, Ledger, id_of};
use super::invariants::deliver_once::Deliveries;
use super::invariants::delivery::{self, Expectation, Hops};
use super::invariants::follow::MacMoves;
use super::invariants::forward_once::{ForwardOnce, RelayKey};
use super::invariants::isolation::Isolation;
use super::invariants::nonce::Nonces;
use super::invariants::ways::{HopProgress, RouteView};
use super::invariants::{Check, secrecy};
use super::network::HostId;
use super::networks::MemberFrame;
use super::runtime::SimRuntime;
use super::tcp::ProcessId;

/// State of all instruments.
#[derive(Default)]
pub(crate) struct Monitor {
    ledger: Ledger,
    deliveries: Deliveries,
    forwarded: ForwardOnce,
    nonces: Nonces,
    hops: Hops,
    progress: HopProgress,
    moves: MacMoves,
    isolation: Isolation,
}

impl Monitor {
    /// Returns the frames sent so far, to add one.
    pub(crate) fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    // Datagrams

    /// Checks a datagram that a router sends, to `receiver` if one has that address.
    pub(crate) fn datagram_sent(
        &mut self,
        from: HostId,
        receiver: Option<PeerId>,
        bytes: &[u8],
        runtime: &mut SimRuntime,
    ) {
        runtime.check(secrecy::datagram(bytes));
        runtime.check(self.nonces.sent(from, bytes));
        runtime.check(self.forwarded.sent(from, bytes));
        self.hops.sent(receiver, bytes);
    }

    /// Checks a datagram as if the router forwarded it again.
    pub(crate) fn forwarded_again(&mut self, from: HostId, bytes: &[u8]) -> Check {
        self.forwarded.sent(from, bytes)
    }

    /// Records that a datagram arrives; frames injected until [`Monitor::datagram_handled`] were in it.
    pub(crate) fn datagram_arrives(&mut self, at: PeerId, bytes: &[u8]) {
        self.hops.arrived(at, bytes);
    }

    pub(crate) fn datagram_handled(&mut self) {
        self.hops.done();
    }

    /// Checks a relayed datagram that a router sends, by its view of the mesh.
    pub(crate) fn relayed(&mut self, from: HostId, key: RelayKey, view: RouteView) -> Check {
        self.progress.sent(from, key, view)
    }

    /// Checks a received broadcast that a router forwards.
    pub(crate) fn flooded(&mut self, by: ProcessId, frame: FrameId) -> Check {
        self.forwarded.flooded(by.host, by.incarnation, frame)
    }

    // Frames

    /// Records frames that containers send on a bridge.
    pub(crate) fn frames_sent(&mut self, from: HostId, frames: &[Vec<u8>], runtime: &SimRuntime) {
        for frame in frames {
            self.moves.sent(from, frame, runtime.now());
        }
    }

    /// Records a frame that a member of a network other than `default` sends.
    pub(crate) fn member_sent(&mut self, frame: &MemberFrame) {
        self.isolation.sent(frame.network, frame.frame);
    }

    /// Checks a frame that is injected `times` times into the bridge of a network, of which the host is a member or not.
    pub(crate) fn frame_injected(
        &mut self,
        by: ProcessId,
        (network, is_member): (NetworkId, bool),
        frame: &[u8],
        times: usize,
        runtime: &mut SimRuntime,
    ) {
        let ProcessId { host, incarnation } = by;
        if let Some(id) = id_of(frame) {
            let place = (host, network, is_member);
            runtime.check(self.isolation.injected(place, id));
        }
        for _ in 0..times {
            let deliveries = &mut self.deliveries;
            runtime.check(deliveries.injected(host, incarnation, frame, &self.ledger));
        }
        if network.is_default() {
            runtime.check(self.moves.injected(host, frame, &self.ledger));
        }
        if let Some(id) = id_of(frame) {
            self.hops.injected(id);
            runtime.record(&[4, host as u64, id]);
            runtime.line(format_args!("h{host}: frame {id} delivered"));
        }
    }

    /// Records that a MAC address moved, and the number of its first frame at its new host.
    pub(crate) fn mac_moved(&mut self, mac: Mac, to: HostId, first: FrameId, runtime: &SimRuntime) {
        self.moves.moved(mac, to, first, runtime.now());
    }

    // Tests of delivery

    /// Starts to count the hops of frames.
    pub(crate) fn count_hops(&mut self) {
        self.hops.counting = true;
    }

    pub(crate) fn check_delivery(
        &self,
        expected: &[Expectation],
        hosts: &BTreeSet<HostId>,
    ) -> Check {
        delivery::check(expected, &self.deliveries, hosts)
    }

    /// Checks that every counted frame took at most `most` hops.
    pub(crate) fn check_hops(&self, most: usize) -> Check {
        delivery::check_hops(self.hops.taken(), most)
    }

    // Figures

    /// Returns the number of frames sent by containers.
    pub(crate) fn frames(&self) -> usize {
        self.ledger.len()
    }

    /// Returns the number of their deliveries.
    pub(crate) fn deliveries(&self) -> usize {
        self.deliveries.len()
    }

    /// Returns the number of relay hops that were compared with the previous one.
    pub(crate) fn hops_compared(&self) -> u64 {
        self.progress.compared()
    }
}
