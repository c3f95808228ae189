//! Subject of a question, as given by its name alone.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::name::Domain;
use super::statement::ServiceProtocol;

/// Subject of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject<'a> {
    /// The domain of the mesh itself.
    Domain,
    /// Name in the domain, without the domain.
    Name(&'a str),
    /// Single label, written without the domain.
    Single(&'a str),
    /// `_service._transport.name` in the domain: name of the service or port number, transport, and name.
    Service(&'a str, ServiceProtocol, &'a str),
    /// Name that leads to one address: `10-2-1-1.web`, as name and address.
    Address(&'a str, IpAddr),
    /// `localhost`, or below it (RFC 6761 section 6.3).
    Localhost,
    /// Reverse name of this address.
    Reverse(IpAddr),
    /// Any other name.
    Outside,
}

impl<'a> Subject<'a> {
    /// Returns the subject of `name`: lower case, without the final dot, empty for the root. Bytes that no name of
    /// the mesh has must have been replaced by `?`.
    pub(super) fn of(name: &'a str, domain: &Domain) -> Self {
        if name == domain.as_str() {
            return Self::Domain;
        }
        if let Some(relative) = domain.strip(name) {
            return inside(relative);
        }
        if name == "localhost" || name.ends_with(".localhost") {
            return Self::Localhost;
        }
        if let Some(ip) = reverse(name) {
            return Self::Reverse(ip);
        }
        match name.is_empty() || name.contains('.') {
            true => Self::Outside,
            false => Self::Single(name),
        }
    }
}

fn inside(relative: &str) -> Subject<'_> {
    service(relative)
        .or_else(|| address(relative))
        .unwrap_or(Subject::Name(relative))
}

fn service(relative: &str) -> Option<Subject<'_>> {
    let (service, rest) = relative.strip_prefix('_')?.split_once('.')?;
    let (transport, name) = rest.split_once('.')?;
    let known = [
        ServiceProtocol::Tcp,
        ServiceProtocol::Udp,
        ServiceProtocol::Sctp,
    ];
    let transport = known.into_iter().find(|t| t.label() == transport)?;
    Some(Subject::Service(service, transport, name))
}

/// Returns the label of an address in front of a name.
pub(super) fn address_label(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string().replace('.', "-"),
        // Without `::`, which would give labels that begin or end with a hyphen.
        IpAddr::V6(v6) => {
            let groups = v6.segments().map(|group| format!("{group:x}"));
            groups.join("-")
        }
    }
}

fn address(relative: &str) -> Option<Subject<'_>> {
    let (label, name) = relative.split_once('.')?;
    let parts = || label.split('-');
    let ip: IpAddr = match parts().count() {
        4 => label.replace('-', ".").parse::<Ipv4Addr>().ok()?.into(),
        8 => label.replace('-', ":").parse::<Ipv6Addr>().ok()?.into(),
        _ => return None,
    };
    Some(Subject::Address(name, ip))
}

/// Parses a name below `in-addr.arpa` or `ip6.arpa`.
fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(v4) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0; 4];
        let mut labels = v4.split('.');
        for octet in octets.iter_mut().rev() {
            *octet = decimal(labels.next()?)?;
        }
        return labels
            .next()
            .is_none()
            .then(|| Ipv4Addr::from(octets).into());
    }
    let v6 = name.strip_suffix(".ip6.arpa")?;
    let mut bits = 0u128;
    let mut labels = v6.split('.');
    for shift in (0..32).map(|i| 4 * i) {
        let label = labels.next().filter(|l| l.len() == 1)?;
        let digit = label.chars().next()?.to_digit(16)?;
        bits |= u128::from(digit) << shift;
    }
    labels.next().is_none().then(|| Ipv6Addr::from(bits).into())
}

/// Parses a number from 0 to 255 without sign and leading zeros.
fn decimal(label: &str) -> Option<u8> {
    let number: u8 = label.parse().ok()?;
    (number.to_string() == label).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(name: &str) -> Subject<'_> {
        static DOMAIN: std::sync::LazyLock<Domain> =
            std::sync::LazyLock::new(|| Domain::parse("mesh.local").unwrap());
        Subject::of(name, &DOMAIN)
    }

    #[test]
    fn the_subject_of_each_form_of_name() {
        assert_eq!(of("mesh.local"), Subject::Domain);
        assert_eq!(of("web.mesh.local"), Subject::Name("web"));
        assert_eq!(of("a.b.mesh.local"), Subject::Name("a.b"));
        assert_eq!(of("web"), Subject::Single("web"));
        assert_eq!(of(""), Subject::Outside);
        assert_eq!(of("local"), Subject::Single("local"));
        assert_eq!(of("xmesh.local"), Subject::Outside);
        assert_eq!(of("example.org"), Subject::Outside);
        assert_eq!(of("localhost"), Subject::Localhost);
        assert_eq!(of("a.localhost"), Subject::Localhost);
        assert_eq!(
            of("_http._tcp.web.mesh.local"),
            Subject::Service("http", ServiceProtocol::Tcp, "web")
        );
        assert_eq!(of("_http._x.web.mesh.local"), Subject::Name("_http._x.web"));
        assert_eq!(of("_tcp.web.mesh.local"), Subject::Name("_tcp.web"));
        let ip: IpAddr = "10.2.1.1".parse().unwrap();
        assert_eq!(of("10-2-1-1.web.mesh.local"), Subject::Address("web", ip));
        assert_eq!(of("10-2-1.web.mesh.local"), Subject::Name("10-2-1.web"));
    }

    #[test]
    fn reverse_names() {
        let ip = |text: &str| Subject::Reverse(text.parse().unwrap());
        assert_eq!(of("1.1.2.10.in-addr.arpa"), ip("10.2.1.1"));
        for partial in [
            "1.2.10.in-addr.arpa",
            "1.1.1.2.10.in-addr.arpa",
            "01.1.2.10.in-addr.arpa",
            "256.1.2.10.in-addr.arpa",
            "in-addr.arpa",
            "1.ip6.arpa",
        ] {
            assert_eq!(of(partial), Subject::Outside, "{partial}");
        }
    }

    proptest! {
        #[test]
        fn reverse_names_of_any_address_are_read(bits: u128) {
            let ip = Ipv6Addr::from(bits);
            let hex = format!("{bits:032x}");
            let labels: Vec<String> = hex.chars().rev().map(String::from).collect();
            let name = format!("{}.ip6.arpa", labels.join("."));
            prop_assert_eq!(of(&name), Subject::Reverse(ip.into()));
        }

        #[test]
        fn labels_of_addresses_lead_back(v4: u32, v6: u128) {
            for ip in [IpAddr::from(Ipv4Addr::from(v4)), IpAddr::from(Ipv6Addr::from(v6))] {
                let name = format!("{}.web.mesh.local", address_label(ip));
                prop_assert_eq!(of(&name), Subject::Address("web", ip));
            }
        }

        #[test]
        fn any_name_is_about_something(name in "[?a-z0-9_.-]{0,80}") {
            let _ = of(&name);
        }
    }
}
