//! Allocation of addresses, as the `mesh` command and the router speak of it.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /ipam` | – | [`IpamReport`] |
//! | `POST /ipam/prime` | [`PrimeRequest`] | [`super::Done`] |
//! | `POST /ipam/remove` | [`RemoveRequest`] | [`Removed`] |
//! | `POST /ipam/leave` | – | [`Left`] |

use serde::{Deserialize, Serialize};

/// `mesh status ipam`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamReport {
    /// Why this router allocates no addresses; empty when it does, and then the rest counts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub off: String,
    /// The range that routers share.
    pub range: String,
    /// The subnet of `net:default`.
    pub default_subnet: String,
    /// Who owns how much of it; empty before the first allocation in the mesh.
    pub owners: Vec<IpamOwner>,
    /// Addresses free in this router's own space.
    pub free: u64,
    /// Addresses that containers of this host hold.
    pub allocations: Vec<IpamAllocation>,
    /// Addresses of this router's space that other routers' containers hold.
    pub loans: Vec<IpamLoan>,
    /// Requests that wait.
    pub waiting: Vec<IpamWaiting>,
    /// What an operator should do, one line each.
    pub advice: Vec<String>,
}

/// What one router owns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamOwner {
    /// Its name, as `rmpeer` takes it.
    pub peer: String,
    /// Its protocol identity.
    pub id: String,
    /// Whether it is this router.
    pub is_self: bool,
    /// Addresses it owns.
    pub addresses: u64,
    /// Slices of the range it owns.
    pub slices: usize,
    /// Of these, slices it may not use yet; known of this router only.
    pub pending: usize,
    /// Whether it can be reached.
    pub reachable: bool,
}

/// An address of a container of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamAllocation {
    /// The address with the prefix length of its subnet.
    pub address: String,
    /// Whose it is, in words.
    pub container: String,
    /// Whether it was asked for by the operator.
    pub explicit: bool,
    /// Who owns its space, if another router does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub lent_by: String,
}

/// An address that another router's container holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamLoan {
    /// The address.
    pub address: String,
    /// The router.
    pub peer: String,
}

/// A request that waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamWaiting {
    /// The process that asked; 0 if it is not known.
    pub caller_pid: u32,
    /// For whom, in words.
    pub container: String,
    /// For which subnet or address.
    pub want: String,
    /// For what it waits.
    pub why: String,
    /// Seconds until it is given up.
    pub left: f64,
}

/// `mesh prime`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PrimeRequest {
    /// Seconds it may take.
    pub timeout: f64,
}

/// `mesh rmpeer`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RemoveRequest {
    /// Who is gone: names, nicknames or identities.
    pub peers: Vec<String>,
    /// Whether to do without waiting and without a majority.
    #[serde(default)]
    pub force: bool,
}

/// What `rmpeer` did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Removed {
    /// One line for each router.
    pub lines: Vec<String>,
}

/// What became of this router's space when it left.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Left {
    /// Slices that nobody took.
    #[serde(default)]
    pub orphaned: usize,
    /// Other routers that could be reached.
    #[serde(default)]
    pub others: usize,
}
