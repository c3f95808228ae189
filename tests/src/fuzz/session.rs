//! Session handshakes between two routers on a network that drops, duplicates, modifies and forges datagrams.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mesh_proto::crypto::aead::Suites;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::entropy::SeededEntropy;
use mesh_proto::ids::{PeerId, SessionIndex};
use mesh_proto::limits::{KEPT_ATTEMPTS, MAX_SESSION_OUTPUTS};
use mesh_proto::session::transport::Transport;
use mesh_proto::session::{Directory, INIT_LEN, RESPONSE_LEN, SessionOutput, Sessions, Via};
use mesh_proto::time::Instant;
use mesh_proto::wire::datagram::{Header, Kind};

use super::fixture::{self, START};
use super::input::{Input, Script};

const STEPS: usize = 40;
/// Offset of mac2 in an Init; without a cookie it is not checked.
const MAC2: usize = INIT_LEN - 16;

struct Book([([u8; 32], PeerId); 2]);

impl Directory for Book {
    fn names(&self, peer: &PeerId, dh_key: &[u8; 32]) -> bool {
        self.0.iter().any(|(key, id)| key == dh_key && id == peer)
    }
}

struct HandshakeNetwork {
    identities: [Arc<Identity>; 2],
    sessions: [Sessions; 2],
    /// Datagrams in flight to each side.
    flying: [VecDeque<Vec<u8>>; 2],
    book: Book,
    now: Instant,
    entropy: SeededEntropy,
}

/// Modified messages are rejected, responses are never longer than requests, and keys match where both sides have them.
pub(super) fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let mut net = HandshakeNetwork::new();
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        let choice = input.byte();
        net.step(choice & 0x0f, usize::from(choice >> 7), &mut input);
    }
    net.check_keys();
}

impl HandshakeNetwork {
    fn new() -> Self {
        let identities = [0, 1].map(|n| Arc::new(fixture::identity(n)));
        let sessions = [0, 1]
            .map(|n: usize| Sessions::new(identities[n].clone(), 1, [7; 32], Suites::AES_FIRST));
        let book = Book([0, 1].map(|n: usize| (identities[n].dh_key(), identities[n].id())));
        Self {
            identities,
            sessions,
            flying: Default::default(),
            book,
            now: START,
            entropy: SeededEntropy::new(11),
        }
    }

    fn step(&mut self, operation: u8, side: usize, input: &mut Input<'_>) {
        let peer = self.identities[1 - side].id();
        let dh_key = self.identities[1 - side].dh_key();
        let sessions = &mut self.sessions[side];
        match operation {
            0 | 1 => sessions.want(peer, dh_key, self.now, &mut self.entropy),
            2 => sessions.renew(peer, dh_key, self.now, &mut self.entropy),
            3 => sessions.forget(peer),
            4 => {
                let index = SessionIndex(u32::from(input.byte()));
                sessions.confirmed(index, self.now);
            }
            5 => {
                self.now += Duration::from_millis(u64::from(input.u16()));
                sessions.handle_timeout(self.now, &mut self.entropy);
            }
            6 => drop(self.flying[side].pop_front()),
            7 => self.damaged(side, input.u16(), input.byte()),
            8 => {
                let bytes = input.chunk().to_vec();
                self.hand_over(side, &bytes);
            }
            9 => {
                let again = self.flying[side].front().cloned();
                self.flying[side].extend(again);
            }
            _ => {
                if let Some(bytes) = self.flying[side].pop_front() {
                    self.hand_over(side, &bytes);
                }
            }
        }
        self.collect(side);
    }

    /// Delivers the next datagram modified, and keeps the original in flight.
    fn damaged(&mut self, side: usize, at: u16, mask: u8) {
        let Some(mut bytes) = self.flying[side].front().cloned() else {
            return;
        };
        let at = usize::from(at) % bytes.len();
        bytes[at] ^= mask;
        let covered = match bytes.len() {
            INIT_LEN => at < MAC2,
            RESPONSE_LEN => true,
            _ => false,
        };
        let accepted = self.hand_over(side, &bytes);
        assert!(
            !(accepted && covered && mask != 0),
            "byte {at} is not covered"
        );
    }

    /// Delivers a datagram as a lane would. Returns true if it was a handshake message that had an effect.
    fn hand_over(&mut self, side: usize, bytes: &[u8]) -> bool {
        let Ok(header) = Header::parse(bytes) else {
            return self.handshake(side, bytes);
        };
        if header.kind.is_handshake() {
            return self.handshake(side, bytes);
        }
        let transport = self.transport(side, header.receiver);
        let mut bytes = bytes.to_vec();
        let first = transport.is_some_and(|t| {
            t.open(&mut bytes, 0, self.now)
                .is_ok_and(|opened| opened.first)
        });
        if first {
            self.sessions[side].confirmed(header.receiver, self.now);
        }
        false
    }

