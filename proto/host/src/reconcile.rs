//! Differences between the table and the kernel, as actions that make them agree: what someone deleted comes back, what
//! has ended goes.

use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::api::Runtime;

use crate::docker::endpoint::DockerEndpoint;
use crate::member::{Home, MemberPort, MemberTable, PluggedMember, ProcessIdentity, Tenant};

/// All containers of an engine by full id, with whether they run. None: it was not asked, or could not answer.
pub type EngineListing = Option<BTreeMap<String, bool>>;

/// Containers of the engines, as they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineListings {
    /// Docker.
    pub docker: EngineListing,
    /// podman.
    pub podman: EngineListing,
}

impl EngineListings {
    /// Returns the listing of one engine.
    pub fn of(&self, runtime: Runtime) -> Option<&BTreeMap<String, bool>> {
        match runtime {
            Runtime::Docker => self.docker.as_ref(),
            Runtime::Podman => self.podman.as_ref(),
            Runtime::Process | Runtime::Host => None,
        }
    }
}

/// Returns whether an engine has to be asked for its containers.
pub fn needs_listing(members: &MemberTable, runtime: Runtime) -> bool {
    let mut members = members.iter();
    members.any(|(_, member)| {
        let is_containers = match &member.home {
            // Also for one that seems to run: its process may end before the table is looked at.
            Home::Container(_) => true,
            Home::Namespace { tenant, .. } => matches!(tenant, Tenant::Container(_)),
        };
        is_containers && member.runtime == runtime
    })
}

/// The state of the tenant of a namespace of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantState {
    /// It runs.
    Running,
    /// It is a container that is stopped.
    Stopped,
    /// There is none any more.
    Gone,
}

impl TenantState {
    /// Returns the state that was seen last: an engine that cannot be asked changes nothing.
    pub fn as_seen_last(member: &PluggedMember) -> Self {
        match member.detached {
            true => Self::Stopped,
            false => Self::Running,
        }
    }
}

/// Returns the state of the podman container `id` by the list of its engine. None: the list may be older than the
/// member, and the engine is to be asked about this one container.
pub fn listed_state(
    member: &PluggedMember,
    id: &str,
    listing: Option<&BTreeMap<String, bool>>,
) -> Option<TenantState> {
    let Some(listing) = listing else {
        return Some(TenantState::as_seen_last(member));
    };
    match listing.get(id) {
        Some(true) => Some(TenantState::Running),
        Some(false) if member.detached => Some(TenantState::Stopped),
        _ => None,
    }
}

/// Returns whether an interface of a member is missing in the kernel: one without a name was found there, or its plugging
/// was cut short.
pub fn is_missing(key: &str, member: &PluggedMember, plugged: &BTreeSet<String>) -> bool {
    let is_missing =
        |port: &MemberPort| port.ifname.is_empty() || !plugged.contains(&port.interface(key).tag);
    member.ports.iter().any(is_missing)
}

/// One step that makes the kernel and the table agree about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberAction {
    /// Remove it with its interfaces and its namespace.
    Remove,
    /// Make its namespace if that is not there, and plug what is missing.
    Fill,
    /// Plug what is missing into the namespace of this process.
    Plug(ProcessIdentity),
    /// Free its addresses, and take the carrier from its interfaces.
    Suspend,
    /// Take those of its addresses that are free, and give the carrier back.
    Restore,
    /// Free its addresses, and remove its interfaces.
    Stop,
    /// Remove it from the table.
    Forget,
    /// Ask its engine for its process, and plug it with those of its addresses that are free.
    Resume,
}

/// Returns the steps for a member in a namespace of ours, in order; `is_missing` as [`is_missing`] says.
pub fn namespace_actions(
    member: &PluggedMember,
    tenant: TenantState,
    is_missing: bool,
) -> Vec<MemberAction> {
    let mut actions = Vec::new();
    if tenant == TenantState::Gone {
        return vec![MemberAction::Remove];
    }
    if is_missing {
        actions.push(MemberAction::Fill);
    }
    match tenant {
        TenantState::Running if member.detached => actions.push(MemberAction::Restore),
        TenantState::Stopped if is_missing || !member.detached => {
            actions.push(MemberAction::Suspend);
        }
        _ => {}
    }
    actions
}

