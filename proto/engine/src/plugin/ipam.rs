//! Docker's calls to the IPAM driver, and its answers to them: libnetwork's remote IPAM protocol.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_host::docker::user_networks::WantedPool;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::messages::parse;
use super::{NETWORK_OPTION, SWARM_SPACE};

/// Path of all calls.
pub(super) const PREFIX: &str = "IpamDriver.";
/// Longest text of an option or id that is read.
const MAX_TEXT: usize = 255;
/// Option that says what an address is for.
const ADDRESS_TYPE: &str = "RequestAddressType";
const GATEWAY: &str = "com.docker.network.gateway";
/// The gateway of pools without one: else Docker asks for an address for it.
const NO_GATEWAY: &str = "0.0.0.0/0";
/// The same for pools of IPv6.
const NO_GATEWAY6: &str = "::/0";

/// A call to the IPAM driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IpamCall {
    /// The answer is the same in any state.
    Fixed(Value),
    /// Docker asks for the names of address spaces.
    AddressSpaces,
    /// Makes a pool.
    RequestPool(WantedPool),
    /// Gives a pool up.
    ReleasePool(String),
    /// Takes an address.
    RequestAddress(WantedAddress),
    /// Gives an address up.
    ReleaseAddress {
        /// Id of its pool.
        pool: String,
        /// The address; none if it is none of a container.
        address: Option<IpAddr>,
    },
}

/// An address that Docker asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedAddress {
    /// Id of its pool.
    pub pool: String,
    /// The address, if it is to be this one.
    pub address: Option<IpAddr>,
    /// True if it is the gateway's.
    pub is_gateway: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RequestPoolRequest {
    #[serde(default)]
    pub(super) address_space: String,
    #[serde(default)]
    pool: String,
    #[serde(default)]
    sub_pool: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    options: BTreeMap<String, String>,
    #[serde(default)]
    v6: bool,
}

/// RequestAddress, ReleaseAddress and ReleasePool.
#[derive(Debug, Deserialize)]
pub(super) struct PoolRequest {
    #[serde(rename = "PoolID")]
    pool: String,
    #[serde(rename = "Address", default)]
    address: String,
    #[serde(rename = "Options", default, deserialize_with = "null_is_empty")]
    pub(super) options: BTreeMap<String, String>,
}

impl PoolRequest {
    /// Returns the address; none if it is none.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }
}

/// Go writes an absent map as `null`.
fn null_is_empty<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl IpamCall {
    /// Reads a call: what is behind [`PREFIX`] in its path, and the body.
    ///
    /// # Errors
    /// The call is unknown, or its body cannot be used; text for Docker's user.
    pub(super) fn parse(name: &str, body: &[u8]) -> Result<Self, String> {
        Ok(match name {
            "GetCapabilities" => Self::Fixed(json!({
                "RequiresMACAddress": false, "RequiresRequestReplay": false})),
            "GetDefaultAddressSpaces" => Self::AddressSpaces,
            "RequestPool" => Self::RequestPool(wanted_pool(&parse(body)?)?),
            "ReleasePool" => Self::ReleasePool(pool_of(&parse(body)?)?),
            "RequestAddress" => Self::RequestAddress(wanted_address(&parse(body)?)?),
            "ReleaseAddress" => {
                let request: PoolRequest = parse(body)?;
                Self::ReleaseAddress {
                    pool: pool_of(&request)?,
                    address: request.address(),
                }
            }
            _ => return Err("the IPAM driver does not know this call".into()),
        })
    }
}

pub(super) fn wanted_pool(request: &RequestPoolRequest) -> Result<WantedPool, String> {
    let mesh_network = request.options.get(NETWORK_OPTION);
    if let Some(name) = mesh_network {
        check_text(name)?;
    }
    Ok(WantedPool {
        subnet: subnet("subnet", &request.pool, request.v6)?,
        ip_range: subnet("range", &request.sub_pool, request.v6)?,
        mesh_network: mesh_network.cloned(),
        is_v6: request.v6,
    })
}

pub(super) fn wanted_address(request: &PoolRequest) -> Result<WantedAddress, String> {
    let address = match request.address.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| no_address(text))?),
    };
    Ok(WantedAddress {
        pool: pool_of(request)?,
        address,
        is_gateway: request
            .options
            .get(ADDRESS_TYPE)
            .is_some_and(|kind| kind == GATEWAY),
    })
}

fn no_address(text: &str) -> String {
    let text: String = text.chars().take(MAX_TEXT).collect();
    format!("{} is no IP address", text.escape_debug())
}

pub(super) fn pool_of(request: &PoolRequest) -> Result<String, String> {
    check_text(&request.pool)?;
    Ok(request.pool.clone())
}

fn check_text(text: &str) -> Result<(), String> {
    let is_sound =
        text.len() <= MAX_TEXT && !text.is_empty() && !text.chars().any(char::is_control);
    is_sound
        .then_some(())
        .ok_or_else(|| "an option or id is empty, too long, or has control characters".to_owned())
}

