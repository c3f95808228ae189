//! Link: the state machine of one connection, with bytes in, and bytes and events out.

use core::fmt;
use std::collections::VecDeque;

use super::channel::{RekeyAfter, kind};
use super::config::{LinkConfig, LinkRole, own_introduction};
use super::error::{AlertCode, LinkError};
use super::handshake::{AdmissionRecord, LinkPhase, OpenedRecord, Secured, WaitHello};
use super::hello::{self, HELLO, HELLO_START};
use crate::entropy::Entropy;
use crate::ids::{PeerId, PeerName};
use crate::limits::{HANDSHAKE_TIMEOUT, MAX_LINK_RECORD, MAX_LINK_SEND_QUEUE, MAX_PREAUTH_BUFFER};
use crate::room;
use crate::time::Instant;
use crate::topology::record::SignedRecord;
use crate::wire::message::LinkMessage;

/// Event of a link for its owner.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The other side proved its identity and that it has the secret. Answer with [`Link::accept`] or
    /// [`Link::refuse`].
    Authenticated {
        /// Introduction of the peer, signature verified.
        record: SignedRecord,
        /// Identity of the peer.
        peer: PeerId,
    },
    /// Both sides accepted: messages may be sent.
    Up,
    /// Message from the peer.
    Message(LinkMessage),
    /// Last event, at the end of the link: write what [`Link::poll_transmit`] still has, and close the connection.
    Closed(LinkError),
}

/// One TCP connection to another router, without I/O.
///
/// After every call drain [`Link::poll_event`] and [`Link::poll_transmit`]; bytes to transmit stay valid after
/// [`LinkEvent::Closed`]. Announced lengths cause no allocation: at most [`MAX_PREAUTH_BUFFER`] bytes are buffered
/// before the link is up, and one record and one partial message afterwards.
pub struct Link {
    role: LinkRole,
    name: PeerName,
    peer: Option<PeerName>,
    /// Identity of the other end, once authenticated.
    origin: Option<PeerId>,
    pub(super) state: LinkPhase,
    pub(super) buffer: Vec<u8>,
    out: Vec<u8>,
    events: VecDeque<LinkEvent>,
    deadline: Option<Instant>,
    features: u64,
    malformed: u64,
    records: u64,
}

const ALERT: [u8; 2] = [0xff, 0xff];
const ALERT_BYTES: usize = 4;

