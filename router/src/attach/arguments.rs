//! Arguments of the commands, and addresses as they are printed.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use mesh_proto::address::{AddressArg, AddressError};

use super::AttachmentError;

/// Addresses that one command may give to a container.
const MAX_ADDRESSES: usize = 32;
/// Longest time of an allocation unless the caller says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest time that a caller may ask for.
const MAX_PATIENCE: Duration = Duration::from_secs(3_600);

/// Reads address arguments, each once, in order; none means any address of the default subnet.
pub(super) fn parse_addresses(args: &[String]) -> Result<Vec<AddressArg>, AttachmentError> {
    let mut addresses: Vec<AddressArg> = Vec::new();
    for address in parse_each(args)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.len() {
        0 => Ok(vec![AddressArg::Default]),
        given if given > MAX_ADDRESSES => Err(AttachmentError::TooManyAddresses {
            given,
            most: MAX_ADDRESSES,
        }),
        _ => Ok(addresses),
    }
}

/// Reads address arguments as they are.
pub(super) fn parse_each(args: &[String]) -> Result<Vec<AddressArg>, AddressError> {
    args.iter().map(|arg| arg.parse()).collect()
}

/// Returns the time that a request may take.
pub(super) fn patience(seconds: Option<f64>) -> Result<Duration, AttachmentError> {
    let Some(seconds) = seconds else {
        return Ok(PATIENCE);
    };
    let patience = Duration::try_from_secs_f64(seconds).ok();
    let patience = patience.filter(|patience| *patience <= MAX_PATIENCE);
    patience.ok_or_else(|| {
        let longest = MAX_PATIENCE.as_secs();
        AttachmentError::Invalid(format!(
            "--timeout {seconds}: must be 0 to {longest} seconds"
        ))
    })
}

/// The meaning of an argument where addresses are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArgumentMeaning {
    /// The address, in whatever subnet.
    Address(IpAddr),
    /// All addresses of the subnet.
    Subnet(IpNet),
}

impl ArgumentMeaning {
    /// Returns the meaning of an argument; `default_subnet` is asked for where it matters.
    pub(super) fn of(
        arg: AddressArg,
        default_subnet: impl FnOnce() -> Result<Ipv4Net, AttachmentError>,
    ) -> Result<Self, AttachmentError> {
        Ok(match arg {
            AddressArg::Ip(ip) => Self::Address(ip.addr()),
            AddressArg::Net(net) => Self::Subnet(net),
            AddressArg::Default => Self::Subnet(default_subnet()?.into()),
        })
    }

    /// Returns whether an address is meant.
    pub(super) fn covers(self, address: IpNet) -> bool {
        match self {
            Self::Address(ip) => address.addr() == ip,
            Self::Subnet(subnet) => address.trunc() == subnet,
        }
    }
}

/// Returns addresses as `attach` and `detach` print them.
pub(super) fn texts(addresses: &[IpNet]) -> Vec<String> {
    addresses.iter().map(|a| a.addr().to_string()).collect()
}

/// Returns an argument as operators speak of it: an address without its subnet.
pub(super) fn wanted(arg: AddressArg) -> String {
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
            let subnet = || Ok("10.2.1.0/24".parse().unwrap());
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
