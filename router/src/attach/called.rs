//! What holders of addresses are called, for those who show them: by the names of now, not by handles of ours.

use std::collections::BTreeMap;

use mesh_proto::api::Runtime;

use super::Attachments;
use super::table::{Owner, Table};
use crate::ipam::holder::id;

impl Attachments {
    /// Tells the allocator the names of containers, by each id that a holder may have.
    pub(super) fn publish_called(&self, table: &Table) {
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for (id, keeper) in &self.holds().keepers {
            names.insert(id.clone(), keeper.name.clone());
        }
        let is_named = |(key, m): &(&String, &super::Member)| {
            // Until it is adopted, what has no name is called by the id of its preparation.
            m.runtime == Runtime::Process || m.name != **key
        };
        for (key, member) in table.members.iter().filter(is_named) {
            names.insert(key.clone(), member.name.clone());
            names.insert(member.owner(key).to_owned(), member.name.clone());
        }
        for end in table.endpoints.values() {
            let Some(owner) = &end.owner else { continue };
            names.insert(owner.id.clone(), owner.name.clone());
            if let Some(id) = id(&end.holder) {
                names.insert(id.to_owned(), owner.name.clone());
            }
        }
        self.allocator.container_names().set(names);
    }

    /// Containers that Docker keeps for these holders, running or not.
    pub(super) fn set_keepers(&self, found: BTreeMap<String, Owner>) {
        self.holds().keepers = found;
        self.publish_called(&self.table());
    }

    /// A container that Docker keeps has another name.
    pub(super) fn rename_keeper(&self, container: &str, name: &str) {
        let mut holds = self.holds();
        let keepers = holds.keepers.values_mut();
        keepers
            .filter(|keeper| keeper.id == container)
            .for_each(|keeper| name.clone_into(&mut keeper.name));
        drop(holds);
        self.publish_called(&self.table());
    }
}