/// Returns the steps for a member in the namespace of its engine, in order; `process` is its first process, if that lived
/// when it was seen last, and `lives` says whether it does.
pub fn container_actions(
    key: &str,
    process: Option<ProcessIdentity>,
    lives: bool,
    listing: Option<&BTreeMap<String, bool>>,
    is_missing: bool,
) -> Vec<MemberAction> {
    let mut actions = Vec::new();
    match process {
        Some(process) if lives => {
            if is_missing {
                actions.push(MemberAction::Plug(process));
            }
            return actions;
        }
        Some(_) => actions.push(MemberAction::Stop),
        None => {}
    }
    match listing.map(|listing| listing.get(key)) {
        Some(None) => actions.push(MemberAction::Forget),
        Some(Some(true)) => actions.push(MemberAction::Resume),
        Some(Some(false)) | None => {}
    }
    actions
}

/// Facts about an endpoint's interface and the namespace that it is joined to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointFacts {
    /// True if the interface exists.
    pub is_plugged: bool,
    /// True if the namespace exists.
    pub has_sandbox: bool,
    /// True if it is joined to a namespace by now.
    pub is_joined: bool,
}

/// The step that makes the kernel and the table agree about an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointAction {
    /// Nothing.
    Keep,
    /// Delete it: its container ended while the router or dockerd was away, and nobody said Leave.
    Delete,
    /// Ask Docker about it if it has been in no container for long.
    AwaitContainer,
    /// Finish it: the router ended between Join and this, or finishing failed.
    Finish,
    /// Plug it again, unless Docker disconnected it in the meantime.
    PutBack,
}

/// Returns the step for an endpoint as it was in the table before the facts were gathered.
pub fn endpoint_action(end: &DockerEndpoint, facts: EndpointFacts) -> EndpointAction {
    if end.sandbox.is_none() || !facts.has_sandbox {
        // Until Docker has moved the interface, the namespace may not be there yet.
        let has_arrived = !end.ifname.is_empty() || !facts.is_plugged;
        return match end.sandbox.is_some() && has_arrived {
            true => EndpointAction::Delete,
            false => EndpointAction::AwaitContainer,
        };
    }
    match (facts.is_joined, facts.is_plugged) {
        (false, _) => EndpointAction::Keep,
        (true, true) if end.ifname.is_empty() => EndpointAction::Finish,
        (true, true) => EndpointAction::Keep,
        (true, false) => EndpointAction::PutBack,
    }
}

#[cfg(test)]
mod tests {
    use mesh_proto::network::NetworkId;

    use super::*;
    use crate::docker::endpoint::{DeferredAddress, EndpointOptions};

    const PROCESS: ProcessIdentity = ProcessIdentity {
        pid: 7,
        started: 70,
    };

    fn pod(detached: bool) -> PluggedMember {
        let home = Home::Namespace {
            netns: "mesh-ns-1".into(),
            tenant: Tenant::Container("c".into()),
        };
        let ports =
            MemberPort::for_addresses(NetworkId::DEFAULT, &["10.2.1.1/24".parse().unwrap()], false);
        PluggedMember {
            detached,
            ..PluggedMember::new("pod", Runtime::Podman, home, ports)
        }
    }

    fn listing(containers: &[(&str, bool)]) -> BTreeMap<String, bool> {
        let all = containers.iter();
        all.map(|(id, runs)| ((*id).to_owned(), *runs)).collect()
    }

    #[test]
    fn engines_are_asked_only_about_containers_of_theirs() {
        let mut members = MemberTable::default();
        assert!(!needs_listing(&members, Runtime::Podman));
        members.insert("p", pod(false));
        assert!(needs_listing(&members, Runtime::Podman));
        assert!(!needs_listing(&members, Runtime::Docker));
        members.adopt("p", Tenant::Process(PROCESS), "");
        assert!(!needs_listing(&members, Runtime::Podman));
    }

    #[test]
    fn a_pod_is_as_the_list_says_or_is_asked_about() {
        let (running, stopped) = (listing(&[("c", true)]), listing(&[("c", false)]));
        let empty = listing(&[]);
        for (detached, listing, expected) in [
            (false, None, Some(TenantState::Running)),
            (true, None, Some(TenantState::Stopped)),
            (true, Some(&running), Some(TenantState::Running)),
            (true, Some(&stopped), Some(TenantState::Stopped)),
            // It may have been adopted since.
            (false, Some(&stopped), None),
            (true, Some(&empty), None),
            (false, Some(&empty), None),
        ] {
            let state = listed_state(&pod(detached), "c", listing);
            assert_eq!(state, expected, "{detached} {listing:?}");
        }
    }