/// Returns the subnet in a text; none in an empty one.
fn subnet(what: &str, text: &str, v6: bool) -> Result<Option<IpNet>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<IpNet>() {
        Ok(net) if net.prefix_len() > 0 && net.addr().is_ipv6() == v6 => Ok(Some(net.trunc())),
        _ => {
            let text: String = text.chars().take(MAX_TEXT).collect();
            let text = text.escape_debug();
            let wanted = match v6 {
                true => "IPv6 subnet, like fd00:40::/64",
                false => "IPv4 subnet, like 10.40.0.0/16",
            };
            Err(format!("the {what} {text} is no {wanted}"))
        }
    }
}

/// Returns the answer to [`IpamCall::AddressSpaces`]. Nodes of a Swarm ask in the local space, so the managed plugin has the
/// one of Swarm only.
pub fn address_spaces(is_of_swarm: bool) -> Value {
    let local = if is_of_swarm { SWARM_SPACE } else { "mesh" };
    json!({"LocalDefaultAddressSpace": local, "GlobalDefaultAddressSpace": SWARM_SPACE})
}

/// Returns the answer to [`IpamCall::RequestPool`].
pub fn pool(id: &str, subnet: IpNet) -> Value {
    let gateway = match subnet {
        IpNet::V4(_) => NO_GATEWAY,
        IpNet::V6(_) => NO_GATEWAY6,
    };
    json!({"PoolID": id, "Pool": subnet.to_string(), "Data": {GATEWAY: gateway}})
}

/// Returns the answer to [`IpamCall::RequestAddress`].
pub fn address(address: IpNet) -> Value {
    json!({"Address": address.to_string(), "Data": {}})
}

/// Returns the error of an IPAM driver, which has another name than that of a network driver.
pub fn error(text: &str) -> Value {
    json!({ "Error": text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, body: &str) -> Result<IpamCall, String> {
        IpamCall::parse(name, body.as_bytes())
    }

    /// Bodies as dockerd 20.10 sends them.
    #[test]
    fn calls_are_read() {
        let body = r#"{"AddressSpace":"mesh","Pool":"10.40.0.0/16","SubPool":"10.40.1.0/24","Options":null,"V6":false}"#;
        let want = WantedPool {
            subnet: Some("10.40.0.0/16".parse().unwrap()),
            ip_range: Some("10.40.1.0/24".parse().unwrap()),
            mesh_network: None,
            is_v6: false,
        };
        assert_eq!(read("RequestPool", body), Ok(IpamCall::RequestPool(want)));
        let body = r#"{"AddressSpace":"mesh","Pool":"fd00:40::/64","SubPool":"","Options":null,"V6":true}"#;
        let want = WantedPool {
            subnet: Some("fd00:40::/64".parse().unwrap()),
            is_v6: true,
            ..WantedPool::default()
        };
        assert_eq!(read("RequestPool", body), Ok(IpamCall::RequestPool(want)));
        let body = r#"{"AddressSpace":"mesh","Pool":"","SubPool":"","Options":{"mesh.network":"web"},"V6":false}"#;
        let want = WantedPool {
            mesh_network: Some("web".into()),
            ..WantedPool::default()
        };
        assert_eq!(read("RequestPool", body), Ok(IpamCall::RequestPool(want)));
        let body = r#"{"PoolID":"p","Address":"10.40.0.1","Options":{"RequestAddressType":"com.docker.network.gateway"}}"#;
        let want = WantedAddress {
            pool: "p".into(),
            address: Some([10, 40, 0, 1].into()),
            is_gateway: true,
        };
        assert_eq!(
            read("RequestAddress", body),
            Ok(IpamCall::RequestAddress(want))
        );
        let body = r#"{"PoolID":"p","Address":"","Options":null}"#;
        let any = read("RequestAddress", body);
        assert!(matches!(
            any,
            Ok(IpamCall::RequestAddress(WantedAddress {
                address: None,
                is_gateway: false,
                ..
            }))
        ));
        let body = r#"{"PoolID":"p","Address":"10.40.0.9"}"#;
        let released = IpamCall::ReleaseAddress {
            pool: "p".into(),
            address: Some([10, 40, 0, 9].into()),
        };
        assert_eq!(read("ReleaseAddress", body), Ok(released));
        assert_eq!(
            read("ReleasePool", r#"{"PoolID":"p"}"#),
            Ok(IpamCall::ReleasePool("p".into()))
        );
    }

    #[test]
    fn what_cannot_be_used_is_explained_in_one_line() {
        for (name, body) in [
            ("RequestPool", ""),
            ("RequestPool", "null"),
            ("RequestPool", r#"{"Pool":"fd00::/64"}"#),
            ("RequestPool", r#"{"Pool":"0.0.0.0/0"}"#),
            ("RequestPool", r#"{"V6":true,"Pool":"10.40.0.0/16"}"#),
            ("RequestPool", r#"{"V6":true,"Pool":"::/0"}"#),
            ("RequestPool", r#"{"Pool":"x\ny"}"#),
            ("RequestPool", r#"{"Options":{"mesh.network":""}}"#),
            ("RequestAddress", r#"{"PoolID":"p","Address":"fd00::1/64"}"#),
            ("RequestAddress", r#"{"PoolID":"","Address":""}"#),
            ("ReleaseAddress", r#"{"Address":"10.0.0.1"}"#),
            ("ReleasePool", r#"{"PoolID":7}"#),
            ("Other", "{}"),
        ] {
            let error = read(name, body).unwrap_err();
            assert!(!error.contains('\n'), "{name} {body}: {error}");
        }
    }
}
