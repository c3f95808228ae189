//! Bodies of Probe datagrams: is this address the peer, and do datagrams of this size arrive there?
//!
//! ```text
//! byte  0      0 request, 1 reply, 3 request of a size, 4 reply to that, 5 question that compares, 6 reply to that
//! bytes 1–8    nonce, in a reply that of the request
//! then         request: nothing, or the answer to what the last reply asked: its challenge (8), milliseconds since it came (2)
//!              reply: challenge (8), answered by the next request; 0 for none
//! then         reply: the address the request was seen from: family (4 or 6) ‖ address (4 or 16) ‖ port (2)
//!              request of a size, and its reply: size of the datagram of the request (2)
//! then         request of a size: zeros, up to that size
//! ```
//!
//! A body that begins with 2 is an offer ([`crate::fastpath::Offer`]), an empty one only confirms keys. Padding does not come back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::wire::datagram::{HEADER_LEN, PROBE_COMPARE, PROBE_COMPARED, TAG_LEN};

/// A probe's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Asks for a reply.
    Request {
        /// Comes back in the reply.
        nonce: u64,
        /// Answers what the last reply asked.
        answer: Option<ChallengeAnswer>,
    },
    /// Answers a request.
    Reply {
        /// From the request.
        nonce: u64,
        /// Comes back in the next request, so that a reply is a question of its own; 0 for none.
        challenge: u64,
        /// The address the request came from, as the replier saw it.
        observed: SocketAddr,
    },
    /// Asks whether a datagram of this size arrives: it is padded to it.
    SizeRequest {
        /// Comes back in the reply.
        nonce: u64,
        /// Bytes of the datagram it is sealed in, header and tag included; at least [`MIN_SIZE_REQUEST`].
        size: u16,
    },
    /// Asks for a reply as a request does, to know how good an address is: where it comes from is no matter.
    Compare {
        /// Comes back in the reply.
        nonce: u64,
    },
    /// Answers that.
    Compared {
        /// From the question.
        nonce: u64,
    },
    /// Answers a request of a size.
    SizeReply {
        /// From the request.
        nonce: u64,
        /// From the request: what arrived.
        size: u16,
    },
}

/// Answer of a request to the challenge in the reply before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChallengeAnswer {
    /// From the reply.
    pub challenge: u64,
    /// Milliseconds since that came; as many or more where it is the highest number.
    pub delay: u16,
}

const REQUEST: u8 = 0;
const REPLY: u8 = 1;
// 2 begins an offer of plain VXLAN (`crate::fastpath`).
const SIZE_REQUEST: u8 = 3;
const SIZE_REPLY: u8 = 4;
/// Bytes of a probe of a size without its padding.
const SIZED_LEN: usize = 11;
/// Bytes of header and tag around a probe's body.
const SEALED: usize = HEADER_LEN + TAG_LEN;
/// Smallest datagram whose size can be asked for: a request is never shorter than its reply.
pub const MIN_SIZE_REQUEST: u16 = 43;
const _: () = assert!(MIN_SIZE_REQUEST as usize == SEALED + SIZED_LEN);