    fn handshake(&mut self, side: usize, bytes: &[u8]) -> bool {
        self.collect(side);
        let via = Via::Direct(fixture::address(u8::from(side == 0)));
        let taken = self.sessions[side].handle_datagram(
            bytes,
            via,
            &self.book,
            self.now,
            &mut self.entropy,
        );
        let answers = self.collect(side);
        if taken.is_err() {
            assert!(
                answers
                    .iter()
                    .all(|answer| *answer <= bytes.len().max(INIT_LEN))
            );
        }
        taken.is_ok()
    }

    fn transport(&self, side: usize, index: SessionIndex) -> Option<Arc<Transport>> {
        let mut all = self.sessions[side].receiving();
        all.find(|(i, _)| *i == index).map(|(_, t)| t.clone())
    }

    /// Puts the datagrams of a side in flight. Returns their lengths.
    fn collect(&mut self, side: usize) -> Vec<usize> {
        let mut lengths = Vec::new();
        while let Some(output) = self.sessions[side].poll_output() {
            let bytes = match output {
                SessionOutput::Send { peer, bytes, .. } => {
                    assert_eq!(peer, self.identities[1 - side].id());
                    bytes
                }
                SessionOutput::Challenge { bytes, .. } => bytes,
                SessionOutput::Changed(_) => continue,
            };
            assert!(Header::parse(&bytes).is_ok());
            lengths.push(bytes.len());
            self.flying[1 - side].push_back(bytes);
        }
        assert!(lengths.len() <= MAX_SESSION_OUTPUTS);
        assert!(self.sessions[side].statuses().count() <= 1);
        assert!(self.sessions[side].receiving().count() <= 2 + KEPT_ATTEMPTS);
        lengths
    }

    /// Checks that one side opens what the other seals, unless it has discarded the keys.
    fn check_keys(&mut self) {
        for side in 0..2 {
            let peer = self.identities[1 - side].id();
            let Some(ours) = self.sessions[side].current(peer).cloned() else {
                continue;
            };
            let Some(theirs) = self.transport(1 - side, ours.remote()) else {
                continue;
            };
            if theirs.remote() != ours.local() {
                continue;
            }
            let mut bytes = Vec::new();
            let sealed = ours.seal(Kind::Data, 1, &[], b"frame", self.now, &mut bytes);
            if sealed.is_err() || theirs.is_dead(self.now) {
                continue;
            }
            let opened = theirs.open(&mut bytes, 0, self.now);
            assert_eq!(opened.expect("keys agree").body, b"frame");
        }
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    const OTHER: u8 = 0x80;
    let handshake = [0, OTHER | 10, 10, OTHER | 10, 10];
    let after = |more: &[u8]| [&handshake[..], more].concat();
    let mut raw = vec![0x11, 16, 0, 0, 0, 0, 0, 1];
    raw.resize(INIT_LEN, 0x80);
    vec![
        handshake.to_vec(),
        after(&[OTHER, 10, OTHER | 10, 10, OTHER | 10]),
        // Simultaneous initiation, in both orders.
        vec![0, OTHER, 10, OTHER | 10, 10, OTHER | 10, 10, OTHER | 10],
        vec![OTHER, 0, OTHER | 10, 10, OTHER | 10, 10, OTHER | 10, 10],
        // Lost, duplicated and modified messages.
        vec![0, OTHER | 6, 5, 1, 0, OTHER | 10, 10, OTHER | 10],
        vec![0, OTHER | 9, OTHER | 10, OTHER | 10, 10, 10, OTHER | 10],
        vec![
            0,
            OTHER | 7,
            0,
            1,
            1,
            OTHER | 7,
            0,
            50,
            8,
            OTHER | 10,
            7,
            0,
            20,
            2,
            10,
        ],
        after(&[2, OTHER | 10, 10, OTHER | 10, 10, 3, 0, OTHER | 10, 10]),
        after(&[
            5,
            0xff,
            0xff,
            OTHER | 5,
            0xff,
            0xff,
            0,
            OTHER | 10,
            10,
            OTHER | 10,
        ]),
        Script::new().put(&[8]).chunk(&raw).done(),
        Script::new().put(&[0, 8]).chunk(&raw[..88]).done(),
    ]
}
