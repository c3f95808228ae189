//! Networks of the mesh in the API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Body of `mesh network create`. Members are texts as typed; the router says what is wrong with them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateNetworkRequest {
    /// Name.
    pub name: String,
    /// Subnets, like `10.40.0.0/16`; empty: the router chooses one.
    pub subnets: Vec<String>,
    /// Addresses of the gateways, at most one in each subnet.
    pub gateways: Vec<String>,
    /// Parts of the subnets of which addresses are allocated, at most one of each subnet.
    pub ip_ranges: Vec<String>,
    /// True if the network leads nowhere else.
    pub internal: bool,
    /// MTU; that of the mesh if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Labels, like `key=value`.
    pub labels: Vec<String>,
}

/// Answer to [`CreateNetworkRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkCreated {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// False if the network existed, as it was asked for.
    pub is_new: bool,
}

/// Body of `mesh network rm`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RemoveNetworkRequest {
    /// Name, id or start of the id.
    pub network: String,
    /// True to remove it though routers have containers in it, which they detach.
    #[serde(default)]
    pub force: bool,
}

/// Answer to [`RemoveNetworkRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkRemoved {
    /// Id.
    pub id: String,
}

/// Network, as printed by `mesh network ls` and `inspect`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkReport {
    /// Id, 32 hexadecimal digits.
    pub id: String,
    /// Name.
    pub name: String,
    /// Subnets.
    pub subnets: Vec<NetworkSubnetReport>,
    /// True if the network leads nowhere else.
    #[serde(default)]
    pub internal: bool,
    /// MTU; that of the mesh if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Time of creation in seconds since 1970, by the clock of the creator; 0 for `default`.
    #[serde(default)]
    pub created: u64,
    /// Router that created it; empty for `default`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Id of the network that has its name, if another has: this one is known by its id only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub shadowed_by: String,
    /// Routers with containers in it; for `default` all routers.
    pub hosts: Vec<NetworkHost>,
    /// Names of the containers of this host in it; left out where they are not asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<String>,
}

/// Subnet of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSubnetReport {
    /// Subnet.
    pub subnet: String,
    /// Address of the gateway; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Part of which addresses are allocated; empty for the whole subnet.
    #[serde(rename = "IPRange", default, skip_serializing_if = "String::is_empty")]
    pub ip_range: String,
}

/// Router in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkHost {
    /// Name of the router.
    pub peer: String,
    /// Nickname; empty if the router is not known any more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub nick_name: String,
    /// True for this router.
    #[serde(default)]
    pub is_self: bool,
    /// True if it is within reach.
    #[serde(default)]
    pub reachable: bool,
}

/// Networks besides `default`, in the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworksSummary {
    /// Number of networks, `default` not counted.
    pub known: usize,
    /// Number of them in which this router has containers.
    pub used: usize,
    /// Number of those that lost their name to another one.
    pub shadowed: usize,
    /// Removed networks that are remembered.
    pub removed: usize,
    /// Networks that have no room in this router's statement.
    pub left_out: usize,
    /// Routers of which networks were refused for lack of room.
    pub without_room: usize,
    /// Statements that were refused as malformed.
    pub refused: u64,
}
