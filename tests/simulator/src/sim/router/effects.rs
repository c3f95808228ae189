//! Effects of a router: those of its lanes, and of control and allocation.

use std::net::SocketAddr;
use std::sync::Arc;

use mesh_proto::arp_proxy::Binding;
use mesh_proto::control::{Note, Output};
use mesh_proto::fdb::Owner;
use mesh_proto::forward::{Collected, Snapshot};
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use mesh_proto::topology::bodies::Attached;
use mesh_proto::topology::record::SignedRecord;
use mesh_proto::wire::datagram::{Header, Kind};
use mesh_proto::wire::topic::{RecordKey, Topic};

use super::SimRouter;
use crate::sim::effect::Effect;
use crate::sim::fault::{InjectedFault, detours};
use crate::sim::frames::id_of;
use crate::sim::invariants::forward_once::relay_key;
use crate::sim::invariants::ways::{RouteView, graph};
use crate::sim::state::StateChange;

impl SimRouter {
    /// Takes the effects of a lane; a received broadcast that is sent again is reported separately.
    pub(super) fn take(&mut self, out: Collected, now: Instant) {
        let datagrams = out.datagrams();
        let on = |(_, bytes): &(SocketAddr, Vec<u8>)| {
            Header::parse(bytes).is_ok_and(|h| matches!(h.kind, Kind::Flood | Kind::NetworkFlood))
        };
        let default = out.frames.into_iter();
        let default = default.map(|frame| (NetworkId::DEFAULT, frame));
        let frames: Vec<_> = default.chain(out.elsewhere).collect();
        if datagrams.iter().any(on) {
            let ids = frames.iter().filter_map(|(_, frame)| id_of(frame));
            self.effects.extend(ids.map(Effect::Flooded));
        }
        let injected = frames.into_iter();
        let injected = injected.map(|(network, frame)| Effect::Inject(network, frame));
        self.effects.extend(injected);
        let relayed = datagrams
            .iter()
            .filter_map(|(_, bytes)| self.relayed(bytes));
        let relayed: Vec<Effect> = relayed.collect();
        self.effects.extend(relayed);
        self.effects.extend(
            datagrams
                .into_iter()
                .map(|(to, bytes)| Effect::Datagram { to, bytes }),
        );
        for event in out.events {
            self.control.handle_lane(event, self.clock.local(now));
        }
    }

    /// Returns the router's view of the path of a relayed datagram.
    fn relayed(&mut self, datagram: &[u8]) -> Option<Effect> {
        let key = relay_key(datagram)?;
        let routes = &self.snapshot.routes;
        let hops = routes.next_hop(&PeerId(key.0));
        let view = RouteView {
            graph: *self.graph.get_or_insert_with(|| graph(routes)),
            to_go: hops.map(|(_, hops)| hops),
        };
        Some(Effect::Relayed(key, view))
    }

    /// Carries out the effects of control and allocation, until none are left.
    pub(super) fn settle(&mut self, now: Instant) {
        let local = self.clock.local(now);
        loop {
            self.settle_control(now);
            let (control, effects) = (&mut self.control, &mut self.effects);
            let addresses = self.addresses.as_mut();
            if !addresses.is_some_and(|a| a.carry_out(control, effects, local)) {
                return;
            }
        }
    }

