//! Names that containers have now. A lease owner keeps the id, and the name, that was known when its address was requested:
//! mostly the id of a preparation, which no engine knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use crate::leases::lease_owner;

/// Names by the ids in lease owners. Cheap to clone; attachments keep it, all that shows a lease owner reads it.
#[derive(Clone, Debug, Default)]
pub struct ContainerNames(Arc<Mutex<BTreeMap<String, String>>>);

impl ContainerNames {
    /// Replaces all names.
    pub fn set(&self, names: BTreeMap<String, String>) {
        *self.lock() = names;
    }

    /// Returns the name that operators know.
    pub fn display_name(&self, owner: &str) -> String {
        match self.name_of(owner) {
            Some(name) => name,
            None => lease_owner::display_name(owner),
        }
    }

    /// Returns the command that takes an address from it.
    pub fn release_command(&self, owner: &str, address: IpNet) -> String {
        match self.name_of(owner) {
            Some(name) => format!("mesh detach {address} {name}"),
            None => lease_owner::release_command(owner, address),
        }
    }

    fn name_of(&self, owner: &str) -> Option<String> {
        let names = self.lock();
        let name = names.get(lease_owner::id(owner)?)?;
        (!name.is_empty()).then(|| name.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use mesh_proto::api::Runtime;

    use super::*;

    #[test]
    fn the_name_of_now_counts() {
        let names = ContainerNames::default();
        let (named, nameless) = (
            lease_owner::lease_owner(Runtime::Docker, "old", "0a1b"),
            lease_owner::lease_owner(Runtime::Docker, "", "0a1b"),
        );
        let address = "10.32.0.1/12".parse().unwrap();
        assert_eq!(names.display_name(&named), "old");
        assert_eq!(names.display_name(&nameless), "a container of Docker's");
        names.set(BTreeMap::from([("0a1b".into(), "new".into())]));
        for owner in [&named, &nameless] {
            assert_eq!(names.display_name(owner), "new");
            assert_eq!(
                names.release_command(owner, address),
                "mesh detach 10.32.0.1/12 new"
            );
        }
        assert_eq!(names.display_name(lease_owner::HOST), "mesh:expose");
    }
}
