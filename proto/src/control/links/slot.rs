//! One TCP link: its liveness, what waits for it, and whether both ends want it.

use std::net::SocketAddr;

use core::time::Duration;

use crate::entropy::Entropy;
use crate::ids::PeerId;
use crate::limits::{
    ANTI_ENTROPY, DEAD_AFTER, FAMILIAR_AFTER, HEARTBEAT, LINK_BEAT, LINK_DEAD_AFTER,
    MAX_GOSSIP_QUEUE, ROUTES_INTERVAL, SPARE_AFTER,
};
use crate::link::Link;
use crate::time::Instant;
use crate::wire::message::LinkMessage;

/// One TCP connection with its state.
#[derive(Debug)]
pub(crate) struct LinkSlot {
    /// The protocol machine of the connection.
    pub(super) link: Link,
    /// The other end's TCP address.
    pub(super) address: SocketAddr,
    /// True if this router dialled.
    pub(super) outbound: bool,
    /// The peer at the other end, once authenticated.
    pub(super) peer: Option<PeerId>,
    /// True if both sides admitted the link.
    pub(super) up: bool,
    /// Smoothed round-trip time of the TCP link.
    pub(super) rtt: Option<Duration>,
    /// True if the other end was last told that the link is wanted here.
    told_wanted: bool,
    /// Time since which it is not wanted here.
    unwanted_since: Option<Instant>,
    /// Time since which the other end does not want it, as it says.
    peer_unwanted_since: Option<Instant>,
    opened: Instant,
    up_since: Option<Instant>,
    last_heard: Instant,
    next_ping: Instant,
    /// True if datagrams go directly between the two, which shows that the other end lives; and the time since which it is so.
    direct: (bool, Instant),
    ping: Option<(u64, Instant)>,
    next_digest: Instant,
    /// A comparison out of turn.
    compare_at: Option<Instant>,
    unwritten: usize,
}

/// Action that is due on a link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A heartbeat with this nonce.
    Ping(u64),
    /// A comparison of digests.
    Digest,
    /// Nothing was heard for too long.
    Silent,
}

impl LinkSlot {
    /// Creates the slot of a connection that was just opened.
    pub(crate) fn new(link: Link, address: SocketAddr, outbound: bool, now: Instant) -> Self {
        Self {
            link,
            address,
            outbound,
            peer: None,
            up: false,
            rtt: None,
            told_wanted: true,
            unwanted_since: None,
            peer_unwanted_since: None,
            opened: now,
            up_since: None,
            last_heard: now,
            next_ping: now,
            direct: (false, now),
            ping: None,
            next_digest: now,
            compare_at: None,
            unwritten: 0,
        }
    }

    /// Returns the other end's TCP address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns true if this router dialled.
    pub(crate) fn is_outbound(&self) -> bool {
        self.outbound
    }

    /// Returns the peer at the other end, once authenticated.
    pub(crate) fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// Returns true if both sides admitted the link.
    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    /// Returns the smoothed round-trip time of the TCP link.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Sets the link up.
    pub(super) fn set_up(&mut self, now: Instant) {
        self.up = true;
        self.up_since = Some(now);
        self.heard(now);
    }

    /// Returns true if the link has been up for so long that its other end is no stranger.
    pub(super) fn is_old(&self, now: Instant) -> bool {
        let since = self.up_since;
        since.is_some_and(|up| now.since(up) >= FAMILIAR_AFTER)
    }

