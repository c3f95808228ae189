//! Addresses of one member or endpoint, each with its owner.

use mesh_proto::address::mac_for;

use super::AddressBinding;
use crate::docker::endpoint::DockerEndpoint;
use crate::member::PluggedMember;

pub(super) fn member_bindings<'a>(
    key: &'a str,
    member: &'a PluggedMember,
) -> impl Iterator<Item = AddressBinding> + 'a {
    member.addresses().map(move |scoped| AddressBinding {
        owner: member.owner(key).to_owned(),
        name: member.name.clone(),
        network: scoped.network,
        address: scoped.address,
        mac: mac_for(scoped.ip()),
        endpoint: None,
    })
}

pub(super) fn endpoint_bindings(
    id: &str,
    end: &DockerEndpoint,
) -> impl Iterator<Item = AddressBinding> {
    end.all_scoped().map(move |scoped| AddressBinding {
        owner: end.owner_id(id).to_owned(),
        name: end.display_name(id),
        network: scoped.network,
        address: scoped.address,
        mac: end.mac(),
        endpoint: Some(id.to_owned()),
    })
}
