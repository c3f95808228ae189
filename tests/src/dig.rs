//! `dig` without names for its threads.
//!
//! dig names its threads through `/proc/self/task`. When it ends on a busy machine whose kernel does not preempt itself
//! (`PREEMPT(none)`, seen with Linux 6.18), the process that waits for it can spin in the kernel for minutes, in
//! `shrink_dcache_parent`; as many at once as there are processors stop the machine. So a library is preloaded in which threads
//! get no names.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const SOURCE: &str = include_str!("../testbed/unnamed_threads.c");

/// Returns the environment for a command; more than nothing only for one that runs dig.
pub(crate) fn environment(command: &[&str]) -> Vec<(&'static str, &'static str)> {
    let mut words = command.iter().flat_map(|word| word.split_whitespace());
    match words.any(|word| word == "dig") {
        true => library()
            .map(|path| ("LD_PRELOAD", path))
            .into_iter()
            .collect(),
        false => Vec::new(),
    }
}

/// Returns the path of the library; `None` if it cannot be built: then dig names its threads.
fn library() -> Option<&'static str> {
    static LIBRARY: OnceLock<Option<String>> = OnceLock::new();
    LIBRARY.get_or_init(build).as_deref()
}

fn build() -> Option<String> {
    let dir = std::env::current_exe().ok()?.parent()?.to_owned();
    let path: PathBuf = dir.join("unnamed_threads.so");
    // Several test programs may build it at once.
    let new = path.with_extension(format!("so.{}", std::process::id()));
    let mut compiler = Command::new("cc")
        .args(["-shared", "-fPIC", "-x", "c", "-", "-o"])
        .arg(&new)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    compiler.stdin.take()?.write_all(SOURCE.as_bytes()).ok()?;
    let is_built = compiler.wait().ok()?.success();
    let is_there = is_built && std::fs::rename(&new, &path).is_ok();
    is_there.then(|| path.to_string_lossy().into_owned())
}
