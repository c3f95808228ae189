//! Forwarded queries, and the answers that clients get.

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Rtype, Ttl};
use domain::dep::octseq::array::Array;
use domain::rdata::A;
use proptest::prelude::*;

use super::*;

type Octets = Array<4096>;

fn client_query(edns: Option<u16>) -> Vec<u8> {
    let mut builder = MessageBuilder::from_target(Octets::default()).unwrap();
    builder.header_mut().set_id(0x1234);
    builder.header_mut().set_rd(true);
    builder.header_mut().set_cd(true);
    let mut builder = builder.question();
    let name: Name<Octets> = Name::from_chars("WWW.Example.org".chars()).unwrap();
    builder.push((name, Rtype::A)).unwrap();
    let mut builder = builder.additional();
    if let Some(size) = edns {
        builder
            .opt(|opt| {
                opt.set_udp_payload_size(size);
                opt.set_dnssec_ok(true);
                Ok(())
            })
            .unwrap();
    }
    builder.finish().as_ref().to_vec()
}

fn forwarded(query: &[u8], transport: QueryTransport) -> Forwarded {
    let mut out = Vec::new();
    let networks = AskerNetworks::default();
    let asker = Asker {
        networks: &networks,
        transport,
    };
    match answer(
        query,
        asker,
        &names(),
        &settings(),
        LATER,
        &mut dice(),
        &mut out,
    ) {
        QueryOutcome::Forward(forwarded) => forwarded,
        other => panic!("{other:?}"),
    }
}

/// Returns the answer of a server to a query.
fn served(query: &[u8], records: u8, rcode: Rcode) -> Vec<u8> {
    let message = Message::from_slice(query).unwrap();
    let builder = MessageBuilder::from_target(Octets::default()).unwrap();
    let mut builder = builder.start_answer(message, rcode).unwrap();
    let owner = message.sole_question().unwrap();
    for n in 0..records {
        let record = (
            owner.qname(),
            Ttl::from_secs(300),
            A::from_octets(192, 0, 2, n),
        );
        builder.push(record).unwrap();
    }
    builder.finish().as_ref().to_vec()
}

#[test]
fn servers_get_the_clients_question() {
    for edns in [None, Some(4_000)] {
        let query = client_query(edns);
        let asked = forwarded(&query, QueryTransport::Udp).query(0xbeef);
        let message = Message::from_slice(&asked).unwrap();
        assert_eq!(message.header().id(), 0xbeef);
        assert!(message.header().rd() && message.header().cd() && !message.header().qr());
        let question = message.sole_question().unwrap();
        assert_eq!(question.qname().to_string(), "WWW.Example.org");
        assert_eq!(
            message.opt().map(|o| o.udp_payload_size()),
            edns.map(|_| 1_232)
        );
        assert_eq!(message.opt().map(|o| o.dnssec_ok()), edns.map(|_| true));
    }
}

#[test]
fn the_client_gets_the_answer_under_its_own_id() {
    let forwarded = forwarded(&client_query(None), QueryTransport::Udp);
    let reply = served(&forwarded.query(7), 2, Rcode::NOERROR);
    assert_eq!(forwarded.judge(7, &reply), Judgement::Answer);
    let lower = reply.to_ascii_lowercase();
    assert_eq!(forwarded.judge(7, &lower), Judgement::Answer);
    let mut out = vec![1];
    forwarded.reply(&lower, &mut out);
    let message = Message::from_slice(&out).unwrap();
    assert_eq!(message.header().id(), 0x1234);
    let question = message.sole_question().unwrap();
    assert_eq!(question.qname().to_string(), "WWW.Example.org");
    assert_eq!(message.header_counts().ancount(), 2);
}

