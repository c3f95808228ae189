//! Effects of the control plane, as they concern the state machine of addresses: the way in that the router and the
//! simulator share. This module is above both, so that neither knows the other.

use crate::Ipam;
use mesh_proto::control::{Control, Output};
use mesh_proto::ids::PeerId;
use mesh_proto::time::Instant;
use mesh_proto::wire::topic::Topic;

const TOPIC: Topic = Topic::ADDRESSES;

/// Hands an effect of the control plane to `ipam`. Malformed statements and messages are counted, and change nothing.
pub fn addresses(ipam: &mut Ipam, output: &Output, control: &Control, now: Instant) {
    match output {
        Output::Announcement(key) if key.topic == TOPIC => {
            statement(ipam, key.origin, control, now);
        }
        Output::Reach => {
            for announcement in control.announcements(TOPIC) {
                ipam.set_reachable(announcement.origin, announcement.reachable, now);
            }
        }
        Output::Unicast { from, topic, body } if *topic == TOPIC => {
            let _ = ipam.handle_message(*from, body, now);
        }
        Output::Targets(targets) => ipam.set_expecting(!targets.is_empty(), now),
        Output::Epoch(epoch) => ipam.raise_epoch(*epoch, now),
        _ => {}
    }
}

fn statement(ipam: &mut Ipam, origin: PeerId, control: &Control, now: Instant) {
    let announcement = control.announcement(origin, TOPIC);
    match announcement.filter(|a| !a.body.is_empty()) {
        Some(a) => {
            let _ = ipam.handle_statement(origin, a.body, a.reachable, now);
        }
        // It has started again and has stated nothing yet, or takes no part any more.
        None => ipam.set_reachable(origin, false, now),
    }
}
