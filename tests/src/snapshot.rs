//! Objects in a host's kernel and on its disks, to be compared before and after a test.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::host::TestbedHost;

/// Script that prints one object per line.
const LISTING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testbed/objects.sh");

/// Objects of one host at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostObjects(BTreeSet<String>);

impl HostObjects {
    /// Lists the objects of a host.
    ///
    /// # Errors
    /// The host is down.
    pub fn take(host: &TestbedHost) -> Result<Self> {
        let listing = host.exec(&[LISTING])?.ok()?;
        Ok(Self(
            listing.lines().map(|line| line.trim().to_owned()).collect(),
        ))
    }

    /// Returns the objects in `self` that are not in `before`.
    pub fn added_since(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }

    /// Fails unless both have the same objects.
    ///
    /// # Errors
    /// The objects that were added and removed.
    pub fn same_as(&self, before: &Self) -> Result<()> {
        let (more, less) = (self.added_since(before), before.added_since(self));
        ensure!(
            more.is_empty() && less.is_empty(),
            "left behind: {more:#?}\nmissing: {less:#?}"
        );
        Ok(())
    }
}
