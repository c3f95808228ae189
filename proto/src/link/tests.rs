//! Two links joined by an in-memory stream that may cut, change and hold back bytes.

use std::sync::Arc;

use proptest::prelude::*;

use super::channel::{RekeyAfter, kind};
use super::handshake::State;
use super::hello::HELLO;
use super::*;
use crate::crypto::identity::Identity;
use crate::crypto::secret::{MeshSecret, SecretKind};
use crate::entropy::{Entropy, SeededEntropy};
use crate::limits::{HANDSHAKE_TIMEOUT, MAX_LINK_SEND_QUEUE, MAX_PREAUTH_BUFFER};
use crate::noise::{Handshake, Pattern, Role};
use crate::time::Instant;
use crate::topology::record::{RecordError, SignedRecord};
use crate::topology::testing::{body_of, identity};
use crate::wire::message::LinkMessage;

const NOW: Instant = Instant::ZERO;

fn key(n: u8) -> Arc<MeshSecret> {
    Arc::new(MeshSecret::from_key_bytes([n; 32]))
}

fn config(n: u64, secret: &Arc<MeshSecret>) -> LinkConfig {
    let identity = identity(n);
    let record = SignedRecord::sign(&body_of(&identity), &identity).unwrap();
    LinkConfig {
        identity: Arc::new(identity),
        secret: secret.clone(),
        record,
        features: 0b0110 | n,
    }
}

/// A dialler and an acceptor, and what they said.
struct Pair {
    dialler: Link,
    acceptor: Link,
    entropy: SeededEntropy,
    dialler_events: Vec<LinkEvent>,
    acceptor_events: Vec<LinkEvent>,
    /// Answers of control, dialler's and acceptor's; without one it accepts.
    refuse: (Option<AlertCode>, Option<AlertCode>),
}

impl Pair {
    fn new(dialler: &LinkConfig, acceptor: &LinkConfig) -> Self {
        Self::with_rekey(dialler, acceptor, RekeyAfter::default())
    }

    fn with_rekey(dialler: &LinkConfig, acceptor: &LinkConfig, rekey: RekeyAfter) -> Self {
        let mut entropy = SeededEntropy::new(7);
        Self {
            dialler: Link::with_rekey(LinkRole::Dialler, dialler, rekey, NOW, &mut entropy),
            acceptor: Link::with_rekey(LinkRole::Acceptor, acceptor, rekey, NOW, &mut entropy),
            entropy,
            dialler_events: Vec::new(),
            acceptor_events: Vec::new(),
            refuse: (None, None),
        }
    }

    fn up() -> Self {
        let mut pair = Self::new(&config(1, &key(1)), &config(2, &key(1)));
        pair.run(&mut Wire::default());
        assert!(pair.both_up());
        pair.take_events();
        pair
    }

    /// Moves bytes until nobody has any more to say.
    fn run(&mut self, wire: &mut Wire) {
        loop {
            let to_acceptor = wire.carry(true, self.dialler.poll_transmit().unwrap_or_default());
            let to_dialler = wire.carry(false, self.acceptor.poll_transmit().unwrap_or_default());
            if to_acceptor.is_empty() && to_dialler.is_empty() {
                return;
            }
            for piece in to_acceptor {
                self.acceptor.handle_bytes(&piece, NOW, &mut self.entropy);
                self.answer();
            }
            for piece in to_dialler {
                self.dialler.handle_bytes(&piece, NOW, &mut self.entropy);
                self.answer();
            }
        }
    }

    fn answer(&mut self) {
        settle(&mut self.dialler, &mut self.dialler_events, self.refuse.0);
        settle(&mut self.acceptor, &mut self.acceptor_events, self.refuse.1);
    }

    fn both_up(&self) -> bool {
        self.dialler_events.contains(&LinkEvent::Up)
            && self.acceptor_events.contains(&LinkEvent::Up)
    }

    fn any_up(&self) -> bool {
        self.dialler_events.contains(&LinkEvent::Up)
            || self.acceptor_events.contains(&LinkEvent::Up)
    }

    fn take_events(&mut self) -> (Vec<LinkEvent>, Vec<LinkEvent>) {
        (
            core::mem::take(&mut self.dialler_events),
            core::mem::take(&mut self.acceptor_events),
        )
    }

    fn errors(&self) -> (LinkError, LinkError) {
        (error(&self.dialler_events), error(&self.acceptor_events))
    }
}

fn settle(link: &mut Link, events: &mut Vec<LinkEvent>, refuse: Option<AlertCode>) {
    while let Some(event) = link.poll_event() {
        if matches!(event, LinkEvent::Authenticated { .. }) {
            match refuse {
                Some(code) => link.refuse(code),
                None => link.accept(),
            }
        }
        events.push(event);
    }
}

fn error(events: &[LinkEvent]) -> LinkError {
    match events.last() {
        Some(LinkEvent::Closed(error)) => error.clone(),
        other => panic!("not closed, but {other:?}"),
    }
}

