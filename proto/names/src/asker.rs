//! The sender of a query, as far as answers depend on it.

use core::slice;
use std::sync::Arc;

use super::query::QueryTransport;
use mesh_proto::network::NetworkId;

/// Networks of an asker, in the order in which they are searched: a name, or an address, is answered from the first one
/// that has it, and from no other network than these.
///
/// By default only the network `default`, as if there were no others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskerNetworks(Option<Arc<[NetworkId]>>);

/// Sender of a query.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Networks that it is in.
    pub networks: &'a AskerNetworks,
    /// Transport of its query.
    pub transport: QueryTransport,
}

impl AskerNetworks {
    /// Returns these networks, each once, in the order in which they first come. Without any, no name is known.
    pub fn of(networks: impl IntoIterator<Item = NetworkId>) -> Self {
        let mut found = Vec::new();
        for network in networks {
            if !found.contains(&network) {
                found.push(network);
            }
        }
        match found[..] {
            [NetworkId::DEFAULT] => Self::default(),
            _ => Self(Some(found.into())),
        }
    }

    /// Returns the networks in their order.
    pub fn as_slice(&self) -> &[NetworkId] {
        match &self.0 {
            Some(networks) => networks,
            None => slice::from_ref(&NetworkId::DEFAULT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_come_once_in_the_order_given() {
        let [a, b] = [1, 2].map(|n| NetworkId([n; 16]));
        let slice = |networks: &[NetworkId]| {
            let of = AskerNetworks::of(networks.iter().copied());
            of.as_slice().to_vec()
        };
        assert_eq!(slice(&[b, a, b, a]), [b, a]);
        assert_eq!(slice(&[]), []);
        assert_eq!(AskerNetworks::default().as_slice(), [NetworkId::DEFAULT]);
        let default = [NetworkId::DEFAULT; 2];
        assert_eq!(AskerNetworks::of(default), AskerNetworks::default());
    }
}
