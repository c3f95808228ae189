//! Networks as users see them.

use mesh_proto::ids::Mac;
use mesh_proto::network::NetworkId;

/// Facts about networks that are not in the table.
#[derive(Clone, Copy)]
pub struct NetworkView<'a> {
    /// Returns the name of a network other than `default`.
    pub name: &'a dyn Fn(&NetworkId) -> String,
    /// Returns the name of the bridge of a network.
    pub bridge: &'a dyn Fn(NetworkId) -> String,
    /// Returns the MAC address of that bridge, once it is known.
    pub host_mac: &'a dyn Fn(NetworkId) -> Option<Mac>,
}

impl NetworkView<'_> {
    /// Returns the name of a network as the API has it: empty for `default`.
    pub fn shown(&self, network: &NetworkId) -> String {
        match network.is_default() {
            true => String::new(),
            false => (self.name)(network),
        }
    }
}
