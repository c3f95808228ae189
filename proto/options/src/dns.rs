//! Settings of name resolution, checked.

use std::net::{IpAddr, SocketAddr};

use mesh_names::Domain;

use crate::error::{SettingsError, refuse};

/// Default of `--dns-domain`.
const DEFAULT_DOMAIN: &str = "mesh.local";
/// Default of `--dns-ttl`, in seconds. A client may use the address of a removed container for so long.
const DEFAULT_TTL: u32 = 1;
/// Largest TTL in seconds: a day.
const MAX_TTL: u32 = 86_400;
/// Port of DNS.
pub const DNS_PORT: u16 = 53;

/// Settings of name resolution on this host.
#[derive(Clone, Debug)]
pub struct DnsSettings {
    /// True if a user started the router and sees its errors.
    pub by_hand: bool,
    /// True if there is a server. The names of this host's containers are announced in any case.
    pub enabled: bool,
    /// The domain of the mesh.
    pub domain: Domain,
    /// TTL of answers, in seconds.
    pub ttl: u32,
    /// Addresses to listen on; empty for the address of Docker's bridge.
    pub listen: Vec<SocketAddr>,
}

/// Settings as typed.
pub(super) struct DnsOptions<'a> {
    pub(super) off: bool,
    pub(super) domain: Option<&'a str>,
    pub(super) ttl: Option<u32>,
    pub(super) listen: &'a [String],
}

impl DnsSettings {
    /// Fills in defaults and checks.
    ///
    /// # Errors
    /// One line that names the option and the problem.
    pub(super) fn settle(typed: &DnsOptions<'_>) -> Result<Self, SettingsError> {
        let domain = typed.domain.unwrap_or(DEFAULT_DOMAIN);
        let domain = Domain::parse(domain)
            .map_err(|error| SettingsError(format!("--dns-domain: {error}")))?;
        let ttl = typed.ttl.unwrap_or(DEFAULT_TTL);
        if ttl > MAX_TTL {
            refuse!("--dns-ttl {ttl}: must be 0 to {MAX_TTL} seconds");
        }
        if typed.off && !typed.listen.is_empty() {
            refuse!("--no-dns and --dns-listen contradict one another; leave one out");
        }
        let listen = typed.listen.iter().map(|text| address(text));
        Ok(Self {
            by_hand: false,
            enabled: !typed.off,
            domain,
            ttl,
            listen: listen.collect::<Result<_, _>>()?,
        })
    }
}

fn address(text: &str) -> Result<SocketAddr, SettingsError> {
    let with_port = text.parse::<SocketAddr>();
    let alone = |_| {
        text.parse::<IpAddr>()
            .map(|ip| SocketAddr::new(ip, DNS_PORT))
    };
    let Ok(address) = with_port.or_else(alone) else {
        refuse!("--dns-listen {text}: must be an address of this host, like 172.17.0.1");
    };
    // Replies would leave from an address that the system chooses, and clients would drop them.
    if address.ip().is_unspecified() || address.port() == 0 {
        refuse!("--dns-listen {text}: must be one address and port; give the option several times");
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(off: bool, domain: Option<&str>, ttl: Option<u32>, listen: &[&str]) -> String {
        let listen: Vec<String> = listen.iter().map(ToString::to_string).collect();
        let typed = DnsOptions {
            off,
            domain,
            ttl,
            listen: &listen,
        };
        match DnsSettings::settle(&typed) {
            Ok(s) => format!("{} {} {} {:?}", s.enabled, s.domain, s.ttl, s.listen),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn defaults_and_what_was_typed() {
        assert_eq!(settle(false, None, None, &[]), "true mesh.local 1 []");
        let typed = settle(
            false,
            Some("Corp.Example."),
            Some(0),
            &["10.0.0.1", "[fd00::1]:5353"],
        );
        assert_eq!(typed, "true corp.example 0 [10.0.0.1:53, [fd00::1]:5353]");
    }

    #[test]
    fn mistakes_are_named() {
        for (said, about) in [
            (settle(false, Some("a b"), None, &[]), "--dns-domain"),
            (settle(false, None, Some(86_401), &[]), "--dns-ttl 86401"),
            (settle(false, None, None, &["eth0"]), "--dns-listen eth0"),
            (settle(false, None, None, &["0.0.0.0"]), "one address"),
            (settle(true, None, None, &["10.0.0.1"]), "--no-dns"),
        ] {
            assert!(said.contains(about), "{said}");
        }
    }
}
