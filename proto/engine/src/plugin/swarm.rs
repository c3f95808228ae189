//! Calls that Docker's Swarm makes: its leader allocates networks, and gives out addresses of an address space of its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use mesh_host::docker::swarm::{SwarmAddress, SwarmAddressError, SwarmPoolId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::SWARM_SPACE;
use super::ipam::{PoolRequest, RequestPoolRequest, pool_of, wanted_address, wanted_pool};
use super::messages::{check_id, parse};
use super::network_messages::{PoolData, driver_options};

/// Option that only the leader gives with a request for an address.
const SERIAL: &str = "com.docker.network.ipam.serial";
const NO_V6: &str = "networks of Swarm have no IPv6 subnets with this driver; leave --ipv6 out";

/// Call to the IPAM driver about a pool of Swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwarmIpamCall {
    /// Makes a pool; the leader and each node ask alike.
    RequestPool {
        /// Subnet, if it is known.
        subnet: Option<Ipv4Net>,
        /// `--ip-range`.
        ip_range: Option<Ipv4Net>,
    },
    /// Gives a pool up.
    ReleasePool(SwarmPoolId),
    /// Takes an address.
    RequestAddress {
        /// Pool.
        pool: SwarmPoolId,
        /// Address.
        wanted: SwarmAddress,
        /// True if the leader asks, who needs an address; a node has one.
        is_leader: bool,
    },
    /// Gives an address up.
    ReleaseAddress {
        /// Pool.
        pool: SwarmPoolId,
        /// Address; none if it is none of a task.
        address: Option<Ipv4Addr>,
    },
}

impl SwarmIpamCall {
    /// Reads a call to the IPAM driver; none if it is not about a pool of Swarm.
    ///
    /// # Errors
    /// Its body cannot be used; text for Docker's user.
    pub(super) fn parse(name: &str, body: &[u8]) -> Result<Option<Self>, String> {
        if name == "RequestPool" {
            let request: RequestPoolRequest = parse(body)?;
            if request.address_space != SWARM_SPACE {
                return Ok(None);
            }
            let wanted = wanted_pool(&request)?;
            if wanted.is_v6 {
                return Err(NO_V6.into());
            }
            return Ok(Some(Self::RequestPool {
                subnet: wanted.subnet.and_then(v4_net),
                ip_range: wanted.ip_range.and_then(v4_net),
            }));
        }
        if !matches!(name, "ReleasePool" | "RequestAddress" | "ReleaseAddress") {
            return Ok(None);
        }
        let request: PoolRequest = parse(body)?;
        let id = pool_of(&request)?;
        if !SwarmPoolId::is_likely(&id) {
            return Ok(None);
        }
        let pool: SwarmPoolId = id.parse().map_err(|e: SwarmAddressError| e.to_string())?;
        Ok(Some(match name {
            "ReleasePool" => Self::ReleasePool(pool),
            "ReleaseAddress" => Self::ReleaseAddress {
                pool,
                address: request.address().and_then(v4),
            },
            _ => {
                let wanted = wanted_address(&request)?;
                if wanted.address.is_some_and(|address| address.is_ipv6()) {
                    return Err(NO_V6.into());
                }
                let serial = request.options.get(SERIAL);
                Self::RequestAddress {
                    pool,
                    wanted: SwarmAddress {
                        address: wanted.address.and_then(v4),
                        is_gateway: wanted.is_gateway,
                    },
                    is_leader: serial.is_some_and(|serial| serial == "true"),
                }
            }
        }))
    }
}

/// Network that Swarm's leader makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwarmNetwork {
    /// Id.
    pub id: String,
    /// Subnet, with the gateway that the user gave.
    pub subnet: Option<(Ipv4Net, Option<Ipv4Addr>)>,
    /// Options of the driver, which all nodes are told.
    pub options: BTreeMap<String, String>,
    /// MTU, if the user gave one.
    pub mtu: Option<u16>,
    /// Name or id of a network of the mesh, if it was given.
    pub mesh_network: Option<String>,
}

#[derive(Debug, Deserialize)]
struct AllocateNetworkRequest {
    #[serde(rename = "NetworkID")]
    network: String,
    #[serde(rename = "Options", default)]
    options: Option<BTreeMap<String, String>>,
    #[serde(rename = "IPv4Data", default)]
    v4: Option<Vec<PoolData>>,
    #[serde(rename = "IPv6Data", default)]
    v6: Option<Vec<PoolData>>,
}

/// Reads a network that the leader makes.
///
/// # Errors
/// Text for Docker's user.
pub(super) fn swarm_network(body: &[u8]) -> Result<SwarmNetwork, String> {
    let request: AllocateNetworkRequest = parse(body)?;
    check_id(&request.network)?;
    if request.v6.is_some_and(|pools| !pools.is_empty()) {
        return Err(NO_V6.into());
    }
    let mut subnets = Vec::new();
    for data in request.v4.unwrap_or_default() {
        if let Some((subnet, gateway)) = data.read(false)? {
            subnets.extend(v4_net(subnet).map(|subnet| (subnet, gateway.and_then(v4))));
        }
    }
    let subnet = match subnets.as_slice() {
        [] => None,
        [one] => Some(*one),
        _ => {
            return Err(
                "a network of the driver mesh has one IPv4 subnet in Docker; give --subnet once"
                    .into(),
            );
        }
    };
    let options = request.options.unwrap_or_default();
    let (mtu, mesh_network) = driver_options(|name| options.get(name).map(String::as_str))?;
    Ok(SwarmNetwork {
        id: request.network,
        subnet,
        options,
        mtu,
        mesh_network,
    })
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    }
}

