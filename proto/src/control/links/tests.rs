//! Hooks for the tests of the whole, and links alone: which neighbour a dropped link was for.

use std::sync::Arc;

use super::*;
use crate::crypto::identity::Identity;
use crate::crypto::secret::MeshSecret;
use crate::entropy::SeededEntropy;
use crate::limits::MAX_HALF_OPEN_PER_SOURCE;
use crate::link::{LinkConfig, LinkRole};
use crate::source::Source;

impl Links {
    /// Returns a connection, to change.
    pub(crate) fn slot_mut(&mut self, conn: ConnId) -> Option<&mut LinkSlot> {
        self.table.get_mut(conn)
    }

    /// Returns the number of peers from a source that dialled links that are there.
    pub(crate) fn of_source(&self, source: Source) -> usize {
        self.table.of_source(source)
    }

    /// Returns the pins.
    pub(crate) fn pins(&self) -> &BTreeMap<PeerName, [u8; 32]> {
        self.pins.keys()
    }

    /// Replaces the pins.
    pub(crate) fn set_pins(&mut self, pins: BTreeMap<PeerName, [u8; 32]>) {
        let strict = self.pins.is_strict();
        self.pins = Pins::new(pins, strict);
    }
}

#[test]
fn a_connection_that_makes_room_for_newer_ones_is_an_effect() {
    let identity = Arc::new(Identity::from_seeds([1; 32], [2; 32]));
    let me = (PeerName([2; 6]), identity.id());
    let mut links = Links::new(me, BTreeMap::new(), true);
    let config = LinkConfig {
        record: crate::topology::testing::record(&identity, 1, 1, "host"),
        secret: Arc::new(MeshSecret::open()),
        identity,
        features: 0,
    };
    let entropy = &mut SeededEntropy::new(1);
    let from = SocketAddr::from(([192, 0, 2, 1], 1));
    let first = links.new_conn();
    links.open(
        (first, from),
        LinkRole::Acceptor,
        &config,
        Instant::ZERO,
        entropy,
    );
    for n in 1..=MAX_HALF_OPEN_PER_SOURCE as u64 {
        let (conn, now) = (links.new_conn(), Instant::ZERO + Duration::from_millis(n));
        links.open((conn, from), LinkRole::Acceptor, &config, now, entropy);
    }
    let ended = core::iter::from_fn(|| links.poll_effect()).filter_map(|effect| match effect {
        LinkEffect::Ended(ended) => Some((ended.conn, ended.lost)),
        _ => None,
    });
    assert_eq!(ended.collect::<Vec<_>>(), [(first, None)]);
    assert!(links.get(first).is_none());
}
