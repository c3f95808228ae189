//! The DNS server in the network namespaces of podman containers and processes. They may be on the mesh only, and then
//! reach no address of the host.
//!
//! The server listens on the same loopback address in each. Namespaces are checked whenever containers come and go, and
//! every 3 s, so that sockets are opened again after a restart of the router, and once a port becomes free.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_dns::containers::namespaces::{NamespaceCheck, ServedNamespaces};
use mesh_host::member::{NetnsPlace, ProcessIdentity, ResolverSite};
use mesh_names::AskerNetworks;
use mesh_options::DNS_PORT;
use mesh_proto::limits::MAX_DNS_NAMESPACES;
use mesh_sys::error::SysError;
use mesh_sys::netns::{Netns, NetnsId};
use mesh_sys::process::start_time;
use mesh_sys::socket::loopback::listen_in;
use tokio::sync::watch;

use super::networks;
use crate::dns::Dns;

/// Listening address in each namespace: neither Docker's (.11) nor systemd-resolved's (.53, .54), which may run in a
/// container.
pub(super) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 12));
/// Interval of checks.
const PERIOD: Duration = Duration::from_secs(3);

/// Maintains the server in the namespaces of containers.
pub(super) struct NetnsResolvers {
    dns: Arc<Dns>,
    wanted: watch::Receiver<Vec<ResolverSite>>,
    /// Namespaces in which it answers now; locked during a look.
    serving: Mutex<ServedNamespaces<NetnsId>>,
    check: Mutex<NamespaceCheck>,
}

impl NetnsResolvers {
    pub(super) fn new(dns: Arc<Dns>, wanted: watch::Receiver<Vec<ResolverSite>>) -> Self {
        Self {
            dns,
            wanted,
            serving: Mutex::default(),
            check: Mutex::default(),
        }
    }

    /// Checks periodically and at each change, until attachments are gone.
    pub(super) async fn run(self: Arc<Self>) {
        let mut wanted = self.wanted.clone();
        loop {
            wanted.mark_unchanged();
            self.look().await;
            // The sender has ended: nothing is attached any more.
            if let Ok(Err(_)) = tokio::time::timeout(PERIOD, wanted.changed()).await {
                return;
            }
        }
    }

    /// Returns true if the container had a server in its namespace at the last check.
    pub(super) fn serves(&self, key: &str) -> bool {
        lock(&self.check).served.contains(key)
    }

    /// Returns the number of containers with a server.
    pub(super) fn count(&self) -> usize {
        lock(&self.check).served.len()
    }

    /// Returns all problems, one line each.
    pub(super) fn problems(&self) -> Vec<String> {
        lock(&self.check).problems()
    }

    /// Returns the failures, without the containers that have a server of their own.
    pub(super) fn errors(&self) -> Vec<String> {
        lock(&self.check).errors.clone()
    }

    /// Checks now.
    pub(super) async fn look(self: &Arc<Self>) {
        let this = self.clone();
        // Entering a namespace requires a separate thread, and netlink blocks.
        let looked = tokio::task::spawn_blocking(move || this.look_now()).await;
        if let Err(error) = looked {
            tracing::error!("cannot check the DNS servers in containers: {error}");
        }
    }

    fn look_now(&self) {
        let mut serving = lock(&self.serving);
        let wanted = self.wanted.borrow().clone();
        let mut check = NamespaceCheck::default();
        // The server may have dropped a namespace: start it there again.
        serving.retain(|id| self.dns.is_inside(id));
        let found = find(&wanted, &mut check);
        for gone in serving.leave(&found) {
            self.dns.leave(gone);
        }
        for (id, container) in &found {
            self.dns.set_networks(*id, &container.networks());
        }
        let left_out = serving.join(&found, MAX_DNS_NAMESPACES, |id, container| {
            match self.enter(id, container) {
                Ok(entered) => return entered,
                Err(error) if error.is_in_use() => check.note_taken(container.name),
                Err(error) => check.note_error(container.name, &error),
            }
            false
        });
        check.note_left_out(left_out);
        let served = found.iter().filter(|(id, _)| serving.contains(**id));
        check.served = served.flat_map(|(_, c)| c.keys().cloned()).collect();
        let mut known = lock(&self.check);
        for line in check.news(&known) {
            tracing::warn!("{line}");
        }
        *known = check;
    }

