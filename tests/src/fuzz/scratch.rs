//! A directory for targets that read files: one per thread, in memory if the system has a tmpfs.

use std::path::Path;

use tempfile::TempDir;

thread_local! {
    static DIR: TempDir = new().expect("a temporary directory can be made");
}

fn new() -> std::io::Result<TempDir> {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())
}

/// Runs `work` on the directory; files stay for the next run.
pub(super) fn with_dir<T>(work: impl FnOnce(&Path) -> T) -> T {
    DIR.with(|dir| work(dir.path()))
}