impl Probe {
    /// The bytes to seal.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(36);
        match self {
            Self::Request { nonce, answer } => {
                out.push(REQUEST);
                out.extend_from_slice(&nonce.to_be_bytes());
                if let Some(ChallengeAnswer { challenge, delay }) = answer {
                    out.extend_from_slice(&challenge.to_be_bytes());
                    out.extend_from_slice(&delay.to_be_bytes());
                }
            }
            Self::Reply {
                nonce,
                challenge,
                observed,
            } => {
                out.push(REPLY);
                out.extend_from_slice(&nonce.to_be_bytes());
                out.extend_from_slice(&challenge.to_be_bytes());
                match observed.ip() {
                    IpAddr::V4(ip) => {
                        out.push(4);
                        out.extend_from_slice(&ip.octets());
                    }
                    IpAddr::V6(ip) => {
                        out.push(6);
                        out.extend_from_slice(&ip.octets());
                    }
                }
                out.extend_from_slice(&observed.port().to_be_bytes());
            }
            Self::SizeRequest { nonce, size } => {
                sized(SIZE_REQUEST, *nonce, *size, &mut out);
                out.resize(usize::from(*size).saturating_sub(SEALED).max(SIZED_LEN), 0);
            }
            Self::SizeReply { nonce, size } => sized(SIZE_REPLY, *nonce, *size, &mut out),
            Self::Compare { nonce } => {
                out.push(PROBE_COMPARE);
                out.extend_from_slice(&nonce.to_be_bytes());
            }
            Self::Compared { nonce } => {
                out.push(PROBE_COMPARED);
                out.extend_from_slice(&nonce.to_be_bytes());
            }
        }
        out
    }

    /// Reads a body; `None` for anything else than the six forms (an empty one included).
    pub fn decode(body: &[u8]) -> Option<Self> {
        let (kind, rest) = body.split_first()?;
        let (nonce, rest) = rest.split_first_chunk::<8>()?;
        let nonce = u64::from_be_bytes(*nonce);
        match (*kind, rest) {
            (REQUEST, []) => Some(Self::Request {
                nonce,
                answer: None,
            }),
            (REQUEST, answer) => {
                let (challenge, delay) = answer.split_first_chunk::<8>()?;
                let answer = ChallengeAnswer {
                    challenge: u64::from_be_bytes(*challenge),
                    delay: u16::from_be_bytes(delay.try_into().ok()?),
                };
                Some(Self::Request {
                    nonce,
                    answer: Some(answer),
                })
            }
            (REPLY, rest) => {
                let (challenge, observed) = rest.split_first_chunk::<8>()?;
                Some(Self::Reply {
                    nonce,
                    challenge: u64::from_be_bytes(*challenge),
                    observed: address(observed)?,
                })
            }
            (SIZE_REQUEST, [hi, lo, padding @ ..]) => {
                let size = u16::from_be_bytes([*hi, *lo]);
                let is_padded = usize::from(size) == SEALED + body.len();
                (is_padded && padding.iter().all(|byte| *byte == 0))
                    .then_some(Self::SizeRequest { nonce, size })
            }
            (PROBE_COMPARE, []) => Some(Self::Compare { nonce }),
            (PROBE_COMPARED, []) => Some(Self::Compared { nonce }),
            (SIZE_REPLY, [hi, lo]) => Some(Self::SizeReply {
                nonce,
                size: u16::from_be_bytes([*hi, *lo]),
            }),
            _ => None,
        }
    }
}

fn address(bytes: &[u8]) -> Option<SocketAddr> {
    match bytes {
        [4, a, b, c, d, hi, lo] => {
            let ip = Ipv4Addr::new(*a, *b, *c, *d);
            Some((ip, u16::from_be_bytes([*hi, *lo])).into())
        }
        [6, tail @ ..] => {
            let (ip, port) = tail.split_first_chunk::<16>()?;
            let port: [u8; 2] = port.try_into().ok()?;
            Some((Ipv6Addr::from(*ip), u16::from_be_bytes(port)).into())
        }
        _ => None,
    }
}

fn sized(kind: u8, nonce: u64, size: u16, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&nonce.to_be_bytes());
    out.extend_from_slice(&size.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_of_a_size_has_it_and_its_reply_is_never_longer() {
        for size in [MIN_SIZE_REQUEST, 1200, 9472] {
            let request = Probe::SizeRequest { nonce: 5, size }.encode();
            assert_eq!(request.len() + SEALED, usize::from(size));
            let reply = Probe::SizeReply { nonce: 5, size }.encode();
            assert!(reply.len() <= request.len());
        }
    }

    #[test]
    fn a_request_of_another_size_than_it_has_is_refused() {
        let size = 100;
        let good = Probe::SizeRequest { nonce: 5, size }.encode();
        assert!(Probe::decode(&good).is_some());
        assert_eq!(Probe::decode(&good[..good.len() - 1]), None);
        assert_eq!(Probe::decode(&[&good[..], &[0]].concat()), None);
        let mut padded_with_something = good;
        padded_with_something[40] = 1;
        assert_eq!(Probe::decode(&padded_with_something), None);
    }

    proptest! {
        #[test]
        fn any_body_decodes_or_not_but_never_panics(mut body in proptest::collection::vec(any::<u8>(), 0..40), kind in 0u8..8) {
            if let Some(first) = body.first_mut() {
                *first = kind;
            }
            if let Some(probe) = Probe::decode(&body) {
                prop_assert_eq!(probe.encode(), body);
            }
        }

        #[test]
        fn probes_survive_the_wire(nonce: u64, challenge: u64, delay: u16, ip: [u8; 16], port: u16, v4: bool, size in MIN_SIZE_REQUEST..9473) {
            let ip = if v4 { IpAddr::from([ip[0], ip[1], ip[2], ip[3]]) } else { IpAddr::from(ip) };
            for probe in [
                Probe::Request { nonce, answer: None },
                Probe::Request { nonce, answer: Some(ChallengeAnswer { challenge, delay }) },
                Probe::Reply { nonce, challenge, observed: (ip, port).into() },
                Probe::SizeRequest { nonce, size },
                Probe::SizeReply { nonce, size },
                Probe::Compare { nonce },
                Probe::Compared { nonce },
            ] {
                prop_assert_eq!(Probe::decode(&probe.encode()), Some(probe));
            }
        }
    }
}
