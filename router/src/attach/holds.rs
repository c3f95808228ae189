//! Addresses of the range that routers share are free again when nobody can use them any more.
//!
//! Who may use a held address: what is in the table, asleep or not; a container that Docker keeps, running or not, whose
//! connections promise it; a preparation whose caller lives. The table and Docker are looked at again and again, so that
//! whatever a crash cut short is mended: what is held for nobody is freed, what is used and not held is claimed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use mesh_proto::api::Runtime;

use super::acquire::Ask;
use super::table::{Member, Owner, Process, Promise};
use super::{AttachError, Attachments};
use crate::driver::options;
use crate::ipam::ContainerLease;
use crate::ipam::holder::{HOST, holder, id, is_dockers};

/// What was never seen in use since the start is free after this long: whatever uses it may not be up yet, and not be
/// known to its engine.
const GRACE: Duration = Duration::from_secs(30);
/// How long the claim of an address in use may take; tried again by the next look.
const MEND_WAIT: Duration = Duration::from_secs(2);

/// What is known of addresses beyond the table.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// Addresses that were held before the start.
    inherited: BTreeSet<Ipv4Addr>,
    /// Addresses that somebody used since the start.
    seen: BTreeSet<Ipv4Addr>,
    /// Since when nobody uses an address.
    unused: BTreeMap<Ipv4Addr, Instant>,
    /// Addresses in use that could not be claimed, as was told.
    told: BTreeSet<IpAddr>,
    /// What Docker was last asked about, and what it promises.
    asked: (BTreeSet<String>, BTreeSet<Ipv4Addr>),
    has_asked: bool,
    promised: BTreeMap<Ipv4Addr, (Ipv4Net, String)>,
    /// Whose promises they are, by the id in the holder.
    pub(super) keepers: BTreeMap<String, Owner>,
    /// The space is handed over; nothing is attached any more.
    retired: bool,
}

impl Attachments {
    /// From now on addresses of this preparation are not free as long as its caller lives.
    pub(super) fn prepare_hold(&self, id: &str, ask: &Ask) {
        // Of one that cannot be seen from here the container has to be seen in time.
        let Ok(caller) = self.process(ask.caller) else {
            return;
        };
        let kernel = &self.kernel;
        let lives = |p: &Process| kernel.process_start(p.pid) == Some(p.started);
        let promise = Promise {
            holder: ask.holder.clone(),
            caller,
        };
        self.record(|table| {
            table.prepared.retain(|_, promise| lives(&promise.caller));
            table.prepared.insert(id.to_owned(), promise);
        });
    }

    /// The container of this preparation did not start: what it does not use is free.
    pub(super) async fn abandon_hold(&self, id: &str) {
        let promise = self.record(|table| table.prepared.remove(id));
        let Some(Promise { holder, .. }) = promise else {
            return;
        };
        let used = self.used();
        for held in self.allocator.leases().await {
            if held.owner == holder && !used.contains_key(&held.addr) {
                self.allocator.release(held.addr, &holder).await;
            }
        }
    }

    /// These were in use until now: they are free as soon as nobody else can use them.
    pub(super) fn note_used(&self, addresses: impl IntoIterator<Item = IpNet>) {
        let mut holds = self.holds();
        for address in addresses {
            if let IpNet::V4(v4) = address
                && self.allocator.covers(address.addr())
            {
                holds.seen.insert(v4.addr());
            }
        }
    }

    /// Frees what nobody can use any more, and claims what is used and not held.
    pub(super) async fn settle_holds(&self) {
        if self.allocator.pool().is_err() || self.holds().retired {
            return;
        }
        let held: BTreeMap<Ipv4Addr, String> = {
            let held = self.allocator.leases().await.into_iter();
            held.map(|ContainerLease { addr, owner }| (addr, owner))
                .collect()
        };
        // In this order: a preparation whose caller has ended is a container by then, or nothing.
        let prepared = self.prepared();
        let promised = self.promised(&held).await;
        let used = self.used();
        for (addr, holder) in &held {
            let is_told = promised.is_some() && is_dockers(holder);
            let is_kept = used.contains_key(addr)
                || prepared.contains(holder)
                || holder == HOST && self.is_exposing()
                || match &promised {
                    Some(promised) => promised.contains_key(addr),
                    None => is_dockers(holder),
                };
            if is_kept {
                let mut holds = self.holds();
                holds.unused.remove(addr);
                if used.contains_key(addr) {
                    holds.seen.insert(*addr);
                }
            } else if is_told && self.is_inherited(*addr) || self.is_free_now(*addr) {
                tracing::info!("{addr} is free: its container is gone");
                self.allocator.release(*addr, holder).await;
            }
        }
        self.holds()
            .unused
            .retain(|addr, _| held.contains_key(addr));
        let missing = promised.unwrap_or_default().into_iter().chain(used);
        let missing =
            missing.filter(|(addr, (_, holder))| !held.contains_key(addr) && !holder.is_empty());
        let (told, mut missing): (Vec<_>, Vec<_>) = {
            let holds = self.holds();
            missing.partition(|(addr, _)| holds.told.contains(&IpAddr::V4(*addr)))
        };
        missing.extend(told);
        let claiming = async {
            for (_, (net, holder)) in &missing {
                self.claim_used(*net, holder).await;
            }
        };
        // What takes longer is for the next look.
        let _ = tokio::time::timeout(2 * MEND_WAIT, claiming).await;
    }

