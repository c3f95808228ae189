//! Data session from A to B, and one datagram of each kind.

use std::net::SocketAddr;

use mesh_proto::control::probe::{ChallengeAnswer, Probe};
use mesh_proto::crypto::aead::{Suite, Suites};
use mesh_proto::crypto::network_key::NetworkKey;
use mesh_proto::fastpath::Offer;
use mesh_proto::ids::{PeerId, SessionIndex};
use mesh_proto::limits::{HANDSHAKE_LOAD, MAX_HOPS};
use mesh_proto::network::{BroadcastStream, NetworkId, NetworkLabel};
use mesh_proto::session::transport::{Ends, Transport, TransportKeys};
use mesh_proto::session::{Directory, Refused, SessionOutput, Sessions, Via};
use mesh_proto::time::Instant;
use mesh_proto::wire::datagram::{
    FloodPrefix, InnerFrame, Kind, NETWORK_FLOOD_PREFIX_LEN, NetworkFloodPrefix, push_frame,
};

use crate::Vectors;
use crate::routers::{self, Router};

const NOW: Instant = Instant::from_nanos(1);

/// Directory with one router.
struct Knows([u8; 32], PeerId);

impl Directory for Knows {
    fn names(&self, peer: &PeerId, dh_key: &[u8; 32]) -> bool {
        (*dh_key, *peer) == (self.0, self.1)
    }
}

struct End {
    router: Router,
    sessions: Sessions,
}

impl End {
    fn new(router: Router, epoch: u64) -> Self {
        let psk = routers::secret().session_psk();
        let sessions = Sessions::new(router.identity.clone(), epoch, psk, Suites::AES_FIRST);
        Self { router, sessions }
    }

    fn want(&mut self, other: &Router) -> Vec<u8> {
        let (id, key) = (other.identity.id(), other.identity.dh_key());
        self.sessions.want(id, key, NOW, &mut self.router.entropy);
        self.sent()
    }

    fn take(&mut self, bytes: &[u8], from: &Router) -> Result<(), Refused> {
        let known = Knows(from.identity.dh_key(), from.identity.id());
        let via = Via::Direct("192.0.2.1:6783".parse().unwrap());
        self.sessions
            .handle_datagram(bytes, via, &known, NOW, &mut self.router.entropy)
    }

    /// Returns the last datagram that the session manager sends.
    fn sent(&mut self) -> Vec<u8> {
        let mut last = Vec::new();
        while let Some(output) = self.sessions.poll_output() {
            match output {
                SessionOutput::Send { bytes, .. } | SessionOutput::Challenge { bytes, .. } => {
                    last = bytes;
                }
                SessionOutput::Changed(_) => {}
            }
        }
        last
    }
}

pub(crate) fn handshake_and_datagrams() -> Vectors {
    let (mut a, mut b) = (End::new(routers::a(), 3), End::new(routers::b(), 1));
    let init = a.want(&b.router);
    b.take(&init, &a.router).unwrap();
    let response = b.sent();
    a.take(&response, &b.router).unwrap();
    let probe = a.sent();

    let to_b = a.sessions.current(b.router.identity.id()).unwrap();
    let mut frames = Vec::new();
    push_frame(
        &mut frames,
        InnerFrame::complete(&frame([0x02, 0x6d, 10, 2, 1, 2])),
    );
    let data = sealed(to_b, Kind::Data, &[], &frames);
    let in_network = labelled(to_b, NetworkLabel(0x0102), &frames);
    Vectors::from([
        ("Init, A to B", init),
        ("Response, B to A", response),
        ("empty Probe, A to B", probe),
        ("Data, A to B", data.clone()),
        ("Data in a network, A to B", in_network),
        (
            "Relay, A to a neighbour",
            relay(b.router.identity.id(), &data),
        ),
        ("Flood, A to a neighbour", flood(a.router.identity.id())),
        (
            "id of a network's key",
            network_key().id().0.to_be_bytes().to_vec(),
        ),
        (
            "NetworkFlood, A to a neighbour",
            network_flood(a.router.identity.id()),
        ),
    ])
}

