//! Routers that begin as if they had run before.

use super::*;

fn three() -> Net {
    let mut net = Net::new([1, 2, 3].map(open_mesh).into());
    net.connect(0, 1);
    net.connect(1, 2);
    net
}

/// Three routers that begin with what three such knew that were linked for a while.
fn resumed() -> Net {
    let mut before = three();
    before.run(SECOND * 30);
    let known = &before.nodes[0].control;
    let mut net = three();
    let now = net.now;
    for node in &mut net.nodes {
        node.control
            .resume(known.parts.gossip.lsdb(), known.parts.routing.routes(), now);
    }
    net
}

/// What each router holds of what each says of its links: how new it is, and how many there are.
fn links(net: &Net) -> Vec<(Version, usize)> {
    let origins: Vec<PeerId> = net.nodes.iter().map(|node| node.control.me()).collect();
    let pairs = net.nodes.iter().flat_map(|node| {
        let key = |origin: &PeerId| RecordKey::new(*origin, Topic::LINKS);
        origins.iter().map(move |o| node.control.record(key(o)))
    });
    let records = pairs.map(|record| record.expect("all have links"));
    records.map(|r| (r.version(), r.links().len())).collect()
}

#[test]
fn who_resumes_knows_all_at_once_and_says_nothing_that_was_said() {
    let mut net = resumed();
    let before = links(&net);
    assert!(before.iter().all(|(_, links)| *links == 2));
    assert!(net.nodes.iter().all(|n| n.control.reachable().len() == 3));
    net.run(SECOND * 20);
    let linked = |n: &Node| n.control.parts.links.neighbours().count() == 2;
    assert!(net.nodes.iter().all(linked), "the links are there");
    assert_eq!(links(&net), before, "and nobody has said anything of them");
}

#[test]
fn links_that_do_not_come_are_said_to_be_gone() {
    let mut net = resumed();
    net.no_udp.push((0, 2));
    net.run(SECOND * 20);
    let found: Vec<usize> = links(&net).into_iter().map(|(_, links)| links).collect();
    assert_eq!(found, [1, 2, 1].repeat(3));
    assert!(net.nodes.iter().all(|n| n.control.reachable().len() == 3));
}
