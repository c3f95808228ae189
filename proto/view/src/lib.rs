//! Text of a router's answers, as the `mesh` command prints them.
//!
//! | module | subject |
//! |---|---|
//! | [`status`] | `mesh status` and its subcommands: the choice of a view, its text and its JSON |
//! | [`overview`] | the blocks of `mesh status` |
//! | [`connections`] | connections, one per line; names and counts of their states |
//! | [`peers`] | selection of peers and connections; the list of peers below its summary |
//! | [`ipam`] | owners of address space, leases and loans |
//! | [`dns`] | names, and remarks about them |
//! | [`networks`] | networks of the mesh, as a table and in detail |
//! | [`waiting`] | remarks on requests that wait for an address or an engine |
//! | [`ps`] | attached containers |
//! | [`topology`] | the mesh, drawn as text, DOT or SVG |
//! | [`report`] | the whole report, cut down |
//! | [`template`] | Go templates over JSON |
//! | [`router_log`] | the lines of the router's log that explain why it ended |
//!
//! Nothing here asks a router or prints: the answer is an argument, and the text is the return value.

#![forbid(unsafe_code)]

pub mod connections;
pub mod dns;
pub mod ipam;
pub mod networks;
pub mod overview;
pub mod peers;
pub mod ps;
pub mod report;
pub mod router_log;
pub mod status;
pub mod template;
pub mod topology;
pub mod waiting;
