//! Encoding of Init, Response and Cookie messages; see the layout in [`super`].

use blake2::digest::consts::{U16, U32};
use blake2::digest::{KeyInit, Mac};
use blake2::{Blake2s256, Blake2sMac, Digest};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Refused;
use crate::crypto::aead::Suites;
use crate::entropy::Entropy;
use crate::ids::{PeerId, SessionIndex};
use crate::limits;
use crate::network::NetworkLabel;
use crate::wire::datagram::{HEADER_LEN, Header, Kind};

/// Length of an Init message, in bytes.
pub const INIT_LEN: usize = HEADER_LEN + 128 + limits::MAX_OFFERED_SUITES + 2 * MAC;
/// Length of a Response message, in bytes.
pub const RESPONSE_LEN: usize = HEADER_LEN + 61 + MAC;
/// Length of a Cookie message, in bytes.
pub const COOKIE_LEN: usize = HEADER_LEN + NONCE + SEALED_COOKIE;
// No amplification: no answer is longer than the message that causes it.
const _: () = assert!(RESPONSE_LEN <= INIT_LEN && COOKIE_LEN <= INIT_LEN);

const MAC: usize = 16;
const NONCE: usize = 24;
const SEALED_COOKIE: usize = 48;

const PROLOGUE_LABEL: &[u8] = b"mesh session v1";
const MAC1_LABEL: &[u8] = b"mesh mac1 v1";
const COOKIE_LABEL: &[u8] = b"mesh cookie v1";
const HANDSHAKE_COUNTER: u64 = 1 << 63;

/// Cookie: a secret bound to a source address, and the key of mac2.
pub(super) type Cookie = Zeroizing<[u8; 32]>;

/// Parsed handshake datagram, not authenticated.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Init(Sealed<'a>),
    Response(Sealed<'a>),
    Cookie(CookieMessage<'a>),
}

/// Parsed Init or Response.
#[derive(Debug)]
pub(super) struct Sealed<'a> {
    pub(super) header: Header,
    pub(super) noise: &'a [u8],
    mac1: &'a [u8; MAC],
    datagram: &'a [u8],
}

#[derive(Debug)]
pub(super) struct CookieMessage<'a> {
    pub(super) receiver: SessionIndex,
    nonce: &'a [u8; NONCE],
    sealed: &'a [u8],
}

pub(super) fn parse(datagram: &[u8]) -> Result<Message<'_>, Refused> {
    let header = Header::parse(datagram).map_err(|_| Refused::Malformed)?;
    let length = match header.kind {
        Kind::Init => INIT_LEN,
        Kind::Response => RESPONSE_LEN,
        Kind::Cookie => COOKIE_LEN,
        Kind::Data
        | Kind::Relay
        | Kind::Flood
        | Kind::NetworkFlood
        | Kind::Probe
        | Kind::Fragment => {
            return Err(Refused::Malformed);
        }
    };
    if datagram.len() != length || header.receiver.0 == 0 {
        return Err(Refused::Malformed);
    }
    if header.kind == Kind::Cookie {
        let (nonce, sealed) = datagram[HEADER_LEN..]
            .split_first_chunk()
            .ok_or(Refused::Malformed)?;
        return Ok(Message::Cookie(CookieMessage {
            receiver: header.receiver,
            nonce,
            sealed,
        }));
    }
    let (noise, macs) = match header.kind {
        Kind::Init => datagram.split_at(INIT_LEN - 2 * MAC),
        _ => datagram.split_at(RESPONSE_LEN - MAC),
    };
    let message = Sealed {
        header,
        noise: &noise[HEADER_LEN..],
        mac1: macs.first_chunk().ok_or(Refused::Malformed)?,
        datagram,
    };
    Ok(if header.kind == Kind::Init {
        Message::Init(message)
    } else {
        Message::Response(message)
    })
}

impl Sealed<'_> {
    pub(super) fn mac1(&self) -> [u8; MAC] {
        *self.mac1
    }

    /// Verifies mac1 with the key of the receiver.
    pub(super) fn check_mac1(&self, mac1_key: &[u8; 32]) -> Result<(), Refused> {
        let covered = &self.datagram[..HEADER_LEN + self.noise.len()];
        let good = mac16(mac1_key, covered).ct_eq(self.mac1);
        if bool::from(good) {
            Ok(())
        } else {
            Err(Refused::BadMac)
        }
    }

    /// Returns true if the Init ends with the mac2 that this cookie gives.
    pub(super) fn has_mac2_of(&self, cookie: &Cookie) -> bool {
        self.datagram
            .split_last_chunk::<MAC>()
            .is_some_and(|(covered, mac2)| mac16(cookie, covered).ct_eq(mac2).into())
    }
}

impl CookieMessage<'_> {
    /// Decrypts the cookie, if the router with key `sender_dh` made it in answer to the message with this mac1.
    pub(super) fn open(&self, sender_dh: &[u8; 32], mac1: &[u8; MAC]) -> Result<Cookie, Refused> {
        let opened = cookie_cipher(sender_dh)
            .decrypt(
                &XNonce::from(*self.nonce),
                Payload {
                    msg: self.sealed,
                    aad: mac1,
                },
            )
            .map_err(|_| Refused::BadCookie)?;
        let cookie = opened.try_into().map_err(|_| Refused::BadCookie)?;
        Ok(Zeroizing::new(cookie))
    }
}

