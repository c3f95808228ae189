//! A table of our own, by `nft`.

use std::process::{Command, Output};

use super::{feed, one_line};
use crate::SysError;

const PROGRAM: &str = "nft";

/// A table: its family and name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    /// `ip` or `ip6`.
    pub(super) family: &'static str,
    pub(super) name: &'a str,
}

/// Whether there is such a program, and a kernel that it can talk to.
pub(super) fn is_usable() -> bool {
    run(&["list", "tables"]).is_ok_and(|output| output.status.success())
}

/// The base chains that drop by their policy what the host forwards and they do not accept, as `inet filter forward`; none
/// without the program.
pub(super) fn dropping_chains() -> Vec<String> {
    match run(&["list", "chains"]) {
        Ok(output) => dropping_in(&String::from_utf8_lossy(&output.stdout)),
        Err(_) => Vec::new(),
    }
}

fn dropping_in(listing: &str) -> Vec<String> {
    let (mut table, mut chain) = ("", "");
    let mut found = Vec::new();
    for line in listing.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("table ") {
            table = name.trim_end_matches(" {");
        } else if let Some(name) = line.strip_prefix("chain ") {
            chain = name.trim_end_matches(" {");
        } else if line.contains(" hook forward ") && line.contains("policy drop") {
            found.push(format!("{table} {chain}"));
        }
    }
    found.retain(|chain| !chain.starts_with("bridge "));
    found
}

impl Table<'_> {
    /// The table as the program lists it, without what counters count; none without it.
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

    /// Removes the table; whether it was there.
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
    Command::new(PROGRAM)
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_that_drop_what_is_forwarded_are_found_in_a_listing() {
        let listing = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n\
            \tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n\
            table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n\
            table ip ok {\n\tchain f {\n\t\ttype filter hook forward priority filter; policy accept;\n\t}\n}\n\
            table bridge b {\n\tchain f {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n";
        let expected = ["inet filter forward", "ip filter FORWARD"];
        assert_eq!(dropping_in(listing), expected);
    }
}