/// What happens to bytes on their way.
#[derive(Default)]
struct Wire {
    /// Change this byte of the stream towards the acceptor (true) or the dialler.
    flip: Option<(bool, usize, u8)>,
    /// Lose everything from this byte on.
    cut: Option<(bool, usize)>,
    /// Sizes of the pieces, in turn; empty for no cutting.
    pieces: Vec<usize>,
    next_piece: usize,
    carried: [usize; 2],
}

impl Wire {
    fn carry(&mut self, to_acceptor: bool, mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let carried = &mut self.carried[usize::from(to_acceptor)];
        let start = *carried;
        *carried += bytes.len();
        if let Some((direction, at, mask)) = self.flip
            && direction == to_acceptor
            && let Some(byte) = at.checked_sub(start).and_then(|i| bytes.get_mut(i))
        {
            *byte ^= mask;
        }
        if let Some((direction, at)) = self.cut
            && direction == to_acceptor
        {
            bytes.truncate(at.saturating_sub(start));
        }
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let size = match self.pieces.len() {
                0 => rest.len(),
                n => {
                    self.next_piece += 1;
                    self.pieces[self.next_piece % n].clamp(1, rest.len())
                }
            };
            let (piece, after) = rest.split_at(size);
            pieces.push(piece.to_vec());
            rest = after;
        }
        pieces
    }
}

