//! Routers meet, and frames flow between them.

use super::*;

#[test]
fn two_routers_meet_and_frames_flow() {
    let mut net = linked_pair();
    assert_eq!(
        (net.established(0), net.established(1)),
        (1, 1),
        "{:?} {:?}",
        net.states(0),
        net.nodes[0].notes
    );
    let hello = frame([0xff; 6], 1, b"hello");
    net.send_frame(0, &hello);
    assert_eq!(net.nodes[1].injected, [hello]);
    let answer = frame([2, 0, 0, 0, 0, 1], 2, b"answer");
    net.send_frame(1, &answer);
    assert_eq!(net.nodes[0].injected, [answer]);
}

#[test]
fn a_chain_without_discovery_relays_and_stays_a_chain() {
    let mut net = Net::new([1, 2, 3].map(without_discovery).into());
    net.connect(0, 1);
    net.connect(1, 2);
    net.run(6 * SECOND);
    assert_eq!(
        [net.established(0), net.established(1), net.established(2)],
        [1, 2, 1]
    );
    let hello = frame([0xff; 6], 1, b"hello");
    net.send_frame(0, &hello);
    assert_eq!(net.nodes[1].injected.len(), 1);
    assert_eq!(net.nodes[2].injected, [hello]);
    // The answer is unicast: it needs a session of its own, end to end, and goes through the middle.
    let answer = frame([2, 0, 0, 0, 0, 1], 3, b"answer");
    net.send_frame(2, &answer);
    net.run(SECOND);
    assert_eq!(net.nodes[0].injected, [answer]);
    assert_eq!(
        net.nodes[1].injected.len(),
        1,
        "a relay does not see what it relays"
    );
    let me = net.nodes[0].control.me();
    assert!(matches!(
        net.nodes[2].snapshot.peers[&me].path,
        crate::forward::Path::Via(_)
    ));
}

#[test]
fn discovery_makes_a_full_mesh_with_one_link_a_pair() {
    let mut net = Net::new((1..=5).map(open_mesh).collect());
    for n in 1..5 {
        net.connect(n, 0);
    }
    net.run(15 * SECOND);
    for n in 0..5 {
        assert_eq!(net.established(n), 4, "{n}: {:?}", net.states(n));
    }
    let digests: Vec<_> = net.nodes.iter().map(|n| n.control.digest()).collect();
    assert!(digests.iter().all(|d| *d == digests[0]));
}

#[test]
fn who_has_a_link_is_within_reach_at_once() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    net.connect(0, 1);
    let ends = |net: &Net| net.established(0) + net.established(1);
    let reached = |net: &Net, n: usize| {
        let other = net.nodes[1 - n].control.me();
        net.nodes[n]
            .control
            .parts
            .routing
            .routes()
            .is_reachable(&other)
    };
    let step = Duration::from_millis(1);
    for _ in 0..5_000 {
        net.run(step);
        if ends(&net) == 2 {
            break;
        }
    }
    assert_eq!(ends(&net), 2);
    // A router that allocates an address now must ask the other one.
    net.run(Duration::from_millis(60));
    assert!(reached(&net, 0) && reached(&net, 1));
}
