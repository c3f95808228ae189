//! Concurrency limits, in total and per client.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Slots that are acquired and released; `K` is a client.
#[derive(Debug)]
pub struct Permits<K: Ord> {
    all: usize,
    each: usize,
    taken: Mutex<BTreeMap<K, usize>>,
}

/// An acquired slot, released on drop.
#[derive(Debug)]
pub struct Permit<K: Ord> {
    of: Arc<Permits<K>>,
    client: K,
}

impl<K: Ord + Copy> Permits<K> {
    /// Returns a limit of `all` slots, of which one client gets at most `each`.
    pub fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self {
            all,
            each,
            taken: Mutex::default(),
        })
    }

    /// Acquires a slot for the client; `None` if a limit is reached.
    pub fn take(self: &Arc<Self>, client: K) -> Option<Permit<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_client = taken.get(&client).copied().unwrap_or_default();
        if taken.values().sum::<usize>() >= self.all || of_client >= self.each {
            return None;
        }
        taken.insert(client, of_client + 1);
        Some(Permit {
            of: self.clone(),
            client,
        })
    }
}

impl<K: Ord> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn permits_are_bounded_for_each_and_for_all() {
        let permits = Permits::new(3, 2);
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = permits.take(a).unwrap();
        let _second = permits.take(a).unwrap();
        assert!(permits.take(a).is_none());
        let _third = permits.take(b).unwrap();
        assert!(permits.take(b).is_none());
        drop(first);
        assert!(permits.take(b).is_some());
    }
}
