//! Published vectors, `ring` compared with RustCrypto, and forgeries.

use aes_gcm::Aes256Gcm;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use proptest::prelude::*;

use super::*;

fn hex<const N: usize>(text: &str) -> [u8; N] {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    bytes.try_into().unwrap()
}

/// Both implementations behind one interface.
enum Key {
    ChaCha(ChaChaKey),
    Bulk(Box<AeadKey>),
}

impl Key {
    fn seal(&self, counter: u64, aad: &[u8], body: &mut [u8]) -> [u8; 16] {
        match self {
            Key::ChaCha(key) => key.seal(counter, aad, body),
            Key::Bulk(key) => key.seal(counter, aad, body),
        }
    }

    fn open(&self, n: u64, aad: &[u8], body: &mut [u8], tag: &[u8; 16]) -> Result<(), Forged> {
        match self {
            Key::ChaCha(key) => key.open(n, aad, body, tag),
            Key::Bulk(key) => key.open(n, aad, body, tag),
        }
    }
}

fn all(key: [u8; 32]) -> [Key; 3] {
    [
        Key::ChaCha(ChaChaKey::new(key)),
        Key::Bulk(Box::new(AeadKey::new(Suite::ChaCha20Poly1305, key))),
        Key::Bulk(Box::new(AeadKey::new(Suite::Aes256Gcm, key))),
    ]
}

/// RFC 8439, appendix A.5; its nonce begins with four zero bytes, as all nonces here do.
#[test]
fn rfc_8439_appendix_a5() {
    let key = hex("1c9240a5eb55d38af333888604f6b5f0 473917c1402b80099dca5cbc207075c0");
    let counter = u64::from_le_bytes(hex("0102030405060708"));
    let aad: [u8; 12] = hex("f33388860000000000004e91");
    let tag = hex("eead9d67890cbb22392336fea1851f38");
    let ciphertext: [u8; 265] = hex(
        "64a0861575861af460f062c79be643bd 5e805cfd345cf389f108670ac76c8cb2
         4c6cfc18755d43eea09ee94e382d26b0 bdb7b73c321b0100d4f03b7f355894cf
         332f830e710b97ce98c8a84abd0b9481 14ad176e008d33bd60f982b1ff37c855
         9797a06ef4f0ef61c186324e2b350638 3606907b6a7c02b0f9f6157b53c867e4
         b9166c767b804d46a59b5216cde7a4e9 9040c5a40433225ee282a1b0a06c523e
         af4534d7f83fa1155b0047718cbc546a 0d072b04b3564eea1b422273f548271a
         0bb2316053fa76991955ebd63159434e cebb4e466dae5a1073a6727627097a10
         49e617d91d361094fa68f0ff77987130 305beaba2eda04df997b714d6c6f2c29
         a6ad5cb4022b02709b",
    );
    let plaintext = "Internet-Drafts are draft documents valid for a maximum of six months and may be \
         updated, replaced, or obsoleted by other documents at any time. It is inappropriate to use \
         Internet-Drafts as reference material or to cite them other than as /\u{201c}work in progress./\u{201d}";
    let [reference, bulk, _] = all(key);
    for key in [reference, bulk] {
        let mut body = ciphertext;
        key.open(counter, &aad, &mut body, &tag).unwrap();
        assert_eq!(std::str::from_utf8(&body).unwrap(), plaintext);
        assert_eq!(key.seal(counter, &aad, &mut body), tag);
        assert_eq!(body, ciphertext);
    }
}

/// GCM specification (McGrew, Viega), appendix B, test cases 13 and 14; key and nonce are zero, as the first nonce
/// here is.
#[test]
fn gcm_specification_test_cases_13_and_14() {
    let key = AeadKey::new(Suite::Aes256Gcm, [0; 32]);
    let tag = key.seal(0, &[], &mut []);
    assert_eq!(tag, hex("530f8afbc74536b9a963b4f1c4cb738b"));
    let mut body = [0; 16];
    let tag = key.seal(0, &[], &mut body);
    assert_eq!(body, hex("cea7403d4d606b6e074ec5d3baf39d18"));
    assert_eq!(tag, hex("d0d1c8a799996bf0265b98b5d48ab919"));
}

#[test]
fn counters_stand_in_the_byte_order_of_noise() {
    let sealed = |cipher: &dyn Fn(&[u8; 12]) -> Vec<u8>, nonce: [u8; 12]| cipher(&nonce);
    let (key, body) = ([3; 32], b"body");
    let chacha = |nonce: &[u8; 12]| chacha(&key, nonce, b"", body);
    let aes = |nonce: &[u8; 12]| aes(&key, nonce, b"", body);
    let little = [0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1];
    let big = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let counter = 0x0102_0304_0506_0708;
    let expected = [
        sealed(&chacha, little),
        sealed(&chacha, little),
        sealed(&aes, big),
    ];
    for (key, expected) in all(key).iter().zip(expected) {
        let mut ours = *body;
        let tag = key.seal(counter, b"", &mut ours);
        assert_eq!([&ours[..], &tag].concat(), expected);
    }
}

