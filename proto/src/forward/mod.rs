//! Forwarding decisions of the data plane, without its sockets.
//!
//! # Life of a frame
//!
//! *Egress* ([`Forwarder::egress`]) takes frames of the local port. Underlay traffic between routers of this mesh is
//! dropped ([`Underlay`]). The source is learnt as local, and the destination is looked up once in the MAC table;
//! from then on the frame is addressed to a peer:
//!
//! * behind a peer: sealed end to end in a Data datagram, with the preceding and following frames for the same peer
//!   as far as they fit; sent directly, or encapsulated in a Relay datagram to the next hop;
//! * behind the local port: not sent, the bridge delivers it;
//! * unknown, but announced by a router: sent to that router;
//! * ARP request or neighbour solicitation for an announced address: sent to the announced container only
//!   ([`crate::announced::question`]), as long as it answers;
//! * otherwise a group or an unknown MAC: sealed in a Flood datagram for each neighbour in the tree of this router,
//!   within the rate limits of the port.
//!
//! A super-frame takes one lookup and is segmented to the path MTU. A plain frame longer than the path MTU becomes IP
//! fragments, or its sender gets an ICMP error ([`crate::frame::fit`]). A datagram that is still too long, as all
//! long ones are while the path MTU is not yet known, is sealed in fragments ([`crate::fragment`]).
//!
//! A frame for a peer without a session waits up to [`crate::limits::PENDING_AGE`] while the control plane
//! establishes one.
//!
//! *Ingress* ([`Forwarder::ingress`]) takes datagrams. Each is authenticated before anything in it is used:
//!
//! * Data: its sources are learnt as behind the peer that sealed it; its frames go to the local port and nowhere
//!   else;
//! * Relay for another router: forwarded to the next hop with the hop limit reduced by one, unless it was relayed
//!   before, its hop limit is used up, or the next hop is its sender. Relay for this router: the inner datagram is
//!   processed;
//! * Flood: unless it is a duplicate or originated here, its sources are learnt as behind its origin, its frames go
//!   to the local port, and it is forwarded down the origin's tree with the hop limit reduced by one;
//! * Fragment: once all fragments are there, the reassembled datagram is processed like any other;
//! * Probe and handshake messages become events for the control plane.
//!
//! # Loop prevention
//!
//! Duplicates are recognised by (destination, receiver index, counter) for relayed datagrams, by digest for relayed
//! handshake messages, and by (origin, epoch, sequence) for broadcasts. So a router forwards each at most once,
//! whatever the routes and trees are, and the hop limit ends loops that a forgotten window lets through. Frames from
//! peers are never sent to peers.

mod arrival;
mod batch;
mod collected;
mod counters;
mod duplicates;
mod egress;
mod encap;
mod flood;
mod fragments;
mod groups;
mod ingress;
mod outgoing;
mod pending;
mod relay;
mod snapshot;
mod underlay;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU32, AtomicU64};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use arrival::SendError;
pub use collected::Collected;
pub use counters::{Counter, Counters, DropReason};
pub use groups::{GroupLimits, PortLosses};
pub use outgoing::{Outgoing, Run};
pub use snapshot::{Path, PeerPath, Snapshot, Unreachable};
pub use underlay::Underlay;

use crate::announced::Announcements;
use crate::entropy::Entropy;
use crate::fdb::{Fdb, Learn, Owner};
use crate::fragment::Reassembly;
use crate::ids::{Mac, PeerId, SessionIndex};
use crate::limits::{
    EVENT_INTERVAL, MAX_FLAPS, MAX_THROTTLED_EVENTS, RESOLUTION_BURST, RESOLUTION_RATE,
    TOO_BIG_BURST, TOO_BIG_RATE, UNKNOWN_BURST, UNKNOWN_RATE,
};
use crate::rate::{Throttle, TokenBucket};
use crate::time::Instant;
use crate::wire::datagram::InnerFrame;
pub use crate::wire::via::Via;
use duplicates::{Duplicates, RecentMessages};
use groups::GroupBuckets;
use pending::PendingFrames;

