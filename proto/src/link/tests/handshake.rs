//! Hello, handshake, admission.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::crypto::identity::Identity;
use crate::crypto::secret::{Realm, SecretKind};
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::link::hello::{self, HELLO};
use crate::noise::{Handshake, Pattern, Role};
use crate::topology::RecordError;
use crate::topology::record::SignedRecord;
use crate::topology::testing::{identity, linked, record};
use crate::wire::message::LinkMessage;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_chunking_brings_a_link_up_and_messages_through(
        pieces in prop::collection::vec(1usize..200, 1..20),
        sizes in prop::collection::vec(0usize..40_000, 0..6),
    ) {
        let mut pair = Pair::new(&config(1, &key(1)), &config(2, &key(1)));
        let mut wire = Wire { pieces, ..Wire::default() };
        pair.run(&mut wire);
        prop_assert!(pair.both_up());
        pair.take_events();
        let messages: Vec<LinkMessage> =
            sizes.iter().map(|n| LinkMessage::Records(vec![blob(&mut pair.entropy, *n)])).collect();
        for message in &messages {
            prop_assert!(pair.dialler.send(message));
            prop_assert!(pair.acceptor.send(message));
            pair.run(&mut wire);
        }
        let expected: Vec<LinkEvent> = messages.into_iter().map(LinkEvent::Message).collect();
        let (at_dialler, at_acceptor) = pair.take_events();
        prop_assert_eq!(&at_dialler, &expected);
        prop_assert_eq!(&at_acceptor, &expected);
    }

    #[test]
    fn garbage_never_panics_and_never_authenticates(
        to_dialler in any::<bool>(),
        hello_first in any::<bool>(),
        garbage in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut pair = Pair::new(&config(1, &key(1)), &config(2, &key(1)));
        let (link, other) =
            if to_dialler { (&mut pair.dialler, &mut pair.acceptor) } else { (&mut pair.acceptor, &mut pair.dialler) };
        if hello_first {
            link.handle_bytes(&other.poll_transmit().unwrap(), NOW, &mut pair.entropy);
        }
        link.handle_bytes(&garbage, NOW, &mut pair.entropy);
        while let Some(event) = link.poll_event() {
            prop_assert!(matches!(event, LinkEvent::Closed(_)));
        }
    }
}

#[test]
fn each_side_learns_the_others_identity_before_the_link_is_up() {
    let (one, two) = (config(1, &key(1)), config(2, &key(1)));
    let mut pair = Pair::new(&one, &two);
    assert!(!pair.dialler.send(&LinkMessage::Ping { nonce: 1 }));
    pair.run(&mut Wire::default());
    let seen = |events: &[LinkEvent], who: &Identity| {
        let [LinkEvent::Authenticated { record, peer }, LinkEvent::Up] = events else {
            panic!("{events:?}")
        };
        assert_eq!(
            (*peer, record.origin(), record.version().seq),
            (who.id(), who.id(), 1)
        );
    };
    seen(&pair.dialler_events, &two.identity);
    seen(&pair.acceptor_events, &one.identity);
    assert_eq!(pair.dialler.next_deadline(), None);
    assert_eq!(
        (pair.dialler.features(), pair.acceptor.features()),
        (0b0110, 0b0110)
    );
}

#[test]
fn no_rewritten_hello_byte_goes_unnoticed() {
    for direction in [true, false] {
        for at in 0..HELLO {
            for mask in [1, 0x80, 0xff] {
                let mut pair = Pair::new(&config(1, &key(1)), &config(2, &key(1)));
                pair.run(&mut Wire {
                    flip: Some((direction, at, mask)),
                    ..Wire::default()
                });
                let known = |events: &[LinkEvent]| {
                    events
                        .iter()
                        .any(|e| matches!(e, LinkEvent::Authenticated { .. }))
                };
                assert!(
                    !known(&pair.dialler_events) && !known(&pair.acceptor_events),
                    "byte {at}"
                );
                assert!(!pair.any_up());
                let closed = |events: &[LinkEvent]| matches!(events, [LinkEvent::Closed(_)]);
                assert!(
                    closed(&pair.dialler_events) || closed(&pair.acceptor_events),
                    "byte {at}"
                );
            }
        }
    }
}

