//! The host in the API: `mesh expose`, `hide`, `attach-bridge`, `detach-bridge`.

use serde::{Deserialize, Serialize};

/// Name of the host where containers are listed.
pub const EXPOSE: &str = "mesh:expose";

/// Body of `mesh expose`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExposeRequest {
    /// Address arguments as typed; empty: one of the default subnet.
    pub addresses: Vec<String>,
    /// Name for these addresses in the mesh.
    #[serde(default)]
    pub name: Option<String>,
    /// True to translate addresses between the mesh and networks behind the host.
    pub masquerade: bool,
    /// True to forward also between these subnets and other subnets of the mesh, and containers on other bridges of
    /// the host.
    #[serde(default)]
    pub forward: bool,
    /// Process id of the caller.
    #[serde(default)]
    pub caller_pid: u32,
    /// Time limit for the allocation of addresses, in seconds; the router's default if absent.
    #[serde(default)]
    pub timeout: Option<f64>,
    /// Network, by name or id; empty for `default`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
}

/// Answer to [`ExposeRequest`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Exposed {
    /// Requested addresses, in order, new ones or not.
    pub addresses: Vec<ExposedAddress>,
    /// Other changes on the host, and possible obstacles; one line each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Address of the host in the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExposedAddress {
    /// Address with the prefix length of its subnet.
    pub address: String,
    /// MAC address; empty while the bridge is being repaired.
    pub mac: String,
    /// True if addresses are translated between its subnet and networks behind the host.
    pub masquerade: bool,
    /// True if the host forwards between its subnet and all other networks, including other subnets of the mesh and
    /// containers on other bridges of the host.
    #[serde(default)]
    pub forward: bool,
    /// Names in the mesh, without the domain.
    pub names: Vec<String>,
    /// Name of the network; empty for `default`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
}

/// Body of `mesh hide`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HideRequest {
    /// Address arguments as typed; empty: all.
    pub addresses: Vec<String>,
    /// Network, by name or id; empty: addresses are those of `default`, and without any all networks are meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
}

/// Answer to [`HideRequest`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Hidden {
    /// Addresses removed from the host, without prefix lengths.
    pub addresses: Vec<String>,
    /// Arguments that match no exposed address.
    #[serde(default)]
    pub unknown: Vec<String>,
}

/// Body of `mesh attach-bridge` and `mesh detach-bridge`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BridgeRequest {
    /// Name of the other bridge.
    pub bridge: String,
    /// Network to join it to, by name or id; empty for `default`. Not read by `detach-bridge`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
}

/// Another bridge of the host, in the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BridgeReport {
    /// Name of the bridge.
    pub bridge: String,
    /// Reason why it is not joined now; empty if it is.
    pub problem: String,
    /// Name of the network that it is joined to; empty for `default`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
}

/// State of the host in the mesh, in the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostReport {
    /// Exposed addresses.
    pub exposed: Vec<ExposedAddress>,
    /// Tool that translates addresses: `nft` or `iptables`; empty if there is none.
    pub firewall: String,
    /// Number of restorations of rules or addresses that others had removed, since the router's start.
    pub restored: u64,
    /// Other bridges joined by `attach-bridge`.
    #[serde(default)]
    pub bridges: Vec<BridgeReport>,
}
