//! What becomes of a frame and of a datagram: the decisions of the data plane, without its sockets.
//!
//! # Life of a frame
//!
//! *Egress* ([`Forwarder::egress`]) takes frames of the local port; a super-frame is cut first. What passes between routers of this mesh is
//! dropped ([`Underlay`]). It learns the source as local, and looks the destination up in the MAC table once; from then on the frame is addressed to a peer:
//!
//! * behind a peer: sealed end to end in a Data datagram, together with the frames before and after it for the same
//!   peer as far as they fit; sent straight to the peer, or inside a Relay datagram to the neighbour on the way;
//! * behind the local port: nothing, the bridge delivered it;
//! * unknown, but announced by a router: addressed to that one;
//! * asking where an announced address lives (ARP, neighbour solicitation): addressed to the container that is announced
//!   to have it ([`crate::announced::question`]), as long as that answers;
//! * else a group, or unknown: sealed in a Flood datagram for each neighbour down the tree of this router, as far as the
//!   port may send such frames.
//!
//! A frame that is too long for the path to its peer becomes IP fragments, or its sender is told ([`crate::frame::fit`]);
//! segments of a super-frame are cut to fit. What still does not fit, as nothing may while a path is being probed, is
//! sealed in pieces ([`crate::fragment`]).
//!
//! A frame for a peer without a session waits ([`crate::limits::PENDING_AGE`]) while control makes one.
//!
//! *Ingress* ([`Forwarder::ingress`]) takes datagrams. Each is authenticated before anything else is believed:
//!
//! * Data: its sources are learnt as behind the peer that sealed it, its frames go to the local port and nowhere else;
//! * Relay for another router: passed to the next neighbour with one hop less, unless it passed here before, took too
//!   many hops, or would go back to where it came from; for this router: the inner datagram is taken as if it came in;
//! * Flood: unless it is our own or came before, its sources are learnt as behind its origin, its frames go to the
//!   local port, and it is passed down the origin's tree with one hop less;
//! * Fragment: with the last piece missing, the whole as if it had come in one datagram;
//! * Probe and handshake messages are events for control.
//!
//! # Why nothing goes round for ever
//!
//! A relayed datagram is remembered by (destination, receiver index, counter), a relayed handshake message by its
//! digest, a broadcast by (origin, epoch, sequence): a router passes each on at most once, whatever routes and trees
//! say, and the hop limit ends what a forgotten window lets through. Frames from peers are never sent to peers.

mod collected;
mod counters;
mod cut;
mod duplicates;
mod egress;
mod envelope;
mod flood;
mod groups;
mod ingress;
mod outgoing;
mod pending;
mod relay;
mod snapshot;
pub(crate) mod throttle;
mod turn;
mod underlay;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU32, AtomicU64};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use collected::Collected;
pub use counters::{Counter, Counters, DropReason};
pub use groups::{GroupLimits, PortLosses};
pub use outgoing::{Outgoing, Run};
pub use relay::SendError;
pub use snapshot::{Path, PeerPath, Snapshot, Unreachable};
pub use underlay::Underlay;

use crate::announced::Announcements;
use crate::entropy::Entropy;
use crate::fdb::{Fdb, Learn, Owner};
use crate::fragment::Reassembly;
use crate::ids::{Mac, PeerId, SessionIndex};
use crate::limits::{
    EVENT_INTERVAL, MAX_FLAPS, MAX_THROTTLED_EVENTS, QUESTION_BURST, QUESTION_RATE, TOO_BIG_BURST,
    TOO_BIG_RATE, UNKNOWN_BURST, UNKNOWN_RATE,
};
use crate::time::Instant;
use crate::wire::datagram::InnerFrame;
use duplicates::{Duplicates, RecentMessages};
use groups::GroupBuckets;
use pending::Pending;
use throttle::{Throttle, TokenBucket};

/// By which way a datagram came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// From this address.
    Direct(SocketAddr),
    /// Relayed by this neighbour.
    Relay(PeerId),
}

/// What the data plane tells control. Rare, and lost without harm when the queue between them is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneEvent {
    /// A handshake message, header included; nothing of it is authenticated.
    Handshake {
        /// How it came.
        via: Via,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// Frames or datagrams wait for a session with this peer.
    NeedSession(PeerId),
    /// A datagram came for a session we do not have; nothing of it is authenticated.
    UnknownIndex {
        /// How it came.
        via: Via,
        /// The session it named.
        index: SessionIndex,
    },
    /// A payload of the peer's control plane, authenticated and fresh.
    Probe {
        /// Who sealed it.
        peer: PeerId,
        /// How it came.
        via: Via,
        /// The session it came by.
        index: SessionIndex,
        /// The payload.
        body: Vec<u8>,
    },
    /// The newest datagram of a peer came from an address that is not its path.
    EndpointSeen {
        /// Who sealed the datagram.
        peer: PeerId,
        /// Where it came from.
        address: SocketAddr,
    },
    /// The first datagram of a session was authenticated: the peer has its keys.
    Confirmed {
        /// Who sealed the datagram.
        peer: PeerId,
        /// The session.
        index: SessionIndex,
    },
}

