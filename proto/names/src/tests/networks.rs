//! Names of several networks: what an asker hears depends on its own networks alone.

use domain::base::Message;
use domain::base::iana::{Rcode, Rtype};
use proptest::collection::vec;
use proptest::prelude::*;

use super::answers::{query, texts};
use super::*;
use mesh_proto::limits::{MAX_NAME_PAIRS, MAX_USED_NETWORKS, NETWORK_NAME_PAIRS};

const DEFAULT: NetworkId = NetworkId::DEFAULT;
const X: NetworkId = NetworkId([0xa1; 16]);
const Y: NetworkId = NetworkId([0xb2; 16]);
const NETWORKS: [NetworkId; 3] = [DEFAULT, X, Y];

fn within(network: NetworkId, container: Container) -> Container {
    Container {
        network,
        ..container
    }
}

fn asked_by(names: &Names, networks: &[NetworkId], query: &[u8]) -> (QueryOutcome, Vec<u8>) {
    let networks = AskerNetworks::of(networks.iter().copied());
    let asker = Asker {
        networks: &networks,
        transport: QueryTransport::Tcp,
    };
    let mut out = Vec::new();
    let outcome = answer(
        query,
        asker,
        names,
        &settings(),
        LATER,
        &mut dice(),
        &mut out,
    );
    (outcome, out)
}

/// Returns the answer as text: the last word of each record, in order; `-` if other servers are to be asked.
fn heard(names: &Names, networks: &[NetworkId], qname: &str, rtype: Rtype) -> String {
    let (outcome, out) = asked_by(names, networks, &query(qname, rtype));
    if outcome != QueryOutcome::Answer {
        return "-".to_owned();
    }
    let message = Message::from_slice(&out).unwrap();
    if message.header().rcode() == Rcode::NXDOMAIN {
        return "none".to_owned();
    }
    let answers = texts(message.answer().unwrap());
    let last = answers.iter().filter_map(|text| text.rsplit(' ').next());
    let mut last: Vec<&str> = last.collect();
    if rtype != Rtype::PTR {
        last.sort_unstable();
    }
    last.join(" ")
}

/// Returns a view with the container `web` in three networks, two of which have the same addresses, and others.
fn mesh() -> Names {
    let mut names = names();
    let mut web = within(X, container("a", &["web"], &["10.60.0.1", "fd00::1"]));
    web.ports = vec![tcp(80, "http")];
    own(
        &mut names,
        vec![
            container("a", &["web", "common"], &["10.32.0.1"]),
            web,
            within(X, container("b", &["secret"], &["10.60.0.2"])),
        ],
    );
    names.set_reachable(B, true);
    let mut db = within(Y, container("d", &["db.deep", "web"], &["10.60.0.1"]));
    db.ports = vec![tcp(81, "http")];
    names
        .handle_statement(
            B,
            seq(1),
            &stated(&[db, container("e", &["six"], &["fd00::1"])]),
        )
        .unwrap();
    names
}

#[test]
fn equal_names_in_different_networks_are_different_names() {
    let names = mesh();
    for qname in ["web", "WEB", "web.mesh.local", "Web.Mesh.LOCAL"] {
        let of = |network| heard(&names, &[network], qname, Rtype::A);
        assert_eq!(NETWORKS.map(of), ["10.32.0.1", "10.60.0.1", "10.60.0.1"]);
        let of = |network| heard(&names, &[network], qname, Rtype::AAAA);
        assert_eq!(NETWORKS.map(of), ["", "fd00::1", ""], "{qname}");
        let of = |network| heard(&names, &[network], qname, Rtype::ANY);
        assert_eq!(NETWORKS.map(of), ["10.32.0.1", "10.60.0.1", "10.60.0.1"]);
    }
    // A name of one label that the asker's networks do not have may be a name of the site.
    let of = |network| heard(&names, &[network], "secret", Rtype::A);
    assert_eq!(NETWORKS.map(of), ["-", "10.60.0.2", "-"]);
    let of = |network| heard(&names, &[network], "secret.mesh.local", Rtype::A);
    assert_eq!(NETWORKS.map(of), ["none", "10.60.0.2", "none"]);
    let of = |network| heard(&names, &[network], "deep.mesh.local", Rtype::A);
    assert_eq!(NETWORKS.map(of), ["none", "none", ""]);
    assert_eq!(heard(&names, &[], "web.mesh.local", Rtype::A), "none");
}

