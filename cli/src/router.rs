//! Files of the router: configuration, program, log.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use mesh_command::service::ConfigFile;

/// The router's program.
pub(crate) const PROGRAM: &str = "mesh-router";
/// Log of a background router, in its state directory.
pub(crate) const LOG: &str = "router.log";

/// Reads the configuration file, if one is given.
pub(crate) fn read_config(file: Option<&Path>) -> anyhow::Result<ConfigFile> {
    let Some(file) = file else {
        return Ok(ConfigFile::default());
    };
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    ConfigFile::parse(&text).map_err(|e| anyhow!("cannot read {}: {e}", file.display()))
}

/// Returns the path of the router's program: in the directory of this one, else in PATH.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .map(|exe| exe.with_file_name(PROGRAM))
        .filter(|path| path.is_file());
    beside.or_else(|| in_path(PROGRAM)).ok_or_else(|| {
        anyhow!("cannot find {PROGRAM} beside this program or in PATH; install it beside `mesh`")
    })
}

/// Returns the first file called `program` in PATH.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}
