//! The TCP connection of a link ends, and data goes on.

use super::*;

/// Whether a frame passes each way.
fn passes(net: &mut Net) -> bool {
    let before = [net.nodes[0].injected.len(), net.nodes[1].injected.len()];
    net.send_frame(0, &frame([0xff; 6], 1, b"x"));
    net.send_frame(1, &frame([2, 0, 0, 0, 0, 1], 3, b"y"));
    let after = [net.nodes[0].injected.len(), net.nodes[1].injected.len()];
    after[0] > before[0] && after[1] > before[1]
}

#[test]
fn a_link_that_fell_silent_takes_no_route_with_it_while_datagrams_go() {
    let mut net = linked_pair();
    assert!(passes(&mut net));
    // Every byte is lost from now on, and no connection can be made.
    net.streams.clear();
    net.no_tcp = true;
    let linked = |net: &Net| net.nodes[0].control.parts.links.neighbours().count();
    for _ in 0..20 {
        net.run(SECOND);
        assert!(passes(&mut net), "{:?}", net.nodes[0].notes);
    }
    assert_eq!(linked(&net), 0, "the link was given up");
    net.no_tcp = false;
    net.run(limits::REDIAL_MAX_EXPLICIT * 3 / 2);
    assert_eq!((net.established(0), net.established(1)), (1, 1));
    assert!(passes(&mut net));
    let control = &net.nodes[0].control;
    assert_eq!(
        control.parts.links.beside().count() - control.parts.links.neighbours().count(),
        0
    );
}

#[test]
fn without_a_link_for_long_the_route_goes() {
    let mut net = linked_pair();
    let peer = net.nodes[1].control.me();
    net.streams.clear();
    net.no_tcp = true;
    net.run(limits::LINK_DEAD_AFTER + limits::KEEP_ROUTE + 2 * SECOND);
    let control = &net.nodes[0].control;
    assert!(
        !control.parts.links.is_beside(&peer)
            && !control.parts.routing.routes().is_reachable(&peer)
    );
}

#[test]
fn who_is_gone_altogether_is_let_go_at_once() {
    let mut net = linked_pair();
    let (peer, conn, now) = (net.nodes[1].control.me(), net.conn(0, 1), net.now);
    net.no_udp.push((0, 1));
    net.no_tcp = true;
    net.nodes[0].control.handle_closed(conn, "reset", now);
    net.run(SECOND);
    assert!(
        !net.nodes[0]
            .control
            .parts
            .routing
            .routes()
            .is_reachable(&peer)
    );
}

/// Both ends of a spare link end it at the same time: what one still sends is answered by a reset, which overtakes its
/// reason.
#[test]
fn the_route_of_a_link_that_no_end_wants_is_not_kept() {
    for (here, there) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut net = linked_pair();
        let (peer, conn, now) = (net.nodes[1].control.me(), net.conn(0, 1), net.now);
        net.no_tcp = true;
        let control = &mut net.nodes[0].control;
        control.parts.links.set_wanted(conn, here, now);
        control.handle_message(conn, LinkMessage::KeepLink(there), now);
        control.handle_closed(conn, "reset", now);
        assert_eq!(control.parts.links.is_beside(&peer), here || there);
    }
}

#[test]
fn who_says_goodbye_is_let_go_at_once() {
    let mut net = linked_pair();
    let (peer, conn, now) = (net.nodes[1].control.me(), net.conn(0, 1), net.now);
    net.no_tcp = true;
    let reason = "that router was stopped".to_owned();
    let control = &mut net.nodes[0].control;
    control.handle_message(conn, LinkMessage::Bye { reason }, now);
    assert!(!control.parts.links.is_beside(&peer));
}

#[test]
fn the_address_that_answers_by_udp_is_dialled_first_and_the_others_beside_it() {
    let mut net = linked_pair();
    let dead = |n: u8| SocketAddr::from(([203, 0, 113, n], 6783));
    let now = net.now;
    let announced = vec![dead(1), dead(2), address(1)];
    net.nodes[1].control.set_endpoints(announced, now);
    net.run(3 * SECOND);
    let now = net.now;
    net.nodes[0].control.connect(&[], true, now).unwrap();
    net.nodes[0].dialled.clear();
    let conn = net.conn(0, 1);
    net.no_tcp = true;
    net.nodes[0].control.handle_closed(conn, "reset", now);
    net.run(5 * SECOND);
    let dialled = &net.nodes[0].dialled;
    assert_eq!(dialled[0], (address(1), vec![dead(1), dead(2)]));
    // An address that answers may be another router's by now: each comes first in its turn.
    assert_eq!(dialled[1], (dead(1), vec![dead(2), address(1)]));
}
