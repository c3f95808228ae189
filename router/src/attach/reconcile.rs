//! Makes the kernel agree with the table: what someone deleted comes back, what has ended goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use mesh_proto::api::Runtime;

use super::kernel::Target;
use super::table::{Endpoint, Holder, Owner, Port, Process, Table};
use super::{AttachError, Attachments, Home, Member};
use crate::engine::EngineError;

/// Time between two looks at everything.
const PERIOD: Duration = Duration::from_secs(3);
/// Every so many looks podman is asked, too: it has no daemon, and each question costs a process.
const PODMAN_EVERY: u32 = 3;

/// Docker is asked about an endpoint that has been in no container for this long.
const HALF_MADE_FOR: Duration = Duration::from_secs(10);
/// Every so many looks Docker is asked for what was connected or disconnected without us, and for networks that are gone.
const DOCKER_EVERY: u32 = 10;

/// All containers of an engine: full id → whether it runs. None: it was not asked, or could not answer.
type Listing = Option<BTreeMap<String, bool>>;

/// What the engines say, asked before the operations are locked.
#[derive(Default)]
struct World {
    docker: Listing,
    podman: Listing,
}

impl World {
    fn of(&self, runtime: Runtime) -> Option<&BTreeMap<String, bool>> {
        match runtime {
            Runtime::Docker => self.docker.as_ref(),
            Runtime::Podman => self.podman.as_ref(),
            Runtime::Process | Runtime::Host => None,
        }
    }
}

impl Attachments {
    /// Reconciles at once, then every 3 s and whenever a container's process ends. Runs until it is dropped.
    pub async fn run(self: Arc<Self>) {
        for pid in self.watched_pids() {
            self.watch(pid);
        }
        self.note_inherited().await;
        let mut is_settled = false;
        for round in 0u32.. {
            let is_due = round % PODMAN_EVERY == 0;
            let ask_podman = self.ask_podman.swap(false, Ordering::Relaxed) || is_due;
            self.reconcile(ask_podman).await;
            let again = self.again.swap(false, Ordering::Relaxed);
            if again || !is_settled || round % DOCKER_EVERY == 0 {
                is_settled = self.settle_docker().await;
            }
            self.settle_holds().await;
            if round % PODMAN_EVERY == 0 {
                self.revive().await;
            }
            let _ = tokio::time::timeout(PERIOD, self.wake.notified()).await;
        }
    }

    /// One look at everything; `ask_podman` as podman is slow to ask. Failures are logged and tried again by the next.
    pub async fn reconcile(self: &Arc<Self>, ask_podman: bool) {
        if self.is_retired() {
            return;
        }
        let world = self.look(ask_podman).await;
        let _turn = self.operations.lock().await;
        let resting = self.resting();
        let ensured = self.on_kernel(move |kernel| kernel.ensure_bridge(&resting));
        match ensured.await {
            Ok(mended) => {
                self.meddling.note(&mended.changed);
                if mended.anything {
                    tracing::info!(
                        "the bridge, its ports or its firewall rule were made or mended"
                    );
                }
                if mended.port {
                    self.port_generation.send_modify(|n| *n += 1);
                }
                if mended.anything {
                    // A bridge that was made anew has no address.
                    self.wake_exposed();
                }
            }
            Err(error) => tracing::warn!(%error, "the bridge could not be mended"),
        }
        self.mend_bridges().await;
        // The table before the interfaces: what the driver makes meanwhile is then in neither or in the second only.
        let Table {
            members, endpoints, ..
        } = self.table().clone();
        let Ok(plugged) = self.on_kernel(|kernel| kernel.plugged()).await else {
            return;
        };
        for (key, member) in members {
            if let Err(error) = self.mend_member(&key, &member, &world, &plugged).await {
                tracing::warn!(%error, container = member.name, "an attachment could not be mended");
            }
        }
        for (id, end) in endpoints {
            self.mend_endpoint(&id, &end, &plugged).await;
        }
        self.settle_strays(&plugged).await;
        self.resolve_owners().await;
    }

