//! The data plane's threads: `egress` moves frames from the port to UDP, `ingress` from UDP to the port.
//!
//! Each runs a batch to completion: no queue between read and write, one load of the snapshot per batch. What a lane
//! cannot decide goes to the control plane over a bounded queue that drops and counts.

mod inject;
mod losses;
mod out;
mod spare;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use mesh_proto::forward::{Forwarder, LaneEvent, Scratch, Snapshot};
use mesh_proto::offload::PortFrame;
use mesh_sys::port::{FrameBatch, FrameReader};
use mesh_sys::udp::Udp;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::latency::Latency;
use crate::port::{Halves, ReopeningReader};
use crate::ways::Inside;

use self::inject::Injector;
use self::losses::Losses;
pub use self::out::ControlSender;
use self::out::{LaneOut, PortSide, Sending};
pub use self::spare::Spare;

/// Events that may wait for the control plane; beyond that they are dropped and counted.
pub const LANE_EVENTS: usize = 1024;
/// How long a lane waits for work before it looks whether it is to stop.
const WAIT: Duration = Duration::from_millis(500);
/// Priority of the lanes (`nice`): before containers, after what the host cannot do without.
const PRIORITY: i32 = -10;
/// Frames taken in one turn: enough to share the cost of a wake-up, few enough to stay in the cache.
const FRAMES: usize = 64;
/// Receive buffers of 64 KiB, each for one datagram or for what the kernel coalesced.
const SLOTS: usize = 8;

/// What the lanes share.
#[derive(Clone)]
pub struct Shared {
    /// The fdb, duplicate windows and counters.
    pub forwarder: Arc<Forwarder>,
    /// The view the control plane publishes.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The UDP socket; each lane has its own, control that of the first.
    pub udp: Udp,
    /// The interfaces that lead into the mesh.
    pub inside: Arc<ArcSwap<Inside>>,
    /// Another UDP port, where one is wanted.
    pub spare: Arc<Spare>,
    /// Where rare events go.
    pub events: mpsc::Sender<Reported>,
    /// Events dropped because the control plane was behind.
    pub events_lost: Arc<AtomicU64>,
    /// Told when frames were moved.
    pub latency: Arc<Latency>,
    /// Time.
    pub clock: Clock,
    /// Set when the lanes are to end.
    pub stop: Arc<AtomicBool>,
}

impl Shared {
    fn frames_moved(&self) {
        self.latency.moved(self.forwarder.counters());
    }
}

/// What a lane tells the control plane.
#[derive(Debug)]
pub struct Reported {
    /// What happened.
    pub event: LaneEvent,
    /// The address of this host that the datagram came to which led to it.
    pub local: Option<IpAddr>,
}

/// Running lanes.
pub struct Lanes {
    stop: Arc<AtomicBool>,
    spare: Arc<Spare>,
    threads: Vec<JoinHandle<()>>,
}

impl Lanes {
    /// Starts one lane in each direction for each pair of halves of the port and for each of the `sockets`, of which
    /// there are as many and which share a UDP port.
    ///
    /// A flow stays in its lane: the kernel gives what one peer sends to one socket, and chooses the queue of a TAP device
    /// by flow.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(shared: &Shared, halves: Halves, sockets: &[Udp]) -> std::io::Result<Self> {
        let mut threads = Vec::with_capacity(2 * halves.len());
        for (lane, (reader, writer)) in halves.into_iter().enumerate() {
            let mut shared = shared.clone();
            if let Some(socket) = sockets.get(lane) {
                shared.udp = socket.clone();
            }
            let port = Arc::new(Mutex::new(Injector::new(writer)));
            // What the port lost, it tells for all lanes together.
            let losses = (lane == 0).then(Losses::default);
            let egress = Egress {
                shared: shared.clone(),
                reader,
                port: port.clone(),
                losses,
            };
            shared.spare.set_port(port.clone());
            let ingress = Ingress {
                from: shared.udp.clone(),
                shared,
                port,
                ended: None,
            };
            threads.push(spawn(format!("egress-{lane}"), move || egress.run())?);
            threads.push(spawn(format!("ingress-{lane}"), move || ingress.run())?);
        }
        Ok(Self {
            stop: shared.stop.clone(),
            spare: shared.spare.clone(),
            threads,
        })
    }

    /// Ends the lanes and waits for them.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.spare.end();
        self.spare.join();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a lane had crashed");
            }
        }
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    let lane = move || {
        // A lane that waits for the processor is a queue that nobody sees. Without the right to it, it only is slower.
        if let Err(error) = mesh_sys::process::set_thread_priority(PRIORITY) {
            tracing::debug!("{error}");
        }
        run();
    };
    std::thread::Builder::new().name(name).spawn(lane)
}

