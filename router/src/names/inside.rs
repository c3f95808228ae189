//! The DNS server in the network namespaces of podman containers and processes. They may be on the mesh only, and then
//! reach no address of the host.
//!
//! The server listens on the same loopback address in each. Namespaces are checked whenever containers come and go, and
//! every 3 s, so that sockets are opened again after a restart of the router, and once a port becomes free.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_host::member::{NetnsPlace, ProcessIdentity, ResolverSite};
use mesh_proto::limits::MAX_DNS_NAMESPACES;
use mesh_sys::error::SysError;
use mesh_sys::netns::{Netns, NetnsId};
use mesh_sys::process::start_time;
use mesh_sys::socket::loopback::listen_in;
use tokio::sync::watch;

use crate::config::DNS_PORT;
use crate::dns::Dns;

/// Listening address in each namespace: neither Docker's (.11) nor systemd-resolved's (.53, .54), which may run in a
/// container.
pub(super) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 12));
/// Interval of checks.
const PERIOD: Duration = Duration::from_secs(3);

/// Maintains the server in the namespaces of containers.
pub(super) struct Inside {
    dns: Arc<Dns>,
    wanted: watch::Receiver<Vec<ResolverSite>>,
    /// Namespaces in which it answers now; locked during a look.
    serving: Mutex<BTreeSet<NetnsId>>,
    told: Mutex<Told>,
}

/// Results of the last check; one line per problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    /// Containers with a DNS server of their own on that port.
    taken: Vec<String>,
    /// Failures.
    errors: Vec<String>,
    /// Keys of the containers with a server.
    served: BTreeSet<String>,
}

