//! TCP link from A to B, byte by byte.

use std::sync::Arc;

use mesh_proto::link::{Link, LinkConfig, LinkEvent, LinkRole};
use mesh_proto::time::Instant;
use mesh_proto::wire::message::LinkMessage;

use crate::Vectors;
use crate::routers::{self, Always, Router};

struct End {
    link: Link,
    entropy: Always,
}

impl End {
    fn new(router: Router, role: LinkRole) -> Self {
        let config = LinkConfig {
            identity: router.identity,
            secret: Arc::new(routers::secret()),
            record: router.record,
            features: 0,
        };
        let mut entropy = router.entropy;
        let link = Link::new(role, &config, Instant::ZERO, &mut entropy);
        Self { link, entropy }
    }

    /// Handles bytes, admits the authenticated peer, and returns the bytes to send.
    fn turn(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.link
            .handle_bytes(bytes, Instant::ZERO, &mut self.entropy);
        while let Some(event) = self.link.poll_event() {
            match event {
                LinkEvent::Authenticated { .. } => self.link.accept(),
                LinkEvent::Up | LinkEvent::Message(_) => {}
                LinkEvent::Closed(error) => panic!("{error}"),
            }
        }
        self.link.poll_transmit().unwrap_or_default()
    }
}

pub(crate) fn handshake() -> Vectors {
    let mut a = End::new(routers::a(), LinkRole::Dialler);
    let mut b = End::new(routers::b(), LinkRole::Acceptor);
    let (hello_a, hello_b) = (a.turn(&[]), b.turn(&[]));
    let first = a.turn(&hello_b);
    let second = b.turn(&[hello_a.clone(), first.clone()].concat());
    let third = a.turn(&second);
    let confirm_b = b.turn(&third);
    let confirm_a = a.turn(&confirm_b);
    assert!(b.turn(&confirm_a).is_empty());
    assert!(a.link.send(&LinkMessage::Ping { nonce: 1 }));
    let ping = a.link.poll_transmit().unwrap();
    Vectors::from([
        ("hello of A", hello_a),
        ("hello of B", hello_b),
        ("link message 1, A to B", first),
        ("link message 2, B to A", second),
        ("link message 3, A to B", third),
        ("confirm, B to A", confirm_b),
        ("confirm, A to B", confirm_a),
        ("Ping as a record, A to B", ping),
    ])
}
