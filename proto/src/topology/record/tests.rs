//! Signed records parse and verify; altered ones do not.

use super::*;
use crate::limits::{MAX_IDENTITY_RECORD, MAX_TOPICS, RECORD_OVERHEAD};
use crate::topology::testing::{about, body_of, identity, linked, record};
use proptest::collection::vec;
use proptest::prelude::*;

const VERSION: Version = Version {
    epoch: u64::MAX,
    seq: u64::MAX,
};

#[test]
fn signed_records_parse_and_verify() {
    let (me, other) = (identity(1), identity(2));
    let records = [
        record(&me, 3, 300, "x"),
        linked(&me, [other.id()]),
        about(&me, Topic::NAMES, (3, 4), "anything"),
    ];
    for record in records {
        let back = SignedRecord::parse(record.bytes()).unwrap();
        back.verify(&me.sign_key()).unwrap();
        assert_eq!(Ed25519.verify(&back, &me.sign_key()), Ok(()));
        assert_eq!(Ed25519.verify(&back, &other.sign_key()), Err(BadSignature));
        assert_eq!((back.origin(), back.key()), (me.id(), record.key()));
        assert_eq!(back, record);
    }
    assert_eq!(
        about(&me, Topic::NAMES, (3, 4), "anything").body(),
        b"anything"
    );
    assert_eq!(
        linked(&me, [other.id()]).links()[0].peer,
        other.id().prefix()
    );
}

#[test]
fn every_flipped_bit_is_noticed() {
    let me = identity(1);
    for record in [record(&me, 1, 1, "x"), linked(&me, [identity(2).id()])] {
        for at in 0..record.bytes().len() {
            let mut bytes = record.bytes().to_vec();
            bytes[at] ^= 1 << (at % 8);
            let noticed =
                SignedRecord::parse(&bytes).map_or(true, |r| r.verify(&me.sign_key()).is_err());
            assert!(noticed, "byte {at}");
        }
    }
}

#[test]
fn an_introduction_is_about_its_own_origin_and_signed_by_it() {
    let (me, other) = (identity(1), identity(2));
    assert_eq!(
        record(&me, 1, 1, "x").introduces().unwrap().sign_key,
        me.sign_key()
    );
    assert_eq!(linked(&me, []).introduces(), Err(RecordError::NoIdentity));
    let sign =
        |body: &IdentityBody| SignedRecord::sign(Topic::IDENTITY, VERSION, &body.encode(), &me);
    assert!(sign(&body_of(&me)).is_ok());
    assert_eq!(sign(&body_of(&other)), Err(RecordError::OtherKeys));
    let mut body = body_of(&me);
    body.dh_key[0] ^= 1;
    assert_eq!(sign(&body), Err(RecordError::OtherKeys));
    let mut bytes = record(&me, 1, 1, "x").bytes().to_vec();
    bytes[0] ^= 1;
    let forged = SignedRecord::parse(&bytes).unwrap();
    assert_eq!(forged.introduces(), Err(RecordError::BadSignature));
}

#[test]
fn the_fullest_introduction_fits_and_nothing_longer_does() {
    let me = identity(1);
    let mut body = body_of(&me);
    body.nickname = "n".repeat(63);
    body.endpoints = vec!["[fd00::1]:65535".parse().unwrap(); 16];
    body.features = u64::MAX;
    let record = SignedRecord::sign(Topic::IDENTITY, VERSION, &body.encode(), &me).unwrap();
    assert!(
        record.bytes().len() <= MAX_IDENTITY_RECORD,
        "{}",
        record.bytes().len()
    );
    assert!(record.bytes().len() - record.body().len() <= RECORD_OVERHEAD);
    let opaque = |n| SignedRecord::sign(Topic::NAMES, VERSION, &vec![0; n], &me);
    assert!(opaque(MAX_RECORD - RECORD_OVERHEAD).is_ok());
    assert!(matches!(opaque(MAX_RECORD), Err(RecordError::TooLong(_))));
    let long = vec![0; MAX_RECORD + 1];
    assert_eq!(
        SignedRecord::parse(&long),
        Err(RecordError::TooLong(MAX_RECORD + 1))
    );
    let mut beyond = about(&me, Topic::NAMES, (1, 1), "x").bytes().to_vec();
    beyond[SIGNATURE] = MAX_TOPICS + 1;
    assert!(SignedRecord::parse(&beyond).is_err());
}

#[test]
fn a_signature_by_another_key_is_refused() {
    let (mine, other) = (
        record(&identity(1), 1, 1, "x"),
        record(&identity(2), 1, 1, "x"),
    );
    let mut bytes = other.bytes()[..SIGNATURE].to_vec();
    bytes.extend_from_slice(&mine.bytes()[SIGNATURE..]);
    assert!(SignedRecord::parse(&bytes).unwrap().introduces().is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_panic(bytes in vec(any::<u8>(), 0..400), topic in 0u8..20) {
        let mut bytes = bytes;
        if let Some(at) = bytes.get_mut(SIGNATURE) {
            *at = topic;
        }
        if let Ok(record) = SignedRecord::parse(&bytes) {
            prop_assert!(record.verify(&identity(1).sign_key()).is_err());
            prop_assert_eq!(record.bytes(), &bytes[..]);
        }
    }

    #[test]
    fn a_record_cut_anywhere_is_refused(cut in 0usize..300) {
        let record = record(&identity(1), 1, 1, "x");
        let cut = cut % record.bytes().len();
        prop_assert!(SignedRecord::parse(&record.bytes()[..cut]).is_err());
    }
}
