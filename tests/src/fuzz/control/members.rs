//! Malicious members of the mesh: their cryptography is valid, their messages are determined by the input.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_proto::crypto::aead::Suites;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::entropy::{Entropy, SeededEntropy};
use mesh_proto::ids::{ConnId, PeerId, Version};
use mesh_proto::limits::MAX_TOPICS;
use mesh_proto::link::{Link, LinkConfig, LinkEvent, LinkRole};
use mesh_proto::session::{Directory, SessionOutput, Sessions, Via};
use mesh_proto::time::Instant;
use mesh_proto::topology::bodies::encode_links;
use mesh_proto::topology::record::SignedRecord;
use mesh_proto::wire::datagram::{Header, Kind};
use mesh_proto::wire::digest_tree::{CHILDREN, DigestNode, MAX_DEPTH};
use mesh_proto::wire::message::{DigestEntry, Hashes, LinkMessage, Summary};
use mesh_proto::wire::topic::{RecordKey, Topic};

use super::super::fixture;
use super::super::input::Input;
use mesh_proto::control::probe::Probe;

/// One malicious member.
pub(super) struct Member {
    pub(super) n: u8,
    pub(super) identity: Arc<Identity>,
    config: LinkConfig,
    links: BTreeMap<ConnId, Link>,
    sessions: Sessions,
}

/// Identity of the router under test, as members know it.
pub(super) struct Victim {
    pub(super) id: PeerId,
    pub(super) dh_key: [u8; 32],
}

impl Directory for Victim {
    fn names(&self, peer: &PeerId, dh_key: &[u8; 32]) -> bool {
        *peer == self.id && *dh_key == self.dh_key
    }
}

impl Member {
    pub(super) fn new(n: u8, secret: &Arc<MeshSecret>) -> Self {
        let identity = Arc::new(fixture::identity(n));
        let record = fixture::introduction(&identity, Version { epoch: 1, seq: 1 });
        let config = LinkConfig {
            identity: identity.clone(),
            secret: secret.clone(),
            record,
            features: 0,
        };
        Self {
            n,
            sessions: Sessions::new(identity.clone(), 1, secret.session_psk(), Suites::CHACHA),
            identity,
            config,
            links: BTreeMap::new(),
        }
    }

    /// Opens the member's end of a TCP connection. Returns its first bytes.
    pub(super) fn open(
        &mut self,
        conn: ConnId,
        role: LinkRole,
        now: Instant,
        entropy: &mut SeededEntropy,
    ) -> Vec<u8> {
        let mut link = Link::new(role, &self.config, now, entropy);
        let hello = link.poll_transmit().unwrap_or_default();
        self.links.insert(conn, link);
        hello
    }

    pub(super) fn closed(&mut self, conn: ConnId) {
        self.links.remove(&conn);
    }

    /// Handles bytes from the router under test. Returns the answer.
    pub(super) fn hear(
        &mut self,
        conn: ConnId,
        bytes: &[u8],
        now: Instant,
        entropy: &mut SeededEntropy,
    ) -> Vec<u8> {
        let Some(link) = self.links.get_mut(&conn) else {
            return Vec::new();
        };
        link.handle_bytes(bytes, now, entropy);
        while let Some(event) = link.poll_event() {
            match event {
                LinkEvent::Authenticated { .. } => link.accept(),
                LinkEvent::Message(LinkMessage::Ping { nonce }) => {
                    link.send(&LinkMessage::Pong { nonce });
                }
                LinkEvent::Up | LinkEvent::Message(_) | LinkEvent::Closed(_) => {}
            }
        }
        link.poll_transmit().unwrap_or_default()
    }

    /// Seals a message, or arbitrary bytes.
    pub(super) fn say(&mut self, conn: ConnId, message: &[u8]) -> Vec<u8> {
        let Some(link) = self.links.get_mut(&conn) else {
            return Vec::new();
        };
        link.send_encoded(message);
        link.poll_transmit().unwrap_or_default()
    }

