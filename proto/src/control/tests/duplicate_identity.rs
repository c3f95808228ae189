//! A router meets records with its own key that it did not make.

use super::super::neighbours::{TargetKey, TargetState};
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
    let clone = || without_discovery(1);
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
    net.run(limits::DUPLICATE_IDENTITY_QUIET + 5 * SECOND);
    assert_eq!(warned(&net, 0), None);
    assert!(net.nodes[0].notes.iter().any(|n| n.contains("any more")));
}

#[test]
fn a_clone_that_is_let_in_nowhere_says_so() {
    let mut net = linked_pair();
    let mut clone = Net::new(vec![open_mesh(3), open_mesh(4), open_mesh(1)]);
    net.nodes.push(clone.nodes.remove(2));
    net.connect(2, 1);
    net.run(10 * SECOND);
    assert_eq!([0, 1, 2].map(|n| net.established(n)), [1, 1, 0]);
    let warnings = net.nodes[2].control.report(net.now).warnings;
    let told = warnings.iter().find(|w| w.contains("router's key"));
    assert!(
        told.is_some_and(|w| w.contains("the router at 10.0.0.2:6783 is linked to it")),
        "{warnings:?}"
    );
}

#[test]
fn our_own_key_at_another_address_is_asked_again_and_at_our_own_is_not() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(1)]);
    net.connect(0, 0);
    net.connect(0, 1);
    net.run(5 * SECOND);
    let asked_again = net.nodes[0]
        .control
        .parts
        .neighbours
        .targets()
        .map(|(key, target)| {
            let at = match key {
                TargetKey::Explicit(text) => text.clone(),
                TargetKey::Discovered(peer) => peer.to_string(),
            };
            (at, matches!(target.state, TargetState::Waiting(_)))
        });
    let own = (address(0).to_string(), false);
    let other = (address(1).to_string(), true);
    assert_eq!(asked_again.collect::<Vec<_>>(), [own, other]);
}
