//! Threads of the data plane: `egress` lanes move frames from the port to UDP, `ingress` lanes from UDP to the port.
//!
//! Each runs a batch to completion: no queue between read and write, and one load of the snapshot per batch. Events
//! that a lane cannot handle go to the control plane through a bounded queue; overflow is counted.

mod egress;
mod inject;
pub mod latency;
mod losses;
pub mod networks;
mod out;
pub mod port;
mod spare;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use mesh_proto::forward::{Forwarder, LaneEvent, Snapshot};
use mesh_sys::udp::Udp;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::host_routes::MeshInterfaces;

use self::egress::Egress;
use self::inject::Injector;
use self::latency::Latency;
use self::losses::Losses;
use self::networks::{LaneReaders, NetworkDelivery, NetworkPorts};
pub use self::out::ControlSender;
use self::out::{LaneOut, PortSide, Sending};
use self::port::Halves;
pub use self::spare::Spare;

/// Capacity of the event queue to the control plane; overflow is dropped and counted.
pub const LANE_EVENTS: usize = 1024;
/// Longest wait of a lane for work before it checks whether to stop.
const WAIT: Duration = Duration::from_millis(500);
/// Nice value of the lanes: above containers, below essential host services.
const PRIORITY: i32 = -10;
/// Receive buffers of 64 KiB, each for one datagram or one GRO batch.
const SLOTS: usize = 8;

/// State shared by the lanes.
#[derive(Clone)]
pub struct LaneContext {
    /// MAC table, duplicate windows and counters.
    pub forwarder: Arc<Forwarder>,
    /// Snapshot that the control plane publishes.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// UDP socket. Each lane has its own; the control plane uses that of the first lane.
    pub udp: Udp,
    /// Interfaces that lead into the mesh.
    pub inside: Arc<ArcSwap<MeshInterfaces>>,
    /// Ports of networks other than `default`.
    pub networks: NetworkPorts,
    /// Second UDP port, if needed.
    pub spare: Arc<Spare>,
    /// Queue of rare events to the control plane.
    pub events: mpsc::Sender<Reported>,
    /// Events dropped because the queue was full.
    pub events_lost: Arc<AtomicU64>,
    /// Latency request, told when frames were moved.
    pub latency: Arc<Latency>,
    /// Clock of the router.
    pub clock: Clock,
    /// Set when the lanes must end.
    pub stop: Arc<AtomicBool>,
}

impl LaneContext {
    fn frames_moved(&self) {
        self.latency.moved(self.forwarder.counters());
    }
}

/// Event of a lane for the control plane.
#[derive(Debug)]
pub struct Reported {
    /// The event.
    pub event: LaneEvent,
    /// Local address of the datagram that caused the event.
    pub local: Option<IpAddr>,
}

/// Running lanes.
pub struct Lanes {
    stop: Arc<AtomicBool>,
    spare: Arc<Spare>,
    threads: Vec<JoinHandle<()>>,
}

impl Lanes {
    /// Starts one lane per direction for each pair of port halves. `sockets` has one socket per pair, all on the same
    /// UDP port.
    ///
    /// A flow stays in its lane: the kernel delivers datagrams of one peer to one socket, and selects the queue of a
    /// TAP device by flow.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(shared: &LaneContext, halves: Halves, sockets: &[Udp]) -> std::io::Result<Self> {
        let mut threads = Vec::with_capacity(2 * halves.len());
        for (lane, (reader, writer)) in halves.into_iter().enumerate() {
            let mut shared = shared.clone();
            if let Some(socket) = sockets.get(lane) {
                shared.udp = socket.clone();
            }
            let port = Arc::new(Mutex::new(Injector::new(writer)));
            // The port counts losses for all lanes together.
            let losses = (lane == 0).then(Losses::default);
            let egress = Egress {
                shared: shared.clone(),
                reader,
                port: port.clone(),
                losses,
                networks: LaneReaders::new(shared.networks.clone(), lane),
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

    /// Stops the lanes and waits for them.
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
        // A descheduled lane adds invisible queueing. Without CAP_SYS_NICE it is merely slower.
        if let Err(error) = mesh_sys::process::set_thread_priority(PRIORITY) {
            tracing::debug!("{error}");
        }
        run();
    };
    std::thread::Builder::new().name(name).spawn(lane)
}

/// Ignores poisoning: a panicking lane leaves the port consistent, except for frames that were held for merging.
fn lock(port: &Mutex<Injector>) -> MutexGuard<'_, Injector> {
    port.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Ingress {
    shared: LaneContext,
    /// Socket that the lane reads.
    from: Udp,
    port: Arc<Mutex<Injector>>,
    /// Set when only this lane must end.
    ended: Option<Arc<AtomicBool>>,
}

impl Ingress {
    fn run(self) {
        let mut sending = Sending::new(&self.shared);
        let mut receiver = self.from.receiver(SLOTS);
        let mut networks = NetworkDelivery::new(self.shared.networks.clone());
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
                    networks: Some(&mut networks),
                    shared: &self.shared,
                    local: arrival.local,
                };
                self.shared
                    .forwarder
                    .ingress(&view, arrival.from, datagram, now, &mut out);
            }
            port.flush();
            drop(port);
            networks.flush();
            sending.flush(&view.sources);
            self.shared.frames_moved();
        }
    }
}