impl Inside {
    pub(super) fn new(dns: Arc<Dns>, wanted: watch::Receiver<Vec<ResolverSite>>) -> Self {
        Self {
            dns,
            wanted,
            serving: Mutex::default(),
            told: Mutex::default(),
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

    /// True if the container had a server in its namespace at the last check.
    pub(super) fn serves(&self, key: &str) -> bool {
        lock(&self.told).served.contains(key)
    }

    /// Returns the number of containers with a server.
    pub(super) fn count(&self) -> usize {
        lock(&self.told).served.len()
    }

    /// Returns all problems, one line each.
    pub(super) fn problems(&self) -> Vec<String> {
        let told = lock(&self.told);
        told.errors.iter().chain(&told.taken).cloned().collect()
    }

    /// Returns the failures, without the containers that have a server of their own.
    pub(super) fn errors(&self) -> Vec<String> {
        lock(&self.told).errors.clone()
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
        let mut told = Told::default();
        // The server may have dropped a namespace: start it there again.
        serving.retain(|id| self.dns.is_inside(*id));
        let found = find(&wanted, &mut told);
        for gone in leave(&mut serving, &found) {
            self.dns.leave(gone);
        }
        let left_out = join(&mut serving, &found, MAX_DNS_NAMESPACES, |id, container| {
            match self.enter(id, &container.place) {
                Ok(entered) => return entered,
                Err(error) if error.is_in_use() => told.taken.push(taken(&container.name)),
                Err(error) => told.errors.push(unanswered(&container.name, &error)),
            }
            false
        });
        if left_out > 0 {
            told.errors.push(format!(
                "names are not answered within {left_out} more containers: {MAX_DNS_NAMESPACES} are as many as can be; \
                 run those that ask for no names --without-dns"
            ));
        }
        let served = found.iter().filter(|(id, _)| serving.contains(id));
        told.served = served.flat_map(|(_, c)| c.keys.iter().cloned()).collect();
        self.tell(told);
    }

    /// Begins to answer in a namespace; not if it is gone by then.
    fn enter(&self, id: NetnsId, place: &NetnsPlace) -> Result<bool, SysError> {
        let Some((_, netns)) = open(place)?.filter(|(now, _)| *now == id) else {
            return Ok(false);
        };
        let address = SocketAddr::new(ADDRESS, DNS_PORT);
        let (udp, tcp) = listen_in(&netns, address)?;
        let served = self.dns.serve_inside(id, udp, tcp, None);
        served.map_err(|e| SysError::new(format!("answer on {address}"), e))?;
        Ok(true)
    }

    /// Stores the results, and logs each new problem.
    fn tell(&self, told: Told) {
        let mut known = lock(&self.told);
        let lines = |told: &Told| [told.errors.clone(), told.taken.clone()].concat();
        let before = lines(&known);
        for line in lines(&told).iter().filter(|line| !before.contains(line)) {
            tracing::warn!("{line}");
        }
        *known = told;
    }
}

/// A namespace and the containers in it: those of a pod share one. None is kept open, since there may be thousands.
struct Container {
    place: NetnsPlace,
    name: String,
    keys: Vec<String>,
}

/// The namespaces there are, each once; the router's own is none of a container.
fn find(wanted: &[ResolverSite], told: &mut Told) -> BTreeMap<NetnsId, Container> {
    let own = Netns::current().and_then(|netns| netns.id()).ok();
    let mut found: BTreeMap<NetnsId, Container> = BTreeMap::new();
    for container in wanted {
        let id = match open(&container.netns) {
            Ok(Some((id, _))) => id,
            Ok(None) => continue,
            Err(error) => {
                told.errors.push(unanswered(&container.name, &error));
                continue;
            }
        };
        if Some(id) == own {
            continue;
        }
        let entry = found.entry(id).or_insert_with(|| Container {
            place: container.netns.clone(),
            name: container.name.clone(),
            keys: Vec::new(),
        });
        entry.keys.push(container.key.clone());
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

/// True if the namespace is missing: its name is a plain file during creation and after removal.
fn is_gone(error: &SysError) -> bool {
    error.is_not_found() || error.raw().is_none()
}

/// Removes namespaces that are gone, and returns them.
fn leave<K: Ord + Copy, V>(serving: &mut BTreeSet<K>, found: &BTreeMap<K, V>) -> Vec<K> {
    let gone = |id: &&K| !found.contains_key(id);
    let gone: Vec<K> = serving.iter().filter(gone).copied().collect();
    serving.retain(|id| !gone.contains(id));
    gone
}

/// Enters new namespaces up to the limit, and returns the number left out. Existing ones are never displaced, and one
/// that cannot be entered does not count.
fn join<K: Ord + Copy, V>(
    serving: &mut BTreeSet<K>,
    found: &BTreeMap<K, V>,
    most: usize,
    mut enter: impl FnMut(K, &V) -> bool,
) -> usize {
    let mut left_out = 0;
    for (id, container) in found {
        if serving.contains(id) {
            continue;
        }
        if serving.len() >= most {
            left_out += 1;
        } else if enter(*id, container) {
            serving.insert(*id);
        }
    }
    left_out
}

fn taken(name: &str) -> String {
    format!(
        "names are not answered within container {name}: it has a DNS server of its own on port {DNS_PORT}; \
         if that is to be so, run it --without-dns"
    )
}

fn unanswered(name: &str, error: &SysError) -> String {
    format!("names are not answered within container {name}: {error}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the removed namespaces, those served afterwards, and the number left out; 9 cannot be entered.
    fn looked(serving: &[u8], found: &[u8], most: usize) -> (Vec<u8>, Vec<u8>, usize) {
        let mut serving = serving.iter().copied().collect();
        let found = found.iter().map(|id| (*id, ())).collect();
        let gone = leave(&mut serving, &found);
        let left_out = join(&mut serving, &found, most, |id, ()| id != 9);
        (gone, serving.into_iter().collect(), left_out)
    }

    #[test]
    fn who_comes_is_served_and_who_goes_is_not() {
        assert_eq!(looked(&[], &[], 4), (vec![], vec![], 0));
        assert_eq!(looked(&[1, 2], &[2, 3], 4), (vec![1], vec![2, 3], 0));
        assert_eq!(looked(&[1, 2], &[], 4), (vec![1, 2], vec![], 0));
    }

    #[test]
    fn no_more_than_the_bound_and_none_gives_way() {
        assert_eq!(looked(&[], &[1, 2, 3], 2), (vec![], vec![1, 2], 1));
        assert_eq!(looked(&[2, 3], &[1, 2, 3], 2), (vec![], vec![2, 3], 1));
        // A slot that becomes free is used in the same check.
        assert_eq!(looked(&[2, 3], &[1, 3, 4], 2), (vec![2], vec![1, 3], 1));
        // A namespace that cannot be entered blocks no other.
        assert_eq!(looked(&[], &[9, 10, 11], 2), (vec![], vec![10, 11], 0));
    }

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
        };
        let mut told = Told::default();
        assert!(find(&[wanted], &mut told).is_empty());
        assert_eq!(told, Told::default());
    }
}
