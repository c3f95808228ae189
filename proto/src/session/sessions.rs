//! Session manager of one router: begins handshakes, keeps the keys, and replaces them in time.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::guard::Guard;
use super::indices::Indices;
use super::peer::{Peer, Watch};
use super::transport::{Transport, TransportLimits};
use super::{Directory, Refused, SessionOutput, Via};
use crate::crypto::aead::Suites;
use crate::crypto::identity::Identity;
use crate::entropy::Entropy;
use crate::ids::{PeerId, SessionIndex};
use crate::limits;
use crate::time::Instant;
use crate::wire::datagram::Kind;

/// Counters of the session manager since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounters {
    /// Handshakes begun here, each of one or more Inits.
    pub begun: u64,
    /// Init messages sent.
    pub inits: u64,
    /// Handshakes begun here that gave keys.
    pub completed: u64,
    /// Handshakes of peers that were answered.
    pub answered: u64,
    /// Handshakes begun here that got no answer for [`limits::HANDSHAKE_GIVE_UP`].
    pub given_up: u64,
    /// Cookie messages sent.
    pub challenges: u64,
    /// Sessions dropped because the table was full.
    pub evicted: u64,
}

/// Present state of one session.
#[derive(Clone, Copy, Debug)]
pub struct SessionStatus<'a> {
    /// Peer at the other end.
    pub peer: PeerId,
    /// True if a handshake begun here waits for its answer.
    pub handshaking: bool,
    /// Transport to send with.
    pub current: Option<&'a Arc<Transport>>,
}

/// All sessions of one router, without I/O. Every method may add outputs; collect them with [`Sessions::poll_output`]
/// until it returns `None`.
pub struct Sessions {
    pub(super) identity: Arc<Identity>,
    pub(super) psk: Zeroizing<[u8; 32]>,
    /// Supported data suites in order of preference; never empty.
    pub(super) suites: Suites,
    /// Limits for tests, instead of those of the suite.
    pub(super) limits: Option<TransportLimits>,
    pub(super) guard: Guard,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    pub(super) indices: Indices,
    /// Last Init of each router; kept longer than its session.
    pub(super) latest: BTreeMap<PeerId, LastInit>,
    pub(super) outputs: VecDeque<SessionOutput>,
    pub(super) counters: SessionCounters,
    pub(super) epoch: u64,
    /// Number of Inits made since the start.
    pub(super) handshakes: u64,
    timers: BTreeSet<(Instant, PeerId)>,
    refused: BTreeMap<Refused, u64>,
}

/// Content of the newest Init of a router.
pub(super) struct LastInit {
    /// Boot epoch and handshake counter; an Init that does not exceed them is a replay.
    pub(super) freshness: (u64, u64),
    pub(super) suites: Suites,
}

