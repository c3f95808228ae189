//! Records, messages and bounds.

use super::*;
use crate::limits::{MAX_LINK_SEND_QUEUE, MAX_PREAUTH_BUFFER};
use crate::link::channel::kind;
use crate::link::handshake::LinkPhase;
use crate::wire::message::LinkMessage;

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
fn only_whole_records_prove_that_the_peer_is_alive() {
    let mut pair = Pair::up();
    pair.dialler.send(&LinkMessage::Ping { nonce: 1 });
    let record = pair.dialler.poll_transmit().unwrap();
    let (most, last) = record.split_at(record.len() - 1);
    let before = pair.acceptor.records();
    pair.acceptor.handle_bytes(most, NOW, &mut pair.entropy);
    assert_eq!(pair.acceptor.records(), before);
    pair.acceptor.handle_bytes(last, NOW, &mut pair.entropy);
    assert_eq!(pair.acceptor.records(), before + 1);
    // A forged length prefix in front of all that follows: bytes arrive, records do not.
    pair.acceptor
        .handle_bytes(&[0x3f, 0xff], NOW, &mut pair.entropy);
    for nonce in 0..20 {
        pair.dialler.send(&LinkMessage::Ping { nonce });
        let record = pair.dialler.poll_transmit().unwrap();
        pair.acceptor.handle_bytes(&record, NOW, &mut pair.entropy);
    }
    assert_eq!(pair.acceptor.records(), before + 1);
}

#[test]
fn bytes_no_encoder_makes_are_counted_and_the_link_stays() {
    let mut pair = Pair::up();
    for bytes in [&[3_u8, 0xff, 0xff][..], &[], &[200, 1, 2]] {
        assert!(pair.dialler.send_encoded(bytes));
    }
    pair.run(&mut Wire::default());
    let (_, events) = pair.take_events();
    assert_eq!(events, [LinkEvent::Message(LinkMessage::Unknown(200))]);
    assert_eq!(pair.acceptor.malformed(), 2);
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
    // Up to the point at which the acceptor's control plane decides.
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
    let LinkPhase::Confirm(secured) = &mut pair.dialler.state else {
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
    let LinkPhase::Up(up) = &mut pair.dialler.state else {
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
        let LinkPhase::Up(up) = &mut pair.dialler.state else {
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
