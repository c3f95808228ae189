//! One link at a time: timers, what waits for it, who goes first.

use core::time::Duration;
use std::sync::Arc;

use super::super::slot::Due;
use super::*;
use crate::crypto::identity::Identity;
use crate::crypto::secret::MeshSecret;
use crate::entropy::SeededEntropy;
use crate::limits::DEAD_AFTER;
use crate::link::{Link, LinkConfig, LinkRole};

fn slot() -> LinkSlot {
    slot_from(([10, 0, 0, 1], 1).into(), true, Instant::ZERO)
}

fn slot_from(address: SocketAddr, outbound: bool, now: Instant) -> LinkSlot {
    let identity = Arc::new(Identity::from_seeds([1; 32], [2; 32]));
    let record = crate::topology::testing::record(&identity, 1, 1, "host");
    let secret = Arc::new(MeshSecret::open());
    let config = LinkConfig {
        identity,
        secret,
        record,
        features: 0,
    };
    let entropy = &mut SeededEntropy::new(1);
    let link = Link::new(LinkRole::Dialler, &config, Instant::ZERO, entropy);
    LinkSlot::new(link, address, outbound, now)
}

/// Opens inbound links from these addresses, one a second; which ones had to go for them.
fn crowd(addresses: &[&str]) -> Vec<(usize, u64)> {
    let mut links = LinkTable::default();
    let mut gone = Vec::new();
    for (n, address) in addresses.iter().enumerate() {
        let now = Instant::ZERO + Duration::from_secs(n as u64);
        let slot = slot_from(address.parse().unwrap(), false, now);
        if let Some(conn) = links.insert(ConnId(n as u64), slot) {
            links.remove(conn);
            gone.push((n, conn.0));
        }
    }
    gone
}

#[test]
fn a_source_with_too_many_half_open_links_loses_its_oldest() {
    let v4 = [
        "192.0.2.9:1",
        "192.0.2.1:1",
        "192.0.2.1:2",
        "192.0.2.1:3",
        "192.0.2.1:4",
        "192.0.2.1:5",
    ];
    assert_eq!(crowd(&v4), [(5, 1)]);
    let v6 = [
        "[2001:db8::1]:1",
        "[2001:db8::2]:1",
        "[2001:db8::3]:1",
        "[2001:db8::4]:1",
        "[2001:db8::5]:1",
    ];
    assert_eq!(crowd(&v6), [(4, 0)]);
    assert!(
        crowd(&[
            "[2001:db8::1]:1",
            "[2001:db8:0:1::1]:1",
            "[2001:db8:0:2::1]:1"
        ])
        .is_empty()
    );
}

#[test]
fn when_all_is_full_the_most_crowded_source_makes_room() {
    let mut from: Vec<String> = (0..MAX_HALF_OPEN - 2)
        .map(|n| format!("10.0.0.{n}:1"))
        .collect();
    // Neither the first nor the last: the one with two.
    from.insert(5, "192.0.2.1:1".into());
    from.insert(9, "192.0.2.1:2".into());
    from.push("192.0.2.2:1".into());
    let from: Vec<&str> = from.iter().map(String::as_str).collect();
    assert_eq!(crowd(&from), [(MAX_HALF_OPEN, 5)]);
}

#[test]
fn whatever_is_due_moves_its_timer_on() {
    let entropy = &mut SeededEntropy::new(1);
    let mut slot = slot();
    slot.up = true;
    for _ in 0..20 {
        let at = slot.next_due().unwrap();
        let due = slot.due(at, entropy);
        assert!(!due.is_empty(), "woken at {at:?} for nothing");
        if due == [Due::Silent] {
            assert_eq!(at, Instant::ZERO + DEAD_AFTER);
            return;
        }
        assert!(slot.next_due().unwrap() > at);
    }
    panic!("silence went unnoticed");
}
