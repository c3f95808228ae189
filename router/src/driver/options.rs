//! Driver options of an endpoint: what `mesh run` says to the driver through Docker. Docker keeps them with the
//! container, so they are the same after a restart.

use std::collections::BTreeMap;

use ipnet::IpNet;
use mesh_proto::address::AddressArg;
use serde_json::Value;

use crate::attach::{EndpointOptions, Late};

const ADDRESS: &str = "mesh.address";
const MULTICAST: &str = "mesh.multicast";
const LATE: &str = "mesh.late";
const HOLDER: &str = "mesh.holder";
/// Longest name under which an address is held.
const MAX_HOLDER: usize = mesh_proto::limits::MAX_CONTAINER_ID;
/// What [`LATE`] may say; absent is [`Late::No`].
const LATES: [(&str, Late); 3] = [
    ("false", Late::No),
    ("true", Late::Whole),
    ("subnet", Late::Subnet),
];

/// The options of one endpoint, in the order they are shown; `holder` is left out when it is empty.
pub(crate) fn format(
    address: IpNet,
    multicast: bool,
    late: Late,
    holder: &str,
) -> Vec<(String, String)> {
    let mut options = vec![
        (ADDRESS.to_owned(), address.to_string()),
        (MULTICAST.to_owned(), multicast.to_string()),
    ];
    for (text, _) in LATES.iter().filter(|l| late != Late::No && l.1 == late) {
        options.push((LATE.to_owned(), (*text).to_owned()));
    }
    if !holder.is_empty() {
        options.push((HOLDER.to_owned(), holder.to_owned()));
    }
    options
}

/// The address that driver options of a connection promise to a container, and under which name it is held.
pub(crate) fn promise(options: &BTreeMap<String, String>) -> Option<(IpNet, String)> {
    let address = options.get(ADDRESS)?.parse().ok()?;
    let holder = options.get(HOLDER).cloned().unwrap_or_default();
    Some((address, holder))
}

/// What an endpoint was to be by the options that Docker keeps of its connection.
pub(crate) fn kept(options: &BTreeMap<String, String>) -> Option<EndpointOptions> {
    let values = options.iter();
    let options = values.map(|(key, value)| (key.clone(), Value::from(value.clone())));
    parse(&options.collect()).ok().flatten()
}

/// Reads the `Options` of CreateEndpoint, where driver options stand beside Docker's own; none without an address. The
/// error is for the user.
pub(super) fn parse(options: &BTreeMap<String, Value>) -> Result<Option<EndpointOptions>, String> {
    let Some(address) = text(options, ADDRESS)? else {
        return Ok(None);
    };
    let address = address.parse::<AddressArg>().and_then(AddressArg::explicit);
    Ok(Some(EndpointOptions {
        address: address.map_err(|e| e.to_string())?,
        multicast: flag(options, MULTICAST)?,
        late: late(options)?,
        holder: holder(options)?,
    }))
}

fn holder(options: &BTreeMap<String, Value>) -> Result<String, String> {
    let holder = text(options, HOLDER)?.unwrap_or_default();
    let is_sound = holder.len() <= MAX_HOLDER && !holder.chars().any(char::is_control);
    match is_sound {
        true => Ok(holder.to_owned()),
        false => Err(format!(
            "{HOLDER} is too long, or has control characters; leave it out"
        )),
    }
}

fn late(options: &BTreeMap<String, Value>) -> Result<Late, String> {
    let given = text(options, LATE)?.unwrap_or("false");
    let found = LATES.iter().find(|(text, _)| *text == given);
    found
        .map(|(_, late)| *late)
        .ok_or_else(|| format!("{LATE} is '{given}'; it must be true, false or subnet"))
}

fn flag(options: &BTreeMap<String, Value>, name: &str) -> Result<bool, String> {
    match text(options, name)? {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(format!("{name} is '{other}'; it must be true or false")),
    }
}

fn text<'a>(options: &'a BTreeMap<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match options.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} is not a text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, Value> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), Value::from(*v)))
            .collect()
    }

    #[test]
    fn what_is_formatted_is_parsed() {
        for address in ["10.2.1.1/24", "fd00::5/64"] {
            for (multicast, late) in [
                (true, Late::No),
                (false, Late::Whole),
                (false, Late::Subnet),
            ] {
                let address = address.parse().unwrap();
                let holder = "docker:web:0123".to_owned();
                let formatted = format(address, multicast, late, &holder).into_iter();
                let options = formatted.map(|(k, v)| (k, Value::from(v))).collect();
                assert_eq!(
                    parse(&options),
                    Ok(Some(EndpointOptions {
                        address,
                        multicast,
                        late,
                        holder
                    }))
                );
            }
        }
    }

    #[test]
    fn mistakes_are_explained() {
        assert_eq!(parse(&map(&[])), Ok(None));
        for (name, value) in [
            (ADDRESS, "10.2.1.0/24"),
            (ADDRESS, "net:default"),
            (ADDRESS, "x"),
        ] {
            assert!(parse(&map(&[(name, value)])).unwrap_err().contains(value));
        }
        let error = parse(&map(&[(ADDRESS, "10.2.1.1/24"), (MULTICAST, "yes")])).unwrap_err();
        assert_eq!(error, "mesh.multicast is 'yes'; it must be true or false");
        let error = parse(&map(&[(ADDRESS, "10.2.1.1/24"), (LATE, "never")])).unwrap_err();
        assert_eq!(
            error,
            "mesh.late is 'never'; it must be true, false or subnet"
        );
        let long = "x".repeat(MAX_HOLDER + 1);
        let error = parse(&map(&[(ADDRESS, "10.2.1.1/24"), (HOLDER, &long)])).unwrap_err();
        assert!(error.contains("too long"), "{error}");
        let mut options = map(&[]);
        options.insert(ADDRESS.into(), Value::from(7));
        assert_eq!(parse(&options).unwrap_err(), "mesh.address is not a text");
    }
}
