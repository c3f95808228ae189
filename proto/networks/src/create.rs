//! Creation of networks: a new definition, or the comparison with the one that exists.

use core::fmt::Display;

use ipnet::{IpNet, Ipv6Net};

use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;

use super::definition::name::NetworkName;
use super::definition::subnet::{self, NetworkSubnet};
use super::definition::{NetworkDefinition, NetworkVersion, UserLabel, pools};
use super::refusal::{CreateNetworkError, subnets};

/// Next step where a subnet differs.
const OTHER_SUBNET: &str = "leave it out to use the network, or choose another name";
/// Next step where another option differs.
const OTHER_OPTION: &str = "leave the option out to use the network, or choose another name";

/// Network that a user asks for.
#[derive(Clone, Debug, Default)]
pub struct NewNetwork {
    /// Name.
    pub name: String,
    /// Subnets that the user gave ([`NetworkSubnet::arrange`]).
    pub subnets: Vec<NetworkSubnet>,
    /// True if an IPv4 subnet is to be chosen when none is given.
    pub ipv4: bool,
    /// True if an IPv6 subnet is to be chosen when none is given.
    pub ipv6: bool,
    /// True if the network leads nowhere else.
    pub internal: bool,
    /// MTU, if the user gave one.
    pub mtu: Option<u16>,
    /// Labels, in any order.
    pub labels: Vec<UserLabel>,
    /// Subnets that are not to be chosen: those of this host's other networks and routes, and the range of the mesh.
    pub avoid: Vec<IpNet>,
}

/// Network after its creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedNetwork {
    /// Id.
    pub id: NetworkId,
    /// False if the network existed, as it was asked for.
    pub is_new: bool,
}

impl NewNetwork {
    /// Checks that an existing network is as asked for. What the user left open is as it is, and labels may differ:
    /// Compose gives each project's.
    ///
    /// # Errors
    /// [`CreateNetworkError`].
    pub(crate) fn compare(&self, has: &NetworkDefinition) -> Result<(), CreateNetworkError> {
        subnet::check(&self.subnets)?;
        for asked in &self.subnets {
            compare_subnet(has, asked)?;
        }
        let has_v6 = has.subnets.iter().any(|s| s.net.addr().is_ipv6());
        if self.ipv6 && !has_v6 {
            return Err(differs(has, "no IPv6 subnet", "one", OTHER_OPTION));
        }
        if self.internal && !has.internal {
            let (open, internal) = ("routes to elsewhere", "an internal network");
            return Err(differs(has, open, internal, OTHER_OPTION));
        }
        if self.mtu.is_some() && self.mtu != has.mtu {
            let (has_mtu, asked) = (value("MTU", has.mtu), value("MTU", self.mtu));
            return Err(differs(has, &has_mtu, &asked, OTHER_OPTION));
        }
        Ok(())
    }

    /// Makes the definition of a new network; `taken` are the subnets of all networks of the mesh.
    ///
    /// # Errors
    /// [`CreateNetworkError`].
    pub(crate) fn define(
        &self,
        name: NetworkName,
        id: NetworkId,
        author: PeerId,
        stamp: u64,
        prefix6: Ipv6Net,
        mut taken: Vec<IpNet>,
    ) -> Result<NetworkDefinition, CreateNetworkError> {
        let mut labels = self.labels.clone();
        labels.sort();
        let mut definition = NetworkDefinition {
            id,
            version: NetworkVersion { counter: 1, author },
            stamp,
            name,
            subnets: self.subnets.clone(),
            internal: self.internal,
            mtu: self.mtu,
            labels,
            extension: Vec::new(),
        };
        definition.check()?;
        taken.extend(&self.avoid);
        taken.extend(self.subnets.iter().map(|s| s.net));
        let name = &definition.name;
        let has = |v6: bool| self.subnets.iter().any(|s| s.net.addr().is_ipv6() == v6);
        let mut chosen = Vec::new();
        if self.ipv4 && !has(false) {
            chosen.push(pools::choose_v4(name, &taken));
        }
        if self.ipv6 && !has(true) {
            chosen.push(pools::choose_v6(prefix6, name, &taken));
        }
        for net in chosen {
            let net = net.ok_or_else(|| CreateNetworkError::NoSubnet(definition.name.clone()))?;
            definition.subnets.push(NetworkSubnet::new(net));
        }
        definition.check()?;
        Ok(definition)
    }
}

fn compare_subnet(
    has: &NetworkDefinition,
    asked: &NetworkSubnet,
) -> Result<(), CreateNetworkError> {
    let Some(same) = has.subnets.iter().find(|s| s.net == asked.net) else {
        let is_v4 = asked.net.addr().is_ipv4();
        let nets = has.subnets.iter().map(|s| s.net);
        let family: Vec<IpNet> = nets.filter(|net| net.addr().is_ipv4() == is_v4).collect();
        let asked = format!("the subnet {}", asked.net);
        return Err(differs(has, &subnets(&family), &asked, OTHER_SUBNET));
    };
    if asked.gateway.is_some() && asked.gateway != same.gateway {
        let (had, asked) = (
            value("gateway", same.gateway),
            value("gateway", asked.gateway),
        );
        return Err(differs(has, &had, &asked, OTHER_OPTION));
    }
    if asked.ip_range.is_some() && asked.ip_range != same.ip_range {
        let (had, asked) = (
            value("range", same.ip_range),
            value("range", asked.ip_range),
        );
        return Err(differs(has, &had, &asked, OTHER_OPTION));
    }
    Ok(())
}

fn differs(
    has: &NetworkDefinition,
    had: &str,
    asked: &str,
    remedy: &'static str,
) -> CreateNetworkError {
    CreateNetworkError::Contradiction {
        name: has.name.clone(),
        has: had.to_owned(),
        asked: asked.to_owned(),
        remedy,
    }
}

fn value(what: &str, value: Option<impl Display>) -> String {
    match value {
        Some(value) => format!("the {what} {value}"),
        None => format!("no {what}"),
    }
}