impl Sessions {
    /// Creates a manager without sessions. `epoch` is this router's boot epoch, higher than in any earlier run; `psk`
    /// is [`crate::crypto::secret::MeshSecret::session_psk`]; `suites` are the supported data suites, at least one.
    pub fn new(identity: Arc<Identity>, epoch: u64, psk: [u8; 32], suites: Suites) -> Self {
        Self {
            guard: Guard::new(identity.dh_key()),
            identity,
            psk: Zeroizing::new(psk),
            suites,
            limits: None,
            peers: BTreeMap::new(),
            indices: Indices::default(),
            latest: BTreeMap::new(),
            outputs: VecDeque::new(),
            counters: SessionCounters::default(),
            epoch,
            handshakes: 0,
            timers: BTreeSet::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Sets other limits on the use of keys than those of the suites.
    pub fn with_limits(mut self, limits: TransportLimits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Continues with a higher boot epoch: the one at the start turned out to be of an earlier run, so peers refuse
    /// its Inits as replays. All keys are dropped, as the peers drop theirs. A lower `epoch` is ignored.
    pub fn raise_epoch(&mut self, epoch: u64) {
        if epoch <= self.epoch {
            return;
        }
        self.epoch = epoch;
        let all: Vec<PeerId> = self.peers.keys().copied().collect();
        all.into_iter().for_each(|peer| self.forget(peer));
    }

    /// Requests a session with `peer`, whose X25519 key is `dh_key`: begins a handshake unless one is pending or the
    /// keys need no replacement. May be called at any rate; for neighbours it is to be called with every heartbeat.
    pub fn want(
        &mut self,
        peer: PeerId,
        dh_key: [u8; 32],
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        if self.enter(peer, dh_key, now) {
            self.begin_if_needed(peer, now, entropy);
            self.settle(peer);
        }
    }

    /// Begins a handshake although the keys are fresh, unless one is pending: for a peer known to have restarted.
    pub fn renew(
        &mut self,
        peer: PeerId,
        dh_key: [u8; 32],
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        if self.enter(peer, dh_key, now) {
            self.begin(peer, now, entropy);
            self.settle(peer);
        }
    }

    /// Handles a datagram of kind Init, Response or Cookie.
    ///
    /// # Errors
    /// The reason why it was refused; also counted ([`Sessions::refusals`]).
    pub fn handle_datagram(
        &mut self,
        bytes: &[u8],
        via: Via,
        directory: &dyn Directory,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Refused> {
        let handled = self.dispatch(bytes, via, directory, now, entropy);
        if let Err(reason) = handled {
            self.count(reason);
        }
        handled
    }

    /// Handles the first datagram opened with the keys of `index` (`Opened::first` of its transport): the peer has
    /// the keys, so they may be used.
    pub fn confirmed(&mut self, index: SessionIndex, now: Instant) {
        let Some(id) = self.indices.owner(index) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.slots.current().is_some_and(|t| t.local() == index) {
            peer.confirm = None;
        }
        let Some(confirmed) = peer.slots.confirm(index) else {
            self.settle(id);
            return;
        };
        for dropped in &confirmed.dropped {
            self.indices.release(dropped.local());
        }
        if confirmed.promoted {
            peer.confirm = None;
            peer.watch = Watch {
                at: now,
                ..Watch::default()
            };
            self.probe(id, None, now);
        }
        self.outputs.push_back(SessionOutput::Changed(id));
        self.settle(id);
    }

    /// Runs the timers that are due at `now`. If the output queue fills, it stops early; call it again after
    /// collecting outputs.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        while self.has_room() {
            let Some((due, id)) = self.timers.first().copied() else {
                return;
            };
            if due > now {
                return;
            }
            self.run_timers(id, now, entropy);
            self.settle(id);
            debug_assert_ne!(self.timers.first(), Some(&(due, id)), "due for ever");
        }
    }

    /// Returns the time at which to call [`Sessions::handle_timeout`], and its purpose.
    pub fn next_deadline(&self) -> Option<(Instant, &'static str)> {
        let (_, id) = self.timers.first()?;
        self.peers.get(id)?.deadline()
    }

    /// Takes the next output.
    pub fn poll_output(&mut self) -> Option<SessionOutput> {
        self.outputs.pop_front()
    }

    /// Returns the transport to send to `peer` with. It may have expired since the last upkeep: sealing fails then,
    /// and [`Sessions::want`] gets new keys.
    pub fn current(&self, peer: PeerId) -> Option<&Arc<Transport>> {
        self.peers.get(&peer)?.slots.current()
    }

    /// Returns the supported data suites in order of preference.
    pub fn suites(&self) -> Suites {
        self.suites
    }

    /// Returns the suites that `peer` offered in its newest Init, if none of them is supported here: no session is
    /// possible.
    pub fn mismatch(&self, peer: PeerId) -> Option<Suites> {
        let offered = self.latest.get(&peer)?.suites;
        self.suites.choose(&offered).is_none().then_some(offered)
    }

    /// Returns all transports that may open datagrams: previous, current and next ones.
    pub fn receiving(&self) -> impl Iterator<Item = (SessionIndex, &Arc<Transport>)> {
        self.peers
            .values()
            .flat_map(|p| p.slots.iter().map(|t| (t.local(), t)))
    }

    /// Drops all keys and handshakes of `peer`. Its earlier Inits are still refused as replays.
    pub fn forget(&mut self, peer: PeerId) {
        self.remove(peer);
    }

    /// Drops the keys agreed with `peer` in boot epochs before `epoch`: the peer has restarted. Keys of the new epoch
    /// stay, which may have been agreed before its record arrived.
    pub fn forget_before(&mut self, peer: PeerId, epoch: u64) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        let dropped = known.slots.take_before(epoch);
        for transport in &dropped {
            self.indices.release(transport.local());
        }
        if !dropped.is_empty() {
            self.outputs.push_back(SessionOutput::Changed(peer));
        }
        self.settle(peer);
    }

    /// Returns all sessions and handshakes, ordered by peer.
    pub fn statuses(&self) -> impl Iterator<Item = SessionStatus<'_>> {
        self.peers.iter().map(|(id, peer)| SessionStatus {
            peer: *id,
            handshaking: peer.pending.is_some(),
            current: peer.slots.current(),
        })
    }

