//! Answers, parsed by the library, and byte by byte where the encoding matters.

use std::collections::BTreeSet;

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::{Message, ParsedName, RecordSection};
use domain::rdata::AllRecordData;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use mesh_proto::limits::{MAX_DNS_QUERY, MAX_DNS_UDP};

/// Returns a query as encoded by a client.
pub(super) fn query(qname: &str, rtype: Rtype) -> Vec<u8> {
    let mut out = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in qname.split('.').filter(|l| !l.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&rtype.to_int().to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out
}

fn with_edns(mut query: Vec<u8>, size: u16, version: u8) -> Vec<u8> {
    query[11] += 1;
    let size = size.to_be_bytes();
    query.extend_from_slice(&[0, 0, 41, size[0], size[1], 0, version, 0, 0, 0, 0]);
    query
}

fn ask_at(
    names: &Names,
    query: &[u8],
    transport: QueryTransport,
    now: Instant,
) -> (QueryOutcome, Vec<u8>) {
    let mut out = vec![9; 5];
    let networks = AskerNetworks::default();
    let asker = Asker {
        networks: &networks,
        transport,
    };
    let verdict = answer(query, asker, names, &settings(), now, &mut dice(), &mut out);
    (verdict, out)
}

fn ask(names: &Names, query: &[u8]) -> Vec<u8> {
    let (verdict, out) = ask_at(names, query, QueryTransport::Udp, LATER);
    assert_eq!(verdict, QueryOutcome::Answer);
    out
}

pub(super) fn texts(section: RecordSection<'_, [u8]>) -> Vec<String> {
    section
        .limit_to::<AllRecordData<&[u8], ParsedName<&[u8]>>>()
        .map(|record| {
            let record = record.unwrap();
            assert_eq!(record.class(), Class::IN);
            assert_eq!(record.ttl().as_secs(), 1);
            format!("{} {} {}", record.owner(), record.rtype(), record.data())
        })
        .collect()
}

/// Returns the answer section and the code.
fn asked(names: &Names, qname: &str, rtype: Rtype) -> (Vec<String>, Rcode) {
    let out = ask(names, &query(qname, rtype));
    let message = Message::from_slice(&out).unwrap();
    let mut answers = texts(message.answer().unwrap());
    answers.sort();
    (answers, message.header().rcode())
}

fn mesh() -> Names {
    let mut names = names();
    let mut web = container("a", &["web", "Shop"], &["10.32.0.1", "fd00::1"]);
    web.ports = vec![tcp(80, "http"), tcp(9000, "")];
    own(
        &mut names,
        vec![web, container("b", &["six"], &["fd00::2"])],
    );
    names.set_reachable(B, true);
    let other = stated(&[container("d", &["web", "x.deep"], &["10.32.1.1"])]);
    names.handle_statement(B, seq(1), &other).unwrap();
    names
}

const NOTHING: (Vec<String>, Rcode) = (Vec::new(), Rcode::NOERROR);
const ABSENT: (Vec<String>, Rcode) = (Vec::new(), Rcode::NXDOMAIN);

#[test]
fn addresses_of_a_name() {
    let names = mesh();
    let (answers, code) = asked(&names, "web.mesh.local", Rtype::A);
    assert_eq!(
        answers,
        ["web.mesh.local A 10.32.0.1", "web.mesh.local A 10.32.1.1"]
    );
    assert_eq!(code, Rcode::NOERROR);
    let (answers, _) = asked(&names, "web.mesh.local", Rtype::AAAA);
    assert_eq!(answers, ["web.mesh.local AAAA fd00::1"]);
    assert_eq!(asked(&names, "web", Rtype::AAAA).0, ["web AAAA fd00::1"]);
    assert_eq!(asked(&names, "x.deep.mesh.local", Rtype::A).0.len(), 1);
    // ANY gets one of the RRsets.
    let (answers, _) = asked(&names, "web.mesh.local", Rtype::ANY);
    assert!(answers.len() == 2 && answers.iter().all(|a| a.contains(" A ")));
    assert_eq!(asked(&names, "six.mesh.local", Rtype::ANY).0.len(), 1);
}

#[test]
fn empty_answers_differ_from_missing_names() {
    let names = mesh();
    for (qname, rtype) in [
        ("six.mesh.local", Rtype::A),
        ("web.mesh.local", Rtype::TXT),
        ("web", Rtype::MX),
        ("deep.mesh.local", Rtype::A),
        ("mesh.local", Rtype::A),
    ] {
        assert_eq!(asked(&names, qname, rtype), NOTHING, "{qname}");
    }
    for (qname, rtype) in [
        ("nobody.mesh.local", Rtype::A),
        ("y.deep.mesh.local", Rtype::A),
        ("web.web.mesh.local", Rtype::A),
        ("we?b.mesh.local", Rtype::A),
        ("10-32-0-9.web.mesh.local", Rtype::A),
        ("9.0.32.10.in-addr.arpa", Rtype::PTR),
    ] {
        assert_eq!(asked(&names, qname, rtype), ABSENT, "{qname}");
    }
    let out = ask(&names, &query("nobody.mesh.local", Rtype::A));
    let message = Message::from_slice(&out).unwrap();
    let authority = texts(message.authority().unwrap());
    assert!(authority[0].starts_with("mesh.local SOA mesh.local"));
    let header = message.header();
    assert!(header.qr() && header.aa() && header.ra() && header.rd() && !header.tc());
    let (soa, _) = asked(&names, "mesh.local", Rtype::SOA);
    assert_eq!(soa.len(), 1);
}

#[test]
fn before_the_view_is_settled_no_name_is_denied() {
    let mut names = mesh();
    let code = |names: &Names, qname: &str, now| {
        let (_, out) = ask_at(names, &query(qname, Rtype::A), QueryTransport::Udp, now);
        Message::from_slice(&out).unwrap().header().rcode()
    };
    let almost = START + core::time::Duration::from_millis(1_999);
    assert_eq!(code(&names, "nobody.mesh.local", START), Rcode::SERVFAIL);
    assert_eq!(code(&names, "nobody.mesh.local", almost), Rcode::SERVFAIL);
    assert_eq!(code(&names, "web.mesh.local", START), Rcode::NOERROR);
    let settled = START + NAMES_SETTLE;
    assert_eq!(code(&names, "nobody.mesh.local", settled), Rcode::NXDOMAIN);
    names.settle();
    assert_eq!(code(&names, "nobody.mesh.local", START), Rcode::NXDOMAIN);
}

#[test]
fn reverse_queries_return_names() {
    let names = mesh();
    let (answers, _) = asked(&names, "1.0.32.10.in-addr.arpa", Rtype::PTR);
    assert_eq!(
        answers,
        [
            "1.0.32.10.in-addr.arpa PTR shop.mesh.local.",
            "1.0.32.10.in-addr.arpa PTR web.mesh.local."
        ]
    );
    assert_eq!(asked(&names, "1.0.32.10.in-addr.arpa", Rtype::A), NOTHING);
    let v6 = format!("1.{}d.f.ip6.arpa", "0.".repeat(29));
    assert_eq!(asked(&names, &v6, Rtype::PTR).0.len(), 2);
}

/// Returns the names in an answer, in order.
fn order(names: &Names, qname: &str) -> Vec<String> {
    let out = ask(names, &query(qname, Rtype::PTR));
    let message = Message::from_slice(&out).unwrap();
    let all = texts(message.answer().unwrap());
    let last = |text: &String| {
        let name = text.rsplit(' ').next().unwrap_or_default();
        name.trim_end_matches('.').to_owned()
    };
    all.iter().map(last).collect()
}

#[test]
fn the_names_of_an_address_come_in_one_order_on_every_host() {
    let here = vec![container("a", &["www", "aaa"], &["10.32.0.1"])];
    let printer = [container("", &["printer"], &["10.32.0.1"])];
    let reverse = "1.0.32.10.in-addr.arpa";
    let expected = ["printer.mesh.local", "www.mesh.local", "aaa.mesh.local"];
    let mut one = names();
    own(&mut one, here.clone());
    assert_eq!(order(&one, reverse), expected[1..]);
    one.set_reachable(B, true);
    one.handle_statement(B, seq(1), &stated(&printer)).unwrap();
    let mut other = names();
    for (origin, said) in [(C, stated(&here)), (B, stated(&printer))] {
        other.set_reachable(origin, true);
        other.handle_statement(origin, seq(1), &said).unwrap();
    }
    for _ in 0..5 {
        assert_eq!(order(&one, reverse), expected);
        assert_eq!(order(&other, reverse), expected);
    }
}

#[test]
fn unknown_single_labels_are_forwarded() {
    let mut names = mesh();
    let verdict =
        |names: &Names, now| ask_at(names, &query("printer", Rtype::A), QueryTransport::Udp, now).0;
    let QueryOutcome::Forward(forwarded) = verdict(&names, LATER) else {
        panic!("it is answered");
    };
    assert!(forwarded.is_single());
    let mut out = Vec::new();
    forwarded.give_up(&mut out);
    let message = Message::from_slice(&out).unwrap();
    assert_eq!(message.header().rcode(), Rcode::NXDOMAIN);
    // Names that may be merely unknown, and removed names, are not forwarded.
    let young = super::names();
    assert_eq!(verdict(&young, START), QueryOutcome::Answer);
    names.deny([(NetworkId::DEFAULT, name("printer"))].into());
    assert_eq!(asked(&names, "printer", Rtype::A), ABSENT);
    assert_eq!(asked(&names, "printer", Rtype::TXT), ABSENT);
}

#[test]
fn services_have_a_port_and_an_address_of_their_own() {
    let names = mesh();
    let expected = [
        "_http._tcp.web.mesh.local SRV 0 0 80 10-32-0-1.web.mesh.local",
        "_http._tcp.web.mesh.local SRV 0 0 80 fd00-0-0-0-0-0-0-1.web.mesh.local",
    ];
    let (answers, _) = asked(&names, "_http._tcp.web.mesh.local", Rtype::SRV);
    assert_eq!(answers, expected);
    assert_eq!(
        asked(&names, "_80._tcp.web.mesh.local", Rtype::SRV).0.len(),
        2
    );
    assert_eq!(
        asked(&names, "_9000._tcp.web.mesh.local", Rtype::SRV)
            .0
            .len(),
        2
    );
    assert_eq!(asked(&names, "web.mesh.local", Rtype::SRV).0.len(), 4);
    assert_eq!(asked(&names, "six.mesh.local", Rtype::SRV), NOTHING);
    assert_eq!(asked(&names, "_80._tcp.web.mesh.local", Rtype::A), NOTHING);
    for none in [
        "_81._tcp.web",
        "_http._udp.web",
        "_._tcp.web",
        "_80._tcp.six",
        "_80._tcp.nobody",
    ] {
        assert_eq!(
            asked(&names, &format!("{none}.mesh.local"), Rtype::SRV),
            ABSENT,
            "{none}"
        );
    }
    let out = ask(&names, &query("_http._tcp.web.mesh.local", Rtype::SRV));
    let mut more = texts(Message::from_slice(&out).unwrap().additional().unwrap());
    more.sort();
    assert_eq!(more[0], "10-32-0-1.web.mesh.local A 10.32.0.1");
    assert_eq!(more.len(), 2);
    assert_eq!(
        asked(&names, "10-32-0-1.web.mesh.local", Rtype::A).0.len(),
        1
    );
    assert_eq!(
        asked(&names, "10-32-0-1.web.mesh.local", Rtype::AAAA),
        NOTHING
    );
}

#[test]
fn localhost_is_answered_and_outside_names_are_forwarded() {
    let names = mesh();
    assert_eq!(
        asked(&names, "localhost", Rtype::A).0,
        ["localhost A 127.0.0.1"]
    );
    for (qname, rtype) in [
        ("example.org", Rtype::A),
        ("", Rtype::NS),
        ("com", Rtype::NS),
        ("8.8.8.8.in-addr.arpa", Rtype::PTR),
        ("printer", Rtype::A),
        ("32.10.in-addr.arpa", Rtype::NS),
        ("mesh.local.example.org", Rtype::A),
    ] {
        let (verdict, _) = ask_at(&names, &query(qname, rtype), QueryTransport::Udp, LATER);
        assert!(matches!(verdict, QueryOutcome::Forward(_)), "{qname}");
    }
}

#[test]
fn case_is_ignored_and_preserved() {
    let names = mesh();
    let asked = query("wEb.MESH.lOCal", Rtype::A);
    let out = ask(&names, &asked);
    assert_eq!(out[..2], asked[..2], "id");
    assert_eq!(out[12..asked.len()], asked[12..], "question as it was");
    // Owner: a pointer to the question.
    assert_eq!(out[asked.len()..asked.len() + 6], [0xc0, 12, 0, 1, 0, 1]);
    assert_eq!(out.len(), asked.len() + 2 * 16);
}

#[test]
fn all_addresses_come_in_every_order() {
    let mut names = names();
    let hosts = (1..=3).map(|n| container(&format!("c{n}"), &["web"], &[&format!("10.32.0.{n}")]));
    own(&mut names, hosts.collect());
    let mut orders = BTreeSet::new();
    let networks = AskerNetworks::default();
    let asker = Asker {
        networks: &networks,
        transport: QueryTransport::Udp,
    };
    let mut dice = dice();
    let mut out = Vec::new();
    for _ in 0..200 {
        let asked = query("web.mesh.local", Rtype::A);
        answer(
            &asked,
            asker,
            &names,
            &settings(),
            LATER,
            &mut dice,
            &mut out,
        );
        orders.insert(texts(Message::from_slice(&out).unwrap().answer().unwrap()));
    }
    assert_eq!(orders.len(), 6);
}

fn crowd(count: u8) -> Names {
    let mut names = names();
    let hosts =
        (1..=count).map(|n| container(&format!("c{n}"), &["web"], &[&format!("10.32.0.{n}")]));
    own(&mut names, hosts.collect());
    names
}

#[test]
fn answers_too_long_for_the_client_are_truncated_with_tc() {
    let names = crowd(200);
    let plain = query("web.mesh.local", Rtype::A);
    for (asked, max) in [
        (plain.clone(), 512),
        (with_edns(plain.clone(), 100, 0), 512),
        (with_edns(plain.clone(), 1_000, 0), 1_000),
        (with_edns(plain.clone(), 65_535, 0), MAX_DNS_UDP),
    ] {
        let out = ask(&names, &asked);
        let message = Message::from_slice(&out).unwrap();
        assert!(message.header().tc());
        assert!(
            out.len() <= max && out.len() + 16 > max,
            "{} of {max}",
            out.len()
        );
        assert_eq!(message.opt().is_some(), asked.len() > plain.len());
        assert!(!texts(message.answer().unwrap()).is_empty());
    }
    let (_, whole) = ask_at(&names, &plain, QueryTransport::Tcp, LATER);
    let message = Message::from_slice(&whole).unwrap();
    assert!(!message.header().tc());
    assert_eq!(message.header_counts().ancount(), 200);
    // An answer that just fits is not truncated.
    let out = ask(&crowd(30), &plain);
    assert_eq!(out.len(), 512);
    assert!(!Message::from_slice(&out).unwrap().header().tc());
}

#[test]
fn edns_of_a_later_version_is_answered_with_badvers() {
    let out = ask(
        &mesh(),
        &with_edns(query("web.mesh.local", Rtype::A), 1_232, 1),
    );
    let message = Message::from_slice(&out).unwrap();
    assert_eq!(message.opt_rcode().to_int(), 16);
    assert_eq!(message.opt().unwrap().version(), 0);
    assert_eq!(message.header_counts().ancount(), 0);
    let twice = with_edns(with_edns(query("web", Rtype::A), 512, 0), 512, 0);
    let out = ask(&mesh(), &twice);
    assert_eq!(
        Message::from_slice(&out).unwrap().header().rcode(),
        Rcode::FORMERR
    );
}

#[test]
fn malformed_queries_get_an_error_or_are_dropped() {
    let good = query("web.mesh.local", Rtype::A);
    let change = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        let (verdict, out) = ask_at(&mesh(), &bytes, QueryTransport::Udp, LATER);
        match verdict {
            QueryOutcome::Answer => {
                assert!(out.len() <= bytes.len() + 11, "no longer than asked");
                assert_eq!(out[..2], bytes[..2]);
                Some(Message::from_slice(&out).unwrap().header().rcode())
            }
            QueryOutcome::Drop => None,
            QueryOutcome::Forward(_) => panic!("nobody else is asked that"),
        }
    };
    assert_eq!(change(&|q| q.truncate(11)), None);
    assert_eq!(change(&|q| q[2] |= 0x80), None, "a response");
    assert_eq!(change(&|q| q.resize(MAX_DNS_QUERY + 1, 0)), None);
    assert_eq!(change(&|q| q[2] |= 0x28), Some(Rcode::NOTIMP), "an update");
    assert_eq!(change(&|q| q[5] = 0), Some(Rcode::FORMERR), "no question");
    assert_eq!(change(&|q| q[5] = 2), Some(Rcode::FORMERR), "two questions");
    assert_eq!(change(&|q| q.truncate(20)), Some(Rcode::FORMERR));
    assert_eq!(
        change(&|q| q[11] = 1),
        Some(Rcode::FORMERR),
        "a record that is not there"
    );
    assert_eq!(change(&|q| q[12] = 0xc0), Some(Rcode::FORMERR), "a pointer");
    let last = good.len() - 1;
    assert_eq!(change(&|q| q[last] = 3), Some(Rcode::REFUSED), "class CH");
    assert_eq!(
        change(&|q| q[last - 2] = 252),
        Some(Rcode::REFUSED),
        "a transfer"
    );
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer_that_is_one(bytes in vec(any::<u8>(), 0..200), tcp: bool) {
        let transport = if tcp { QueryTransport::Tcp } else { QueryTransport::Udp };
        check(&bytes, transport)?;
    }

    #[test]
    fn changed_queries_get_an_answer_that_is_one(
        qname in "([a-z0-9_?-]{1,9}\\.){0,4}(mesh\\.local|in-addr\\.arpa|localhost)?",
        rtype: u8,
        at in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        edns: bool,
    ) {
        let mut bytes = query(&qname, Rtype::from_int(rtype.into()));
        if edns {
            bytes = with_edns(bytes, 700, 0);
        }
        for (at, to) in at {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        check(&bytes, QueryTransport::Udp)?;
    }
}

fn check(bytes: &[u8], transport: QueryTransport) -> Result<(), TestCaseError> {
    let (verdict, out) = ask_at(&mesh(), bytes, transport, LATER);
    match verdict {
        QueryOutcome::Answer => {
            prop_assert!(transport == QueryTransport::Tcp || out.len() <= MAX_DNS_UDP);
            let message = Message::from_slice(&out).unwrap();
            prop_assert!(message.header().qr());
            prop_assert_eq!(&out[..2], &bytes[..2]);
            for record in message.iter() {
                prop_assert!(record.is_ok());
            }
        }
        QueryOutcome::Forward(forwarded) => {
            let again = ask_at(&mesh(), &forwarded.query(7), QueryTransport::Udp, LATER).0;
            prop_assert!(matches!(again, QueryOutcome::Forward(_)), "asked as it was");
        }
        QueryOutcome::Drop => {}
    }
    Ok(())
}
