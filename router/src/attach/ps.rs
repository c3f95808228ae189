//! What is on the mesh on this host, as `ps` lists it.

use std::collections::BTreeMap;

use ipnet::IpNet;
use mesh_proto::address::mac_for;
use mesh_proto::api::{Attached, AttachedInterface, Runtime};

use super::{Attachments, HostsWish};

impl Attachments {
    /// Whether this container, by its full id, is Docker's.
    pub(crate) fn is_of_docker(&self, container: &str) -> bool {
        let rows = self.ps();
        let mut rows = rows.iter().filter(|row| row.container == container);
        rows.any(|row| row.runtime == Runtime::Docker)
    }

    /// What users want of the `/etc/hosts` of containers that were attached.
    pub(crate) fn hosts_wishes(&self) -> BTreeMap<String, HostsWish> {
        let table = self.table();
        let members = table.members.iter();
        members
            .map(|(key, m)| (m.owner(key).to_owned(), m.hosts.clone()))
            .collect()
    }

    /// What is on the mesh on this host, by container.
    pub fn ps(&self) -> Vec<Attached> {
        let table = self.table();
        let mut found: BTreeMap<&str, Attached> = BTreeMap::new();
        for (key, member) in table.members.iter().filter(|(_, m)| m.is_live()) {
            let owner = member.owner(key);
            let row = found
                .entry(owner)
                .or_insert_with(|| row(owner, &member.name, member.runtime));
            row.interfaces
                .extend(member.ports.iter().map(|p| shown(&p.ifname, p.address)));
        }
        for (id, end) in &table.endpoints {
            let owner = end.owner.as_ref().map_or(id, |o| &o.id);
            let row = found
                .entry(owner)
                .or_insert_with(|| row(owner, &end.display_name(id), Runtime::Docker));
            row.interfaces.push(shown(&end.ifname, end.address));
        }
        let host = self.host_row(&table);
        let mut rows: Vec<Attached> = host.into_iter().chain(found.into_values()).collect();
        for row in &mut rows {
            row.interfaces
                .sort_by(|a, b| (&a.name, &a.address).cmp(&(&b.name, &b.address)));
        }
        rows.retain(|row| !row.interfaces.is_empty());
        rows
    }
}

fn row(container: &str, name: &str, runtime: Runtime) -> Attached {
    Attached {
        container: container.to_owned(),
        name: name.to_owned(),
        runtime,
        interfaces: Vec::new(),
    }
}

fn shown(ifname: &str, address: IpNet) -> AttachedInterface {
    AttachedInterface {
        name: ifname.to_owned(),
        mac: mac_for(address.addr()).to_string(),
        address: address.to_string(),
    }
}
