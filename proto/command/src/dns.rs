//! Names of containers, and the flags and files by which containers ask the router for names.

use std::net::IpAddr;

use mesh_names::{Domain, MeshName};
use mesh_proto::api::{DnsChange, DnsClient};

use crate::CommandError;
use crate::args::{DnsChangeArgs, RuntimeArg};
use crate::engine_args::EngineArgs;

/// Returns the flags of `mesh dns-args`.
///
/// # Errors
/// Fails for a process, and if the router cannot be asked.
pub fn flags_of(runtime: RuntimeArg, dns: &DnsClient) -> Result<Vec<String>, CommandError> {
    match runtime {
        RuntimeArg::Process => Err(CommandError::NoFlagsForProcess),
        RuntimeArg::Podman => Ok(flags_inside(dns)),
        RuntimeArg::Docker if dns.servers.is_empty() && !dns.search.is_empty() => {
            Err(CommandError::NoServer)
        }
        RuntimeArg::Docker => Ok(flags(dns)),
    }
}

/// Returns the `docker run` flags that make a container query the host.
pub fn flags(dns: &DnsClient) -> Vec<String> {
    flags_for(&dns.servers, dns)
}

/// Returns the `podman run` flags that make a container query the resolver in its own network namespace.
pub fn flags_inside(dns: &DnsClient) -> Vec<String> {
    flags_for(dns.inside.as_slice(), dns)
}

fn flags_for(servers: &[IpAddr], dns: &DnsClient) -> Vec<String> {
    if servers.is_empty() {
        return Vec::new();
    }
    let mut flags: Vec<String> = servers.iter().map(|ip| format!("--dns={ip}")).collect();
    let domains = [&dns.search].into_iter().chain(&dns.also);
    flags.extend(domains.map(|domain| format!("--dns-search={domain}")));
    flags
}

/// Returns remarks on names by which no other container can find this one.
pub fn unusable_names<'a>(dns: &DnsClient, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let Ok(domain) = Domain::parse(&dns.search) else {
        return Vec::new();
    };
    names
        .filter_map(|name| MeshName::given(name, &domain).err())
        .map(|error| format!("others will not find the container by one of its names: {error}"))
        .collect()
}

/// Returns the resolv.conf of a command that asks the router; `None` if it is not to.
pub fn resolv_conf(dns: &DnsClient) -> Option<String> {
    let server = dns.inside?;
    let domains: Vec<&str> = [&dns.search]
        .into_iter()
        .chain(&dns.also)
        .map(String::as_str)
        .collect();
    let mut text = format!("nameserver {server}\nsearch {}\n", domains.join(" "));
    if !dns.options.is_empty() {
        text += &format!("options {}\n", dns.options.join(" "));
    }
    Some(text)
}

/// Returns those of `flags` that the user did not set.
pub fn unless_said(mut flags: Vec<String>, args: &EngineArgs) -> Vec<String> {
    if args.has(&["dns"]) {
        return Vec::new();
    }
    let is_search = |flag: &String| flag.starts_with("--dns-search=");
    if args.has(&["dns-search"]) {
        flags.retain(|flag| !is_search(flag));
    } else if let Some(at) = flags.iter().position(is_search)
        && let Some(own) = own_domain(args.host_name().unwrap_or_default(), &flags[at])
    {
        flags.insert(at, own);
    }
    flags
}

/// Returns the search flag for the domain of a host name below the mesh's domain: short names are looked up there
/// first.
fn own_domain(host_name: &str, search: &str) -> Option<String> {
    let (_, mesh) = search.split_once('=')?;
    let host_name = host_name.trim_end_matches('.').to_ascii_lowercase();
    let (_, domain) = host_name.split_once('.')?;
    let is_below = domain
        .strip_suffix(mesh)?
        .strip_suffix('.')
        .is_some_and(|sub| !sub.is_empty());
    is_below.then(|| format!("--dns-search={domain}"))
}