    /// Takes note that something arrived.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// Returns the time for which nothing arrived.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.since(self.last_heard)
    }

    /// Returns the time at which the connection was opened.
    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    /// Returns the time at which both sides had admitted the link.
    pub(crate) fn up_since(&self) -> Option<Instant> {
        self.up_since
    }

    /// Takes note that bytes were handed to the shell.
    pub(crate) fn queued(&mut self, bytes: usize) {
        self.unwritten += bytes;
    }

    /// Takes note that the shell wrote bytes to the socket.
    pub(crate) fn written(&mut self, bytes: usize) {
        self.unwritten = self.unwritten.saturating_sub(bytes);
    }

    /// Returns the bytes that may still be queued for this neighbour, of messages that can wait.
    pub(crate) fn room(&self) -> usize {
        MAX_GOSSIP_QUEUE.saturating_sub(self.unwritten + self.link.pending_bytes())
    }

    /// Takes a pong.
    pub(crate) fn ponged(&mut self, nonce: u64, now: Instant) {
        if let Some((expected, sent)) = self.ping
            && expected == nonce
        {
            self.ping = None;
            let sample = now.since(sent);
            self.rtt = Some(self.rtt.map_or(sample, |old| (old * 7 + sample) / 8));
        }
    }

    /// Returns what is due on a link that is up, and moves its timers on.
    pub(crate) fn due(&mut self, now: Instant, entropy: &mut dyn Entropy) -> Vec<Due> {
        if !self.up {
            return Vec::new();
        }
        if self.dies_at() <= now {
            return vec![Due::Silent];
        }
        if self.compare_at.is_some_and(|at| at <= now) {
            self.compare_at = None;
            return vec![Due::Digest];
        }
        if now < self.next_ping {
            return Vec::new();
        }
        if self.direct.0 {
            self.next_ping = now + entropy.jitter(LINK_BEAT, 20);
            if !self.outbound {
                return Vec::new();
            }
        } else {
            self.next_ping = now + entropy.jitter(HEARTBEAT, 10);
        }
        let nonce = entropy.u64();
        let (nonce, _) = *self.ping.get_or_insert((nonce, now));
        let mut due = vec![Due::Ping(nonce)];
        // One end compares, for both; with a ping it costs no segment of its own.
        if self.outbound && self.next_digest <= now {
            self.next_digest = now + ANTI_ENTROPY * 7 / 10;
            due.push(Due::Digest);
        }
        due
    }

    /// Returns the time of the next action of [`LinkSlot::due`].
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let next = self.next_ping.min(self.dies_at());
        self.up
            .then(|| self.compare_at.map_or(next, |at| next.min(at)))
    }

    /// Compares once both ends have noticed that the other came within reach by this link: other routers may have, too.
    pub(crate) fn joined(&mut self, now: Instant) {
        if self.outbound {
            self.compare_at(now + ROUTES_INTERVAL);
        }
    }

    /// Sets the time of a comparison out of turn.
    pub(crate) fn compare_at(&mut self, at: Instant) {
        self.compare_at = Some(at);
    }

    /// Compares out of turn a moment from now, unless an earlier time is set.
    pub(crate) fn compare_soon(&mut self, now: Instant) {
        self.compare_at.get_or_insert(now + ROUTES_INTERVAL);
    }

    /// Returns true if so little was heard lately that another link to the same router is to be preferred.
    pub(crate) fn seems_silent(&self, now: Instant) -> bool {
        let usual = if self.direct.0 {
            LINK_BEAT * 3 / 2
        } else {
            DEAD_AFTER / 2
        };
        self.silence(now) > usual
    }

    /// Sets if datagrams go directly to the other end. Without them the link itself must show that it lives.
    pub(crate) fn set_direct(&mut self, direct: bool, now: Instant) {
        if self.direct.0 != direct {
            self.direct = (direct, now);
            if !direct {
                self.next_ping = now;
            }
        }
    }

    /// Returns the time at which the link counts as dead if nothing is heard.
    fn dies_at(&self) -> Instant {
        match self.direct {
            (true, _) => self.last_heard + LINK_DEAD_AFTER,
            // What was not asked could not be heard.
            (false, since) => self.last_heard.max(since) + DEAD_AFTER,
        }
    }

    /// Seals a message into the link; without [`LinkSlot::room`] it is lost: the neighbour asks and does not read. All
    /// messages but records are repeated in time, and records wait in the queue of gossip.
    pub(crate) fn send(&mut self, message: &LinkMessage) {
        if self.room() > 0 {
            self.link.send(message);
        }
    }

    /// Sets if the link is wanted here, and tells the other end if it was not told yet.
    pub(super) fn set_wanted(&mut self, wanted: bool, now: Instant) {
        self.unwanted_since = (!wanted).then(|| self.unwanted_since.unwrap_or(now));
        if self.told_wanted != wanted && self.room() > 0 {
            self.told_wanted = wanted;
            self.send(&LinkMessage::KeepLink(wanted));
        }
    }

    /// Sets if the other end wants the link.
    pub(super) fn set_peer_wants(&mut self, wanted: bool, now: Instant) {
        self.peer_unwanted_since = (!wanted).then(|| self.peer_unwanted_since.unwrap_or(now));
    }

    /// Returns true if no end wants the link.
    pub(super) fn is_unwanted_by_both(&self) -> bool {
        self.unwanted_since.is_some() && self.peer_unwanted_since.is_some()
    }

    /// Returns true if the link is up, and not wanted here, for so long that both ends have had time to want it, and the mesh
    /// to come to rest: while it changes, spare links hold it together.
    pub(super) fn is_unwanted(&self, now: Instant) -> bool {
        is_long_ago(self.up_since, now) && is_long_ago(self.unwanted_since, now)
    }

    /// Returns true if the other end has not wanted it for as long as that.
    pub(super) fn is_unwanted_there(&self, now: Instant) -> bool {
        is_long_ago(self.peer_unwanted_since, now)
    }
}

fn is_long_ago(since: Option<Instant>, now: Instant) -> bool {
    since.is_some_and(|at| now.since(at) >= SPARE_AFTER)
}