/// A lane that panicked leaves the port in order, but for frames that waited to be merged.
fn lock(port: &Mutex<Injector>) -> MutexGuard<'_, Injector> {
    port.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Egress {
    shared: Shared,
    reader: ReopeningReader,
    /// Written to rarely: when the sender of a frame is told something.
    port: Arc<Mutex<Injector>>,
    losses: Option<Losses>,
}

impl Egress {
    fn run(mut self) {
        let mut scratch = Scratch::default();
        let mut frames = FrameBatch::with_capacity(FRAMES);
        let mut sending = Sending::new(&self.shared);
        while !self.shared.stop.load(Ordering::Relaxed) {
            if let Err(error) = self.reader.recv(&mut frames, WAIT) {
                tracing::debug!("cannot read from the port: {error}");
                std::thread::sleep(WAIT / 5);
                continue;
            }
            let now = self.shared.clock.now();
            if let Some(losses) = &mut self.losses {
                losses.count(&mut self.reader, &self.shared.forwarder, now);
            }
            if frames.is_empty() {
                continue;
            }
            let view = self.shared.snapshot.load();
            let mut port_frames = frames
                .iter()
                .map(|(header, bytes)| PortFrame { header, bytes });
            let mut out = LaneOut {
                sending: &mut sending,
                port: PortSide::Shared(&self.port),
                shared: &self.shared,
                local: None,
            };
            self.shared
                .forwarder
                .egress(&view, &mut port_frames, now, &mut scratch, &mut out);
            sending.flush(&view.sources);
            self.shared.frames_moved();
        }
    }
}

struct Ingress {
    shared: Shared,
    /// The socket it reads.
    from: Udp,
    port: Arc<Mutex<Injector>>,
    /// Set when this lane alone is to end.
    ended: Option<Arc<AtomicBool>>,
}

impl Ingress {
    fn run(self) {
        let mut sending = Sending::new(&self.shared);
        let mut receiver = self.from.receiver(SLOTS);
        let is_set = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        while !is_set(&self.shared.stop) && !self.ended.as_deref().is_some_and(is_set) {
            match receiver.recv(WAIT) {
                Ok(0) => continue,
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!("cannot read from UDP: {error}");
                    std::thread::sleep(WAIT / 50);
                    continue;
                }
            }
            let view = self.shared.snapshot.load();
            let now = self.shared.clock.now();
            let mut port = lock(&self.port);
            let inside = self.shared.inside.load();
            for (arrival, datagram) in receiver.datagrams() {
                if inside.has(arrival.link) {
                    self.shared.forwarder.came_through_mesh();
                    continue;
                }
                let mut out = LaneOut {
                    sending: &mut sending,
                    port: PortSide::Held(&mut port),
                    shared: &self.shared,
                    local: arrival.local,
                };
                self.shared
                    .forwarder
                    .ingress(&view, arrival.from, datagram, now, &mut out);
            }
            port.flush();
            drop(port);
            sending.flush(&view.sources);
            self.shared.frames_moved();
        }
    }
}