    /// Begins to answer in a namespace; not if it is gone by then.
    fn enter(&self, id: NetnsId, container: &SharedNamespace<'_>) -> Result<bool, SysError> {
        let Some((_, netns)) = open(container.place)?.filter(|(now, _)| *now == id) else {
            return Ok(false);
        };
        let address = SocketAddr::new(ADDRESS, DNS_PORT);
        let (udp, tcp) = listen_in(&netns, address)?;
        let served = self
            .dns
            .serve_inside(id, udp, tcp, &container.networks(), None);
        served.map_err(|e| SysError::new(format!("answer on {address}"), e))?;
        Ok(true)
    }
}

/// A namespace and the containers in it: those of a pod share one. None is kept open, since there may be thousands.
struct SharedNamespace<'a> {
    place: &'a NetnsPlace,
    name: &'a str,
    sites: Vec<&'a ResolverSite>,
}

impl SharedNamespace<'_> {
    fn keys(&self) -> impl Iterator<Item = &String> {
        self.sites.iter().map(|site| &site.key)
    }

    /// Returns the networks of all containers in it: a query may come from any of them.
    fn networks(&self) -> AskerNetworks {
        networks::of_sites(self.sites.iter().copied())
    }
}

/// The namespaces there are, each once; the router's own is none of a container.
fn find<'a>(
    wanted: &'a [ResolverSite],
    check: &mut NamespaceCheck,
) -> BTreeMap<NetnsId, SharedNamespace<'a>> {
    let own = Netns::current().and_then(|netns| netns.id()).ok();
    let mut found: BTreeMap<NetnsId, SharedNamespace<'a>> = BTreeMap::new();
    for container in wanted {
        let id = match open(&container.netns) {
            Ok(Some((id, _))) => id,
            Ok(None) => continue,
            Err(error) => {
                check.note_error(&container.name, &error);
                continue;
            }
        };
        if Some(id) == own {
            continue;
        }
        let entry = found.entry(id).or_insert_with(|| SharedNamespace {
            place: &container.netns,
            name: &container.name,
            sites: Vec::new(),
        });
        entry.sites.push(container);
    }
    found
}

/// Opens a namespace; none if it is not there yet, or not any more.
fn open(place: &NetnsPlace) -> Result<Option<(NetnsId, Netns)>, SysError> {
    let opened = || {
        let netns = match place {
            NetnsPlace::Named(name) => Netns::open_named(name)?,
            NetnsPlace::Process(ProcessIdentity { pid, started }) => {
                let pid = i32::try_from(*pid)
                    .map_err(|_| SysError::other(format!("open process {pid}"), "no pid"))?;
                let netns = Netns::of_pid(pid)?;
                // If the start time matches, the pid still belonged to the process when the namespace was opened.
                if start_time(pid)? != *started {
                    return Ok(None);
                }
                netns
            }
        };
        Ok(Some((netns.id()?, netns)))
    };
    match opened() {
        Err(error) if is_gone(&error) => Ok(None),
        other => other,
    }
}

/// Returns true if the namespace is missing: its name is a plain file during creation and after removal.
fn is_gone(error: &SysError) -> bool {
    error.is_not_found() || error.raw().is_none()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use mesh_proto::network::NetworkId;

    use super::*;

    #[test]
    fn a_namespace_that_is_not_there_is_no_error() {
        let gone = NetnsPlace::Named("mesh-ns-surely-not".to_owned());
        assert!(open(&gone).unwrap().is_none());
        let me = std::process::id();
        let another = NetnsPlace::Process(ProcessIdentity {
            pid: me,
            started: 1,
        });
        assert!(open(&another).unwrap().is_none(), "the pid was given again");
        let ended = NetnsPlace::Process(ProcessIdentity {
            pid: u32::MAX >> 1,
            started: 1,
        });
        assert!(open(&ended).unwrap().is_none());
    }

    #[test]
    fn the_namespace_of_the_router_is_none_of_a_container() {
        let pid = std::process::id();
        let started = start_time(i32::try_from(pid).unwrap()).unwrap();
        let netns = NetnsPlace::Process(ProcessIdentity { pid, started });
        assert!(open(&netns).unwrap().is_some());
        let wanted = ResolverSite {
            key: "k".to_owned(),
            name: "n".to_owned(),
            netns,
            networks: vec![NetworkId::DEFAULT],
        };
        let mut check = NamespaceCheck::default();
        assert!(find(std::slice::from_ref(&wanted), &mut check).is_empty());
        assert_eq!(check, NamespaceCheck::default());
    }
}
