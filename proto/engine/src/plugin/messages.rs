//! Bodies of the libnetwork remote driver protocol, as far as we read and write them.

use std::collections::BTreeMap;

use ipnet::IpNet;
use mesh_host::docker::driver_options::{self, OptionValue};
use mesh_host::docker::endpoint::{EndpointOptions, GivenAddresses};
use mesh_proto::ids::Mac;
use mesh_proto::network::NetworkId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest id accepted; Docker's have 64 characters.
const MAX_ID: usize = 128;

#[derive(Debug, Deserialize)]
pub(super) struct CreateEndpointRequest {
    #[serde(rename = "NetworkID")]
    pub(super) network: String,
    #[serde(rename = "EndpointID")]
    pub(super) endpoint: String,
    #[serde(rename = "Interface", default)]
    pub(super) interface: Option<EndpointInterface>,
    #[serde(rename = "Options", default)]
    pub(super) options: Option<BTreeMap<String, Value>>,
}

/// Empty fields are absent in answers: a driver may only fill in what the request left empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct EndpointInterface {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) address: String,
    #[serde(rename = "AddressIPv6", skip_serializing_if = "String::is_empty")]
    pub(super) address_ipv6: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) mac_address: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateEndpointResponse {
    pub(super) interface: EndpointInterface,
}

/// Join, Leave, DeleteEndpoint and their like.
#[derive(Debug, Deserialize)]
pub(super) struct EndpointRequest {
    #[serde(rename = "EndpointID")]
    pub(super) endpoint: String,
    #[serde(rename = "SandboxKey", default)]
    pub(super) sandbox: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct JoinResponse {
    pub(super) interface_name: InterfaceName,
    pub(super) static_routes: Vec<StaticRoute>,
    /// Otherwise Docker adds a second interface to a bridge of its own.
    pub(super) disable_gateway_service: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) gateway: String,
    #[serde(rename = "GatewayIPv6", skip_serializing_if = "String::is_empty")]
    pub(super) gateway6: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InterfaceName {
    /// On the host.
    pub(super) src_name: String,
    /// In the container, before the number that Docker appends.
    pub(super) dst_prefix: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StaticRoute {
    pub(super) destination: String,
    /// 1: straight to the interface.
    pub(super) route_type: u8,
}

/// Returns the options of the endpoint that CreateEndpoint asks for; none when an address is to be chosen.
pub(super) fn wanted(request: &CreateEndpointRequest) -> Result<Option<EndpointOptions>, String> {
    check_id(&request.endpoint)?;
    check_id(&request.network)?;
    let option = |name: &str| request.options.as_ref()?.get(name).map(option_value);
    let options = driver_options::parse(&option)?;
    let mac = given_mac(request)?;
    Ok(options.map(|options| EndpointOptions { mac, ..options }))
}

/// Returns the MAC address that the user has chosen for an endpoint.
///
/// # Errors
/// It cannot be that of an interface.
pub(super) fn given_mac(request: &CreateEndpointRequest) -> Result<Option<Mac>, String> {
    let given = request.interface.as_ref();
    let text = given.map_or("", |given| given.mac_address.as_str());
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<Mac>() {
        Ok(mac) if !mac.is_group() && mac != Mac([0; 6]) => Ok(Some(mac)),
        _ => Err(format!(
            "'{}' is not the MAC address of an interface; write it like 02:42:0a:02:01:01",
            text.escape_debug()
        )),
    }
}

/// Returns the addresses that IPAM drivers of Docker have given an endpoint; none if there is none.
///
/// # Errors
/// One cannot be read.
pub(super) fn given_addresses(
    request: &CreateEndpointRequest,
) -> Result<Option<GivenAddresses>, String> {
    let Some(given) = &request.interface else {
        return Ok(None);
    };
    let v4 = given_address(&given.address, false)?;
    let v6 = given_address(&given.address_ipv6, true)?;
    Ok(match (v4, v6) {
        (Some(first), second) => Some(GivenAddresses { first, second }),
        (None, Some(first)) => Some(GivenAddresses {
            first,
            second: None,
        }),
        (None, None) => None,
    })
}

fn given_address(text: &str, v6: bool) -> Result<Option<IpNet>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<IpNet>() {
        Ok(address) if address.addr().is_ipv6() == v6 => Ok(Some(address)),
        _ => Err(format!("the address '{}' is none", text.escape_debug())),
    }
}

fn option_value(value: &Value) -> OptionValue<'_> {
    match value {
        Value::String(text) => OptionValue::Text(text),
        _ => OptionValue::Other,
    }
}

/// Returns the router's choice for an endpoint without an address, by its answer to CreateEndpoint.
pub(super) fn chosen(answer: &Value) -> Option<EndpointOptions> {
    let interface = answer.get("Interface")?;
    let read = |name: &str| interface.get(name)?.as_str()?.parse().ok();
    let mut addresses = ["Address", "AddressIPv6"].into_iter().filter_map(read);
    let given = GivenAddresses {
        first: addresses.next()?,
        second: addresses.next(),
    };
    let owner = |_| String::new();
    Some(EndpointOptions::given(
        NetworkId::DEFAULT,
        given,
        owner,
        None,
    ))
}

/// Returns the endpoint that a call is about.
///
/// # Errors
/// The body has none.
pub fn endpoint_of(body: &[u8]) -> Result<String, String> {
    let request: EndpointRequest = parse(body)?;
    Ok(request.endpoint)
}

/// Returns the fields that the request left empty.
pub(super) fn filled_in(
    given: &EndpointInterface,
    addresses: impl IntoIterator<Item = IpNet>,
    mac: Mac,
) -> EndpointInterface {
    let mut interface = EndpointInterface::default();
    if given.mac_address.is_empty() {
        interface.mac_address = mac.to_string();
    }
    for address in addresses {
        match address {
            IpNet::V4(v4) if given.address.is_empty() => interface.address = v4.to_string(),
            IpNet::V6(v6) if given.address_ipv6.is_empty() => {
                interface.address_ipv6 = v6.to_string();
            }
            _ => {}
        }
    }
    interface
}

/// Reads a request.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|e| format!("cannot read the request: {e}"))
}

/// Refuses ids that cannot become part of interface aliases and of the stored table.
pub(super) fn check_id(id: &str) -> Result<(), String> {
    let sound =
        !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(|b| b.is_ascii_alphanumeric());
    sound
        .then_some(())
        .ok_or_else(|| format!("'{}' is not an id", id.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_empty_fields_are_filled_in() {
        let given = EndpointInterface {
            address: "10.2.1.9/24".into(),
            ..EndpointInterface::default()
        };
        let filled = filled_in(
            &given,
            ["10.2.1.1/24", "fd00::1/64"].map(|text| text.parse().unwrap()),
            Mac([2, 0, 0, 0, 0, 1]),
        );
        assert_eq!(filled.address, "");
        assert_eq!(filled.address_ipv6, "fd00::1/64");
        assert_eq!(filled.mac_address, "02:00:00:00:00:01");
    }
}
