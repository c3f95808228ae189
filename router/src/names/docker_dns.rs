//! Docker containers on the mesh, from inside: their DNS server and their `/etc/hosts`.
//!
//! Docker's embedded resolver in a container would answer first, with the names of this host only. Queries of such
//! containers are redirected to the router's server, which forwards to Docker's resolver. So no port of the container
//! is taken, and no route to an address of the host is needed. Docker creates new namespaces and files at each start,
//! so both are checked at each event of a container, and every 3 s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_dns::containers::docker::{ChangedFiles, DockerCheck, DockerContainer};
use mesh_dns::containers::hosts_file::HostsLines;
use mesh_proto::limits::MAX_DNS_NAMESPACES;
use mesh_sys::error::SysError;
use mesh_sys::netns::{Netns, NetnsId};
use mesh_sys::resolver;
use mesh_sys::socket::loopback::listen_in;
use tokio::sync::watch;

use super::hosts_file::put;
use crate::dns::{Dns, EmbeddedResolver};

/// Listening address in each namespace; the system chooses the port.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 12)), 0);
/// Interval of checks.
const PERIOD: Duration = Duration::from_secs(3);
/// Attempts to get the same port for UDP and TCP.
const PORT_TRIES: usize = 4;

/// Maintains the redirection and files of all such containers.
pub(super) struct DockerDns {
    dns: Option<Arc<Dns>>,
    wanted: watch::Receiver<Vec<DockerContainer>>,
    kept: Mutex<AppliedState>,
    check: Mutex<DockerCheck>,
}

/// Applied state; locked during a check.
#[derive(Default)]
struct AppliedState {
    serving: BTreeMap<NetnsId, RedirectedNamespace>,
    files: ChangedFiles,
}

/// A namespace with redirected queries.
struct RedirectedNamespace {
    embedded: EmbeddedResolver,
    address: SocketAddr,
    heard: u64,
}

impl DockerDns {
    pub(super) fn new(
        dns: Option<Arc<Dns>>,
        wanted: watch::Receiver<Vec<DockerContainer>>,
    ) -> Self {
        Self {
            dns,
            wanted,
            kept: Mutex::default(),
            check: Mutex::default(),
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

    /// Returns true if the latest answer about a container has been applied.
    pub(super) fn is_done(&self, id: &str) -> bool {
        let wanted = self.wanted.borrow();
        let container = wanted.iter().find(|container| container.id == id);
        let check = lock(&self.check);
        container.is_some_and(|container| check.is_done(container))
    }

    /// Returns the errors of the last check, one line each.
    pub(super) fn errors(&self) -> Vec<String> {
        lock(&self.check).errors.clone()
    }

    fn look_now(&self) {
        let wanted = self.wanted.borrow().clone();
        let mut kept = lock(&self.kept);
        let mut check = DockerCheck::default();
        look_at_files(&wanted, &mut kept.files, &mut check);
        if let Some(dns) = &self.dns {
            look_at_queries(dns, &wanted, &mut kept.serving, &mut check);
        }
        check.set_done(&wanted);
        let mut known = lock(&self.check);
        for line in check.news(&known) {
            tracing::warn!("{line}");
        }
        *known = check;
    }
}

fn look_at_files(wanted: &[DockerContainer], files: &mut ChangedFiles, check: &mut DockerCheck) {
    for container in wanted {
        let Some((path, lines)) = &container.hosts else {
            continue;
        };
        match put(lines, path) {
            Ok(_) => files.insert(&container.id, path.clone()),
            Err(error) if error.is_not_found() => {}
            Err(error) => check.errors.push(container.hosts_unchanged(&error)),
        }
    }
    // Restore the file of containers that left the mesh.
    for path in files.take_left(wanted) {
        if let Err(error) = put(&HostsLines::default(), &path) {
            tracing::debug!("lines of a container that left the mesh stay: {error}");
        }
    }
}

fn look_at_queries(
    dns: &Dns,
    wanted: &[DockerContainer],
    serving: &mut BTreeMap<NetnsId, RedirectedNamespace>,
    check: &mut DockerCheck,
) {
    let own = Netns::current().and_then(|netns| netns.id()).ok();
    let mut found = BTreeSet::new();
    serving.retain(|id, _| dns.is_inside(*id));
    let listening = dns.listening();
    for container in wanted
        .iter()
        .filter(|container| container.asks_here(&listening))
    {
        // The container may have ended just now.
        let Ok(netns) = Netns::open(&container.sandbox) else {
            continue;
        };
        let Ok(id) = netns.id() else { continue };
        if Some(id) == own || !found.insert(id) {
            continue;
        }
        match serve(dns, container, netns, id, serving) {
            Ok(true) => {}
            Ok(false) => check.errors.extend(container.astray(&listening)),
            Err(error) => check.errors.push(container.not_redirected(&error)),
        }
    }
    let gone: Vec<NetnsId> = serving
        .keys()
        .filter(|id| !found.contains(id))
        .copied()
        .collect();
    for id in gone {
        if let Some(serving) = serving.remove(&id) {
            let _ = resolver::give_back(&serving.embedded.netns);
        }
        dns.leave(id);
    }
}

/// Redirects the queries of a container to our server. Returns false if there is no resolver of Docker in it: it then
/// queries us directly.
fn serve(
    dns: &Dns,
    container: &DockerContainer,
    netns: Netns,
    id: NetnsId,
    serving: &mut BTreeMap<NetnsId, RedirectedNamespace>,
) -> Result<bool, SysError> {
    // Networks may change without a word of Docker, as by `mesh attach`.
    dns.set_networks(id, &container.networks);
    if serving
        .get(&id)
        .is_some_and(|now| now.heard == container.heard)
    {
        return Ok(true);
    }
    let Some(found) = resolver::find(&netns)? else {
        return Ok(false);
    };
    if let Some(now) = serving.get_mut(&id)
        && now.embedded.sockets == found
    {
        resolver::lead_to(&netns, now.address)?;
        now.heard = container.heard;
        return Ok(true);
    }
    if serving.len() >= MAX_DNS_NAMESPACES {
        return Err(SysError::other(
            "answer within one more container",
            format!("{MAX_DNS_NAMESPACES} are as many as can be"),
        ));
    }
    let embedded = EmbeddedResolver {
        netns: Arc::new(netns),
        sockets: found,
    };
    let (udp, tcp) = listen(&embedded.netns)?;
    let failed = |e| SysError::new("answer within the container", e);
    let address = udp.local_addr().map_err(failed)?;
    dns.serve_inside(id, udp, tcp, &container.networks, Some(embedded.clone()))
        .map_err(failed)?;
    if let Err(error) = resolver::lead_to(&embedded.netns, address) {
        dns.leave(id);
        return Err(error);
    }
    let heard = container.heard;
    serving.insert(
        id,
        RedirectedNamespace {
            embedded,
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

impl Drop for DockerDns {
    fn drop(&mut self) {
        // While no router runs, Docker's resolver answers.
        for serving in lock(&self.kept).serving.values() {
            let _ = resolver::give_back(&serving.embedded.netns);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
