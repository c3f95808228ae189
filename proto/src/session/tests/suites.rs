//! Negotiation of the cipher suite, which attackers cannot influence.

use super::*;
use crate::noise::{Handshake, Pattern, Role};
use crate::wire::datagram::Kind;

const AES: Suites = Suites::only(Suite::Aes256Gcm);

/// Creates two nodes with these suites.
fn net(suites: [Suites; 2]) -> Net {
    let mut net = Net::new(1, FAIR);
    for (node, suites) in net.nodes.iter_mut().zip(suites) {
        node.sessions = Sessions::new(node.identity.clone(), 1, testing::PSK, suites);
    }
    net
}

#[test]
fn both_use_the_first_choice_of_the_responder_that_the_initiator_offers() {
    let (aes, chacha) = (Suite::Aes256Gcm, Suite::ChaCha20Poly1305);
    let chacha_first = Suites::decode(&[1, 2, 0, 0]);
    for (initiator, responder, agreed) in [
        (Suites::AES_FIRST, Suites::AES_FIRST, aes),
        (Suites::AES_FIRST, Suites::CHACHA, chacha),
        (Suites::CHACHA, Suites::AES_FIRST, chacha),
        (chacha_first, Suites::AES_FIRST, aes),
        (Suites::AES_FIRST, chacha_first, chacha),
        (AES, Suites::AES_FIRST, aes),
        (Suites::AES_FIRST, AES, aes),
    ] {
        let mut net = net([initiator, responder]);
        net.want(0);
        net.run(SECOND);
        for node in 0..2 {
            assert_eq!(net.current(node).unwrap().suite(), agreed);
            assert_eq!(net.nodes[node].sessions.mismatch(net.other(node).0), None);
        }
        assert_talk(&mut net);
    }
}

#[test]
fn without_a_common_suite_there_is_no_session_and_both_know_why() {
    let mut net = net([AES, Suites::CHACHA]);
    for _ in 0..3 {
        net.want(0);
        net.want(1);
        net.run(SECOND);
    }
    let offers = [AES, Suites::CHACHA];
    for node in 0..2 {
        assert!(net.current(node).is_none());
        assert!(net.nodes[node].refused(Refused::NoCommonSuite) >= 1);
        let (peer, _) = net.other(node);
        let sessions = &net.nodes[node].sessions;
        assert_eq!(sessions.mismatch(peer), Some(offers[1 - node]));
        assert_eq!(sessions.receiving().count(), 0);
    }
    assert!(
        net.tape.iter().all(|(_, _, bytes)| bytes.len() == INIT_LEN),
        "no answers"
    );
    // After a restart with the other cipher it is accepted at once, whichever side begins.
    let identity = net.nodes[1].identity.clone();
    net.nodes[1].sessions = Sessions::new(identity, 2, testing::PSK, AES);
    net.want(0);
    net.run(9 * SECOND);
    assert_eq!(net.current(0).unwrap().suite(), Suite::Aes256Gcm);
    assert_eq!(net.nodes[0].sessions.mismatch(net.other(0).0), None);
    assert_talk(&mut net);
}

/// Makes an Init of node 0 to node 1 that offers these numbers; returns it with its handshake state.
fn init(net: &mut Net, numbers: [u8; 4]) -> (Handshake, Vec<u8>) {
    let (peer, key) = net.other(0);
    let us = &net.nodes[0].identity;
    let index = crate::ids::SessionIndex(77);
    let header = message::header(Kind::Init, index, &mut net.entropy);
    let mut noise = Handshake::new(
        Pattern::IkPsk2,
        Role::Initiator,
        &message::prologue(&header, &peer),
        us.dh_secret(),
        Some(key),
        &testing::PSK,
    );
    let (id, epoch, counter) = (us.id(), 1u64.to_be_bytes(), 1u64.to_be_bytes());
    let payload = [&id.0[..], &epoch, &counter, &numbers].concat();
    let mut bytes = header.encode().to_vec();
    let ephemeral = net.entropy.key();
    noise
        .write_message(ephemeral, &payload, &mut bytes)
        .unwrap();
    message::append_mac1(&mut bytes, &key);
    message::append_mac2(&mut bytes, None);
    (noise, bytes)
}

/// Returns the payload of the Response of node 1 to an Init that offers these numbers.
fn answer(numbers: [u8; 4]) -> Result<Vec<u8>, Refused> {
    let mut net = net([Suites::AES_FIRST, Suites::AES_FIRST]);
    let (mut noise, bytes) = init(&mut net, numbers);
    net.deliver(1, 0, bytes)?;
    let (_, _, response) = net.tape.pop().unwrap();
    Ok(noise
        .read_message(&response[16..RESPONSE_LEN - 16])
        .unwrap())
}

#[test]
fn suites_of_later_versions_are_passed_over() {
    for (numbers, chosen) in [([200, 3, 1, 0], 1), ([9, 1, 2, 250], 2), ([0, 0, 0, 2], 2)] {
        let payload = answer(numbers).unwrap();
        assert_eq!((payload.len(), payload[4]), (13, chosen));
    }
    for numbers in [[0; 4], [3, 4, 5, 255]] {
        assert_eq!(answer(numbers), Err(Refused::NoCommonSuite));
    }
}

#[test]
fn a_response_that_names_what_was_not_offered_is_refused() {
    // Node 1 itself answers; only the number in the payload is altered.
    for (number, taken) in [
        (1, Ok(())),
        (2, Err(Refused::NoCommonSuite)),
        (0, Err(Refused::NoCommonSuite)),
        (255, Err(Refused::NoCommonSuite)),
    ] {
        let mut net = net([Suites::CHACHA, Suites::AES_FIRST]);
        net.want(0);
        let (_, _, init) = net.tape[0].clone();
        let response = respond(&mut net, &init, number);
        assert_eq!(net.deliver(0, 1, response), taken, "{number}");
        assert_eq!(net.current(0).is_some(), taken.is_ok());
    }
}

fn respond(net: &mut Net, init: &[u8], number: u8) -> Vec<u8> {
    let Ok(message::Message::Init(init)) = message::parse(init) else {
        panic!("no Init")
    };
    let us = &net.nodes[1].identity;
    let mut noise = Handshake::new(
        Pattern::IkPsk2,
        Role::Responder,
        &message::prologue(&init.header, &us.id()),
        us.dh_secret(),
        None,
        &testing::PSK,
    );
    noise.read_message(init.noise).unwrap();
    let header = message::header(Kind::Response, init.header.receiver, &mut net.entropy);
    let mut bytes = header.encode().to_vec();
    let ephemeral = net.entropy.key();
    let payload = [&[0, 0, 0, 5, number][..], &1u64.to_be_bytes()].concat();
    noise
        .write_message(ephemeral, &payload, &mut bytes)
        .unwrap();
    message::append_mac1(&mut bytes, &net.nodes[0].identity.dh_key());
    bytes
}