/// Returns the request of `[address…] [container] [-h name]`.
///
/// # Errors
/// Fails if the arguments name nothing, or an address comes after the container.
pub fn change(args: &DnsChangeArgs) -> Result<DnsChange, CommandError> {
    let mut addresses = Vec::new();
    let mut container: Option<String> = None;
    for word in &args.rest {
        let address = word.strip_prefix("ip:").unwrap_or(word);
        match (address.parse::<IpAddr>(), &container) {
            (Ok(ip), None) => addresses.push(ip),
            (Ok(ip), Some(container)) => {
                let container = container.clone();
                return Err(CommandError::AddressAfterContainer { ip, container });
            }
            (Err(_), _) if address.contains('/') => {
                return Err(CommandError::PrefixLength(word.clone()));
            }
            (Err(_), None) => container = Some(word.clone()),
            (Err(_), Some(first)) => {
                let (first, second) = (first.clone(), word.clone());
                return Err(CommandError::TwoContainers(first, second));
            }
        }
    }
    if container.is_none() && args.name.is_none() {
        return Err(CommandError::NothingNamed);
    }
    Ok(DnsChange {
        container,
        name: args.name.clone(),
        addresses,
        network: args.net.clone().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, name: Option<&str>) -> Result<DnsChange, String> {
        let args = DnsChangeArgs {
            name: name.map(ToOwned::to_owned),
            net: None,
            help: None,
            rest: line.split_whitespace().map(ToOwned::to_owned).collect(),
        };
        change(&args).map_err(|e| e.to_string())
    }

    #[test]
    fn addresses_come_before_the_container() {
        let read_all = read("10.2.1.1 ip:fd00::1 web", Some("shop")).unwrap();
        let expected = DnsChange {
            container: Some("web".into()),
            name: Some("shop".into()),
            addresses: vec!["10.2.1.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            network: String::new(),
        };
        assert_eq!(read_all, expected);
        for (line, name, said) in [
            ("web 10.2.1.1", None, "addresses come first"),
            ("10.2.1.1/24", Some("x"), "without the prefix length"),
            ("a b", None, "two containers"),
            ("10.2.1.1", None, "neither a container nor a name"),
        ] {
            let error = read(line, name).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_resolv_conf_names_the_server_within_and_the_domain() {
        let mut dns = DnsClient {
            servers: vec!["172.17.0.1".parse().unwrap()],
            inside: None,
            search: "mesh.local".into(),
            ..DnsClient::default()
        };
        assert_eq!(resolv_conf(&dns), None);
        dns.inside = Some("127.0.0.12".parse().unwrap());
        let expected = "nameserver 127.0.0.12\nsearch mesh.local\n";
        assert_eq!(resolv_conf(&dns).as_deref(), Some(expected));
        dns.also = vec!["corp.example".into()];
        dns.options = vec!["ndots:2".into()];
        let expected = "nameserver 127.0.0.12\nsearch mesh.local corp.example\noptions ndots:2\n";
        assert_eq!(resolv_conf(&dns).as_deref(), Some(expected));
    }

    #[test]
    fn a_container_must_be_able_to_ask() {
        let mut dns = DnsClient {
            search: "mesh.local".into(),
            ..DnsClient::default()
        };
        let docker = |dns: &DnsClient| flags_of(RuntimeArg::Docker, dns);
        assert_eq!(docker(&dns), Err(CommandError::NoServer));
        dns.servers = vec!["172.17.0.1".parse().unwrap()];
        assert_eq!(docker(&dns), Ok(flags(&dns)));
        // With --no-dns the router names no domain either.
        assert_eq!(docker(&DnsClient::default()), Ok(Vec::new()));
        let process = flags_of(RuntimeArg::Process, &dns);
        assert_eq!(process, Err(CommandError::NoFlagsForProcess));
    }

    #[test]
    fn names_that_nobody_finds_are_told() {
        let dns = DnsClient {
            search: "mesh.local".into(),
            ..DnsClient::default()
        };
        let told = unusable_names(&dns, ["web", "a b"].into_iter());
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("others will not find the container"));
        let nothing = unusable_names(&DnsClient::default(), ["a b"].into_iter());
        assert!(nothing.is_empty(), "{nothing:?}");
    }

    #[test]
    fn flags_are_those_of_docker() {
        let mut dns = DnsClient::default();
        assert!(flags(&dns).is_empty());
        dns.servers = vec!["172.17.0.1".parse().unwrap()];
        dns.search = "mesh.local".into();
        assert_eq!(flags(&dns), ["--dns=172.17.0.1", "--dns-search=mesh.local"]);
        dns.also = vec!["corp.example".into()];
        let said = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
            unless_said(flags(&dns), &EngineArgs::parse(&words).unwrap()).join(" ")
        };
        let usual = "--dns=172.17.0.1 --dns-search=mesh.local --dns-search=corp.example";
        let own = "--dns=172.17.0.1 --dns-search=b.mesh.local --dns-search=mesh.local --dns-search=corp.example";
        for (line, expected) in [
            ("image", usual),
            ("-h a.mesh.local image", usual),
            ("-h a.example.org image", usual),
            ("-h a.xmesh.local image", usual),
            ("-h A.b.Mesh.local. image", own),
            ("--hostname=a.b.mesh.local image", own),
            ("-ith a.b.mesh.local image", own),
            ("--dns-search x -h a.b.mesh.local image", "--dns=172.17.0.1"),
            ("--dns 1.1.1.1 image", ""),
        ] {
            assert_eq!(said(line), expected, "{line}");
        }
        dns.also.clear();
        assert!(flags_inside(&dns).is_empty());
        dns.inside = Some("127.0.0.12".parse().unwrap());
        let inside = ["--dns=127.0.0.12", "--dns-search=mesh.local"];
        assert_eq!(flags_inside(&dns), inside);
    }
}
