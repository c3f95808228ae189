//! Address arguments: the leading ones of `run`, `attach` and their like.

use anyhow::bail;
use mesh_proto::address::AddressArg;

/// Splits leading address arguments from what follows them.
pub(crate) fn split(rest: &[String]) -> (&[String], &[String]) {
    let is_other = |arg: &String| !AddressArg::looks_like(arg);
    let end = rest.iter().position(is_other).unwrap_or(rest.len());
    rest.split_at(end)
}

/// Checks that each of `addresses` is an address or a subnet, so that a typing mistake is told before anything happens.
pub(crate) fn check(addresses: &[String]) -> anyhow::Result<()> {
    for address in addresses {
        address.parse::<AddressArg>()?;
    }
    Ok(())
}

/// Refuses an image, or a command, that is an address in the wrong place.
pub(crate) fn check_image(image: &str) -> anyhow::Result<()> {
    if AddressArg::looks_like(image) {
        bail!("'{image}' is an address, and addresses come first, before the engine's flags");
    }
    Ok(())
}

/// The container of `[addr…] ctr`.
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
