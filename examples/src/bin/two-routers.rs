//! Two complete routers in one process, without sockets, threads or clock: shows how to drive the protocol crate.
//!
//! Each router is a [`Control`] (control plane) and a [`Forwarder`] (data plane). Control says what it wants done
//! ([`Output`]); its caller does that and reports the result. Here the "network" hands bytes over at once.
//!
//! ```text
//! cargo run -p mesh-examples --bin two-routers
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_proto::control::targets::DialTo;
use mesh_proto::control::{Config, Control, Note, Output};
use mesh_proto::crypto::aead::Suites;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::entropy::SeededEntropy;
use mesh_proto::forward::{Collected, Forwarder, Scratch, Snapshot};
use mesh_proto::ids::ConnId;
use mesh_proto::limits::{DEFAULT_MTU, DEFAULT_PORT};
use mesh_proto::network::NetworkId;
use mesh_proto::offload::PortFrame;
use mesh_proto::time::Instant;
use mesh_proto::topology::record::Ed25519;

fn main() {
    let mut now = Instant::ZERO + Duration::from_secs(1);
    let mut net = TwoRouters {
        routers: [ExampleRouter::new(0, now), ExampleRouter::new(1, now)],
        conns: BTreeMap::new(),
    };
    let target = net.routers[1].address.to_string();
    let connected = net.routers[0].control.connect(&[target], false, now);
    connected.expect("an address is a target");

    // Within three seconds: a TCP link, its handshake, records, a UDP session, and path probes.
    let end = now + Duration::from_secs(3);
    while now < end {
        while (0..2).any(|n| net.carry_out(n, now)) {}
        now += Duration::from_millis(10);
        for router in &mut net.routers {
            router.control.handle_timeout(now);
        }
    }

    say("a container behind host1 broadcasts a frame");
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    frame.extend(b"hello from host1");
    frame.resize(60, 0);
    let out = net.routers[0].lane(|r, scratch, out| {
        let mut frames = [PortFrame::plain(&frame)].into_iter();
        r.forwarder.egress(
            &r.snapshot,
            NetworkId::DEFAULT,
            &mut frames,
            now,
            scratch,
            out,
        );
    });
    net.deliver(0, out, now);
    for peer in net.routers[0].control.report(now).peers {
        say(&format!(
            "host1 knows {}({}), path: {}",
            peer.name, peer.nick_name, peer.path
        ));
    }
}

/// One router: its two planes, and the snapshot that the lanes read.
struct ExampleRouter {
    control: Control,
    forwarder: Arc<Forwarder>,
    snapshot: Arc<Snapshot>,
    address: SocketAddr,
    name: String,
}

impl ExampleRouter {
    fn new(n: u8, now: Instant) -> Self {
        let identity = Arc::new(Identity::from_seeds([n + 1; 32], [n + 101; 32]));
        let mut entropy = SeededEntropy::new(u64::from(n));
        let forwarder = Arc::new(Forwarder::new(&mut entropy));
        let (me, name) = (identity.id(), format!("host{}", n + 1));
        let address = SocketAddr::from(([10, 0, 0, n + 1], DEFAULT_PORT));
        let config = Config {
            secret: Arc::new(MeshSecret::from_key_bytes([42; 32])),
            epoch: 1,
            name: me.derived_name(),
            nickname: name.clone(),
            port: DEFAULT_PORT,
            endpoints: vec![address],
            discovery: true,
            mtu: DEFAULT_MTU,
            suites: Suites::AES_FIRST,
            stored_neighbours: Vec::new(),
            forgotten: Vec::new(),
            pins: BTreeMap::new(),
            identity,
        };
        let control = Control::new(
            config,
            forwarder.clone(),
            Arc::new(Ed25519),
            Box::new(entropy),
            now,
        )
        .expect("the configuration fits a record");
        let snapshot = Arc::new(Snapshot::alone(me, 1, DEFAULT_MTU, now));
        Self {
            control,
            forwarder,
            snapshot,
            address,
            name,
        }
    }