impl Link {
    /// Creates the link of a new connection, with its hello ready to send. The handshake must complete within
    /// [`HANDSHAKE_TIMEOUT`].
    pub fn new(
        role: LinkRole,
        config: &LinkConfig,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Self {
        Self::with_rekey(role, config, RekeyAfter::default(), now, entropy)
    }

    /// Creates a link like [`Link::new`], with other limits on the use of keys.
    pub(super) fn with_rekey(
        role: LinkRole,
        config: &LinkConfig,
        rekey: RekeyAfter,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Self {
        let mut link = Self {
            role,
            name: config
                .record
                .as_identity()
                .map_or(PeerName([0; 6]), |body| body.name),
            peer: None,
            origin: None,
            state: LinkPhase::Closed,
            buffer: Vec::new(),
            out: Vec::new(),
            events: VecDeque::new(),
            deadline: Some(now + HANDSHAKE_TIMEOUT),
            features: 0,
            malformed: 0,
            records: 0,
        };
        match own_introduction(config) {
            Ok(()) => {
                let hello = hello::write(&config.secret, config.features, entropy);
                link.out.extend_from_slice(&hello);
                let config = config.clone();
                link.state = LinkPhase::Hello(WaitHello {
                    role,
                    config,
                    hello,
                    rekey,
                });
            }
            Err(error) => link.end(LinkError::OwnRecord(error)),
        }
        link
    }

    /// Handles bytes from the connection, in pieces of any size. They are ignored once the link is closed; bytes
    /// after the deadline do not save a handshake.
    pub fn handle_bytes(&mut self, mut bytes: &[u8], now: Instant, entropy: &mut dyn Entropy) {
        self.handle_timeout(now);
        while !matches!(self.state, LinkPhase::Closed) {
            let wanted = match self.wanted() {
                Ok(wanted) => wanted,
                Err(error) => return self.fail(error),
            };
            if self.buffer.len() < wanted {
                if bytes.is_empty() {
                    return room::give_back_bytes(&mut self.buffer);
                }
                let (piece, rest) = bytes.split_at(bytes.len().min(wanted - self.buffer.len()));
                self.buffer.extend_from_slice(piece);
                bytes = rest;
                continue;
            }
            let mut unit = core::mem::take(&mut self.buffer);
            if let Err(error) = self.take_unit(&mut unit, entropy) {
                return self.fail(error);
            }
            unit.clear();
            self.buffer = unit;
        }
    }

    /// Admits the authenticated peer. No effect unless [`LinkEvent::Authenticated`] waits for an answer.
    pub fn accept(&mut self) {
        let state = core::mem::replace(&mut self.state, LinkPhase::Closed);
        let LinkPhase::Deciding(mut secured) = state else {
            self.state = state;
            return;
        };
        secured.channel.seal(kind::CONFIRM, &[], &mut self.out);
        match self.role {
            LinkRole::Acceptor => self.state = LinkPhase::Admitted(secured),
            LinkRole::Dialler => self.come_up(secured),
        }
    }

    /// Refuses the peer and ends the link, in any state; [`LinkEvent::Closed`] follows.
    pub fn refuse(&mut self, code: AlertCode) {
        match &mut self.state {
            LinkPhase::Closed => return,
            LinkPhase::Confirm(secured)
            | LinkPhase::Deciding(secured)
            | LinkPhase::Admitted(secured) => {
                secured
                    .channel
                    .seal(kind::REFUSAL, &[code.to_byte()], &mut self.out);
            }
            LinkPhase::Up(up) => up
                .channel
                .seal(kind::REFUSAL, &[code.to_byte()], &mut self.out),
            LinkPhase::Hello(_)
            | LinkPhase::First(_)
            | LinkPhase::Second(_)
            | LinkPhase::Third(_) => {
                self.send_alert(code);
            }
        }
        self.end(LinkError::Refused {
            code,
            name: self.peer,
        });
    }

    /// Seals a message. Returns false if the link is not up, if [`Link::pending_bytes`] has reached
    /// [`MAX_LINK_SEND_QUEUE`], or if the message exceeds a bound.
    pub fn send(&mut self, message: &LinkMessage) -> bool {
        let LinkPhase::Up(up) = &mut self.state else {
            return false;
        };
        if self.out.len() >= MAX_LINK_SEND_QUEUE {
            return false;
        }
        let Ok(bytes) = message.encode() else {
            return false;
        };
        up.channel.seal_message(&bytes, &mut self.out);
        true
    }

    /// Seals a message like [`Link::send`], from bytes encoded elsewhere: the simulator's hostile members send what
    /// the encoder never produces.
    pub fn send_encoded(&mut self, message: &[u8]) -> bool {
        let LinkPhase::Up(up) = &mut self.state else {
            return false;
        };
        if self.out.len() >= MAX_LINK_SEND_QUEUE {
            return false;
        }
        up.channel.seal_message(message, &mut self.out);
        true
    }

    /// Takes the next event.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        room::give_back_entries(&mut self.events);
        self.events.pop_front()
    }

    /// Takes all bytes to write to the connection.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        (!self.out.is_empty()).then(|| core::mem::take(&mut self.out))
    }

    /// Returns the number of bytes that [`Link::poll_transmit`] would return.
    pub fn pending_bytes(&self) -> usize {
        self.out.len()
    }

