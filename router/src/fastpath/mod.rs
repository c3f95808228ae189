//! The fast path: the kernel carries frames between containers of consenting peers, by VXLAN ports of the bridge and
//! forwarding entries.
//!
//! `mesh_proto::fastpath` selects the peers; this module configures the kernel, on a thread of its own (`fastpath`),
//! since netlink and `iptables` block. The router's MAC table tells the peer of each address. It keeps learning from
//! frames that still pass the router; entries used by the kernel are refreshed in it.
//!
//! | file | what |
//! |---|---|
//! | `table` | required entries, and the steps to reach them |
//! | `kernel` | devices, rules and entries |

mod kernel;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use mesh_options::RouterSettings;
use mesh_proto::control::Control;
use mesh_proto::entropy::Entropy;
use mesh_proto::fastpath::{Beat, FastPeers, Local};
use mesh_proto::forward::Forwarder;
use mesh_proto::limits::{DEAD_AFTER, HEARTBEAT, MAX_FAST_PEERS};
use mesh_proto::time::Instant;
use mesh_sys::vxlan::VxlanConfig;
use tokio::sync::mpsc;

use crate::clock::{Clock, OsEntropy};
use crate::command::ControlCommand;
use kernel::Kernel;

/// VXLAN network identifier of every mesh: meshes on one host differ by UDP port.
const VNI: u32 = 0x6d_6573;
/// Interval of checks for keepalives and for changes of the MAC table.
const POLL: Duration = Duration::from_millis(100);
/// Interval of these checks without fast-path peers.
const IDLE: Duration = Duration::from_secs(1);
/// Interval of audits of the kernel's tables.
const AUDIT: Duration = Duration::from_secs(4);
/// Most addresses that VXLAN is accepted from; beyond it, those of former peers are removed at once.
const MAX_ACCEPTED: usize = 2 * MAX_FAST_PEERS;
/// Time after the last frame until which an address counts as in use.
const USED: Duration = Duration::from_secs(8);

/// Handle of the fast path. Dropping it leaves the kernel as it is: flows between two hosts continue while one of their
/// routers restarts.
pub struct FastPath {
    peers: Arc<ArcSwap<FastPeers>>,
    wake: SyncSender<()>,
    status: Status,
}

/// State of the kernel part, as text for `mesh status`.
#[derive(Clone, Debug)]
pub struct Status(Arc<Mutex<String>>);

impl Status {
    /// Returns the text.
    pub fn words(&self) -> String {
        self.lock().clone()
    }

