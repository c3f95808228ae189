//! Frames between containers of consenting peers go by the kernel: VXLAN ports of the bridge, and the tables that say
//! which address is behind which.
//!
//! `mesh_proto::fastpath` decides with whom; this makes the kernel agree, on a thread of its own (`fastpath`), since
//! netlink and `iptables` block. The router's MAC table says which peer an address is behind; it goes on learning from
//! what still comes through the router, and what the kernel used is kept in it.
//!
//! | file | what |
//! |---|---|
//! | `table` | which entries should be there, and the steps to them |
//! | `kernel` | devices, rules and entries |

mod kernel;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use mesh_proto::control::Control;
use mesh_proto::entropy::Entropy;
use mesh_proto::fastpath::{Beat, FastPeers, Local};
use mesh_proto::forward::Forwarder;
use mesh_proto::limits::{DEAD_AFTER, HEARTBEAT, MAX_FAST_PEERS};
use mesh_proto::time::Instant;
use mesh_sys::vxlan::VxlanConfig;
use tokio::sync::mpsc;

use crate::clock::{Clock, OsEntropy};
use crate::config::Settings;
use crate::shell::Command;
use kernel::Kernel;

/// VXLAN network identifier of every mesh: the port tells meshes on one host apart.
const VNI: u32 = 0x6d_6573;
/// How often the worker looks for beats and for changes of the MAC table.
const POLL: Duration = Duration::from_millis(100);
/// How often it looks while there is no peer.
const IDLE: Duration = Duration::from_secs(1);
/// How often it looks at what the kernel has.
const AUDIT: Duration = Duration::from_secs(4);
/// Addresses that VXLAN is accepted from; beyond that, those of former peers are shut out at once.
const MAX_ACCEPTED: usize = 2 * MAX_FAST_PEERS;
/// An address that frames went to within this time is in use.
const USED: Duration = Duration::from_secs(8);

/// What has a fast path tell and be told. Dropped, it leaves the kernel as it is: flows between two hosts go on while
/// one of their routers restarts.
pub struct FastPath {
    peers: Arc<ArcSwap<FastPeers>>,
    wake: SyncSender<()>,
    status: Status,
}

/// How the kernel's part does, in words for `mesh status`.
#[derive(Clone, Debug)]
pub struct Status(Arc<Mutex<String>>);

impl Status {
    /// The words.
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
    /// Other peers than before.
    pub fn set(&self, peers: Arc<FastPeers>) {
        self.peers.store(peers);
        // Full: it has been woken already.
        let _ = self.wake.try_send(());
    }

    /// How it does.
    pub fn status(&self) -> Status {
        self.status.clone()
    }
}

/// What the worker is wired to.
pub struct Wiring {
    /// The lanes' shared part, for its MAC table.
    pub forwarder: Arc<Forwarder>,
    /// Time.
    pub clock: Clock,
    /// Where beats that were heard go.
    pub commands: mpsc::Sender<Command>,
}

/// Begins to offer plain VXLAN if the operator consents to it with anybody. Otherwise takes down what an earlier run
/// with other settings left.
///
/// # Errors
/// When the thread cannot be started or netlink not opened.
pub fn begin(
    settings: &Settings,
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
        // 0 stands for "nothing heard".
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

/// The port beside the router's own, so that two routers on one host do not meet.
fn vxlan_port(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(port - 1)
}

/// The thread.
struct Worker {
    kernel: Kernel,
    beat: Beat,
    wiring: Wiring,
    next_peers: Arc<ArcSwap<FastPeers>>,
    peers: Arc<FastPeers>,
    status: Status,
    /// The state of the MAC table that the kernel agrees with.
    changes: Option<u64>,
    next_beat: Instant,
    next_audit: Instant,
    /// From whom VXLAN is accepted: the peers, and until [`DEAD_AFTER`] after it those that were, also those of an
    /// earlier run. They may not know yet, and still send.
    accepted: BTreeMap<IpAddr, Instant>,
}

impl Worker {
    fn start(kernel: Kernel, beat: Beat, wiring: Wiring) -> anyhow::Result<FastPath> {
        let now = wiring.clock.now();
        let peers: Arc<ArcSwap<FastPeers>> = Arc::default();
        let status = Status(Arc::new(Mutex::new(String::new())));
        let (wake, woken) = sync_channel(1);
        // Without the program that would tell there are no rules, and so no device either.
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
            // First of all nothing more goes to a peer that is no longer fast; rules and devices take their time.
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
            // Control is busy: the next beat will do.
            let _ = self.wiring.commands.try_send(Command::Beat(beat));
        }
        if now >= self.next_beat {
            self.next_beat = now + HEARTBEAT;
            if let Err(error) = self.kernel.beat(self.beat) {
                tracing::debug!(%error, "no beat could be sent");
                // The device is down or gone: look at once.
                self.next_audit = self.next_audit.min(now);
            }
        }
        if now >= self.next_audit {
            self.next_audit = now + AUDIT;
            self.audit(now);
        }
    }

    /// Whether others are to be accepted than before.
    fn renew_accepted(&mut self, now: Instant) -> bool {
        let before: BTreeSet<IpAddr> = self.accepted.keys().copied().collect();
        let renewed = self.peers.values().map(|peer| (peer.address, now));
        self.accepted.extend(renewed);
        // Peers that change addresses faster than that are not waited for.
        let wait = match self.accepted.len() {
            0..=MAX_ACCEPTED => DEAD_AFTER,
            _ => Duration::ZERO,
        };
        self.accepted.retain(|_, at| now.since(*at) <= wait);
        !self.accepted.keys().eq(before.iter())
    }

    /// Makes rules, devices and entries as they should be now.
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
        // The number first: what changes meanwhile is seen by the next turn.
        self.changes = Some(fdb.changes());
        let can = |remote: &_| self.kernel.can_reach(remote);
        let held = self.kernel.installed();
        let wanted = table::wanted(&fdb.snapshot(now), held, &self.peers, can);
        self.kernel.apply(&wanted);
    }

    /// Mends what somebody else changed, and keeps what is in use.
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
        // The bridge saw it at a container's port: it knows better, until the MAC table changes again.
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
