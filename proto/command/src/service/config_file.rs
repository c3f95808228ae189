//! The router's configuration file, as far as the command needs it.

use std::path::{Path, PathBuf};

use mesh_options::{DEFAULT_SOCKET, DEFAULT_STATE_DIR};
use serde::Deserialize;

/// Keys of the router's configuration file that this command needs; the router checks the rest.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigFile {
    socket: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    /// Peers to dial.
    #[serde(default)]
    pub peers: Vec<String>,
    /// Name of the bridge.
    pub bridge: Option<String>,
}

/// Reason in one line why a text is no configuration file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigFileError(String);

impl ConfigFile {
    /// Parses the text of the file.
    ///
    /// # Errors
    /// Fails if it is no TOML, or if one of these keys has a value of the wrong type.
    pub fn parse(text: &str) -> Result<Self, ConfigFileError> {
        toml::from_str(text).map_err(|e| ConfigFileError(e.message().to_owned()))
    }

    /// Returns the socket: as given (flag or environment), else as configured, else the default.
    pub fn socket(&self, given: Option<&Path>) -> PathBuf {
        given
            .or(self.socket.as_deref())
            .unwrap_or(Path::new(DEFAULT_SOCKET))
            .to_owned()
    }

    /// Returns the state directory: as given, else as configured, else the default.
    pub fn state_dir(&self, given: Option<&Path>) -> PathBuf {
        given
            .or(self.state_dir.as_deref())
            .unwrap_or(Path::new(DEFAULT_STATE_DIR))
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_then_configuration_then_default() {
        let config =
            ConfigFile::parse("socket = '/c.sock'\nstate-dir = '/c'\nport = 7000\npeers = ['a']\n")
                .unwrap();
        let none = ConfigFile::default();
        let given = Path::new("/g");
        assert_eq!(config.socket(Some(given)), given);
        assert_eq!(config.socket(None), Path::new("/c.sock"));
        assert_eq!(none.socket(None), Path::new(DEFAULT_SOCKET));
        assert_eq!(config.state_dir(Some(given)), given);
        assert_eq!(config.state_dir(None), Path::new("/c"));
        assert_eq!(none.state_dir(None), Path::new(DEFAULT_STATE_DIR));
    }

    #[test]
    fn a_mistake_is_told_in_one_line() {
        let error = ConfigFile::parse("peers = 'a'").unwrap_err().to_string();
        assert!(!error.is_empty() && !error.contains('\n'), "{error}");
    }
}
