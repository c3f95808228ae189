//! Allocation of addresses (IPAM) in the API.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /ipam` | – | [`IpamReport`] |
//! | `POST /ipam/prime` | [`PrimeRequest`] | [`super::Done`] |
//! | `POST /ipam/remove` | [`RemoveRequest`] | [`Removed`] |
//! | `POST /ipam/leave` | – | [`Left`] |

use serde::{Deserialize, Serialize};

/// Answer for `mesh status ipam`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamReport {
    /// Reason why this router allocates no addresses; empty if it does, and only then the other fields are
    /// valid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub off: String,
    /// Name of the network; empty for `default`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
    /// Address range that the routers share; the subnet in another network.
    pub range: String,
    /// Subnet of `net:default`.
    pub default_subnet: String,
    /// IPv6 subnet beside the range; empty without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub range6: String,
    /// Owners of the range; empty before the first allocation in the mesh.
    pub owners: Vec<IpamOwner>,
    /// Number of free addresses in this router's own space.
    pub free: u64,
    /// Addresses of this host's containers.
    pub allocations: Vec<IpamAllocation>,
    /// Addresses of this router's space that containers on other routers hold.
    #[serde(rename = "Loans")]
    pub remote_leases: Vec<IpamRemoteLease>,
    /// Waiting requests.
    pub waiting: Vec<IpamWaiting>,
    /// Advice for the operator, one line each.
    pub advice: Vec<String>,
    /// The same for each subnet of other networks in whose allocation this router takes part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpamReport>,
}

/// Share of one router in the range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamOwner {
    /// Name of the router, as accepted by `rmpeer`.
    pub peer: String,
    /// Id of the router.
    pub id: String,
    /// True for this router.
    pub is_self: bool,
    /// Number of addresses it owns.
    pub addresses: u64,
    /// Number of slices it owns.
    pub slices: usize,
    /// Number of these slices that it may not use yet; known only for this router.
    pub pending: usize,
    /// True if it is reachable.
    pub reachable: bool,
}

/// Address of a container of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamAllocation {
    /// Address with the prefix length of its subnet.
    pub address: String,
    /// Description of the holder.
    pub container: String,
    /// True if the operator requested this address.
    pub explicit: bool,
    /// Name of the router that owns its space; empty for this router.
    #[serde(rename = "LentBy", default, skip_serializing_if = "String::is_empty")]
    pub leased_from: String,
}

/// Address held by a container on another router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamRemoteLease {
    /// Address.
    pub address: String,
    /// Router of the container.
    pub peer: String,
}

/// Waiting request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamWaiting {
    /// Process id of the caller; 0 if unknown.
    pub caller_pid: u32,
    /// Description of the holder.
    pub container: String,
    /// Requested subnet or address.
    pub want: String,
    /// Reason for the wait.
    pub why: String,
    /// Seconds until it is given up.
    pub left: f64,
}

/// Body of `mesh prime`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PrimeRequest {
    /// Time limit in seconds.
    pub timeout: f64,
}

/// Body of `mesh rmpeer`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RemoveRequest {
    /// Routers to remove: names, nicknames or ids.
    pub peers: Vec<String>,
    /// True to remove without waiting and without a majority.
    #[serde(default)]
    pub force: bool,
}

/// Result of `rmpeer`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Removed {
    /// Result for each router, one line each.
    pub lines: Vec<String>,
}

/// Result of giving up this router's space when it left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Left {
    /// Number of slices that no router took over.
    #[serde(default)]
    pub orphaned: usize,
    /// Number of other routers that were reachable.
    #[serde(default)]
    pub others: usize,
}
