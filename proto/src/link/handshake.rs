//! States of a link. Each consumes the bytes it waits for, gives the next state, and owns only what it needs.

use super::channel::{Channel, RekeyAfter, kind};
use super::config::{LinkConfig, LinkRole};
use super::error::{AlertCode, LinkError};
use super::hello::{self, HELLO};
use crate::entropy::Entropy;
use crate::limits::MAX_LINK_MESSAGE;
use crate::noise::{Handshake, Pattern, Role};
use crate::topology::record::SignedRecord;

/// State of a link.
#[derive(Debug)]
pub(super) enum LinkPhase {
    /// Both: waits for the other side's hello.
    Hello(WaitHello),
    /// Acceptor: waits for Noise message 1.
    First(Noising),
    /// Dialler: waits for Noise message 2.
    Second(Noising),
    /// Acceptor: waits for Noise message 3.
    Third(Noising),
    /// Dialler: waits for the acceptor's confirm.
    Confirm(Secured),
    /// Both: waits for the own control plane's admission decision.
    Deciding(Secured),
    /// Acceptor: waits for the dialler's confirm.
    Admitted(Secured),
    /// Both: exchanges messages.
    Up(Up),
    /// Ended.
    Closed,
}

/// State before the Noise handshake.
#[derive(Debug)]
pub(super) struct WaitHello {
    pub(super) role: LinkRole,
    pub(super) config: LinkConfig,
    pub(super) hello: [u8; HELLO],
    pub(super) rekey: RekeyAfter,
}

/// State during the Noise handshake.
#[derive(Debug)]
pub(super) struct Noising {
    noise: Handshake,
    introduction: SignedRecord,
    rekey: RekeyAfter,
}

/// State with keys, before admission is complete.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) channel: Channel,
    /// The other side's record, until the control plane takes it.
    pub(super) record: SignedRecord,
}

/// State of a link that is up.
#[derive(Debug)]
pub(super) struct Up {
    pub(super) channel: Channel,
    partial: Vec<u8>,
}

impl WaitHello {
    /// Processes the other side's hello, whose start was checked already. Returns the common features, too.
    pub(super) fn read(
        self,
        theirs: &[u8; HELLO],
        entropy: &mut dyn Entropy,
        out: &mut Vec<u8>,
    ) -> Result<(LinkPhase, u64), LinkError> {
        let secret = &self.config.secret;
        let features = hello::check_rest(theirs, secret)? & self.config.features;
        let (role, prologue) = match self.role {
            LinkRole::Dialler => (Role::Initiator, [self.hello, *theirs].concat()),
            LinkRole::Acceptor => (Role::Responder, [*theirs, self.hello].concat()),
        };
        let identity = self.config.identity;
        let psk = zeroize::Zeroizing::new(secret.link_psk());
        let noise = Handshake::new(
            Pattern::XxPsk3,
            role,
            &prologue,
            identity.dh_secret(),
            None,
            &psk,
        );
        let (introduction, rekey) = (self.config.record.clone(), self.rekey);
        let mut noising = Noising {
            noise,
            introduction,
            rekey,
        };
        let state = match self.role {
            LinkRole::Acceptor => LinkPhase::First(noising),
            LinkRole::Dialler => {
                noising.write(&[], entropy, out)?;
                LinkPhase::Second(noising)
            }
        };
        Ok((state, features))
    }
}

impl Noising {
    /// Acceptor: reads message 1 and writes message 2.
    pub(super) fn read_first(
        mut self,
        message: &[u8],
        entropy: &mut dyn Entropy,
        out: &mut Vec<u8>,
    ) -> Result<LinkPhase, LinkError> {
        let payload = self
            .noise
            .read_message(message)
            .map_err(|_| LinkError::Tampered)?;
        if !payload.is_empty() {
            return Err(LinkError::Corrupt("payload in the first message"));
        }
        let introduction = self.introduction.clone();
        self.write(introduction.bytes(), entropy, out)?;
        Ok(LinkPhase::Third(self))
    }

