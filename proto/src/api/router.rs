//! The two halves of the router's part of the report, and how they are joined.

use std::collections::BTreeMap;

use super::{BroadcastReport, ConnectionReport, MacReport, PeerReport, RouteReport, RouterReport};

/// Part of the report that the control plane knows; the fields are those of [`RouterReport`].
#[derive(Clone, Debug)]
#[allow(
    missing_docs,
    reason = "each is said of the field of that name in RouterReport"
)]
pub struct ControlReport {
    pub protocol: String,
    pub protocol_min_version: u8,
    pub protocol_max_version: u8,
    pub name: String,
    pub nick_name: String,
    pub id: String,
    pub epoch: u64,
    pub secret: String,
    pub encryption: bool,
    pub plain: String,
    pub peer_discovery: bool,
    pub port: u16,
    pub mtu: u16,
    pub targets: Vec<String>,
    pub forgotten: Vec<String>,
    pub connections: Vec<ConnectionReport>,
    pub peers: Vec<PeerReport>,
    pub unicast_routes: Vec<RouteReport>,
    pub broadcast_routes: Vec<BroadcastReport>,
    pub counters: BTreeMap<String, u64>,
    pub warnings: Vec<String>,
}

/// Part of the report that the host adds: bridge, datapath, MAC table; the fields are those of [`RouterReport`].
#[derive(Clone, Debug, Default)]
#[allow(
    missing_docs,
    reason = "each is said of the field of that name in RouterReport"
)]
pub struct DatapathReport {
    pub fast_path: String,
    pub host: String,
    pub bridge: String,
    pub datapath: String,
    pub datapath_reason: String,
    pub latency: String,
    pub restart: String,
    pub macs: Vec<MacReport>,
    pub drops: BTreeMap<String, u64>,
    pub counters: BTreeMap<String, u64>,
    pub warnings: Vec<String>,
}

impl RouterReport {
    /// Joins what the control plane knows with what the host adds.
    pub fn new(control: ControlReport, host: DatapathReport) -> Self {
        let mut connections = control.connections;
        // Others go by the kernel's VXLAN.
        for connection in connections.iter_mut().filter(|c| c.encrypted) {
            connection.datapath.clone_from(&host.datapath);
        }
        Self {
            protocol: control.protocol,
            protocol_min_version: control.protocol_min_version,
            protocol_max_version: control.protocol_max_version,
            name: control.name,
            nick_name: control.nick_name,
            id: control.id,
            epoch: control.epoch,
            secret: control.secret,
            encryption: control.encryption,
            plain: control.plain,
            fast_path: host.fast_path,
            peer_discovery: control.peer_discovery,
            port: control.port,
            host: host.host,
            bridge: host.bridge,
            datapath: host.datapath,
            datapath_reason: host.datapath_reason,
            latency: host.latency,
            mtu: control.mtu,
            targets: control.targets,
            forgotten: control.forgotten,
            restart: host.restart,
            connections,
            peers: control.peers,
            unicast_routes: control.unicast_routes,
            broadcast_routes: control.broadcast_routes,
            macs: host.macs,
            drops: host.drops,
            counters: control.counters.into_iter().chain(host.counters).collect(),
            warnings: [control.warnings, host.warnings].concat(),
        }
    }
}
