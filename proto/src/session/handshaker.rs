//! Making and reading of handshake messages with the keys of this router.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::message::{self, Cookie, InitPayload, ResponsePayload, Sealed};
use super::transport::{Ends, Transport, TransportKeys, TransportLimits};
use super::{Directory, Refused};
use crate::crypto::aead::{Suite, Suites};
use crate::crypto::identity::Identity;
use crate::entropy::Entropy;
use crate::ids::{PeerId, SessionIndex};
use crate::noise::{Handshake, NoiseError, Pattern, Role, SplitKeys};
use crate::time::Instant;
use crate::wire::datagram::{Header, Kind};

/// Identity and settings of this router in handshakes.
pub(super) struct Handshaker {
    identity: Arc<Identity>,
    psk: Zeroizing<[u8; 32]>,
    /// Supported data suites in order of preference; never empty.
    suites: Suites,
    /// Limits for tests, instead of those of the suite.
    limits: Option<TransportLimits>,
    epoch: u64,
    /// Number of Inits made since the start.
    inits: u64,
}

/// Init that was made here.
pub(super) struct MadeInit {
    pub(super) noise: Handshake,
    pub(super) mac1: [u8; 16],
    /// Complete datagram.
    pub(super) bytes: Vec<u8>,
}

/// Content of an authenticated Init of a peer.
pub(super) struct ReadInit {
    noise: Handshake,
    pub(super) header: Header,
    pub(super) dh_key: [u8; 32],
    pub(super) says: InitPayload,
}

/// Response that was made here, and the keys that it agrees on.
pub(super) struct MadeResponse {
    /// Complete datagram.
    pub(super) bytes: Vec<u8>,
    pub(super) keys: SplitKeys,
}

impl Handshaker {
    pub(super) fn new(identity: Arc<Identity>, epoch: u64, psk: [u8; 32], suites: Suites) -> Self {
        Self {
            identity,
            psk: Zeroizing::new(psk),
            suites,
            limits: None,
            epoch,
            inits: 0,
        }
    }

    pub(super) fn set_limits(&mut self, limits: TransportLimits) {
        self.limits = Some(limits);
    }

    /// Continues with a higher boot epoch. Returns false if it is not higher.
    pub(super) fn raise_epoch(&mut self, epoch: u64) -> bool {
        let is_higher = epoch > self.epoch;
        self.epoch = self.epoch.max(epoch);
        is_higher
    }

    /// Returns the identity of this router.
    pub(super) fn id(&self) -> PeerId {
        self.identity.id()
    }

    pub(super) fn suites(&self) -> Suites {
        self.suites
    }

    /// Makes the next Init, each with a new ephemeral key and counter.
    ///
    /// # Errors
    /// [`NoiseError`] if the key of the peer is unusable.
    pub(super) fn make_init(
        &mut self,
        (peer, dh_key): (PeerId, [u8; 32]),
        index: SessionIndex,
        cookie: Option<&Cookie>,
        entropy: &mut dyn Entropy,
    ) -> Result<MadeInit, NoiseError> {
        let header = message::header(Kind::Init, index, entropy);
        let mut noise = Handshake::new(
            Pattern::IkPsk2,
            Role::Initiator,
            &message::prologue(&header, &peer),
            self.identity.dh_secret(),
            Some(dh_key),
            &self.psk,
        );
        self.inits += 1;
        let payload = InitPayload {
            peer: self.identity.id(),
            freshness: (self.epoch, self.inits),
            suites: self.suites,
        };
        let mut bytes = header.encode().to_vec();
        noise.write_message(entropy.key(), &payload.encode(), &mut bytes)?;
        let mac1 = message::append_mac1(&mut bytes, &dh_key);
        message::append_mac2(&mut bytes, cookie);
        Ok(MadeInit { noise, mac1, bytes })
    }

    /// Authenticates an Init.
    ///
    /// # Errors
    /// [`Refused`] if it is malformed or not authentic, or if `directory` does not have its key for its sender.
    pub(super) fn read_init(
        &self,
        init: &Sealed<'_>,
        directory: &dyn Directory,
    ) -> Result<ReadInit, Refused> {
        let mut noise = Handshake::new(
            Pattern::IkPsk2,
            Role::Responder,
            &message::prologue(&init.header, &self.identity.id()),
            self.identity.dh_secret(),
            None,
            &self.psk,
        );
        let payload = noise.read_message(init.noise)?;
        let says = InitPayload::decode(&payload).ok_or(Refused::Malformed)?;
        let dh_key = noise.remote_static().ok_or(Refused::Unauthentic)?;
        // The Noise message proves possession of the key, the record whose key it is; a record with another router's
        // key proves nothing.
        if !directory.names(&says.peer, &dh_key) {
            return Err(Refused::UnknownPeer);
        }
        Ok(ReadInit {
            noise,
            header: init.header,
            dh_key,
            says,
        })
    }

    /// Makes the Response to an Init, with the index by which this router receives.
    ///
    /// # Errors
    /// [`NoiseError`] if the key of the peer is unusable.
    pub(super) fn make_response(
        &self,
        init: ReadInit,
        index: SessionIndex,
        suite: Suite,
        entropy: &mut dyn Entropy,
    ) -> Result<MadeResponse, NoiseError> {
        let ReadInit {
            mut noise,
            header,
            dh_key,
            ..
        } = init;
        let mut bytes = message::header(Kind::Response, header.receiver, entropy)
            .encode()
            .to_vec();
        let payload = ResponsePayload {
            index,
            suite: suite.number(),
            epoch: self.epoch,
        };
        noise.write_message(entropy.key(), &payload.encode(), &mut bytes)?;
        let keys = noise.split()?;
        message::append_mac1(&mut bytes, &dh_key);
        Ok(MadeResponse { bytes, keys })
    }

    /// Returns the suite with this number, if it is supported.
    pub(super) fn suite(&self, number: u8) -> Option<Suite> {
        Suite::from_number(number).filter(|suite| self.suites.contains(*suite))
    }

    /// Makes the transport of a completed handshake.
    pub(super) fn transport(
        &self,
        ends: Ends,
        suite: Suite,
        keys: &SplitKeys,
        initiator: bool,
        now: Instant,
    ) -> Arc<Transport> {
        let keys = TransportKeys {
            suite,
            send: keys.send,
            recv: keys.recv,
        };
        let limits = self
            .limits
            .unwrap_or_else(|| TransportLimits::for_suite(suite));
        Arc::new(Transport::with_limits(ends, keys, initiator, now, limits))
    }
}

impl From<NoiseError> for Refused {
    fn from(error: NoiseError) -> Self {
        match error {
            NoiseError::LowOrder | NoiseError::NoRemoteStatic => Refused::BadKey,
            NoiseError::TooShort | NoiseError::TooLong => Refused::Malformed,
            NoiseError::Unauthentic | NoiseError::OutOfTurn | NoiseError::Unfinished => {
                Refused::Unauthentic
            }
        }
    }
}
