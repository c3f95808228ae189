//! `mesh dns-…`.

use std::net::IpAddr;

use anyhow::bail;
use mesh_proto::api::{Addresses, DnsChange, DnsClient, DnsQuestion, Done};
use mesh_proto::names::{Domain, MeshName};

use crate::args::{DnsArgsArgs, DnsChangeArgs, DnsLookupArgs, RuntimeArg};
use crate::client::Client;
use crate::engine::args::EngineArgs;
use crate::output;
use crate::output::Outcome;

/// Adds a name.
pub(crate) fn add(client: &Client, args: &DnsChangeArgs) -> Outcome {
    client.post::<Done>("/dns/add", &change(args)?)?;
    Ok(0)
}

/// Removes names.
pub(crate) fn remove(client: &Client, args: &DnsChangeArgs) -> Outcome {
    client.post::<Done>("/dns/remove", &change(args)?)?;
    Ok(0)
}

/// Prints the addresses of a name, or the names of an address, one per line.
pub(crate) fn lookup(client: &Client, args: &DnsLookupArgs) -> Outcome {
    let question = DnsQuestion {
        name: args.name.clone(),
    };
    let found: Addresses = client.post("/dns/lookup", &question)?;
    if args.json {
        output::print_json(&found.addresses)?;
        return Ok(0);
    }
    for line in &found.addresses {
        output::print_line(line)?;
    }
    Ok(0)
}

/// Prints the engine flags that make a container use the router for DNS.
pub(crate) fn args(client: &Client, args: &DnsArgsArgs) -> Outcome {
    let dns: DnsClient = client.get("/dns/client")?;
    let flags = match args.runtime {
        RuntimeArg::Process => bail!(
            "a process is given no flags: `mesh run --runtime process` gives it an /etc/resolv.conf"
        ),
        RuntimeArg::Podman => flags_inside(&dns),
        RuntimeArg::Docker if dns.servers.is_empty() && !dns.search.is_empty() => bail!(
            "the router answers on no address that a container could ask; `mesh status dns` says why"
        ),
        RuntimeArg::Docker => flags(&dns),
    };
    if args.json {
        output::print_json(&flags)?;
    } else if !flags.is_empty() {
        output::print_line(&flags.join(" "))?;
    }
    Ok(0)
}

/// Returns the `docker run` flags that make a container query the host.
pub(crate) fn flags(dns: &DnsClient) -> Vec<String> {
    flags_for(&dns.servers, dns)
}

/// Returns the `podman run` flags that make a container query the resolver in its own network namespace.
pub(crate) fn flags_inside(dns: &DnsClient) -> Vec<String> {
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

/// Warns about names by which no other container can find this one.
pub(crate) fn warn_of_names<'a>(dns: &DnsClient, names: impl Iterator<Item = &'a str>) {
    let Ok(domain) = Domain::parse(&dns.search) else {
        return;
    };
    for error in names.filter_map(|name| MeshName::given(name, &domain).err()) {
        output::complain(&format!(
            "others will not find the container by one of its names: {error}"
        ));
    }
}

/// Returns those of `flags` that the user did not set.
pub(crate) fn unless_said(mut flags: Vec<String>, args: &EngineArgs) -> Vec<String> {
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

/// Parses `[address…] [container] [-h name]`.
fn change(args: &DnsChangeArgs) -> anyhow::Result<DnsChange> {
    let mut addresses = Vec::new();
    let mut container = None;
    for word in &args.rest {
        let address = word.strip_prefix("ip:").unwrap_or(word);
        match (address.parse::<IpAddr>(), &container) {
            (Ok(ip), None) => addresses.push(ip),
            (Ok(ip), Some(container)) => {
                bail!("{ip} comes after the container '{container}'; addresses come first")
            }
            (Err(_), _) if address.contains('/') => {
                bail!("'{word}' is not an address of a name; write it without the prefix length")
            }
            (Err(_), None) => container = Some(word.clone()),
            (Err(_), Some(first)) => {
                bail!("'{first}' and '{word}' are two containers; give one, after the addresses")
            }
        }
    }
    if container.is_none() && args.name.is_none() {
        bail!("neither a container nor a name: give one of them, like `web` or `-h web`");
    }
    Ok(DnsChange {
        container,
        name: args.name.clone(),
        addresses,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, name: Option<&str>) -> Result<DnsChange, String> {
        let args = DnsChangeArgs {
            name: name.map(ToOwned::to_owned),
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
