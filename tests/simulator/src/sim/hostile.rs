//! A malicious member of the mesh: it knows the secret, keeps its link alive, and sends arbitrary messages.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_proto::control::targets::parse_target;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::ids::{ConnId, PeerId, Version};
use mesh_proto::limits::{DEFAULT_PORT, MAX_TOPICS};
use mesh_proto::link::{Link, LinkConfig, LinkEvent, LinkRole};
use mesh_proto::time::Instant;
use mesh_proto::topology::bodies::{IdentityBody, Neighbour, encode_links};
use mesh_proto::topology::record::SignedRecord;
use mesh_proto::wire::digest_tree::{CHILDREN, DigestNode};
use mesh_proto::wire::message::{DigestEntry, Hashes, LinkMessage, Summary};
use mesh_proto::wire::topic::{RecordKey, Topic};

use super::effect::Effect;
use super::process::Process;
use super::rng::Rng;
use super::sybils::Sybils;

/// Interval of messages.
const PACE: Duration = Duration::from_millis(150);
/// Valid records per flood message.
const FLOOD: usize = 300;
/// Records of other routers that it keeps for forging.
const LOOT: usize = 32;

/// Kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// Modified records of other routers.
    Forge,
    /// Ten thousand valid records of its own per second.
    Flood,
}

/// Interval of messages in a flood.
const FLOOD_PACE: Duration = Duration::from_millis(30);

/// State of the process.
pub(crate) struct Hostile {
    identity: Arc<Identity>,
    secret: Arc<MeshSecret>,
    rng: Rng,
    links: BTreeMap<ConnId, (Link, bool)>,
    next_conn: u64,
    next: Instant,
    seq: u64,
    loot: Vec<Vec<u8>>,
    sybils: Sybils,
    effects: Vec<Effect>,
    /// The only attack; `None` for all kinds.
    only: Option<Harm>,
}

impl Hostile {
    pub(crate) fn new(
        identity: Arc<Identity>,
        secret: Arc<MeshSecret>,
        targets: &[String],
        rng: Rng,
    ) -> Self {
        let mut hostile = Self {
            identity,
            secret,
            rng,
            links: BTreeMap::new(),
            next_conn: 1,
            next: Instant::ZERO,
            seq: 0,
            loot: Vec::new(),
            sybils: Sybils::default(),
            effects: Vec::new(),
            only: None,
        };
        for target in targets {
            if let Ok(to) = parse_target(target, DEFAULT_PORT) {
                hostile.next_conn += 1;
                let conn = ConnId(hostile.next_conn);
                hostile.effects.push(Effect::Dial { conn, to });
            }
        }
        hostile
    }

    /// Limits the process to this attack.
    pub(crate) fn only(mut self, harm: Harm) -> Self {
        self.only = Some(harm);
        self
    }

    fn open(&mut self, conn: ConnId, role: LinkRole, now: Instant) {
        let name = self.identity.id().derived_name();
        let who = IdentityBody::new(&self.identity, name, "mallory".to_owned());
        let Some(record) = self.own_record(Topic::IDENTITY, &who.encode()) else {
            return;
        };
        let config = LinkConfig {
            identity: self.identity.clone(),
            secret: self.secret.clone(),
            record,
            features: 0,
        };
        let link = Link::new(role, &config, now, &mut self.rng.entropy());
        self.links.insert(conn, (link, false));
        self.pump(conn);
    }

    /// Returns a signed record of its own with an arbitrary body.
    fn own_record(&mut self, topic: Topic, body: &[u8]) -> Option<SignedRecord> {
        self.seq += 1;
        let version = Version {
            epoch: 1,
            seq: self.seq,
        };
        SignedRecord::sign(topic, version, body, &self.identity).ok()
    }

