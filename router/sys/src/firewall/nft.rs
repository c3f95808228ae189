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

impl Table<'_> {
    /// The table as the program lists it; none without it.
    pub(super) fn list(&self) -> Result<Option<String>, SysError> {
        let output = run(&["list", "table", self.family, self.name])
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
