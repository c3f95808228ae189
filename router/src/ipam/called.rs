//! What the containers behind holders are called now. A holder keeps the id, and the name, that was known when its address
//! was asked for: mostly the id of a preparation, which no engine knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::Ipv4Net;

use super::holder;

/// Names by the ids in holders. Cheap to clone; attachments keep it, all that shows a holder reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Called(Arc<Mutex<BTreeMap<String, String>>>);

impl Called {
    /// From now on these are the names.
    pub(crate) fn set(&self, names: BTreeMap<String, String>) {
        *self.lock() = names;
    }

    /// What operators call it.
    pub(crate) fn words(&self, holder: &str) -> String {
        match self.name_of(holder) {
            Some(name) => name,
            None => holder::words(holder),
        }
    }

    /// The command that takes an address from it.
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
        let called = Called::default();
        let (named, nameless) = (
            holder::holder(Runtime::Docker, "old", "0a1b"),
            holder::holder(Runtime::Docker, "", "0a1b"),
        );
        let address = "10.32.0.1/12".parse().unwrap();
        assert_eq!(called.words(&named), "old");
        assert_eq!(called.words(&nameless), "a container of Docker's");
        called.set(BTreeMap::from([("0a1b".into(), "new".into())]));
        for holder in [&named, &nameless] {
            assert_eq!(called.words(holder), "new");
            assert_eq!(
                called.release(holder, address),
                "mesh detach 10.32.0.1/12 new"
            );
        }
        assert_eq!(called.words(holder::HOST), "mesh:expose");
    }
}
