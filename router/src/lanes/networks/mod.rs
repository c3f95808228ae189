//! Ports of networks other than `default`: each network has a bridge and a device of its own on this host.
//!
//! No network has a thread. The lanes that serve the main port read and write these ports, too; a lane reads those that
//! are assigned to it, and any lane writes any of them. So a network that is idle costs its devices and some entries.
//!
//! | file | what |
//! |---|---|
//! | `mod` | the open networks: opened, closed, mended |
//! | `devices` | bridge and port of one network |
//! | `readers` | ports as an egress lane reads them |
//! | `delivery` | ports as all lanes write them |
//! | `repair` | ports that were lost are opened again |

mod delivery;
mod devices;
mod readers;
mod repair;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use mesh_proto::forward::{GroupLimits, PortLosses};
use mesh_proto::limits::MAX_NETWORKS_HERE;
use mesh_proto::network::NetworkId;
use mesh_sys::SysError;
use mesh_sys::bridge::network::{NetworkMark, ensure_network_bridge, remove_network_bridge};
use mesh_sys::bridge::{BridgeConfig, ports};
use mesh_sys::firewall;
use mesh_sys::ifname;
use mesh_sys::netlink::HostLinks;
use mesh_sys::port::{LostFrames, PortError};

use super::losses::Losses;
use super::port::Pair;

pub(super) use self::delivery::NetworkDelivery;
use self::delivery::{WritingPort, WritingPorts};
use self::devices::{NetworkDevices, failed};
use self::readers::{FIRST_PORT, LaneInbox, ReadingPort};
pub(super) use self::readers::{LaneReaders, ReadyPort};
use self::repair::LostPorts;

/// Handle of the ports of networks. Cheap to clone. Its functions that make or remove devices block for some 10 ms, in
/// the calling thread's network namespace.
#[derive(Clone)]
pub struct NetworkPorts {
    shared: Arc<SharedPorts>,
}

struct SharedPorts {
    devices: NetworkDevices,
    /// Held while devices are made or removed.
    open: Mutex<OpenNetworks>,
    writing: ArcSwap<WritingPorts>,
    inboxes: Vec<Arc<LaneInbox>>,
    lost: LostPorts,
    losses: Mutex<NetworkLosses>,
}

struct OpenNetworks {
    networks: BTreeMap<NetworkId, OpenNetwork>,
    /// Number of the next port.
    next: u64,
}

struct OpenNetwork {
    mark: NetworkMark,
    mtu: u16,
    /// Egress lane that reads the port.
    lane: usize,
    reading: Arc<ReadingPort>,
    writing: Arc<WritingPort>,
}

#[derive(Default)]
struct NetworkLosses {
    counted: Losses,
    dropped: u64,
}

/// Repairs by [`NetworkPorts::mend`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MendedNetworks {
    /// A bridge, its port or a firewall rule was missing or wrong, and is right again.
    pub anything: bool,
    /// Settings of ports that other programs had changed; a line for each port.
    pub changed: Vec<String>,
}

