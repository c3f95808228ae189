//! The memory that a run takes, and what of it one router would take alone.

use std::fs;

use super::figures::MEMORY;
use super::measure::{Measured, count};
use crate::sim::router::Router;

/// Bytes that a record of some 300 takes in a router, with what is read out of it; more than was found.
const RECORD: usize = 700;
/// Bytes for each router in the database and in the graph, which the routers of a mesh that begins at rest share.
const SHARED: usize = 160;
/// A run that has taken so much ends when the machine has no more than this left, before the kernel ends something.
const MUCH: u64 = 1 << 30;
const LEAST: u64 = 512 << 20;

impl Measured {
    /// What the whole process holds more than before the first router, divided by the routers: connections and events of
    /// the simulated network are in it. The records, which these routers share, are added for each; so are tables that
    /// they share because they began with them.
    pub(super) fn memory(&mut self, before: Option<u64>, at_rest: bool) {
        let n = count(self.world.len());
        let held = resident()
            .zip(before)
            .map(|(now, then)| now.saturating_sub(then));
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        let tables = self.world.router(0).map(Router::tables);
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

/// Bytes of memory the process has.
pub(super) fn resident() -> Option<u64> {
    value("/proc/self/status", "VmRSS:")
}

/// Why a run cannot go on, if so little memory is left that it will not.
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

/// A value that a file of the kernel has in kB, in bytes.
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
