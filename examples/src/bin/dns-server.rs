//! The router's DNS server alone, with names from the command line: for trying out clients, and for measurements.
//!
//! ```text
//! cargo run --release -p mesh-examples --bin dns-server -- 127.0.0.1:5300 web=10.32.0.1 web=10.32.0.2
//! dig -p 5300 @127.0.0.1 web.mesh.local
//! ```
//!
//! `many=N` creates the names `n1` to `nN`. Further words without `=` are upstream servers for other names; a `/path`
//! is a `resolv.conf` to read them from. The server ends when its standard input is closed.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use mesh_names::{
    AnswerSettings, AskerNetworks, Container, Domain, LocalNames, MeshName, Names, Port,
    ServiceProtocol,
};
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;
use mesh_router::clock::Clock;
use mesh_router::dns::{Dns, DnsConfig, UpstreamSource};

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let listen: SocketAddr = words.next().context("say where to listen")?.parse()?;
    let mut containers = Vec::new();
    let mut servers = Vec::new();
    let mut file = None;
    for word in words {
        match word.split_once('=') {
            Some(("many", count)) => {
                for n in 1..=count.parse()? {
                    let [_, a, b, c] = u32::to_be_bytes(n);
                    let address = IpAddr::from([10, 32 + a, b, c]);
                    containers.push(container(containers.len(), &format!("n{n}"), address)?);
                }
            }
            Some((name, address)) => {
                containers.push(container(containers.len(), name, address.parse()?)?);
            }
            None if word.starts_with('/') => file = Some(word),
            None => servers.push(word.parse()?),
        }
    }
    let clock = Clock::start();
    let mut host = LocalNames::default();
    host.set_containers(containers);
    let mut names = Names::new(PeerId([1; 16]), clock.now());
    names.set_own(host.entries().clone());
    names.settle();
    let dns = Dns::start(DnsConfig {
        names,
        settings: AnswerSettings {
            domain: Domain::parse("mesh.local")?,
            ttl: 1,
            ranges: vec!["10.32.0.0/12".parse()?],
        },
        // Only this machine, even if others reach the address.
        clients: Arc::new(move |ip| {
            let is_served = ip.is_loopback() || ip == listen.ip();
            is_served.then(AskerNetworks::default)
        }),
        swarm: Arc::new(|_, _| false),
        upstreams: file.map_or_else(|| UpstreamSource::fixed(servers), UpstreamSource::file),
        clock,
    })?;
    if let Some(error) = dns.listen(&[listen]).into_iter().next() {
        return Err(error.into());
    }
    let mut stdout = std::io::stdout();
    for address in dns.listening() {
        writeln!(stdout, "answers on {address}")?;
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    // The process that started it may be gone.
    let _ = writeln!(stdout, "{:?}", dns.counts());
    Ok(())
}

/// Returns a container with this name and address that serves HTTP.
fn container(number: usize, name: &str, address: IpAddr) -> anyhow::Result<Container> {
    Ok(Container {
        id: format!("{number:012}"),
        network: NetworkId::DEFAULT,
        names: vec![MeshName::relative(name)?],
        addresses: vec![address],
        ports: vec![Port {
            number: 80,
            transport: ServiceProtocol::Tcp,
            service: "http".to_owned(),
        }],
    })
}
