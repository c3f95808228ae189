//! Session manager of one router: begins handshakes, keeps the keys, and replaces them in time.

use core::fmt;
use std::sync::Arc;

use super::guard::{Admission, Guard};
use super::handshaker::Handshaker;
use super::init_history::InitHistory;
use super::message::{self, InitPayload, Message, Sealed};
use super::table::{SessionCounters, SessionTable};
use super::transport::{Transport, TransportLimits};
use super::{Directory, Refused, SessionOutput, Via};
use crate::crypto::aead::Suites;
use crate::crypto::identity::Identity;
use crate::entropy::Entropy;
use crate::ids::{PeerId, SessionIndex};
use crate::time::Instant;

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
    guard: Guard,
    inits: InitHistory,
    table: SessionTable,
}

impl Sessions {
    /// Creates a manager without sessions. `epoch` is this router's boot epoch, higher than in any earlier run; `psk`
    /// is [`crate::crypto::secret::MeshSecret::session_psk`]; `suites` are the supported data suites, at least one.
    pub fn new(identity: Arc<Identity>, epoch: u64, psk: [u8; 32], suites: Suites) -> Self {
        Self {
            guard: Guard::new(identity.dh_key()),
            inits: InitHistory::default(),
            table: SessionTable::new(Handshaker::new(identity, epoch, psk, suites)),
        }
    }

    /// Sets other limits on the use of keys than those of the suites.
    pub fn with_limits(mut self, limits: TransportLimits) -> Self {
        self.table.handshaker_mut().set_limits(limits);
        self
    }

    /// Continues with a higher boot epoch: the one at the start turned out to be of an earlier run, so peers refuse
    /// its Inits as replays. All keys are dropped, as the peers drop theirs. A lower `epoch` is ignored.
    pub fn raise_epoch(&mut self, epoch: u64) {
        if !self.table.handshaker_mut().raise_epoch(epoch) {
            return;
        }
        let all: Vec<PeerId> = self.table.peers().iter().map(|(id, _)| id).collect();
        all.into_iter().for_each(|peer| self.table.remove(peer));
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
        if self.table.enter(peer, dh_key, now) {
            self.table.begin_if_needed(peer, now, entropy);
            self.table.settle(peer);
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
        if self.table.enter(peer, dh_key, now) {
            self.table.begin(peer, now, entropy);
            self.table.settle(peer);
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
            self.table.count(reason);
        }
        handled
    }

    /// Handles the first datagram opened with the keys of `index` (`OpenedDatagram::first` of its transport): the peer has
    /// the keys, so they may be used.
    pub fn confirmed(&mut self, index: SessionIndex, now: Instant) {
        self.table.confirmed(index, now);
    }

    /// Runs the timers that are due at `now`. If the output queue fills, it stops early; call it again after
    /// collecting outputs.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.table.handle_timeout(now, entropy);
    }

    /// Returns the time at which to call [`Sessions::handle_timeout`], and its purpose.
    pub fn next_deadline(&self) -> Option<(Instant, &'static str)> {
        self.table.next_deadline()
    }

    /// Takes the next output.
    pub fn poll_output(&mut self) -> Option<SessionOutput> {
        self.table.poll_output()
    }

    /// Returns the transport to send to `peer` with. It may have expired since the last upkeep: sealing fails then,
    /// and [`Sessions::want`] gets new keys.
    pub fn current(&self, peer: PeerId) -> Option<&Arc<Transport>> {
        self.table.peers().get(&peer)?.slots.current()
    }

    /// Returns the supported data suites in order of preference.
    pub fn suites(&self) -> Suites {
        self.table.handshaker().suites()
    }

    /// Returns the suites that `peer` offered in its newest Init, if none of them is supported here: no session is
    /// possible.
    pub fn mismatch(&self, peer: PeerId) -> Option<Suites> {
        let offered = self.inits.suites(peer)?;
        self.suites().choose(&offered).is_none().then_some(offered)
    }

    /// Returns all transports that may open datagrams: previous, current and next ones.
    pub fn receiving(&self) -> impl Iterator<Item = (SessionIndex, &Arc<Transport>)> {
        let peers = self.table.peers().iter();
        peers.flat_map(|(_, peer)| peer.slots.iter().map(|t| (t.local(), t)))
    }

    /// Drops all keys and handshakes of `peer`. Its earlier Inits are still refused as replays.
    pub fn forget(&mut self, peer: PeerId) {
        self.table.remove(peer);
    }

    /// Drops the keys agreed with `peer` in boot epochs before `epoch`: the peer has restarted. Keys of the new epoch
    /// stay, which may have been agreed before its record arrived.
    pub fn forget_before(&mut self, peer: PeerId, epoch: u64) {
        self.table.remove_before(peer, epoch);
    }

    /// Returns all sessions and handshakes, ordered by peer.
    pub fn statuses(&self) -> impl Iterator<Item = SessionStatus<'_>> {
        self.table.peers().iter().map(|(id, peer)| SessionStatus {
            peer: id,
            handshaking: peer.pending.is_some(),
            current: peer.slots.current(),
        })
    }

    /// Returns the counters since the start.
    pub fn counters(&self) -> SessionCounters {
        self.table.counters()
    }

    /// Returns the number of refused handshake datagrams by reason; reasons that never occurred are left out.
    pub fn refusals(&self) -> impl Iterator<Item = (Refused, u64)> {
        self.table.refused().iter().map(|(reason, n)| (*reason, *n))
    }

    fn dispatch(
        &mut self,
        bytes: &[u8],
        via: Via,
        directory: &dyn Directory,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Refused> {
        if !self.table.has_room() {
            return Err(Refused::Busy);
        }
        match message::parse(bytes)? {
            Message::Init(init) => self.handle_init(&init, via, directory, now, entropy),
            Message::Response(response) => {
                self.guard.admit_response(&response)?;
                let (peer, suite) = self.table.complete(&response, via, now, entropy)?;
                self.inits.chose(peer, suite);
                Ok(())
            }
            Message::Cookie(cookie) => self.table.keep_cookie(&cookie, now),
        }
    }

    fn handle_init(
        &mut self,
        init: &Sealed<'_>,
        via: Via,
        directory: &dyn Directory,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Refused> {
        if let Admission::Challenge(bytes) = self.guard.admit_init(init, via, now, entropy)? {
            if let Via::Direct(to) = via {
                self.table.challenge(to, bytes);
            }
            return Err(Refused::CookieNeeded);
        }
        let init = self.table.handshaker().read_init(init, directory)?;
        let InitPayload {
            peer,
            freshness,
            suites,
        } = init.says;
        let has_session = |id: &PeerId| self.table.peers().contains(id);
        self.inits.record(peer, freshness, suites, has_session)?;
        let suite = self.suites().choose(&suites);
        let suite = suite.ok_or(Refused::NoCommonSuite)?;
        if !self.table.enter(peer, init.dh_key, now) {
            return Err(Refused::UnknownPeer);
        }
        let result = if self.table.has_precedence(peer) {
            self.table.insist(peer, now, entropy);
            Err(Refused::Yielded)
        } else {
            self.table.answer(init, suite, via, now, entropy)
        };
        self.table.settle(peer);
        result
    }

    #[cfg(test)]
    pub(super) fn enter(&mut self, id: PeerId, dh_key: [u8; 32], now: Instant) -> bool {
        self.table.enter(id, dh_key, now)
    }

    #[cfg(test)]
    pub(super) fn index_count(&self) -> usize {
        self.table.peers().index_count()
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("peers", &self.table.peers().len())
            .field("counters", &self.table.counters())
            .finish_non_exhaustive()
    }
}
