//! Docker's calls to the driver, and its answers to them.

use std::path::PathBuf;

use ipnet::IpNet;
use mesh_host::docker::endpoint::{DeferredAddress, EndpointOptions, GivenAddresses};
use mesh_host::docker::user_networks::{NewUserNetwork, WayOut};
use mesh_proto::ids::Mac;
use serde_json::{Value, json};

use super::ipam::{self, IpamCall};
use super::messages::{
    CreateEndpointRequest, CreateEndpointResponse, EndpointInterface, EndpointRequest,
    InterfaceName, JoinResponse, StaticRoute, endpoint_of, filled_in, given_addresses, given_mac,
    parse, wanted,
};
use super::network_messages::{DeleteNetworkRequest, new_network};
use super::swarm::{SwarmIpamCall, SwarmNetwork, swarm_network};

/// Interfaces in containers are named by this and a number.
const INTERFACE_PREFIX: &str = "mesh";
/// Destination of the route to a container's multicast interface.
const MULTICAST: &str = "224.0.0.0/4";
/// Type of a route straight to the interface.
const ON_LINK: u8 = 1;

/// A call that needs more than a fixed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverCall {
    /// The answer is the same in any state.
    Fixed(Value),
    /// Makes an endpoint.
    CreateEndpoint(NewEndpoint),
    /// Joins an endpoint to the namespace at a path.
    Join {
        /// Id of the endpoint.
        endpoint: String,
        /// Path of the namespace.
        sandbox: PathBuf,
    },
    /// Describes an endpoint, once all is done for it.
    Describe(String),
    /// Takes an endpoint out of its namespace.
    Leave(String),
    /// Removes an endpoint.
    DeleteEndpoint(String),
    /// Docker makes a network with our driver.
    CreateNetwork {
        /// Id of the network.
        network: String,
        /// All that Docker tells of it.
        new: NewUserNetwork,
    },
    /// Docker removes one of our networks.
    DeleteNetwork(String),
    /// Swarm's leader makes a network for all nodes.
    AllocateNetwork(SwarmNetwork),
    /// Swarm's leader gives up a network, by its id.
    FreeNetwork(String),
    /// Docker asks who knows of a network.
    Capabilities,
    /// A call to the IPAM driver.
    Ipam(IpamCall),
    /// A call to the IPAM driver about a pool of Swarm.
    SwarmIpam(SwarmIpamCall),
    /// The plugin process asks for a sign of life, and for a look at everything.
    Alive,
}

/// An endpoint that Docker asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEndpoint {
    /// Id of the endpoint.
    pub id: String,
    /// Id of its network.
    pub network: String,
    /// Its options; `None` if an address is to be chosen.
    pub options: Option<EndpointOptions>,
    /// The addresses that IPAM drivers of Docker have given it, in a network that a user created.
    pub addresses: Option<GivenAddresses>,
    /// The MAC address that the user has chosen.
    pub mac: Option<Mac>,
    /// The fields that the request gives.
    given: EndpointInterface,
}

/// An interface that Docker is about to move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinedEndpoint {
    /// Its name on the host; empty when the container starts without.
    pub peer: String,
    /// True if 224.0.0.0/4 goes to it.
    pub multicast: bool,
    /// The container's way out of the mesh.
    pub way_out: WayOut,
}

