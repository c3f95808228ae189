//! The router's process: its configuration file, its command line and its systemd unit.

mod config_file;
mod start;
mod unit;

pub use self::config_file::{ConfigFile, ConfigFileError};
pub use self::start::{peers_to_dial, router_words};
pub use self::unit::{Unit, unit_of_cgroup};