#[test]
fn only_matching_messages_are_answers() {
    let forwarded = forwarded(&client_query(None), QueryTransport::Udp);
    let query = forwarded.query(7);
    let reply = served(&query, 1, Rcode::NOERROR);
    assert_eq!(forwarded.judge(8, &reply), Judgement::Other);
    assert_eq!(forwarded.judge(7, &query), Judgement::Other, "no response");
    assert_eq!(forwarded.judge(7, &reply[..20]), Judgement::Other);
    let mut other = reply.clone();
    other[14] ^= 2;
    assert_eq!(forwarded.judge(7, &other), Judgement::Other);
    for (rcode, judgement) in [
        (Rcode::NXDOMAIN, Judgement::Answer),
        (Rcode::SERVFAIL, Judgement::Failure),
        (Rcode::REFUSED, Judgement::Failure),
    ] {
        assert_eq!(forwarded.judge(7, &served(&query, 0, rcode)), judgement);
    }
    let mut cut = reply;
    cut[2] |= 2;
    assert_eq!(forwarded.judge(7, &cut), Judgement::Truncated);
}

#[test]
fn forwarded_answers_too_long_for_the_client_are_truncated() {
    for (edns, transport, whole) in [
        (None, QueryTransport::Udp, false),
        (Some(4_000), QueryTransport::Udp, true),
        (None, QueryTransport::Tcp, true),
    ] {
        let forwarded = forwarded(&client_query(edns), transport);
        let reply = served(&forwarded.query(7), 35, Rcode::NOERROR);
        let mut out = Vec::new();
        forwarded.reply(&reply, &mut out);
        let message = Message::from_slice(&out).unwrap();
        assert_eq!(message.header().tc(), !whole);
        assert_eq!(
            message.header_counts().ancount(),
            if whole { 35 } else { 0 }
        );
        assert!(message.iter().all(|record| record.is_ok()));
    }
}

#[test]
fn without_an_answer_the_client_gets_an_error() {
    let forwarded = forwarded(&client_query(Some(1_000)), QueryTransport::Udp);
    let mut out = Vec::new();
    forwarded.fail(&mut out);
    let message = Message::from_slice(&out).unwrap();
    assert_eq!(message.header().id(), 0x1234);
    assert!(message.header().qr());
    assert_eq!(message.header().rcode(), Rcode::SERVFAIL);
    assert!(message.opt().is_some());
    assert_eq!(
        message.sole_question().unwrap().qname().to_string(),
        "WWW.Example.org"
    );
}

proptest! {
    #[test]
    fn any_bytes_of_a_server_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..100), at: prop::sample::Index, to: u8) {
        let forwarded = forwarded(&client_query(None), QueryTransport::Udp);
        let mut out = Vec::new();
        forwarded.judge(7, &bytes);
        forwarded.reply(&bytes, &mut out);
        let mut reply = served(&forwarded.query(7), 40, Rcode::NOERROR);
        let at = at.index(reply.len());
        reply[at] = to;
        if forwarded.judge(7, &reply) == Judgement::Answer {
            forwarded.reply(&reply, &mut out);
            prop_assert!(out.len() <= 512);
            prop_assert_eq!(&out[..2], &[0x12, 0x34]);
        }
    }
}

#[test]
fn an_answer_about_a_service_is_written_here() {
    let query = forwarded(&client_query(None), QueryTransport::Udp);
    let addresses = [[10, 50, 0, 2], [10, 50, 0, 3]].map(core::net::Ipv4Addr::from);
    let message = query.with_addresses(addresses, 1).unwrap();
    assert_eq!(query.judge(0, &message), Judgement::Answer);
    let mut out = Vec::new();
    query.reply(&message, &mut out);
    let got = Message::from_slice(&out).unwrap();
    assert_eq!(got.header().id(), 0x1234);
    assert_eq!(got.header_counts().ancount(), 2);
    let none = query.with_addresses([], 1).unwrap();
    let none = Message::from_slice(&none).unwrap();
    assert_eq!(none.header().rcode(), Rcode::NOERROR);
    assert_eq!(none.header_counts().ancount(), 0);
    let tasks = query.of_tasks().unwrap();
    assert!(tasks.question().starts_with(b"\x05tasks\x03WWW\x07Example"));
    assert!(tasks.of_tasks().is_none(), "once");
    let all = (0..=255).map(|n| core::net::Ipv4Addr::new(10, 50, 0, n));
    assert!(query.with_addresses(all, 1).unwrap().len() <= 4_096);
}
