//! Effects of the control plane, as they concern the state machines of addresses: the way in that the router and the
//! simulator share. This module is above both, so that neither knows the other.

use crate::IpamSet;
use mesh_proto::control::{Control, Output};
use mesh_proto::ids::PeerId;
use mesh_proto::time::Instant;
use mesh_proto::wire::topic::Topic;

const TOPIC: Topic = Topic::ADDRESSES;

/// Hands an effect of the control plane to `set`. Malformed statements and messages are counted, and change nothing.
pub fn addresses(set: &mut IpamSet, output: &Output, control: &Control, now: Instant) {
    match output {
        Output::Announcement(key) if key.topic == TOPIC => {
            statement(set, key.origin, control, now);
        }
        Output::Reach => {
            let all = control.announcements(TOPIC);
            set.set_reachable(all.map(|a| (a.origin, a.reachable)), now);
        }
        Output::Unicast { from, topic, body } if *topic == TOPIC => {
            let _ = set.handle_message(*from, body, now);
        }
        Output::Targets(targets) => set.set_expecting(!targets.is_empty(), now),
        Output::Epoch(epoch) => set.raise_epoch(*epoch, now),
        _ => {}
    }
    catch_up(set, control, now);
}

/// Hands in what all routers stated of spaces that are new here.
pub fn catch_up(set: &mut IpamSet, control: &Control, now: Instant) {
    while set.take_reread() {
        for announcement in control.announcements(TOPIC) {
            if !announcement.body.is_empty() {
                let (origin, reachable) = (announcement.origin, announcement.reachable);
                set.reread(origin, announcement.body, reachable, now);
            }
        }
    }
}

fn statement(set: &mut IpamSet, origin: PeerId, control: &Control, now: Instant) {
    let announcement = control.announcement(origin, TOPIC);
    match announcement.filter(|a| !a.body.is_empty()) {
        Some(a) => {
            let _ = set.handle_record(origin, a.body, a.reachable, now);
        }
        // It has started again and has stated nothing yet, or takes no part any more.
        None => set.withdraw(origin, now),
    }
}
