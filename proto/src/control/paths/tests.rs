//! Paths alone: what they send, and what they tell the other parts.

use super::probe::{ChallengeAnswer, Probe};
use super::*;
use crate::crypto::aead::Suites;
use crate::crypto::identity::Identity;
use crate::crypto::secret::MeshSecret;
use crate::entropy::SeededEntropy;
use crate::ids::PeerName;

const PEER: PeerId = PeerId([7; 16]);
const NOW: Instant = Instant::from_nanos(1_000_000_000);

struct Alone {
    paths: Paths,
    links: Links,
    sessions: Sessions,
    entropy: SeededEntropy,
}

impl Alone {
    fn new() -> Self {
        let identity = Arc::new(Identity::from_seeds([1; 32], [2; 32]));
        let me = identity.id();
        let psk = MeshSecret::open().session_psk();
        Self {
            paths: Paths::new(me, true),
            links: Links::new((PeerName([2; 6]), me), BTreeMap::new(), true),
            sessions: Sessions::new(identity, 1, psk, Suites::AES_FIRST),
            entropy: SeededEntropy::new(1),
        }
    }

    fn probe(&mut self, from: SocketAddr, probe: Probe) -> Vec<PathEffect> {
        let around = PathContext {
            links: &self.links,
            sessions: &self.sessions,
        };
        let body = probe.encode();
        self.paths
            .take_probe(PEER, (from, &body), around, NOW, &mut self.entropy);
        self.effects()
    }

    fn effects(&mut self) -> Vec<PathEffect> {
        core::iter::from_fn(|| self.paths.poll_effect()).collect()
    }
}

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 6783))
}

/// Returns the probe that is sent, which has to be the only effect.
fn sent(effects: &[PathEffect], to: SocketAddr) -> Probe {
    match effects {
        [
            PathEffect::Probe {
                peer: PEER,
                to: at,
                payload,
                spare: false,
            },
        ] if *at == to => Probe::decode(payload).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_is_answered_and_asks_back_only_where_a_path_is_needed() {
    let mut alone = Alone::new();
    let request = Probe::Request {
        nonce: 5,
        answer: None,
    };
    let effects = alone.probe(addr(1), request);
    let expected = Probe::Reply {
        nonce: 5,
        challenge: 0,
        observed: addr(1),
    };
    assert_eq!(sent(&effects, addr(1)), expected);
    assert!(alone.paths.want(PEER, NOW));
    alone.paths.suggest(PEER, &[addr(1)]);
    let effects = alone.probe(addr(1), request);
    let Probe::Reply { challenge, .. } = sent(&effects, addr(1)) else {
        panic!("not a reply")
    };
    assert_ne!(challenge, 0);
    let answer = Some(ChallengeAnswer {
        challenge,
        delay: 1,
    });
    let effects = alone.probe(addr(1), Probe::Request { nonce: 6, answer });
    assert!(matches!(effects[0], PathEffect::Moved(PEER)), "{effects:?}");
    assert_eq!(alone.paths.direct(&PEER).unwrap().address, addr(1));
}

#[test]
fn what_neighbours_see_is_announced_behind_what_the_host_knows() {
    let mut alone = Alone::new();
    let seen: SocketAddr = "203.0.113.7:6783".parse().unwrap();
    assert!(alone.paths.observed(PEER, seen, true, NOW));
    assert!(matches!(alone.effects()[..], [PathEffect::Endpoints]));
    assert_eq!(alone.paths.endpoints(&[addr(1)]), [addr(1), seen]);
    alone.paths.parted(&PEER);
    assert!(matches!(alone.effects()[..], [PathEffect::Endpoints]));
    assert_eq!(alone.paths.endpoints(&[addr(1)]), [addr(1)]);
    alone.paths.parted(&PEER);
    assert!(alone.effects().is_empty());
}

#[test]
fn a_first_handshake_goes_to_all_candidates() {
    let mut alone = Alone::new();
    alone.paths.suggest(PEER, &[addr(1), addr(2)]);
    alone.paths.search_with(&PEER, b"init", NOW);
    let to = alone.effects().into_iter().map(|effect| match effect {
        PathEffect::Datagram(to, _) => to,
        other => panic!("{other:?}"),
    });
    assert_eq!(to.collect::<Vec<_>>(), [addr(1), addr(2)]);
}
