//! Bodies of the libnetwork remote driver protocol, as far as we read and write them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
