//! A router meets records with its own key that it did not make.

use super::*;

#[test]
fn an_epoch_raised_in_the_middle_of_a_run_is_kept() {
    let mut net = linked_pair();
    assert!(net.nodes[0].epochs.is_empty());
    let later = record_of_another_run(&net, 0, Version { epoch: 7, seq: 3 });
    tell(&mut net, &later);
    net.run(3 * SECOND);
    assert_eq!(net.nodes[0].epochs, [8]);
    assert_eq!(net.nodes[0].control.report(net.now).epoch, 8);
}

#[test]
fn both_of_two_clones_are_told_and_told_when_it_is_over() {
    let clone = || Setup {
        discovery: false,
        ..open_mesh(1)
    };
    let mut net = Net::new(vec![clone(), open_mesh(2), clone()]);
    net.connect(0, 1);
    net.run(3 * SECOND);
    let warned = |net: &Net, n: usize| {
        let warnings = net.nodes[n].control.report(net.now).warnings;
        warnings.into_iter().find(|w| w.contains("router's key"))
    };
    assert_eq!(warned(&net, 0), None);
    // The clone comes in through another router: the first one is linked with node 1 already.
    let mut third = Net::new(vec![open_mesh(3)]);
    net.nodes.push(third.nodes.remove(0));
    net.nodes[3].address = address(3);
    net.connect(2, 3);
    net.connect(3, 1);
    net.run(10 * SECOND);
    let (a, b) = (warned(&net, 0).unwrap(), warned(&net, 2).unwrap());
    assert!(
        a.contains("calls itself host3 at 10.0.0.3:6783, heard of from"),
        "{a}"
    );
    assert!(b.contains("calls itself host1 at 10.0.0.1:6783"), "{b}");
    assert!(a.contains("mesh reset"), "{a}");
    let told = net.nodes[0]
        .notes
        .iter()
        .filter(|n| n.contains("router's key"));
    assert_eq!(told.count(), 1, "{:?}", net.nodes[0].notes);
    // The clone is switched off.
    let gone = net.nodes.remove(2);
    net.streams.retain(|(n, _), (far, _)| *n != 2 && *far != 2);
    net.streams = net
        .streams
        .iter()
        .map(|((n, c), (far, d))| {
            (
                (n - usize::from(*n > 2), *c),
                (far - usize::from(*far > 2), *d),
            )
        })
        .collect();
    drop(gone);
    net.run(limits::CLONE_QUIET + 5 * SECOND);
    assert_eq!(warned(&net, 0), None);
    assert!(net.nodes[0].notes.iter().any(|n| n.contains("any more")));
}
