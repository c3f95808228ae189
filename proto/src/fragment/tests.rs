use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ids::SessionIndex;
use crate::limits::{
    MAX_PARTIAL_BYTES, MAX_PARTIAL_BYTES_PER_SESSION, MAX_PARTIALS, MAX_PARTIALS_PER_SESSION,
    PARTIAL_AGE,
};
use crate::network::NetworkLabel;
use crate::time::Instant;

const A: SessionIndex = SessionIndex(1);
const B: SessionIndex = SessionIndex(2);
const DEFAULT: NetworkLabel = NetworkLabel::DEFAULT;
const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn fragment(id: u32, index: u8, count: u8, bytes: &[u8]) -> Fragment<'_> {
    Fragment {
        kind: Kind::Data,
        id,
        index,
        count,
        bytes,
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![
        Kind::Data,
        Kind::Relay,
        Kind::Flood,
        Kind::NetworkFlood,
    ])
}

proptest! {
    #[test]
    fn fragments_reassemble_in_any_order(
        content in prop::collection::vec(any::<u8>(), 2..MAX_DATAGRAM),
        kind in kinds(),
        id: u32,
        room in 400usize..9000,
        seed: u64,
    ) {
        let mut bodies = Vec::new();
        for fragment in split(kind, id, &content, room).unwrap() {
            let mut body = Vec::new();
            fragment.encode(&mut body);
            prop_assert!(body.len() <= room);
            prop_assert_eq!(Fragment::decode(&body), Some(fragment));
            bodies.push(body);
        }
        prop_assert!(bodies.len() >= 2);
        bodies.sort_by_key(|body| (u64::from(body[1]) + 1).wrapping_mul(seed | 1));
        let mut reassembly = Reassembly::default();
        let last = bodies.pop().unwrap();
        for body in &bodies {
            let fragment = Fragment::decode(body).unwrap();
            prop_assert_eq!(reassembly.push(A, DEFAULT, &fragment, NOW), Ok(None));
            prop_assert_eq!(reassembly.push(A, DEFAULT, &fragment, NOW), Err(ReassemblyError::Duplicate));
        }
        let fragment = Fragment::decode(&last).unwrap();
        prop_assert_eq!(reassembly.push(B, DEFAULT, &fragment, NOW), Ok(None), "another session");
        let whole = reassembly.push(A, DEFAULT, &fragment, NOW).unwrap();
        prop_assert_eq!(whole, Some(Reassembled { kind, content }));
        prop_assert_eq!((reassembly.len(), reassembly.bytes()), (1, fragment.bytes.len()));
    }

    #[test]
    fn any_accepted_body_encodes_to_itself(body in prop::collection::vec(any::<u8>(), 0..40), kind in 0u8..16) {
        let mut body = body;
        if let Some(first) = body.first_mut() {
            *first = kind;
        }
        if let Some(fragment) = Fragment::decode(&body) {
            let mut out = Vec::new();
            fragment.encode(&mut out);
            prop_assert_eq!(out, body);
        }
    }

    #[test]
    fn bounds_hold_for_any_fragments(
        fragments in prop::collection::vec((0u32..80, 0u32..40, 0u8..32, 2u8..=32, 1usize..3000, 0u64..100), 0..600),
    ) {
        let mut reassembly = Reassembly::default();
        let mut now = NOW;
        let bytes = vec![0; 3000];
        for (session, id, index, count, len, wait) in fragments {
            now += Duration::from_millis(wait);
            let fragment = fragment(id, index.min(count - 1), count, &bytes[..len]);
            let _ = reassembly.push(SessionIndex(session), DEFAULT, &fragment, now);
            prop_assert!(reassembly.len() <= MAX_PARTIALS && reassembly.bytes() <= MAX_PARTIAL_BYTES);
        }
        reassembly.expire(now + PARTIAL_AGE);
        prop_assert_eq!((reassembly.len(), reassembly.bytes()), (0, 0));
    }
}

#[test]
fn content_that_cannot_be_fragmented_is_refused() {
    let count = |kind, len, room| {
        let content = vec![0; len];
        split(kind, 0, &content, room).map(Iterator::count)
    };
    assert_eq!(count(Kind::Data, 100, 57), Some(2));
    assert_eq!(count(Kind::Data, 100, 56), Some(3));
    assert_eq!(
        count(Kind::Data, 100, 200),
        Some(2),
        "a fragment is never all"
    );
    assert_eq!(count(Kind::Data, 1, 200), None);
    assert_eq!(count(Kind::Data, 0, 200), None);
    assert_eq!(count(Kind::Data, 100, FRAGMENT_PREFIX_LEN), None);
    let most = usize::from(MAX_FRAGMENTS);
    assert_eq!(count(Kind::Data, most, FRAGMENT_PREFIX_LEN + 1), Some(most));
    assert_eq!(count(Kind::Data, most + 1, FRAGMENT_PREFIX_LEN + 1), None);
    assert_eq!(count(Kind::Data, MAX_DATAGRAM + 1, 9000), None);
    for kind in [
        Kind::Init,
        Kind::Response,
        Kind::Cookie,
        Kind::Probe,
        Kind::Fragment,
    ] {
        assert_eq!(count(kind, 100, 57), None);
    }
}

#[test]
fn malformed_bodies_are_refused() {
    let good = [4, 0, 2, 0, 0, 0, 9, 1];
    assert!(Fragment::decode(&good).is_some());
    for len in 0..good.len() {
        assert_eq!(Fragment::decode(&good[..len]), None);
    }
    for (at, bad) in [
        (0, 0),
        (0, 1),
        (0, 7),
        (0, 8),
        (0, 10),
        (1, 2),
        (2, 0),
        (2, 1),
        (2, 33),
    ] {
        let mut body = good;
        body[at] = bad;
        assert_eq!(Fragment::decode(&body), None, "{bad} at {at}");
    }
}

