//! Address arguments: the leading arguments of `run`, `attach`, `start` and so on.

use anyhow::bail;
use mesh_proto::address::AddressArg;

/// Splits the leading address arguments from the arguments after them.
pub(crate) fn split(rest: &[String]) -> (&[String], &[String]) {
    let is_other = |arg: &String| !AddressArg::looks_like(arg);
    let end = rest.iter().position(is_other).unwrap_or(rest.len());
    rest.split_at(end)
}

/// Checks that each of `addresses` is an address or a subnet, so that a typo is reported before anything is done.
pub(crate) fn check(addresses: &[String]) -> anyhow::Result<()> {
    for address in addresses {
        address.parse::<AddressArg>()?;
    }
    Ok(())
}

/// Refuses an image or a command that looks like an address: addresses come first.
pub(crate) fn check_image(image: &str) -> anyhow::Result<()> {
    if AddressArg::looks_like(image) {
        bail!("'{image}' is an address, and addresses come first, before the engine's flags");
    }
    Ok(())
}

/// Returns the container of `[addr…] ctr`: the only argument after the addresses.
pub(crate) fn only_container(after: &[String]) -> anyhow::Result<&str> {
    match after {
        [container] => Ok(container),
        [] => bail!("no container: give its name or id after the addresses"),
        [first, ..] => bail!(
            "'{first}' is not an address, and only the last argument is a container; write addresses like 10.2.1.1/24"
        ),
    }
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

    #[test]
    fn one_container() {
        assert_eq!(only_container(&strings(&["web"])).unwrap(), "web");
        assert!(only_container(&[]).is_err());
        assert!(only_container(&strings(&["web", "db"])).is_err());
    }
}
