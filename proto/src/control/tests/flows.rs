//! Flows that a box on the way remembers wrong, and the port that leaves them.

use super::*;

const OWN: (u16, u16) = (6783, 6783);

#[test]
fn a_stuck_flow_is_left_for_another_port_by_data_too() {
    let mut net = linked_pair();
    net.stuck.push((0, 1, OWN));
    net.run(limits::DEAD_AFTER + limits::PATH_BEAT);
    assert_eq!(net.established(0), 0);
    net.run(limits::FLOW_PATIENCE + 3 * SECOND);
    assert_eq!((net.established(0), net.established(1)), (1, 1));
    net.send_frame(0, &frame([0xff; 6], 1, b"x"));
    net.send_frame(1, &frame([2, 0, 0, 0, 0, 1], 3, b"y"));
    assert_eq!(
        (net.nodes[0].injected.len(), net.nodes[1].injected.len()),
        (1, 1)
    );
    // It stays so, and nobody flaps.
    let before: Vec<u64> = net.nodes.iter().map(|n| n.spare.number).collect();
    net.run(60 * SECOND);
    let after: Vec<u64> = net.nodes.iter().map(|n| n.spare.number).collect();
    assert_eq!((net.established(0), net.established(1)), (1, 1));
    assert_eq!(after.iter().filter(|n| **n > 0).count(), 1, "{after:?}");
    assert!(before.iter().zip(&after).all(|(b, a)| a == b || *a == 0));
}

#[test]
fn when_the_other_port_is_stuck_as_well_a_third_one_is_taken() {
    let mut net = linked_pair();
    net.stuck.push((0, 1, OWN));
    net.run(15 * SECOND);
    assert_eq!(net.established(0), 1);
    for n in 0..2 {
        let port = net.nodes[n].spare_address().port();
        net.stuck.push((0, 1, (6783, port)));
    }
    net.run(limits::DEAD_AFTER + limits::PATH_BEAT);
    assert_eq!(net.established(0), 0);
    net.run(limits::FLOW_RENEW + limits::FLOW_PATIENCE);
    assert_eq!((net.established(0), net.established(1)), (1, 1));
}

#[test]
fn the_other_port_is_closed_when_it_is_of_no_use() {
    let mut net = linked_pair();
    net.no_udp.push((0, 1));
    net.run(limits::DEAD_AFTER + limits::FLOW_PATIENCE + 3 * SECOND);
    assert!(net.nodes.iter().all(|node| node.spare.number > 0));
    net.run(10 * limits::FLOW_RENEW);
    assert!(net.nodes[0].spare.number <= 11, "not too often another one");
    net.no_udp.clear();
    net.run(5 * SECOND);
    assert_eq!((net.established(0), net.established(1)), (1, 1));
    // The first that answers is taken, whichever it is; the other end then has no use for its own.
    net.run(2 * limits::FLOW_RENEW);
    let open = net.nodes.iter().filter(|node| node.spare.number > 0);
    assert!(open.count() <= 1);
}