    async fn look(&self, ask_podman: bool) -> World {
        let (mut docker, mut podman) = (false, false);
        for member in self.table().members.values() {
            let needed = match &member.home {
                // Also for one that seems to run: its process may end before the table is looked at.
                Home::Container(_) => true,
                Home::Namespace { holder, .. } => matches!(holder, Holder::Container(_)),
            };
            docker |= needed && member.runtime == Runtime::Docker;
            podman |= needed && member.runtime == Runtime::Podman;
        }
        World {
            docker: self.list(Runtime::Docker, docker).await,
            podman: self.list(Runtime::Podman, podman && ask_podman).await,
        }
    }

    async fn list(&self, runtime: Runtime, needed: bool) -> Listing {
        let engine = self.engines.of(runtime).filter(|_| needed)?;
        engine.list().await.ok()
    }

    async fn mend_member(
        self: &Arc<Self>,
        key: &str,
        member: &Member,
        world: &World,
        plugged: &BTreeSet<String>,
    ) -> Result<(), AttachError> {
        // A port without a name was found in the kernel, or its plugging was cut short.
        let is_missing = |p: &Port| p.ifname.is_empty() || !plugged.contains(&p.interface(key).tag);
        let missing = member.ports.iter().any(is_missing);
        match &member.home {
            Home::Namespace { netns, holder } => {
                let Some(runs) = self.state_of(holder, member, world).await else {
                    return self.remove_member(key).await;
                };
                if missing {
                    self.fill_namespace(key, netns).await?;
                }
                match runs {
                    true if member.asleep => self.rouse(key).await?,
                    false if missing || !member.asleep => self.put_to_rest(key).await?,
                    _ => {}
                }
            }
            Home::Container(Some(process)) if self.is_alive(*process) => {
                if missing {
                    self.plug_all(key, Target::Pid(process.pid)).await?;
                }
            }
            Home::Container(ended) => {
                if ended.is_some() {
                    self.put_to_sleep(key, member).await?;
                }
                self.try_to_wake(key, member, world).await?;
            }
        }
        Ok(())
    }

    /// The container's process has ended: its addresses are free, its interfaces go.
    async fn put_to_sleep(&self, key: &str, member: &Member) -> Result<(), AttachError> {
        self.record(|table| {
            if let Some(member) = table.members.get_mut(key) {
                member.home = Home::Container(None);
            }
        });
        // Usually they went with the namespace, but another process may hold that.
        let tags: Vec<String> = member.ports.iter().map(|p| p.interface(key).tag).collect();
        self.on_kernel(move |kernel| tags.iter().try_for_each(|tag| kernel.unplug(tag).map(drop)))
            .await?;
        Ok(())
    }

    /// A stopped container: forgotten when it is removed, plugged again when it runs again.
    async fn try_to_wake(
        self: &Arc<Self>,
        key: &str,
        member: &Member,
        world: &World,
    ) -> Result<(), AttachError> {
        let Some(listing) = world.of(member.runtime) else {
            return Ok(());
        };
        match listing.get(key) {
            None => {
                self.record(|table| table.members.remove(key));
                Ok(())
            }
            Some(false) => Ok(()),
            Some(true) => {
                let Some(engine) = self.engines.of(member.runtime) else {
                    return Ok(());
                };
                let pid = engine.inspect(key).await?.attachable()?;
                let process = self.process(pid)?;
                self.record(|table| self.wake_member(table, key, process));
                self.watch(pid);
                self.plug_all(key, Target::Pid(pid)).await
            }
        }
    }

    /// What Docker did without us: endpoints of its own, and networks that stopped containers miss. Whether it could be
    /// asked.
    async fn settle_docker(self: &Arc<Self>) -> bool {
        if self.is_retired() {
            return true;
        }
        let bare = self.settle_bare_endpoints().await;
        let networks = self.mend_networks().await;
        for error in [bare.err(), networks.err()].into_iter().flatten() {
            match error {
                AttachError::Engine(EngineError::Unavailable(_) | EngineError::Silent(_)) => {
                    return false;
                }
                error => tracing::warn!(%error, "not all containers of Docker could be mended"),
            }
        }
        true
    }