    /// Runs a data-plane step and returns its effects.
    fn lane(&self, work: impl FnOnce(&Self, &mut Scratch, &mut Collected)) -> Collected {
        let mut lane = Collected::default();
        work(self, &mut Scratch::default(), &mut lane);
        lane
    }
}

/// Two routers and the network between them.
struct TwoRouters {
    routers: [ExampleRouter; 2],
    /// Ends of TCP connections: router and handle, each with the handle of the other end.
    conns: BTreeMap<(usize, ConnId), ConnId>,
}

impl TwoRouters {
    /// Carries out the next effect of router `n`. Returns false if there is none.
    fn carry_out(&mut self, n: usize, now: Instant) -> bool {
        let Some(output) = self.routers[n].control.poll_output() else {
            return false;
        };
        let far = 1 - n;
        match output {
            Output::Dial {
                conn,
                to: DialTo::Address(to),
                ..
            } => self.dial(n, conn, to, now),
            Output::Dial { conn, .. } => {
                let error = "names are not resolved here";
                self.routers[n].control.handle_closed(conn, error, now);
            }
            Output::Send { conn, bytes } => {
                self.routers[n]
                    .control
                    .handle_written(conn, bytes.len(), now);
                if let Some(far_conn) = self.conns.get(&(n, conn)) {
                    self.routers[far]
                        .control
                        .handle_bytes(*far_conn, &bytes, now);
                }
            }
            Output::Close { conn, .. } => {
                if let Some(far_conn) = self.conns.remove(&(n, conn)) {
                    self.routers[far]
                        .control
                        .handle_closed(far_conn, "closed", now);
                }
            }
            Output::Datagram { to, bytes, .. } => {
                let mut out = Collected::default();
                out.outgoing.push(to, &bytes);
                self.deliver(n, out, now);
            }
            Output::Publish(snapshot) => {
                self.routers[n].snapshot = snapshot;
                let out = self.routers[n].lane(|r, scratch, out| {
                    r.forwarder.flush_pending(&r.snapshot, now, scratch, out);
                });
                self.deliver(n, out, now);
            }
            Output::Note(Note::Info(text) | Note::Warn(text)) => {
                say(&format!("{}: {text}", self.routers[n].name));
            }
            // A real router stores or shows these.
            _ => {}
        }
        true
    }

    fn dial(&mut self, n: usize, conn: ConnId, to: SocketAddr, now: Instant) {
        let (far, from) = (1 - n, self.routers[n].address);
        say(&format!("{} dials {to}", self.routers[n].name));
        let accepted = self.routers[far].control.handle_accepted(from, now);
        let accepted = accepted.expect("there is room for a link");
        self.conns.insert((n, conn), accepted);
        self.conns.insert((far, accepted), conn);
        self.routers[n].control.handle_connected(conn, to, now);
    }

    /// Delivers datagrams to the other router, frames to the bridge (here: the terminal), and events to control.
    fn deliver(&mut self, n: usize, lane: Collected, now: Instant) {
        let datagrams = lane.datagrams();
        for frame in lane.frames {
            let text = String::from_utf8_lossy(&frame[14..30]);
            let name = &self.routers[n].name;
            say(&format!(
                "{name} injects {} bytes into its bridge: \"{text}\"",
                frame.len()
            ));
        }
        for event in lane.events {
            self.routers[n].control.handle_lane(event, now);
        }
        let (far, from) = (1 - n, self.routers[n].address);
        for (to, mut bytes) in datagrams {
            say(&format!(
                "{from} → {to}: {} bytes of UDP, kind {}",
                bytes.len(),
                bytes[0] & 15
            ));
            let out = self.routers[far].lane(|r, _, out| {
                r.forwarder.ingress(&r.snapshot, from, &mut bytes, now, out);
            });
            self.deliver(far, out, now);
        }
    }
}

#[expect(clippy::print_stdout, reason = "an example talks to its reader")]
fn say(text: &str) {
    println!("{text}");
}
