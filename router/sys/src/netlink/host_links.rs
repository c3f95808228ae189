//! Interfaces and addresses of a host at one moment.

use std::collections::{BTreeMap, BTreeSet};

use super::{LinkEntry, Netlink};
use crate::SysError;

/// Interfaces and addresses of this host at one moment, by which many networks are checked at little cost: the kernel takes
/// milliseconds to list the interfaces of some hundred containers.
#[derive(Debug)]
pub struct HostLinks {
    links: BTreeMap<String, LinkEntry>,
    /// Indices of bridges with a port whose settings differ from the kernel's defaults.
    changed: BTreeSet<u32>,
    /// Indices of interfaces with an address.
    addressed: BTreeSet<u32>,
}

impl HostLinks {
    /// Reads them, in the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel does not list them.
    pub fn read() -> Result<Self, SysError> {
        let mut netlink = Netlink::open()?;
        let links = netlink.link().list()?;
        let addressed = netlink.address().list()?.iter().map(|a| a.link).collect();
        let changed = links.iter().filter(|link| !link.changed.is_empty());
        Ok(Self {
            changed: changed.filter_map(|link| link.master).collect(),
            links: links.into_iter().map(|l| (l.name.clone(), l)).collect(),
            addressed,
        })
    }

    /// Returns all interfaces, by name.
    pub fn all(&self) -> impl Iterator<Item = &LinkEntry> {
        self.links.values()
    }

    /// Returns an interface.
    pub fn find(&self, name: &str) -> Option<&LinkEntry> {
        self.links.get(name)
    }

    /// Returns true if an interface has an address.
    pub(crate) fn is_addressed(&self, link: &LinkEntry) -> bool {
        self.addressed.contains(&link.index)
    }

    /// Returns true if settings of a port of this bridge differ from the kernel's defaults.
    pub fn has_changed_ports(&self, bridge: &str) -> bool {
        self.find(bridge)
            .is_some_and(|link| self.changed.contains(&link.index))
    }
}
