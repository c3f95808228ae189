//! JSON between the command and the router.

use mesh_proto::api::ipam::{IpamWaiting, Left, PrimeRequest, RemoveRequest, Removed};
use mesh_proto::api::{
    AbandonRequest, Addresses, AdoptRequest, AttachRequest, AttachedContainer, BridgeReport,
    BridgeRequest, ConnectRequest, ContainerAddresses, CreateNetworkRequest, DetachRequest,
    DnsChange, DnsClient, DnsQuestion, ErrorBody, ExposeRequest, Exposed, ForgetRequest, Hidden,
    HideRequest, NetworkCreated, NetworkRemoved, NetworkReport, PrepareRequest, Prepared,
    RemoveNetworkRequest, Report,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Any text that parses as one of the types serializes to JSON that parses as the same value.
pub(super) fn target(data: &[u8]) {
    survives::<ConnectRequest>(data);
    survives::<ForgetRequest>(data);
    survives::<PrepareRequest>(data);
    survives::<Prepared>(data);
    survives::<AbandonRequest>(data);
    survives::<AdoptRequest>(data);
    survives::<AttachRequest>(data);
    survives::<DetachRequest>(data);
    survives::<Vec<AttachedContainer>>(data);
    survives::<ContainerAddresses>(data);
    survives::<Addresses>(data);
    survives::<ErrorBody>(data);
    survives::<Report>(data);
    names(data);
    host(data);
    allocation(data);
    networks(data);
}

fn names(data: &[u8]) {
    survives::<DnsChange>(data);
    survives::<DnsQuestion>(data);
    survives::<DnsClient>(data);
}

fn host(data: &[u8]) {
    survives::<ExposeRequest>(data);
    survives::<Exposed>(data);
    survives::<HideRequest>(data);
    survives::<Hidden>(data);
    survives::<BridgeRequest>(data);
    survives::<Vec<BridgeReport>>(data);
}

fn allocation(data: &[u8]) {
    survives::<Vec<IpamWaiting>>(data);
    survives::<PrimeRequest>(data);
    survives::<RemoveRequest>(data);
    survives::<Removed>(data);
    survives::<Left>(data);
}

fn networks(data: &[u8]) {
    survives::<CreateNetworkRequest>(data);
    survives::<NetworkCreated>(data);
    survives::<RemoveNetworkRequest>(data);
    survives::<NetworkRemoved>(data);
    survives::<Vec<NetworkReport>>(data);
}

fn survives<T: Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(data) else {
        return;
    };
    let written = serde_json::to_value(&value).expect("what was read can be written");
    let text = written.to_string();
    let again: T = serde_json::from_str(&text).expect("what was written can be read");
    let rewritten = serde_json::to_value(&again).expect("what was read can be written");
    assert!(same(&written, &rewritten), "{written} became {rewritten}");
}

/// Returns true if the values are equal, except for the last digit of non-integers.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let (a, b) = (
                a.as_f64().unwrap_or_default(),
                b.as_f64().unwrap_or_default(),
            );
            (a - b).abs() <= a.abs().max(b.abs()) * 1e-12
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let connection = json!({
        "Address": "10.0.0.2:6783", "Outbound": true, "State": "established", "Error": "", "RetryIn": 1.5,
        "Peer": "7a::1(host)", "Encrypted": true, "Cipher": "c", "Datapath": "pcap", "Mtu": 1376, "RttMs": 0.25
    });
    let requests = [
        json!({"Peers": ["host2", "10.0.0.1:7000"], "Replace": true}),
        json!({"Error": "no"}),
        json!({"Runtime": "docker", "Addresses": ["10.2.1.1/24"], "MulticastRoute": true, "CallerPid": 7}),
        json!({"Id": "x", "Addresses": ["10.2.1.1"]}),
        json!({"Id": "x", "Networks": ["name=mesh"], "Netns": "/run/netns/x", "Addresses": []}),
        json!([{"Container": "abc", "Name": "web", "Runtime": "podman", "Interfaces": [
            {"Name": "mesh0", "Mac": "02:6d:0a:02:01:01", "Address": "10.2.1.1/24"}]}]),
        json!({"Container": "abc", "Addresses": ["10.2.1.1/24"], "Runtime": "process", "Pid": 1}),
        json!({"Container": "abc", "Name": "web", "Addresses": ["10.2.1.1", "fd00::1"]}),
        json!({"Addresses": ["net:default"], "Name": "gateway", "Masquerade": true, "CallerPid": 7, "Timeout": 2.5}),
        json!({"Addresses": [{"Address": "10.2.0.1/24", "Mac": "02:6d:0a:02:00:01", "Masquerade": true, "Names": ["a"]}]}),
        json!({"Servers": ["172.17.0.1"], "Inside": "127.0.0.1", "Search": "mesh.local."}),
        json!([{"CallerPid": 7, "Container": "web", "Want": "10.2.1.0/24", "Why": "nobody answers", "Left": 1.5}]),
        json!({"Peers": ["host3"], "Force": true, "Timeout": 30.0, "Lines": ["host3 is removed"]}),
        json!({"Name": "web", "Subnets": ["10.40.0.0/16"], "Gateways": ["10.40.0.1"], "IpRanges": ["10.40.5.0/24"],
            "Internal": true, "Mtu": 1300, "Labels": ["a=b"]}),
        json!({"Id": "3f2a", "Name": "web", "IsNew": true, "Network": "web", "Force": true}),
        json!([{"Id": "3f2a", "Name": "web", "Subnets": [{"Subnet": "10.40.0.0/16", "IPRange": "10.40.5.0/24"}],
            "Labels": {"a": "b"}, "Hosts": [{"Peer": "7a::1", "IsSelf": true}]}]),
        connection,
    ];
    let mut seeds: Vec<Vec<u8>> = requests
        .iter()
        .map(|r| r.to_string().into_bytes())
        .collect();
    seeds.push(b"{\"Peers\":[\"\\ud800\"]}".to_vec());
    let report = super::control::sample_report();
    seeds.push(serde_json::to_vec(&report).unwrap_or_default());
    seeds.push(b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[".to_vec());
    seeds
}
