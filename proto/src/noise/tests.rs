use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use proptest::prelude::*;

use super::*;
use crate::crypto::dh::DhSecret;

const PATTERNS: [(Pattern, &str, u8); 2] = [
    (Pattern::XxPsk3, "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s", 3),
    (Pattern::IkPsk2, "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s", 2),
];

/// Inputs of a handshake; `[0]` is the initiator's, `[1]` the responder's.
#[derive(Clone, Debug)]
struct Setup {
    prologue: Vec<u8>,
    psk: [u8; 32],
    statics: [[u8; 32]; 2],
    ephemerals: [[u8; 32]; 2],
}

impl Setup {
    fn fixed() -> Self {
        Self {
            prologue: b"prologue".to_vec(),
            psk: [7; 32],
            statics: [[1; 32], [2; 32]],
            ephemerals: [[3; 32], [4; 32]],
        }
    }

    fn side(&self, pattern: Pattern, role: Role) -> Handshake {
        let [initiator, responder] = self.statics.map(DhSecret::from_bytes);
        let (local, remote) = match role {
            Role::Initiator => (initiator, Some(responder.public())),
            Role::Responder => (responder, None),
        };
        Handshake::new(pattern, role, &self.prologue, &local, remote, &self.psk)
    }

    fn pair(&self, pattern: Pattern) -> [Handshake; 2] {
        [Role::Initiator, Role::Responder].map(|role| self.side(pattern, role))
    }

    fn snow(&self, name: &str, psk_at: u8, role: Role) -> snow::HandshakeState {
        let responder = DhSecret::from_bytes(self.statics[1]).public();
        let builder = snow::Builder::new(name.parse().unwrap())
            .prologue(&self.prologue)
            .unwrap()
            .psk(psk_at, &self.psk)
            .unwrap();
        match role {
            Role::Initiator if psk_at == 2 => builder
                .local_private_key(&self.statics[0])
                .unwrap()
                .remote_public_key(&responder)
                .unwrap()
                .fixed_ephemeral_key_for_testing_only(&self.ephemerals[0])
                .build_initiator()
                .unwrap(),
            Role::Initiator => builder
                .local_private_key(&self.statics[0])
                .unwrap()
                .fixed_ephemeral_key_for_testing_only(&self.ephemerals[0])
                .build_initiator()
                .unwrap(),
            Role::Responder => builder
                .local_private_key(&self.statics[1])
                .unwrap()
                .fixed_ephemeral_key_for_testing_only(&self.ephemerals[1])
                .build_responder()
                .unwrap(),
        }
    }
}

fn write(side: &mut Handshake, ephemeral: [u8; 32], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    side.write_message(ephemeral, payload, &mut out).unwrap();
    out
}

/// Returns the messages of one handshake, and both sides at its end, the initiator first.
fn run(setup: &Setup, pattern: Pattern, payload: &[u8]) -> (Vec<Vec<u8>>, [Handshake; 2]) {
    let [mut writer, mut reader] = setup.pair(pattern);
    let mut messages = Vec::new();
    while !writer.is_finished() {
        let message = write(&mut writer, setup.ephemerals[messages.len() % 2], payload);
        assert_eq!(reader.read_message(&message).unwrap(), payload);
        messages.push(message);
        core::mem::swap(&mut writer, &mut reader);
    }
    let sides = if messages.len() % 2 == 0 {
        [writer, reader]
    } else {
        [reader, writer]
    };
    (messages, sides)
}

/// Returns the receiving side just before message `index`.
fn reader_before(setup: &Setup, pattern: Pattern, index: usize) -> Handshake {
    let [mut writer, mut reader] = setup.pair(pattern);
    for i in 0..index {
        let message = write(&mut writer, setup.ephemerals[i % 2], b"payload");
        reader.read_message(&message).unwrap();
        core::mem::swap(&mut writer, &mut reader);
    }
    reader
}

