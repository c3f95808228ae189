//! Devices of one network: its bridge, and the router's port on it. Their memory is small, since a host may have a
//! hundred networks that are idle most of the time.

use std::sync::OnceLock;

use mesh_proto::forward::GroupLimits;
use mesh_sys::SysError;
use mesh_sys::bridge::network::{NetworkMark, ensure_network_bridge, remove_port};
use mesh_sys::bridge::{self, BridgeConfig, PortKind};
use mesh_sys::ifname;
use mesh_sys::interface::drops::DropCounters;
use mesh_sys::port::{PcapPort, PortError, Storm, StormControl, TapPort, TapSpec};

use super::super::port::{Pair, split, storm_limits};

/// Frames that may wait in the kernel for the lane: as many as at a queue of the main port. The places are pointers, and
/// take memory only while frames wait.
const QUEUE: u32 = 256;
/// Kernel buffer of a port through libpcap, in bytes: some 128 frames, allocated as long as the port is open.
const PCAP_BUFFER: i32 = 256 * 1024;

/// Devices of all networks of one router, and what they have in common.
#[derive(Debug)]
pub(super) struct NetworkDevices {
    /// The main bridge, after which the others are made.
    base: BridgeConfig,
    limits: GroupLimits,
    /// Storm control of all TAP devices; `None` inside if the kernel does not support it.
    storm: OnceLock<Option<StormControl>>,
    /// Counters of all devices.
    counters: OnceLock<DropCounters>,
}

impl NetworkDevices {
    pub(super) fn new(base: BridgeConfig, limits: GroupLimits) -> Self {
        Self {
            base,
            limits,
            storm: OnceLock::new(),
            counters: OnceLock::new(),
        }
    }

    /// Returns the name of the main bridge.
    pub(super) fn base(&self) -> &str {
        &self.base.name
    }

    /// Returns the MTU of a network: that of the mesh, or a smaller one of its own. 0: none of its own.
    pub(super) fn mtu(&self, own: u16) -> u16 {
        match own {
            0 => self.base.mtu,
            own => own.min(self.base.mtu),
        }
    }

    /// Returns the configuration of the bridge of a network.
    pub(super) fn config(&self, mark: &NetworkMark, mtu: u16) -> BridgeConfig {
        BridgeConfig {
            name: mark.bridge(),
            mtu,
            ..self.base.clone()
        }
    }

    /// Makes or repairs the bridge, and opens a port on it.
    pub(super) fn open(&self, mark: &NetworkMark, mtu: u16) -> Result<Pair, PortError> {
        let config = self.config(mark, mtu);
        let ensured = ensure_network_bridge(&config, mark).map_err(|e| failed(&config, &e))?;
        match config.port {
            PortKind::Veth => {
                PcapPort::open_with_buffer(&ensured.port_interface, PCAP_BUFFER).map(split)
            }
            PortKind::Tap => self.open_tap(&config).map_err(|e| failed(&config, &e)),
        }
    }

    /// Opens a port again that a lane lost.
    pub(super) fn open_again(&self, mark: &NetworkMark, mtu: u16) -> Result<Pair, PortError> {
        let config = self.config(mark, mtu);
        if config.port == PortKind::Tap {
            // The writing half may still hold the old device.
            remove_port(&config.name).map_err(|e| failed(&config, &e))?;
        }
        self.open(mark, mtu)
    }

    fn open_tap(&self, config: &BridgeConfig) -> Result<Pair, SysError> {
        let spec = TapSpec {
            name: &ifname::tap_port(&config.name),
            queues: 1,
            queue_len: Some(QUEUE),
            storm: None,
        };
        let counters = match self.counters.get() {
            Some(known) => known.clone(),
            None => {
                let opened = DropCounters::open()?;
                self.counters.get_or_init(|| opened).clone()
            }
        };
        let ports = TapPort::open_shared(&spec, self.storm_control(), &counters)?;
        bridge::ensure_tap_port(config)?;
        let port = ports.into_iter().next();
        port.map(split)
            .ok_or_else(|| SysError::other(format!("open {}", spec.name), "it has no queue"))
    }

    fn storm_control(&self) -> Option<&StormControl> {
        let load = || {
            StormControl::load(&storm_limits(self.limits))
                .inspect_err(|error| tracing::info!("no storm control for networks: {error}"))
                .ok()
        };
        self.storm.get_or_init(load).as_ref()
    }

    /// Returns the frames that storm control dropped on all TAP devices.
    pub(super) fn storm(&self) -> Storm {
        let control = self.storm.get().and_then(Option::as_ref);
        control.map(StormControl::dropped).unwrap_or_default()
    }
}

/// Returns an error about the bridge of a network.
pub(super) fn failed(config: &BridgeConfig, error: &SysError) -> PortError {
    PortError::Other {
        interface: config.name.clone(),
        reason: error.to_string(),
    }
}
