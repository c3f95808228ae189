//! The table of TCP links: one slot per connection, at most one link that is up per peer.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use core::time::Duration;

use crate::entropy::Entropy;
use crate::forward::throttle::TokenBucket;
use crate::ids::{ConnId, PeerId};
use crate::limits::{
    ANTI_ENTROPY, DEAD_AFTER, FAILED_INBOUND_AGE, FORGERY_BURST, FORGERY_RATE, HEARTBEAT,
    MAX_FAILED_INBOUND, MAX_HALF_OPEN, MAX_HALF_OPEN_PER_SOURCE, MAX_LINK_SEND_QUEUE, MAX_LINKS,
};
use crate::link::Link;
use crate::source::Source;
use crate::time::Instant;
use crate::topology::topic::RecordKey;
use crate::wire::message::LinkMessage;

/// One TCP connection and what hangs on it.
#[derive(Debug)]
pub struct Slot {
    /// The protocol machine of the connection.
    pub link: Link,
    /// The other end's TCP address.
    pub address: SocketAddr,
    /// Whether we dialled.
    pub outbound: bool,
    /// Who is at the other end, once authenticated.
    pub peer: Option<PeerId>,
    /// Whether both sides admitted the link.
    pub up: bool,
    /// Smoothed round-trip time of the TCP link.
    pub rtt: Option<Duration>,
    /// What was newly said and this neighbour has not got from us yet: a set, never a queue of history.
    pub dirty: BTreeSet<RecordKey>,
    opened: Instant,
    up_since: Option<Instant>,
    last_heard: Instant,
    next_ping: Instant,
    ping: Option<(u64, Instant)>,
    next_digest: Instant,
    unwritten: usize,
    forgeries: TokenBucket,
}

/// An inbound connection that failed, kept for a while so that `status connections` on this side can say why.
#[derive(Clone, Debug)]
pub struct FailedInbound {
    /// The other end's TCP address.
    pub address: SocketAddr,
    /// Why it failed.
    pub error: String,
    /// When.
    pub at: Instant,
}

/// All links of a router.
#[derive(Debug, Default)]
pub struct Links {
    slots: BTreeMap<ConnId, Slot>,
    by_peer: BTreeMap<PeerId, ConnId>,
    failed_inbound: VecDeque<FailedInbound>,
}

/// What one link needs at a tick.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// A heartbeat with this nonce.
    Ping(u64),
    /// A comparison of digests.
    Digest,
    /// Nothing was heard for too long.
    Silent,
}

impl Slot {
    /// A slot for a connection that was just opened.
    pub fn new(link: Link, address: SocketAddr, outbound: bool, now: Instant) -> Self {
        Self {
            link,
            address,
            outbound,
            peer: None,
            up: false,
            rtt: None,
            dirty: BTreeSet::new(),
            opened: now,
            up_since: None,
            last_heard: now,
            next_ping: now,
            ping: None,
            next_digest: now + ANTI_ENTROPY,
            unwritten: 0,
            forgeries: TokenBucket::new(FORGERY_RATE, FORGERY_BURST),
        }
    }

    /// Something arrived.
    pub fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// How long nothing arrived.
    pub fn silence(&self, now: Instant) -> Duration {
        now.since(self.last_heard)
    }

    /// When the connection was opened.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// When both sides had admitted the link.
    pub fn up_since(&self) -> Option<Instant> {
        self.up_since
    }

    /// Bytes were handed to the shell.
    pub fn queued(&mut self, bytes: usize) {
        self.unwritten += bytes;
    }

    /// The shell wrote bytes to the socket.
    pub fn written(&mut self, bytes: usize) {
        self.unwritten = self.unwritten.saturating_sub(bytes);
    }

    /// Bytes that may still be queued for this neighbour.
    pub fn room(&self) -> usize {
        MAX_LINK_SEND_QUEUE.saturating_sub(self.unwritten + self.link.pending_bytes())
    }

    /// Whether records of this neighbour are worth verifying: it did not bring too many forged ones lately.
    pub fn is_credible(&self, now: Instant) -> bool {
        self.forgeries.clone().take(now)
    }

    /// A record that this neighbour brought was forged.
    pub fn forged(&mut self, now: Instant) {
        self.forgeries.take(now);
    }

    /// A pong arrived.
    pub fn ponged(&mut self, nonce: u64, now: Instant) {
        if let Some((expected, sent)) = self.ping
            && expected == nonce
        {
            self.ping = None;
            let sample = now.since(sent);
            self.rtt = Some(self.rtt.map_or(sample, |old| (old * 7 + sample) / 8));
        }
    }

