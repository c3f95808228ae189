//! Direct paths: found, blocked, moved, silent; and which of our addresses are announced.

use std::net::IpAddr;

use super::*;
use crate::control::{RouteLookup, UnderlayRoute};
use crate::forward::{LaneEvent, Via};
use crate::ids::SessionIndex;

const BLOCKED: &str = "UDP between the two is blocked: open UDP port 6783 both ways, or a NAT box or firewall on the way \
                       holds on to an old state and other source ports are tried";

#[test]
fn a_pair_without_udp_stays_pending_and_talks_through_the_third() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2), open_mesh(3)]);
    net.no_udp.push((0, 2));
    net.connect(0, 1);
    net.connect(2, 1);
    net.run(8 * SECOND);
    let pending = |net: &Net| {
        let states = net.states(0).into_iter();
        let mut pending = states.filter(|(s, _)| *s == ConnectionState::Pending);
        pending.next().unwrap().1
    };
    assert_eq!(pending(&net), "probing the UDP path");
    net.run(10 * SECOND);
    let middle = net.nodes[0]
        .control
        .parts
        .gossip
        .display(&net.nodes[1].control.me());
    assert_eq!(
        pending(&net),
        format!("{BLOCKED}; until then frames go via {middle}")
    );
    net.send_frame(0, &frame([0xff; 6], 1, b"x"));
    net.send_frame(2, &frame([2, 0, 0, 0, 0, 1], 3, b"y"));
    net.run(SECOND);
    assert_eq!(
        (net.nodes[0].injected.len(), net.nodes[2].injected.len()),
        (1, 1)
    );
}

#[test]
fn what_a_neighbour_sees_is_announced_while_it_is_one() {
    let mut net = linked_pair();
    let seen: SocketAddr = "203.0.113.7:6783".parse().unwrap();
    let now = net.now + limits::OBSERVED_HOLD;
    let peer = net.nodes[1].control.me();
    let control = &mut net.nodes[0].control;
    let announced = |control: &Control| control.parts.gossip.own_endpoints().contains(&seen);
    assert!(control.parts.paths.observed(peer, seen, true, now));
    control.parts.refresh_endpoints();
    assert!(announced(control));
    let conn = control.parts.links.of_peer(&peer).unwrap();
    control.handle_closed(conn, "gone", now);
    assert!(!announced(control));
    // Without a link nobody has a say.
    control.handle_message(conn, LinkMessage::Observed(seen), now);
    assert!(!announced(control));
}

#[test]
fn a_peer_that_moved_is_followed_within_two_heartbeats() {
    let mut net = linked_pair();
    let peer = net.nodes[1].control.me();
    let path = |net: &Net| {
        net.nodes[0]
            .control
            .parts
            .paths
            .direct(&peer)
            .unwrap()
            .address
    };
    assert_eq!(path(&net), address(1));
    net.nodes[1].address = address(7);
    net.run(limits::PATH_DOUBT + limits::PATH_RETRY);
    assert_eq!(path(&net), address(7));
    assert_eq!((net.established(0), net.established(1)), (1, 1));
}

#[test]
fn a_pair_alone_without_udp_is_told_that_nothing_passes() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    net.connect(0, 1);
    net.run(5 * SECOND);
    net.no_udp.push((0, 1));
    let error = |net: &Net| net.states(0).remove(0).1;
    net.run(5 * SECOND);
    assert_eq!(error(&net), "probing the UDP path");
    net.run(10 * SECOND);
    assert_eq!(
        error(&net),
        format!("{BLOCKED}; until then no frames get through")
    );
    net.no_udp.clear();
    net.run(5 * SECOND);
    assert_eq!((error(&net), net.established(0)), (String::new(), 1));
}

#[test]
fn a_silent_path_is_left_at_once_when_its_time_is_over() {
    let mut net = linked_pair();
    let peer = net.nodes[1].control.me();
    let is_direct = |net: &Net| net.nodes[0].control.parts.paths.direct(&peer).is_some();
    let moment = Duration::from_millis(1);
    for _ in 0..5 {
        assert!(is_direct(&net));
        // The network is without delay: the last answer came when the last question left.
        let asked = net.nodes[0]
            .control
            .parts
            .paths
            .direct(&peer)
            .unwrap()
            .asked();
        net.no_udp.push((0, 1));
        net.run((asked + limits::DEAD_AFTER - moment).since(net.now));
        assert!(is_direct(&net));
        net.run(limits::PATH_BEAT * 11 / 10);
        assert!(!is_direct(&net));
        let lost = net.nodes[0].control.parts.paths.lost(&peer).unwrap();
        let late = limits::PATH_BEAT * 11 / 10 + moment;
        assert!(lost.since(asked + limits::DEAD_AFTER) < late, "{lost:?}");
        net.no_udp.clear();
        net.run(5 * SECOND);
    }
}