#[test]
fn no_changed_byte_of_the_handshake_lets_both_come_up() {
    let total = |direction| {
        let mut wire = Wire::default();
        Pair::new(&config(1, &key(1)), &config(2, &key(1))).run(&mut wire);
        wire.carried[usize::from(direction)]
    };
    let (one, two) = (config(1, &key(1)), config(2, &key(1)));
    for direction in [true, false] {
        for at in HELLO..total(direction) {
            let mut pair = Pair::new(&one, &two);
            pair.run(&mut Wire {
                flip: Some((direction, at, 0x40)),
                ..Wire::default()
            });
            assert!(!pair.both_up(), "byte {at}");
        }
        for at in (0..total(direction)).step_by(3) {
            let mut pair = Pair::new(&one, &two);
            pair.run(&mut Wire {
                cut: Some((direction, at)),
                ..Wire::default()
            });
            assert!(!pair.both_up(), "cut at {at}");
            pair.dialler.handle_timeout(NOW + HANDSHAKE_TIMEOUT);
            pair.acceptor.handle_timeout(NOW + HANDSHAKE_TIMEOUT);
            pair.answer();
            let timed_out = LinkEvent::Closed(LinkError::TimedOut);
            assert!(
                pair.dialler_events.contains(&timed_out)
                    || pair.acceptor_events.contains(&timed_out)
            );
        }
    }
}

#[test]
fn wrong_secrets_are_reported_on_both_sides() {
    let password =
        |text: &str| Arc::new(MeshSecret::from_password(text, &Realm::default()).unwrap());
    let (right, wrong) = (
        password("correct horse battery"),
        password("incorrect horse battery"),
    );
    for (ours, theirs) in [(key(1), key(2)), (right.clone(), wrong), (right, key(1))] {
        let mut pair = Pair::new(&config(1, &ours), &config(2, &theirs));
        pair.run(&mut Wire::default());
        let (dialler, acceptor) = pair.errors();
        assert_eq!(acceptor, LinkError::WrongSecret);
        assert_eq!(dialler.alert(), Some(AlertCode::WrongSecret));
        let text = "wrong password or key: this router and that one have different secrets";
        assert_eq!(
            (dialler.to_string(), acceptor.to_string()),
            (text.into(), text.into())
        );
    }
}

#[test]
fn a_secret_on_one_side_only_is_reported_on_both() {
    let mut pair = Pair::new(
        &config(1, &Arc::new(MeshSecret::open())),
        &config(2, &key(1)),
    );
    pair.run(&mut Wire::default());
    let (dialler, acceptor) = pair.errors();
    assert_eq!(
        dialler,
        LinkError::Authentication {
            ours: SecretKind::Open,
            theirs: 1
        }
    );
    assert_eq!(
        acceptor.to_string(),
        "that router has no secret, this one has a key file"
    );
}

#[test]
fn two_open_routers_link() {
    let open = Arc::new(MeshSecret::open());
    let mut pair = Pair::new(&config(1, &open), &config(2, &open));
    pair.run(&mut Wire::default());
    assert!(pair.both_up());
}

#[test]
fn a_refusal_by_either_side_is_explained_on_both() {
    for by_dialler in [true, false] {
        let (one, two) = (config(1, &key(1)), config(2, &key(1)));
        let mut pair = Pair::new(&one, &two);
        let code = Some(AlertCode::NameConflict);
        pair.refuse = if by_dialler {
            (code, None)
        } else {
            (None, code)
        };
        pair.run(&mut Wire::default());
        assert!(!pair.any_up());
        let (dialler, acceptor) = pair.errors();
        let refused = if by_dialler { &two } else { &one };
        let name = refused.record.as_identity().unwrap().name;
        let text =
            format!("the name {name} belongs to another router; give one of them another --name");
        assert_eq!(
            (dialler.to_string(), acceptor.to_string()),
            (text.clone(), text)
        );
        assert_eq!(
            (dialler.alert(), acceptor.alert()),
            (code, code),
            "a refusal by a proven peer counts"
        );
        let (refused, refuser) = if by_dialler {
            (acceptor, &one)
        } else {
            (dialler, &two)
        };
        let by = refused.refused_by(AlertCode::NameConflict);
        assert_eq!(by, Some(refuser.identity.id()));
        assert_eq!(refused.refused_by(AlertCode::Full), None);
    }
}

#[test]
fn a_router_that_dials_itself_gets_the_reason() {
    let one = config(1, &key(1));
    let mut pair = Pair::new(&one, &one);
    pair.refuse.1 = Some(AlertCode::SelfConnection);
    pair.run(&mut Wire::default());
    let Some(LinkEvent::Authenticated { peer, .. }) = pair.acceptor_events.first() else {
        panic!()
    };
    assert_eq!(*peer, one.identity.id());
    let (dialler, acceptor) = pair.errors();
    assert_eq!(
        (dialler.to_string(), acceptor.to_string()),
        (
            "connected to ourselves".into(),
            "connected to ourselves".into()
        )
    );
}

#[test]
fn refusing_before_authentication_sends_a_plain_alert() {
    let mut pair = Pair::new(&config(1, &key(1)), &config(2, &key(1)));
    pair.acceptor.refuse(AlertCode::Full);
    pair.answer();
    pair.run(&mut Wire::default());
    let (dialler, acceptor) = pair.errors();
    assert_eq!(
        acceptor,
        LinkError::Refused {
            code: AlertCode::Full,
            name: None
        }
    );
    assert!(matches!(
        dialler,
        LinkError::RefusedByPeer {
            code: AlertCode::Full,
            by: None,
            ..
        }
    ));
}