    /// Remembers what was held before this run: no request of this one waits for it.
    pub(super) async fn note_inherited(&self) {
        let held = self.allocator.leases().await.into_iter();
        self.holds().inherited = held.map(|held| held.addr).collect();
    }

    fn is_inherited(&self, addr: Ipv4Addr) -> bool {
        self.holds().inherited.remove(&addr)
    }

    /// Whether an address that nobody uses was used before in this run, or not for long.
    fn is_free_now(&self, addr: Ipv4Addr) -> bool {
        let mut holds = self.holds();
        let since = *holds.unused.entry(addr).or_insert_with(Instant::now);
        holds.seen.remove(&addr) || since.elapsed() >= GRACE
    }

    async fn claim_used(&self, net: Ipv4Net, holder: &str) {
        let claimed = self.claim(net.into(), holder, MEND_WAIT, 0).await;
        let addr = IpAddr::V4(net.addr());
        let mut holds = self.holds();
        match claimed {
            Ok(()) => {
                holds.told.remove(&addr);
            }
            Err(error) => {
                if holds.told.insert(addr) {
                    tracing::warn!("{addr} is used here and cannot be claimed: {error}");
                }
            }
        }
    }

    /// What the table uses of the range, with the names it is held under.
    fn used(&self) -> BTreeMap<Ipv4Addr, (Ipv4Net, String)> {
        let table = self.table();
        let of_member = |key: &str, member: &Member| match member.runtime {
            Runtime::Process => holder(member.runtime, "", key),
            runtime => holder(runtime, "", member.owner(key)),
        };
        let members = table.members.iter().flat_map(|(key, member)| {
            let holder = of_member(key, member);
            let ports = member.ports.iter();
            ports.map(move |port| (port.address, holder.clone()))
        });
        let endpoints = table.endpoints.values().map(|end| {
            let holder = match end.holder.is_empty() {
                true => holder(Runtime::Docker, "", &end.network),
                false => end.holder.clone(),
            };
            (end.address, holder)
        });
        let exposed = table.exposed.keys();
        let exposed = exposed.map(|address| (*address, HOST.to_owned()));
        let all = members.chain(endpoints).chain(exposed);
        all.filter_map(|(address, holder)| match address {
            IpNet::V4(v4) if self.allocator.covers(address.addr()) => {
                Some((v4.addr(), (v4, holder)))
            }
            _ => None,
        })
        .collect()
    }

    /// Holders of preparations whose callers live.
    fn prepared(&self) -> BTreeSet<String> {
        let kernel = &self.kernel;
        let lives = |p: &Process| kernel.process_start(p.pid) == Some(p.started);
        self.record(|table| {
            table.prepared.retain(|_, promise| lives(&promise.caller));
            let prepared = table.prepared.values();
            prepared.map(|promise| promise.holder.clone()).collect()
        })
    }

    /// What Docker keeps for its containers; nothing when it cannot be asked. Also for those that run: one that is about to
    /// stop has lost its endpoint already. Asked again only when there are other containers, or other addresses that
    /// nobody in the table uses, than before.
    async fn promised(
        &self,
        held: &BTreeMap<Ipv4Addr, String>,
    ) -> Option<BTreeMap<Ipv4Addr, (Ipv4Net, String)>> {
        let docker = self.engines.of(Runtime::Docker)?;
        let used = self.used();
        let open: BTreeSet<Ipv4Addr> = held
            .iter()
            .filter(|(addr, holder)| is_dockers(holder) && !used.contains_key(*addr))
            .map(|(addr, _)| *addr)
            .collect();
        if open.is_empty() && self.holds().has_asked {
            return Some(BTreeMap::new());
        }
        let containers = docker.on_mesh().await.ok()?;
        let question = (containers, open);
        if self.holds().has_asked && self.holds().asked == question {
            return Some(self.holds().promised.clone());
        }
        let mut promised = BTreeMap::new();
        let mut keepers = BTreeMap::new();
        for container in &question.0 {
            let Ok(container) = docker.inspect(container).await else {
                // Gone meanwhile, or Docker is: the next look will tell.
                return None;
            };
            for options in &container.connections {
                if let Some((IpNet::V4(v4), holder)) = options::promise(options)
                    && self.allocator.covers(IpAddr::V4(v4.addr()))
                {
                    let keeper = Owner {
                        id: container.id.clone(),
                        name: container.name.clone(),
                    };
                    keepers.extend(id(&holder).map(|id| (id.to_owned(), keeper)));
                    promised.insert(v4.addr(), (v4, holder));
                }
            }
        }
        self.set_keepers(keepers);
        let mut holds = self.holds();
        holds.has_asked = true;
        holds.asked = question;
        holds.promised.clone_from(&promised);
        Some(promised)
    }

    /// Takes everything off the mesh for good: the space is about to be handed over.
    ///
    /// # Errors
    /// An interface could not be removed; it can be tried again.
    pub async fn retire(&self) -> Result<(), AttachError> {
        self.holds().retired = true;
        self.hide_all().await?;
        let _turn = self.operations.lock().await;
        self.leave_bridges().await?;
        let plugged = self.on_kernel(|kernel| kernel.plugged()).await?;
        self.on_kernel(move |kernel| {
            plugged
                .iter()
                .try_for_each(|tag| kernel.unplug(tag).map(drop))
        })
        .await?;
        self.record(|table| {
            table.members.clear();
            table.endpoints.clear();
        });
        Ok(())
    }

    pub(super) fn is_retired(&self) -> bool {
        self.holds().retired
    }

    pub(super) fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
