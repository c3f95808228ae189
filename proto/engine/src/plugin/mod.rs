//! libnetwork's remote driver protocol, and what the plugin process adds to it.

pub mod call;
pub mod endpoints;
pub mod ipam;
mod messages;
mod network_messages;
pub mod process;
pub mod released;
pub mod swarm;

pub use messages::endpoint_of;

/// Address space of Swarm's pools, both of the leader and of nodes.
const SWARM_SPACE: &str = "mesh-global";
/// Option of a network or pool: name or id of a network of the mesh.
pub const NETWORK_OPTION: &str = "mesh.network";
/// Option of a network: the MTU of its containers.
pub const MTU_OPTION: &str = "com.docker.network.driver.mtu";
/// Call that makes an endpoint.
pub const CREATE_ENDPOINT: &str = "NetworkDriver.CreateEndpoint";
/// Call that joins an endpoint to a namespace.
pub const JOIN: &str = "NetworkDriver.Join";
/// Call that describes an endpoint.
pub const DESCRIBE_ENDPOINT: &str = "NetworkDriver.EndpointOperInfo";
/// Call that takes an endpoint out of its namespace.
pub const LEAVE: &str = "NetworkDriver.Leave";
/// Call that removes an endpoint.
pub const DELETE_ENDPOINT: &str = "NetworkDriver.DeleteEndpoint";
/// Call that makes a network.
pub const CREATE_NETWORK: &str = "NetworkDriver.CreateNetwork";
/// Call that removes a network.
pub const DELETE_NETWORK: &str = "NetworkDriver.DeleteNetwork";
/// Call of Swarm's leader that makes a network for all nodes.
pub const ALLOCATE_NETWORK: &str = "NetworkDriver.AllocateNetwork";
/// Call of Swarm's leader that gives up a network of all nodes.
pub const FREE_NETWORK: &str = "NetworkDriver.FreeNetwork";
/// Call that makes an address pool.
pub const REQUEST_POOL: &str = "IpamDriver.RequestPool";
/// Call that gives an address pool up.
pub const RELEASE_POOL: &str = "IpamDriver.ReleasePool";
/// Call that takes an address.
pub const REQUEST_ADDRESS: &str = "IpamDriver.RequestAddress";
/// Call that gives an address up.
pub const RELEASE_ADDRESS: &str = "IpamDriver.ReleaseAddress";
/// Call that asks for a sign of life; the router then checks Docker and the kernel again.
pub const ALIVE: &str = "Mesh.Alive";
/// Call that returns a description of the plugin process.
pub const DESCRIBE: &str = "Mesh.Describe";
/// Call that ends the plugin process.
pub const END: &str = "Mesh.End";
