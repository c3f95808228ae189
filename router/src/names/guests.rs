//! Docker containers on the mesh, from inside: their DNS server and their `/etc/hosts`.
//!
//! Docker's embedded resolver in a container would answer first, with the names of this host only. Queries of such
//! containers are redirected to the router's server, which forwards to Docker's resolver. So no port of the container
//! is taken, and no route to an address of the host is needed. Docker creates new namespaces and files at each start,
//! so both are checked at each event of a container, and every 3 s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_proto::limits::MAX_DNS_NAMESPACES;
use mesh_sys::error::SysError;
use mesh_sys::netns::{Netns, NetnsId};
use mesh_sys::resolver;
use mesh_sys::socket::loopback::listen_in;
use tokio::sync::watch;

use super::hosts_file::Lines;
use crate::config::DNS_PORT;
use crate::dns::{Dns, Within};

/// Listening address in each namespace; the system chooses the port.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 12)), 0);
/// Interval of checks.
const PERIOD: Duration = Duration::from_secs(3);
/// Attempts to get the same port for UDP and TCP.
const PORT_TRIES: usize = 4;

/// A Docker container on the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Guest {
    /// Full id.
    pub(super) id: String,
    pub(super) name: String,
    /// Path of its network namespace.
    pub(super) sandbox: PathBuf,
    /// DNS servers that it was configured with.
    pub(super) asks: Vec<IpAddr>,
    /// True if its search list has the domain of the mesh: it was meant to use the router, even if the address has
    /// changed.
    pub(super) is_told: bool,
    /// Its `/etc/hosts` on this host, and our lines in it; `None` if the file must not be changed.
    pub(super) hosts: Option<(PathBuf, Lines)>,
    /// Number of Docker's last answer about it.
    pub(super) heard: u64,
}

/// Maintains the redirection and files of all such containers.
pub(super) struct Guests {
    dns: Option<Arc<Dns>>,
    wanted: watch::Receiver<Vec<Guest>>,
    kept: Mutex<Kept>,
    told: Mutex<Told>,
}

/// Applied state; locked during a check.
#[derive(Default)]
struct Kept {
    serving: BTreeMap<NetnsId, Serving>,
    /// Files with lines of ours, by container.
    files: BTreeMap<String, PathBuf>,
}

/// A namespace with redirected queries.
struct Serving {
    within: Within,
    address: SocketAddr,
    heard: u64,
}

/// Results of the last check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    errors: Vec<String>,
    /// Checked containers, with the number of the answer that was applied.
    done: BTreeMap<String, u64>,
}

