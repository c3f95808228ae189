//! What control finds out of the path MTU, and what it tells the lanes and the operator.

use super::*;
use crate::limits::{BASE_DATAGRAM, DEAD_AFTER, MIN_DATAGRAM, MIN_INNER_MTU};
use crate::pmtu::inner_mtu;

impl Net {
    /// A mesh of two over a path with this MTU.
    fn over(mtu: usize) -> Self {
        let mut net = Self::new(vec![open_mesh(1), open_mesh(2)]);
        net.longest = mtu - 28;
        net.connect(0, 1);
        net
    }

    /// What the lanes of node 0 read about node 1.
    fn datagram_size(&self) -> u16 {
        let peer = self.nodes[1].control.me();
        self.nodes[0].snapshot.peers[&peer].datagram
    }

    fn shown_mtu(&self) -> u16 {
        self.nodes[0].control.report(self.now).connections[0].mtu
    }

    /// Lets the time pass while node 0 talks.
    fn talk(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.send_frame(0, &frame([0xff; 6], 1, b"talk"));
            self.run(Duration::from_millis(100));
        }
    }
}

#[test]
fn the_path_mtu_is_found_and_shown() {
    for (mtu, datagram) in [(1500, 1472), (1400, 1372), (1280, 1252), (9000, 8972)] {
        let mut net = Net::over(mtu);
        net.run(12 * SECOND);
        assert_eq!(net.datagram_size(), datagram, "{mtu}");
        assert_eq!(
            net.shown_mtu(),
            inner_mtu(datagram).min(limits::DEFAULT_MTU)
        );
    }
    let mut net = Net::over(700);
    net.run(12 * SECOND);
    assert!(
        (657..=672).contains(&net.datagram_size()),
        "{}",
        net.datagram_size()
    );
    assert_eq!(net.shown_mtu(), MIN_INNER_MTU);
}

#[test]
fn a_shrink_reaches_the_lanes_within_five_seconds_and_the_link_stays() {
    for mtu in [1400, 1280, 700] {
        let mut net = Net::over(1500);
        net.talk(12 * SECOND);
        assert_eq!(net.datagram_size(), 1472);
        net.longest = mtu - 28;
        net.talk(4 * SECOND);
        assert!(usize::from(net.datagram_size()) <= net.longest, "{mtu}");
        assert_eq!(net.established(0), 1);
    }
}

#[test]
fn without_traffic_a_shrink_is_noticed_when_it_begins() {
    let mut net = Net::over(1500);
    net.run(12 * SECOND);
    net.longest = 1252;
    net.run(20 * SECOND);
    assert_eq!(net.datagram_size(), 1472);
    net.talk(4 * SECOND);
    assert_eq!(net.datagram_size(), 1252);
}

#[test]
fn a_path_that_moves_is_probed_again() {
    let mut net = Net::over(9000);
    net.run(12 * SECOND);
    assert_eq!(net.datagram_size(), 8972);
    net.nodes[1].address = address(7);
    net.longest = MIN_DATAGRAM.into();
    let begun = net.now;
    while net.datagram_size() == 8972 {
        net.run(Duration::from_millis(10));
    }
    assert_eq!(net.datagram_size(), BASE_DATAGRAM);
    assert!(net.now.since(begun) < limits::PATH_DOUBT + limits::PATH_RETRY);
    net.run(2 * SECOND);
    assert_eq!(net.datagram_size(), MIN_DATAGRAM);
}

#[test]
fn a_path_that_is_gone_has_no_size() {
    let mut net = Net::over(9000);
    net.run(12 * SECOND);
    net.no_udp.push((0, 1));
    net.run(DEAD_AFTER + 2 * SECOND);
    assert_eq!(net.datagram_size(), BASE_DATAGRAM);
    assert_eq!(net.shown_mtu(), limits::DEFAULT_MTU);
}