    /// What is due on a link that is up; each answer moves its timer on.
    pub fn due(&mut self, now: Instant, entropy: &mut dyn Entropy) -> Vec<Due> {
        if !self.up {
            return Vec::new();
        }
        if self.silence(now) >= DEAD_AFTER {
            return vec![Due::Silent];
        }
        let mut due = Vec::new();
        if self.next_ping <= now {
            self.next_ping = now + entropy.jitter(HEARTBEAT, 10);
            let nonce = entropy.u64();
            self.ping.get_or_insert((nonce, now));
            due.push(Due::Ping(self.ping.map_or(nonce, |(n, _)| n)));
        }
        if self.next_digest <= now {
            self.next_digest = now + entropy.jitter(ANTI_ENTROPY, 20);
            due.push(Due::Digest);
        }
        due
    }

    /// When [`Slot::due`] has something to say again.
    pub fn next_due(&self) -> Option<Instant> {
        self.up.then(|| {
            self.next_ping
                .min(self.next_digest)
                .min(self.last_heard + DEAD_AFTER)
        })
    }

    /// Seals a message into the link; without [`Slot::room`] it is lost: the neighbour asks and does not read. All
    /// messages but records are repeated in time, and records wait in `dirty`.
    pub fn send(&mut self, message: &LinkMessage) {
        if self.room() > 0 {
            self.link.send(message);
        }
    }
}

impl Links {
    /// Whether one more connection may be opened.
    pub fn has_room(&self) -> bool {
        self.slots.len() < MAX_LINKS
    }

    /// Adds a connection; returns one that must be closed for it: the oldest half-open one of a source that has more
    /// than [`MAX_HALF_OPEN_PER_SOURCE`], or, beyond [`MAX_HALF_OPEN`] in all, of the source that has most.
    pub fn insert(&mut self, conn: ConnId, slot: Slot) -> Option<ConnId> {
        self.slots.insert(conn, slot);
        let mut half_open = BTreeMap::<Source, Vec<(Instant, ConnId)>>::new();
        for (conn, slot) in &self.slots {
            if slot.peer.is_none() && !slot.outbound {
                let source = Source::of(slot.address);
                half_open
                    .entry(source)
                    .or_default()
                    .push((slot.opened, *conn));
            }
        }
        let total: usize = half_open.values().map(Vec::len).sum();
        // Of several such sources the one whose connections are the oldest.
        let crowd = half_open
            .into_values()
            .max_by_key(|c| (c.len(), Reverse(c.iter().min().copied())))?;
        let too_many = total > MAX_HALF_OPEN || crowd.len() > MAX_HALF_OPEN_PER_SOURCE;
        crowd
            .into_iter()
            .min()
            .filter(|_| too_many)
            .map(|(_, conn)| conn)
    }

    /// The slot of a connection.
    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut Slot> {
        self.slots.get_mut(&conn)
    }

    /// The slot of a connection.
    pub fn get(&self, conn: ConnId) -> Option<&Slot> {
        self.slots.get(&conn)
    }

