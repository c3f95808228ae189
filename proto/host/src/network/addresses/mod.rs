//! Address arguments in a network other than `default`: a network says which addresses its containers may have.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use mesh_networks::{NetworkDefinition, NetworkSubnet};
use mesh_proto::address::{AddressArg, AddressError};

use crate::arguments::MAX_ADDRESSES;

/// Reason why an argument is not accepted in a network; one line, ready to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkAddressError {
    /// It is no address argument.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The address is in none of the subnets.
    #[error("{ip} is outside the network {network} ({subnets}); give an address in it")]
    Outside {
        /// The address.
        ip: IpAddr,
        /// The network.
        network: String,
        /// Its subnets.
        subnets: String,
    },
    /// The address was given with a prefix length that no subnet has.
    #[error("{given} has another prefix length than the subnet {subnet} of the network {network}; write {}", IpNet::new_assert(.given.addr(), .subnet.prefix_len()))]
    OtherPrefix {
        /// The argument.
        given: IpNet,
        /// The subnet that contains it.
        subnet: IpNet,
        /// The network.
        network: String,
    },
    /// The address is the default gateway of the subnet.
    #[error(
        "{ip} is the gateway of the network {network}, which no container can have; give another address"
    )]
    Gateway {
        /// The address.
        ip: IpAddr,
        /// The network.
        network: String,
    },
    /// The address is in the part of the network of which Swarm gives addresses.
    #[error(
        "{ip} is in {range}, of which Docker's Swarm gives addresses in the network {network}; give another address, or \
         none"
    )]
    OfSwarm {
        /// The address.
        ip: IpAddr,
        /// The part.
        range: Ipv4Net,
        /// The network.
        network: String,
    },
    /// The address is the first or the last one of the subnet.
    #[error(
        "{ip} is the first or last address of {subnet} in the network {network}; give another one"
    )]
    Unusable {
        /// The address.
        ip: IpAddr,
        /// The subnet.
        subnet: IpNet,
        /// The network.
        network: String,
    },
    /// A subnet was asked for that is not one of this network.
    #[error(
        "{arg} is not in the network {network} ({subnets}); leave out either it or --net {network}"
    )]
    Contradiction {
        /// The argument.
        arg: String,
        /// The network.
        network: String,
        /// Its subnets.
        subnets: String,
    },
    /// More than one container may have.
    #[error("{0} addresses for one container; at most {MAX_ADDRESSES} are possible")]
    TooMany(usize),
}

/// The part of a container that an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFor {
    /// A container or a process.
    Container,
    /// The host, which may be the gateway of its network.
    Host,
    /// Any of them, or a task of Swarm: what is left is who asked for it, which is checked before.
    Anything,
}

/// Reads address arguments in a network other than `default`, each once, in order; none means any address of its subnets.
/// An address without a prefix length has that of the subnet which contains it.
///
/// # Errors
/// The first argument that cannot be used; too many.
pub fn parse_in(
    network: &NetworkDefinition,
    args: &[String],
    purpose: AddressFor,
) -> Result<Vec<AddressArg>, NetworkAddressError> {
    let mut addresses = Vec::new();
    for arg in args {
        let address = address(network, arg, purpose)?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.len() {
        0 => Ok(vec![AddressArg::Default]),
        given if given > MAX_ADDRESSES => Err(NetworkAddressError::TooMany(given)),
        _ => Ok(addresses),
    }
}

/// Checks one address of a network.
///
/// # Errors
/// No container can have it there, or its prefix length is not that of its subnet.
pub fn check_in(
    network: &NetworkDefinition,
    address: IpNet,
    purpose: AddressFor,
) -> Result<(), NetworkAddressError> {
    let ip = address.addr();
    let name = || network.name.to_string();
    let Some(subnet) = subnet_of(network, ip) else {
        return Err(NetworkAddressError::Outside {
            ip,
            network: name(),
            subnets: subnets(network),
        });
    };
    let net = subnet.net;
    if is_first_or_last(net, ip) {
        return Err(NetworkAddressError::Unusable {
            ip,
            subnet: net,
            network: name(),
        });
    }
    if subnet.gateway == Some(ip) && purpose == AddressFor::Container {
        let network = name();
        return Err(NetworkAddressError::Gateway { ip, network });
    }
    if let Some(range) = network.swarm_range().filter(|_| network.is_swarms(ip))
        && subnet.gateway != Some(ip)
        && purpose != AddressFor::Anything
    {
        let network = name();
        return Err(NetworkAddressError::OfSwarm { ip, range, network });
    }
    match address.prefix_len() == net.prefix_len() {
        true => Ok(()),
        false => Err(NetworkAddressError::OtherPrefix {
            given: address,
            subnet: net,
            network: name(),
        }),
    }
}

fn address(
    network: &NetworkDefinition,
    arg: &str,
    purpose: AddressFor,
) -> Result<AddressArg, NetworkAddressError> {
    let bare = arg.strip_prefix("ip:").unwrap_or(arg).parse::<IpAddr>();
    let address = match bare {
        Ok(ip) => {
            let subnet = subnet_of(network, ip).map(|subnet| subnet.net);
            let prefix = subnet.unwrap_or_else(|| ip.into()).prefix_len();
            IpNet::new_assert(ip, prefix)
        }
        Err(_) => match arg.parse() {
            Ok(AddressArg::Ip(address)) => address,
            Ok(subnet) => return of_subnet(network, subnet),
            Err(error) => return Err(error.into()),
        },
    };
    check_in(network, address, purpose).map(|()| AddressArg::Ip(address))
}

/// Accepts a subnet or a part of one, of which any address is meant.
fn of_subnet(
    network: &NetworkDefinition,
    arg: AddressArg,
) -> Result<AddressArg, NetworkAddressError> {
    let is_inside = |subnet: IpNet| network.subnets.iter().any(|s| s.net.contains(&subnet));
    match arg {
        AddressArg::Net(subnet) if is_inside(subnet) => Ok(arg),
        arg => Err(NetworkAddressError::Contradiction {
            arg: arg.to_string(),
            network: network.name.to_string(),
            subnets: subnets(network),
        }),
    }
}

fn subnet_of(network: &NetworkDefinition, ip: IpAddr) -> Option<&NetworkSubnet> {
    network.subnets.iter().find(|s| s.net.contains(&ip))
}

fn is_first_or_last(net: IpNet, ip: IpAddr) -> bool {
    ip == net.network() || net.addr().is_ipv4() && ip == net.broadcast()
}

fn subnets(network: &NetworkDefinition) -> String {
    let all: Vec<String> = network.subnets.iter().map(|s| s.net.to_string()).collect();
    match all.is_empty() {
        true => "no subnet".to_owned(),
        false => all.join(", "),
    }
}

#[cfg(test)]
mod tests;
