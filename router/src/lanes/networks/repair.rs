//! Ports that a lane lost, because their device was deleted or set down, are opened again: by a thread that exists only
//! as long as there are some. A lane must not do it, since the kernel may take a second, and the lane has other ports.

use std::collections::BTreeMap;
use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mesh_proto::network::NetworkId;

use super::{NetworkPorts, SharedPorts};

/// Time before the first attempt, which doubles with each that fails.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest time between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Lost ports, with their numbers.
#[derive(Default)]
pub(super) struct LostPorts {
    waiting: Mutex<BTreeMap<NetworkId, u64>>,
    is_repairing: AtomicBool,
}

impl LostPorts {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<NetworkId, u64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NetworkPorts {
    /// Takes note of a lost port.
    pub(super) fn lost(&self, network: NetworkId, number: u64) {
        let lost = &self.shared.lost;
        lost.waiting().insert(network, number);
        if lost.is_repairing.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = Arc::downgrade(&self.shared);
        let thread = std::thread::Builder::new().name("networks".to_owned());
        if let Err(error) = thread.spawn(move || repair(&shared)) {
            lost.is_repairing.store(false, Ordering::Release);
            tracing::warn!("cannot start a thread: {error}; a port of a network stays closed");
        }
    }

    /// Makes one attempt for each lost port. Returns true if all are open, or their networks closed.
    fn repair_all(&self) -> bool {
        let waiting = std::mem::take(&mut *self.shared.lost.waiting());
        let mut done = true;
        for (network, number) in waiting {
            if let Err(error) = self.make_again(network, number) {
                tracing::debug!("{error}");
                done = false;
                // A port that was lost since then is a newer one.
                self.shared.lost.waiting().entry(network).or_insert(number);
            }
        }
        done
    }
}

/// Repairs until no port is lost, or the router is gone.
fn repair(shared: &Weak<SharedPorts>) {
    let mut pause = PAUSE;
    loop {
        std::thread::sleep(pause);
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let ports = NetworkPorts { shared };
        pause = match ports.repair_all() {
            true => PAUSE,
            false => (2 * pause).min(LONGEST_PAUSE),
        };
        let lost = &ports.shared.lost;
        // Under the lock: a port lost after this starts another thread.
        let waiting = lost.waiting();
        if waiting.is_empty() {
            lost.is_repairing.store(false, Ordering::Release);
            return;
        }
    }
}