    /// Starts a session with the router under test. Returns the datagrams to send.
    pub(super) fn begin_session(
        &mut self,
        victim: &Victim,
        now: Instant,
        entropy: &mut SeededEntropy,
    ) -> Vec<Vec<u8>> {
        self.sessions.renew(victim.id, victim.dh_key, now, entropy);
        self.launched()
    }

    /// Handles a datagram from the router under test. Returns the answers.
    pub(super) fn datagram(
        &mut self,
        bytes: &[u8],
        victim: &Victim,
        now: Instant,
        entropy: &mut SeededEntropy,
    ) -> Vec<Vec<u8>> {
        let Ok(header) = Header::parse(bytes) else {
            return Vec::new();
        };
        if header.kind.is_handshake() {
            let via = Via::Direct(fixture::address(0));
            // Errors are ignored: the member is not under test.
            let _ = self
                .sessions
                .handle_datagram(bytes, via, victim, now, entropy);
            return self.launched();
        }
        let transport = self
            .sessions
            .receiving()
            .find(|(index, _)| *index == header.receiver)
            .map(|(_, transport)| transport.clone());
        let mut bytes = bytes.to_vec();
        let Some(opened) = transport.and_then(|t| {
            let opened = t.open(&mut bytes, 0, now).ok()?;
            Some((opened.first, Probe::decode(opened.body)))
        }) else {
            return Vec::new();
        };
        if opened.0 {
            self.sessions.confirmed(header.receiver, now);
        }
        let mut answers = self.launched();
        if let Some(Probe::Request { nonce, .. }) = opened.1 {
            let observed = fixture::address(0);
            let reply = Probe::Reply {
                nonce,
                challenge: nonce,
                observed,
            };
            answers.extend(self.sealed(victim, Kind::Probe, &reply.encode(), now));
        }
        if let Some(Probe::SizeRequest { nonce, size }) = opened.1 {
            let reply = Probe::SizeReply { nonce, size };
            answers.extend(self.sealed(victim, Kind::Probe, &reply.encode(), now));
        }
        answers
    }

    /// Returns a datagram of any kind and content, sealed with the session's keys.
    pub(super) fn sealed(
        &self,
        victim: &Victim,
        kind: Kind,
        body: &[u8],
        now: Instant,
    ) -> Option<Vec<u8>> {
        let transport = self.sessions.current(victim.id)?;
        let mut out = Vec::new();
        transport.seal(kind, 3, &[], body, now, &mut out).ok()?;
        Some(out)
    }

    fn launched(&mut self) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        while let Some(output) = self.sessions.poll_output() {
            match output {
                SessionOutput::Send { bytes, .. } | SessionOutput::Challenge { bytes, .. } => {
                    datagrams.push(bytes);
                }
                SessionOutput::Changed(_) => {}
            }
        }
        datagrams
    }
}

/// Number of message kinds to choose from.
const KINDS: usize = 14;

/// True if the next message needs many signatures.
pub(super) fn is_dear(input: &Input<'_>) -> bool {
    input.clone().below(KINDS) == 4
}

/// Returns a message of any kind, with content from the input.
pub(super) fn message(
    input: &mut Input<'_>,
    member: &Member,
    victim: &Identity,
    entropy: &mut SeededEntropy,
) -> Vec<u8> {
    let message = match input.below(KINDS) {
        0 => LinkMessage::Ping { nonce: input.u64() },
        1 => LinkMessage::Pong { nonce: input.u64() },
        2 => LinkMessage::Records(vec![record(input, &member.identity, victim)]),
        3 => LinkMessage::Records(vec![input.long_chunk().to_vec(), Vec::new()]),
        4 => LinkMessage::Records(strangers(input, &member.identity, entropy)),
        5 => LinkMessage::Digest([input.byte(); 16]),
        6 => LinkMessage::Summary(summary(input, entropy)),
        7 => {
            let count = usize::from(input.u16()) % 4097;
            LinkMessage::Request((0..count).map(|_| anything(entropy)).collect())
        }
        8 => LinkMessage::Observed(([10, input.byte(), 0, 1], input.u16()).into()),
        9 => LinkMessage::Bye {
            reason: String::from_utf8_lossy(input.chunk()).into_owned(),
        },
        // A duplicate identity: a record signed with the key of the router under test.
        10 => LinkMessage::Records(vec![record(input, victim, victim)]),
        11 => LinkMessage::Hashes(Hashes {
            node: DigestNode::new(input.byte() % (MAX_DEPTH + 1), 0).unwrap_or(DigestNode::ROOT),
            sums: [input.u64().to_be_bytes(); CHILDREN],
        }),
        12 => LinkMessage::KeepLink(input.flag()),
        _ => return input.long_chunk().to_vec(),
    };
    message.encode().unwrap_or_default()
}