fn transport(key: &[u8; 32], plaintext: &[u8]) -> Vec<u8> {
    ChaCha20Poly1305::new(key.into())
        .encrypt(&[0; 12].into(), Payload::from(plaintext))
        .unwrap()
}

/// Runs the pattern against snow, with the code under test in `role`; every message must be identical to snow's.
fn against_snow(setup: &Setup, pattern: Pattern, role: Role, payloads: &[Vec<u8>; 3]) {
    let (_, name, psk_at) = PATTERNS[usize::from(pattern == Pattern::IkPsk2)];
    let me = usize::from(role == Role::Responder);
    let mut ours = setup.side(pattern, role);
    let mut twin = setup.snow(name, psk_at, role);
    let mut theirs = setup.snow(
        name,
        psk_at,
        if me == 0 {
            Role::Responder
        } else {
            Role::Initiator
        },
    );
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut scratch = vec![0; MAX_MESSAGE];
    for (i, payload) in payloads.iter().enumerate() {
        if ours.is_finished() {
            break;
        }
        if i % 2 == me {
            let message = write(&mut ours, setup.ephemerals[me], payload);
            let n = twin.write_message(payload, &mut buffer).unwrap();
            assert_eq!(message, buffer[..n]);
            let n = theirs.read_message(&message, &mut buffer).unwrap();
            assert_eq!(buffer[..n], payload[..]);
        } else {
            let n = theirs.write_message(payload, &mut buffer).unwrap();
            assert_eq!(ours.read_message(&buffer[..n]).unwrap(), *payload);
            twin.read_message(&buffer[..n], &mut scratch).unwrap();
        }
    }
    assert!(ours.is_finished() && theirs.is_handshake_finished());
    assert_eq!(ours.hash(), theirs.get_handshake_hash());
    assert_eq!(
        ours.remote_static(),
        Some(DhSecret::from_bytes(setup.statics[1 - me]).public())
    );
    let keys = ours.split().unwrap();
    let mut theirs = theirs.into_transport_mode().unwrap();
    let n = theirs
        .read_message(&transport(&keys.send, b"to snow"), &mut buffer)
        .unwrap();
    assert_eq!(&buffer[..n], b"to snow");
    let n = theirs.write_message(b"from snow", &mut buffer).unwrap();
    assert_eq!(buffer[..n], transport(&keys.recv, b"from snow"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn same_bytes_as_snow_in_both_roles(
        prologue in proptest::collection::vec(any::<u8>(), 0..80),
        psk: [u8; 32],
        statics: [[u8; 32]; 2],
        ephemerals: [[u8; 32]; 2],
        payloads in proptest::array::uniform3(proptest::collection::vec(any::<u8>(), 0..300)),
    ) {
        let setup = Setup { prologue, psk, statics, ephemerals };
        for (pattern, _, _) in PATTERNS {
            against_snow(&setup, pattern, Role::Initiator, &payloads);
            against_snow(&setup, pattern, Role::Responder, &payloads);
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        index in 0usize..3,
    ) {
        for (pattern, _, _) in PATTERNS {
            if index >= pattern.messages().len() {
                continue;
            }
            let mut reader = reader_before(&Setup::fixed(), pattern, index);
            prop_assert!(reader.read_message(&bytes).is_err());
        }
    }
}

/// Vectors of the Haskell implementation cacophony, which other Noise implementations use, too.
#[test]
fn cacophony_vectors() {
    let setup = Setup {
        prologue: b"John Galt".to_vec(),
        psk: *b"This is my Austrian perspective!",
        statics: [
            hex("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1"),
            hex("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893"),
        ],
        ephemerals: [
            hex("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"),
            hex("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"),
        ],
    };
    let payloads: [&[u8]; 3] = [b"Ludwig von Mises", b"Murray Rothbard", b"F. A. Hayek"];
    for (pattern, expected, hash) in VECTORS {
        let [mut writer, mut reader] = setup.pair(*pattern);
        for (i, expected) in expected.iter().enumerate() {
            let message = write(&mut writer, setup.ephemerals[i % 2], payloads[i]);
            assert_eq!(message, hex_bytes(expected), "{pattern:?} message {i}");
            assert_eq!(reader.read_message(&message).unwrap(), payloads[i]);
            core::mem::swap(&mut writer, &mut reader);
        }
        assert_eq!(writer.hash(), hex(hash));
        assert_eq!(reader.hash(), hex(hash));
    }
}

const VECTORS: &[(Pattern, &[&str], &str)] = &[
    (
        Pattern::XxPsk3,
        &[
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944325ea71699951ece20f284b6ad9604a0\
             29eb335bf84564c308b6ade90ae45078",
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088432645535233ffe1432564d66a85227b67\
             7ced6fc2730ae0998ff49aa1dc56b8186e31b16e416f5d9c03c71f6c34fd37ec013105020070a8b00c000ce7ed56629c\
             119795f96463274bc05519d5c24dc1",
            "adf16c5375ec4172576783fd59f2bfa5c7a320d0a13b759592e1a2ddf5524cce59ccbb92ff5d321fced3bdb2840596df\
             562c0e68aad41b090abd285f6d300130072e06964a6ba494e58d47",
        ],
        "fc0819f08aebc23de9a783653d8d7d6395b7d243d9deec12f5d6fe2f4c206673",
    ),
    (
        Pattern::IkPsk2,
        &[
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944001e21de9f98ddd8e2ad57527207feb5\
             6253c9c94a9e496782ecfcb2a75fbcaf1b52948cc48daefe660c62119ab5000980c84831215f2441eba616548e832985\
             464cf17e51ee93109008399a21f7e13f",
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843cb765f2caef0751b8f007572dab03222\
             17755c0632f365717edbf34d33e87a",
        ],
        "f5191b875290abcd41347ac3622d9679688a7e980229cb937ef748336cfde0e5",
    ),
];

fn hex_bytes(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

fn hex(text: &str) -> [u8; 32] {
    hex_bytes(text).try_into().unwrap()
}

#[test]
fn both_sides_agree_and_directions_differ() {
    for (pattern, _, _) in PATTERNS {
        let (_, [initiator, responder]) = run(&Setup::fixed(), pattern, b"hello");
        assert_eq!(initiator.hash(), responder.hash());
        let (a, b) = (initiator.split().unwrap(), responder.split().unwrap());
        assert_eq!(a.send, b.recv);
        assert_eq!(a.recv, b.send);
        assert_ne!(a.send, a.recv);
        assert_eq!(format!("{a:?}"), "SplitKeys(..)");
    }
}

#[test]
fn every_flipped_byte_is_refused_and_does_no_harm() {
    let setup = Setup::fixed();
    for (pattern, _, _) in PATTERNS {
        let (messages, _) = run(&setup, pattern, b"payload");
        for (i, message) in messages.iter().enumerate() {
            let mut reader = reader_before(&setup, pattern, i);
            for at in 0..message.len() {
                let mut bad = message.clone();
                // X25519 ignores the top bit of a key, but the transcript covers it.
                bad[at] ^= if at % 2 == 0 { 0x80 } else { 0x01 };
                assert!(
                    reader.read_message(&bad).is_err(),
                    "{pattern:?} {i} byte {at}"
                );
            }
            for len in 0..message.len() {
                assert!(reader.read_message(&message[..len]).is_err());
            }
            assert_eq!(reader.read_message(message).unwrap(), b"payload");
        }
    }
}

#[test]
fn a_wrong_psk_is_refused_where_the_pattern_says() {
    for (pattern, _, psk_at) in PATTERNS {
        let right = Setup::fixed();
        let wrong = Setup {
            psk: [8; 32],
            ..right.clone()
        };
        let mut sides = [
            right.side(pattern, Role::Initiator),
            wrong.side(pattern, Role::Responder),
        ];
        for i in 0..usize::from(psk_at) {
            let message = write(&mut sides[i % 2], right.ephemerals[i % 2], b"x");
            let read = sides[(i + 1) % 2].read_message(&message);
            let last = i + 1 == usize::from(psk_at);
            assert_eq!(read.err(), last.then_some(NoiseError::Unauthentic));
        }
    }
}

#[test]
fn another_prologue_or_static_key_is_refused() {
    let right = Setup::fixed();
    let other_prologue = Setup {
        prologue: b"another".to_vec(),
        ..right.clone()
    };
    let other_static = Setup {
        statics: [[1; 32], [9; 32]],
        ..right.clone()
    };
    let message = write(
        &mut right.side(Pattern::IkPsk2, Role::Initiator),
        [3; 32],
        b"x",
    );
    for setup in [other_prologue, other_static] {
        let mut responder = setup.side(Pattern::IkPsk2, Role::Responder);
        assert_eq!(
            responder.read_message(&message),
            Err(NoiseError::Unauthentic)
        );
        assert_eq!(responder.remote_static(), None);
    }
}

#[test]
fn low_order_keys_are_refused() {
    let setup = Setup::fixed();
    let mut responder = setup.side(Pattern::IkPsk2, Role::Responder);
    assert_eq!(responder.read_message(&[0; 96]), Err(NoiseError::LowOrder));
    let psk = [0; 32];
    let local = DhSecret::from_bytes([1; 32]);
    let mut initiator = Handshake::new(
        Pattern::IkPsk2,
        Role::Initiator,
        b"",
        &local,
        Some([0; 32]),
        &psk,
    );
    let mut out = vec![1, 2];
    assert_eq!(
        initiator.write_message([5; 32], b"", &mut out),
        Err(NoiseError::LowOrder)
    );
    assert_eq!(out, [1, 2]);
}

#[test]
fn messages_out_of_turn_are_refused() {
    let setup = Setup::fixed();
    for (pattern, _, _) in PATTERNS {
        let [mut initiator, mut responder] = setup.pair(pattern);
        let mut out = Vec::new();
        assert_eq!(initiator.read_message(b""), Err(NoiseError::OutOfTurn));
        assert_eq!(
            responder.write_message([1; 32], b"", &mut out),
            Err(NoiseError::OutOfTurn)
        );
        assert_eq!(initiator.split().err(), Some(NoiseError::Unfinished));
        let (_, [mut done, mut other]) = run(&setup, pattern, b"");
        for side in [&mut done, &mut other] {
            assert_eq!(
                side.write_message([1; 32], b"", &mut out),
                Err(NoiseError::OutOfTurn)
            );
            assert_eq!(side.read_message(b""), Err(NoiseError::OutOfTurn));
        }
        assert!(out.is_empty());
    }
}

#[test]
fn length_limits_hold() {
    let setup = Setup::fixed();
    let mut initiator = setup.side(Pattern::XxPsk3, Role::Initiator);
    let mut out = vec![9];
    let too_long = vec![0; MAX_MESSAGE - 32 - 16 + 1];
    assert_eq!(
        initiator.write_message([1; 32], &too_long, &mut out),
        Err(NoiseError::TooLong)
    );
    assert_eq!(out, [9]);
    let longest = write(&mut initiator, [1; 32], &too_long[1..]);
    assert_eq!(longest.len(), MAX_MESSAGE);
    let mut responder = setup.side(Pattern::XxPsk3, Role::Responder);
    assert_eq!(
        responder.read_message(&vec![0; MAX_MESSAGE + 1]),
        Err(NoiseError::TooLong)
    );
    assert_eq!(responder.read_message(&longest).unwrap(), too_long[1..]);
}

#[test]
fn an_initiator_without_the_static_key_cannot_begin() {
    let local = DhSecret::from_bytes([1; 32]);
    let mut side = Handshake::new(
        Pattern::IkPsk2,
        Role::Initiator,
        b"",
        &local,
        None,
        &[0; 32],
    );
    assert_eq!(
        side.write_message([2; 32], b"", &mut Vec::new()),
        Err(NoiseError::NoRemoteStatic)
    );
}
