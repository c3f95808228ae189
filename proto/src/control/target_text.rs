//! Targets as operators type them.

use std::net::SocketAddr;

/// Where to dial: the shell resolves names, again at each try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialTo {
    /// A host name or address with a port.
    Name {
        /// Name or literal address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// One address.
    Address(SocketAddr),
}

/// Splits a target as typed into host and port: `host`, `host:port`, `1.2.3.4:5`, `::1`, `[::1]:5`.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_target(text: &str, default_port: u16) -> Result<DialTo, String> {
    let bad = |why: &str| {
        Err(format!(
            "'{text}' is not a peer: {why}; write host or host:port"
        ))
    };
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return if addr.port() == 0 {
            bad("port 0")
        } else {
            Ok(DialTo::Address(addr))
        };
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(ip) = bare.parse() {
        return Ok(DialTo::Address(SocketAddr::new(ip, default_port)));
    }
    let (host, port) = match text.rsplit_once(':') {
        None => (text, default_port),
        Some((host, port)) => match port.parse() {
            Ok(port) if port != 0 => (host, port),
            _ => return bad("the part after ':' is not a port"),
        },
    };
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if host.is_empty()
        || host.len() > 253
        || !host.bytes().all(valid)
        || host.starts_with(['-', '.'])
    {
        return bad("not a host name");
    }
    // 10.2.1.300 and 10.2.1 would go to the resolver, which knows neither or takes them for something else.
    if host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return bad("not an IPv4 address");
    }
    Ok(DialTo::Name {
        host: host.to_owned(),
        port,
    })
}
