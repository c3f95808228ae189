//! Docker's answers about containers.

use std::collections::BTreeMap;

use bollard_stubs::models::{
    ContainerInspectResponse, ContainerSummary, EndpointSettings, NetworkInspect,
};
use ipnet::IpNet;

use super::service::service_aliases;
use crate::container::{EngineContainer, LEAVE_HOSTS, NetworkConnection};
use crate::network::NetworkEndpoint;

/// Prefix of the id of an endpoint in the place of its container's.
const NOT_JOINED: &str = "ep-";

/// Reads the description of one container.
pub fn container(answer: ContainerInspectResponse) -> EngineContainer {
    let state = answer.state.unwrap_or_default();
    let host = answer.host_config.unwrap_or_default();
    let policy = host.restart_policy.and_then(|p| p.name);
    let config = answer.config.unwrap_or_default();
    let settings = answer.network_settings.unwrap_or_default();
    let ends = settings.networks.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let of_service = service_aliases(|label| labels.get(label).map(String::as_str));
    let mut networks: Vec<NetworkConnection> = ends.iter().map(|(k, v)| connection(k, v)).collect();
    networks.sort_by(|a, b| a.network.cmp(&b.network));
    let connections = networks.iter_mut();
    connections.for_each(|c| c.aliases.extend_from_slice(&of_service));
    let ends: Vec<EndpointSettings> = ends.into_values().collect();
    let mut aliases: Vec<String> = networks.iter().flat_map(|c| c.aliases.clone()).collect();
    aliases.sort();
    aliases.dedup();
    let options = ends.into_iter().map(|c| c.driver_opts.unwrap_or_default());
    EngineContainer {
        id: answer.id.unwrap_or_default(),
        name: answer
            .name
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
        pid: state.pid.and_then(|p| u32::try_from(p).ok()).unwrap_or(0),
        running: state.running.unwrap_or(false),
        network_mode: host.network_mode.unwrap_or_default(),
        restart_policy: policy.map(|p| p.to_string()).unwrap_or_default(),
        error: state.error.unwrap_or_default(),
        connections: options.map(|o| o.into_iter().collect()).collect(),
        networks,
        sandbox: settings.sandbox_key.unwrap_or_default(),
        hostname: with_domain(config.hostname, config.domainname),
        aliases,
        exposed: config.exposed_ports.unwrap_or_default(),
        dns: host
            .dns
            .unwrap_or_default()
            .iter()
            .filter_map(|ip| ip.parse().ok())
            .collect(),
        dns_search: host.dns_search.unwrap_or_default(),
        hosts_file: answer.hosts_path.unwrap_or_default(),
        leave_hosts: labels
            .get(LEAVE_HOSTS.0)
            .is_some_and(|v| v == LEAVE_HOSTS.1),
    }
}

fn connection(network: &str, end: &EndpointSettings) -> NetworkConnection {
    let options = end.driver_opts.clone().unwrap_or_default();
    NetworkConnection {
        network: network.to_owned(),
        network_id: end.network_id.clone().unwrap_or_default(),
        endpoint: end.endpoint_id.clone().unwrap_or_default(),
        options: options.into_iter().collect(),
        aliases: end.aliases.clone().unwrap_or_default(),
        addresses: [
            (&end.ip_address, end.ip_prefix_len),
            (&end.global_ipv6_address, end.global_ipv6_prefix_len),
        ]
        .into_iter()
        .filter_map(|(address, length)| {
            let address = address.as_deref()?.parse().ok()?;
            IpNet::new(address, u8::try_from(length?).ok()?).ok()
        })
        .collect(),
    }
}

/// Joins host and domain name: depending on its version, Docker stores `-h a.b` whole or split.
fn with_domain(host: Option<String>, domain: Option<String>) -> String {
    match (host.unwrap_or_default(), domain.unwrap_or_default()) {
        (host, domain) if host.is_empty() || domain.is_empty() => host,
        (host, domain) => format!("{host}.{domain}"),
    }
}

/// Returns true if the container has a process: `running` or `paused`.
pub(super) fn has_process(container: &ContainerSummary) -> bool {
    let state = container.state.as_ref().map(ToString::to_string);
    matches!(state.as_deref(), Some("running" | "paused"))
}

