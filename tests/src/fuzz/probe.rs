//! Bodies of probes, and of fast-path offers that travel as probes.

use mesh_proto::control::probe::{ChallengeAnswer, Probe};
use mesh_proto::fastpath::Offer;

/// Any accepted input encodes to the bytes that it was parsed from.
pub(super) fn target(data: &[u8]) {
    if let Some(probe) = Probe::decode(data) {
        assert_eq!(probe.encode(), data);
    }
    if let Some(offer) = Offer::decode(data) {
        assert_eq!(&offer.encode()[..], data);
        assert!(Probe::decode(data).is_none(), "one body, two meanings");
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let reply = |observed: &str| Probe::Reply {
        nonce: 2,
        challenge: 5,
        observed: observed.parse().expect("an address"),
    };
    let probes = [
        Probe::Request {
            nonce: 1,
            answer: None,
        },
        Probe::Request {
            nonce: 4,
            answer: Some(ChallengeAnswer {
                challenge: 5,
                delay: 1500,
            }),
        },
        reply("10.0.0.1:6783"),
        reply("[fd00::1]:6783"),
        Probe::SizeRequest { nonce: 3, size: 64 },
        Probe::SizeReply { nonce: 3, size: 64 },
    ];
    let mut seeds: Vec<Vec<u8>> = probes.iter().map(Probe::encode).collect();
    seeds.push(Offer::REFUSAL.encode().to_vec());
    seeds.push(Vec::new());
    seeds
}
