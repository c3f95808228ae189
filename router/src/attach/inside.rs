//! In which network namespaces names are answered: those of podman containers and processes, which may have no other way
//! to the router. Docker's containers reach its bridge, and Docker has a server of its own in each.

use mesh_proto::api::Runtime;
use tokio::sync::watch;

use super::table::{Member, Table};
use super::{Attachments, Home};

/// A container on the mesh that is answered within its own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Inside {
    /// Container id, or the id of the preparation: the key of its member.
    pub key: String,
    /// Container or command name.
    pub name: String,
    /// Its namespace.
    pub netns: Place,
}

/// Where a namespace is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// One of ours, under this name; not there before it is made.
    Named(String),
    /// That of a process, as long as this is the one that began then (in clock ticks since boot).
    Process {
        /// Its pid.
        pid: u32,
        /// When it began.
        started: u64,
    },
}

impl Attachments {
    /// The containers that are answered within their namespaces, sorted; changes as they come and go.
    pub fn inside(&self) -> watch::Receiver<Vec<Inside>> {
        self.inside.subscribe()
    }

    pub(super) fn publish_inside(&self, table: &Table) {
        let members = table.members.iter();
        let list: Vec<Inside> = members.filter_map(|(key, m)| inside(key, m)).collect();
        self.inside.send_if_modified(|old| {
            let changed = *old != list;
            *old = list;
            changed
        });
    }
}

fn inside(key: &str, member: &Member) -> Option<Inside> {
    let is_served = matches!(member.runtime, Runtime::Podman | Runtime::Process);
    if !is_served || member.without_dns || member.ports.is_empty() {
        return None;
    }
    let netns = match &member.home {
        Home::Namespace { netns, .. } => Place::Named(netns.clone()),
        Home::Container(Some(process)) => Place::Process {
            pid: process.pid,
            started: process.started,
        },
        Home::Container(None) => return None,
    };
    Some(Inside {
        key: key.to_owned(),
        name: member.name.clone(),
        netns,
    })
}
