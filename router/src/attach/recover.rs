//! Interfaces of ours that the table does not know: of containers that run on (the state was lost), or of nobody.

use std::collections::BTreeSet;

use ipnet::IpNet;
use mesh_proto::api::Runtime;

use crate::driver::options;

use super::table::{Endpoint, Owner, Port, parse_tag};
use super::{AttachError, Attachments, EndpointOptions, Home, HostsWish, Late, Member};
use crate::engine::{Container, EngineError};
use crate::ipam::holder::holder;

/// An endpoint of Docker.
pub(super) struct Known {
    /// Id of its network.
    network: String,
    /// None before it is joined.
    pub(super) container: Option<Container>,
}

/// What became of one stray interface.
enum Fate {
    /// It is in the table now.
    Adopted,
    /// Nobody has it.
    Nobodys,
    /// Whose it is cannot be told while Docker is away.
    Unknown,
}

impl Attachments {
    /// Takes strays of running Docker containers into the table; removes the others, and namespaces of nobody.
    pub(super) async fn settle_strays(&self, plugged: &BTreeSet<String>) {
        let known: BTreeSet<String> = {
            let table = self.table();
            let members = table.members.iter();
            let ports =
                members.flat_map(|(key, m)| m.ports.iter().map(|port| port.interface(key).tag));
            let ends = table
                .endpoints
                .iter()
                .map(|(id, end)| end.interface(id).tag);
            ports.chain(ends).collect()
        };
        for tag in plugged.difference(&known) {
            if matches!(self.fate(tag).await, Fate::Nobodys) {
                let tag = tag.clone();
                if let Err(error) = self.on_kernel(move |kernel| kernel.unplug(&tag)).await {
                    tracing::warn!(%error, "an interface that belongs to nobody could not be removed");
                }
            }
        }
        if let Err(error) = self.remove_stray_namespaces().await {
            tracing::warn!(%error, "a namespace that belongs to nobody could not be removed");
        }
    }

    async fn fate(&self, tag: &str) -> Fate {
        let Some((key, address)) = parse_tag(tag) else {
            return Fate::Nobodys;
        };
        // Docker's ids have 64 digits; ours are shorter, and what they named went with the table.
        if key.len() < 64 {
            return Fate::Nobodys;
        }
        match self.adopt_endpoint(key, address).await {
            Ok(true) => return Fate::Adopted,
            Ok(false) => {}
            Err(_) => return Fate::Unknown,
        }
        match self.adopt_container(key, address).await {
            Ok(true) => Fate::Adopted,
            Ok(false) => Fate::Nobodys,
            Err(_) => Fate::Unknown,
        }
    }

    /// Takes an endpoint that Docker knows into the table, if it does.
    async fn adopt_endpoint(&self, id: &str, address: IpNet) -> Result<bool, AttachError> {
        let Some(known) = self.find_endpoint(id).await? else {
            return Ok(false);
        };
        // Before it is joined nobody knows whose it is.
        if let Some(container) = &known.container {
            let mut kept = container.connections.iter().filter_map(options::kept);
            let kept = kept.find(|kept| kept.address == address);
            let wanted = kept.unwrap_or_else(|| EndpointOptions {
                address,
                multicast: false,
                late: Late::No,
                holder: holder(Runtime::Docker, "", id),
            });
            self.enter_endpoint(id, &known.network, container, &wanted);
        }
        Ok(true)
    }

    /// What Docker says of an endpoint; none when it knows no such one.
    pub(super) async fn find_endpoint(&self, id: &str) -> Result<Option<Known>, AttachError> {
        let Some(docker) = self.engines.of(Runtime::Docker) else {
            return Ok(None);
        };
        for network in docker.networks().await? {
            let ends = docker.endpoints(&network.id).await?;
            let Some(end) = ends.into_iter().find(|end| end.endpoint == id) else {
                continue;
            };
            let container = match docker.inspect(&end.container).await {
                Ok(container) => Some(container),
                Err(EngineError::NoContainer(_)) => None,
                Err(error) => return Err(error.into()),
            };
            return Ok(Some(Known {
                network: network.id,
                container,
            }));
        }
        Ok(None)
    }

    /// Enters an endpoint that was made and joined without the router.
    fn enter_endpoint(
        &self,
        id: &str,
        network: &str,
        container: &Container,
        wanted: &EndpointOptions,
    ) {
        let endpoint = Endpoint {
            sandbox: Some(container.sandbox.clone().into()),
            owner: Some(Owner {
                id: container.id.clone(),
                name: container.name.clone(),
            }),
            ..Endpoint::new(network, wanted, wanted.holder.clone())
        };
        self.record(|table| {
            table.endpoints.entry(id.to_owned()).or_insert(endpoint);
        });
    }

    /// Gives an address to containers that Docker connected while no router could choose one; the next look plugs them.
    pub(super) async fn settle_bare_endpoints(&self) -> Result<(), AttachError> {
        let Some(docker) = self.engines.of(Runtime::Docker) else {
            return Ok(());
        };
        for network in docker.networks().await? {
            for end in docker.endpoints(&network.id).await? {
                if self.table().endpoints.contains_key(&end.endpoint) {
                    continue;
                }
                let Ok(container) = docker.inspect(&end.container).await else {
                    continue;
                };
                let mut connections = container.networks.iter();
                let is_bare = connections
                    .any(|c| c.endpoint == end.endpoint && options::kept(&c.options).is_none());
                if is_bare && container.running {
                    let wanted = self.choose(&end.endpoint).await?;
                    self.enter_endpoint(&end.endpoint, &network.id, &container, &wanted);
                    self.wake.notify_one();
                }
            }
        }
        Ok(())
    }

    async fn adopt_container(&self, id: &str, address: IpNet) -> Result<bool, AttachError> {
        let Ok((engine, container)) = self.engines.find(None, id).await else {
            return Ok(false);
        };
        let Ok(pid) = container.attachable() else {
            return Ok(false);
        };
        let process = self.process(pid)?;
        let port = Port {
            ifname: String::new(),
            address,
            multicast: false,
        };
        self.record(|table| {
            let member = table
                .members
                .entry(id.to_owned())
                .or_insert_with(|| Member {
                    name: container.name.clone(),
                    runtime: engine.runtime(),
                    home: Home::Container(Some(process)),
                    ports: Vec::new(),
                    without_dns: false,
                    hosts: HostsWish::default(),
                    asleep: false,
                });
            member.ports.push(port);
        });
        Ok(true)
    }

    async fn remove_stray_namespaces(&self) -> Result<(), AttachError> {
        let prefix = self.netns_prefix.clone();
        let mut names = self
            .on_kernel(move |kernel| kernel.netns_names(&prefix))
            .await?;
        {
            let table = self.table();
            let kept = |name: &String| {
                let mut homes = table.members.values().map(|m| &m.home);
                homes.any(|home| matches!(home, Home::Namespace { netns, .. } if netns == name))
            };
            names.retain(|name| !kept(name));
        }
        for name in names {
            self.on_kernel(move |kernel| kernel.delete_netns(&name))
                .await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{parse_tag, tag};
    use ipnet::IpNet;

    #[test]
    fn a_tag_tells_whose_it_is() {
        for address in ["10.2.1.1/24", "fd00::5/64"] {
            let address: IpNet = address.parse().unwrap();
            assert_eq!(parse_tag(&tag("abc", address)), Some(("abc", address)));
        }
        for bad in ["", "abc", "abc/", "abc/10.2.1.1", "abc/x/24"] {
            assert_eq!(parse_tag(bad), None, "{bad}");
        }
    }
}