    /// Returns the deadline for [`Link::handle_timeout`], that of the handshake; `None` once the link is up.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Ends the link if its handshake takes too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.end(LinkError::TimedOut);
        }
    }

    /// Returns the features that both sides support; 0 before the other side's hello.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// Returns the number of complete authenticated records since the link is up. Only these prove that the peer is
    /// alive: bytes that never become a record do not.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Returns the number of messages skipped as malformed or out of bounds, which do not end a link.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Returns the number of bytes needed for the next step: the length prefix first, then the whole unit.
    fn wanted(&self) -> Result<usize, LinkError> {
        if matches!(self.state, LinkPhase::Hello(_)) {
            if self.buffer.len() < HELLO_START {
                return Ok(HELLO_START);
            }
            hello::check_start(&self.buffer)?;
            return Ok(HELLO);
        }
        let [a, b, ..] = self.buffer[..] else {
            return Ok(2);
        };
        if [a, b] == ALERT && self.expects_alert() {
            return Ok(ALERT_BYTES);
        }
        let max = match self.state {
            LinkPhase::Up(_) => MAX_LINK_RECORD,
            _ => MAX_PREAUTH_BUFFER - 2,
        };
        match usize::from(u16::from_be_bytes([a, b])) {
            0 => Err(LinkError::Corrupt("empty record")),
            length if length > max => Err(LinkError::Corrupt("record too long")),
            length => Ok(2 + length),
        }
    }

    /// Returns true if a plain alert is valid now: until the other side is authenticated.
    fn expects_alert(&self) -> bool {
        matches!(
            self.state,
            LinkPhase::First(_)
                | LinkPhase::Second(_)
                | LinkPhase::Third(_)
                | LinkPhase::Confirm(_)
        )
    }

    /// Handles a complete hello, alert, handshake message or record, length included.
    fn take_unit(&mut self, unit: &mut [u8], entropy: &mut dyn Entropy) -> Result<(), LinkError> {
        if unit.starts_with(&ALERT) && self.expects_alert() {
            self.end(LinkError::RefusedByPeer {
                code: AlertCode::from_byte(unit[2]),
                name: self.name,
                by: None,
            });
            return Ok(());
        }
        match core::mem::replace(&mut self.state, LinkPhase::Closed) {
            LinkPhase::Hello(wait) => {
                let hello = unit
                    .first_chunk()
                    .ok_or(LinkError::Corrupt("short hello"))?;
                (self.state, self.features) = wait.read(hello, entropy, &mut self.out)?;
            }
            LinkPhase::First(noising) => {
                let next = noising.read_first(&unit[2..], entropy, &mut self.out);
                self.state = self.or_alert(next)?;
            }
            LinkPhase::Second(noising) => {
                let next = noising.read_second(&unit[2..], entropy, &mut self.out);
                self.state = self.or_alert(next)?;
            }
            LinkPhase::Third(noising) => {
                let next = noising.read_third(&unit[2..]);
                let secured = self.or_alert(next)?;
                self.authenticated(secured);
            }
            LinkPhase::Confirm(secured) => self.take_answer(secured, unit, Self::authenticated)?,
            LinkPhase::Admitted(secured) => self.take_answer(secured, unit, Self::come_up)?,
            LinkPhase::Deciding(mut secured) => match secured.open(unit)? {
                AdmissionRecord::Confirm => return Err(LinkError::Corrupt("confirm out of turn")),
                AdmissionRecord::Refusal(code) => self.refused(code),
            },
            LinkPhase::Up(mut up) => {
                let received = up.open(unit)?;
                self.records += 1;
                match received {
                    OpenedRecord::Refusal(code) => self.refused(code),
                    OpenedRecord::Part => self.state = LinkPhase::Up(up),
                    OpenedRecord::Message(message) => {
                        self.state = LinkPhase::Up(up);
                        match LinkMessage::decode(&message) {
                            Ok(message) => self.events.push_back(LinkEvent::Message(message)),
                            Err(_) => self.malformed += 1,
                        }
                    }
                }
            }
            LinkPhase::Closed => {}
        }
        Ok(())
    }

    fn take_answer(
        &mut self,
        mut secured: Secured,
        unit: &mut [u8],
        confirmed: fn(&mut Self, Secured),
    ) -> Result<(), LinkError> {
        let answer = secured.open(unit)?;
        self.origin = Some(secured.record.origin());
        match answer {
            AdmissionRecord::Confirm => confirmed(self, secured),
            AdmissionRecord::Refusal(code) => self.refused(code),
        }
        Ok(())
    }

    fn authenticated(&mut self, secured: Secured) {
        let record = secured.record.clone();
        self.peer = record.as_identity().map(|body| body.name);
        let peer = record.origin();
        self.origin = Some(peer);
        self.state = LinkPhase::Deciding(secured);
        self.events
            .push_back(LinkEvent::Authenticated { record, peer });
    }

    fn come_up(&mut self, secured: Secured) {
        self.state = LinkPhase::Up(secured.into_up());
        self.deadline = None;
        self.events.push_back(LinkEvent::Up);
    }

    fn refused(&mut self, code: AlertCode) {
        self.end(LinkError::RefusedByPeer {
            code,
            name: self.name,
            by: self.origin,
        });
    }

    /// Sends the reason of a failed handshake as an alert to the other side.
    fn or_alert<T>(&mut self, result: Result<T, LinkError>) -> Result<T, LinkError> {
        if let Err(error) = &result
            && let Some(code) = error.alert()
        {
            self.send_alert(code);
        }
        result
    }

    fn send_alert(&mut self, code: AlertCode) {
        self.out.extend_from_slice(&ALERT);
        self.out.extend_from_slice(&[code.to_byte(), 0]);
    }

    fn fail(&mut self, error: LinkError) {
        self.buffer = Vec::new();
        self.end(error);
    }

    fn end(&mut self, error: LinkError) {
        self.state = LinkPhase::Closed;
        self.deadline = None;
        self.events.push_back(LinkEvent::Closed(error));
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("role", &self.role)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