    /// Returns the counters since the start.
    pub fn counters(&self) -> SessionCounters {
        self.counters
    }

    /// Returns the number of refused handshake datagrams by reason; reasons that never occurred are left out.
    pub fn refusals(&self) -> impl Iterator<Item = (Refused, u64)> {
        self.refused.iter().map(|(reason, n)| (*reason, *n))
    }

    pub(super) fn has_room(&self) -> bool {
        self.outputs.len() < limits::MAX_SESSION_OUTPUTS
    }

    pub(super) fn count(&mut self, reason: Refused) {
        *self.refused.entry(reason).or_default() += 1;
    }

    /// Makes sure that `id` has an entry with this key. Returns false for this router itself.
    pub(super) fn enter(&mut self, id: PeerId, dh_key: [u8; 32], now: Instant) -> bool {
        if id == self.identity.id() {
            return false;
        }
        if !self.peers.contains_key(&id) && self.peers.len() >= limits::MAX_SESSIONS {
            self.evict();
        }
        let peer = self
            .peers
            .entry(id)
            .or_insert_with(|| Peer::new(dh_key, now));
        if peer.dh_key != dh_key {
            peer.dh_key = dh_key;
            peer.cookie = None;
            self.drop_pending(id);
        }
        true
    }

    fn evict(&mut self) {
        let idle = self.peers.iter().min_by_key(|(_, peer)| peer.last_used());
        if let Some(id) = idle.map(|(id, _)| *id) {
            self.remove(id);
            self.counters.evicted += 1;
        }
    }

    fn remove(&mut self, id: PeerId) {
        let Some(peer) = self.peers.remove(&id) else {
            return;
        };
        for index in peer.indices() {
            self.indices.release(index);
        }
        if let Some(due) = peer.queued {
            self.timers.remove(&(due, id));
        }
        if !peer.slots.is_empty() {
            self.outputs.push_back(SessionOutput::Changed(id));
        }
    }

    /// Updates the timer queue after a change of `id`, and removes an empty entry.
    pub(super) fn settle(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.is_empty() {
            self.remove(id);
            return;
        }
        let due = peer.deadline().map(|(at, _)| at);
        if due != peer.queued {
            if let Some(before) = core::mem::replace(&mut peer.queued, due) {
                self.timers.remove(&(before, id));
            }
            if let Some(at) = due {
                self.timers.insert((at, id));
            }
        }
    }

    /// Sends an empty Probe with the current keys.
    pub(super) fn probe(&mut self, id: PeerId, via: Option<Via>, now: Instant) {
        let Some(current) = self.current(id) else {
            return;
        };
        let mut bytes = Vec::new();
        let sealed = current.seal(Kind::Probe, limits::MAX_HOPS, &[], &[], now, &mut bytes);
        // Keys that can no longer seal are removed by the upkeep.
        if sealed.is_ok() {
            self.outputs.push_back(SessionOutput::Send {
                peer: id,
                via,
                bytes,
            });
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("peers", &self.peers.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
