//! All that is on the mesh on one host, and every decision about it.
//!
//! | module | subject |
//! |---|---|
//! | [`table`] | all that is attached, exposed, prepared or joined; which address may be given to whose interface |
//! | [`member`] | containers and processes that the router plugs itself |
//! | [`endpoint`] | endpoints of Docker networks, which Docker plugs |
//! | [`exposure`] | addresses of the host itself |
//! | [`hosts`] | wishes about the `/etc/hosts` of attached containers |
//! | [`interface`] | one interface, and the tag by which the kernel knows it |
//! | [`driver_options`] | options of an endpoint, as Docker keeps them with a container |
//! | [`arguments`] | arguments of the commands |
//! | [`interference`] | changes by others at ports of the bridge |
//! | [`deferral`] | addresses that Docker is not told of |
//! | [`network_plan`] | Docker networks for the addresses of one container |
//! | [`reconcile`] | differences between the table and the kernel, as actions |
//! | [`orphan`] | interfaces that the table does not know |
//! | [`lease_owner`], [`container_names`] | owners of leases, and the names that containers have now |
//! | [`lease_gc`] | leases of the shared range that nobody can use any more |
//!
//! Nothing here waits, reads a clock or calls the kernel: facts and the time are arguments, effects are return values.

#![forbid(unsafe_code)]

pub mod arguments;
pub mod container_names;
pub mod deferral;
pub mod driver_options;
pub mod endpoint;
pub mod exposure;
pub mod hosts;
pub mod interface;
pub mod interference;
pub mod lease_gc;
pub mod lease_owner;
pub mod member;
pub mod network_plan;
pub mod orphan;
pub mod reconcile;
pub mod table;