#[test]
fn services_and_names_of_one_address_belong_to_a_network_too() {
    let names = mesh();
    for (qname, rtype, expected) in [
        (
            "_http._tcp.web",
            Rtype::SRV,
            [
                "none",
                "10-60-0-1.web.mesh.local fd00-0-0-0-0-0-0-1.web.mesh.local",
                "10-60-0-1.web.mesh.local",
            ],
        ),
        (
            "_81._tcp.web",
            Rtype::SRV,
            ["none", "none", "10-60-0-1.web.mesh.local"],
        ),
        (
            "10-60-0-1.web",
            Rtype::A,
            ["none", "10.60.0.1", "10.60.0.1"],
        ),
        ("10-32-0-1.web", Rtype::A, ["10.32.0.1", "none", "none"]),
        ("10-60-0-2.secret", Rtype::A, ["none", "10.60.0.2", "none"]),
    ] {
        let qname = format!("{qname}.mesh.local");
        let of = |network| heard(&names, &[network], &qname, rtype);
        assert_eq!(NETWORKS.map(of), expected, "{qname}");
    }
}

#[test]
fn an_address_has_the_names_of_the_askers_network() {
    let names = mesh();
    let ptr = |ip: &str, networks: &[NetworkId]| {
        let labels: Vec<&str> = ip.rsplit('.').collect();
        let qname = format!("{}.in-addr.arpa", labels.join("."));
        heard(&names, networks, &qname, Rtype::PTR)
    };
    assert_eq!(ptr("10.60.0.1", &[X]), "web.mesh.local.");
    assert_eq!(
        ptr("10.60.0.1", &[Y]),
        "db.deep.mesh.local. web.mesh.local."
    );
    assert_eq!(ptr("10.60.0.1", &[DEFAULT]), "-");
    assert_eq!(ptr("10.60.0.2", &[X]), "secret.mesh.local.");
    assert_eq!(ptr("10.60.0.2", &[Y]), "-");
    // The range of `default` is never asked of others.
    assert_eq!(ptr("10.32.0.1", &[X]), "none");
    assert_eq!(ptr("10.32.0.1", &[DEFAULT]).split(' ').count(), 2);
}

#[test]
fn a_name_with_the_network_behind_it_is_no_name_of_the_mesh() {
    let names = mesh();
    for suffix in ["x", "default", &X.to_string(), &Y.to_string()] {
        for networks in [&[DEFAULT][..], &[X], &[Y], &NETWORKS] {
            let single = format!("web.{suffix}");
            assert_eq!(heard(&names, networks, &single, Rtype::A), "-");
            let full = format!("web.{suffix}.mesh.local");
            assert_eq!(heard(&names, networks, &full, Rtype::A), "none");
        }
    }
}

#[test]
fn the_first_network_of_an_asker_that_has_a_name_answers_alone() {
    let names = mesh();
    let a = |networks: &[NetworkId]| heard(&names, networks, "web.mesh.local", Rtype::A);
    assert_eq!(a(&[DEFAULT, X]), "10.32.0.1");
    assert_eq!(a(&[X, DEFAULT]), "10.60.0.1");
    let aaaa = |networks: &[NetworkId]| heard(&names, networks, "web.mesh.local", Rtype::AAAA);
    assert_eq!(aaaa(&[DEFAULT, X]), "", "it is not the one of the A record");
    assert_eq!(aaaa(&[X, DEFAULT]), "fd00::1");
    assert_eq!(heard(&names, &[Y, X], "secret", Rtype::A), "10.60.0.2");
    assert_eq!(heard(&names, &[Y, X], "common", Rtype::A), "-");
    let ptr =
        |networks: &[NetworkId]| heard(&names, networks, "1.0.60.10.in-addr.arpa", Rtype::PTR);
    assert_eq!(ptr(&[X, Y]), "web.mesh.local.");
    assert_eq!(ptr(&[DEFAULT, Y, X]), "db.deep.mesh.local. web.mesh.local.");
}

