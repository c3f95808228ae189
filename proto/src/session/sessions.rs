//! The manager of all sessions of one router: who wants keys, who has them, and when they are replaced.

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

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounters {
    /// Handshakes of ours, each of one or more Inits.
    pub begun: u64,
    /// Init messages sent.
    pub inits: u64,
    /// Handshakes of ours that gave keys.
    pub completed: u64,
    /// Handshakes of others that we answered.
    pub answered: u64,
    /// Handshakes of ours without an answer for [`limits::HANDSHAKE_GIVE_UP`].
    pub given_up: u64,
    /// Cookie messages sent.
    pub challenges: u64,
    /// Sessions dropped because the table was full.
    pub evicted: u64,
}

/// One session, as it is now.
#[derive(Clone, Copy, Debug)]
pub struct SessionStatus<'a> {
    /// The router at the other end.
    pub peer: PeerId,
    /// Whether a handshake of ours waits for its answer.
    pub handshaking: bool,
    /// What to send with.
    pub current: Option<&'a Arc<Transport>>,
}

/// All sessions of one router, without I/O. Every method may add outputs; collect them with
/// [`Sessions::poll_output`] until it returns `None`.
pub struct Sessions {
    pub(super) identity: Arc<Identity>,
    pub(super) psk: Zeroizing<[u8; 32]>,
    /// What we take for data, in order of preference; never empty.
    pub(super) suites: Suites,
    /// Instead of those of the suite, in tests.
    pub(super) limits: Option<TransportLimits>,
    pub(super) guard: Guard,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    pub(super) indices: Indices,
    /// The last Init of each router; outlives its session.
    pub(super) latest: BTreeMap<PeerId, LastInit>,
    pub(super) outputs: VecDeque<SessionOutput>,
    pub(super) counters: SessionCounters,
    pub(super) epoch: u64,
    /// Inits made since the start.
    pub(super) handshakes: u64,
    timers: BTreeSet<(Instant, PeerId)>,
    refused: BTreeMap<Refused, u64>,
}

/// What the newest Init of a router said of itself.
pub(super) struct LastInit {
    /// Boot epoch and handshake counter: what does not exceed them is a replay.
    pub(super) freshness: (u64, u64),
    pub(super) suites: Suites,
}

impl Sessions {
    /// A manager without sessions. `epoch` is this router's boot epoch, higher than in any run before; `psk` is
    /// [`crate::crypto::secret::MeshSecret::session_psk`]; `suites` are what this router takes for data, at least one.
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

    /// With other limits on the use of keys than those of the suites.
    pub fn with_limits(mut self, limits: TransportLimits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Goes on with a higher boot epoch than the one at the start: that one turned out to be of an earlier run, and
    /// peers refuse its Inits as replays. Keys agreed so far are dropped, as the peers drop theirs. A lower `epoch`
    /// changes nothing.
    pub fn raise_epoch(&mut self, epoch: u64) {
        if epoch <= self.epoch {
            return;
        }
        self.epoch = epoch;
        let all: Vec<PeerId> = self.peers.keys().copied().collect();
        all.into_iter().for_each(|peer| self.forget(peer));
    }

    /// Says that frames are to be sent to `peer`, whose X25519 key is `dh_key`: begins a handshake unless one is under
    /// way or there are keys that need no replacement. Call it as often as you like; for neighbours with every heartbeat.
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

    /// Begins a handshake although the keys are fresh, unless one is under way: for a peer known to have restarted.
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

    /// Takes a datagram of kind Init, Response or Cookie.
    ///
    /// # Errors
    /// Why it had no effect; counted too ([`Sessions::refusals`]).
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

    /// Says that the first datagram was opened with the keys of `index` (`Opened::first` of its transport): the peer
    /// is known to have them, so they may be used.
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

    /// Does what is due at `now`. Without room for outputs it does less; call again after collecting them.
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

    /// When to call [`Sessions::handle_timeout`], and what for.
    pub fn next_deadline(&self) -> Option<(Instant, &'static str)> {
        let (_, id) = self.timers.first()?;
        self.peers.get(id)?.deadline()
    }

    /// The next thing to do for the caller.
    pub fn poll_output(&mut self) -> Option<SessionOutput> {
        self.outputs.pop_front()
    }

    /// The transport to send to `peer` with. It may have died of age since the last upkeep: then sealing fails, and
    /// [`Sessions::want`] helps.
    pub fn current(&self, peer: PeerId) -> Option<&Arc<Transport>> {
        self.peers.get(&peer)?.slots.current()
    }

    /// What this router takes for data, in order of preference.
    pub fn suites(&self) -> Suites {
        self.suites
    }

    /// What `peer` offered in its newest Init, if none of it is taken here: no session with it can come up.
    pub fn mismatch(&self, peer: PeerId) -> Option<Suites> {
        let offered = self.latest.get(&peer)?.suites;
        self.suites.choose(&offered).is_none().then_some(offered)
    }

    /// All transports that datagrams may come in for: previous, current and next ones.
    pub fn receiving(&self) -> impl Iterator<Item = (SessionIndex, &Arc<Transport>)> {
        self.peers
            .values()
            .flat_map(|p| p.slots.iter().map(|t| (t.local(), t)))
    }

    /// Drops all keys and handshakes of `peer`. What it sent before stays a replay.
    pub fn forget(&mut self, peer: PeerId) {
        self.remove(peer);
    }

    /// Drops the keys that runs of `peer` before the one with this boot epoch have: the peer is known to have restarted.
    /// Keys that its new run agreed on before we heard of it stay.
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

    /// All sessions and handshakes, ordered by router.
    pub fn statuses(&self) -> impl Iterator<Item = SessionStatus<'_>> {
        self.peers.iter().map(|(id, peer)| SessionStatus {
            peer: *id,
            handshaking: peer.pending.is_some(),
            current: peer.slots.current(),
        })
    }

    /// What happened since the start.
    pub fn counters(&self) -> SessionCounters {
        self.counters
    }

    /// How many handshake datagrams had no effect, by reason; reasons that never occurred are left out.
    pub fn refusals(&self) -> impl Iterator<Item = (Refused, u64)> {
        self.refused.iter().map(|(reason, n)| (*reason, *n))
    }

    pub(super) fn has_room(&self) -> bool {
        self.outputs.len() < limits::MAX_SESSION_OUTPUTS
    }

    pub(super) fn count(&mut self, reason: Refused) {
        *self.refused.entry(reason).or_default() += 1;
    }

    /// Makes sure `id` has an entry with this key; false for ourselves.
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

    /// Puts the timer queue in order after a change of `id`, and drops an entry that holds nothing.
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
        // Keys that seal no more are found dead by the upkeep.
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
