//! Effects of the control plane, as they concern the networks: the way in that the router and the simulator share.

use core::time::Duration;
use std::collections::BTreeMap;

use mesh_proto::control::{Control, JoinedNetwork, Output};
use mesh_proto::entropy::Entropy;
use mesh_proto::forward::PeerLabel;
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkLabel;
use mesh_proto::time::Instant;
use mesh_proto::wire::topic::{RecordKey, Topic};

use crate::Networks;

const TOPIC: Topic = Topic::NETWORKS;
/// Time in which a router that started again states its memberships. Until then those of its earlier run count, so that
/// a network is not removed while its containers wait for the router.
const RESTART: Duration = Duration::from_secs(30);

/// Statements of the other routers, on their way from the control plane to the networks.
#[derive(Debug, Default)]
pub struct NetworksFeed {
    /// Boot epoch of the statement of each router; at most as many as the control plane stores.
    epochs: BTreeMap<PeerId, u64>,
    /// Routers that started again and have stated nothing yet, with the end of [`RESTART`].
    silent: BTreeMap<PeerId, Instant>,
}

impl NetworksFeed {
    /// Hands an effect of the control plane to `networks`. Malformed statements and messages are counted, and change
    /// nothing. Returns true if a router has another boot epoch, so that [`NetworksFeed::joined`] may differ.
    pub fn on_control_output(
        &mut self,
        networks: &mut Networks,
        output: &Output,
        control: &Control,
        entropy: &mut impl Entropy,
        now: Instant,
    ) -> bool {
        match output {
            Output::Announcement(key) if key.topic == TOPIC => {
                return self.read(networks, key.origin, control, now);
            }
            Output::Reach => {
                for announcement in control.announcements(TOPIC) {
                    networks.set_reachable(announcement.origin, announcement.reachable, now);
                }
            }
            Output::Unicast { from, topic, body } if *topic == TOPIC => {
                networks.handle_message(*from, body, entropy, now);
            }
            _ => {}
        }
        false
    }

    /// Hands in the present statement of a router. Returns true if it has another boot epoch.
    pub fn read(
        &mut self,
        networks: &mut Networks,
        origin: PeerId,
        control: &Control,
        now: Instant,
    ) -> bool {
        if let Some(announcement) = control.announcement(origin, TOPIC) {
            self.silent.remove(&origin);
            let epoch = announcement.version.epoch;
            let before = self.epochs.insert(origin, epoch);
            // The networks count what is malformed.
            let _ = networks.handle_statement(origin, announcement.body, now);
            networks.set_reachable(origin, announcement.reachable, now);
            return before != Some(epoch);
        }
        let identity = RecordKey::new(origin, Topic::IDENTITY);
        if control.record(identity).is_some() && self.epochs.contains_key(&origin) {
            self.silent.entry(origin).or_insert(now + RESTART);
        } else {
            self.forget(networks, origin, now);
        }
        false
    }

    fn forget(&mut self, networks: &mut Networks, origin: PeerId, now: Instant) {
        self.silent.remove(&origin);
        self.epochs.remove(&origin);
        networks.forget(&origin, now);
    }

    /// Forgets routers that started again and stated nothing in time.
    pub fn handle_time(&mut self, networks: &mut Networks, now: Instant) {
        let late = self.silent.iter().filter(|(_, until)| **until <= now);
        let late: Vec<PeerId> = late.map(|(origin, _)| *origin).collect();
        for origin in late {
            self.forget(networks, origin, now);
        }
    }

    /// Returns the time at which [`NetworksFeed::handle_time`] is to be called.
    pub fn next_deadline(&self) -> Instant {
        let times = self.silent.values().min();
        times.copied().unwrap_or(Instant::FAR_FUTURE)
    }

    /// Returns the memberships of this router for the data plane.
    pub fn joined(&self, networks: &Networks) -> Vec<JoinedNetwork> {
        let me = networks.me;
        let joined = networks.memberships().map(|(network, label)| {
            let members = networks.members(&network).into_iter();
            let peers = members.filter(|member| member.router != me);
            let peers = peers.filter_map(|member| {
                let label = NetworkLabel(member.label.get());
                let epoch = *self.epochs.get(&member.router)?;
                Some((member.router, PeerLabel { label, epoch }))
            });
            JoinedNetwork {
                network,
                label: NetworkLabel(label.get()),
                peers: peers.collect(),
                keys: networks.keys(&network),
            }
        });
        joined.collect()
    }
}
