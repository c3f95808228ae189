//! Requests to the router, as the arguments of a verb ask for them.

use mesh_proto::api::ipam::RemoveRequest;
use mesh_proto::api::{
    AttachRequest, BridgeRequest, ConnectRequest, CreateNetworkRequest, DetachRequest,
    ExposeRequest, ForgetRequest, HideRequest, PrepareRequest, RemoveNetworkRequest, Runtime,
};

use crate::CommandError;
use crate::addresses;
use crate::args::{
    AttachBridgeArgs, BridgeArgs, ConnectArgs, ContainerArgs, DetachArgs, ExposeArgs, HideArgs,
    NetArg, NetworkCreateArgs, PeerArgs, RmpeerArgs, RunArgs,
};

/// Returns the request of `mesh connect`.
pub fn connect(args: ConnectArgs) -> ConnectRequest {
    ConnectRequest {
        peers: args.peers,
        replace: args.replace,
    }
}

/// Returns the request of `mesh forget`.
pub fn forget(args: PeerArgs) -> ForgetRequest {
    ForgetRequest { peers: args.peers }
}

/// Returns the request to prepare a container of `mesh run`, or a process.
pub fn prepare(
    args: &RunArgs,
    runtime: Runtime,
    addresses: &[String],
    name: &str,
    caller_pid: u32,
) -> PrepareRequest {
    PrepareRequest {
        runtime,
        addresses: addresses.to_vec(),
        multicast_route: !args.interfaces.no_multicast_route,
        caller_pid,
        name: name.to_owned(),
        without_dns: args.without_dns,
        timeout: args.interfaces.allocation.timeout,
        network: args.network.name().to_owned(),
    }
}

/// Returns the request to attach a container to the network of the arguments.
pub fn attach(
    args: &ContainerArgs,
    container: &str,
    addresses: &[String],
    runtime: Option<Runtime>,
    caller_pid: u32,
) -> AttachRequest {
    AttachRequest {
        container: container.to_owned(),
        addresses: addresses.to_vec(),
        runtime,
        multicast_route: !args.interfaces.no_multicast_route,
        caller_pid,
        without_dns: args.without_dns,
        timeout: args.interfaces.allocation.timeout,
        no_rewrite_hosts: args.no_rewrite_hosts,
        add_host: args.add_host.clone(),
        network: args.network.name().to_owned(),
    }
}

/// Returns the request of `mesh detach`.
///
/// # Errors
/// Fails if the arguments are not addresses and one container.
pub fn detach(args: &DetachArgs) -> Result<DetachRequest, CommandError> {
    let network = NetArg {
        net: args.net.clone(),
    };
    let (addresses, container) = addresses::with_container(&network, &args.rest)?;
    Ok(DetachRequest {
        container: container.to_owned(),
        addresses: addresses.to_vec(),
        runtime: args.engine.runtime.map(Runtime::from),
        network: network.name().to_owned(),
    })
}

/// Returns the request of `mesh expose`.
///
/// # Errors
/// Fails if an argument is not an address.
pub fn expose(args: &ExposeArgs, caller_pid: u32) -> Result<ExposeRequest, CommandError> {
    addresses::check_in(&args.network, &args.addresses)?;
    Ok(ExposeRequest {
        addresses: args.addresses.clone(),
        name: args.name.clone(),
        masquerade: !args.without_masquerade,
        forward: args.forward,
        caller_pid,
        timeout: args.allocation.timeout,
        network: args.network.name().to_owned(),
    })
}

/// Returns the request of `mesh hide`.
///
/// # Errors
/// Fails if an argument is not an address.
pub fn hide(args: &HideArgs) -> Result<HideRequest, CommandError> {
    let network = NetArg {
        net: args.net.clone(),
    };
    addresses::check_in(&network, &args.addresses)?;
    Ok(HideRequest {
        addresses: args.addresses.clone(),
        network: network.name().to_owned(),
    })
}

/// Returns the request of `mesh attach-bridge`.
pub fn attach_bridge(args: &AttachBridgeArgs) -> BridgeRequest {
    BridgeRequest {
        bridge: args.bridge.clone(),
        network: args.network.name().to_owned(),
    }
}

/// Returns the request of `mesh detach-bridge`.
pub fn detach_bridge(args: &BridgeArgs) -> BridgeRequest {
    BridgeRequest {
        bridge: args.bridge.clone(),
        network: String::new(),
    }
}

/// Returns the request of `mesh rmpeer`.
pub fn remove_peers(args: &RmpeerArgs) -> RemoveRequest {
    RemoveRequest {
        peers: args.peers.clone(),
        force: args.force,
    }
}

/// Returns the request of `mesh network create`.
pub fn create_network(args: &NetworkCreateArgs) -> CreateNetworkRequest {
    CreateNetworkRequest {
        name: args.name.clone(),
        subnets: args.subnets.clone(),
        gateways: args.gateways.clone(),
        ip_ranges: args.ip_ranges.clone(),
        internal: args.internal,
        mtu: args.mtu,
        labels: args.labels.clone(),
    }
}

/// Returns the request of `mesh network rm` for one network.
pub fn remove_network(network: &str, force: bool) -> RemoveNetworkRequest {
    RemoveNetworkRequest {
        network: network.to_owned(),
        force,
    }
}

