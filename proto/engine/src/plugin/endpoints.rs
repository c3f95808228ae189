//! Endpoints that the plugin process knows: made by the router, or by itself while no router answers.

use std::collections::{BTreeMap, BTreeSet};

use mesh_host::docker::endpoint::{DeferredAddress, EndpointOptions};
use mesh_host::docker::user_networks::WayOut;
use mesh_host::interface::{ContainerInterface, parse_tag};
use mesh_host::network::scoped::ScopedAddress;
use mesh_proto::limits::MAX_ATTACHED;
use serde_json::Value;

use super::call::{DriverCall, is_error};
use super::messages::chosen;

/// Endpoints between CreateEndpoint and DeleteEndpoint; at most [`MAX_ATTACHED`].
#[derive(Debug, Default)]
pub struct PluginEndpoints(BTreeMap<String, PluginEndpoint>);

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginEndpoint {
    /// `None` if it was made without the router: it has no address before that gives it one.
    pub options: Option<EndpointOptions>,
    /// Name of the veth end that Docker moves; empty if the router created it.
    pub peer: String,
    /// Its container's way out of the mesh.
    pub way_out: WayOut,
}

impl PluginEndpoint {
    /// Returns its interface; `None` without an address.
    pub fn interface(&self, id: &str) -> Option<ContainerInterface> {
        self.options.as_ref().map(|options| interface(id, options))
    }

    /// Returns true if Docker is not told the whole address.
    pub fn is_deferred(&self) -> bool {
        let options = self.options.as_ref();
        options.is_some_and(|options| options.deferred != DeferredAddress::No)
    }
}

impl PluginEndpoints {
    /// Notes the router's answer to a call.
    pub fn note(&mut self, path: &str, body: &[u8], answer: &Value) {
        if is_error(answer) {
            return;
        }
        match DriverCall::parse(path, body) {
            Ok(DriverCall::CreateEndpoint(new)) => {
                if let Some(options) = new.options.or_else(|| chosen(answer)) {
                    let made = PluginEndpoint {
                        options: Some(options),
                        peer: String::new(),
                        way_out: WayOut::default(),
                    };
                    drop(self.enter(&new.id, made));
                }
            }
            Ok(DriverCall::DeleteEndpoint(id)) => drop(self.remove(&id)),
            _ => {}
        }
    }

    /// Returns an endpoint.
    pub fn get(&self, id: &str) -> Option<&PluginEndpoint> {
        self.0.get(id)
    }

    /// Returns true if the endpoint was made without the router.
    pub fn made_here(&self, id: &str) -> bool {
        let end = self.0.get(id);
        end.is_some_and(|end| end.options.is_none() || !end.peer.is_empty())
    }

    /// Adds an endpoint, or replaces it.
    ///
    /// # Errors
    /// There are too many.
    pub fn enter(&mut self, id: &str, end: PluginEndpoint) -> Result<(), String> {
        if self.0.len() >= MAX_ATTACHED && !self.0.contains_key(id) {
            return Err(format!(
                "there are {MAX_ATTACHED} endpoints on this host already; no more are made without the router"
            ));
        }
        self.0.insert(id.to_owned(), end);
        Ok(())
    }

    /// Removes an endpoint.
    pub fn remove(&mut self, id: &str) -> Option<PluginEndpoint> {
        self.0.remove(id)
    }
}

/// Returns the interface of an endpoint.
pub fn interface(id: &str, options: &EndpointOptions) -> ContainerInterface {
    ContainerInterface {
        mac: options.mac(),
        second: options.second.as_ref().map(|second| second.address),
        ..ContainerInterface::new(id, "", options.scoped(), options.multicast)
    }
}

