//! Records take a tree, and an advertisement beside it is enough for the neighbours that are left out.

use super::super::links::LinkSlot;
use super::*;

const NEWS: Topic = Topic::NAMES;

/// Three routers, each linked to the others.
fn triangle() -> Net {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2), open_mesh(3)]);
    net.connect(0, 1);
    net.connect(1, 2);
    net.run(8 * SECOND);
    for n in 0..3 {
        assert_eq!(net.established(n), 2, "router {n}");
    }
    net
}

fn known(net: &Net) -> u64 {
    let counters = net
        .nodes
        .iter()
        .map(|n| n.control.parts.gossip.counters().known);
    counters.sum()
}

fn said(net: &Net, n: usize, by: PeerId) -> Option<Vec<u8>> {
    let said = net.nodes[n].control.announcement(by, NEWS)?;
    Some(said.body.to_vec())
}

#[test]
fn each_router_is_sent_news_once() {
    let mut net = triangle();
    let (now, me, before) = (net.now, net.nodes[0].control.me(), known(&net));
    net.nodes[0]
        .control
        .announce(NEWS, b"once".to_vec(), now)
        .unwrap();
    net.run(SECOND);
    for n in 1..3 {
        assert_eq!(said(&net, n, me), Some(b"once".to_vec()));
    }
    assert_eq!(known(&net), before, "somebody got what it had");
}

#[test]
fn a_record_that_a_neighbour_advertises_is_requested_by_those_that_lack_it() {
    let mut net = triangle();
    let stranger = Identity::from_seeds([7; 32], [8; 32]);
    let version = Version { epoch: 1, seq: 1 };
    let body = crate::topology::testing::body_of(&stranger).encode();
    let identity = SignedRecord::sign(Topic::IDENTITY, version, &body, &stranger).unwrap();
    let news = SignedRecord::sign(NEWS, version, b"news", &stranger).unwrap();
    let (now, from_2, to_0) = (net.now, net.conn(1, 2), net.conn(0, 1));
    let records = [&identity, &news].map(|r| r.bytes().to_vec()).to_vec();
    let knower = &mut net.nodes[1].control;
    knower.handle_message(from_2, LinkMessage::Records(records), now);
    knower.parts.gossip.clear_queues();
    let advertise = |net: &mut Net, key, seq| {
        let (now, version) = (net.now, Version { epoch: 1, seq });
        let advertisement = LinkMessage::IHave(vec![(key, version)]);
        net.nodes[0]
            .control
            .handle_message(to_0, advertisement, now);
        net.run(SECOND / 2);
    };
    assert_eq!(said(&net, 0, stranger.id()), None);
    advertise(&mut net, news.key(), 1);
    assert_eq!(said(&net, 0, stranger.id()), Some(b"news".to_vec()));
    // What it has, what is older, and what only it itself can say is not asked for.
    let asked = net.nodes[0].control.parts.gossip.requests();
    advertise(&mut net, news.key(), 1);
    advertise(&mut net, news.key(), 0);
    let own = RecordKey::new(net.nodes[0].control.me(), NEWS);
    advertise(&mut net, own, 9);
    assert_eq!(net.nodes[0].control.parts.gossip.requests(), asked);
}

#[test]
fn what_passed_a_neighbour_by_while_its_router_was_out_of_reach_is_found_soon() {
    let mut net = Net::new([1, 2, 3].map(without_discovery).into());
    net.connect(0, 1);
    net.run(8 * SECOND);
    let (now, late, to_0) = (net.now, net.nodes[2].control.me(), net.conn(1, 0));
    let news = b"late".to_vec();
    net.nodes[2]
        .control
        .announce(NEWS, news.clone(), now)
        .unwrap();
    fn slot(net: &mut Net, conn: ConnId) -> &mut LinkSlot {
        net.nodes[1].control.parts.links.slot_mut(conn).unwrap()
    }
    // All that node 1 has to tell node 0 waits, and this gets lost.
    slot(&mut net, to_0).queued(limits::MAX_GOSSIP_QUEUE);
    net.connect(2, 1);
    net.run(SECOND);
    assert_eq!(said(&net, 1, late), Some(news.clone()));
    let gossip = &mut net.nodes[1].control.parts.gossip;
    gossip.unqueue(to_0, &RecordKey::new(late, NEWS));
    slot(&mut net, to_0).written(limits::MAX_GOSSIP_QUEUE);
    while !net.nodes[0]
        .control
        .parts
        .routing
        .routes()
        .is_reachable(&late)
    {
        net.run(Duration::from_millis(1));
    }
    assert_eq!(said(&net, 0, late), None);
    // Sooner than links are compared anyway.
    net.run(SECOND / 2);
    assert_eq!(said(&net, 0, late), Some(news));
}