#[test]
fn contradictory_fragments_are_refused_without_effect() {
    let mut reassembly = Reassembly::default();
    reassembly
        .push(A, DEFAULT, &fragment(1, 0, 2, b"good "), NOW)
        .unwrap();
    let other_kind = Fragment {
        kind: Kind::Flood,
        ..fragment(1, 1, 2, b"bad")
    };
    let long = vec![0; MAX_DATAGRAM];
    for bad in [
        fragment(1, 1, 3, b"bad"),
        other_kind,
        fragment(1, 1, 2, &long),
    ] {
        assert_eq!(
            reassembly.push(A, DEFAULT, &bad, NOW),
            Err(ReassemblyError::Mismatch)
        );
    }
    let whole = reassembly
        .push(A, DEFAULT, &fragment(1, 1, 2, b"whole"), NOW)
        .unwrap();
    assert_eq!(whole.unwrap().content, b"good whole");
    assert_eq!(reassembly.take_lost(), 0);
}

#[test]
fn incomplete_datagrams_expire_and_free_their_id() {
    let mut reassembly = Reassembly::default();
    reassembly
        .push(A, DEFAULT, &fragment(1, 0, 2, b"old"), NOW)
        .unwrap();
    let later = NOW + PARTIAL_AGE;
    assert_eq!(
        reassembly.push(A, DEFAULT, &fragment(1, 1, 2, b"new"), later),
        Ok(None)
    );
    assert_eq!(reassembly.take_lost(), 1);
    reassembly.expire(later + PARTIAL_AGE - Duration::from_nanos(1));
    assert_eq!((reassembly.len(), reassembly.take_lost()), (1, 0));
    reassembly.expire(later + PARTIAL_AGE);
    assert_eq!((reassembly.len(), reassembly.take_lost()), (0, 1));
}

#[test]
fn a_full_session_gives_up_its_own_oldest() {
    let mut reassembly = Reassembly::default();
    reassembly
        .push(B, DEFAULT, &fragment(0, 0, 2, b"b"), NOW)
        .unwrap();
    for id in 0..40 {
        let at = NOW + Duration::from_millis(u64::from(id));
        reassembly
            .push(A, DEFAULT, &fragment(id, 0, 2, b"a"), at)
            .unwrap();
    }
    assert_eq!(reassembly.len(), MAX_PARTIALS_PER_SESSION + 1);
    assert_eq!(reassembly.take_lost(), 40 - MAX_PARTIALS_PER_SESSION as u64);
    let whole = |reassembly: &mut Reassembly, session, id| {
        reassembly
            .push(session, DEFAULT, &fragment(id, 1, 2, b"!"), NOW)
            .unwrap()
    };
    assert!(whole(&mut reassembly, B, 0).is_some());
    assert!(whole(&mut reassembly, A, 39).is_some());
    assert!(whole(&mut reassembly, A, 0).is_none());
}

#[test]
fn a_session_with_many_bytes_gives_up_its_own_oldest() {
    let mut reassembly = Reassembly::default();
    let half = vec![0; MAX_DATAGRAM / 2];
    reassembly
        .push(B, DEFAULT, &fragment(0, 0, 2, &half), NOW)
        .unwrap();
    for id in 0..30 {
        let at = NOW + Duration::from_millis(u64::from(id));
        reassembly
            .push(A, DEFAULT, &fragment(id, 0, 2, &half), at)
            .unwrap();
    }
    let of_a = reassembly.bytes() - half.len();
    assert!(
        of_a <= MAX_PARTIAL_BYTES_PER_SESSION && of_a + half.len() > MAX_PARTIAL_BYTES_PER_SESSION
    );
    assert!(
        reassembly
            .push(A, DEFAULT, &fragment(29, 1, 2, b"!"), NOW)
            .unwrap()
            .is_some()
    );
}

#[test]
fn many_sessions_together_are_bounded() {
    let mut reassembly = Reassembly::default();
    let bytes = vec![0; MAX_DATAGRAM - 1];
    for n in 0..2_000 {
        let at = NOW + Duration::from_micros(u64::from(n));
        reassembly
            .push(SessionIndex(n), DEFAULT, &fragment(0, 0, 2, &bytes), at)
            .unwrap();
    }
    assert_eq!(
        reassembly.bytes(),
        MAX_PARTIAL_BYTES / bytes.len() * bytes.len()
    );
    let mut reassembly = Reassembly::default();
    for n in 0..2_000 {
        let at = NOW + Duration::from_micros(u64::from(n));
        reassembly
            .push(SessionIndex(n), DEFAULT, &fragment(0, 0, 2, b"a"), at)
            .unwrap();
    }
    assert_eq!(reassembly.len(), MAX_PARTIALS);
}

#[test]
fn fragments_with_different_labels_are_no_datagram() {
    let mut reassembly = Reassembly::default();
    let (one, other) = (NetworkLabel(1), NetworkLabel(2));
    let begin = reassembly.push(A, one, &fragment(1, 0, 2, b"of one "), NOW);
    assert_eq!(begin, Ok(None));
    for label in [other, DEFAULT] {
        let end = reassembly.push(A, label, &fragment(1, 1, 2, b"of another"), NOW);
        assert_eq!(end, Err(ReassemblyError::Mismatch));
    }
    let end = reassembly.push(A, one, &fragment(1, 1, 2, b"network"), NOW);
    assert_eq!(end.unwrap().unwrap().content, b"of one network");
}
