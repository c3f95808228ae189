mod begin;
mod hostile;
mod life;
mod suites;

use core::time::Duration;

use super::testing::{self, FAIR, Net, Node, Weather};
use super::transport::TransportLimits;
use super::*;
use crate::crypto::aead::{Suite, Suites};
use crate::crypto::dh::DhSecret;
use crate::entropy::{Entropy, SeededEntropy};
use crate::limits;
use crate::time::Instant;

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Asserts that both nodes have keys, and that each opens what the other seals.
pub(super) fn assert_talk(net: &mut Net) {
    for node in 0..2 {
        let before = net.nodes[1 - node].received.len();
        let frame = net.entropy.key();
        assert!(net.send(node, &frame), "node {node} has no keys");
        net.run(net.weather.delay + net.weather.jitter);
        let received = &net.nodes[1 - node].received;
        assert_eq!(received.get(before).map(Vec::as_slice), Some(&frame[..]));
    }
}

pub(super) fn established() -> Net {
    let mut net = Net::new(1, FAIR);
    net.want(0);
    net.run(SECOND);
    assert_talk(&mut net);
    net
}