fn anybody(entropy: &mut SeededEntropy) -> PeerId {
    let mut id = [0; 16];
    entropy.fill(&mut id);
    PeerId(id)
}

fn anything(entropy: &mut SeededEntropy) -> RecordKey {
    let peer = anybody(entropy);
    RecordKey::new(
        peer,
        Topic::new(1 + (peer.0[0] & 7)).unwrap_or(Topic::LINKS),
    )
}

fn record(input: &mut Input<'_>, identity: &Identity, victim: &Identity) -> Vec<u8> {
    let number = |input: &mut Input<'_>| match input.byte() {
        0xff => u64::MAX,
        n => u64::from(n),
    };
    let version = Version {
        epoch: number(input),
        seq: number(input),
    };
    let topic = Topic::new(1 + input.byte() % MAX_TOPICS).unwrap_or(Topic::IDENTITY);
    let body = match topic {
        Topic::IDENTITY => {
            let mut body = fixture::body_of(identity);
            body.endpoints = (0..input.below(16))
                .map(|_| ([10, 0, input.byte(), 1], 6783).into())
                .collect();
            body.nickname = String::from_utf8_lossy(input.chunk()).into_owned();
            body.encode()
        }
        Topic::LINKS => links(input, victim),
        _ => input.chunk().to_vec(),
    };
    SignedRecord::sign(topic, version, &body, identity)
        .map_or_else(|_| Vec::new(), |r| r.bytes().to_vec())
}

fn links(input: &mut Input<'_>, victim: &Identity) -> Vec<u8> {
    let bits = input.byte();
    let mut links = Vec::new();
    if bits & 1 == 1 {
        links.push(fixture::neighbour(victim.id()));
    }
    for n in 1..6u8 {
        if bits & (1 << n) != 0 {
            links.push(fixture::neighbour(fixture::identity(n).id()));
        }
    }
    encode_links(&links)
}

/// Returns records of routers that do not exist, all neighbours of the member.
fn strangers(
    input: &mut Input<'_>,
    member: &Identity,
    entropy: &mut SeededEntropy,
) -> Vec<Vec<u8>> {
    let same_name = input.flag();
    (0..input.below(16))
        .flat_map(|_| {
            let stranger = Identity::from_seeds(entropy.key(), entropy.key());
            let mut body = fixture::body_of(&stranger);
            if same_name {
                body.name = member.id().derived_name();
            }
            let links = encode_links(&[fixture::neighbour(member.id())]);
            let version = Version { epoch: 1, seq: 1 };
            [(Topic::IDENTITY, body.encode()), (Topic::LINKS, links)]
                .into_iter()
                .filter_map(|(topic, body)| {
                    SignedRecord::sign(topic, version, &body, &stranger).ok()
                })
                .map(|record| record.bytes().to_vec())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn summary(input: &mut Input<'_>, entropy: &mut SeededEntropy) -> Summary {
    let entry = |key: RecordKey| DigestEntry {
        key,
        reachable: true,
        version: Version { epoch: 1, seq: 9 },
        fingerprint: [1; 4],
    };
    Summary {
        first: PeerId([input.byte(); 16]),
        last: PeerId([input.byte(); 16]),
        entries: (0..usize::from(input.u16()) % 4097)
            .map(|_| entry(anything(entropy)))
            .collect(),
    }
}