    /// Dialler: reads message 2 and writes message 3. The acceptor has not yet proved that it has the secret.
    pub(super) fn read_second(
        mut self,
        message: &[u8],
        entropy: &mut dyn Entropy,
        out: &mut Vec<u8>,
    ) -> Result<LinkPhase, LinkError> {
        let payload = self
            .noise
            .read_message(message)
            .map_err(|_| LinkError::Tampered)?;
        let record = self.check(&payload)?;
        let introduction = self.introduction.clone();
        self.write(introduction.bytes(), entropy, out)?;
        Ok(LinkPhase::Confirm(self.secure(record)?))
    }

    /// Acceptor: reads message 3, the first that depends on the secret. An altered message fails here, too.
    pub(super) fn read_third(mut self, message: &[u8]) -> Result<Secured, LinkError> {
        let payload = self
            .noise
            .read_message(message)
            .map_err(|_| LinkError::WrongSecret)?;
        let record = self.check(&payload)?;
        self.secure(record)
    }

    fn write(
        &mut self,
        payload: &[u8],
        entropy: &mut dyn Entropy,
        out: &mut Vec<u8>,
    ) -> Result<(), LinkError> {
        let mut message = Vec::new();
        self.noise
            .write_message(entropy.key(), payload, &mut message)
            .map_err(|_| LinkError::Tampered)?;
        let length =
            u16::try_from(message.len()).map_err(|_| LinkError::Corrupt("long message"))?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&message);
        Ok(())
    }

    fn check(&self, payload: &[u8]) -> Result<SignedRecord, LinkError> {
        let record = SignedRecord::parse(payload).map_err(LinkError::BadRecord)?;
        let claimed = record.as_identity().map(|body| body.dh_key);
        if claimed.is_some() && self.noise.remote_static() != claimed {
            return Err(LinkError::ForeignKey);
        }
        record.introduces().map_err(LinkError::BadRecord)?;
        Ok(record)
    }

    fn secure(self, record: SignedRecord) -> Result<Secured, LinkError> {
        let keys = self.noise.split().map_err(|_| LinkError::Tampered)?;
        let channel = Channel::new(&keys, self.rekey);
        Ok(Secured { channel, record })
    }
}

/// Meaning of a record before the link is up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AdmissionRecord {
    Confirm,
    Refusal(AlertCode),
}

impl Secured {
    /// Opens a record, which must be an answer about admission.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<AdmissionRecord, LinkError> {
        match self.channel.open(record).map_err(|_| FORGED)? {
            (kind::CONFIRM, []) => Ok(AdmissionRecord::Confirm),
            (kind::REFUSAL, [code]) => Ok(AdmissionRecord::Refusal(AlertCode::from_byte(*code))),
            _ => Err(LinkError::Corrupt("message before admission")),
        }
    }

    /// Completes admission.
    pub(super) fn into_up(self) -> Up {
        Up {
            channel: self.channel,
            partial: Vec::new(),
        }
    }
}

/// Meaning of a record on a link that is up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpenedRecord {
    Part,
    Message(Vec<u8>),
    Refusal(AlertCode),
}

impl Up {
    /// Opens a record; a message is returned with its last part.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<OpenedRecord, LinkError> {
        let (kind, body) = self.channel.open(record).map_err(|_| FORGED)?;
        match (kind, body) {
            (kind::REFUSAL, [code]) => {
                return Ok(OpenedRecord::Refusal(AlertCode::from_byte(*code)));
            }
            (kind::PART, []) => return Err(LinkError::Corrupt("empty part of a message")),
            (kind::PART | kind::LAST, _) => {}
            _ => return Err(LinkError::Corrupt("record of unknown kind")),
        }
        if self.partial.len() + body.len() > MAX_LINK_MESSAGE {
            return Err(LinkError::Corrupt("message too long"));
        }
        self.partial.extend_from_slice(body);
        Ok(match kind {
            kind::LAST => OpenedRecord::Message(core::mem::take(&mut self.partial)),
            _ => OpenedRecord::Part,
        })
    }
}

const FORGED: LinkError = LinkError::Corrupt("a record that does not authenticate");
