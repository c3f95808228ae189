//! Networks as created, stated, merged, removed and restored.

mod bounds;
mod histories;
mod keys;
mod labels;
mod merges;
mod mesh;
mod requests;
mod statements;
mod tombstones;

use std::sync::Arc;

use core::time::Duration;

use super::*;
use mesh_proto::entropy::SeededEntropy;

const ME: PeerId = PeerId([1; 16]);
const B: PeerId = PeerId([2; 16]);
const C: PeerId = PeerId([3; 16]);
const START: Instant = Instant::from_nanos(1_000_000_000_000);

fn networks(me: PeerId) -> Networks {
    let [seed, ..] = me.0;
    Networks::new(me, b"blue", &mut SeededEntropy::new(seed.into()))
}

fn id(n: u8) -> NetworkId {
    NetworkId([n; 16])
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn version(counter: u64, author: PeerId) -> NetworkVersion {
    NetworkVersion { counter, author }
}

/// Returns a definition by `author` with a name of its own.
fn definition(n: u8, author: PeerId) -> NetworkDefinition {
    NetworkDefinition {
        id: id(n),
        version: version(1, author),
        stamp: 1_000,
        name: NetworkName::parse(&format!("n{n}")).unwrap(),
        subnets: vec![NetworkSubnet::new(net("10.40.0.0/16"))],
        internal: false,
        mtu: None,
        labels: Vec::new(),
        extension: Vec::new(),
    }
}

fn removal(n: u8, author: PeerId) -> NetworkRemoval {
    NetworkRemoval {
        network: id(n),
        version: version(2, author),
        age: 0,
    }
}

fn membership(n: u8, label: u16) -> NetworkMembership {
    NetworkMembership {
        network: id(n),
        label: NonZeroU16::new(label).unwrap(),
        is_idle: false,
        extension: Vec::new(),
    }
}

/// Returns a request for a network with an IPv4 subnet of our choice.
fn wanted(name: &str) -> NewNetwork {
    NewNetwork {
        name: name.to_owned(),
        ipv4: true,
        ..NewNetwork::default()
    }
}

fn create(networks: &mut Networks, name: &str, seed: u64) -> NetworkId {
    let mut dice = SeededEntropy::new(seed);
    let created = networks.create(&wanted(name), 1_000, &mut dice, START);
    created.unwrap().id
}

fn drain(networks: &mut Networks) -> Vec<NetworksOutput> {
    core::iter::from_fn(|| networks.poll_output()).collect()
}

/// Returns the last statement among outputs.
fn stated(outputs: &[NetworksOutput]) -> Option<NetworksStatement> {
    let mut outputs = outputs.iter().rev();
    outputs.find_map(|output| match output {
        NetworksOutput::State(bytes) => Some(NetworksStatement::decode(bytes).unwrap()),
        _ => None,
    })
}

/// Lets time pass, second by second.
fn pass(networks: &mut Networks, from: Instant, seconds: u64) -> Instant {
    let mut now = from;
    for _ in 0..seconds {
        now += Duration::from_secs(1);
        networks.handle_time(&mut SeededEntropy::new(7), now);
    }
    now
}
