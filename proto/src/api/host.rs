//! What `mesh expose`, `hide`, `attach-bridge`, `detach-bridge` and the router say to one another: the host's part in the
//! mesh.

use serde::{Deserialize, Serialize};

/// What stands for the host where containers are listed.
pub const EXPOSE: &str = "mesh:expose";

/// `mesh expose`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExposeRequest {
    /// Address arguments as typed; none means one of the default subnet.
    pub addresses: Vec<String>,
    /// A name for these addresses in the mesh.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether addresses are translated between the mesh and what is behind the host.
    pub masquerade: bool,
    /// Whether the host forwards also between these subnets and other subnets of the mesh, and containers on other bridges
    /// of the host.
    #[serde(default)]
    pub forward: bool,
    /// The process of the caller.
    #[serde(default)]
    pub caller_pid: u32,
    /// Seconds that the allocation of addresses may take; the router's default when absent.
    #[serde(default)]
    pub timeout: Option<f64>,
}

/// The answer to it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Exposed {
    /// What was asked for, in order, whether it is new or not.
    pub addresses: Vec<ExposedAddress>,
    /// What was changed on the host besides, and what may stand in the way; one line each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// One address of the host on the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExposedAddress {
    /// With the prefix length of its subnet.
    pub address: String,
    /// MAC address; empty while the bridge is being mended.
    pub mac: String,
    /// Whether addresses are translated between its subnet and what is behind the host.
    pub masquerade: bool,
    /// Whether the host forwards between its subnet and everything else, also other subnets of the mesh and containers on
    /// other bridges of the host.
    #[serde(default)]
    pub forward: bool,
    /// Its names in the mesh, without the domain.
    pub names: Vec<String>,
}

/// `mesh hide`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HideRequest {
    /// Address arguments as typed; none means all.
    pub addresses: Vec<String>,
}

/// The answer to it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Hidden {
    /// Addresses that are not the host's any more, without prefix lengths.
    pub addresses: Vec<String>,
    /// Arguments that meant nothing that was exposed.
    #[serde(default)]
    pub unknown: Vec<String>,
}

/// `mesh attach-bridge`, `mesh detach-bridge`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BridgeRequest {
    /// Name of the other bridge.
    pub bridge: String,
}

/// Another bridge of the host, for the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BridgeReport {
    /// Its name.
    pub bridge: String,
    /// Why it is not joined now; empty when it is.
    pub problem: String,
}

/// The host's part in the mesh, for the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostReport {
    /// Its addresses.
    pub exposed: Vec<ExposedAddress>,
    /// What translates addresses: `nft` or `iptables`; empty when nothing does.
    pub firewall: String,
    /// How often rules or addresses that somebody removed were put back since the router's start.
    pub restored: u64,
    /// Other bridges that `attach-bridge` joined.
    #[serde(default)]
    pub bridges: Vec<BridgeReport>,
}
