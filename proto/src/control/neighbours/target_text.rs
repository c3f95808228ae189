//! Targets as operators type them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Address to dial: the shell resolves names, again at each try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialTo {
    /// A host name or address with a port.
    Name {
        /// Name, or a link-local address with its interface (`fe80::1%eth0`).
        host: String,
        /// TCP port.
        port: u16,
    },
    /// One address.
    Address(SocketAddr),
}

/// Splits a target as typed into host and port: `host`, `host:port`, `1.2.3.4:5`, `::1`, `[::1]:5`, `fe80::1%eth0`,
/// `[fe80::1%eth0]:5`.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_target(text: &str, default_port: u16) -> Result<DialTo, String> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return socket_address(text, addr);
    }
    let (bare, port) = match text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        None => (text, None),
        Some((bare, "")) => (bare, None),
        Some((bare, rest)) => match rest.strip_prefix(':') {
            Some(port) => (bare, Some(port)),
            None => return Err(bad(text, "behind ']' there is no port")),
        },
    };
    if let Some((ip, zone)) = bare.split_once('%') {
        let port = port.map_or(Ok(default_port), str::parse);
        zoned(bare, (ip, zone), port.ok()).map_err(|why| bad(text, why))
    } else if let (Ok(ip), None) = (bare.parse(), port) {
        match ip {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Err(needs_zone(text, ip)),
            _ => Ok(DialTo::Address(SocketAddr::new(ip, default_port))),
        }
    } else {
        host_name(text, default_port).map_err(|why| bad(text, why))
    }
}

fn socket_address(text: &str, addr: SocketAddr) -> Result<DialTo, String> {
    let zone = matches!(addr, SocketAddr::V6(v6) if v6.scope_id() != 0);
    match addr.ip() {
        _ if addr.port() == 0 => Err(bad(text, "port 0")),
        IpAddr::V6(ip) if ip.is_unicast_link_local() && !zone => Err(needs_zone(text, ip)),
        _ => Ok(DialTo::Address(addr)),
    }
}

/// Parses an address with the interface behind it; `port` is `None` if it is no number.
fn zoned(bare: &str, (ip, zone): (&str, &str), port: Option<u16>) -> Result<DialTo, &'static str> {
    match (ip.parse::<Ipv6Addr>(), port) {
        (Err(_), _) => Err("only an IPv6 address has an interface behind '%'"),
        (Ok(ip), _) if !ip.is_unicast_link_local() => {
            Err("only a link-local address (fe80::…) has an interface behind '%'")
        }
        _ if !is_interface(zone) => Err("what follows '%' is not the name of an interface"),
        (_, None | Some(0)) => Err("the part after ':' is not a port"),
        // Only the host knows the number of the interface.
        (_, Some(port)) => Ok(DialTo::Name {
            host: bare.to_owned(),
            port,
        }),
    }
}

fn host_name(text: &str, default_port: u16) -> Result<DialTo, &'static str> {
    let (host, port) = match text.rsplit_once(':') {
        None => (text, default_port),
        Some((host, port)) => match port.parse() {
            Ok(port) if port != 0 => (host, port),
            _ => return Err("the part after ':' is not a port"),
        },
    };
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if host.is_empty()
        || host.len() > 253
        || !host.bytes().all(valid)
        || host.starts_with(['-', '.'])
    {
        return Err("not a host name");
    }
    // 10.2.1.300 and 10.2.1 would go to the resolver, which knows neither or takes them for something else.
    if host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err("not an IPv4 address");
    }
    Ok(DialTo::Name {
        host: host.to_owned(),
        port,
    })
}

fn bad(text: &str, why: &str) -> String {
    format!("'{text}' is not a peer: {why}; write host or host:port")
}

fn needs_zone(text: &str, ip: Ipv6Addr) -> String {
    format!(
        "'{text}' is not a peer: a link-local address is one of each interface; say which, as in {ip}%eth0"
    )
}

/// Returns true if an interface may be named so: 1 to 15 bytes, neither '/' nor ':' nor white space (dev_valid_name of the kernel).
fn is_interface(zone: &str) -> bool {
    let valid = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%' | b'[' | b']');
    (1..=15).contains(&zone.len()) && zone.bytes().all(valid)
}
