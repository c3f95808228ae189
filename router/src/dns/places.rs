//! Concurrency limits, in total and per client.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::spots::Client;

/// Slots that are acquired and released.
#[derive(Debug)]
pub(super) struct Places {
    all: usize,
    each: usize,
    taken: Mutex<BTreeMap<Client, usize>>,
}

/// An acquired slot, released on drop.
#[derive(Debug)]
pub(super) struct Place {
    of: Arc<Places>,
    client: Client,
}

impl Places {
    /// Returns a limit of `all` slots, of which one client gets at most `each`.
    pub(super) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self {
            all,
            each,
            taken: Mutex::default(),
        })
    }

    /// Acquires a slot for the client; `None` if a limit is reached.
    pub(super) fn take(self: &Arc<Self>, client: Client) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_client = taken.get(&client).copied().unwrap_or_default();
        if taken.values().sum::<usize>() >= self.all || of_client >= self.each {
            return None;
        }
        taken.insert(client, of_client + 1);
        Some(Place {
            of: self.clone(),
            client,
        })
    }
}

impl Drop for Place {
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
    fn places_are_bounded_for_each_and_for_all() {
        let places = Places::new(3, 2);
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let (a, b) = (Client::Address(a), Client::Address(b));
        let first = places.take(a).unwrap();
        let _second = places.take(a).unwrap();
        assert!(places.take(a).is_none());
        let _third = places.take(b).unwrap();
        assert!(places.take(b).is_none());
        drop(first);
        assert!(places.take(b).is_some());
    }
}
