//! Execution of a scenario's actions on the world.

use std::sync::Arc;
use std::time::Duration;

use mesh_proto::crypto::identity::Identity;
use mesh_proto::ids::Mac;

use super::action::Action;
use super::disk::{Crash, Trap};
use super::host::{Station, address};
use super::hostile::Hostile;
use super::network::HostId;
use super::fault::InjectedFault;
use super::process::Keep;
use super::router::RouterState;
use super::stream::Item;
use super::world::{SimEvent, World};

/// Downtime of a moving container.
const STOPPED: Duration = Duration::from_millis(500);
/// Number of frames sent to a container that moved, and their interval.
const SAID: u32 = 40;
const SAY_PACE: Duration = Duration::from_millis(50);
/// Source addresses of a MAC flood.
const FLOODED_MACS: u64 = 3_000;

/// Bytes that a lying disk loses although they were synced.
const LOST_BYTES: usize = 200;

impl World {
    pub(crate) fn act(&mut self, action: &Action) {
        self.trace.line(self.now, format_args!("{action:?}"));
        match *action {
            Action::Start(host) => self.start(host),
            Action::Kill(host) => self.kill(host),
            Action::PowerOff(host) => self.power_off(host),
            Action::LoseState(host) => self.lose_state(host),
            Action::RestoreBackup(host) => self.hosts[host].state.epoch = 0,
            Action::Cut(from, to) => self.network.cut(from, to),
            Action::Heal(from, to) => self.network.heal(from, to),
            Action::CutUdp(from, to) => self.network.cut_udp(from, to),
            Action::Narrow(a, b, mtu) => self.network.narrow(a, b, mtu),
            Action::HealAll => self.network.heal_all(),
            Action::Conditions(conditions) => self.network.set_conditions(conditions),
            Action::MoveHost(host) => self.move_host(host),
            Action::MoveContainer { from, to } => self.move_container(from, to),
            Action::Arrive { at, ref container } => self.arrive(at, container),
            Action::SayTo(mac) => self.say_to(mac),
            Action::Clone { of, to } => self.clone_host(of, to),
            Action::CloneNoticed { of, copy } => self.check_clone(of, copy),
            Action::Steady => self.steady = true,
            Action::Renewed => self.check_renewed(),
            Action::Garbage(host) => self.garbage(host),
            Action::GarbageStream(host) => self.garbage_stream(host),
            Action::DamageStream(host) => self.damage_stream(host),
            Action::MacFlood(host) => self.mac_flood(host),
            Action::Hostile(host) => self.hostile(host),
            Action::Revive(host) => self.revive(host),
            Action::CrashAtWrite { host, after, crash } => {
                self.hosts[host].disk.trap = Some(Trap { after, crash });
            }
            Action::DisarmDisks => self.hosts.iter_mut().for_each(|h| h.disk.trap = None),
            Action::Remove { at, host, force } => self.remove(at, host, force),
            Action::Found => self.found(),
            Action::Workload(busy) => self.workload.set_busy(busy),
            Action::Overlap => self.workload.allow_overlaps(),
            Action::Reported => self.check_reported(),
        }
    }

    pub(crate) fn kill(&mut self, host: HostId) {
        let incarnation = self.hosts[host].incarnation;
        if self.hosts[host].process.take().is_none() {
            return;
        }
        self.crash_disk(host, Crash::Kill);
        // The kernel closes the sockets of a dead process.
        let conns: Vec<_> = self
            .streams
            .of_host(host, incarnation)
            .into_iter()
            .filter_map(|(id, side)| Some(self.streams.get_mut(id)?.ends[side].conn))
            .collect();
        for conn in conns {
            self.close(host, conn);
        }
    }

    fn power_off(&mut self, host: HostId) {
        if self.hosts[host].process.take().is_some() {
            self.crash_disk(host, Crash::Power);
        }
        self.hosts[host].powered = false;
    }

    fn crash_disk(&mut self, host: HostId, how: Crash) {
        self.hosts[host].disk.crash(how, &mut self.rng);
        if self.plant(host, InjectedFault::LyingDisk) {
            self.hosts[host].disk.lose_end(LOST_BYTES);
        }
        self.requests_end(host);
    }

    fn revive(&mut self, host: HostId) {
        if self.hosts[host].process.is_none() {
            self.start(host);
        }
    }

    /// Reinstalls the machine: identity, journal and containers with allocated addresses are gone.
    fn lose_state(&mut self, host: HostId) {
        let identity = Identity::from_seeds(self.rng.key(), self.rng.key());
        self.who.insert(identity.id(), host);
        let old = self.hosts[host].state.identity.id();
        let mut others = (0..self.hosts.len()).filter(|h| *h != host);
        if !others.any(|h| self.hosts[h].state.identity.id() == old) {
            self.workload.dead.push(old);
        }
        let at = &mut self.hosts[host];
        at.workload.clear();
        at.disk.lose();
        at.state = RouterState {
            identity: Arc::new(identity),
            epoch: 0,
            targets: at.typed.clone(),
            neighbours: Vec::new(),
            pins: Default::default(),
        };
    }

    fn move_host(&mut self, host: HostId) {
        let to = address(host, 1);
        self.hosts[host].address = to;
        self.tell_router(host, |router, now| router.set_address(to, now));
    }

