//! Driver options of an endpoint: what `mesh run` says to the driver through Docker. Docker keeps them with the
//! container, so they are the same after a restart.

use std::collections::BTreeMap;

use ipnet::IpNet;
use mesh_proto::address::AddressArg;
use mesh_proto::network::NetworkId;

use crate::docker::endpoint::{DeferredAddress, EndpointOptions, SecondAddress};
use crate::network::scoped::ScopedAddress;

const ADDRESS: &str = "mesh.address";
/// An IPv6 address beside; its lease has the same owner.
const SECOND: &str = "mesh.address6";

/// Returns true if a connection of a container was made by `mesh run`, and not by Docker's user alone.
pub fn is_prepared(options: &BTreeMap<String, String>) -> bool {
    options.contains_key(ADDRESS)
}

const MULTICAST: &str = "mesh.multicast";
const DEFERRED: &str = "mesh.late";
const LEASE_OWNER: &str = "mesh.holder";
/// Id of the network; absent for `default`.
const NETWORK: &str = "mesh.network";
/// Longest name of the owner of a lease.
const MAX_LEASE_OWNER: usize = mesh_proto::limits::MAX_CONTAINER_ID;
/// The values of [`DEFERRED`]; absent is [`DeferredAddress::No`].
const DEFERRED_VALUES: [(&str, DeferredAddress); 3] = [
    ("false", DeferredAddress::No),
    ("true", DeferredAddress::Whole),
    ("subnet", DeferredAddress::Subnet),
];

/// The value of one option, as Docker hands it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionValue<'a> {
    /// A text, as all of ours are.
    Text(&'a str),
    /// Anything else.
    Other,
}

/// Returns the value of the option with this name; none when it is absent.
type OptionLookup<'a> = &'a dyn Fn(&str) -> Option<OptionValue<'a>>;

/// Returns the options of one endpoint, in the order they are shown; the lease owner is left out when it is empty.
pub fn format(options: &EndpointOptions) -> Vec<(String, String)> {
    let deferred = options.deferred;
    let mut out = vec![
        (ADDRESS.to_owned(), options.address.to_string()),
        (MULTICAST.to_owned(), options.multicast.to_string()),
    ];
    if let Some(second) = &options.second {
        out.push((SECOND.to_owned(), second.address.to_string()));
    }
    let value = DEFERRED_VALUES.iter().find(|(_, value)| *value == deferred);
    if let Some((text, _)) = value.filter(|_| deferred != DeferredAddress::No) {
        out.push((DEFERRED.to_owned(), (*text).to_owned()));
    }
    if !options.lease_owner.is_empty() {
        out.push((LEASE_OWNER.to_owned(), options.lease_owner.clone()));
    }
    if !options.network.is_default() {
        out.push((NETWORK.to_owned(), options.network.to_string()));
    }
    out
}

/// Returns the address that driver options of a connection promise to a container, and the owner of its lease.
pub fn promise(options: &BTreeMap<String, String>) -> Option<(ScopedAddress, String)> {
    let address = options.get(ADDRESS)?.parse().ok()?;
    let network = match options.get(NETWORK) {
        Some(id) => NetworkId::from_hex(id)?,
        None => NetworkId::DEFAULT,
    };
    let lease_owner = options.get(LEASE_OWNER).cloned().unwrap_or_default();
    Some((ScopedAddress::new(network, address), lease_owner))
}

/// Returns all addresses that driver options of a connection promise to a container, and the owner of their leases.
pub fn promises(options: &BTreeMap<String, String>) -> Vec<(ScopedAddress, String)> {
    let Some((first, owner)) = promise(options) else {
        return Vec::new();
    };
    let second = options.get(SECOND).and_then(|text| text.parse().ok());
    let second = second.map(|address| (ScopedAddress::new(first.network, address), owner.clone()));
    core::iter::once((first, owner)).chain(second).collect()
}

/// Returns what an endpoint was to be, by the options that Docker keeps of its connection.
pub fn kept(options: &BTreeMap<String, String>) -> Option<EndpointOptions> {
    let lookup = |name: &str| options.get(name).map(|text| OptionValue::Text(text));
    parse(&lookup).ok().flatten()
}

/// Reads the `Options` of CreateEndpoint, where driver options stand beside Docker's own; none without an address.
///
/// # Errors
/// One line for the user, about the first option that cannot be used.
pub fn parse(options: OptionLookup<'_>) -> Result<Option<EndpointOptions>, String> {
    let Some(address) = text(options, ADDRESS)? else {
        return Ok(None);
    };
    let lease_owner = lease_owner(options)?;
    let second = text(options, SECOND)?.map(|text| match text.parse::<IpNet>() {
        Ok(address @ IpNet::V6(_)) => Ok(SecondAddress {
            address,
            lease_owner: lease_owner.clone(),
        }),
        _ => Err(format!(
            "{SECOND} is '{}'; it must be an IPv6 address like fd00::5/64",
            text.escape_debug()
        )),
    });
    Ok(Some(EndpointOptions {
        address: explicit(address)?,
        multicast: flag(options, MULTICAST)?,
        deferred: deferred(options)?,
        lease_owner,
        network: network(options)?,
        mac: None,
        second: second.transpose()?,
    }))
}