impl DriverCall {
    /// Reads a call: the path without its slash, and the body.
    ///
    /// # Errors
    /// The call is unknown, or its body cannot be used; text for Docker's user.
    pub fn parse(path: &str, body: &[u8]) -> Result<Self, String> {
        Ok(match path {
            "Plugin.Activate" => {
                Self::Fixed(json!({"Implements": ["NetworkDriver", "IpamDriver"]}))
            }
            "NetworkDriver.GetCapabilities" => Self::Capabilities,
            super::CREATE_ENDPOINT => Self::CreateEndpoint(NewEndpoint::parse(body)?),
            super::JOIN => {
                let request: EndpointRequest = parse(body)?;
                let sandbox = PathBuf::from(&request.sandbox);
                if !sandbox.is_absolute() {
                    return Err(format!("the sandbox key '{}' is no path", request.sandbox));
                }
                Self::Join {
                    endpoint: request.endpoint,
                    sandbox,
                }
            }
            super::DESCRIBE_ENDPOINT => Self::Describe(endpoint_of(body)?),
            super::LEAVE => Self::Leave(endpoint_of(body)?),
            super::DELETE_ENDPOINT => Self::DeleteEndpoint(endpoint_of(body)?),
            super::CREATE_NETWORK => {
                let (network, new) = new_network(body)?;
                Self::CreateNetwork { network, new }
            }
            super::DELETE_NETWORK => {
                let request: DeleteNetworkRequest = parse(body)?;
                Self::DeleteNetwork(request.network)
            }
            super::ALLOCATE_NETWORK => Self::AllocateNetwork(swarm_network(body)?),
            super::FREE_NETWORK => {
                let request: DeleteNetworkRequest = parse(body)?;
                Self::FreeNetwork(request.network)
            }
            "NetworkDriver.DiscoverNew"
            | "NetworkDriver.DiscoverDelete"
            | "NetworkDriver.ProgramExternalConnectivity"
            | "NetworkDriver.RevokeExternalConnectivity" => Self::Fixed(json!({})),
            super::ALIVE => Self::Alive,
            _ => match path.strip_prefix(ipam::PREFIX) {
                Some(name) => match SwarmIpamCall::parse(name, body)? {
                    Some(call) => Self::SwarmIpam(call),
                    None => Self::Ipam(IpamCall::parse(name, body)?),
                },
                None => return Err("the driver does not know this call".into()),
            },
        })
    }
}

impl NewEndpoint {
    fn parse(body: &[u8]) -> Result<Self, String> {
        let request: CreateEndpointRequest = parse(body)?;
        let options = wanted(&request)?;
        let addresses = given_addresses(&request)?;
        let mac = given_mac(&request)?;
        Ok(Self {
            id: request.endpoint,
            network: request.network,
            addresses: addresses.filter(|_| options.is_none()),
            options,
            mac,
            given: request.interface.unwrap_or_default(),
        })
    }

    /// Returns the answer once the endpoint is made with these options and this MAC address; `None` if it has no interface.
    pub fn created(&self, made: Option<(EndpointOptions, Mac)>) -> Value {
        let Some((options, mac)) = made else {
            return to_json(&CreateEndpointResponse::default());
        };
        let shown = match options.deferred {
            DeferredAddress::No => Some(options.address),
            DeferredAddress::Subnet => Some(IpNet::from(options.address.addr())),
            DeferredAddress::Whole => None,
        };
        to_json(&CreateEndpointResponse {
            interface: filled_in(
                &self.given,
                shown
                    .into_iter()
                    .chain(options.second.map(|second| second.address)),
                mac,
            ),
        })
    }
}

/// Returns the answer to [`DriverCall::Join`].
pub fn joined(endpoint: JoinedEndpoint) -> Value {
    let route = StaticRoute {
        destination: MULTICAST.into(),
        route_type: ON_LINK,
    };
    to_json(&JoinResponse {
        interface_name: InterfaceName {
            src_name: endpoint.peer,
            dst_prefix: INTERFACE_PREFIX.into(),
        },
        static_routes: match endpoint.multicast {
            true => vec![route],
            false => Vec::new(),
        },
        disable_gateway_service: !endpoint.way_out.docker_gateway,
        gateway: shown(endpoint.way_out.gateway),
        gateway6: shown(endpoint.way_out.gateway6),
    })
}

fn shown(address: Option<impl ToString>) -> String {
    address.map_or_else(String::new, |address| address.to_string())
}

/// Returns the answer to [`DriverCall::Capabilities`]: a network of Swarm is known to all nodes, any other to one host.
pub fn capabilities(is_of_swarm: bool) -> Value {
    let scope = if is_of_swarm { "global" } else { "local" };
    json!({"Scope": scope, "ConnectivityScope": "global"})
}

/// Returns the answer to [`DriverCall::Describe`].
pub fn described() -> Value {
    json!({"Value": {}})
}

/// Returns the answer that says only that it is done.
pub fn done() -> Value {
    json!({})
}

/// Returns the answer with an error. Docker expects it in a response with status 200, and shows it to its user.
pub fn error(text: &str) -> Value {
    json!({ "Err": text })
}

/// Returns the answer with the error of a call.
pub fn error_of(path: &str, text: &str) -> Value {
    match path.starts_with(ipam::PREFIX) {
        true => ipam::error(text),
        false => error(text),
    }
}

