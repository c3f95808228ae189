//! Kernel side of the fast path: devices, firewall rules and forwarding tables.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use mesh_proto::fastpath::{BEAT_ETHERTYPE, BEAT_GROUP, Beat, FastPeers};
use mesh_proto::ids::Mac;
use mesh_sys::SysError;
use mesh_sys::firewall::sources::{self, PortGuard};
use mesh_sys::netlink::{FdbContent, Netlink, Remote};
use mesh_sys::socket::packet::PacketSocket;
use mesh_sys::vxlan::{self, Device, Family, VxlanConfig};

use super::table::{
    FastPathInterfaces, Found, KernelNextHop, NextHops, Step, found, remote, steps,
};

/// Most keepalives read from one device per turn, so that a flood of forged ones does not stall the worker.
const BEATS_PER_TURN: usize = 2_048;

/// VXLAN device of one address family, in use.
struct VxlanPort {
    device: Device,
    socket: PacketSocket,
    /// Remotes that keepalives are sent to.
    group: BTreeSet<Remote>,
}

/// Kernel objects of the fast path.
pub(super) struct Kernel {
    config: VxlanConfig,
    netlink: Netlink,
    ports: BTreeMap<Family, VxlanPort>,
    installed: NextHops,
}

impl Kernel {
    pub(super) fn open(config: VxlanConfig) -> Result<Self, SysError> {
        Ok(Self {
            config,
            netlink: Netlink::open()?,
            ports: BTreeMap::new(),
            installed: NextHops::new(),
        })
    }

    /// True if there is a device for the family of `remote`.
    pub(super) fn can_reach(&self, remote: &Remote) -> bool {
        self.ports.contains_key(&Family::of(remote.address))
    }

    /// Returns the addresses that VXLAN is accepted from, including those of an earlier run.
    pub(super) fn accepted(&self) -> Result<BTreeSet<IpAddr>, SysError> {
        sources::allowed(&self.config.bridge)
    }

    /// Creates or repairs rules and devices: VXLAN is accepted from `accepted`, and keepalives go to the peers.
    /// Unneeded devices are removed. A family that fails is not used; the last error is returned.
    pub(super) fn prepare(
        &mut self,
        peers: &FastPeers,
        accepted: &BTreeSet<IpAddr>,
    ) -> Result<(), SysError> {
        let mut result = Ok(());
        for family in Family::ALL {
            let done = if accepted.iter().any(|a| Family::of(*a) == family) {
                self.prepare_family(family, accepted, peers)
            } else {
                self.ports.remove(&family);
                vxlan::remove(&self.config.bridge, family).map(drop)
            };
            if let Err(error) = done {
                self.ports.remove(&family);
                result = Err(error);
            }
        }
        result
    }

    fn prepare_family(
        &mut self,
        family: Family,
        accepted: &BTreeSet<IpAddr>,
        peers: &FastPeers,
    ) -> Result<(), SysError> {
        let guard = PortGuard {
            bridge: &self.config.bridge,
            port: self.config.port,
            ipv6: family == Family::V6,
        };
        // Rules before the device, so that no other host can inject frames at any time.
        sources::ensure(&guard, accepted)?;
        let device = vxlan::ensure(&self.config, family)?;
        let same = |port: &VxlanPort| port.device == device;
        let mut port = match self.ports.remove(&family).filter(same) {
            Some(port) => port,
            None => VxlanPort {
                socket: PacketSocket::open(device.index, BEAT_ETHERTYPE)?,
                device,
                group: BTreeSet::new(),
            },
        };
        let all = peers.values().filter(|p| Family::of(p.address) == family);
        let group: BTreeSet<Remote> = all.map(remote).collect();
        let link = port.device.index;
        for gone in port.group.difference(&group) {
            self.netlink
                .fdb()
                .delete_remote(link, BEAT_GROUP, Some(*gone))?;
        }
        for to in &group {
            self.netlink.fdb().add_group_remote(link, BEAT_GROUP, *to)?;
        }
        port.group = group;
        self.ports.insert(family, port);
        Ok(())
    }

    /// Returns the entries that were installed.
    pub(super) fn installed(&self) -> &NextHops {
        &self.installed
    }

    /// Changes the tables to `wanted`. A failed step is logged, and retried after the next audit. Without a device
    /// nothing is done: the bridge then learns by itself.
    pub(super) fn apply(&mut self, wanted: &NextHops) {
        if self.ports.is_empty() {
            return;
        }
        for step in steps(&self.installed, wanted) {
            match self.take(step) {
                Ok(()) => match step.to {
                    Some(exit) => drop(self.installed.insert(step.mac, exit)),
                    None => drop(self.installed.remove(&step.mac)),
                },
                Err(error) => {
                    tracing::debug!(%error, "a forwarding entry could not be changed");
                    self.installed.remove(&step.mac);
                }
            }
        }
    }