fn blob(entropy: &mut dyn Entropy, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    entropy.fill(&mut bytes);
    bytes
}

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
fn each_side_learns_who_the_other_is_before_the_link_is_up() {
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
            (who.id(), who.id(), 0)
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
fn wrong_secrets_are_called_so_on_both_sides() {
    let password = |text: &str| Arc::new(MeshSecret::from_password(text).unwrap());
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
fn a_secret_on_one_side_only_is_called_so_on_both() {
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
        let name = refused.record.body().name;
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
    }
}

#[test]
fn a_router_that_dials_itself_is_told() {
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
fn refusing_before_anybody_is_known_sends_a_plain_alert() {
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
            proven: false,
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

#[test]
fn a_mebibyte_in_random_sizes_arrives_intact_across_many_keys() {
    let rekey = RekeyAfter {
        records: 7,
        bytes: 60_000,
    };
    let mut pair = Pair::with_rekey(&config(1, &key(1)), &config(2, &key(1)), rekey);
    let mut wire = Wire {
        pieces: vec![1, 70_000, 13, 4_096],
        ..Wire::default()
    };
    pair.run(&mut wire);
    pair.take_events();
    let (mut sent, mut total) = (Vec::new(), 0);
    while total < 1 << 20 {
        let size = usize::try_from(pair.entropy.u64() % 150_000).unwrap();
        let message = LinkMessage::Records(vec![blob(&mut pair.entropy, size)]);
        assert!(pair.dialler.send(&message));
        pair.run(&mut wire);
        sent.push(LinkEvent::Message(message));
        total += size;
    }
    assert_eq!(pair.take_events().1, sent);
}

#[test]
fn replayed_and_reordered_records_end_the_link() {
    for order in [[0, 0], [1, 0]] {
        let mut pair = Pair::up();
        let mut records = Vec::new();
        for nonce in 0..2 {
            pair.dialler.send(&LinkMessage::Ping { nonce });
            records.push(pair.dialler.poll_transmit().unwrap());
        }
        for i in order {
            pair.acceptor
                .handle_bytes(&records[i], NOW, &mut pair.entropy);
        }
        pair.answer();
        assert!(matches!(
            error(&pair.acceptor_events),
            LinkError::Corrupt(_)
        ));
    }
}

#[test]
fn little_is_buffered_before_the_peer_is_known() {
    let mut pair = Pair::new(&config(1, &key(1)), &config(2, &key(1)));
    let hello = pair.dialler.poll_transmit().unwrap();
    pair.acceptor.handle_bytes(&hello, NOW, &mut pair.entropy);
    let longest = u16::try_from(MAX_PREAUTH_BUFFER - 2).unwrap();
    pair.acceptor
        .handle_bytes(&longest.to_be_bytes(), NOW, &mut pair.entropy);
    for _ in 0..MAX_PREAUTH_BUFFER - 3 {
        pair.acceptor.handle_bytes(&[0], NOW, &mut pair.entropy);
        assert!(pair.acceptor.buffer.capacity() <= 2 * MAX_PREAUTH_BUFFER);
    }
    assert_eq!(pair.acceptor.poll_event(), None);
    pair.acceptor
        .handle_bytes(&vec![0; 1 << 20], NOW, &mut pair.entropy);
    assert_eq!(
        pair.acceptor.poll_event(),
        Some(LinkEvent::Closed(LinkError::Tampered))
    );
    assert!(pair.acceptor.buffer.capacity() <= 2 * MAX_PREAUTH_BUFFER);

    let mut pair = Pair::new(&config(1, &key(1)), &config(2, &key(1)));
    pair.acceptor.handle_bytes(&hello, NOW, &mut pair.entropy);
    pair.acceptor
        .handle_bytes(&(longest + 1).to_be_bytes(), NOW, &mut pair.entropy);
    assert_eq!(
        pair.acceptor.poll_event(),
        Some(LinkEvent::Closed(LinkError::Corrupt("record too long")))
    );
}

#[test]
fn messages_before_admission_are_refused() {
    let mut pair = Pair::new(&config(1, &key(1)), &config(2, &key(1)));
    let mut entropy = SeededEntropy::new(3);
    // Up to the point where the acceptor's control is to decide.
    for _ in 0..3 {
        let bytes = pair.dialler.poll_transmit().unwrap_or_default();
        pair.acceptor.handle_bytes(&bytes, NOW, &mut entropy);
        let bytes = pair.acceptor.poll_transmit().unwrap_or_default();
        pair.dialler.handle_bytes(&bytes, NOW, &mut entropy);
    }
    assert!(matches!(
        pair.acceptor.poll_event(),
        Some(LinkEvent::Authenticated { .. })
    ));
    assert_eq!(
        pair.dialler.poll_event(),
        None,
        "the acceptor has proved nothing yet"
    );
    let State::Confirm(secured) = &mut pair.dialler.state else {
        panic!("{:?}", pair.dialler)
    };
    let mut early = Vec::new();
    secured.channel.seal_message(
        &LinkMessage::Ping { nonce: 1 }.encode().unwrap(),
        &mut early,
    );
    pair.acceptor.handle_bytes(&early, NOW, &mut entropy);
    let expected = LinkError::Corrupt("message before admission");
    assert_eq!(
        pair.acceptor.poll_event(),
        Some(LinkEvent::Closed(expected))
    );
    pair.acceptor.accept();
    assert_eq!(pair.acceptor.poll_event(), None, "too late to accept");
}

#[test]
fn a_malformed_message_is_counted_and_the_link_stays() {
    let mut pair = Pair::up();
    let State::Up(up) = &mut pair.dialler.state else {
        panic!()
    };
    let mut bytes = Vec::new();
    up.channel.seal_message(&[3, 0xff, 0xff], &mut bytes);
    up.channel.seal_message(&[], &mut bytes);
    up.channel.seal_message(&[200, 1, 2], &mut bytes);
    pair.acceptor.handle_bytes(&bytes, NOW, &mut pair.entropy);
    pair.answer();
    assert_eq!(
        pair.acceptor_events,
        [LinkEvent::Message(LinkMessage::Unknown(200))]
    );
    assert_eq!(pair.acceptor.malformed(), 2);
    assert!(pair.acceptor.send(&LinkMessage::Ping { nonce: 1 }));
}

#[test]
fn endless_messages_and_unknown_records_end_the_link() {
    let ends = |kind: u8, body: &[u8], times: usize| {
        let mut pair = Pair::up();
        let State::Up(up) = &mut pair.dialler.state else {
            panic!()
        };
        let mut bytes = Vec::new();
        (0..times).for_each(|_| up.channel.seal(kind, body, &mut bytes));
        pair.acceptor.handle_bytes(&bytes, NOW, &mut pair.entropy);
        pair.answer();
        matches!(
            pair.acceptor_events.last(),
            Some(LinkEvent::Closed(LinkError::Corrupt(_)))
        )
    };
    assert!(!ends(kind::PART, &[1; 16_000], 16));
    assert!(ends(kind::PART, &[1; 16_000], 17));
    assert!(ends(kind::PART, &[], 1));
    assert!(ends(9, &[], 1));
    assert!(ends(kind::CONFIRM, &[], 1));
}

#[test]
fn the_send_queue_is_bounded() {
    let mut pair = Pair::up();
    let message = LinkMessage::Records(vec![vec![1; 100_000]]);
    let mut taken = 0;
    while pair.dialler.send(&message) {
        taken += 1;
    }
    assert_eq!(taken, 3);
    assert!(pair.dialler.pending_bytes() >= MAX_LINK_SEND_QUEUE);
    pair.run(&mut Wire::default());
    assert_eq!(pair.dialler.pending_bytes(), 0);
    assert_eq!(pair.acceptor_events.len(), 3);
}

/// A member with the right secret that puts `record` into message 3 in place of its own.
fn present(record: &SignedRecord) -> LinkError {
    let mut entropy = SeededEntropy::new(5);
    let mut acceptor = Link::new(LinkRole::Acceptor, &config(2, &key(1)), NOW, &mut entropy);
    let thief = identity(9);
    let ours = hello::write(SecretKind::KeyFile, 0, &mut entropy);
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

    let own = SignedRecord::sign(&body_of(&identity(9)), &identity(9)).unwrap();
    let mut bytes = own.bytes().to_vec();
    bytes[0] ^= 1;
    let badly_signed = SignedRecord::parse(&bytes).unwrap();
    assert_eq!(
        present(&badly_signed),
        LinkError::BadRecord(RecordError::BadSignature)
    );
}

#[test]
fn a_configuration_with_somebody_elses_record_ends_the_link_at_once() {
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
