//! Networks as the API reports them: with names of routers in place of their ids.

use std::sync::Arc;

use mesh_proto::api::{NetworkHost, NetworkReport, NetworkSubnetReport, NetworksSummary};
use mesh_proto::control::Control;
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;

use super::config::NetworksConfig;
use super::directory::short;
use crate::Networks;
use crate::definition::NetworkDefinition;
use crate::definition::name::DEFAULT_NETWORK;
use crate::report::{NetworkMember, ReportedNetwork};

/// Shadowed networks with a warning of their own; more are counted.
const MAX_SHADOW_WARNINGS: usize = 5;

/// Returns the nickname of a router if no other one has it, else its name.
pub(crate) fn router_name(control: &Control, id: &PeerId) -> String {
    let own = control.identities().find(|(origin, _)| origin == id);
    let Some((_, body)) = own else {
        return id.derived_name().to_string();
    };
    let mut others = control.identities().filter(|(origin, _)| origin != id);
    match others.any(|(_, other)| other.nickname == body.nickname) {
        false => body.nickname.clone(),
        true => body.name.to_string(),
    }
}

/// Returns the network `default`: every router is in it.
pub(crate) fn default_network(config: &NetworksConfig, control: &Control) -> NetworkReport {
    let me = control.me();
    let reachable = control.reachable();
    let hosts = control.identities().map(|(id, body)| NetworkHost {
        peer: body.name.to_string(),
        nick_name: body.nickname.clone(),
        is_self: id == me,
        reachable: id == me || reachable.binary_search(&id).is_ok(),
    });
    let subnets = config
        .default_subnets
        .iter()
        .map(|net| NetworkSubnetReport {
            subnet: net.to_string(),
            ..NetworkSubnetReport::default()
        });
    NetworkReport {
        id: NetworkId::DEFAULT.to_string(),
        name: DEFAULT_NETWORK.to_owned(),
        subnets: subnets.collect(),
        hosts: hosts.collect(),
        ..NetworkReport::default()
    }
}

/// Returns the networks besides `default`, by name.
pub(crate) fn others(networks: &Networks, control: &Control) -> Vec<NetworkReport> {
    let all = networks.report().into_iter();
    all.map(|network| report(&network, networks.me, control))
        .collect()
}

fn report(network: &ReportedNetwork, me: PeerId, control: &Control) -> NetworkReport {
    let definition = &network.definition;
    let subnets = definition.subnets.iter().map(|s| NetworkSubnetReport {
        subnet: s.net.to_string(),
        gateway: s.gateway.map(|g| g.to_string()).unwrap_or_default(),
        ip_range: s.ip_range.map(|r| r.to_string()).unwrap_or_default(),
    });
    let labels = definition.labels.iter();
    let members = network.members.iter().filter(|member| !member.is_idle);
    NetworkReport {
        id: definition.id.to_string(),
        name: definition.name.to_string(),
        subnets: subnets.collect(),
        internal: definition.internal,
        mtu: definition.mtu,
        labels: labels
            .map(|label| (label.key.clone(), label.value.clone()))
            .collect(),
        created: definition.stamp,
        created_by: router_name(control, &definition.version.author),
        shadowed_by: network
            .shadowed_by
            .map(|id| id.to_string())
            .unwrap_or_default(),
        hosts: members.map(|m| host(m, me, control)).collect(),
        containers: Vec::new(),
    }
}

fn host(member: &NetworkMember, me: PeerId, control: &Control) -> NetworkHost {
    let mut identities = control.identities();
    let body = identities.find(|(id, _)| *id == member.router);
    let (peer, nick_name) = match body {
        Some((_, body)) => (body.name, body.nickname.clone()),
        None => (member.router.derived_name(), String::new()),
    };
    NetworkHost {
        peer: peer.to_string(),
        nick_name,
        is_self: member.router == me,
        reachable: member.is_reachable,
    }
}

/// Returns figures; `None` if there are no networks besides `default`.
pub(crate) fn summary(networks: &Networks) -> Option<NetworksSummary> {
    let figures = networks.figures();
    (figures.known > 0).then(|| NetworksSummary {
        known: figures.known,
        used: figures.used,
        shadowed: networks.names.shadowed().len(),
        removed: figures.removed,
        left_out: figures.left_out,
        without_room: figures.without_room,
        refused: figures.refused,
    })
}

/// Says which network took the name of which.
pub(crate) fn shadowed(
    networks: &Networks,
    definition: &NetworkDefinition,
    by: &NetworkId,
    control: &Control,
) -> String {
    let (name, id) = (&definition.name, short(&definition.id));
    let winner = networks.get(by).map(|winner| winner.version.author);
    let author = winner.map_or_else(|| "another host".into(), |a| router_name(control, &a));
    format!(
        "the network {name} with the id {id} lost its name to the one that {author} created at the same time; move its \
         containers to that one, then `mesh network rm {id}`"
    )
}

/// Returns a warning for each network of this host that lost its name.
pub(crate) fn shadow_warnings(networks: &Networks, control: &Control) -> Vec<String> {
    let all = networks.names.shadowed().iter();
    let own = all.filter_map(|(id, by)| {
        let definition: &Arc<NetworkDefinition> = networks.get(id)?;
        let is_author = definition.version.author == networks.me;
        let is_own = is_author || networks.labels.used().contains_key(id);
        is_own.then_some((definition, by))
    });
    let own: Vec<_> = own.collect();
    let named = own.iter().take(MAX_SHADOW_WARNINGS);
    let mut warnings: Vec<String> = named
        .map(|(definition, by)| shadowed(networks, definition, by, control))
        .collect();
    if own.len() > MAX_SHADOW_WARNINGS {
        let more = own.len() - MAX_SHADOW_WARNINGS;
        warnings.push(format!(
            "{more} further networks of this host lost their names; `mesh network ls` lists them"
        ));
    }
    warnings
}