#[test]
fn a_removed_name_is_denied_in_its_network_only() {
    let mut names = mesh();
    names.deny([(X, name("printer"))].into());
    let of = |network| heard(&names, &[network], "printer", Rtype::A);
    assert_eq!(NETWORKS.map(of), ["-", "none", "-"]);
    names.set_here([(Y, ip("10.60.0.9"))].into());
    let of = |network| heard(&names, &[network], "9.0.60.10.in-addr.arpa", Rtype::PTR);
    assert_eq!(NETWORKS.map(of), ["-", "-", "none"]);
    let is_here = |networks: &[NetworkId]| {
        names.is_here(
            &AskerNetworks::of(networks.iter().copied()),
            ip("10.60.0.9"),
        )
    };
    assert!(is_here(&[X, Y]) && !is_here(&[X]) && !is_here(&[DEFAULT]));
}

#[test]
fn names_change_by_hand_in_one_network() {
    let mut local = host(vec![
        container("c", &["web"], &["10.32.0.1"]),
        within(X, container("c", &["web"], &["10.60.0.1"])),
    ]);
    let listed = |local: &LocalNames| {
        let entries = local.entries().iter();
        let texts =
            entries.map(|(network, e)| format!("{:x} {} {}", network.0[0], e.name, e.addresses[0]));
        texts.collect::<Vec<_>>().join(", ")
    };
    let added = |network, container: &str, text: &str| ManualName {
        network,
        container: container.to_owned(),
        name: name(text),
        addresses: match container {
            "" => [ip("10.9.0.1")].into(),
            _ => [].into(),
        },
    };
    local.add(added(X, "c", "shop")).unwrap();
    local.add(added(Y, "c", "nowhere")).unwrap();
    local.add(added(Y, "", "printer")).unwrap();
    local.add(added(DEFAULT, "", "printer")).unwrap();
    let all = "0 web 10.32.0.1, 0 printer 10.9.0.1, a1 web 10.60.0.1, a1 shop 10.60.0.1, b2 printer 10.9.0.1";
    assert_eq!(listed(&local), all);
    assert_eq!(
        local.remove((X, "c"), Some(&name("web")), &[].into()),
        Ok(1)
    );
    assert_eq!(
        local.remove((X, "c"), Some(&name("web")), &[].into()),
        Ok(0)
    );
    assert_eq!(local.denied(), [(X, name("web"))].into());
    assert_eq!(local.remove((Y, ""), None, &[].into()), Ok(1));
    let rest = "0 web 10.32.0.1, 0 printer 10.9.0.1, a1 shop 10.60.0.1";
    assert_eq!(listed(&local), rest);

    let json = serde_json::to_string(local.manual()).unwrap();
    let mut again = LocalNames::new(serde_json::from_str(&json).unwrap());
    again.set_containers(vec![within(X, container("c", &["web"], &["10.60.0.1"]))]);
    assert_eq!(listed(&again), "0 printer 10.9.0.1, a1 shop 10.60.0.1");
    assert_eq!(again.add(added(X, "c", "web")), Ok(true), "back again");
    assert!(again.denied().is_empty());
    assert!(again.retain(|_| false));
    let own = "0 printer 10.9.0.1, a1 web 10.60.0.1";
    assert_eq!(
        listed(&again),
        own,
        "what was changed by hand ends with the container"
    );
}

#[test]
fn files_of_hosts_without_other_networks_are_as_before() {
    let mut local = host(vec![container("c", &["web"], &["10.32.0.1"])]);
    let far = ManualName {
        network: DEFAULT,
        container: String::new(),
        name: name("far"),
        addresses: [ip("192.0.2.1")].into(),
    };
    local.add(far).unwrap();
    local.remove((DEFAULT, "c"), None, &[].into()).unwrap();
    let json = r#"{"added":[{"container":"","name":"far","addresses":["192.0.2.1"]}],"removed":[["c","web"]]}"#;
    assert_eq!(serde_json::to_string(local.manual()).unwrap(), json);
    assert_eq!(
        serde_json::from_str::<ManualNames>(json).unwrap(),
        *local.manual()
    );
    assert!(
        serde_json::from_str::<ManualName>(
            r#"{"network":"x","container":"","name":"far","addresses":[]}"#
        )
        .is_err()
    );
}