    fn settle_control(&mut self, now: Instant) {
        let local = self.clock.local(now);
        while let Some(output) = self.control.poll_output() {
            self.names.hear(&output, &self.control);
            self.networks.hear(&output, &mut self.control, local);
            if let Some(addresses) = &mut self.addresses {
                addresses.hear(&output, &self.control, local);
            }
            let effect = match output {
                Output::Dial { conn, to, .. } => Effect::Dial { conn, to },
                Output::Send { conn, bytes } => Effect::Send { conn, bytes },
                Output::Close { conn, .. } => Effect::Close { conn },
                Output::Datagram { to, bytes, .. } | Output::SpareDatagram { to, bytes } => {
                    Effect::Datagram { to, bytes }
                }
                Output::Publish(snapshot) => {
                    self.publish(snapshot, now);
                    continue;
                }
                Output::Pin(name, key) => Effect::Keep(StateChange::Pin(name, key)),
                Output::Epoch(epoch) => Effect::Keep(StateChange::Epoch(epoch)),
                Output::Unpin(name) => Effect::Keep(StateChange::Unpin(name)),
                Output::Targets(targets) => Effect::Keep(StateChange::Targets(targets)),
                Output::Neighbours(all) => Effect::Keep(StateChange::Neighbours(all)),
                // The simulator keeps all names.
                Output::Forgotten(_) => continue,
                Output::RemoteAttached(holder) => {
                    self.held.set(holder);
                    if self.fault == Some(InjectedFault::BindingsOfAll) {
                        self.mix_bindings(now);
                    }
                    continue;
                }
                Output::Fast(_)
                | Output::SparePort(_)
                | Output::Announcement(_)
                | Output::Unicast { .. }
                | Output::Reach => continue,
                Output::Note(Note::Info(text) | Note::Warn(text)) => Effect::Note(text),
            };
            self.effects.push(effect);
        }
    }

    /// Injected faults of networks: delivers what came in a datagram of this kind to other networks.
    pub(super) fn mix_networks(&self, kind: Option<Kind>, out: &mut Collected) {
        match (self.fault, kind) {
            (Some(InjectedFault::RelayedLabel), Some(Kind::Relay)) => {
                let frames = std::mem::take(&mut out.elsewhere);
                out.frames
                    .extend(frames.into_iter().map(|(_, frame)| frame));
            }
            (Some(InjectedFault::FloodedNetwork), Some(Kind::NetworkFlood)) => {
                let frames = std::mem::take(&mut out.elsewhere);
                let others = |frame: &Vec<u8>| {
                    let networks = self.snapshot.networks.iter().map(|n| n.domain.network());
                    networks
                        .map(|network| (network, frame.clone()))
                        .collect::<Vec<_>>()
                };
                let all = frames.iter().flat_map(|(_, frame)| others(frame));
                out.elsewhere.extend(all);
            }
            _ => {}
        }
    }

    /// Injected fault `BindingsOfAll`: each network has the announced addresses of all networks.
    fn mix_bindings(&self, now: Instant) {
        let me = self.control.me();
        for (peer, _) in self.control.identities().filter(|(peer, _)| *peer != me) {
            let record = self.control.record(RecordKey::new(peer, Topic::ATTACHED));
            let attached = record.map_or(&[][..], SignedRecord::attached);
            let binding = |a: &Attached| Binding {
                ip: a.addr.addr(),
                mac: a.mac,
                moves: a.moves,
            };
            let bindings: Vec<Binding> = attached.iter().map(binding).collect();
            for network in self.snapshot.networks.iter() {
                let arp_proxy = network.domain.arp_proxy();
                arp_proxy.set(Owner::Peer(peer), bindings.clone(), self.clock.local(now));
            }
        }
    }

    fn publish(&mut self, snapshot: Arc<Snapshot>, now: Instant) {
        if self.deaf_to_snapshots {
            return;
        }
        if !Arc::ptr_eq(&self.snapshot.routes, &snapshot.routes) {
            self.graph = None;
        }
        self.snapshot = match self.fault {
            Some(InjectedFault::Detour) => Arc::new(detours(&snapshot)),
            _ => snapshot,
        };
        if self.fault == Some(InjectedFault::BindingsOfAll) {
            self.mix_bindings(now);
        }
        let mut out = Collected::default();
        let local = self.clock.local(now);
        self.forwarder
            .flush_pending(&self.snapshot, local, &mut self.scratch, &mut out);
        self.take(out, now);
    }
}