/// Encodes the Cookie message that answers the message with this index and mac1.
pub(super) fn cookie_message(
    receiver: SessionIndex,
    mac1: &[u8; MAC],
    cookie: &Cookie,
    own_dh: &[u8; 32],
    entropy: &mut dyn Entropy,
) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE];
    entropy.fill(&mut nonce);
    let payload = Payload {
        msg: &cookie[..],
        aad: mac1,
    };
    let sealed = cookie_cipher(own_dh)
        .encrypt(&XNonce::from(nonce), payload)
        .ok()?;
    let mut out = header(Kind::Cookie, receiver, entropy).encode().to_vec();
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&sealed);
    Some(out)
}

/// Returns a header whose counter differs from those of all other datagrams with that index.
pub(super) fn header(kind: Kind, receiver: SessionIndex, entropy: &mut dyn Entropy) -> Header {
    Header {
        kind,
        hop_limit: limits::MAX_HOPS,
        label: NetworkLabel::DEFAULT,
        receiver,
        counter: entropy.u64() | HANDSHAKE_COUNTER,
    }
}

/// Encrypted payload of an Init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InitPayload {
    pub(super) peer: PeerId,
    /// Boot epoch and handshake counter.
    pub(super) freshness: (u64, u64),
    pub(super) suites: Suites,
}

impl InitPayload {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (epoch, counter) = self.freshness;
        [
            &self.peer.0[..],
            &epoch.to_be_bytes(),
            &counter.to_be_bytes(),
            &self.suites.encode(),
        ]
        .concat()
    }

    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let (peer, rest) = payload.split_first_chunk::<16>()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (counter, rest) = rest.split_first_chunk::<8>()?;
        Some(Self {
            peer: PeerId(*peer),
            freshness: (u64::from_be_bytes(*epoch), u64::from_be_bytes(*counter)),
            suites: Suites::decode(rest.try_into().ok()?),
        })
    }
}

/// Encrypted payload of a Response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResponsePayload {
    /// Session index of the responder, not 0.
    pub(super) index: SessionIndex,
    /// Number of the suite chosen by the responder.
    pub(super) suite: u8,
    /// Boot epoch of the responder; tells the initiator which run of that router has the keys.
    pub(super) epoch: u64,
}

impl ResponsePayload {
    pub(super) fn encode(self) -> Vec<u8> {
        let (index, epoch) = (self.index.0.to_be_bytes(), self.epoch.to_be_bytes());
        [&index[..], &[self.suite], &epoch].concat()
    }

    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let (index, rest) = payload.split_first_chunk::<4>()?;
        let (suite, epoch) = rest.split_first()?;
        let index = u32::from_be_bytes(*index);
        (index != 0).then_some(Self {
            index: SessionIndex(index),
            suite: *suite,
            epoch: u64::from_be_bytes(epoch.try_into().ok()?),
        })
    }
}

/// Returns the Noise prologue, on which both sides must agree.
pub(super) fn prologue(init: &Header, responder: &PeerId) -> Vec<u8> {
    [PROLOGUE_LABEL, &init.encode(), &responder.0].concat()
}

/// Appends mac1 for the receiver with key `receiver_dh`, and returns it.
pub(super) fn append_mac1(datagram: &mut Vec<u8>, receiver_dh: &[u8; 32]) -> [u8; MAC] {
    let mac1 = mac16(&mac1_key(receiver_dh), datagram);
    datagram.extend_from_slice(&mac1);
    mac1
}

/// Appends mac2 to an Init; zeros without a cookie.
pub(super) fn append_mac2(datagram: &mut Vec<u8>, cookie: Option<&Cookie>) {
    let mac2 = cookie.map_or([0; MAC], |cookie| mac16(cookie, datagram));
    datagram.extend_from_slice(&mac2);
}

/// Returns the key of mac1 in messages to the router with key `receiver_dh`.
pub(super) fn mac1_key(receiver_dh: &[u8; 32]) -> [u8; 32] {
    labelled(MAC1_LABEL, receiver_dh)
}

/// Returns the 32-byte BLAKE2s MAC of `data`, of which cookies are made.
pub(super) fn mac32(key: &[u8; 32], data: &[u8]) -> [u8; 32] {
    let mac = <Blake2sMac<U32> as KeyInit>::new(key.into());
    mac.chain_update(data).finalize().into_bytes().into()
}

fn mac16(key: &[u8; 32], data: &[u8]) -> [u8; MAC] {
    let mac = <Blake2sMac<U16> as KeyInit>::new(key.into());
    mac.chain_update(data).finalize().into_bytes().into()
}

fn cookie_cipher(sender_dh: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&labelled(COOKIE_LABEL, sender_dh)).into())
}

fn labelled(label: &[u8], key: &[u8; 32]) -> [u8; 32] {
    Blake2s256::new()
        .chain_update(label)
        .chain_update(key)
        .finalize()
        .into()
}