    fn set(&self, words: String) {
        *self.lock() = words;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FastPath {
    /// Sets the fast-path peers.
    pub fn set(&self, peers: Arc<FastPeers>) {
        self.peers.store(peers);
        // If the channel is full, a wake-up is already pending.
        let _ = self.wake.try_send(());
    }

    /// Returns the state of the kernel part.
    pub fn status(&self) -> Status {
        self.status.clone()
    }
}

/// Connections of the worker to other parts.
pub struct Wiring {
    /// Forwarder, for its MAC table.
    pub forwarder: Arc<Forwarder>,
    /// Clock of the router.
    pub clock: Clock,
    /// Receiver of incoming keepalives.
    pub commands: mpsc::Sender<ControlCommand>,
}

/// Starts to offer plain VXLAN if the operator consents to it with any peer. Otherwise removes the fast path of an
/// earlier run.
///
/// # Errors
/// The thread cannot be started, or netlink cannot be opened.
pub fn begin(
    settings: &RouterSettings,
    control: &mut Control,
    wiring: Wiring,
) -> anyhow::Result<Option<FastPath>> {
    if settings.consent.is_none() {
        match kernel::clear(&settings.bridge) {
            Ok(true) => tracing::info!("the fast path of an earlier run was taken down"),
            Ok(false) => {}
            Err(error) => tracing::warn!("the fast path of an earlier run: {error}"),
        }
        return Ok(None);
    }
    let local = Local {
        consent: settings.consent.clone(),
        port: vxlan_port(settings.port),
        vni: VNI,
        // 0 means "nothing received".
        nonce: OsEntropy.u64().max(1),
    };
    let kernel = Kernel::open(VxlanConfig {
        bridge: settings.bridge.clone(),
        mtu: settings.mtu,
        port: local.port,
        vni: local.vni,
        local: settings.host.filter(|host| !host.is_unspecified()),
    })?;
    let beat = Beat {
        peer: control.me(),
        nonce: local.nonce,
    };
    control.set_fastpath(local);
    Worker::start(kernel, beat, wiring).map(Some)
}

/// Returns the UDP port next to the router's own, so that two routers on one host do not collide.
fn vxlan_port(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(port - 1)
}

/// State of the thread.
struct Worker {
    kernel: Kernel,
    beat: Beat,
    wiring: Wiring,
    next_peers: Arc<ArcSwap<FastPeers>>,
    peers: Arc<FastPeers>,
    status: Status,
    /// Change counter of the MAC table that the kernel agrees with.
    changes: Option<u64>,
    next_beat: Instant,
    next_audit: Instant,
    /// Addresses that VXLAN is accepted from, with the time at which each was last a peer's. Former peers, also of an
    /// earlier run, stay for [`DEAD_AFTER`]: they may not know yet, and still send.
    accepted: BTreeMap<IpAddr, Instant>,
}

impl Worker {
    fn start(kernel: Kernel, beat: Beat, wiring: Wiring) -> anyhow::Result<FastPath> {
        let now = wiring.clock.now();
        let peers: Arc<ArcSwap<FastPeers>> = Arc::default();
        let status = Status(Arc::new(Mutex::new(String::new())));
        let (wake, woken) = sync_channel(1);
        // If the firewall cannot be read, there are no rules, and thus no device.
        let earlier = kernel.accepted().unwrap_or_default();
        let worker = Self {
            kernel,
            accepted: earlier.into_iter().map(|address| (address, now)).collect(),
            beat,
            wiring,
            peers: peers.load_full(),
            next_peers: peers.clone(),
            status: status.clone(),
            changes: None,
            next_beat: now,
            next_audit: now + DEAD_AFTER,
        };
        worker.say(Ok(()));
        std::thread::Builder::new()
            .name("fastpath".into())
            .spawn(move || worker.run(&woken))?;
        Ok(FastPath {
            peers,
            wake,
            status,
        })
    }

    fn run(mut self, woken: &Receiver<()>) {
        self.prepare(self.wiring.clock.now());
        loop {
            let wait = if self.accepted.is_empty() { IDLE } else { POLL };
            if woken.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            self.turn(self.wiring.clock.now());
        }
    }

    fn turn(&mut self, now: Instant) {
        let peers = self.next_peers.load_full();
        let moved = !Arc::ptr_eq(&peers, &self.peers);
        if moved {
            self.peers = peers;
            // First stop sending to peers that lost the fast path; rules and devices take longer.
            self.synchronise(now);
            self.next_beat = now;
        }
        if self.renew_accepted(now) || moved {
            self.prepare(now);
        }
        if self.accepted.is_empty() {
            return;
        }
        if self.changes != Some(self.wiring.forwarder.fdb().changes()) {
            self.synchronise(now);
        }
        for beat in self.kernel.hear() {
            // If control is busy, the next keepalive will do.
            let _ = self.wiring.commands.try_send(ControlCommand::Beat(beat));
        }
        if now >= self.next_beat {
            self.next_beat = now + HEARTBEAT;
            if let Err(error) = self.kernel.beat(self.beat) {
                tracing::debug!(%error, "no beat could be sent");
                // The device is down or gone: audit at once.
                self.next_audit = self.next_audit.min(now);
            }
        }
        if now >= self.next_audit {
            self.next_audit = now + AUDIT;
            self.audit(now);
        }
    }

    /// Updates the accepted addresses. Returns true if they changed.
    fn renew_accepted(&mut self, now: Instant) -> bool {
        let before: BTreeSet<IpAddr> = self.accepted.keys().copied().collect();
        let renewed = self.peers.values().map(|peer| (peer.address, now));
        self.accepted.extend(renewed);
        // Beyond the limit, addresses of former peers are dropped at once.
        let wait = match self.accepted.len() {
            0..=MAX_ACCEPTED => DEAD_AFTER,
            _ => Duration::ZERO,
        };
        self.accepted.retain(|_, at| now.since(*at) <= wait);
        !self.accepted.keys().eq(before.iter())
    }

    /// Brings rules, devices and entries up to date.
    fn prepare(&mut self, now: Instant) {
        let done = if self.accepted.is_empty() {
            self.kernel.clear()
        } else {
            let accepted = self.accepted.keys().copied().collect();
            self.kernel.prepare(&self.peers, &accepted)
        };
        self.say(done);
        self.synchronise(now);
    }

    fn synchronise(&mut self, now: Instant) {
        let fdb = self.wiring.forwarder.fdb();
        // The counter is read first, so that concurrent changes are seen in the next turn.
        self.changes = Some(fdb.changes());
        let can = |remote: &_| self.kernel.can_reach(remote);
        let held = self.kernel.installed();
        let wanted = table::wanted(&fdb.snapshot(now), held, &self.peers, can);
        self.kernel.apply(&wanted);
    }

    /// Repairs foreign changes to the kernel, and refreshes entries in use.
    fn audit(&mut self, now: Instant) {
        self.prepare(now);
        let found = match self.kernel.audit(USED) {
            Ok(found) => found,
            Err(error) => return tracing::debug!(%error, "the forwarding tables cannot be read"),
        };
        let fdb = self.wiring.forwarder.fdb();
        for mac in &found.used {
            if let Some(owner) = fdb.lookup(*mac, now) {
                fdb.refresh(*mac, owner, now);
            }
        }
        let mut held = found.table;
        held.retain(|mac, _| found.used.contains(mac));
        self.changes = Some(fdb.changes());
        let can = |remote: &_| self.kernel.can_reach(remote);
        let mut wanted = table::wanted(&fdb.snapshot(now), &held, &self.peers, can);
        // The bridge learnt these at local ports: trust it until the MAC table changes again.
        wanted.retain(|mac, _| !found.elsewhere.contains(mac));
        self.kernel.apply(&wanted);
    }

    fn say(&self, done: Result<(), mesh_sys::SysError>) {
        let words = match &done {
            Err(error) => format!("not working: {error}"),
            Ok(()) => {
                let fast = self.peers.values().filter(|p| p.fast).count();
                format!("vxlan to {fast} of {} peers that agree", self.peers.len())
            }
        };
        let before = self.status.words();
        if let Err(error) = done
            && before != words
        {
            tracing::warn!("frames go through the router, since VXLAN does not work: {error}");
        }
        self.status.set(words);
    }
}