/// Event from the data plane to the control plane. Events are rare, and harmless to lose when their queue is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneEvent {
    /// A handshake message, header included; not authenticated.
    Handshake {
        /// Path by which it arrived.
        via: Via,
        /// Complete datagram.
        bytes: Vec<u8>,
    },
    /// Frames or datagrams wait for a session with this peer.
    NeedSession(PeerId),
    /// A datagram with an unknown session index; not authenticated.
    UnknownIndex {
        /// Path by which it arrived.
        via: Via,
        /// Session index in its header.
        index: SessionIndex,
    },
    /// A payload of the peer's control plane, authenticated and not replayed.
    Probe {
        /// Peer that sealed it.
        peer: PeerId,
        /// Path by which it arrived.
        via: Via,
        /// Receiver index of its session.
        index: SessionIndex,
        /// Decrypted payload.
        body: Vec<u8>,
    },
    /// The newest datagram of a peer came from an address that is not its current path.
    EndpointSeen {
        /// Peer that sealed the datagram.
        peer: PeerId,
        /// Underlay address from which it came.
        address: SocketAddr,
    },
    /// The first datagram of a session was authenticated, which proves that the peer has its keys.
    Confirmed {
        /// Peer that sealed the datagram.
        peer: PeerId,
        /// Receiver index of the session.
        index: SessionIndex,
    },
}

/// Sink for the effects of the data plane: sockets and ports in the lanes, memory in tests and in the simulator.
pub trait Outbox {
    /// Returns the buffer of datagrams to send; new ones are built at its end.
    fn outgoing(&mut self) -> &mut Outgoing;
    /// Delivers a frame to the local port.
    fn inject(&mut self, frame: InnerFrame<'_>);
    /// Passes an event to the control plane; it may be dropped.
    fn event(&mut self, event: LaneEvent);
}

/// Buffers of one lane, reused between calls so that a frame costs no allocation.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Body of a broadcast, sealed separately for each neighbour.
    body: Vec<u8>,
    /// Segment of a super-frame that is not sealed in place.
    segment: Vec<u8>,
}

/// Shared state of the data plane, used by all lanes and by the control plane.
#[derive(Debug)]
pub struct Forwarder {
    fdb: Fdb,
    announced: Announcements,
    underlay: Underlay,
    counters: Counters,
    flood_sequence: AtomicU64,
    flood_seen: Mutex<Duplicates<PeerId>>,
    question_bucket: Mutex<TokenBucket>,
    groups: GroupBuckets,
    unknown_bucket: Mutex<TokenBucket>,
    relay_seen: Mutex<Duplicates<(PeerId, SessionIndex)>>,
    relayed_handshakes: Mutex<RecentMessages>,
    /// Rate limit of ICMP errors about the path MTU.
    too_big_bucket: Mutex<TokenBucket>,
    fragment_id: AtomicU32,
    reassembly: Mutex<Reassembly>,
    pending: Mutex<PendingFrames>,
    flapping: Mutex<BTreeMap<Mac, (Owner, Owner)>>,
    needed_sessions: Mutex<Throttle<PeerId>>,
    unknown_indices: Mutex<Throttle<Via>>,
    seen_endpoints: Mutex<Throttle<(PeerId, SocketAddr)>>,
}

impl Forwarder {
    /// Creates an empty data plane; `entropy` gives the hash key of the MAC table.
    pub fn new(entropy: &mut dyn Entropy) -> Self {
        Self::with_limits(GroupLimits::default(), entropy)
    }

    /// Creates an empty data plane with the operator's rate limits.
    pub fn with_limits(limits: GroupLimits, entropy: &mut dyn Entropy) -> Self {
        Self {
            fdb: Fdb::new(entropy),
            announced: Announcements::default(),
            underlay: Underlay::default(),
            counters: Counters::default(),
            flood_sequence: AtomicU64::new(0),
            flood_seen: Mutex::new(Duplicates::new()),
            question_bucket: Mutex::new(TokenBucket::new(RESOLUTION_RATE, RESOLUTION_BURST)),
            groups: GroupBuckets::new(limits),
            unknown_bucket: Mutex::new(TokenBucket::new(UNKNOWN_RATE, UNKNOWN_BURST)),
            relay_seen: Mutex::new(Duplicates::new()),
            relayed_handshakes: Mutex::new(RecentMessages::default()),
            too_big_bucket: Mutex::new(TokenBucket::new(TOO_BIG_RATE, TOO_BIG_BURST)),
            fragment_id: AtomicU32::new(0),
            reassembly: Mutex::new(Reassembly::default()),
            pending: Mutex::new(PendingFrames::default()),
            flapping: Mutex::default(),
            needed_sessions: Mutex::new(throttle()),
            unknown_indices: Mutex::new(throttle()),
            seen_endpoints: Mutex::new(throttle()),
        }
    }

