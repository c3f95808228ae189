//! One host: its persistent state, its stations, and the process that runs on it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mesh_proto::address::mac_for;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::ids::{Mac, PeerId};
use mesh_proto::limits::DEFAULT_PORT;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use mesh_proto::topology::bodies::Attached;

use super::action::Action;
use super::disk::{Crash, Disk, JournalKind, Trap};
use super::effect::Effect;
use super::event::SimEvent;
use super::frames::Station;
use super::invariants::Violation;
use super::network::HostId;
use super::networks::MemberStations;
use super::occupant::Occupant;
use super::process::Process;
use super::rng::Rng;
use super::router::{RouterSetup, SimRouter};
use super::runtime::SimRuntime;
use super::state::RouterState;
use super::tcp::ProcessId;

/// Most timer events of one router at one time; more mean a busy loop.
const MAX_SPINS: u32 = 64;
const SPIN: &str = "S1 no spinning";

/// A host with its persistent state.
pub(crate) struct SimHost {
    id: HostId,
    address: SocketAddr,
    powered: bool,
    occupant: Option<Occupant>,
    /// Number of the process's start.
    incarnation: u64,
    pub(crate) state: RouterState,
    /// Disks of its journals, in the order of [`JournalKind::ALL`].
    disks: [Disk; 2],
    /// Targets typed by the operator, which are used again after the state is lost.
    typed: Vec<String>,
    /// Stations in the network `default`.
    pub(crate) stations: Vec<Station>,
    /// Members of other networks.
    pub(crate) members: Vec<MemberStations>,
    clock: Duration,
    /// Time that its timer is set to.
    armed: Option<Instant>,
    /// Time of the last timer event, and the number of events at that time.
    fired: (Instant, u32),
}

impl SimHost {
    /// Returns a host without a process, whose operator typed these targets, and whose clock is ahead by up to
    /// `clocks`.
    pub(crate) fn new(id: HostId, typed: Vec<String>, clocks: Duration, rng: &mut Rng) -> Self {
        let stations = (0..=rng.below(3)).map(|s| station(id, s)).collect();
        let identity = Identity::from_seeds(rng.key(), rng.key());
        Self {
            id,
            address: address(id, 0),
            powered: true,
            occupant: None,
            incarnation: 0,
            state: RouterState::new(identity, typed.clone()),
            disks: Default::default(),
            typed,
            stations,
            members: Vec::new(),
            clock: rng.between(Duration::ZERO, clocks),
            armed: None,
            fired: (Instant::ZERO, 0),
        }
    }

    pub(crate) fn id(&self) -> HostId {
        self.id
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.state.identity.id()
    }

