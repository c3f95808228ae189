//! Options of a router, declared once.
//!
//! ```text
//! mesh launch FLAGS ─ Options::to_words ─> mesh-router FLAGS ─┐
//!                                                             ├─ Options::over ─> settings of mesh-router
//! mesh.toml ──────────── Options::from_toml ──────────────────┘
//! ```
//!
//! [`Options`] is flattened into the command lines of `mesh launch` and `mesh-router`, and its fields are the keys of the
//! configuration file. A new option is a field here, and its meaning in `router/src/config/settings.rs`; handing it on and
//! merging it with the file follow from the field.

#![forbid(unsafe_code)]

mod declared;
mod error;
mod merge;
mod values;

pub use self::declared::Options;
pub use self::error::OptionsError;
pub use self::values::{Cipher, Datapath, LatencyMode};

/// Default of `--state-dir`.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/mesh";
/// Default of `--socket`.
pub const DEFAULT_SOCKET: &str = "/run/mesh/mesh.sock";
/// Default of `--bridge`.
pub const DEFAULT_BRIDGE: &str = "mesh";