    /// All connections, in the order they were opened.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &Slot)> {
        self.slots.iter().map(|(conn, slot)| (*conn, slot))
    }

    /// All connections, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut Slot)> {
        self.slots.iter_mut().map(|(conn, slot)| (*conn, slot))
    }

    /// The connection that carries the link to `peer`.
    pub fn of_peer(&self, peer: &PeerId) -> Option<ConnId> {
        self.by_peer.get(peer).copied()
    }

    /// The peers with a link that is up.
    pub fn neighbours(&self) -> impl Iterator<Item = (&PeerId, &Slot)> {
        self.by_peer
            .iter()
            .filter_map(|(peer, conn)| Some((peer, self.slots.get(conn)?)))
    }

    /// `conn` is up and is now the link to `peer`.
    pub fn set_up(&mut self, conn: ConnId, peer: PeerId, now: Instant) {
        if let Some(slot) = self.slots.get_mut(&conn) {
            slot.up = true;
            slot.up_since = Some(now);
            slot.heard(now);
            self.by_peer.insert(peer, conn);
        }
    }

    /// Removes a connection; the peer too if this was the link to it.
    pub fn remove(&mut self, conn: ConnId) -> Option<(Slot, Option<PeerId>)> {
        let slot = self.slots.remove(&conn)?;
        let lost = slot
            .peer
            .filter(|peer| self.by_peer.get(peer) == Some(&conn));
        if let Some(peer) = &lost {
            self.by_peer.remove(peer);
        }
        Some((slot, lost))
    }

    /// Remembers why an inbound connection failed; beyond [`MAX_FAILED_INBOUND`] the oldest is forgotten.
    pub fn remember_failed(&mut self, address: SocketAddr, error: String, now: Instant) {
        self.failed_inbound
            .retain(|f| f.address.ip() != address.ip());
        if self.failed_inbound.len() >= MAX_FAILED_INBOUND {
            self.failed_inbound.pop_front();
        }
        self.failed_inbound.push_back(FailedInbound {
            address,
            error,
            at: now,
        });
    }

    /// An inbound connection from this host worked: its old failures are history.
    pub fn forget_failed(&mut self, address: SocketAddr) {
        self.failed_inbound
            .retain(|f| f.address.ip() != address.ip());
    }

    /// Inbound connections that failed lately.
    pub fn failed_inbound(&self, now: Instant) -> impl Iterator<Item = &FailedInbound> {
        self.failed_inbound
            .iter()
            .filter(move |f| now.since(f.at) < FAILED_INBOUND_AGE)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::crypto::identity::Identity;
    use crate::crypto::secret::MeshSecret;
    use crate::entropy::SeededEntropy;
    use crate::link::{LinkConfig, LinkRole};

    fn slot() -> Slot {
        slot_from(([10, 0, 0, 1], 1).into(), true, Instant::ZERO)
    }

    fn slot_from(address: SocketAddr, outbound: bool, now: Instant) -> Slot {
        let identity = Arc::new(Identity::from_seeds([1; 32], [2; 32]));
        let record = crate::topology::testing::record(&identity, 1, 1, "host");
        let secret = Arc::new(MeshSecret::open());
        let config = LinkConfig {
            identity,
            secret,
            record,
            features: 0,
        };
        let entropy = &mut SeededEntropy::new(1);
        let link = Link::new(LinkRole::Dialler, &config, Instant::ZERO, entropy);
        Slot::new(link, address, outbound, now)
    }

    /// Opens inbound links from these addresses, one a second; which ones had to go for them.
    fn crowd(addresses: &[&str]) -> Vec<(usize, u64)> {
        let mut links = Links::default();
        let mut gone = Vec::new();
        for (n, address) in addresses.iter().enumerate() {
            let now = Instant::ZERO + Duration::from_secs(n as u64);
            let slot = slot_from(address.parse().unwrap(), false, now);
            if let Some(conn) = links.insert(ConnId(n as u64), slot) {
                links.remove(conn);
                gone.push((n, conn.0));
            }
        }
        gone
    }

    #[test]
    fn a_source_with_too_many_half_open_links_loses_its_oldest() {
        let v4 = [
            "192.0.2.9:1",
            "192.0.2.1:1",
            "192.0.2.1:2",
            "192.0.2.1:3",
            "192.0.2.1:4",
            "192.0.2.1:5",
        ];
        assert_eq!(crowd(&v4), [(5, 1)]);
        let v6 = [
            "[2001:db8::1]:1",
            "[2001:db8::2]:1",
            "[2001:db8::3]:1",
            "[2001:db8::4]:1",
            "[2001:db8::5]:1",
        ];
        assert_eq!(crowd(&v6), [(4, 0)]);
        assert!(
            crowd(&[
                "[2001:db8::1]:1",
                "[2001:db8:0:1::1]:1",
                "[2001:db8:0:2::1]:1"
            ])
            .is_empty()
        );
    }

    #[test]
    fn when_all_is_full_the_most_crowded_source_makes_room() {
        let mut from: Vec<String> = (0..MAX_HALF_OPEN - 2)
            .map(|n| format!("10.0.0.{n}:1"))
            .collect();
        // Neither the first nor the last: the one with two.
        from.insert(5, "192.0.2.1:1".into());
        from.insert(9, "192.0.2.1:2".into());
        from.push("192.0.2.2:1".into());
        let from: Vec<&str> = from.iter().map(String::as_str).collect();
        assert_eq!(crowd(&from), [(MAX_HALF_OPEN, 5)]);
    }

    #[test]
    fn whatever_is_due_moves_its_timer_on() {
        let entropy = &mut SeededEntropy::new(1);
        let mut slot = slot();
        slot.up = true;
        for _ in 0..20 {
            let at = slot.next_due().unwrap();
            let due = slot.due(at, entropy);
            assert!(!due.is_empty(), "woken at {at:?} for nothing");
            if due == [Due::Silent] {
                assert_eq!(at, Instant::ZERO + DEAD_AFTER);
                return;
            }
            assert!(slot.next_due().unwrap() > at);
        }
        panic!("silence went unnoticed");
    }
}