/// Reads a list of containers, by full id, with true for those that have a process.
pub fn listing(found: Vec<ContainerSummary>) -> BTreeMap<String, bool> {
    let listed = found.into_iter().filter_map(|container| {
        let runs = has_process(&container);
        Some((container.id?, runs))
    });
    listed.collect()
}

/// Reads the endpoints on a network, without those that are not joined yet: Docker lists them by ids of their own, in the
/// place of containers.
pub fn endpoints(found: NetworkInspect) -> Vec<NetworkEndpoint> {
    let ends = found.containers.unwrap_or_default().into_iter();
    let joined = ends.filter(|(container, _)| !container.starts_with(NOT_JOINED));
    joined
        .filter_map(|(container, end)| {
            Some(NetworkEndpoint {
                endpoint: end.endpoint_id?,
                container,
                name: end.name.unwrap_or_default(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inspection_is_read() {
        let json = r#"{"Id":"0123","Name":"/web","HostsPath":"/var/lib/docker/containers/0123/hosts","State":{"Running":true,"Pid":42,"Error":"e"},
            "HostConfig":{"NetworkMode":"mesh","Dns":["172.17.0.1","x"],"DnsSearch":["mesh.local"],"RestartPolicy":{"Name":"unless-stopped"}},
            "Config":{"Labels":{"mesh.rewrite-hosts":"false"},"Hostname":"www","Domainname":"mesh.local","ExposedPorts":{"80/tcp":{}}},
            "NetworkSettings":{"SandboxKey":"/var/run/docker/netns/0","Networks":{"bridge":{"Aliases":null,"DriverOpts":null},
            "mesh":{"Aliases":["shop","0123"],"NetworkID":"7a","EndpointID":"e0","DriverOpts":{"mesh.address":"10.32.0.1/12"},
            "IPAddress":"10.32.0.1","IPPrefixLen":12,"GlobalIPv6Address":"fd00::5","GlobalIPv6PrefixLen":64}}}}"#;
        let mut got = container(serde_json::from_str(json).unwrap());
        let second = got.second_address("e0");
        assert_eq!(
            second.map(|address| address.to_string()).as_deref(),
            Some("fd00::5/64")
        );
        assert_eq!(got.second_address("e1"), None);
        got.connections.retain(|options| !options.is_empty());
        let names = got.networks.iter().map(|c| c.network.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["bridge", "mesh"]);
        got.networks.retain(|c| c.network == "mesh");
        let want = EngineContainer {
            id: "0123".into(),
            name: "web".into(),
            pid: 42,
            running: true,
            network_mode: "mesh".into(),
            restart_policy: "unless-stopped".into(),
            error: "e".into(),
            sandbox: "/var/run/docker/netns/0".into(),
            connections: vec![BTreeMap::from([(
                "mesh.address".to_owned(),
                "10.32.0.1/12".to_owned(),
            )])],
            networks: vec![NetworkConnection {
                network: "mesh".into(),
                network_id: "7a".into(),
                endpoint: "e0".into(),
                options: BTreeMap::from([("mesh.address".to_owned(), "10.32.0.1/12".to_owned())]),
                aliases: vec!["shop".into(), "0123".into()],
                addresses: ["10.32.0.1/12", "fd00::5/64"]
                    .map(|text| text.parse().unwrap())
                    .into(),
            }],
            hostname: "www.mesh.local".into(),
            aliases: vec!["0123".into(), "shop".into()],
            exposed: vec!["80/tcp".into()],
            dns: vec!["172.17.0.1".parse().unwrap()],
            dns_search: vec!["mesh.local".into()],
            hosts_file: "/var/lib/docker/containers/0123/hosts".into(),
            leave_hosts: true,
        };
        assert_eq!(got, want);
    }

    #[test]
    fn an_endpoint_that_is_not_joined_has_no_container_yet() {
        let json = r#"{"Containers":{"ep-76eb":{"Name":"a","EndpointID":"76eb"},"89c3":{"Name":"b","EndpointID":"e1"}}}"#;
        let found = endpoints(serde_json::from_str(json).unwrap());
        let containers = found.iter().map(|end| end.container.as_str());
        assert_eq!(containers.collect::<Vec<_>>(), ["89c3"]);
    }
}
