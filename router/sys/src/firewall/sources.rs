//! Restriction of the sources of a UDP port: a chain of the mesh, to which the first rule of INPUT jumps.
//!
//! Packets of a listed address continue with the host's other rules; all others to that port are dropped.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Changed, change, feed, list, run};
use crate::SysError;
use crate::ifname;

/// Port to be guarded.
#[derive(Clone, Copy, Debug)]
pub struct PortGuard<'a> {
    /// Bridge, after which the chain is named.
    pub bridge: &'a str,
    /// UDP port.
    pub port: u16,
    /// True for IPv6, false for IPv4.
    pub ipv6: bool,
}

/// Admits exactly the addresses in `allowed` of the guard's IP version; the list is replaced as a whole. Idempotent;
/// repairs changes made by others.
///
/// # Errors
/// The error of the program, or that there is none: then the port would be open to all.
pub fn ensure(guard: &PortGuard<'_>, allowed: &BTreeSet<IpAddr>) -> Result<Changed, SysError> {
    ifname::check(guard.bridge)?;
    let program = guard.program();
    let absent = || {
        SysError::other(
            "restrict the sources of a port",
            format!("no {program} here"),
        )
    };
    let input = list(program, "INPUT")?.ok_or_else(absent)?;
    let wanted = guard.rules(allowed);
    let mut changed = Changed::No;
    if guard.current()?.as_ref() != Some(&wanted) {
        guard.restore(&wanted)?;
        changed = Changed::Yes;
    }
    if !guard.is_first(&input) {
        guard.jump_first(&input)?;
        changed = Changed::Yes;
    }
    Ok(changed)
}

/// Returns the addresses admitted now, of both IP versions; none without the rules.
///
/// # Errors
/// There is no such program.
pub fn allowed(bridge: &str) -> Result<BTreeSet<IpAddr>, SysError> {
    ifname::check(bridge)?;
    let mut allowed = BTreeSet::new();
    for ipv6 in [false, true] {
        let guard = PortGuard {
            bridge,
            port: 0,
            ipv6,
        };
        let rules = guard.current()?.unwrap_or_default();
        let sources = rules.iter().filter_map(|rule| source(rule));
        allowed.extend(sources);
    }
    Ok(allowed)
}

/// Returns the address in a rule with `-s ADDRESS/LENGTH`.
fn source(rule: &str) -> Option<IpAddr> {
    let (_, rest) = rule.split_once(" -s ")?;
    rest.split('/').next()?.parse().ok()
}

/// Removes the rules of both IP versions, for any port.
///
/// # Errors
/// The error of the program, after both were tried.
pub fn remove(bridge: &str) -> Result<Changed, SysError> {
    ifname::check(bridge)?;
    let guard = |ipv6| PortGuard {
        bridge,
        port: 0,
        ipv6,
    };
    let (four, six) = (guard(false).remove(), guard(true).remove());
    Ok(match (four?, six?) {
        (Changed::Yes, _) | (_, Changed::Yes) => Changed::Yes,
        (Changed::Absent, Changed::Absent) => Changed::Absent,
        _ => Changed::No,
    })
}