#[test]
fn many_networks_count_more_than_their_names() {
    let mut names = names();
    let many = |n: u8| {
        let of = |k: usize| {
            let mut id = [n; 16];
            id[1] = u8::try_from(k).unwrap();
            within(NetworkId(id), container("c", &["web"], &["10.0.0.1"]))
        };
        stated(&(0..MAX_USED_NETWORKS).map(of).collect::<Vec<_>>())
    };
    names.set_reachable(B, true);
    assert_eq!(names.handle_statement(B, seq(1), &many(2)), Ok(true));
    let cost = MAX_USED_NETWORKS * (1 + NETWORK_NAME_PAIRS);
    assert_eq!(names.zone().pairs(), cost);
    // A crowd of routers with networks of their own leaves those of the earlier one.
    for n in 3..=u8::MAX {
        let peer = PeerId([n; 16]);
        names.set_reachable(peer, true);
        let _ = names.handle_statement(peer, seq(1), &many(n));
        assert!(names.zone().pairs() <= MAX_NAME_PAIRS);
    }
    assert!(names.zone().pairs() > MAX_NAME_PAIRS - cost);
    assert!(names.zone().iter().any(|(_, held)| held.origin == B));
    names.forget(&B);
    assert!(!names.zone().iter().any(|(_, held)| held.origin == B));
}

/// What one router says: containers by number of network, name and address.
type Said = Vec<(u8, u8, u8)>;

/// Returns the view of these routers, with only what is of the networks that `is_kept` takes.
fn view(hosts: &[Said], denied: &[(u8, u8, u8)], is_kept: impl Fn(NetworkId) -> bool) -> Names {
    let mut names = names();
    let of = |(network, n, last): &(u8, u8, u8)| {
        let text = ["web", "db", "db.web", "x", "localhost", "local"][usize::from(*n)];
        let mut named = container("c", &[text], &[&format!("10.60.0.{last}"), "fd00::1"]);
        named.ports = vec![tcp((*last).into(), "http")];
        within(NETWORKS[usize::from(*network)], named)
    };
    for (host, said) in (0..).zip(hosts) {
        let all = said.iter().map(of).filter(|c| is_kept(c.network));
        let all: Vec<Container> = all.collect();
        match host {
            0 => own(&mut names, all),
            host => {
                let peer = PeerId([10 + host; 16]);
                names.set_reachable(peer, true);
                names.handle_statement(peer, seq(1), &stated(&all)).unwrap();
            }
        }
    }
    let denied: Vec<Container> = denied
        .iter()
        .map(of)
        .filter(|c| is_kept(c.network))
        .collect();
    names.deny(
        denied
            .iter()
            .map(|c| (c.network, c.names[0].clone()))
            .collect(),
    );
    names.set_here(denied.iter().map(|c| (c.network, c.addresses[0])).collect());
    names
}

fn said() -> impl Strategy<Value = Said> {
    vec((0..3u8, 0..6u8, 1..4u8), 0..8)
}

fn question() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        "(web|WEB|db|Db\\.wEb|x|local|localhost|printer)(\\.mesh\\.local|\\.MESH\\.local|\\.local|\\.web)?",
        "(_http|_[1-3])\\._(tcp|udp)\\.(web|db|x)\\.mesh\\.local",
        "10-60-0-[1-3]\\.(web|db\\.web|x)\\.mesh\\.local",
        "[1-4]\\.0\\.60\\.10\\.in-addr\\.arpa",
        Just(format!("1.{}d.f.ip6.arpa", "0.".repeat(29))),
        Just("mesh.local".to_owned()),
        "[a-z0-9_]{1,5}(\\.mesh\\.local)?",
    ];
    let types = [
        Rtype::A,
        Rtype::AAAA,
        Rtype::PTR,
        Rtype::SRV,
        Rtype::ANY,
        Rtype::SOA,
        Rtype::TXT,
        Rtype::NS,
    ];
    (name, prop::sample::select(types.to_vec())).prop_map(|(name, rtype)| query(&name, rtype))
}

proptest! {
    /// An asker hears the same bytes whatever is in networks that it is not in, and whatever clients asked before.
    #[test]
    fn an_answer_depends_on_nothing_of_other_networks(
        hosts in vec(said(), 1..4),
        denied in said(),
        order in prop::sample::subsequence(vec![1usize, 2, 0], 0..=3),
        questions in vec(question(), 1..12),
    ) {
        let networks: Vec<NetworkId> = order.iter().map(|n| NETWORKS[*n]).collect();
        let whole = view(&hosts, &denied, |_| true);
        let own = view(&hosts, &denied, |network| networks.contains(&network));
        for question in questions {
            asked_by(&whole, &NETWORKS, &question);
            prop_assert_eq!(
                asked_by(&whole, &networks, &question),
                asked_by(&own, &networks, &question)
            );
        }
    }
}
