//! The programs under test, where Cargo has built them.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};

/// Paths of the programs under test and of their helper.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) dir: String,
    pub(crate) mesh: String,
    pub(crate) router: String,
    pub(crate) probe: String,
}

impl Programs {
    /// Locates the programs: Cargo builds those of the workspace into one directory, and tests into a subdirectory of
    /// it.
    pub(crate) fn find() -> Result<Self> {
        let this = std::env::current_exe()?;
        let mut dirs = this.ancestors().skip(1).take(2);
        let dir = dirs
            .find(|dir| !dir.ends_with("deps"))
            .and_then(Path::to_str);
        let dir =
            dir.ok_or_else(|| anyhow!("no directory of programs above {}", this.display()))?;
        let program = |name: &str| format!("{dir}/{name}");
        Ok(Self {
            dir: dir.to_owned(),
            mesh: program("mesh"),
            router: program("mesh-router"),
            probe: program("meshprobe"),
        })
    }

    /// Fails if programs are missing: Cargo does not build those of other crates for a test.
    pub(crate) fn check(&self) -> Result<()> {
        for program in [&self.mesh, &self.router] {
            ensure!(
                Path::new(program).exists(),
                "{program} is missing: run `cargo build --workspace --bins` first"
            );
        }
        Ok(())
    }
}