#[test]
fn a_silent_link_is_left_at_once_when_its_time_is_over() {
    let mut net = linked_pair();
    let conn = net.conn(0, 1);
    for elapsed in [0, 300, 450] {
        net.run(Duration::from_millis(elapsed));
    }
    // Every byte is lost from now on, and nobody is told.
    net.streams.clear();
    let heard = net.nodes[0]
        .control
        .parts
        .links
        .get(conn)
        .unwrap()
        .silence(net.now);
    let moment = Duration::from_millis(1);
    let left = limits::LINK_DEAD_AFTER.saturating_sub(heard);
    net.run(left.saturating_sub(moment));
    assert!(net.nodes[0].control.parts.links.get(conn).is_some());
    net.run(2 * moment);
    assert!(net.nodes[0].control.parts.links.get(conn).is_none());
    let notes = &net.nodes[0].notes;
    assert!(notes.iter().any(|n| n.contains("nothing heard for 10.0 s")));
}

/// A host whose routes send packets for this address into the mesh, or nowhere.
struct Leads(SocketAddr, UnderlayRoute);

impl RouteLookup for Leads {
    fn route(&self, to: SocketAddr) -> UnderlayRoute {
        if to.ip() == self.0.ip() {
            self.1
        } else {
            UnderlayRoute::Out
        }
    }
}

#[test]
fn an_address_behind_the_mesh_is_neither_probed_nor_dialled_nor_announced() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    let there = Leads(address(1), UnderlayRoute::Mesh);
    net.nodes[0].control.set_route_lookup(Box::new(there));
    net.connect(1, 0);
    net.run(5 * SECOND);
    let peer = net.nodes[1].control.me();
    let control = &mut net.nodes[0].control;
    assert_eq!(control.parts.paths.direct(&peer), None);
    assert!(control.parts.view().addresses_of(&peer).is_empty());
    let now = net.now;
    let seen = SocketAddr::new(address(1).ip(), 9);
    assert!(
        control
            .parts
            .paths
            .observed(peer, seen, true, now + limits::OBSERVED_HOLD)
    );
    control.parts.refresh_endpoints();
    assert!(!control.parts.gossip.own_endpoints().contains(&seen));
    let (state, why) = net.states(0).remove(0);
    assert_eq!(state, ConnectionState::Pending);
    assert!(why.contains("through the mesh itself"), "{why}");
}

#[test]
fn an_address_without_a_route_is_not_retried_where_its_router_is_linked() {
    let mut net = linked_pair();
    let nowhere: SocketAddr = "[fd00::9]:6783".parse().unwrap();
    net.nodes[0]
        .control
        .set_route_lookup(Box::new(Leads(nowhere, UnderlayRoute::None)));
    let now = net.now;
    net.nodes[0]
        .control
        .connect(&[nowhere.to_string()], false, now)
        .unwrap();
    net.run(SECOND);
    let failed = |net: &Net| {
        let states = net.states(0).into_iter();
        states
            .filter(|(state, _)| *state == ConnectionState::Failed)
            .map(|(_, why)| why)
            .collect::<Vec<_>>()
    };
    assert_eq!(failed(&net), ["this host has no route to fd00::9"]);
    let mut all = net.nodes[1].control.parts.gossip.own_endpoints().to_vec();
    all.push(nowhere);
    let now = net.now;
    net.nodes[1].control.set_endpoints(all, now);
    net.run(3 * SECOND);
    assert_eq!(failed(&net), Vec::<String>::new(), "it is linked");
    assert_eq!(net.states(0).len(), 1);
}

#[test]
fn answers_leave_from_where_the_question_came_to() {
    let mut net = linked_pair();
    net.run(SECOND);
    let (peer, now) = (net.nodes[1].control.me(), net.now);
    let asked: IpAddr = "192.0.2.22".parse().unwrap();
    let control = &mut net.nodes[0].control;
    let probe = LaneEvent::Probe {
        peer,
        via: Via::Direct(address(1)),
        index: SessionIndex(1),
        body: probe::Probe::Request {
            nonce: 5,
            answer: None,
        }
        .encode(),
    };
    control.handle_lane_at(probe, Some(asked), now);
    let mut sources = Vec::new();
    while let Some(output) = control.poll_output() {
        if let Output::Datagram { to, source, .. } = output {
            sources.push((to, source));
        }
    }
    assert_eq!(sources, [(address(1), Some(asked))]);
    net.run(limits::DEBOUNCE);
    assert_eq!(
        net.nodes[0]
            .control
            .parts
            .routing
            .snapshot()
            .sources
            .get(&address(1)),
        Some(&asked)
    );
}
