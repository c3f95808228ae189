//! Names that containers have now. A lease owner keeps the id, and the name, that was known when its address was requested:
//! mostly the id of a preparation, which no engine knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::Ipv4Net;

use super::holder;

/// Names by the ids in lease owners. Cheap to clone; attachments keep it, all that shows a lease owner reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContainerNames(Arc<Mutex<BTreeMap<String, String>>>);

impl ContainerNames {
    /// Replaces all names.
    pub(crate) fn set(&self, names: BTreeMap<String, String>) {
        *self.lock() = names;
    }

    /// Returns the name that operators know.
    pub(crate) fn words(&self, holder: &str) -> String {
        match self.name_of(holder) {
            Some(name) => name,
            None => holder::words(holder),
        }
    }

    /// Returns the command that takes an address from it.
    pub(crate) fn release(&self, holder: &str, address: Ipv4Net) -> String {
        match self.name_of(holder) {
            Some(name) => format!("mesh detach {address} {name}"),
            None => holder::release(holder, address),
        }
    }

    fn name_of(&self, holder: &str) -> Option<String> {
        let names = self.lock();
        let name = names.get(holder::id(holder)?)?;
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
            holder::holder(Runtime::Docker, "old", "0a1b"),
            holder::holder(Runtime::Docker, "", "0a1b"),
        );
        let address = "10.32.0.1/12".parse().unwrap();
        assert_eq!(names.words(&named), "old");
        assert_eq!(names.words(&nameless), "a container of Docker's");
        names.set(BTreeMap::from([("0a1b".into(), "new".into())]));
        for holder in [&named, &nameless] {
            assert_eq!(names.words(holder), "new");
            assert_eq!(
                names.release(holder, address),
                "mesh detach 10.32.0.1/12 new"
            );
        }
        assert_eq!(names.words(holder::HOST), "mesh:expose");
    }
}
