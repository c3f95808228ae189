//! The spare port: a second UDP socket, used when a NAT or firewall on the path has a wrong state for the flow of the
//! first ([`mesh_proto::control::SparePort`]). It has an ingress lane of its own. Usually it is closed.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use arc_swap::{ArcSwapOption, Guard};
use mesh_proto::control::SparePort;
use mesh_sys::udp::Udp;

use super::inject::Injector;
use super::{Ingress, LaneContext, spawn};

/// State of the spare port for the lanes.
pub(super) struct SpareSocket {
    pub(super) number: u64,
    pub(super) udp: Udp,
    pub(super) to: BTreeSet<SocketAddr>,
}

/// Spare port of a router.
pub struct Spare {
    host: Option<IpAddr>,
    current: ArcSwapOption<SpareSocket>,
    port: OnceLock<Arc<Mutex<Injector>>>,
    lanes: Mutex<Vec<Lane>>,
}

struct Lane {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Spare {
    /// Returns a closed spare port, to be bound to the address `host` or to all.
    pub fn new(host: Option<IpAddr>) -> Self {
        Self {
            host,
            current: ArcSwapOption::empty(),
            port: OnceLock::new(),
            lanes: Mutex::new(Vec::new()),
        }
    }

    /// Sets the port that received frames go to.
    pub(super) fn set_port(&self, port: Arc<Mutex<Injector>>) {
        let _ = self.port.set(port);
    }

    /// Returns the socket, if open.
    pub(super) fn current(&self) -> Guard<Option<Arc<SpareSocket>>> {
        self.current.load()
    }

    /// Sends one datagram from the spare port; it is lost if the port is closed.
    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        if let Some(spare) = &*self.current() {
            spare.udp.send_to(to, bytes);
        }
    }

    /// Opens, changes or closes the port. If the socket cannot be opened, the router continues with the main one.
    pub fn set(&self, wanted: &SparePort, shared: &LaneContext) {
        let current = self.current.load_full();
        let udp = match current.filter(|old| old.number == wanted.number) {
            Some(old) => Some(old.udp.clone()),
            None => {
                self.end();
                (wanted.number > 0).then(|| self.open(shared)).flatten()
            }
        };
        let socket = udp.map(|udp| SpareSocket {
            number: wanted.number,
            udp,
            to: wanted.to.clone(),
        });
        self.current.store(socket.map(Arc::new));
    }

    /// Closes the port and stops its lane.
    pub(super) fn end(&self) {
        self.current.store(None);
        for lane in &*self.lanes() {
            lane.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Waits for lanes that were stopped.
    pub(super) fn join(&self) {
        for lane in core::mem::take(&mut *self.lanes()) {
            if lane.thread.join().is_err() {
                tracing::error!("the lane of the spare UDP port had crashed");
            }
        }
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, Vec<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, shared: &LaneContext) -> Option<Udp> {
        match self.try_open(shared) {
            Ok(udp) => udp,
            Err(error) => {
                tracing::warn!("cannot open another UDP port: {error:#}");
                None
            }
        }
    }

    fn try_open(&self, shared: &LaneContext) -> anyhow::Result<Option<Udp>> {
        let Some(port) = self.port.get() else {
            return Ok(None);
        };
        let udp = Udp::bind(self.host, 0)?;
        udp.set_dont_fragment(true)?;
        tracing::info!("UDP port {} is tried as well", udp.local_port()?);
        let stop = Arc::new(AtomicBool::new(false));
        let ingress = Ingress {
            shared: shared.clone(),
            from: udp.clone(),
            port: port.clone(),
            ended: Some(stop.clone()),
        };
        let thread = spawn("ingress-spare".to_owned(), move || ingress.run())?;
        let mut lanes = self.lanes();
        lanes.retain(|lane| !lane.thread.is_finished());
        lanes.push(Lane { stop, thread });
        Ok(Some(udp))
    }
}