    fn move_container(&mut self, from: HostId, to: HostId) {
        let Some(container) = self.hosts[from].containers.pop() else {
            return;
        };
        let attached = self.hosts[from].attached();
        self.tell_router(from, |router, now| router.set_attached(attached, now));
        let arrive = SimEvent::Action(Action::Arrive { at: to, container });
        self.queue.push(self.now + STOPPED, arrive);
    }

    fn arrive(&mut self, at: HostId, container: &Station) {
        self.hosts[at].containers.push(container.clone());
        let attached = self.hosts[at].attached();
        self.tell_router(at, |router, now| router.set_attached(attached, now));
        let (frame, bytes) = self.announcement(at, container);
        self.places.moved(container.mac, at, frame, self.now);
        self.speak(at, &[bytes]);
        for n in 1..=SAID {
            let event = SimEvent::Action(Action::SayTo(container.mac));
            self.queue.push(self.now + SAY_PACE * n, event);
        }
    }

    fn say_to(&mut self, mac: Mac) {
        let running = self.running();
        if running.is_empty() {
            return;
        }
        let from = running[self.rng.below(running.len())];
        let mut sources = self.hosts[from].containers.iter().map(|c| c.mac);
        let Some(source) = sources.find(|source| *source != mac) else {
            return;
        };
        let (_, bytes) = self.ledger.frame(from, source, mac, 100);
        self.speak(from, &[bytes]);
    }

    fn clone_host(&mut self, of: HostId, to: HostId) {
        let copied = self.hosts[of].state.clone();
        let own = self.hosts[to].typed.clone();
        let at = [of, to].map(|h| self.hosts[h].address);
        let at = at.map(|a| a.ip().to_string());
        let names = [of, to].map(|h| format!("h{h}"));
        // Targets of both, except each other's addresses: dialling each other they would meet their own key, and learn
        // nothing.
        let mut targets = copied.targets.clone();
        targets.extend(own);
        targets.sort();
        targets.dedup();
        targets.retain(|t| !at.contains(t) && !names.contains(t));
        self.hosts[to].state = RouterState { targets, ..copied };
        self.hosts[to].disk = self.hosts[of].disk.copy();
        self.copied = Some(of);
        // Both allocate the same addresses until one notices.
        self.workload.excuse([of, to]);
    }

    fn garbage(&mut self, host: HostId) {
        let to = self.hosts[host].address;
        for _ in 0..40 {
            let mut bytes = if self.recent.is_empty() || self.rng.chance(300) {
                self.rng.bytes(0, 200)
            } else {
                let at = self.rng.below(self.recent.len());
                self.recent[at].clone()
            };
            // One in four is an unmodified replay.
            if !self.rng.chance(250) {
                self.rng.mutate(&mut bytes);
            }
            let neighbour = self.rng.below(self.hosts.len());
            let from = self.hosts[neighbour].address;
            let delay = self.rng.millis(0, 500);
            let event = SimEvent::Datagram { from, to, bytes };
            self.queue.push(self.now + delay, event);
        }
    }

    fn garbage_stream(&mut self, host: HostId) {
        let from = address(host, 200);
        let now = self.now;
        for _ in 0..5 {
            let bytes = self.rng.bytes(1, 6_000);
            let Some(process) = &mut self.hosts[host].process else {
                return;
            };
            let Some(conn) = process.accepted(from, now) else {
                continue;
            };
            process.bytes(conn, &bytes, now);
            process.closed(conn, "connection closed", now);
            self.settle(host);
        }
    }

    fn damage_stream(&mut self, host: HostId) {
        let incarnation = self.hosts[host].incarnation;
        let streams = self.streams.of_host(host, incarnation);
        if streams.is_empty() {
            return;
        }
        let (id, side) = streams[self.rng.below(streams.len())];
        let Some(to) = self.streams.get_mut(id).map(|s| s.ends[side].clone()) else {
            return;
        };
        let bytes = self.rng.bytes(1, 300);
        let item = Item::Bytes {
            bytes,
            reported: true,
        };
        if to.open {
            self.inject_bytes(id, 1 - side, item);
        }
    }

    fn mac_flood(&mut self, host: HostId) {
        let mut frames = Vec::new();
        for _ in 0..FLOODED_MACS {
            let mut mac = [0; 6];
            mac.copy_from_slice(&self.rng.number().to_be_bytes()[..6]);
            mac[0] = (mac[0] | 2) & !1;
            let to = Mac([0x02, 0, 0, 0, 0, 1]);
            frames.push(self.ledger.frame(host, Mac(mac), to, 60).1);
        }
        for batch in frames.chunks(64) {
            self.speak(host, batch);
        }
    }

    fn hostile(&mut self, host: HostId) {
        let at = &mut self.hosts[host];
        at.incarnation += 1;
        at.containers.clear();
        let hostile = Hostile::new(
            at.state.identity.clone(),
            self.secret.clone(),
            &at.state.targets,
            self.rng.fork(),
        );
        self.hosts[host].process = Some(Box::new(hostile));
        self.settle(host);
    }
}

impl RouterState {
    pub(crate) fn keep(&mut self, keep: Keep) {
        match keep {
            Keep::Pin(name, key) => drop(self.pins.insert(name, key)),
            Keep::Unpin(name) => drop(self.pins.remove(&name)),
            Keep::Epoch(epoch) => self.epoch = self.epoch.max(epoch),
            Keep::Targets(targets) => self.targets = targets,
            Keep::Neighbours(all) => self.neighbours = all,
        }
    }
}