impl PortGuard<'_> {
    fn program(&self) -> &'static str {
        if self.ipv6 { "ip6tables" } else { "iptables" }
    }

    /// Returns a name of at most 26 bytes; 28 are allowed.
    fn chain(&self) -> String {
        format!("mesh-vxlan-{}", self.bridge)
    }

    /// Returns the chain's rules as listed by the program.
    fn rules(&self, allowed: &BTreeSet<IpAddr>) -> Vec<String> {
        let chain = self.chain();
        let length = if self.ipv6 { 128 } else { 32 };
        let sources = allowed.iter().filter(|a| a.is_ipv6() == self.ipv6);
        let mut rules: Vec<String> = sources
            .map(|a| format!("-A {chain} -s {a}/{length} -j RETURN"))
            .collect();
        rules.push(format!("-A {chain} -j DROP"));
        rules
    }

    /// Returns the present rules of the chain; `None` without the chain.
    fn current(&self) -> Result<Option<Vec<String>>, SysError> {
        let program = self.program();
        let output = run(program, &["-S", &self.chain()])
            .map_err(|e| SysError::new(format!("run {program}"), e))?;
        if !output.status.success() {
            return Ok(None);
        }
        let listing = String::from_utf8_lossy(&output.stdout);
        let rules = listing.lines().filter(|line| line.starts_with("-A "));
        Ok(Some(rules.map(ToOwned::to_owned).collect()))
    }

    /// Replaces the chain in one transaction: it is never incomplete.
    fn restore(&self, rules: &[String]) -> Result<(), SysError> {
        let program = format!("{}-restore", self.program());
        let (chain, rules) = (self.chain(), rules.join("\n"));
        let text = format!("*filter\n:{chain} - [0:0]\n{rules}\nCOMMIT\n");
        feed(&program, &["-w", "5", "--noflush"], &text)
    }

    /// Inserts the jump first, then deletes old ones: the port is never open in between.
    fn jump_first(&self, input: &str) -> Result<(), SysError> {
        let (port, chain) = (self.port.to_string(), self.chain());
        let jump = ["-p", "udp", "-m", "udp", "--dport", &port, "-j", &chain];
        change(self.program(), &[&["-I", "INPUT", "1"], &jump[..]].concat())?;
        for position in self.jumps(input).iter().rev() {
            change(
                self.program(),
                &["-D", "INPUT", &(position + 1).to_string()],
            )?;
        }
        Ok(())
    }

    fn remove(&self) -> Result<Changed, SysError> {
        let program = self.program();
        let Some(input) = list(program, "INPUT")? else {
            return Ok(Changed::Absent);
        };
        let jumps = self.jumps(&input);
        for position in jumps.iter().rev() {
            change(program, &["-D", "INPUT", &position.to_string()])?;
        }
        let has_chain = self.current()?.is_some();
        if has_chain {
            let chain = self.chain();
            change(program, &["-F", &chain])?;
            change(program, &["-X", &chain])?;
        }
        Ok(match has_chain || !jumps.is_empty() {
            true => Changed::Yes,
            false => Changed::No,
        })
    }

    /// Returns the positions in INPUT, from 1, of the jumps to the chain, for any port.
    fn jumps(&self, input: &str) -> Vec<usize> {
        let target = format!(" -j {}", self.chain());
        let rules = input.lines().filter(|line| line.starts_with("-A "));
        let ours = rules
            .enumerate()
            .filter(|(_, line)| line.ends_with(&target));
        ours.map(|(index, _)| index + 1).collect()
    }

    /// Returns true if the first rule of INPUT is the jump for the guarded port, and there is no other jump.
    fn is_first(&self, input: &str) -> bool {
        let port = format!(" --dport {} ", self.port);
        let first = input.lines().find(|line| line.starts_with("-A "));
        self.jumps(input) == [1] && first.is_some_and(|line| line.contains(&port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NamedNetns, needs_root};

    const GUARD: PortGuard<'_> = PortGuard {
        bridge: "mesh",
        port: 6784,
        ipv6: false,
    };

    #[test]
    fn the_jumps_of_the_mesh_are_found_in_a_listing() {
        let input = "-P INPUT DROP\n\
                     -A INPUT -p udp -m udp --dport 6784 -j mesh-vxlan-mesh\n\
                     -A INPUT -p udp -m udp --dport 6784 -j mesh-vxlan-mesh2\n\
                     -A INPUT -p udp -m udp --dport 6999 -j mesh-vxlan-mesh\n";
        assert_eq!(GUARD.jumps(input), [1, 3]);
        assert!(!GUARD.is_first(input));
        let two: Vec<&str> = input.lines().take(2).collect();
        assert!(GUARD.is_first(&two.join("\n")));
        let other = PortGuard {
            port: 6785,
            ..GUARD
        };
        assert!(!other.is_first(&two.join("\n")));
    }

    #[test]
    fn the_list_is_applied_repaired_and_removed() {
        if needs_root("the_list_is_applied_repaired_and_removed") {
            return;
        }
        let set = |addresses: [&str; 2]| -> BTreeSet<IpAddr> {
            addresses.map(|a| a.parse().unwrap()).into()
        };
        let (one, two) = (
            set(["192.0.2.1", "fd00::1"]),
            set(["192.0.2.1", "192.0.2.7"]),
        );
        NamedNetns::new().run(|| {
            let six = PortGuard {
                ipv6: true,
                ..GUARD
            };
            for guard in [GUARD, six] {
                assert_eq!(ensure(&guard, &one).unwrap(), Changed::Yes);
                assert_eq!(ensure(&guard, &one).unwrap(), Changed::No);
                assert_eq!(guard.rules(&one).len(), 2, "its own family only");
            }
            assert_eq!(allowed("mesh").unwrap(), one);
            assert_eq!(ensure(&GUARD, &two).unwrap(), Changed::Yes);
            assert_eq!(GUARD.current().unwrap().unwrap().len(), 3);
            // Another program inserts an accept rule, or flushes the rules.
            change("iptables", &["-I", "INPUT", "1", "-j", "ACCEPT"]).unwrap();
            assert_eq!(ensure(&GUARD, &two).unwrap(), Changed::Yes);
            change("iptables", &["-F"]).unwrap();
            assert_eq!(ensure(&GUARD, &two).unwrap(), Changed::Yes);
            assert!(GUARD.is_first(&list("iptables", "INPUT").unwrap().unwrap()));
            assert_eq!(remove("mesh").unwrap(), Changed::Yes);
            assert_eq!(remove("mesh").unwrap(), Changed::No);
            assert_eq!(GUARD.current().unwrap(), None);
            assert!(allowed("mesh").unwrap().is_empty());
        });
    }
}
