//! A bound in all and for each client on what goes on at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Places that are taken and given back.
#[derive(Debug)]
pub(super) struct Places {
    all: usize,
    each: usize,
    taken: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Arc<Places>,
    source: IpAddr,
}

impl Places {
    /// `all` places, of which one client takes at most `each`.
    pub(super) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self {
            all,
            each,
            taken: Mutex::default(),
        })
    }

    /// A place for this client, if there is one.
    pub(super) fn take(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_source = taken.get(&source).copied().unwrap_or_default();
        if taken.values().sum::<usize>() >= self.all || of_source >= self.each {
            return None;
        }
        taken.insert(source, of_source + 1);
        Some(Place {
            of: self.clone(),
            source,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_each_and_for_all() {
        let places = Places::new(3, 2);
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = places.take(a).unwrap();
        let _second = places.take(a).unwrap();
        assert!(places.take(a).is_none());
        let _third = places.take(b).unwrap();
        assert!(places.take(b).is_none());
        drop(first);
        assert!(places.take(b).is_some());
    }
}
