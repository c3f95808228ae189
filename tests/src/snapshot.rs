//! What a host's kernel and disks hold, to be compared before and after.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::host::Host;

/// Prints one object a line.
const LISTING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testbed/objects.sh");

/// The objects of one host at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at a host.
    ///
    /// # Errors
    /// If the host is down.
    pub fn take(host: &Host) -> Result<Self> {
        let listing = host.exec(&[LISTING])?.ok()?;
        Ok(Self(
            listing.lines().map(|line| line.trim().to_owned()).collect(),
        ))
    }

    /// Objects that are in `self` and were not in `before`.
    pub fn added_since(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }

    /// # Errors
    /// If something is there that was not there before, or is gone that was.
    pub fn same_as(&self, before: &Self) -> Result<()> {
        let (more, less) = (self.added_since(before), before.added_since(self));
        ensure!(
            more.is_empty() && less.is_empty(),
            "left behind: {more:#?}\nmissing: {less:#?}"
        );
        Ok(())
    }
}
