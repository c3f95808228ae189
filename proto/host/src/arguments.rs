//! Arguments of the commands, and addresses as they are printed.

use core::time::Duration;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use mesh_proto::address::{AddressArg, AddressError};

/// Addresses that one command may give to a container.
pub(crate) const MAX_ADDRESSES: usize = 32;
/// Longest time of an allocation unless the caller says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest time that a caller may ask for.
const MAX_PATIENCE: Duration = Duration::from_secs(3_600);

/// Reason why an argument is not accepted; one line, ready to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// An address argument that cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// More addresses than one container may have.
    #[error("{given} addresses for one container; at most {most} are possible")]
    TooManyAddresses {
        /// The number of addresses.
        given: usize,
        /// The number that is possible.
        most: usize,
    },
    /// The default subnet, in another network.
    #[error("net:default is a subnet of the network default; leave out either it or --net")]
    DefaultSubnet,
    /// A time that is no time, or too long.
    #[error("--timeout {0}: must be 0 to {longest} seconds", longest = MAX_PATIENCE.as_secs())]
    Timeout(String),
}

/// Reads address arguments, each once, in order; none means any address of the default subnet.
///
/// # Errors
/// An address that cannot be used; too many.
pub fn parse_addresses(args: &[String]) -> Result<Vec<AddressArg>, ArgumentError> {
    let mut addresses: Vec<AddressArg> = Vec::new();
    for address in parse_each(args)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.len() {
        0 => Ok(vec![AddressArg::Default]),
        given if given > MAX_ADDRESSES => Err(ArgumentError::TooManyAddresses {
            given,
            most: MAX_ADDRESSES,
        }),
        _ => Ok(addresses),
    }
}

/// Reads address arguments as they are.
///
/// # Errors
/// An address that cannot be used.
pub fn parse_each(args: &[String]) -> Result<Vec<AddressArg>, ArgumentError> {
    let each = args.iter().map(|arg| arg.parse());
    Ok(each.collect::<Result<_, AddressError>>()?)
}

/// Returns the time that a request may take.
///
/// # Errors
/// [`ArgumentError::Timeout`].
pub fn patience(seconds: Option<f64>) -> Result<Duration, ArgumentError> {
    let Some(seconds) = seconds else {
        return Ok(PATIENCE);
    };
    let patience = Duration::try_from_secs_f64(seconds).ok();
    let patience = patience.filter(|patience| *patience <= MAX_PATIENCE);
    patience.ok_or_else(|| ArgumentError::Timeout(seconds.to_string()))
}

/// The meaning of an argument where addresses are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentMeaning {
    /// The address, in whatever subnet.
    Address(IpAddr),
    /// All addresses of the subnet.
    Subnet(IpNet),
}

impl ArgumentMeaning {
    /// Returns the meaning of arguments in a network other than `default`, where an address needs no prefix length.
    ///
    /// # Errors
    /// An address that cannot be used.
    pub fn parse_in(args: &[String]) -> Result<Vec<(Self, String)>, ArgumentError> {
        let meaning = |arg: &String| {
            let bare = arg.strip_prefix("ip:").unwrap_or(arg).parse::<IpAddr>();
            if let Ok(ip) = bare {
                return Ok((Self::Address(ip), ip.to_string()));
            }
            let arg: AddressArg = arg.parse()?;
            let shown = wanted(arg);
            match arg {
                AddressArg::Ip(ip) => Ok((Self::Address(ip.addr()), shown)),
                AddressArg::Net(net) => Ok((Self::Subnet(net), shown)),
                AddressArg::Default => Err(ArgumentError::DefaultSubnet),
            }
        };
        args.iter().map(meaning).collect()
    }

    /// Returns the meaning of an argument; `default_subnet` is asked for where it matters.
    ///
    /// # Errors
    /// Those of `default_subnet`.
    pub fn of<E>(
        arg: AddressArg,
        default_subnet: impl FnOnce() -> Result<Ipv4Net, E>,
    ) -> Result<Self, E> {
        Ok(match arg {
            AddressArg::Ip(ip) => Self::Address(ip.addr()),
            AddressArg::Net(net) => Self::Subnet(net),
            AddressArg::Default => Self::Subnet(default_subnet()?.into()),
        })
    }

    /// Returns true if an address is meant.
    pub fn covers(self, address: IpNet) -> bool {
        match self {
            Self::Address(ip) => address.addr() == ip,
            Self::Subnet(subnet) => address.trunc() == subnet,
        }
    }
}

/// Returns addresses as `attach` and `detach` print them.
pub fn texts(addresses: &[IpNet]) -> Vec<String> {
    addresses.iter().map(|a| a.addr().to_string()).collect()
}

/// Returns an argument as operators speak of it: an address without its subnet.
pub fn wanted(arg: AddressArg) -> String {
    match arg {
        AddressArg::Ip(ip) => ip.addr().to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_means_what_is_there() {
        let address = "10.2.1.1/24".parse().unwrap();
        let is_meant = |arg: &str| {
            let subnet = || Ok::<_, ArgumentError>("10.2.1.0/24".parse().unwrap());
            let meaning = ArgumentMeaning::of(arg.parse().unwrap(), subnet).unwrap();
            meaning.covers(address)
        };
        assert!(is_meant("10.2.1.1/24") && is_meant("10.2.1.1/16"));
        assert!(is_meant("net:10.2.1.0/24") && is_meant("net:default"));
        assert!(!is_meant("10.2.1.2/24") && !is_meant("net:10.2.0.0/16"));
    }

    #[test]
    fn the_time_to_wait_is_bounded() {
        assert_eq!(patience(None).unwrap(), PATIENCE);
        assert_eq!(patience(Some(0.5)).unwrap(), Duration::from_millis(500));
        for wrong in [-1.0, 3_601.0, f64::NAN] {
            assert!(patience(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