/// Sends B more Inits than it answers without proof of an address.
pub(crate) fn cookie() -> Vectors {
    let (mut a, mut b) = (End::new(routers::a(), 3), End::new(routers::b(), 1));
    let init = a.want(&b.router);
    b.take(&init, &a.router).unwrap();
    for _ in 1..HANDSHAKE_LOAD {
        assert_eq!(b.take(&init, &a.router), Err(Refused::Replayed));
    }
    b.sent();
    assert_eq!(b.take(&init, &a.router), Err(Refused::CookieNeeded));
    Vectors::from([("Cookie, B to A", b.sent())])
}

pub(crate) fn probes() -> Vectors {
    let offer = Offer {
        port: 6784,
        vni: 0x6d_6573,
        nonce: 7,
        echo: 11,
    };
    let reply = |observed: &str| Probe::Reply {
        nonce: 1,
        challenge: 2,
        observed: observed.parse::<SocketAddr>().unwrap(),
    };
    Vectors::from([
        (
            "probe request",
            Probe::Request {
                nonce: 1,
                answer: None,
            }
            .encode(),
        ),
        (
            "probe request that answers",
            Probe::Request {
                nonce: 1,
                answer: Some(ChallengeAnswer {
                    challenge: 2,
                    delay: 950,
                }),
            }
            .encode(),
        ),
        ("probe reply v4", reply("192.0.2.1:6783").encode()),
        ("probe reply v6", reply("[2001:db8::1]:6783").encode()),
        (
            "probe request of 48 bytes",
            Probe::SizeRequest { nonce: 1, size: 48 }.encode(),
        ),
        (
            "probe reply of 48 bytes",
            Probe::SizeReply { nonce: 1, size: 48 }.encode(),
        ),
        ("offer", offer.encode().to_vec()),
    ])
}

fn relay(destination: PeerId, inner: &[u8]) -> Vec<u8> {
    let clear = [&destination.0, inner].concat();
    sealed(&to_neighbour(), Kind::Relay, &clear, &[])
}

fn flood(origin: PeerId) -> Vec<u8> {
    let prefix = FloodPrefix {
        origin,
        epoch: 3,
        sequence: 0,
    };
    let mut body = Vec::new();
    prefix.encode(&mut body);
    push_frame(&mut body, InnerFrame::complete(&frame([0xff; 6])));
    sealed(&to_neighbour(), Kind::Flood, &[], &body)
}

fn network_key() -> NetworkKey {
    NetworkKey::new([10; 32])
}

fn network_flood(origin: PeerId) -> Vec<u8> {
    let stream = BroadcastStream {
        network: NetworkId([9; 16]),
        origin,
        epoch: 3,
        salt: 0x0808_0808_0808_0808,
    };
    let (key, sequence) = (network_key(), 0);
    let mut body = Vec::new();
    let prefix = NetworkFloodPrefix {
        stream,
        sequence,
        key: key.id(),
    };
    prefix.encode(&mut body);
    push_frame(&mut body, InnerFrame::complete(&frame([0xff; 6])));
    key.seal(&stream, sequence, NETWORK_FLOOD_PREFIX_LEN, &mut body);
    sealed(&to_neighbour(), Kind::NetworkFlood, &[], &body)
}

/// Returns a session with keys 06… (to the neighbour) and 07…; the neighbour's index is 0b0b0b0b.
fn to_neighbour() -> Transport {
    let keys = TransportKeys {
        suite: Suite::ChaCha20Poly1305,
        send: [6; 32],
        recv: [7; 32],
    };
    let ends = Ends {
        peer: PeerId([0xcc; 16]),
        epoch: 1,
        local: SessionIndex(0x0a0a_0a0a),
        remote: SessionIndex(0x0b0b_0b0b),
    };
    Transport::new(ends, keys, true, NOW)
}

fn sealed(transport: &Transport, kind: Kind, clear: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    transport
        .seal(kind, MAX_HOPS, clear, body, NOW, &mut out)
        .unwrap();
    out
}

fn labelled(transport: &Transport, label: NetworkLabel, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let draft = transport.begin_labelled(Kind::Data, MAX_HOPS, label, &mut out);
    out.extend_from_slice(body);
    transport.finish(draft, 0, NOW, &mut out).unwrap();
    out
}

/// Returns an Ethernet frame from 02:6d:0a:02:01:01 with type 88b5 (local experiments, IEEE 802) and the payload
/// "mesh".
fn frame(destination: [u8; 6]) -> Vec<u8> {
    let source = [0x02, 0x6d, 10, 2, 1, 1];
    [&destination[..], &source, &[0x88, 0xb5], b"mesh"].concat()
}
