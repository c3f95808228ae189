//! Verbs for the router's process: start, stop and reset, by systemd or by a supervisor of its own.

pub(crate) mod launch;
pub(crate) mod reset;
pub(crate) mod stop;
pub(crate) mod supervisor;
pub(crate) mod unit;