/// Returns true if an answer is an error.
pub fn is_error(answer: &Value) -> bool {
    answer.get("Err").is_some() || answer.get("Error").is_some()
}

/// Cannot fail for our types, which have string keys.
fn to_json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(options: &str) -> Result<NewEndpoint, String> {
        let body = format!(
            r#"{{"NetworkID": "4e30a1f5", "EndpointID": "5b0c", "Options": {options},
                "Interface": {{"Address": "", "AddressIPv6": "", "MacAddress": ""}}}}"#
        );
        match DriverCall::parse(super::super::CREATE_ENDPOINT, body.as_bytes())? {
            DriverCall::CreateEndpoint(new) => Ok(new),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn an_endpoint_is_answered_with_its_address() {
        let mac = Mac([2, 0x6d, 10, 2, 1, 1]);
        for (late, want) in [
            ("false", json!("10.2.1.1/24")),
            ("true", Value::Null),
            ("subnet", json!("10.2.1.1/32")),
        ] {
            let options = format!(r#"{{"mesh.address": "10.2.1.1/24", "mesh.late": "{late}"}}"#);
            let new = create(&options).unwrap();
            let answer = new.created(new.options.clone().map(|options| (options, mac)));
            assert_eq!(answer["Interface"]["Address"], want, "{late}");
            assert_eq!(answer["Interface"]["MacAddress"], "02:6d:0a:02:01:01");
        }
        let bare = create("null").unwrap();
        assert_eq!(bare.options, None);
        assert_eq!(bare.created(None), json!({"Interface": {}}));
    }

    #[test]
    fn a_user_may_choose_the_mac_address() {
        let create = |mac: &str| {
            let body = json!({"NetworkID": "4e30a1f5", "EndpointID": "5b0c", "Options": null,
                "Interface": {"Address": "10.40.0.9/16", "MacAddress": mac}});
            DriverCall::parse(super::super::CREATE_ENDPOINT, body.to_string().as_bytes())
        };
        let Ok(DriverCall::CreateEndpoint(new)) = create("02:42:0A:28:00:09") else {
            panic!("it is refused")
        };
        let mac = Mac([2, 0x42, 10, 40, 0, 9]);
        assert_eq!(new.mac, Some(mac));
        let options = EndpointOptions {
            address: new.addresses.unwrap().first,
            multicast: false,
            deferred: DeferredAddress::No,
            lease_owner: String::new(),
            network: mesh_proto::network::NetworkId::DEFAULT,
            mac: new.mac,
            second: None,
        };
        assert_eq!(options.mac(), mac);
        // A driver must not repeat what Docker has said.
        let answer = new.created(Some((options, mac)));
        assert_eq!(answer, json!({"Interface": {}}));
        for bad in [
            "02:42",
            "x",
            "01:00:5e:00:00:01",
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
        ] {
            let error = create(bad).unwrap_err();
            assert!(error.contains("is not the MAC address"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_joined_interface_may_have_the_multicast_route() {
        let answer = joined(JoinedEndpoint {
            peer: "peer0".into(),
            multicast: true,
            ..JoinedEndpoint::default()
        });
        let want = json!({"InterfaceName": {"SrcName": "peer0", "DstPrefix": "mesh"},
            "StaticRoutes": [{"Destination": "224.0.0.0/4", "RouteType": 1}], "DisableGatewayService": true});
        assert_eq!(answer, want);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for body in [
            "",
            "null",
            "[]",
            r#"{"EndpointID": 7}"#,
            r#"{"EndpointID": "../x", "NetworkID": "n"}"#,
        ] {
            let parsed = DriverCall::parse(super::super::CREATE_ENDPOINT, body.as_bytes());
            assert!(parsed.is_err(), "{body}");
        }
        let relative = br#"{"EndpointID": "e", "SandboxKey": "netns/1"}"#;
        assert!(DriverCall::parse(super::super::JOIN, relative).is_err());
        assert!(DriverCall::parse("IpamDriver.Other", b"{}").is_err());
        assert!(is_error(&error_of("IpamDriver.RequestPool", "no")));
        assert!(is_error(&error("no")) && !is_error(&done()) && !is_error(&described()));
    }
}
