//! All inputs about names from outside. The first byte selects the decoder.

use core::net::SocketAddr;
use std::sync::LazyLock;

use mesh_names::{
    AnswerSettings, Asker, AskerNetworks, Container, Domain, Forwarded, Judgement, LocalNames,
    MeshName, Names, Port, QueryOutcome, QueryTransport, ServiceProtocol, StatedNames, answer,
    decode, options, search_domains, upstreams,
};
use mesh_proto::entropy::SeededEntropy;
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::limits::{MAX_DNS_UDP, MAX_UPSTREAMS};
use mesh_proto::network::NetworkId;

use super::fixture::{START, id};

/// Transaction id of queries in this target.
const ID: u16 = 0x1234;

static SETTINGS: LazyLock<AnswerSettings> = LazyLock::new(|| AnswerSettings {
    domain: Domain::parse("mesh.local").expect("a domain"),
    ttl: 1,
    ranges: vec!["10.32.0.0/12".parse().expect("a range")],
});

fn container(name: &str, last: u8) -> Container {
    Container {
        id: format!("{last:064x}"),
        network: NetworkId::DEFAULT,
        names: vec![MeshName::relative(name).expect("a name")],
        addresses: vec![[10, 32, 0, last].into()],
        ports: vec![Port {
            number: 80,
            transport: ServiceProtocol::Tcp,
            service: "http".to_owned(),
        }],
    }
}

fn host(containers: Vec<Container>) -> LocalNames {
    let mut host = LocalNames::default();
    host.set_containers(containers);
    host
}

fn view() -> Names {
    let mut names = Names::new(id(0), START);
    let web = (1..60).map(|n| container("web", n));
    let host = host(web.chain([container("a.b", 99)]).collect());
    names.set_own(host.entries().clone());
    names.settle();
    names
}

/// No input panics; answers are well-formed DNS messages within the length limits.
pub(super) fn target(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 5 {
        0 => check_query(data, QueryTransport::Udp),
        1 => check_query(data, QueryTransport::Tcp),
        2 => check_statement(data),
        3 => check_reply(data),
        _ => {
            let text = String::from_utf8_lossy(data);
            let ours: SocketAddr = ([10, 0, 0, 1], 53).into();
            let found = upstreams(&text, |server| server == ours);
            assert!(found.servers.len() <= MAX_UPSTREAMS && !found.servers.contains(&ours));
            let domains = search_domains(&text);
            assert!(
                domains
                    .iter()
                    .chain(&options(&text))
                    .all(|word| !word.contains(['\n', ' ']))
            );
        }
    }
}

fn ask(query: &[u8], transport: QueryTransport) -> (QueryOutcome, Vec<u8>) {
    static VIEW: LazyLock<Names> = LazyLock::new(view);
    ask_in(&VIEW, &AskerNetworks::default(), query, transport)
}

fn ask_in(
    names: &Names,
    networks: &AskerNetworks,
    query: &[u8],
    transport: QueryTransport,
) -> (QueryOutcome, Vec<u8>) {
    let mut out = Vec::new();
    let mut dice = SeededEntropy::new(1);
    let asker = Asker {
        networks,
        transport,
    };
    let verdict = answer(query, asker, names, &SETTINGS, START, &mut dice, &mut out);
    (verdict, out)
}

/// Askers of one network hear the same whatever is stated in others.
fn check_apart(stated: &StatedNames) {
    let settled = |stated: StatedNames| {
        let mut names = Names::new(id(0), START);
        names.set_own(stated);
        names.settle();
        names
    };
    let whole = settled(stated.clone());
    let last = stated.iter().last().map(|(network, _)| network);
    for network in [Some(NetworkId::DEFAULT), last].into_iter().flatten() {
        let own = stated.iter().filter(|(of, _)| *of == network);
        let alone = settled(own.map(|(of, entry)| (of, entry.clone())).collect());
        let networks = AskerNetworks::of([network]);
        for (_, entry) in stated.iter().take(8) {
            let name = entry.name.as_str();
            for question in [query(name, 255), query(&format!("{name}.mesh.local"), 255)] {
                assert_eq!(
                    ask_in(&whole, &networks, &question, QueryTransport::Tcp),
                    ask_in(&alone, &networks, &question, QueryTransport::Tcp),
                    "{name} in {network}"
                );
            }
        }
    }
}

