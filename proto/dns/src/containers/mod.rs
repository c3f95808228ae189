//! Containers of this host: their names, their `/etc/hosts`, and the way of their queries to the server.

pub mod docker;
pub mod hosts_file;
pub mod namespaces;
pub mod naming;
pub mod networks;
pub mod starting;
