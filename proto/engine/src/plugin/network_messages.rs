//! Bodies of calls about networks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_host::docker::user_networks::NewUserNetwork;
use mesh_proto::limits::MAX_NETWORK_NAME;
use serde::Deserialize;
use serde_json::Value;

use super::messages::{check_id, parse};
use super::{MTU_OPTION as MTU, NETWORK_OPTION};

/// Options of the user (`-o`), among Docker's own.
const GENERIC: &str = "com.docker.network.generic";
const INTERNAL: &str = "com.docker.network.internal";

#[derive(Debug, Deserialize)]
pub(super) struct DeleteNetworkRequest {
    #[serde(rename = "NetworkID", default)]
    pub(super) network: String,
}

#[derive(Debug, Deserialize)]
struct NewNetworkRequest {
    #[serde(rename = "NetworkID")]
    network: String,
    #[serde(rename = "Options", default)]
    options: Option<BTreeMap<String, Value>>,
    #[serde(rename = "IPv4Data", default)]
    v4: Option<Vec<PoolData>>,
    #[serde(rename = "IPv6Data", default)]
    v6: Option<Vec<PoolData>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PoolData {
    #[serde(default)]
    pool: String,
    #[serde(default)]
    gateway: String,
}

/// Reads a network, with its id.
///
/// # Errors
/// Text for Docker's user.
pub(super) fn new_network(body: &[u8]) -> Result<(String, NewUserNetwork), String> {
    let request: NewNetworkRequest = parse(body)?;
    check_id(&request.network)?;
    let mut new = NewUserNetwork::default();
    for data in request.v4.unwrap_or_default() {
        new.pools.extend(data.read(false)?);
    }
    for data in request.v6.unwrap_or_default() {
        new.pools.extend(data.read(true)?);
    }
    let options = request.options.unwrap_or_default();
    new.internal = options.get(INTERNAL).is_some_and(is_true);
    let generic = options.get(GENERIC);
    let option = |name: &str| generic.and_then(|generic| generic.get(name)?.as_str());
    (new.mtu, new.mesh_network) = driver_options(option)?;
    Ok((request.network, new))
}

impl PoolData {
    /// Returns the subnet, with its gateway; none if there is none.
    pub(super) fn read(&self, v6: bool) -> Result<Option<(IpNet, Option<IpAddr>)>, String> {
        if self.pool.is_empty() {
            return Ok(None);
        }
        match self.pool.parse::<IpNet>() {
            Ok(pool) if pool.addr().is_ipv6() == v6 => {
                Ok(Some((pool.trunc(), gateway(&self.gateway))))
            }
            _ => {
                let family = if v6 { "IPv6" } else { "IPv4" };
                let pool = self.pool.escape_debug();
                Err(format!("the subnet '{pool}' is none of {family}"))
            }
        }
    }
}

/// Reads the options of the user (`-o`): the MTU, and the network of the mesh.
pub(super) fn driver_options<'a>(
    option: impl Fn(&str) -> Option<&'a str>,
) -> Result<(Option<u16>, Option<String>), String> {
    let mtu = option(MTU).map(|mtu| {
        let not = |_| format!("{MTU} is '{}'; give a number", mtu.escape_debug());
        mtu.parse().map_err(not)
    });
    let name = option(NETWORK_OPTION).map(checked);
    Ok((mtu.transpose()?, name.transpose()?))
}

fn checked(name: &str) -> Result<String, String> {
    // Names and ids have these characters alone.
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    match !name.is_empty() && name.len() <= MAX_NETWORK_NAME && name.bytes().all(is_plain) {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "{NETWORK_OPTION} must be name or id of a network, as `mesh network ls` shows it"
        )),
    }
}

fn is_true(value: &Value) -> bool {
    value.as_bool() == Some(true) || value.as_str() == Some("true")
}

/// Returns the gateway; none for that of pools without one.
fn gateway(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpNet>().ok()?.addr();
    (!address.is_unspecified()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_read_as_docker_describes_it() {
        let body = br#"{"NetworkID":"4e30a1f5","Options":{"com.docker.network.enable_ipv6":false,
            "com.docker.network.internal":true,"com.docker.network.generic":{
            "com.docker.network.driver.mtu":"1300","mesh.network":"web"}},
            "IPv4Data":[{"AddressSpace":"mesh","Gateway":"10.40.0.1/16","Pool":"10.40.0.0/16",
            "AuxAddresses":{"a":"10.40.0.9/16"}}],
            "IPv6Data":[{"AddressSpace":"mesh","Gateway":"::/0","Pool":"fd00:40::/64"}]}"#;
        let want = NewUserNetwork {
            pools: vec![
                ("10.40.0.0/16".parse().unwrap(), Some([10, 40, 0, 1].into())),
                ("fd00:40::/64".parse().unwrap(), None),
            ],
            internal: true,
            mtu: Some(1300),
            mesh_network: Some("web".into()),
        };
        assert_eq!(new_network(body), Ok(("4e30a1f5".into(), want)));
        let plain = br#"{"NetworkID":"4e","Options":null,"IPv6Data":null,
            "IPv4Data":[{"Pool":"0.0.0.0/0","Gateway":"0.0.0.0/0"}]}"#;
        let (_, new) = new_network(plain).unwrap();
        assert_eq!(new.pools, [("0.0.0.0/0".parse().unwrap(), None)]);
        assert!(!new.internal && new.mtu.is_none() && new.mesh_network.is_none());
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for body in [
            "{}",
            r#"{"NetworkID":"../x"}"#,
            r#"{"NetworkID":"4e","IPv4Data":[{"Pool":"fd00::/64"}]}"#,
            r#"{"NetworkID":"4e","IPv6Data":[{"Pool":"10.40.0.0/16"}]}"#,
            r#"{"NetworkID":"4e","Options":{"com.docker.network.generic":{"mesh.network":"a b"}}}"#,
            r#"{"NetworkID":"4e","Options":{"com.docker.network.generic":{"com.docker.network.driver.mtu":"x"}}}"#,
        ] {
            assert!(new_network(body.as_bytes()).is_err(), "{body}");
        }
    }
}
