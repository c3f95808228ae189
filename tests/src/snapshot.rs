//! What a host's kernel and disks hold, to be compared before and after.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::host::Host;

/// Each line is one object: a link, an address, a route, a rule, a namespace, a file, a process.
const LISTING: &str = r"
ip -o link | awk -F'[:@]' '{ print "link" $2 }'
ip -o addr | awk '{ print "address", $2, $4 }'
ip route; ip rule; ip -6 rule
for family in iptables ip6tables; do
    for table in filter nat mangle; do $family -t $table -S 2>/dev/null | grep -v '^-P' | sed s/^/$family' '$table' '/; done
done
ls /run/netns /run/docker/netns 2>/dev/null | sed '/:$/d; /^$/d; s/^/namespace /'
find /run /var/lib/mesh /etc/mesh /etc/docker /etc/cni \( -path /run/docker -o -path /run/containerd \) -prune \
    -o -type f -print -o -type s -print 2>/dev/null | sed 's/^/file /'
ls /run/docker/plugins 2>/dev/null | sed 's/^/plugin /'
docker network ls -q --no-trunc 2>/dev/null | sed 's/^/docker network /'
ps -e -o comm= | grep '^mesh' | sed 's/^/process /'
grep ' /[^ ]*mesh' /proc/mounts | grep -v ' /var/lib/mesh \| /etc/mesh \| /tmp/mesh-testbed' | sed 's/^/mount /'
true";

/// The objects of one host at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at a host.
    ///
    /// # Errors
    /// If the host is down.
    pub fn take(host: &Host) -> Result<Self> {
        let listing = host.shell(LISTING)?.ok()?;
        Ok(Self(listing.lines().map(|line| line.trim().to_owned()).collect()))
    }

    /// Objects that are in `self` and were not in `before`.
    pub fn added_since(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }

    /// # Errors
    /// If something is there that was not there before, or is gone that was.
    pub fn same_as(&self, before: &Self) -> Result<()> {
        let (more, less) = (self.added_since(before), before.added_since(self));
        ensure!(more.is_empty() && less.is_empty(), "left behind: {more:#?}\nmissing: {less:#?}");
        Ok(())
    }
}
