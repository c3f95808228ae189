//! A table of the mesh in `nft`.

use std::collections::BTreeMap;
use std::process::Output;

use super::{feed, one_line};
use crate::SysError;
use crate::process::environment::command;

const PROGRAM: &str = "nft";

/// Table, by family and name.
#[derive(Clone, Copy, Debug)]
pub(super) struct NftTable<'a> {
    /// `ip` or `ip6`.
    pub(super) family: &'static str,
    pub(super) name: &'a str,
}

/// Returns true if the program and its support in the kernel are available.
pub(super) fn is_usable() -> bool {
    run(&["list", "tables"]).is_ok_and(|output| output.status.success())
}

/// Hook of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// Packets to this host.
    Input,
    /// Packets that this host forwards.
    Forward,
}

/// Returns the base chains of this hook whose policy is to drop, like `inet filter forward`; none without the
/// program.
pub(super) fn dropping_chains(hook: Hook) -> Vec<String> {
    match run(&["list", "chains"]) {
        Ok(output) => base_chains(&String::from_utf8_lossy(&output.stdout), hook, true),
        Err(_) => Vec::new(),
    }
}

/// Returns the base chains of this hook that drop by policy, or end with a rule that drops or rejects everything.
pub(super) fn guarding_chains(hook: Hook) -> Vec<String> {
    let Ok(output) = run(&["list", "chains"]) else {
        return Vec::new();
    };
    let listing = String::from_utf8_lossy(&output.stdout);
    let mut chains = base_chains(&listing, hook, false);
    let dropping = base_chains(&listing, hook, true);
    chains.retain(|chain| {
        let words: Vec<&str> = chain.split(' ').collect();
        dropping.contains(chain) || list_chain(&words).is_some_and(|text| ends_with_drop(&text))
    });
    chains
}

/// Lists a chain; `None` if it does not exist.
pub(super) fn list_chain(chain: &[&str]) -> Option<String> {
    let output = run(&[&["list", "chain"], chain].concat()).ok()?;
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(listing)
}

/// Returns the chains of a table with their rules; none if it does not exist.
pub(super) fn chains_of(family: &str, table: &str) -> BTreeMap<String, Vec<String>> {
    let mut chains: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let Ok(output) = run(&["list", "table", family, table]) else {
        return chains;
    };
    let mut chain = String::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix("chain ") {
            name.trim_end_matches(" {").clone_into(&mut chain);
        } else if !chain.is_empty() && line != "}" {
            chains
                .entry(chain.clone())
                .or_default()
                .push(line.to_owned());
        } else {
            chain.clear();
        }
    }
    chains
}

/// Returns true if the last rule of a chain drops or rejects unconditionally.
fn ends_with_drop(listing: &str) -> bool {
    let mut rules = listing.lines().map(str::trim);
    let last = rules.rfind(|line| !line.is_empty() && !line.starts_with('}'));
    last.is_some_and(|rule| {
        let words: Vec<&str> = rule.split(' ').collect();
        // Between `counter` and the verdict are two numbers with their names.
        let words = match words.as_slice() {
            ["counter", "packets", _, "bytes", _, rest @ ..] => rest,
            all => all,
        };
        matches!(words.first(), Some(&"drop" | &"reject"))
    })
}

fn base_chains(listing: &str, hook: Hook, only_dropping: bool) -> Vec<String> {
    let hook = match hook {
        Hook::Input => " hook input ",
        Hook::Forward => " hook forward ",
    };
    let (mut table, mut chain) = ("", "");
    let mut found = Vec::new();
    for line in listing.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("table ") {
            table = name.trim_end_matches(" {");
        } else if let Some(name) = line.strip_prefix("chain ") {
            chain = name.trim_end_matches(" {");
        } else if line.contains(hook) && (line.contains("policy drop") || !only_dropping) {
            found.push(format!("{table} {chain}"));
        }
    }
    let is_ip = |chain: &String| {
        ["ip ", "ip6 ", "inet "]
            .iter()
            .any(|f| chain.starts_with(f))
    };
    found.retain(is_ip);
    found
}

impl NftTable<'_> {
    /// Lists the table without the values of counters; `None` if it does not exist.
    pub(super) fn list(&self) -> Result<Option<String>, SysError> {
        let output = run(&["--stateless", "list", "table", self.family, self.name])
            .map_err(|e| SysError::new(format!("run {PROGRAM}"), e))?;
        if output.status.success() {
            return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("No such file or directory") {
            return Ok(None);
        }
        let what = format!("list table {} {} of nft", self.family, self.name);
        Err(SysError::other(what, one_line(&said)))
    }

    /// Replaces the table by one with this content, in one transaction.
    pub(super) fn replace(&self, content: &str) -> Result<(), SysError> {
        let Self { family, name } = self;
        let text = format!(
            "add table {family} {name}\ndelete table {family} {name}\ntable {family} {name} {{\n{content}}}\n"
        );
        feed(PROGRAM, &["-f", "-"], &text)
    }

    /// Removes the table. Returns true if it existed.
    pub(super) fn remove(&self) -> Result<bool, SysError> {
        if self.list()?.is_none() {
            return Ok(false);
        }
        let text = format!("delete table {} {}\n", self.family, self.name);
        feed(PROGRAM, &["-f", "-"], &text)?;
        Ok(true)
    }
}

fn run(arguments: &[&str]) -> std::io::Result<Output> {
    command(PROGRAM).args(arguments).output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_that_drop_forwarded_packets_are_found_in_a_listing() {
        let listing = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n\
            \tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n\
            table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n\
            table ip ok {\n\tchain f {\n\t\ttype filter hook forward priority filter; policy accept;\n\t}\n}\n\
            table bridge b {\n\tchain f {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n";
        let expected = ["inet filter forward", "ip filter FORWARD"];
        assert_eq!(base_chains(listing, Hook::Forward, true), expected);
        let input = ["inet filter input"];
        assert_eq!(base_chains(listing, Hook::Input, true), input);
        assert_eq!(base_chains(listing, Hook::Forward, false).len(), 3);
    }

    #[test]
    fn a_chain_that_rejects_the_rest_is_recognised_by_its_last_rule() {
        let chain = |last: &str| {
            format!(
                "table inet t {{\n\tchain c {{\n\t\ttype filter hook input priority 0; policy accept;\n\t\t\
                 ct state invalid drop\n\t\t{last}\n\t}}\n}}\n"
            )
        };
        for (last, expected) in [
            ("reject with icmpx admin-prohibited", true),
            ("counter packets 0 bytes 0 drop", true),
            ("drop", true),
            ("tcp dport 22 drop", false),
            ("accept", false),
        ] {
            assert_eq!(ends_with_drop(&chain(last)), expected, "{last}");
        }
    }
}