    /// Applies one step, make before break: the new remote exists before the bridge entry is switched, the old one goes
    /// last.
    fn take(&mut self, step: Step) -> Result<(), SysError> {
        let (mac, old) = (step.mac, step.from.and_then(|exit| self.link(exit)));
        let new = step.to.and_then(|exit| self.link(exit));
        if let (Some(KernelNextHop::Vxlan(remote)), Some(link)) = (step.to, new) {
            self.netlink.fdb().put_remote(link, mac, remote)?;
        }
        match (old, new) {
            (_, Some(link)) => self.netlink.fdb().put_bridge_entry(link, mac)?,
            (Some(link), None) => drop(self.netlink.fdb().delete_bridge_entry(link, mac)?),
            (None, None) => {}
        }
        if let (Some(KernelNextHop::Vxlan(_)), Some(link)) = (step.from, old)
            && new != Some(link)
        {
            self.netlink.fdb().delete_remote(link, mac, None)?;
        }
        Ok(())
    }

    fn link(&self, exit: KernelNextHop) -> Option<u32> {
        match exit {
            KernelNextHop::Router => self.ports.values().next().map(|p| p.device.port),
            KernelNextHop::Vxlan(remote) => {
                let port = self.ports.get(&Family::of(remote.address))?;
                Some(port.device.index)
            }
        }
    }

    /// Reads the actual kernel tables, so that the next [`Kernel::apply`] repairs foreign changes.
    pub(super) fn audit(&mut self, used_within: Duration) -> Result<Found, SysError> {
        let Some(router) = self.link(KernelNextHop::Router) else {
            return Ok(Found::default());
        };
        let links = FastPathInterfaces {
            router,
            vxlan: self.ports.values().map(|p| p.device.index).collect(),
            own: (self.config.port, self.config.vni),
        };
        let found = found(&self.netlink.fdb().list()?, &links, used_within);
        for (link, mac) in &found.orphans {
            self.netlink.fdb().delete_remote(*link, *mac, None)?;
        }
        self.installed.clone_from(&found.table);
        Ok(found)
    }

    /// Sends a keepalive to every peer.
    pub(super) fn beat(&self, beat: Beat) -> Result<(), SysError> {
        let mut result = Ok(());
        for port in self.ports.values() {
            result = result.and(port.socket.send(&beat.to_frame(port.device.mac)));
        }
        result
    }

    /// Returns the keepalives received.
    pub(super) fn hear(&self) -> Vec<Beat> {
        let mut beats = Vec::new();
        let mut buffer = [0; 128];
        for port in self.ports.values() {
            for _ in 0..BEATS_PER_TURN {
                match port.socket.recv(&mut buffer) {
                    Ok(Some(frame)) => beats.extend(Beat::from_frame(frame)),
                    // The device is down or gone: the next audit restores it.
                    Ok(None) | Err(_) => break,
                }
            }
        }
        beats
    }

    /// Removes everything; running flows continue through the router.
    pub(super) fn clear(&mut self) -> Result<(), SysError> {
        self.ports.clear();
        self.installed.clear();
        clear(&self.config.bridge).map(drop)
    }
}

/// Removes the fast path of a bridge, including that of another process. Returns true if there was a device.
pub(super) fn clear(bridge: &str) -> Result<bool, SysError> {
    // The bridge floods unknown addresses, also to the router: from here on no frame is lost.
    vxlan::release_port(bridge)?;
    let mut had = false;
    for family in Family::ALL {
        had |= vxlan::remove(bridge, family)?;
    }
    if had {
        forget_external(bridge)?;
        sources::remove(bridge)?;
    }
    Ok(had)
}

/// Removes entries behind the router's port that a program added: they do not age.
fn forget_external(bridge: &str) -> Result<(), SysError> {
    let mut netlink = Netlink::open()?;
    let Some(port) = vxlan::router_port_index(bridge)? else {
        return Ok(());
    };
    let is_ours = |known| matches!(known, FdbContent::Bridge { external: true, .. });
    let rows = netlink.fdb().list()?;
    let ours = rows
        .iter()
        .filter(|row| row.link == port && is_ours(row.known));
    let macs: Vec<Mac> = ours.map(|row| row.mac).collect();
    macs.into_iter()
        .try_for_each(|mac| netlink.fdb().delete_bridge_entry(port, mac).map(drop))
}