    /// Returns the MAC table.
    pub fn fdb(&self) -> &Fdb {
        &self.fdb
    }

    /// Returns the table of addresses that routers announce for their containers.
    pub fn announced(&self) -> &Announcements {
        &self.announced
    }

    /// Returns the underlay addresses of all routers.
    pub fn underlay(&self) -> &Underlay {
        &self.underlay
    }

    /// Returns the counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts frames that the local port lost before the router read them.
    pub fn lost_at_port(&self, lost: PortLosses) {
        lost.count(&self.counters);
    }

    /// Counts a datagram of another router that was received on an interface of the mesh.
    pub fn came_through_mesh(&self) {
        self.counters.drop(DropReason::Underlay);
    }

    /// Removes expired MAC addresses, waiting frames and incomplete datagrams. To be called about once a second.
    pub fn sweep(&self, now: Instant) {
        self.fdb.sweep(now);
        self.announced.sweep(now);
        let expired = lock(&self.pending).expire(now);
        self.counters.drop_many(DropReason::PendingExpired, expired);
        let mut reassembly = lock(&self.reassembly);
        reassembly.expire(now);
        self.counters
            .drop_many(DropReason::FragmentLost, reassembly.take_lost());
    }

    /// Returns the number of incomplete datagrams in reassembly, and the bytes of their fragments.
    pub fn partials(&self) -> (usize, usize) {
        let reassembly = lock(&self.reassembly);
        (reassembly.len(), reassembly.bytes())
    }

    pub(crate) fn learn(&self, mac: Mac, owner: Owner, now: Instant) {
        match self.fdb.learn(mac, owner, now) {
            Learn::Same | Learn::Group => {}
            Learn::New => self.counters.count(Counter::FdbLearnt),
            Learn::Moved(from) => {
                self.counters.count(Counter::FdbMoved);
                if self.fdb.flaps(mac) {
                    self.note_flapping(mac, (from, owner));
                }
            }
            Learn::Late => self.counters.count(Counter::FdbDamped),
            Learn::Damped => {
                self.counters.count(Counter::FdbDamped);
                let stays = self.fdb.lookup(mac, now).unwrap_or(owner);
                self.note_flapping(mac, (stays, owner));
            }
            Learn::Full => self.counters.count(Counter::FdbReplaced),
        }
    }

    /// Records for the control plane that `mac` flaps between two owners.
    fn note_flapping(&self, mac: Mac, between: (Owner, Owner)) {
        let mut flapping = lock(&self.flapping);
        if flapping.len() < MAX_FLAPS || flapping.contains_key(&mac) {
            flapping.insert(mac, between);
        }
    }

    /// Takes the MAC addresses that flapped since the last call, each with its last two owners.
    pub fn take_flapping(&self) -> BTreeMap<Mac, (Owner, Owner)> {
        core::mem::take(&mut lock(&self.flapping))
    }

    fn need_session(&self, peer: PeerId, now: Instant, out: &mut dyn Outbox) {
        if lock(&self.needed_sessions).pass(peer, now) {
            out.event(LaneEvent::NeedSession(peer));
        }
    }

    /// Counts a frame or datagram that could not be sent, and requests the missing session.
    fn undelivered(&self, error: SendError, now: Instant, out: &mut dyn Outbox) {
        self.counters.drop(match error {
            SendError::Unreachable(Unreachable::NoSession(_)) => DropReason::NoSession,
            SendError::Unreachable(_) => DropReason::NoRoute,
            SendError::Seal(_) => DropReason::DeadKey,
            SendError::Malformed => DropReason::Malformed,
            SendError::TooLong => DropReason::TooBig,
        });
        if let SendError::Unreachable(Unreachable::NoSession(peer)) = error {
            self.need_session(peer, now, out);
        }
    }
}

fn throttle<K: Ord>() -> Throttle<K> {
    Throttle::new(EVENT_INTERVAL, MAX_THROTTLED_EVENTS)
}

/// Ignores poisoning: a lane that panicked leaves counters and windows consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