impl Guests {
    pub(super) fn new(dns: Option<Arc<Dns>>, wanted: watch::Receiver<Vec<Guest>>) -> Self {
        Self {
            dns,
            wanted,
            kept: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Checks periodically and at each change, until the sender of containers is gone.
    pub(super) async fn run(self: Arc<Self>) {
        let mut wanted = self.wanted.clone();
        loop {
            wanted.mark_unchanged();
            let this = self.clone();
            let looked = tokio::task::spawn_blocking(move || this.look_now()).await;
            if let Err(error) = looked {
                tracing::error!("cannot check Docker containers: {error}");
            }
            if let Ok(Err(_)) = tokio::time::timeout(PERIOD, wanted.changed()).await {
                return;
            }
        }
    }

    /// True if the latest answer about a container has been applied.
    pub(super) fn is_done(&self, id: &str) -> bool {
        let wanted = self.wanted.borrow();
        let guest = wanted.iter().find(|guest| guest.id == id);
        let done = lock(&self.told).done.get(id).copied();
        guest.is_some_and(|guest| done == Some(guest.heard))
    }

    /// Returns the errors of the last check, one line each.
    pub(super) fn errors(&self) -> Vec<String> {
        lock(&self.told).errors.clone()
    }

    fn look_now(&self) {
        let wanted = self.wanted.borrow().clone();
        let mut kept = lock(&self.kept);
        let mut told = Told::default();
        self.look_at_files(&wanted, &mut kept.files, &mut told);
        if let Some(dns) = &self.dns {
            look_at_queries(dns, &wanted, &mut kept.serving, &mut told);
        }
        told.done = wanted
            .iter()
            .map(|guest| (guest.id.clone(), guest.heard))
            .collect();
        let mut known = lock(&self.told);
        for line in told
            .errors
            .iter()
            .filter(|line| !known.errors.contains(line))
        {
            tracing::warn!("{line}");
        }
        *known = told;
    }

    fn look_at_files(
        &self,
        wanted: &[Guest],
        files: &mut BTreeMap<String, PathBuf>,
        told: &mut Told,
    ) {
        for guest in wanted {
            let Some((path, lines)) = &guest.hosts else {
                continue;
            };
            match lines.put(path) {
                Ok(_) => drop(files.insert(guest.id.clone(), path.clone())),
                Err(error) if error.is_not_found() => {}
                Err(error) => told.errors.push(format!(
                    "container {} may take Docker's address for its own: {error}",
                    guest.name
                )),
            }
        }
        // Restore the file of containers that left the mesh.
        files.retain(|id, path| {
            let stays = wanted
                .iter()
                .any(|guest| guest.id == *id && guest.hosts.is_some());
            if !stays && let Err(error) = Lines::default().put(path) {
                tracing::debug!("lines of a container that left the mesh stay: {error}");
            }
            stays
        });
    }
}

fn look_at_queries(
    dns: &Dns,
    wanted: &[Guest],
    serving: &mut BTreeMap<NetnsId, Serving>,
    told: &mut Told,
) {
    let own = Netns::current().and_then(|netns| netns.id()).ok();
    let mut found = BTreeSet::new();
    serving.retain(|id, _| dns.is_inside(*id));
    let listening: Vec<IpAddr> = dns.listening().iter().map(SocketAddr::ip).collect();
    let asks_here = |guest: &&Guest| {
        let is_here = guest.asks.iter().any(|ip| listening.contains(ip));
        is_here || (guest.is_told && !guest.asks.is_empty())
    };
    for guest in wanted.iter().filter(asks_here) {
        // The container may have ended just now.
        let Ok(netns) = Netns::open(&guest.sandbox) else {
            continue;
        };
        let Ok(id) = netns.id() else { continue };
        if Some(id) == own || !found.insert(id) {
            continue;
        }
        match serve(dns, guest, netns, id, serving) {
            Ok(true) => {}
            Ok(false) => told.errors.extend(astray(dns, guest)),
            Err(error) => told.errors.push(format!(
                "container {} asks Docker's server first, which knows the names of this host only: {error}",
                guest.name
            )),
        }
    }
    let gone: Vec<NetnsId> = serving
        .keys()
        .filter(|id| !found.contains(id))
        .copied()
        .collect();
    for id in gone {
        if let Some(serving) = serving.remove(&id) {
            let _ = resolver::give_back(&serving.within.netns);
        }
        dns.leave(id);
    }
}

/// Redirects the queries of a container to our server. Returns false if there is no resolver of Docker in it: it then
/// queries us directly.
fn serve(
    dns: &Dns,
    guest: &Guest,
    netns: Netns,
    id: NetnsId,
    serving: &mut BTreeMap<NetnsId, Serving>,
) -> Result<bool, SysError> {
    if serving.get(&id).is_some_and(|now| now.heard == guest.heard) {
        return Ok(true);
    }
    let Some(found) = resolver::find(&netns)? else {
        return Ok(false);
    };
    if let Some(now) = serving.get_mut(&id)
        && now.within.resolver == found
    {
        resolver::lead_to(&netns, now.address)?;
        now.heard = guest.heard;
        return Ok(true);
    }
    if serving.len() >= MAX_DNS_NAMESPACES {
        return Err(SysError::other(
            "answer within one more container",
            format!("{MAX_DNS_NAMESPACES} are as many as can be"),
        ));
    }
    let within = Within {
        netns: Arc::new(netns),
        resolver: found,
    };
    let (udp, tcp) = listen(&within.netns)?;
    let failed = |e| SysError::new("answer within the container", e);
    let address = udp.local_addr().map_err(failed)?;
    dns.serve_inside(id, udp, tcp, Some(within.clone()))
        .map_err(failed)?;
    if let Err(error) = resolver::lead_to(&within.netns, address) {
        dns.leave(id);
        return Err(error);
    }
    let heard = guest.heard;
    serving.insert(
        id,
        Serving {
            within,
            address,
            heard,
        },
    );
    Ok(true)
}

/// Opens UDP and TCP sockets on the same port.
fn listen(netns: &Netns) -> Result<(std::net::UdpSocket, std::net::TcpListener), SysError> {
    let mut tries = 1;
    loop {
        match listen_in(netns, ADDRESS) {
            Err(error) if error.is_in_use() && tries < PORT_TRIES => tries += 1,
            done => return done,
        }
    }
}

/// Returns the problem of a container that queries a host address on which the server no longer listens.
fn astray(dns: &Dns, guest: &Guest) -> Option<String> {
    let listening = dns.listening();
    let is_there = |ip: &IpAddr| listening.contains(&SocketAddr::new(*ip, DNS_PORT));
    if listening.is_empty() || guest.asks.iter().any(is_there) {
        return None;
    }
    let first = guest.asks.first()?;
    let now = listening.first()?.ip();
    Some(format!(
        "container {} asks {first} for names, where nobody answers any more: create it again, then it asks {now}",
        guest.name
    ))
}

impl Drop for Guests {
    fn drop(&mut self) {
        // While no router runs, Docker's resolver answers.
        for serving in lock(&self.kept).serving.values() {
            let _ = resolver::give_back(&serving.within.netns);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
