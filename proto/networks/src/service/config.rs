//! Facts about this router that do not change while it runs.

use ipnet::IpNet;

/// Configuration of the desk.
#[derive(Clone, Debug, Default)]
pub struct NetworksConfig {
    /// MTU of the mesh.
    pub mtu: u16,
    /// Subnets of the network `default`: the range of addresses, if there is one.
    pub default_subnets: Vec<IpNet>,
}
