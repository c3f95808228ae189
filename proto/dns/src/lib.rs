//! Names of one host's containers, and the DNS server that answers for the mesh, as decisions.
//!
//! | module | subject |
//! |---|---|
//! | [`host_names`] | names of this host's containers, from attachments, engines and the operator |
//! | [`container`] | names and ports of one container, from its engine |
//! | [`hosts_file`], [`starting`] | lines in a container's `/etc/hosts`; whose file it is before the container runs |
//! | [`update`], [`feed`] | updates of the names that the server answers, and their way from the control plane |
//! | [`clients`], [`permits`] | clients that are answered, and how many queries of each at once |
//! | [`forwarding`], [`resolv_conf`] | upstream servers for other names |
//! | [`docker`], [`namespaces`] | containers whose queries are redirected, or answered in their namespaces |
//! | [`firewall`] | rules that let containers reach the server |
//! | [`counters`], [`report`] | what operators see |
//!
//! Nothing here waits, reads a clock or opens a socket: inputs and the time are arguments, effects are return values. The
//! answers themselves are in [`mesh_proto::names`].

#![forbid(unsafe_code)]

pub mod clients;
pub mod container;
pub mod counters;
pub mod docker;
pub mod feed;
pub mod firewall;
pub mod forwarding;
pub mod host_names;
pub mod hosts_file;
pub mod namespaces;
pub mod permits;
pub mod report;
pub mod resolv_conf;
pub mod starting;
pub mod update;