fn v4_net(net: IpNet) -> Option<Ipv4Net> {
    match net {
        IpNet::V4(v4) => Some(v4),
        IpNet::V6(_) => None,
    }
}

/// Returns the answer to the allocation of a network: the options that each node is told.
pub fn allocated(options: &BTreeMap<String, String>) -> Value {
    json!({ "Options": options })
}

/// Returns the answer to a request for a pool of Swarm. It has no gateway, so that the leader asks for one, and with that
/// says who it is.
pub fn pool(id: &SwarmPoolId) -> Value {
    json!({"PoolID": id.to_string(), "Pool": id.subnet.to_string(), "Data": {}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::NETWORK_OPTION;

    /// Bodies as dockerd 20.10 sends them.
    #[test]
    fn a_network_is_read_as_the_leader_describes_it() {
        let body = br#"{"NetworkID":"x1tpmxxy7ir3o3lq9hhoq4s5h","Options":{"mesh.network":"aa",
            "com.docker.network.driver.mtu":"1300"},"IPv4Data":[{"AddressSpace":"","Pool":"10.50.0.0/16",
            "Gateway":"10.50.0.1/16","AuxAddresses":null}],"IPv6Data":null}"#;
        let network = swarm_network(body).unwrap();
        let gateway = Some(Ipv4Addr::new(10, 50, 0, 1));
        let subnet = Some(("10.50.0.0/16".parse().unwrap(), gateway));
        assert_eq!((network.subnet, network.mtu), (subnet, Some(1300)));
        assert_eq!(network.mesh_network.as_deref(), Some("aa"));
        assert_eq!(network.options.len(), 2);
        assert_eq!(allocated(&network.options)["Options"][NETWORK_OPTION], "aa");
        let none = br#"{"NetworkID":"x1","Options":null,"IPv4Data":[{"Pool":"10.50.0.0/16","Gateway":"0.0.0.0/16"}]}"#;
        let network = swarm_network(none).unwrap();
        assert_eq!(
            network.subnet,
            Some(("10.50.0.0/16".parse().unwrap(), None))
        );
    }

    fn read(name: &str, body: &str) -> Result<Option<SwarmIpamCall>, String> {
        SwarmIpamCall::parse(name, body.as_bytes())
    }

    #[test]
    fn calls_of_swarm_are_told_by_address_space_and_pool() {
        let body = r#"{"AddressSpace":"mesh-global","Pool":"10.50.0.0/16","SubPool":"","Options":null,"V6":false}"#;
        let pool = SwarmIpamCall::RequestPool {
            subnet: Some("10.50.0.0/16".parse().unwrap()),
            ip_range: None,
        };
        assert_eq!(read("RequestPool", body), Ok(Some(pool)));
        let local = r#"{"AddressSpace":"mesh","Pool":"10.50.0.0/16"}"#;
        assert_eq!(read("RequestPool", local), Ok(None));
        let id = "swarm-10.50.0.0/16-10.50.0.0/17-ab";
        for (options, want) in [
            ("null", false),
            (r#"{"com.docker.network.ipam.serial":"true"}"#, true),
        ] {
            let body = format!(r#"{{"PoolID":"{id}","Address":"","Options":{options}}}"#);
            let Ok(Some(SwarmIpamCall::RequestAddress { is_leader, .. })) =
                read("RequestAddress", &body)
            else {
                panic!("it is none of Swarm")
            };
            assert_eq!(is_leader, want);
        }
        let released = read("ReleasePool", &format!(r#"{{"PoolID":"{id}"}}"#));
        let pool = id.parse().unwrap();
        assert_eq!(released, Ok(Some(SwarmIpamCall::ReleasePool(pool))));
        assert_eq!(read("ReleasePool", r#"{"PoolID":"mesh-ab"}"#), Ok(None));
        assert!(read("ReleasePool", r#"{"PoolID":"swarm-x"}"#).is_err());
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for body in [
            "",
            "{}",
            r#"{"NetworkID":"../x"}"#,
            r#"{"NetworkID":"x","IPv4Data":[{"Pool":"fd00::/64"}]}"#,
            r#"{"NetworkID":"x","IPv6Data":[{"Pool":"fd00::/64"}]}"#,
            r#"{"NetworkID":"x","IPv4Data":[{"Pool":"10.1.0.0/16"},{"Pool":"10.2.0.0/16"}]}"#,
            r#"{"NetworkID":"x","Options":{"mesh.network":"a b"}}"#,
            r#"{"NetworkID":"x","Options":{"com.docker.network.driver.mtu":"x"}}"#,
        ] {
            assert!(swarm_network(body.as_bytes()).is_err(), "{body}");
        }
    }
}