    /// An interface that Docker plugged: put back if someone deleted it, forgotten if its container is gone.
    async fn mend_endpoint(self: &Arc<Self>, id: &str, end: &Endpoint, plugged: &BTreeSet<String>) {
        let interface = end.interface(id);
        let is_plugged = plugged.contains(&interface.tag);
        let sandbox = end.sandbox.as_ref();
        let Some(sandbox) = sandbox.filter(|path| self.kernel.is_netns(path)) else {
            // Until Docker has moved the interface, the namespace may not be there yet.
            let has_arrived = !end.ifname.is_empty() || !is_plugged;
            if sandbox.is_some() && has_arrived {
                // The container ended while we or dockerd were away, and nobody said Leave.
                self.delete_endpoint(id).await;
            } else if self.is_half_made_for_long(id) {
                self.ask_about(id).await;
            }
            return;
        };
        if !self.is_joined(id) {
            return;
        }
        if is_plugged {
            if end.ifname.is_empty() {
                // The router ended between Join and this, or finishing failed.
                self.finish_later(id, sandbox.clone());
            }
            return;
        }
        // Disconnected while we were away: then it is not to be put back.
        if matches!(self.find_endpoint(id).await, Ok(None)) {
            self.delete_endpoint(id).await;
            return;
        }
        let target = Target::Path(sandbox.clone());
        let tag = interface.tag.clone();
        match self
            .on_kernel(move |kernel| kernel.plug(&target, &interface))
            .await
        {
            Err(error) => {
                tracing::warn!(%error, endpoint = id, "an interface could not be put back");
            }
            // The container left while it was being mended.
            Ok(_) if !self.is_joined(id) => {
                let _ = self.on_kernel(move |kernel| kernel.unplug(&tag)).await;
            }
            Ok(ifname) => {
                self.record(|table| table.endpoints.get_mut(id).map(|end| end.ifname = ifname));
            }
        }
    }

    /// An endpoint that is in no container as far as can be seen: Docker has joined it without us, or knows none.
    async fn ask_about(self: &Arc<Self>, id: &str) {
        let known = match self.find_endpoint(id).await {
            Ok(Some(known)) => known,
            Ok(None) => return self.delete_endpoint(id).await,
            // While Docker cannot be asked, it counts as there.
            Err(_) => return,
        };
        let Some(container) = known.container.filter(|c| c.running) else {
            return;
        };
        self.record(|table| {
            if let Some(end) = table.endpoints.get_mut(id) {
                end.sandbox = Some(container.sandbox.into());
                end.owner = Some(Owner {
                    id: container.id,
                    name: container.name,
                });
            }
        });
    }

    fn is_joined(&self, id: &str) -> bool {
        self.table()
            .endpoints
            .get(id)
            .is_some_and(|end| end.sandbox.is_some())
    }

    /// Docker joins within milliseconds what it creates, and deletes what has left; an endpoint that waits longer was
    /// given up, or joined, while the router was away.
    fn is_half_made_for_long(&self, id: &str) -> bool {
        let mut half_made = self
            .half_made
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let table = self.table();
        half_made.retain(|id, _| {
            let end = table.endpoints.get(id);
            end.is_some_and(|end| end.ifname.is_empty())
        });
        let since = half_made.entry(id.to_owned()).or_insert_with(Instant::now);
        since.elapsed() > HALF_MADE_FOR
    }

    /// Whether the holder of a namespace runs; none when there is none any more.
    async fn state_of(&self, holder: &Holder, member: &Member, world: &World) -> Option<bool> {
        let id = match holder {
            Holder::Caller(process) | Holder::Process(process) => {
                return self.is_alive(*process).then_some(true);
            }
            Holder::Container(id) => id,
        };
        // While the engine cannot be asked, the container counts as it was.
        let Some(list) = world.of(member.runtime) else {
            return Some(!member.asleep);
        };
        match list.get(id) {
            Some(true) => Some(true),
            listed if member.asleep && listed.is_some() => Some(false),
            // The list is older than the member may be.
            listed => self.asked_again(member, id, listed.is_some()).await,
        }
    }

    fn is_alive(&self, process: Process) -> bool {
        self.kernel.process_start(process.pid) == Some(process.started)
    }

    fn watched_pids(&self) -> Vec<u32> {
        let table = self.table();
        let pids = table
            .members
            .values()
            .filter_map(|member| match &member.home {
                Home::Container(Some(process)) => Some(process.pid),
                Home::Namespace {
                    holder: Holder::Caller(p) | Holder::Process(p),
                    ..
                } => Some(p.pid),
                _ => None,
            });
        pids.collect()
    }
}