fn check_query(query: &[u8], transport: QueryTransport) {
    let (verdict, out) = ask(query, transport);
    match verdict {
        QueryOutcome::Answer => {
            assert!(out.len() >= 12 && out[..2] == query[..2] && out[2] & 0x80 != 0);
            assert!(transport == QueryTransport::Tcp || out.len() <= MAX_DNS_UDP);
            assert_eq!(
                ask(&out, transport).0,
                QueryOutcome::Drop,
                "nobody answers answers"
            );
        }
        QueryOutcome::Forward(forwarded) => {
            let again = ask(&forwarded.query(ID), QueryTransport::Udp).0;
            assert!(
                matches!(again, QueryOutcome::Forward(_)),
                "it is asked on as it was"
            );
            let mut out = Vec::new();
            forwarded.fail(&mut out);
            assert!(out.len() <= query.len() + 11 && out[..2] == query[..2]);
        }
        QueryOutcome::Drop => {}
    }
}

fn check_statement(bytes: &[u8]) {
    let mut names = view();
    let origin = PeerId([9; 16]);
    names.set_reachable(origin, true);
    let shown = names.zone().iter().count();
    let version = Version { epoch: 1, seq: 1 };
    let taken = names.handle_statement(origin, version, bytes);
    let read = decode(bytes);
    assert_eq!(taken.is_ok(), read.is_ok() || bytes.is_empty());
    let stated = read.unwrap_or_default();
    assert_eq!(names.zone().iter().count(), shown + stated.count());
    check_apart(&stated);
    names.forget(&origin);
    assert_eq!(names.zone().iter().count(), shown, "nothing stays");
    assert_eq!(names.zone().pairs(), 0);
}

/// Checks a server's reply to a query for example.org.
fn check_reply(reply: &[u8]) {
    let (QueryOutcome::Forward(forwarded), _) = ask(&query("example.org", 1), QueryTransport::Udp)
    else {
        panic!("example.org is not of the mesh");
    };
    let judgement = forwarded.judge(ID, reply);
    let mut out = Vec::new();
    let _ = Forwarded::leads_to(reply, |ip| ip.is_loopback());
    forwarded.reply(reply, &mut out);
    assert!(out.len() <= 512);
    if judgement == Judgement::Answer {
        assert!(out.len() >= 12 && out[2] & 0x80 != 0 && out[..2] == [0, 7]);
    }
}

fn query(name: &str, rtype: u8) -> Vec<u8> {
    let mut out = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap_or_default());
        out.extend_from_slice(label.as_bytes());
    }
    out.extend_from_slice(&[0, 0, rtype, 0, 1]);
    out
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let of = |kind: u8, rest: &[u8]| [&[kind][..], rest].concat();
    let mut seeds = Vec::new();
    for (name, rtype) in [
        ("WEB.mesh.local", 1),
        ("web", 28),
        ("web.mesh.local", 255),
        ("_http._tcp.web.mesh.local", 33),
        ("10-32-0-1.web.mesh.local", 1),
        ("1.0.32.10.in-addr.arpa", 12),
        ("mesh.local", 6),
        ("nobody.mesh.local", 1),
        ("b.mesh.local", 1),
        ("localhost", 1),
        ("example.org", 1),
    ] {
        seeds.push(of(0, &query(name, rtype)));
    }
    let mut edns = query("web.mesh.local", 1);
    edns[11] = 1;
    edns.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    seeds.push(of(0, &edns));
    seeds.push(of(1, &edns));
    seeds.push(of(2, &[1, 0]));
    let host = host(vec![container("web", 1), container("a.b", 2)]);
    seeds.push(of(2, host.statement()));
    let mut reply = query("example.org", 1);
    reply[..4].copy_from_slice(&[0x12, 0x34, 0x81, 0x80]);
    reply[7] = 1;
    reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1]);
    seeds.push(of(3, &reply));
    seeds.push(of(
        4,
        b"search x\nnameserver 10.0.0.1\nnameserver fd00::1\n",
    ));
    let within = |network: u8, container: Container| Container {
        network: NetworkId([network; 16]),
        ..container
    };
    let apart = [
        container("web", 1),
        within(1, container("web", 1)),
        within(2, container("a.b", 1)),
    ];
    seeds.push(of(2, self::host(apart.to_vec()).statement()));
    seeds
}
