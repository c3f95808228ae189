//! Memory of the process and of the machine.

use std::fs;

/// Memory of a run above which it stops when the machine has little left, before the kernel's OOM killer acts.
const MUCH: u64 = 1 << 30;
const LEAST: u64 = 512 << 20;

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
