//! What is wanted of the firewall while the host is exposed, and the rules that say so.

use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    /// Subnets in which the host has an address on the bridge.
    pub subnets: BTreeSet<IpNet>,
    /// Of these, those whose addresses are translated on the way to and from elsewhere.
    pub masqueraded: BTreeSet<IpNet>,
    /// More subnets of the mesh: what comes from there into the mesh is not translated either.
    pub inside: BTreeSet<IpNet>,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

pub(super) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

impl Family {
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }

    fn has(self, net: &IpNet) -> bool {
        (self == Self::V4) == matches!(net, IpNet::V4(_))
    }
}

/// What is wanted of one IP version; subnets that contain one another are one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) subnets: Vec<IpNet>,
    pub(super) masqueraded: Vec<IpNet>,
    inside: Vec<IpNet>,
}

impl Exposure {
    pub(super) fn of(&self, family: Family) -> Part {
        let some = |nets: &BTreeSet<IpNet>| -> Vec<IpNet> {
            let nets = nets.iter().filter(|net| family.has(net)).map(IpNet::trunc);
            merged(&nets.collect::<Vec<_>>())
        };
        let subnets = some(&self.subnets);
        let all: BTreeSet<IpNet> = self.subnets.union(&self.inside).copied().collect();
        Part {
            masqueraded: some(&self.masqueraded),
            inside: some(&all),
            subnets,
        }
    }
}

/// Without those that lie in others. Neighbours stay apart, so that operators find what they gave.
fn merged(nets: &[IpNet]) -> Vec<IpNet> {
    let outer = |net: &IpNet| {
        !nets
            .iter()
            .any(|other| other != net && contains(other, net))
    };
    nets.iter().copied().filter(outer).collect()
}

fn contains(outer: &IpNet, inner: &IpNet) -> bool {
    match (outer, inner) {
        (IpNet::V4(o), IpNet::V4(i)) => Ipv4Net::contains(o, i),
        (IpNet::V6(o), IpNet::V6(i)) => Ipv6Net::contains(o, i),
        _ => false,
    }
}

impl Part {
    /// The content of our table.
    pub(super) fn nft(&self, family: Family, bridge: &str) -> String {
        let ip = match family {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        };
        let mut lines = vec!["type nat hook postrouting priority 100; policy accept;".to_owned()];
        for net in &self.inside {
            lines.push(format!("{ip} saddr {net} oifname \"{bridge}\" return"));
        }
        for net in &self.masqueraded {
            lines.push(format!(
                "{ip} saddr {net} oifname != \"{bridge}\" masquerade"
            ));
            lines.push(format!("{ip} daddr {net} oifname \"{bridge}\" masquerade"));
        }
        let lines: Vec<String> = lines.iter().map(|line| format!("    {line}\n")).collect();
        format!("  chain postrouting {{\n{}  }}\n", lines.concat())
    }

    /// The same for `iptables`.
    pub(super) fn nat(&self, bridge: &str) -> Vec<String> {
        let inside = self.inside.iter();
        let mut rules: Vec<String> = inside
            .map(|net| format!("-s {net} -o {bridge} -j RETURN"))
            .collect();
        for net in &self.masqueraded {
            rules.push(format!("-s {net} ! -o {bridge} -j MASQUERADE"));
            rules.push(format!("-d {net} -o {bridge} -j MASQUERADE"));
        }
        rules
    }

    /// What the host may forward.
    pub(super) fn filter(&self, bridge: &str) -> Vec<String> {
        let both = self.subnets.iter().flat_map(|net| {
            [
                format!("-s {net} -i {bridge} -j ACCEPT"),
                format!("-d {net} -o {bridge} -j ACCEPT"),
            ]
        });
        both.collect()
    }
}