    /// Returns the networks besides `default` that it has members of.
    pub(crate) fn networks(&self) -> Vec<NetworkId> {
        self.members.iter().map(|member| member.network).collect()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn clock(&self) -> Duration {
        self.clock
    }

    pub(crate) fn typed(&self) -> &[String] {
        &self.typed
    }

    pub(crate) fn is_powered(&self) -> bool {
        self.powered
    }

    /// True if a process runs.
    pub(crate) fn is_running(&self) -> bool {
        self.occupant.is_some()
    }

    /// Returns the last start of the process.
    pub(crate) fn last_start(&self) -> ProcessId {
        ProcessId {
            host: self.id,
            incarnation: self.incarnation,
        }
    }

    pub(crate) fn process(&mut self) -> Option<&mut dyn Process> {
        self.occupant.as_mut().map(Occupant::process)
    }

    pub(crate) fn router(&self) -> Option<&SimRouter> {
        self.occupant.as_ref()?.router()
    }

    pub(crate) fn router_mut(&mut self) -> Option<&mut SimRouter> {
        self.occupant.as_mut()?.router_mut()
    }

    /// False if the process is a hostile member without a link.
    pub(crate) fn is_linked(&self) -> bool {
        self.occupant.as_ref().is_none_or(Occupant::is_linked)
    }

    /// Returns the MAC address of its first station.
    pub(crate) fn first_mac(&self) -> Option<Mac> {
        self.stations.first().map(|station| station.mac)
    }

    /// Returns the stations in all networks.
    pub(crate) fn all_stations(&self) -> impl Iterator<Item = (NetworkId, &Station)> {
        let members = self.members.iter();
        let members = members.flat_map(|member| {
            let stations = [&member.speaker, &member.silent];
            stations.map(|station| (member.network, station))
        });
        let default = self.stations.iter();
        default
            .map(|station| (NetworkId::DEFAULT, station))
            .chain(members)
    }

    /// Returns the stations as their router announces them.
    pub(crate) fn attached(&self) -> Vec<Attached> {
        let announce = |(network, station): (NetworkId, &Station)| Attached {
            network,
            mac: station.mac,
            addr: ipnet::Ipv4Net::new_assert(station.ip, 16).into(),
            container: format!("c{}", station.ip),
            moves: 0,
        };
        self.all_stations().map(announce).collect()
    }

    // Start and stop

    /// Starts the router with a raised epoch.
    pub(crate) fn start(
        &mut self,
        setup: &RouterSetup,
        runtime: &mut SimRuntime,
    ) -> Result<(), String> {
        self.state.epoch += 1;
        self.incarnation += 1;
        self.powered = true;
        self.armed = None;
        let now = runtime.now();
        let router = SimRouter::start(&self.state, setup, runtime.rng(), now)?;
        self.occupant = Some(Occupant::Router(Box::new(router)));
        Ok(())
    }

    /// Replaces the process by another one.
    pub(crate) fn replace(&mut self, occupant: Occupant) {
        self.incarnation += 1;
        self.stations.clear();
        self.members.clear();
        self.occupant = Some(occupant);
    }

    /// Ends the process. Returns false if none runs.
    pub(crate) fn end(&mut self) -> bool {
        self.occupant.take().is_some()
    }

    pub(crate) fn set_powered_off(&mut self) {
        self.powered = false;
    }

    /// Gives the host another underlay address.
    pub(crate) fn set_address(&mut self, address: SocketAddr) {
        self.address = address;
    }

    /// Loses identity, journal and all other state.
    pub(crate) fn lose_state(&mut self, identity: Identity) {
        self.disks.iter_mut().for_each(Disk::lose);
        self.state = RouterState::new(identity, self.typed.clone());
    }

    // Timer

    /// Schedules the process's next timer event, unless an earlier one is.
    pub(crate) fn arm(&mut self, runtime: &mut SimRuntime) {
        let now = runtime.now();
        let deadline = self.occupant.as_ref().map(|o| o.next_deadline().max(now));
        let Some(deadline) = deadline else {
            return;
        };
        if deadline < Instant::FAR_FUTURE && self.armed.is_none_or(|armed| deadline < armed) {
            self.armed = Some(deadline);
            runtime.at(deadline, SimEvent::Timer(self.id));
        }
    }

    /// Handles a timer event. Returns true if the process's timer is due.
    ///
    /// # Errors
    /// The process sets its timer to the same time again and again.
    pub(crate) fn timer_fires(&mut self, runtime: &mut SimRuntime) -> Result<bool, Violation> {
        let now = runtime.now();
        // An event that an earlier one has replaced.
        if self.armed.is_some_and(|armed| armed > now) {
            return Ok(false);
        }
        self.armed = None;
        let occupant = self.occupant.as_ref();
        if occupant.is_none_or(|o| o.next_deadline() > now) {
            self.arm(runtime);
            return Ok(false);
        }
        self.fired = match self.fired {
            (when, times) if when == now => (now, times + 1),
            _ => (now, 1),
        };
        if self.fired.1 > MAX_SPINS {
            let detail = format!("router {} asks for its timer again and again", self.id);
            return Err(Violation::new(SPIN, detail));
        }
        Ok(true)
    }

    /// Returns the effects of its process.
    pub(crate) fn drain(&mut self) -> Vec<Effect> {
        self.process().map(Process::drain).unwrap_or_default()
    }

    // Disk

    /// Returns the disk with a journal.
    pub(crate) fn disk(&mut self, journal: JournalKind) -> &mut Disk {
        let [default, networks] = &mut self.disks;
        match journal {
            JournalKind::Default => default,
            JournalKind::Networks => networks,
        }
    }

    /// Copies the content of another host's disks.
    pub(crate) fn copy_disks(&mut self, of: [Disk; 2]) {
        self.disks = of;
    }

    /// Returns a copy of the synced content of its disks.
    pub(crate) fn disk_copies(&self) -> [Disk; 2] {
        self.disks.each_ref().map(Disk::copy)
    }

    /// Arms a crash in the middle of a write, or disarms it.
    pub(crate) fn set_trap(&mut self, trap: Option<Trap>) {
        self.disk(JournalKind::Default).trap = trap;
    }

    /// Starts the disk's next write, at which the host may crash.
    pub(crate) fn begin_write(&mut self, journal: JournalKind, runtime: &mut SimRuntime) {
        let Some((time, crash)) = self.disk(journal).begin(runtime.rng()) else {
            return;
        };
        runtime.after(time, SimEvent::Synced(self.last_start(), journal));
        if let Some(crash) = crash {
            let action = match crash {
                Crash::Kill => Action::Kill(self.id),
                Crash::Power => Action::PowerOff(self.id),
            };
            let end = runtime.rng().between(Duration::ZERO, time);
            runtime.after(end, SimEvent::Action(action));
            let back = end + runtime.rng().millis(100, 1_500);
            runtime.after(back, SimEvent::Action(Action::Revive(self.id)));
        }
    }
}

fn byte(n: usize) -> u8 {
    u8::try_from(n & 0xff).unwrap_or_default()
}

/// Returns the underlay address of a host after `moves` moves.
pub(crate) fn address(host: HostId, moves: usize) -> SocketAddr {
    let ip = Ipv4Addr::new(192, 168, byte(moves), byte(host + 1));
    SocketAddr::new(ip.into(), DEFAULT_PORT)
}

/// Returns the host that may have an underlay address.
pub(crate) fn number_of(address: SocketAddr) -> Option<HostId> {
    match address.ip() {
        IpAddr::V4(ip) => HostId::from(ip.octets()[3]).checked_sub(1),
        IpAddr::V6(_) => None,
    }
}

fn station(host: HostId, number: usize) -> Station {
    let ip = Ipv4Addr::new(10, 2, byte(host), byte(number + 1));
    Station {
        ip,
        mac: mac_for(ip.into()),
    }
}