    fn pump(&mut self, conn: ConnId) {
        let Some((link, up)) = self.links.get_mut(&conn) else {
            return;
        };
        let mut ended = false;
        while let Some(event) = link.poll_event() {
            match event {
                LinkEvent::Authenticated { .. } => link.accept(),
                LinkEvent::Up => *up = true,
                LinkEvent::Message(LinkMessage::Ping { nonce }) => {
                    link.send(&LinkMessage::Pong { nonce });
                }
                LinkEvent::Message(LinkMessage::Records(records)) => {
                    self.loot.extend(records);
                    self.loot.truncate(LOOT);
                }
                LinkEvent::Message(_) => {}
                LinkEvent::Closed(error) => {
                    let text = format!("hostile link ended: {error}");
                    self.effects.push(Effect::Note(text));
                    ended = true;
                }
            }
        }
        while let Some(bytes) = link.poll_transmit() {
            self.effects.push(Effect::Send { conn, bytes });
        }
        if ended {
            self.links.remove(&conn);
            self.effects.push(Effect::Close { conn });
        }
    }

    /// True if a link is up: none of its messages may have cost it the link.
    pub(crate) fn is_linked(&self) -> bool {
        self.links.values().any(|(_, up)| *up)
    }

    fn harm(&mut self) -> Result<LinkMessage, Vec<u8>> {
        let anybody = PeerId([0xaa; 16]);
        let kind = match self.only {
            Some(Harm::Forge) => 1,
            Some(Harm::Flood) => 9,
            None => self.rng.below(16),
        };
        Ok(match kind {
            0 => LinkMessage::Records(vec![self.rng.bytes(0, 400), self.rng.bytes(0, 4)]),
            1 => LinkMessage::Records(self.forged()),
            2 => LinkMessage::Records(self.lies().into_iter().collect()),
            3 => LinkMessage::Digest(self.peer().0),
            4 => LinkMessage::Request(vec![RecordKey::new(self.peer(), Topic::LINKS); 20]),
            5 => LinkMessage::Summary(self.summary()),
            6 => LinkMessage::Pong {
                nonce: self.rng.number(),
            },
            7 => LinkMessage::Observed(SocketAddr::from(([203, 0, 113, 7], 1))),
            8 => LinkMessage::Request(vec![RecordKey::new(anybody, Topic::IDENTITY); 100]),
            9 => LinkMessage::Records(self.flood()),
            10 => LinkMessage::Hashes(self.hashes()),
            12 => LinkMessage::KeepLink(self.rng.chance(500)),
            11 => LinkMessage::Records(self.prattle().into_iter().collect()),
            13 => LinkMessage::Records(self.sybils.records(self.identity.id(), &mut self.rng)),
            14 => LinkMessage::Records(self.reach_of_sybils().into_iter().collect()),
            _ => return Err(self.raw()),
        })
    }

    fn peer(&mut self) -> PeerId {
        PeerId(
            self.rng
                .number()
                .to_be_bytes()
                .repeat(2)
                .try_into()
                .unwrap_or([0; 16]),
        )
    }

    /// Returns bytes that no encoder produces: an unknown tag, a truncated or damaged body, a message that is too long.
    fn raw(&mut self) -> Vec<u8> {
        match self.rng.below(4) {
            0 => {
                let mut bytes = vec![200];
                bytes.extend(self.rng.bytes(0, 100));
                bytes
            }
            1 => vec![3; mesh_proto::limits::MAX_LINK_MESSAGE],
            2 => self.rng.bytes(0, 60),
            _ => {
                let summary = LinkMessage::Summary(self.summary());
                let mut bytes = summary.encode().unwrap_or_default();
                self.rng.mutate(&mut bytes);
                bytes
            }
        }
    }

    /// Returns modified records of other routers.
    fn forged(&mut self) -> Vec<Vec<u8>> {
        let mut records = self.loot.clone();
        for record in &mut records {
            self.rng.mutate(record);
        }
        records
    }