fn explicit(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<AddressArg>().and_then(AddressArg::explicit);
    address.map_err(|e| e.to_string())
}

fn network(options: OptionLookup<'_>) -> Result<NetworkId, String> {
    let Some(id) = text(options, NETWORK)? else {
        return Ok(NetworkId::DEFAULT);
    };
    NetworkId::from_hex(id).ok_or_else(|| {
        let id = id.escape_debug();
        format!(
            "{NETWORK} is '{id}'; it must be the id of a network, as `mesh network ls` shows it"
        )
    })
}

fn lease_owner(options: OptionLookup<'_>) -> Result<String, String> {
    let owner = text(options, LEASE_OWNER)?.unwrap_or_default();
    let is_sound = owner.len() <= MAX_LEASE_OWNER && !owner.chars().any(char::is_control);
    match is_sound {
        true => Ok(owner.to_owned()),
        false => Err(format!(
            "{LEASE_OWNER} is too long, or has control characters; leave it out"
        )),
    }
}

fn deferred(options: OptionLookup<'_>) -> Result<DeferredAddress, String> {
    let given = text(options, DEFERRED)?.unwrap_or("false");
    let found = DEFERRED_VALUES.iter().find(|(text, _)| *text == given);
    found
        .map(|(_, deferred)| *deferred)
        .ok_or_else(|| format!("{DEFERRED} is '{given}'; it must be true, false or subnet"))
}

fn flag(options: OptionLookup<'_>, name: &str) -> Result<bool, String> {
    match text(options, name)? {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(format!("{name} is '{other}'; it must be true or false")),
    }
}

fn text<'a>(options: OptionLookup<'a>, name: &str) -> Result<Option<&'a str>, String> {
    match options(name) {
        None => Ok(None),
        Some(OptionValue::Text(text)) => Ok(Some(text)),
        Some(OptionValue::Other) => Err(format!("{name} is not a text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<EndpointOptions>, String> {
        let find = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OptionValue::Text(value))
        };
        parse(&find)
    }

    #[test]
    fn what_is_formatted_is_parsed() {
        for address in ["10.2.1.1/24", "fd00::5/64"] {
            for (multicast, deferred) in [
                (true, DeferredAddress::No),
                (false, DeferredAddress::Whole),
                (false, DeferredAddress::Subnet),
            ] {
                let network = match multicast {
                    true => NetworkId([7; 16]),
                    false => NetworkId::DEFAULT,
                };
                let lease_owner = "docker:web:0123".to_owned();
                let second = multicast.then(|| SecondAddress {
                    address: "fd00::9/64".parse().unwrap(),
                    lease_owner: lease_owner.clone(),
                });
                let options = EndpointOptions {
                    second,
                    network,
                    address: address.parse().unwrap(),
                    multicast,
                    deferred,
                    lease_owner,
                    mac: None,
                };
                let formatted: BTreeMap<String, String> = format(&options).into_iter().collect();
                assert_eq!(kept(&formatted), Some(options.clone()));
                let all = promises(&formatted).into_iter().map(|(scoped, _)| scoped);
                assert_eq!(
                    all.collect::<Vec<_>>(),
                    options.all_scoped().collect::<Vec<_>>()
                );
                let promised = promise(&formatted);
                assert_eq!(formatted.contains_key(NETWORK), multicast);
                assert_eq!(promised, Some((options.scoped(), options.lease_owner)));
            }
        }
    }

    #[test]
    fn mistakes_are_explained() {
        assert_eq!(read(&[]), Ok(None));
        for (name, value) in [
            (ADDRESS, "10.2.1.0/24"),
            (ADDRESS, "net:default"),
            (ADDRESS, "x"),
        ] {
            assert!(read(&[(name, value)]).unwrap_err().contains(value));
        }
        let error = read(&[(ADDRESS, "10.2.1.1/24"), (MULTICAST, "yes")]).unwrap_err();
        assert_eq!(error, "mesh.multicast is 'yes'; it must be true or false");
        let error = read(&[(ADDRESS, "10.2.1.1/24"), (DEFERRED, "never")]).unwrap_err();
        assert_eq!(
            error,
            "mesh.late is 'never'; it must be true, false or subnet"
        );
        let error = read(&[(ADDRESS, "10.2.1.1/24"), (NETWORK, "web")]).unwrap_err();
        assert!(error.starts_with("mesh.network is 'web'"), "{error}");
        for second in ["10.2.1.2/24", "fd00::", "x"] {
            let error = read(&[(ADDRESS, "10.2.1.1/24"), (SECOND, second)]).unwrap_err();
            assert!(error.starts_with("mesh.address6 is"), "{error}");
        }
        let long = "x".repeat(MAX_LEASE_OWNER + 1);
        let error = read(&[(ADDRESS, "10.2.1.1/24"), (LEASE_OWNER, &long)]).unwrap_err();
        assert!(error.contains("too long"), "{error}");
        let error = parse(&|_| Some(OptionValue::Other)).unwrap_err();
        assert_eq!(error, "mesh.address is not a text");
    }
}
