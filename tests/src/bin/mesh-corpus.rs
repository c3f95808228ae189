//! Generates the corpus of each fuzz target: `cargo run -p mesh-tests --bin mesh-corpus`.
//!
//! Other files (`crash-…`, kept as regressions) are not touched.

use std::fs;

use anyhow::{Context, Result};
use mesh_tests::fuzz::{TARGETS, FuzzTarget};

fn main() -> Result<()> {
    TARGETS.iter().try_for_each(write)
}

fn write(target: &FuzzTarget) -> Result<()> {
    let dir = target.corpus_dir();
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for (path, _) in target.corpus()? {
        let made = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("seed-"));
        if made {
            fs::remove_file(&path)?;
        }
    }
    for (n, seed) in (target.seeds)().iter().enumerate() {
        fs::write(dir.join(format!("seed-{n:02}")), seed)?;
    }
    Ok(())
}
