//! Paths of the router: socket, state directory, program.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use mesh_options::{DEFAULT_SOCKET, DEFAULT_STATE_DIR};
use serde::Deserialize;

/// The router's program.
pub(crate) const PROGRAM: &str = "mesh-router";
/// Log of a background router, in its state directory.
pub(crate) const LOG: &str = "router.log";

/// Keys of the router's configuration file that this command needs; the router checks the rest.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Config {
    socket: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    /// Peers to dial.
    #[serde(default)]
    pub(crate) peers: Vec<String>,
    /// Name of the bridge.
    pub(crate) bridge: Option<String>,
}

impl Config {
    /// Reads the file, if one is given.
    pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file else {
            return Ok(Self::default());
        };
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        toml::from_str(&text)
            .map_err(|e| anyhow!("cannot read {}: {}", file.display(), e.message()))
    }
}

/// Returns the socket: as given (flag or environment), else as configured, else the default.
pub(crate) fn socket(given: Option<&Path>, config: Option<&Config>) -> PathBuf {
    let configured = config.and_then(|c| c.socket.as_deref());
    given
        .or(configured)
        .unwrap_or(Path::new(DEFAULT_SOCKET))
        .to_owned()
}

/// Returns the state directory: as given, else as configured, else the default.
pub(crate) fn state_dir(given: Option<&Path>, config: &Config) -> PathBuf {
    given
        .or(config.state_dir.as_deref())
        .unwrap_or(Path::new(DEFAULT_STATE_DIR))
        .to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_then_configuration_then_default() {
        let config: Config =
            toml::from_str("socket = '/c.sock'\nstate-dir = '/c'\nport = 7000\npeers = ['a']\n")
                .unwrap();
        let given = Path::new("/g");
        assert_eq!(socket(Some(given), Some(&config)), given);
        assert_eq!(socket(None, Some(&config)), Path::new("/c.sock"));
        assert_eq!(socket(None, None), Path::new(DEFAULT_SOCKET));
        assert_eq!(state_dir(None, &config), Path::new("/c"));
        assert_eq!(
            state_dir(None, &Config::default()),
            Path::new(DEFAULT_STATE_DIR)
        );
    }
}
