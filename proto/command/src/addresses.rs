//! Address arguments: the leading arguments of `run`, `attach`, `start` and so on.

use mesh_proto::address::AddressArg;

use crate::CommandError;
use crate::args::NetArg;

/// Splits the leading address arguments from the arguments after them.
pub fn split(rest: &[String]) -> (&[String], &[String]) {
    let is_other = |arg: &String| !AddressArg::looks_like(arg);
    let end = rest.iter().position(is_other).unwrap_or(rest.len());
    rest.split_at(end)
}

/// Checks that each of `addresses` is an address or a subnet, so that a typo is reported before anything is done.
///
/// # Errors
/// Fails at the first that is not.
pub fn check(addresses: &[String]) -> Result<(), CommandError> {
    for address in addresses {
        address.parse::<AddressArg>()?;
    }
    Ok(())
}

/// Checks like [`check`] for a network of the mesh that knows the prefix lengths of its subnets: an address may come without
/// one.
///
/// # Errors
/// Fails at the first that is not an address or a subnet.
pub fn check_in(network: &NetArg, addresses: &[String]) -> Result<(), CommandError> {
    let is_bare = |text: &str| {
        let text = text.strip_prefix("ip:").unwrap_or(text);
        text.parse::<std::net::IpAddr>().is_ok()
    };
    for address in addresses {
        if !(network.knows_prefixes() && is_bare(address)) {
            address.parse::<AddressArg>()?;
        }
    }
    Ok(())
}

/// Refuses an image or a command that looks like an address: addresses come first.
///
/// # Errors
/// Fails for an address.
pub fn check_image(image: &str) -> Result<(), CommandError> {
    if AddressArg::looks_like(image) {
        return Err(CommandError::ImageIsAddress(image.to_owned()));
    }
    Ok(())
}

/// Splits `[addr…] ctr`: the container is the only argument after the addresses.
///
/// # Errors
/// Fails if an address is none, or if there is not one container.
pub fn with_container<'a>(
    network: &NetArg,
    rest: &'a [String],
) -> Result<(&'a [String], &'a str), CommandError> {
    let (addresses, after) = split(rest);
    let container = match after {
        [container] => container.as_str(),
        [] => return Err(CommandError::NoContainer),
        [first, ..] => return Err(CommandError::NotAnAddress(first.clone())),
    };
    check_in(network, addresses)?;
    Ok((addresses, container))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(args: &[&str]) -> Vec<String> {
        args.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn leading_addresses_are_eaten_and_nothing_else() {
        let rest = strings(&[
            "10.2.1.1/24",
            "ip:10.2.2.1/24",
            "-ti",
            "u",
            "ping",
            "10.2.1.2",
        ]);
        let (addresses, after) = split(&rest);
        assert_eq!(addresses, &rest[..2]);
        assert_eq!(after, &rest[2..]);
        assert_eq!(split(&rest[2..]).0.len(), 0);
        assert_eq!(split(&[]), (&[][..], &[][..]));
    }

    #[test]
    fn mistakes_are_told() {
        let told = |args: &[&str]| check(&strings(args)).unwrap_err().to_string();
        assert!(told(&["10.2.1.1/24", "10.2.1.1"]).contains("no prefix length"));
        assert!(told(&["net:10.2.1.1/24"]).contains("host bits set"));
        let fine = [
            "10.2.1.1/24",
            "net:default",
            "net:10.2.0.0/16",
            "ip:10.2.1.2/24",
        ];
        assert!(check(&strings(&fine)).is_ok() && check(&[]).is_ok());
    }

    fn net(name: Option<&str>) -> NetArg {
        NetArg {
            net: name.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn a_network_knows_the_prefix_lengths_of_its_addresses() {
        let web = net(Some("web"));
        let bare = strings(&["10.40.0.1", "ip:10.40.0.2", "fd40::1", "10.40.0.3/16"]);
        assert_eq!(check_in(&web, &bare), Ok(()));
        for default in [net(None), net(Some("default"))] {
            assert!(check_in(&default, &bare).is_err());
        }
        for bad in ["10.40.0.300", "net:10.40.0.1", "10.40.0.0/16", "ip:", ""] {
            assert!(check_in(&web, &strings(&[bad])).is_err(), "{bad}");
        }
        let rest = strings(&["10.40.0.1", "db"]);
        assert_eq!(with_container(&web, &rest), Ok((&rest[..1], "db")));
    }

    #[test]
    fn one_container() {
        fn with_container(rest: &[String]) -> Result<(&[String], &str), CommandError> {
            super::with_container(&net(None), rest)
        }
        let web = strings(&["10.2.1.1/24", "web"]);
        assert_eq!(with_container(&web), Ok((&web[..1], "web")));
        assert_eq!(with_container(&[]), Err(CommandError::NoContainer));
        let two = strings(&["web", "db"]);
        let error = CommandError::NotAnAddress("web".to_owned());
        assert_eq!(with_container(&two), Err(error));
        assert!(with_container(&strings(&["10.2.1.1", "web"])).is_err());
    }
}