/// What decisions lead to; the lanes write to sockets and ports, tests and the simulator to memory.
pub trait Outbox {
    /// What is to be sent; datagrams are built at its end.
    fn outgoing(&mut self) -> &mut Outgoing;
    /// Hands a frame to the local port.
    fn inject(&mut self, frame: InnerFrame<'_>);
    /// Tells control something; may be dropped.
    fn event(&mut self, event: LaneEvent);
}

/// The buffers of one lane, kept between calls so that a frame costs no allocation.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The body of a broadcast, which is sealed once for each neighbour.
    body: Vec<u8>,
    /// A segment of a super-frame that is not sent at once.
    segment: Vec<u8>,
}

/// The part of the data plane that all lanes and control share.
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
    /// Senders that are told of a narrow path.
    too_big_bucket: Mutex<TokenBucket>,
    fragment_id: AtomicU32,
    reassembly: Mutex<Reassembly>,
    pending: Mutex<Pending>,
    flapping: Mutex<BTreeMap<Mac, (Owner, Owner)>>,
    needed_sessions: Mutex<Throttle<PeerId>>,
    unknown_indices: Mutex<Throttle<Via>>,
    seen_endpoints: Mutex<Throttle<(PeerId, SocketAddr)>>,
}

impl Forwarder {
    /// A data plane that knows nothing; `entropy` gives the key of the MAC table's hash.
    pub fn new(entropy: &mut dyn Entropy) -> Self {
        Self::with_limits(GroupLimits::default(), entropy)
    }

    /// The same, with limits of the operator.
    pub fn with_limits(limits: GroupLimits, entropy: &mut dyn Entropy) -> Self {
        Self {
            fdb: Fdb::new(entropy),
            announced: Announcements::default(),
            underlay: Underlay::default(),
            counters: Counters::default(),
            flood_sequence: AtomicU64::new(0),
            flood_seen: Mutex::new(Duplicates::new()),
            question_bucket: Mutex::new(TokenBucket::new(QUESTION_RATE, QUESTION_BURST)),
            groups: GroupBuckets::new(limits),
            unknown_bucket: Mutex::new(TokenBucket::new(UNKNOWN_RATE, UNKNOWN_BURST)),
            relay_seen: Mutex::new(Duplicates::new()),
            relayed_handshakes: Mutex::new(RecentMessages::default()),
            too_big_bucket: Mutex::new(TokenBucket::new(TOO_BIG_RATE, TOO_BIG_BURST)),
            fragment_id: AtomicU32::new(0),
            reassembly: Mutex::new(Reassembly::default()),
            pending: Mutex::new(Pending::default()),
            flapping: Mutex::default(),
            needed_sessions: Mutex::new(throttle()),
            unknown_indices: Mutex::new(throttle()),
            seen_endpoints: Mutex::new(throttle()),
        }
    }

    /// The MAC table.
    pub fn fdb(&self) -> &Fdb {
        &self.fdb
    }

    /// What routers announce of their containers.
    pub fn announced(&self) -> &Announcements {
        &self.announced
    }

    /// The underlay addresses of routers.
    pub fn underlay(&self) -> &Underlay {
        &self.underlay
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts frames that the local port lost before they came here.
    pub fn lost_at_port(&self, lost: PortLosses) {
        lost.count(&self.counters);
    }

    /// Counts a datagram of another router that came by an interface of the mesh.
    pub fn came_through_mesh(&self) {
        self.counters.drop(DropReason::Underlay);
    }

    /// Drops what is too old: MAC addresses, frames and pieces that waited in vain. To be called about once a second.
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

    /// Datagrams of which pieces are missing, and the bytes of those that came.
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

    /// Keeps for control between whom an address flaps.
    fn note_flapping(&self, mac: Mac, between: (Owner, Owner)) {
        let mut flapping = lock(&self.flapping);
        if flapping.len() < MAX_FLAPS || flapping.contains_key(&mac) {
            flapping.insert(mac, between);
        }
    }

    /// Addresses that moved too often since the last call, and between whom.
    pub fn take_flapping(&self) -> BTreeMap<Mac, (Owner, Owner)> {
        core::mem::take(&mut lock(&self.flapping))
    }

    fn need_session(&self, peer: PeerId, now: Instant, out: &mut dyn Outbox) {
        if lock(&self.needed_sessions).pass(peer, now) {
            out.event(LaneEvent::NeedSession(peer));
        }
    }

    /// Counts a frame or datagram that could not be sent, and asks for the session it lacked.
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

/// A lane that panicked leaves counters and windows that are still sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
