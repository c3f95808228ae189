//! Names as stated by routers, merged, and answered by DNS.

mod answers;
mod forwards;
mod hosts;
mod networks;
mod statements;
mod views;

use core::net::IpAddr;

use super::*;
use mesh_proto::entropy::SeededEntropy;
use mesh_proto::time::Instant;

const ME: PeerId = PeerId([1; 16]);
const B: PeerId = PeerId([2; 16]);
const C: PeerId = PeerId([3; 16]);
const START: Instant = Instant::from_nanos(1_000_000_000_000);
/// Long after the settling time.
const LATER: Instant = Instant::from_nanos(2_000_000_000_000);

fn name(text: &str) -> MeshName {
    MeshName::relative(text).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn seq(seq: u64) -> Version {
    Version { epoch: 1, seq }
}

fn container(id: &str, names: &[&str], addresses: &[&str]) -> Container {
    Container {
        id: id.to_owned(),
        network: NetworkId::DEFAULT,
        names: names.iter().map(|n| name(n)).collect(),
        addresses: addresses.iter().map(|a| ip(a)).collect(),
        ports: Vec::new(),
    }
}

fn tcp(number: u16, service: &str) -> Port {
    Port {
        number,
        transport: ServiceProtocol::Tcp,
        service: service.to_owned(),
    }
}

fn names() -> Names {
    Names::new(ME, START)
}

fn host(containers: Vec<Container>) -> LocalNames {
    let mut host = LocalNames::default();
    host.set_containers(containers);
    host
}

/// Returns the statement of a router with these containers.
fn stated(containers: &[Container]) -> Vec<u8> {
    host(containers.to_vec()).statement().to_vec()
}

/// Sets the containers of this host.
fn own(names: &mut Names, containers: Vec<Container>) {
    names.set_own(host(containers).entries().clone());
}

fn settings() -> AnswerSettings {
    AnswerSettings {
        domain: Domain::parse("mesh.local").unwrap(),
        ttl: 1,
        ranges: vec!["10.32.0.0/12".parse().unwrap()],
    }
}

fn dice() -> SeededEntropy {
    SeededEntropy::new(7)
}