impl NetworkPorts {
    /// Creates the handle of a router with the main bridge `base` and this many lanes. Nothing is open.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn new(base: BridgeConfig, limits: GroupLimits, lanes: usize) -> Result<Self, SysError> {
        let inbox = |_| LaneInbox::new().map(Arc::new);
        let shared = SharedPorts {
            devices: NetworkDevices::new(base, limits),
            open: Mutex::new(OpenNetworks {
                networks: BTreeMap::new(),
                next: FIRST_PORT,
            }),
            writing: ArcSwap::default(),
            inboxes: (0..lanes.max(1)).map(inbox).collect::<Result<_, _>>()?,
            lost: LostPorts::default(),
            losses: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Makes the bridge and the port of a network if they are missing, gives them the MTU and the bridge the text
    /// `alias`, and has the lanes serve the port. Idempotent. For the network `default` nothing is done.
    ///
    /// `mtu` 0: that of the mesh, which is never exceeded.
    ///
    /// # Errors
    /// There are [`MAX_NETWORKS_HERE`] already; the devices cannot be made. Nothing is left of the attempt.
    pub fn open(&self, network: NetworkId, mtu: u16, alias: &str) -> Result<(), PortError> {
        if network.is_default() {
            return Ok(());
        }
        let devices = &self.shared.devices;
        let mark = NetworkMark::new(devices.base(), network, alias);
        let mtu = devices.mtu(mtu);
        let mut open = self.open_networks();
        if let Some(known) = open.networks.get_mut(&network) {
            let config = devices.config(&mark, mtu);
            ensure_network_bridge(&config, &mark).map_err(|e| failed(&config, &e))?;
            (known.mark, known.mtu) = (mark, mtu);
            return Ok(());
        }
        open.check_room(&mark)?;
        let pair = devices.open(&mark, mtu)?;
        self.serve(&mut open, mark, mtu, pair);
        if let Err(error) = self.let_pass(&open) {
            tracing::warn!(
                "{error}; containers of networks may not reach one another on this host"
            );
        }
        Ok(())
    }

    /// Takes a network off the lanes, and removes its bridge and port. Containers' interfaces stay, without a bridge.
    ///
    /// # Errors
    /// A device is still there; the lanes do not serve it any more.
    pub fn close(&self, network: NetworkId) -> Result<(), PortError> {
        let mut open = self.open_networks();
        let Some(closed) = open.networks.remove(&network) else {
            return Ok(());
        };
        self.publish(&open);
        if let Err(error) = self.let_pass(&open) {
            tracing::debug!("{error}");
        }
        let config = self.shared.devices.config(&closed.mark, closed.mtu);
        remove_network_bridge(&config.name)
            .map(drop)
            .map_err(|e| failed(&config, &e))
    }

    /// Returns the name of the bridge of a network, whether it is open or not.
    pub fn bridge(&self, network: NetworkId) -> String {
        ifname::network_bridge(self.shared.devices.base(), &network)
    }

    /// Repairs what other programs did to bridges and ports of open networks, and to the firewall rules for them. To be
    /// called every few seconds; without open networks it does nothing.
    ///
    /// # Errors
    /// The first failure, after the rest was tried.
    pub fn mend(&self, host: &HostLinks) -> Result<MendedNetworks, PortError> {
        let open = self.open_networks();
        let mut mended = MendedNetworks::default();
        if open.networks.is_empty() {
            return Ok(mended);
        }
        let base = self.shared.devices.base();
        let general = |error: SysError| PortError::Other {
            interface: base.to_owned(),
            reason: error.to_string(),
        };
        let mut result = Ok(());
        for known in open.networks.values() {
            match self.mend_one(known, host) {
                Ok((anything, changed)) => {
                    mended.anything |= anything;
                    mended.changed.extend(changed);
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        match self.let_pass(&open) {
            Ok(changed) => mended.anything |= changed,
            Err(error) => result = result.and(Err(general(error))),
        }
        result.map(|()| mended)
    }

    /// Returns the bridges of networks that an earlier run of this router left, and that are not open.
    pub fn strays(&self, host: &HostLinks) -> Vec<String> {
        let open = self.open_networks();
        let ours = host.networks(self.shared.devices.base()).into_iter();
        let names = ours.map(|(name, _)| name).chain(host.half_made());
        names.filter(|name| !open.has_bridge(name)).collect()
    }

    /// Removes one of [`NetworkPorts::strays`]. Containers' interfaces stay, without a bridge.
    ///
    /// # Errors
    /// A network with this bridge is open, or the devices are still there.
    pub fn remove_stray(&self, bridge: &str) -> Result<(), PortError> {
        let refused = |reason: String| PortError::Other {
            interface: bridge.to_owned(),
            reason,
        };
        let open = self.open_networks();
        if open.has_bridge(bridge) {
            return Err(refused("a network that is open has this bridge".to_owned()));
        }
        remove_network_bridge(bridge)
            .map(drop)
            .map_err(|e| refused(e.to_string()))
    }

    fn mend_one(
        &self,
        known: &OpenNetwork,
        host: &HostLinks,
    ) -> Result<(bool, Vec<String>), PortError> {
        let config = self.shared.devices.config(&known.mark, known.mtu);
        let is_sound = host.is_sound(&config, &known.mark);
        if !is_sound {
            ensure_network_bridge(&config, &known.mark).map_err(|e| failed(&config, &e))?;
        }
        let changed = match host.has_changed_ports(&config.name) {
            true => ports::set_back(&config.name).map_err(|e| failed(&config, &e))?,
            false => Vec::new(),
        };
        Ok((!is_sound, changed))
    }

    /// Has the lanes serve an open port.
    fn serve(&self, open: &mut OpenNetworks, mark: NetworkMark, mtu: u16, (reader, writer): Pair) {
        let network = mark.network;
        let lane = match open.networks.get(&network) {
            Some(known) => known.lane,
            None => open.emptiest_lane(self.shared.inboxes.len()),
        };
        let served = OpenNetwork {
            mark,
            mtu,
            lane,
            reading: Arc::new(ReadingPort::new(open.next, network, reader)),
            writing: Arc::new(WritingPort::new(network, writer)),
        };
        open.next += 1;
        open.networks.insert(network, served);
        self.publish(open);
    }

    /// Opens the port of a network again, unless that was done already or the network is closed.
    fn make_again(&self, network: NetworkId, lost: u64) -> Result<(), PortError> {
        let mut open = self.open_networks();
        let Some(known) = open.networks.get(&network) else {
            return Ok(());
        };
        if known.reading.number != lost {
            return Ok(());
        }
        let (mark, mtu) = (known.mark.clone(), known.mtu);
        let name = mark.bridge();
        let pair = self.shared.devices.open_again(&mark, mtu)?;
        self.serve(&mut open, mark, mtu, pair);
        tracing::info!("the port on {name} was opened again");
        Ok(())
    }

    /// Tells the lanes what is open.
    fn publish(&self, open: &OpenNetworks) {
        let all = open.networks.iter();
        let writing = all.map(|(network, known)| (*network, known.writing.clone()));
        self.shared.writing.store(Arc::new(writing.collect()));
        for (lane, inbox) in self.shared.inboxes.iter().enumerate() {
            let its = open.networks.values().filter(|known| known.lane == lane);
            inbox.set(its.map(|known| known.reading.clone()).collect());
        }
    }

    /// Has the firewall accept frames within each bridge. Returns true if that was to be done.
    fn let_pass(&self, open: &OpenNetworks) -> Result<bool, SysError> {
        let bridges: BTreeSet<String> = open.networks.values().map(|n| n.mark.bridge()).collect();
        let base = self.shared.devices.base();
        let done = firewall::networks::ensure(base, &bridges)?;
        Ok(done == firewall::Changed::Yes)
    }

    fn inbox(&self, lane: usize) -> Arc<LaneInbox> {
        let inboxes = &self.shared.inboxes;
        // There is at least one, and one for each lane.
        inboxes[lane.min(inboxes.len() - 1)].clone()
    }

    fn writing_ports(&self) -> Arc<WritingPorts> {
        self.shared.writing.load_full()
    }

    /// Adds frames that ports lost, and returns all that is new of them and of storm control.
    fn count_losses(&self, dropped: u64) -> PortLosses {
        let storm = self.shared.devices.storm();
        let losses = self.shared.losses.lock();
        let mut losses = losses.unwrap_or_else(PoisonError::into_inner);
        // Storm control counts for all ports, so their losses are summed up, too.
        losses.dropped += dropped;
        let dropped = losses.dropped;
        losses.counted.since(LostFrames { dropped, storm })
    }

    fn open_networks(&self) -> MutexGuard<'_, OpenNetworks> {
        let open = self.shared.open.lock();
        open.unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenNetworks {
    fn check_room(&self, mark: &NetworkMark) -> Result<(), PortError> {
        let refused = |reason: String| {
            Err(PortError::Other {
                interface: mark.bridge(),
                reason,
            })
        };
        if self.networks.len() >= MAX_NETWORKS_HERE {
            return refused(format!(
                "{MAX_NETWORKS_HERE} networks have containers on this host, and no more may; detach those of one first"
            ));
        }
        // 40 bits of a hash: possible for ids that somebody chose.
        match self.has_bridge(&mark.bridge()) {
            true => refused("another network has a bridge of that name here".to_owned()),
            false => Ok(()),
        }
    }

    fn has_bridge(&self, name: &str) -> bool {
        self.networks
            .values()
            .any(|known| known.mark.bridge() == name)
    }

    /// Returns the lane that reads the fewest ports.
    fn emptiest_lane(&self, lanes: usize) -> usize {
        let load = |lane: &usize| self.networks.values().filter(|n| n.lane == *lane).count();
        (0..lanes).min_by_key(load).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
