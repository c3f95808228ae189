//! Bodies of probes.

use mesh_proto::control::paths::Probe;

/// Whatever is accepted encodes to the bytes it was read from.
pub(super) fn target(data: &[u8]) {
    if let Some(probe) = Probe::decode(data) {
        assert_eq!(probe.encode(), data);
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let reply = |observed: &str| Probe::Reply {
        nonce: 2,
        observed: observed.parse().expect("an address"),
    };
    let probes = [
        Probe::Request { nonce: 1 },
        reply("10.0.0.1:6783"),
        reply("[fd00::1]:6783"),
    ];
    let mut seeds: Vec<Vec<u8>> = probes.iter().map(Probe::encode).collect();
    seeds.push(Vec::new());
    seeds
}
