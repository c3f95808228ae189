//! All that is on the mesh on one host, and every decision about it.
//!
//! | module | subject |
//! |---|---|
//! | [`table`] | all that is attached, exposed, prepared or joined; which address may be given to whose interface |
//! | [`member`] | containers and processes that the router plugs itself |
//! | [`docker`] | endpoints of Docker networks, which Docker plugs; addresses that it is not told of |
//! | [`exposure`] | addresses of the host itself |
//! | [`hosts`] | wishes about the `/etc/hosts` of attached containers |
//! | [`network`] | addresses in a network, and the networks that are used here |
//! | [`interface`] | one interface, and the tag by which the kernel knows it |
//! | [`arguments`] | arguments of the commands |
//! | [`interference`] | changes by others at ports of the bridge |
//! | [`reconcile`] | differences between the table and the kernel, as actions |
//! | [`orphan`] | interfaces that the table does not know |
//! | [`leases`] | owners of leases, the names that these have now, and leases of the shared range that nobody can use any more |
//!
//! Nothing here waits, reads a clock or calls the kernel: facts and the time are arguments, effects are return values.

#![forbid(unsafe_code)]

pub mod arguments;
pub mod docker;
pub mod exposure;
pub mod hosts;
pub mod interface;
pub mod interference;
pub mod leases;
pub mod member;
pub mod network;
pub mod orphan;
pub mod reconcile;
pub mod table;