    #[test]
    fn a_namespace_is_filled_before_its_carrier_changes() {
        use MemberAction::{Fill, Remove, Restore, Suspend};
        use TenantState::{Gone, Running, Stopped};
        for (detached, tenant, is_missing, expected) in [
            (false, Gone, true, vec![Remove]),
            (false, Running, false, vec![]),
            (false, Running, true, vec![Fill]),
            (true, Running, true, vec![Fill, Restore]),
            (true, Running, false, vec![Restore]),
            (false, Stopped, false, vec![Suspend]),
            (true, Stopped, false, vec![]),
            // A reboot took the interfaces; those that are plugged have a carrier.
            (true, Stopped, true, vec![Fill, Suspend]),
        ] {
            let actions = namespace_actions(&pod(detached), tenant, is_missing);
            assert_eq!(actions, expected, "{detached} {tenant:?} {is_missing}");
        }
    }

    #[test]
    fn a_container_stops_runs_again_or_is_forgotten() {
        use MemberAction::{Forget, Plug, Resume, Stop};
        let (running, stopped) = (listing(&[("c", true)]), listing(&[("c", false)]));
        let empty = listing(&[]);
        let some = Some(PROCESS);
        for (process, lives, listing, is_missing, expected) in [
            (some, true, Some(&empty), false, vec![]),
            (some, true, None, true, vec![Plug(PROCESS)]),
            (some, false, None, true, vec![Stop]),
            (some, false, Some(&stopped), false, vec![Stop]),
            (some, false, Some(&running), false, vec![Stop, Resume]),
            (some, false, Some(&empty), false, vec![Stop, Forget]),
            (None, false, Some(&stopped), true, vec![]),
            (None, false, Some(&running), true, vec![Resume]),
            (None, false, Some(&empty), true, vec![Forget]),
            (None, false, None, true, vec![]),
        ] {
            let actions = container_actions("c", process, lives, listing, is_missing);
            assert_eq!(actions, expected, "{process:?} {lives} {listing:?}");
        }
    }

    #[test]
    fn what_is_not_named_or_not_plugged_is_missing() {
        let mut pod = pod(false);
        let plugged = BTreeSet::from(["p/10.2.1.1/24".to_owned()]);
        assert!(is_missing("p", &pod, &plugged));
        pod.ports[0].ifname = "mesh0".into();
        assert!(!is_missing("p", &pod, &plugged));
        assert!(is_missing("p", &pod, &BTreeSet::new()));
    }

    #[test]
    fn an_endpoint_goes_with_its_container_and_comes_back_with_its_interface() {
        use EndpointAction::{AwaitContainer, Delete, Finish, Keep, PutBack};
        let wanted = EndpointOptions {
            second: None,
            address: "10.2.1.1/24".parse().unwrap(),
            multicast: false,
            deferred: DeferredAddress::No,
            lease_owner: String::new(),
            network: NetworkId::DEFAULT,
            mac: None,
        };
        let end = |sandbox: bool, ifname: &str| DockerEndpoint {
            sandbox: sandbox.then(|| "/sandbox".into()),
            ifname: ifname.into(),
            ..DockerEndpoint::new("net", &wanted, String::new())
        };
        for (sandbox, ifname, (is_plugged, has_sandbox, is_joined), expected) in [
            (false, "", (true, false, false), AwaitContainer),
            (false, "", (false, false, false), AwaitContainer),
            // Docker has not moved it yet.
            (true, "", (true, false, true), AwaitContainer),
            (true, "", (false, false, true), Delete),
            (true, "mesh0", (true, false, true), Delete),
            (true, "mesh0", (true, true, true), Keep),
            (true, "", (true, true, true), Finish),
            (true, "mesh0", (false, true, true), PutBack),
            (true, "mesh0", (false, true, false), Keep),
        ] {
            let facts = EndpointFacts {
                is_plugged,
                has_sandbox,
                is_joined,
            };
            let action = endpoint_action(&end(sandbox, ifname), facts);
            assert_eq!(action, expected, "{sandbox} '{ifname}' {facts:?}");
        }
    }
}
