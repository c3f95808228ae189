//! Published test vectors of the primitives, which detect a change in a dependency.

use blake2::{Blake2s256, Digest};
use hkdf::Hkdf;
use sha2::Sha256;

use super::dh::DhSecret;
use super::identity::{Identity, verify};

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

fn key(text: &str) -> [u8; 32] {
    hex(text).try_into().unwrap()
}

#[test]
fn x25519_rfc7748_section_5_2() {
    let secret = DhSecret::from_bytes(key(
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
    ));
    let remote = key("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    assert_eq!(
        secret.agree(&remote).unwrap()[..],
        key("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
    );
}

#[test]
fn x25519_rfc7748_section_6_1() {
    let alice = DhSecret::from_bytes(key(
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
    ));
    let bob = DhSecret::from_bytes(key(
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
    ));
    assert_eq!(
        alice.public(),
        key("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    );
    assert_eq!(
        bob.public(),
        key("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    );
    let shared = key("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_eq!(alice.agree(&bob.public()).unwrap()[..], shared);
    assert_eq!(bob.agree(&alice.public()).unwrap()[..], shared);
}

#[test]
fn x25519_refuses_the_points_of_low_order() {
    let secret = DhSecret::from_bytes([0x42; 32]);
    let points = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in points {
        assert!(secret.agree(&key(point)).is_err(), "{point}");
    }
}

#[test]
fn ed25519_rfc8032_section_7_1() {
    let vectors = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
             d25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659\
             4a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];
    for (seed, public, message, signature) in vectors {
        let identity = Identity::from_seeds(key(seed), [1; 32]);
        assert_eq!(identity.sign_key(), key(public));
        let signature: [u8; 64] = hex(signature).try_into().unwrap();
        assert_eq!(identity.sign(&hex(message)), signature);
        assert_eq!(verify(&key(public), &hex(message), &signature), Ok(()));
    }
}

#[test]
fn blake2s_rfc7693_appendix_b() {
    assert_eq!(
        Blake2s256::digest(b"abc")[..],
        hex("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982")
    );
    assert_eq!(
        Blake2s256::digest(b"")[..],
        hex("69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9")
    );
}

#[test]
fn hkdf_sha256_rfc5869_appendix_a() {
    let mut out = [0; 42];
    Hkdf::<Sha256>::new(Some(&hex("000102030405060708090a0b0c")), &[0x0b; 22])
        .expand(&hex("f0f1f2f3f4f5f6f7f8f9"), &mut out)
        .unwrap();
    assert_eq!(
        out[..],
        hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
    );
    // A.3: neither salt nor info, as in the derivation of the mesh secret.
    Hkdf::<Sha256>::new(None, &[0x0b; 22])
        .expand(b"", &mut out)
        .unwrap();
    assert_eq!(
        out[..],
        hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8")
    );
}