/// Returns the tags of interfaces that an earlier container left with the address of this one; they are removed before it is
/// made. `plugged` are all tags, `arrived` those of interfaces in a container.
///
/// # Errors
/// A container of this host has the address.
pub fn leftovers(
    id: &str,
    interface: &ContainerInterface,
    plugged: &BTreeSet<String>,
    arrived: &BTreeSet<String>,
) -> Result<Vec<String>, String> {
    let ip = interface.address.addr();
    // The tag of an interface has its first address, which no other has.
    let is_same = |other: ScopedAddress| other.network == interface.network && other.ip() == ip;
    let mut left = Vec::new();
    for tag in plugged {
        match parse_tag(tag) {
            Some((key, address)) if key != id && is_same(address) => {}
            _ => continue,
        }
        if arrived.contains(tag) {
            return Err(format!(
                "{ip} is already used by another container on this host"
            ));
        }
        left.push(tag.clone());
    }
    Ok(left)
}

/// Returns the tags of an endpoint.
pub fn tags_of(id: &str, plugged: BTreeSet<String>) -> Vec<String> {
    let is_its = |tag: &String| parse_tag(tag).is_some_and(|(key, _)| key == id);
    plugged.into_iter().filter(is_its).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{CREATE_ENDPOINT, DELETE_ENDPOINT};
    use super::*;
    use mesh_proto::network::NetworkId;
    use serde_json::json;

    fn options(address: &str) -> EndpointOptions {
        EndpointOptions {
            address: address.parse().unwrap(),
            multicast: false,
            deferred: DeferredAddress::No,
            lease_owner: String::new(),
            network: NetworkId::DEFAULT,
            mac: None,
            second: None,
        }
    }

    #[test]
    fn the_answers_of_the_router_are_noted() {
        let mut ends = PluginEndpoints::default();
        let body = br#"{"NetworkID": "n", "EndpointID": "e", "Options": {}}"#;
        ends.note(CREATE_ENDPOINT, body, &json!({"Err": "no"}));
        assert_eq!(ends.get("e"), None);
        let answer = json!({"Interface": {"Address": "10.2.1.1/24"}});
        ends.note(CREATE_ENDPOINT, body, &answer);
        let address = ends.get("e").and_then(|end| end.options.clone());
        assert_eq!(address, Some(options("10.2.1.1/24")));
        assert!(!ends.made_here("e"));
        ends.note(DELETE_ENDPOINT, br#"{"EndpointID": "e"}"#, &json!({}));
        assert_eq!(ends.get("e"), None);
    }

    #[test]
    fn endpoints_made_here_are_known_and_bounded() {
        let mut ends = PluginEndpoints::default();
        let bare = PluginEndpoint {
            options: None,
            peer: String::new(),
            way_out: WayOut::default(),
        };
        for n in 0..MAX_ATTACHED {
            ends.enter(&n.to_string(), bare.clone()).unwrap();
        }
        assert!(ends.made_here("7") && !ends.made_here("x"));
        assert!(ends.enter("x", bare.clone()).is_err());
        assert!(ends.enter("7", bare.clone()).is_ok());
        assert_eq!((bare.interface("7"), bare.is_deferred()), (None, false));
    }

    #[test]
    fn an_address_in_a_container_is_not_taken_and_a_leftover_is_removed() {
        let interface = |id| interface(id, &options("10.2.1.1/24"));
        let (new, old) = (interface("new"), interface("old"));
        let plugged = BTreeSet::from([old.tag.clone(), "other".to_owned()]);
        let none = BTreeSet::new();
        let left = leftovers("new", &new, &plugged, &none);
        assert_eq!(left, Ok(vec![old.tag.clone()]));
        assert!(leftovers("new", &new, &plugged, &plugged).is_err());
        assert_eq!(leftovers("old", &old, &plugged, &plugged), Ok(vec![]));
        let in_web = EndpointOptions {
            network: NetworkId([7; 16]),
            ..options("10.2.1.1/24")
        };
        let in_web = super::interface("new", &in_web);
        let left = leftovers("new", &in_web, &plugged, &plugged);
        assert_eq!(left, Ok(vec![]), "that is another address");
        assert_eq!(tags_of("old", plugged), [old.tag]);
    }
}
