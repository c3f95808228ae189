//! Memory of a run, and the part of it that a single router would need.

use std::fs;

use super::figures::MEMORY;
use super::measure::{Measured, count};
use crate::sim::router::SimRouter;

/// Bytes in memory of a record of about 300 bytes, with its parsed content; an upper estimate.
const RECORD: usize = 700;
/// Bytes per router in the database and the graph, which routers in a mesh that starts settled share.
const SHARED: usize = 160;
/// Memory of a run above which it stops when the machine has little left, before the kernel's OOM killer acts.
const MUCH: u64 = 1 << 30;
const LEAST: u64 = 512 << 20;

impl Measured {
    /// Measures memory per router: the growth of the process since the first router, divided by the routers. It
    /// includes connections and events of the simulated network. Records, which these routers share, are added for each
    /// router, and so are tables that they share from the start.
    pub(super) fn memory(&mut self, before: Option<u64>, at_rest: bool) {
        let n = count(self.world.len());
        let held = resident()
            .zip(before)
            .map(|(now, then)| now.saturating_sub(then));
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        let tables = self.world.router(0).map(SimRouter::tables);
        let records = tables.and_then(|t| t.iter().find(|t| t.table == "records").map(|t| t.used));
        let records = mib(count(records.unwrap_or(0) * RECORD));
        let shared = if at_rest {
            mib(count(self.world.len() * SHARED))
        } else {
            0.0
        };
        let each = held.map(|bytes| mib(bytes as f64 / n) + records + shared);
        let mut detail =
            format!("resident memory of the process / N, and {records:.2} MiB of records");
        if at_rest {
            detail += &format!(", and {shared:.2} MiB of tables that are shared");
        }
        self.add(&MEMORY, each, detail);
    }
}

/// Returns the resident memory of the process in bytes.
pub(super) fn resident() -> Option<u64> {
    value("/proc/self/status", "VmRSS:")
}

/// Returns the reason to stop, if too little memory is left to continue.
pub(super) fn shortage() -> Option<String> {
    let taken = resident()?;
    let left = value("/proc/meminfo", "MemAvailable:")?;
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    (taken > MUCH && left < LEAST).then(|| {
        format!(
            "the run has taken {:.1} GiB, and the machine has only {:.1} GiB left; a smaller mesh takes less",
            gib(taken),
            gib(left)
        )
    })
}

/// Reads a value in kB from a file in /proc, and returns it in bytes.
fn value(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_much_memory_there_is() {
        let (all, left) = ("MemTotal:", "MemAvailable:");
        let [all, left] = [all, left].map(|name| value("/proc/meminfo", name).unwrap_or(0));
        assert!(0 < left && left < all);
        assert!(resident().is_some_and(|taken| 0 < taken && taken < all));
        assert_eq!(value("/proc/meminfo", "Nothing:"), None);
    }
}
