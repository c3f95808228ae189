//! Helpers for tests that need root: namespaces that are removed when the test ends.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::netns::Netns;

/// Returns true, and prints a message, if the test must be skipped because it does not run as root.
pub(crate) fn needs_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("{test}: skipped, it needs root");
    }
    !root
}

/// Returns true if the condition becomes true within five seconds. For resources that are released with their
/// descriptors: a process that another test is starting holds all of them until it is executed.
pub(crate) fn soon(mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Namespace with a unique name, deleted on drop.
pub(crate) struct NamedNetns {
    pub(crate) name: String,
    pub(crate) netns: Netns,
}

impl NamedNetns {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mesh-sys-test-{}-{number}", std::process::id());
        let netns = Netns::create_named(&name).unwrap();
        Self { name, netns }
    }

    pub(crate) fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.netns.run_in(f).unwrap()
    }
}

impl Drop for NamedNetns {
    fn drop(&mut self) {
        let _ = Netns::delete_named(&self.name);
    }
}