    /// Returns a signed record of its own, with invented neighbours.
    fn lies(&mut self) -> Option<Vec<u8>> {
        let neighbours = (0..5).map(|_| Neighbour {
            peer: self.peer().prefix(),
            outbound: true,
            established: true,
            cost: 1,
            address: None,
        });
        let neighbours: Vec<Neighbour> = neighbours.collect();
        let record = self.own_record(Topic::LINKS, &encode_links(&neighbours))?;
        Some(record.bytes().to_vec())
    }

    /// Returns a links record of its own, with links to its sybils.
    fn reach_of_sybils(&mut self) -> Option<Vec<u8>> {
        let links = encode_links(&self.sybils.links());
        let record = self.own_record(Topic::LINKS, &links)?;
        Some(record.bytes().to_vec())
    }

    /// Returns a record with random content, for a topic that may not exist.
    fn prattle(&mut self) -> Option<Vec<u8>> {
        let topic = Topic::new(1 + u8::try_from(self.rng.below(MAX_TOPICS.into())).ok()?)?;
        let body = self.rng.bytes(0, 200);
        Some(self.own_record(topic, &body)?.bytes().to_vec())
    }

    fn hashes(&mut self) -> Hashes {
        let depth = u8::try_from(self.rng.below(4)).unwrap_or(0);
        Hashes {
            node: DigestNode::new(depth, 0).unwrap_or(DigestNode::ROOT),
            sums: [self.rng.number().to_be_bytes(); CHILDREN],
        }
    }

    /// Returns many records of its own, each valid and newer than the previous one.
    fn flood(&mut self) -> Vec<Vec<u8>> {
        (0..FLOOD).filter_map(|_| self.lies()).collect()
    }

    fn summary(&mut self) -> Summary {
        let entries = (0..8).map(|_| DigestEntry {
            key: RecordKey::new(self.peer(), Topic::IDENTITY),
            reachable: true,
            version: Version {
                epoch: self.rng.number(),
                seq: self.rng.number(),
            },
            fingerprint: [0; 4],
        });
        let mut entries: Vec<DigestEntry> = entries.collect();
        entries.sort_by_key(|e| e.key);
        Summary {
            first: PeerId([0; 16]),
            last: PeerId([0xff; 16]),
            entries,
        }
    }
}

impl Process for Hostile {
    fn accepted(&mut self, _from: SocketAddr, now: Instant) -> Option<ConnId> {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.open(conn, LinkRole::Acceptor, now);
        Some(conn)
    }

    fn connected(&mut self, conn: ConnId, _to: SocketAddr, now: Instant) {
        self.open(conn, LinkRole::Dialler, now);
    }

    fn bytes(&mut self, conn: ConnId, bytes: &[u8], now: Instant) {
        if let Some((link, _)) = self.links.get_mut(&conn) {
            link.handle_bytes(bytes, now, &mut self.rng.entropy());
            self.pump(conn);
        }
    }

    fn written(&mut self, _conn: ConnId, _bytes: usize, _now: Instant) {}

    fn closed(&mut self, conn: ConnId, _error: &str, _now: Instant) {
        self.links.remove(&conn);
    }

    fn datagram(&mut self, _from: SocketAddr, _bytes: Vec<u8>, _now: Instant) {}

    fn timeout(&mut self, now: Instant) {
        self.next = now
            + match self.only {
                Some(Harm::Flood) => FLOOD_PACE,
                _ => PACE,
            };
        let conns: Vec<ConnId> = self.links.keys().copied().collect();
        for conn in conns {
            let harm = self.harm();
            if let Some((link, true)) = self.links.get_mut(&conn) {
                match harm {
                    Ok(message) => link.send(&message),
                    Err(bytes) => link.send_encoded(&bytes),
                };
                // Silence would end the link; attacks must not.
                link.send(&LinkMessage::Ping { nonce: 1 });
            }
            self.pump(conn);
        }
    }

    fn next_deadline(&self) -> Instant {
        self.next
    }

    fn drain(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}