#[test]
fn a_refusal_ends_a_link_that_is_up() {
    let mut pair = Pair::up();
    pair.dialler.refuse(AlertCode::Duplicate);
    pair.answer();
    pair.run(&mut Wire::default());
    assert_eq!(pair.errors().1.alert(), Some(AlertCode::Duplicate));
    assert!(!pair.acceptor.send(&LinkMessage::Ping { nonce: 1 }));
}

#[test]
fn strangers_are_recognised() {
    let mut link = Link::new(
        LinkRole::Dialler,
        &config(1, &key(1)),
        NOW,
        &mut SeededEntropy::new(1),
    );
    link.handle_bytes(
        b"HTTP/1.1 400 Bad Request\r\n",
        NOW,
        &mut SeededEntropy::new(1),
    );
    let Some(LinkEvent::Closed(error)) = link.poll_event() else {
        panic!()
    };
    assert_eq!(
        error.to_string(),
        "not a mesh router (it answered with HTTP)"
    );
    assert_eq!(link.poll_event(), None);
}

#[test]
fn a_silent_peer_times_out_and_late_bytes_do_not_help() {
    let mut link = Link::new(
        LinkRole::Acceptor,
        &config(1, &key(1)),
        NOW,
        &mut SeededEntropy::new(1),
    );
    let deadline = link.next_deadline().unwrap();
    assert_eq!(deadline, NOW + HANDSHAKE_TIMEOUT);
    link.handle_timeout(NOW);
    assert_eq!(link.poll_event(), None);
    link.handle_bytes(b"mesh\x01\x01", deadline, &mut SeededEntropy::new(1));
    assert_eq!(
        link.poll_event(),
        Some(LinkEvent::Closed(LinkError::TimedOut))
    );
    assert_eq!(link.next_deadline(), None);
}

/// Returns the error when a member with the right secret sends `record` in message 3 instead of its own.
fn present(record: &SignedRecord) -> LinkError {
    let mut entropy = SeededEntropy::new(5);
    let mut acceptor = Link::new(LinkRole::Acceptor, &config(2, &key(1)), NOW, &mut entropy);
    let thief = identity(9);
    let ours = hello::write(&key(1), 0, &mut entropy);
    let theirs = acceptor.poll_transmit().unwrap();
    let prologue = [&ours[..], &theirs].concat();
    let mut noise = Handshake::new(
        Pattern::XxPsk3,
        Role::Initiator,
        &prologue,
        thief.dh_secret(),
        None,
        &key(1).link_psk(),
    );
    let framed = |message: Vec<u8>| {
        [
            &u16::try_from(message.len()).unwrap().to_be_bytes()[..],
            &message,
        ]
        .concat()
    };
    let mut first = Vec::new();
    noise.write_message([1; 32], &[], &mut first).unwrap();
    acceptor.handle_bytes(&[&ours[..], &framed(first)].concat(), NOW, &mut entropy);
    noise
        .read_message(&acceptor.poll_transmit().unwrap()[2..])
        .unwrap();
    let mut third = Vec::new();
    noise
        .write_message([2; 32], record.bytes(), &mut third)
        .unwrap();
    acceptor.handle_bytes(&framed(third), NOW, &mut entropy);
    match acceptor.poll_event() {
        Some(LinkEvent::Closed(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nobody_can_introduce_himself_with_a_record_that_is_not_his() {
    let victim = config(1, &key(1));
    assert_eq!(present(&victim.record), LinkError::ForeignKey);

    let own = record(&identity(9), 1, 1, "host");
    let links = linked(&identity(9), []);
    assert_eq!(
        present(&links),
        LinkError::BadRecord(RecordError::NoIdentity)
    );
    let mut bytes = own.bytes().to_vec();
    bytes[0] ^= 1;
    let badly_signed = SignedRecord::parse(&bytes).unwrap();
    assert_eq!(
        present(&badly_signed),
        LinkError::BadRecord(RecordError::BadSignature)
    );
}

#[test]
fn a_configuration_with_another_routers_record_ends_the_link_at_once() {
    let mut wrong = config(1, &key(1));
    wrong.record = config(2, &key(1)).record;
    let mut link = Link::new(LinkRole::Dialler, &wrong, NOW, &mut SeededEntropy::new(1));
    assert_eq!(
        link.poll_event(),
        Some(LinkEvent::Closed(LinkError::OwnRecord(
            RecordError::OtherKeys
        )))
    );
    assert_eq!(link.poll_transmit(), None);
}