#[test]
fn debug_shows_no_key() {
    assert_eq!(format!("{:?}", ChaChaKey::new([0x5a; 32])), "ChaChaKey");
    let bulk = AeadKey::new(Suite::Aes256Gcm, [0x5a; 32]);
    assert_eq!(format!("{bulk:?}"), "AeadKey(aes-256-gcm)");
}

#[test]
fn the_reference_leaves_a_refused_body_as_it_was() {
    let key = ChaChaKey::new([1; 32]);
    let mut body = *b"plain";
    let tag = key.seal(1, b"aad", &mut body);
    let sealed = body;
    assert_eq!(key.open(2, b"aad", &mut body, &tag), Err(Forged));
    assert_eq!(body, sealed);
    assert_eq!(key.open(1, b"", &mut body, &tag), Err(Forged));
    assert_eq!(key.open(1, b"aad", &mut body, &tag), Ok(()));
    assert_eq!(&body, b"plain");
}

#[test]
fn a_refused_body_does_not_show_the_clear_text() {
    for key in all([1; 32]) {
        let clear = *b"a frame of some length";
        let mut body = clear;
        let mut tag = key.seal(1, b"aad", &mut body);
        tag[15] ^= 1;
        assert_eq!(key.open(1, b"aad", &mut body, &tag), Err(Forged));
        assert_ne!(body, clear);
    }
}

/// Encrypts with RustCrypto and this nonce; returns ciphertext ‖ tag.
fn chacha(key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], msg: &[u8]) -> Vec<u8> {
    let cipher = chacha20poly1305::ChaCha20Poly1305::new(key.into());
    cipher.encrypt(nonce.into(), Payload { msg, aad }).unwrap()
}

fn aes(key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], msg: &[u8]) -> Vec<u8> {
    let cipher = Aes256Gcm::new(key.into());
    cipher.encrypt(nonce.into(), Payload { msg, aad }).unwrap()
}

fn bytes(len: core::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), len)
}

proptest! {
    /// Lengths around blocks of 16 and 64 bytes, and longer than the assembly processes at once.
    #[test]
    fn ring_and_rustcrypto_make_the_same_bytes(
        key: [u8; 32],
        counter: u64,
        aad in bytes(0..70),
        body in prop_oneof![bytes(0..300), bytes(1_300..1_700)],
    ) {
        let (mut little, mut big) = ([0; 12], [0; 12]);
        little[4..].copy_from_slice(&counter.to_le_bytes());
        big[4..].copy_from_slice(&counter.to_be_bytes());
        let chacha = chacha(&key, &little, &aad, &body);
        let expected = [chacha.clone(), chacha, aes(&key, &big, &aad, &body)];
        for (key, expected) in all(key).iter().zip(expected) {
            let mut sealed = body.clone();
            let tag = key.seal(counter, &aad, &mut sealed);
            prop_assert_eq!([&sealed[..], &tag].concat(), expected);
            prop_assert_eq!(key.open(counter, &aad, &mut sealed, &tag), Ok(()));
            prop_assert_eq!(&sealed, &body);
        }
    }

    #[test]
    fn any_change_is_noticed(
        key: [u8; 32],
        counter: u64,
        aad in bytes(1..40),
        body in bytes(1..100),
        at: prop::sample::Index,
        bit in 0u8..8,
    ) {
        for key in all(key) {
            let mut sealed = body.clone();
            let tag = key.seal(counter, &aad, &mut sealed);
            let mut all = [&aad[..], &sealed, &tag].concat();
            let at = at.index(all.len());
            all[at] ^= 1 << bit;
            let (a, rest) = all.split_at_mut(aad.len());
            let (b, t) = rest.split_at_mut(body.len());
            prop_assert_eq!(key.open(counter, a, b, &t.try_into().unwrap()), Err(Forged));
            prop_assert_eq!(key.open(counter ^ 1, &aad, &mut sealed.clone(), &tag), Err(Forged));
            prop_assert_eq!(key.open(counter, &aad, &mut sealed, &tag), Ok(()));
            prop_assert_eq!(&sealed, &body);
        }
    }

    #[test]
    fn suites_and_keys_do_not_open_one_another(key: [u8; 32], other: [u8; 32], body in bytes(0..40)) {
        prop_assume!(key != other);
        let [_, chacha, aes] = all(key);
        let [_, chacha_other, aes_other] = all(other);
        let mut sealed = body.clone();
        let tag = chacha.seal(0, &[], &mut sealed);
        for wrong in [&aes, &chacha_other, &aes_other] {
            prop_assert_eq!(wrong.open(0, &[], &mut sealed.clone(), &tag), Err(Forged));
        }
    }
}
