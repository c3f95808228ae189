//! Wanted state of the firewall while the host is exposed, and the rules for it.

use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mesh_proto::ids::Mac;

/// Wanted state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    /// Subnets in which the host has an address on the bridge.
    pub subnets: BTreeSet<IpNet>,
    /// Those of `subnets` whose addresses are translated for traffic to and from networks outside the mesh.
    pub masqueraded: BTreeSet<IpNet>,
    /// Further subnets of the mesh, whose traffic into the mesh is not translated either.
    pub inside: BTreeSet<IpNet>,
    /// Those of `subnets` that the host forwards from and to anywhere. For the others it forwards neither to other
    /// subnets of the mesh nor to and from the bridges in `unjoined`.
    pub open: BTreeSet<IpNet>,
    /// Other bridges of the host, with containers on them.
    pub unjoined: BTreeSet<String>,
    /// MAC of the bridge: frames to it that leave by the bridge again are routed, not bridged.
    pub mac: Option<Mac>,
}

/// Prefixes of the interfaces by which a host routes to single containers without a bridge: Calico, Cilium,
/// systemd-nspawn.
const ROUTED_TO_CONTAINERS: [&str; 3] = ["cali", "lxc", "ve-"];

/// IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirewallFamily {
    V4,
    V6,
}

pub(super) const IP_VERSIONS: [FirewallFamily; 2] = [FirewallFamily::V4, FirewallFamily::V6];

impl FirewallFamily {
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

/// Wanted state for one IP version; subnets contained in others are merged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) subnets: Vec<IpNet>,
    pub(super) masqueraded: Vec<IpNet>,
    inside: Vec<IpNet>,
    open: Vec<IpNet>,
    unjoined: Vec<String>,
    mac: Option<Mac>,
}

impl Exposure {
    pub(super) fn of(&self, family: FirewallFamily) -> Part {
        let some = |nets: &BTreeSet<IpNet>| -> Vec<IpNet> {
            let nets = nets.iter().filter(|net| family.has(net)).map(IpNet::trunc);
            merged(&nets.collect::<Vec<_>>())
        };
        let subnets = some(&self.subnets);
        let all: BTreeSet<IpNet> = self.subnets.union(&self.inside).copied().collect();
        Part {
            masqueraded: some(&self.masqueraded),
            inside: some(&all),
            open: some(&self.open),
            unjoined: self
                .unjoined
                .iter()
                .filter(|n| is_plain(n))
                .cloned()
                .collect(),
            mac: self.mac,
            subnets,
        }
    }
}

/// Returns true if the name has no characters that firewalls take for patterns or quotes.
fn is_plain(name: &str) -> bool {
    !name.starts_with(['-', '!']) && !name.contains(['"', '\'', '\\', '*', '+'])
}

/// Returns the networks without those contained in others. Adjacent networks are not merged, so that operators find
/// what they configured.
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
    /// Returns the content of the mesh's table.
    pub(super) fn nft(&self, family: FirewallFamily, bridge: &str) -> String {
        let ip = match family {
            FirewallFamily::V4 => "ip",
            FirewallFamily::V6 => "ip6",
        };
        let chain = |name: &str, lines: Vec<String>| {
            let lines: Vec<String> = lines.iter().map(|line| format!("    {line}\n")).collect();
            format!("  chain {name} {{\n{}  }}\n", lines.concat())
        };
        let mut chains = vec![chain("forward", self.nft_forward(ip, bridge))];
        if !self.masqueraded.is_empty() {
            chains.push(chain("postrouting", self.nft_postrouting(ip, bridge)));
        }
        chains.concat()
    }

    /// Returns the rules for packets that the host must not forward. A drop here is final, whatever other chains
    /// accept.
    fn nft_forward(&self, ip: &str, bridge: &str) -> Vec<String> {
        let mut lines = vec![
            "type filter hook forward priority -150; policy accept;".to_owned(),
            // Ports that containers of other bridges publish on the host.
            "ct status dnat accept".to_owned(),
        ];
        for net in &self.open {
            lines.push(format!("{ip} saddr {net} accept"));
            lines.push(format!("{ip} daddr {net} accept"));
        }
        let names = self
            .unjoined
            .iter()
            .map(|name| format!("\"{name}\""))
            .chain(ROUTED_TO_CONTAINERS.map(|name| format!("\"{name}*\"")));
        for name in names {
            lines.push(format!("iifname {name} oifname \"{bridge}\" counter drop"));
            lines.push(format!("iifname \"{bridge}\" oifname {name} counter drop"));
        }
        // Not before: conntrack sees bridged packets, too, where br_netfilter is loaded. A container with the source of one
        // on another bridge would begin a connection, and answers to it would be let through to that bridge.
        lines.push("ct state established,related accept".to_owned());
        let again = format!("iifname \"{bridge}\" oifname \"{bridge}\"");
        match self.mac {
            Some(mac) => lines.push(format!("{again} ether daddr {mac} counter drop")),
            None => {
                lines.extend(self.subnets.iter().map(|net| {
                    format!("{again} {ip} saddr != {net} {ip} daddr {net} counter drop")
                }));
            }
        }
        lines
    }

    fn nft_postrouting(&self, ip: &str, bridge: &str) -> Vec<String> {
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
        lines
    }

    /// Returns the rules for packets that the host must not forward, for `iptables`: in `mangle`, before others
    /// accept in `filter`.
    ///
    /// `iptables` cannot distinguish bridged from routed packets here, so the rules match subnets.
    pub(super) fn mangle(&self, bridge: &str) -> Vec<String> {
        let mut rules = vec!["-m conntrack --ctstate DNAT -j RETURN".to_owned()];
        for net in &self.open {
            rules.push(format!("-s {net} -j RETURN"));
            rules.push(format!("-d {net} -j RETURN"));
        }
        let names = self.unjoined.iter().cloned();
        for name in names.chain(ROUTED_TO_CONTAINERS.map(|name| format!("{name}+"))) {
            rules.push(format!("-i {name} -o {bridge} -j DROP"));
            rules.push(format!("-i {bridge} -o {name} -j DROP"));
        }
        // Not before, as in `nft_forward`.
        rules.push("-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN".to_owned());
        for net in &self.subnets {
            rules.push(format!(
                "! -s {net} -d {net} -i {bridge} -o {bridge} -j DROP"
            ));
        }
        rules
    }

    /// Returns the rules of address translation for `iptables`.
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

    /// Returns the rules for packets that the host may forward.
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