/// Returns the path of the request of `mesh network inspect` for one network, with the name percent-encoded (RFC 3986
/// section 2.1).
pub fn network_path(network: &str) -> String {
    let mut path = String::from("/networks/");
    for byte in network.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' => path.push(byte.into()),
            // Also a dot: a path of dots would be another one.
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Verb};

    fn verb(line: &str) -> Verb {
        let words = ["mesh"].into_iter().chain(line.split_whitespace());
        let cli: Cli = crate::parse(words.map(Into::into).collect()).unwrap();
        cli.verb
    }

    #[test]
    fn attach_asks_for_what_is_not_turned_off() {
        let Verb::Attach(args) = verb("attach --without-dns --timeout 5 10.2.1.1/24 web") else {
            panic!("another verb");
        };
        let (net, rest) = (&args.container.network, &args.container.rest);
        let (addresses, container) = addresses::with_container(net, rest).unwrap();
        let request = attach(&args.container, container, addresses, None, 7);
        assert_eq!(request.container, "web");
        assert_eq!(request.addresses, ["10.2.1.1/24"]);
        assert!(request.without_dns && request.multicast_route && !request.no_rewrite_hosts);
        assert_eq!((request.timeout, request.caller_pid), (Some(5.0), 7));
    }

    #[test]
    fn run_prepares_what_it_was_given() {
        let Verb::Run(args) = verb("run --no-multicast-route 10.2.1.1/24 --name web nginx") else {
            panic!("another verb");
        };
        let (addresses, _) = addresses::split(&args.rest);
        let request = prepare(&args, Runtime::Docker, addresses, "web", 7);
        assert_eq!(request.addresses, ["10.2.1.1/24"]);
        assert_eq!((request.name.as_str(), request.caller_pid), ("web", 7));
        assert!(!request.multicast_route && !request.without_dns);
    }

    #[test]
    fn each_verb_hands_on_its_network() {
        let Verb::Attach(args) = verb("attach --net web 10.40.0.1 db") else {
            panic!("another verb");
        };
        let (net, rest) = (&args.container.network, &args.container.rest);
        let (addresses, container) = addresses::with_container(net, rest).unwrap();
        let request = attach(&args.container, container, addresses, None, 7);
        assert_eq!((request.network.as_str(), addresses.len()), ("web", 1));
        let Verb::Run(args) = verb("run --net web 10.40.0.1 --net back nginx") else {
            panic!("another verb");
        };
        let (addresses, rest) = addresses::split(&args.rest);
        let request = prepare(&args, Runtime::Docker, addresses, "", 7);
        assert_eq!((request.network.as_str(), addresses.len()), ("web", 1));
        assert_eq!(rest, ["--net", "back", "nginx"]);
        let Verb::Detach(args) = verb("detach --net web 10.40.0.1 db") else {
            panic!("another verb");
        };
        assert_eq!(detach(&args).unwrap().network, "web");
        let Verb::Expose(args) = verb("expose --net web 10.40.0.254") else {
            panic!("another verb");
        };
        assert_eq!(expose(&args, 7).unwrap().network, "web");
        let Verb::Hide(args) = verb("hide --net web 10.40.0.254") else {
            panic!("another verb");
        };
        assert_eq!(hide(&args).unwrap().network, "web");
        let Verb::AttachBridge(args) = verb("attach-bridge --net web br0") else {
            panic!("another verb");
        };
        assert_eq!(attach_bridge(&args).network, "web");
        let Verb::DetachBridge(args) = verb("detach-bridge br0") else {
            panic!("another verb");
        };
        assert!(detach_bridge(&args).network.is_empty());
    }

    #[test]
    fn a_network_is_asked_for_as_typed() {
        let line = "network create --subnet 10.40.0.0/16 --subnet fd00:40::/64 --gateway 10.40.0.1 --ip-range \
                    10.40.5.0/24 --internal --mtu 1300 --label a=b --label c web";
        let Verb::Network(args) = verb(line) else {
            panic!("another verb");
        };
        let crate::args::NetworkVerb::Create(args) = args.verb else {
            panic!("another verb");
        };
        let request = create_network(&args);
        assert_eq!(request.name, "web");
        assert_eq!(request.subnets, ["10.40.0.0/16", "fd00:40::/64"]);
        assert_eq!(request.gateways, ["10.40.0.1"]);
        assert_eq!(request.ip_ranges, ["10.40.5.0/24"]);
        assert_eq!(request.labels, ["a=b", "c"]);
        assert!(request.internal && request.mtu == Some(1300));
    }

    #[test]
    fn any_name_is_one_part_of_a_path() {
        assert_eq!(network_path("my_net-1"), "/networks/my_net-1");
        assert_eq!(network_path(".."), "/networks/%2E%2E");
        assert_eq!(network_path("a/b ä?"), "/networks/a%2Fb%20%C3%A4%3F");
        assert_eq!(network_path(""), "/networks/");
    }

    #[test]
    fn a_typo_is_found_before_anything_is_asked() {
        let Verb::Expose(args) = verb("expose 10.2.1.1") else {
            panic!("another verb");
        };
        assert!(expose(&args, 7).is_err());
        let Verb::Expose(args) = verb("expose --forward net:default -h gw") else {
            panic!("another verb");
        };
        let request = expose(&args, 7).unwrap();
        assert!(request.masquerade && request.forward);
        assert_eq!(request.name.as_deref(), Some("gw"));
        let Verb::Detach(args) = verb("detach --runtime podman web db") else {
            panic!("another verb");
        };
        let error = detach(&args).unwrap_err();
        assert_eq!(error, CommandError::NotAnAddress("web".to_owned()));
    }
}
