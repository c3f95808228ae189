//! Options of a router, declared once.
//!
//! ```text
//! mesh launch FLAGS ─ Options::to_words ─> mesh-router FLAGS ─┐
//!                                                             ├─ Options::over ─> RouterSettings
//! mesh.toml ──────────── Options::from_toml ──────────────────┘
//! ```
//!
//! [`Options`] is flattened into the command lines of `mesh launch` and `mesh-router`, and its fields are the keys of the
//! configuration file. A new option is a field there, and its default, check and meaning in [`RouterSettings`]; handing it on and
//! merging it with the file follow from the field.

#![forbid(unsafe_code)]

mod declared;
mod dns;
mod error;
pub mod ipalloc;
mod merge;
mod plugin;
mod router;
mod settings;
mod values;

pub use self::declared::Options;
pub use self::dns::{DNS_PORT, DnsSettings};
pub use self::error::{OptionsError, SettingsError};
pub use self::plugin::{DEFAULT_PLUGIN_SOCKET, PluginSettings};
pub use self::router::{RouterArgs, RouterTask};
pub use self::settings::{HostFacts, RouterSettings};
pub use self::values::{Cipher, Datapath, LatencyMode};

/// Default of `--state-dir`.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/mesh";
/// Default of `--socket`.
pub const DEFAULT_SOCKET: &str = "/run/mesh/mesh.sock";
/// Default of `--bridge`.
pub const DEFAULT_BRIDGE: &str = "mesh";
