//! The task that announces the names of this host's containers, within milliseconds of a change; [`HostNames`] decides.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_dns::containers::docker::DockerContainer;
use mesh_dns::host_names::{AttachedNow, ChangeTarget, HostNames, attached_target};
use mesh_dns::update::NameUpdate;
use mesh_engine::error::EngineError;
use mesh_engine::event::EngineEvent;
use mesh_host::exposure::ExposedName;
use mesh_host::table::Announced;
use mesh_names::{Domain, ManualNames};
use mesh_proto::api::{DnsChange, Runtime};
use mesh_proto::wire::topic::Topic;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::NamesError;
use super::engines::{AGAIN, EngineMessage, PODMAN_AGAIN, ask, follow};
use super::networks::CalledNetworks;
use super::starting::StartingFiles;
use crate::attach::Attachments;
use crate::command::ControlCommand;
use crate::dns::DnsCommand;
use crate::state::{StateError, Store};

/// Capacity of the channel of engine answers and events.
const EVENTS: usize = 256;

/// Request of the operator.
pub(super) enum NamesRequest {
    Add(DnsChange, oneshot::Sender<Result<(), NamesError>>),
    Remove(DnsChange, oneshot::Sender<Result<(), NamesError>>),
    /// Requests the number of names that do not fit into the announcement, and the texts that are not valid names.
    LeftOut(oneshot::Sender<(usize, Vec<String>)>),
}

/// State of the task.
pub(super) struct NamesTask {
    attachments: Arc<Attachments>,
    store: Arc<Store>,
    commands: mpsc::Sender<ControlCommand>,
    server: Option<mpsc::Sender<DnsCommand>>,
    domain: Domain,
    networks: CalledNetworks,
    names: HostNames,
    messages: mpsc::Sender<EngineMessage>,
    heard: mpsc::Receiver<EngineMessage>,
    announced: watch::Receiver<Vec<Announced>>,
    /// Names of the host itself.
    exposed: watch::Receiver<Vec<ExposedName>>,
    /// Docker containers, published to [`DockerDns`](super::docker_dns::DockerDns).
    docker: watch::Sender<Vec<DockerContainer>>,
    /// Docker containers that may start.
    starting: Arc<StartingFiles>,
    /// Listener on podman's events, while podman containers are on the mesh: each listener costs a process.
    podman: Option<AbortHandle>,
}

impl NamesTask {
    pub(super) fn new(
        attachments: Arc<Attachments>,
        store: Arc<Store>,
        commands: mpsc::Sender<ControlCommand>,
        server: Option<mpsc::Sender<DnsCommand>>,
        (domain, networks): (Domain, CalledNetworks),
        (docker, starting): (watch::Sender<Vec<DockerContainer>>, Arc<StartingFiles>),
    ) -> Result<Self, StateError> {
        let manual = store.names()?;
        let (messages, heard) = mpsc::channel(EVENTS);
        Ok(Self {
            announced: attachments.announced(),
            exposed: attachments.exposed_names(),
            attachments,
            store,
            commands,
            server,
            names: HostNames::new(manual, domain.clone()),
            domain,
            networks,
            messages,
            heard,
            docker,
            starting,
            podman: None,
        })
    }

    /// Runs until all senders of requests are gone.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<NamesRequest>) {
        if let Some(docker) = self.attachments.engines().of(Runtime::Docker) {
            tokio::spawn(follow(docker, self.messages.clone(), AGAIN));
        }
        loop {
            self.refresh();
            self.announce().await;
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.handle_request(request).await,
                    None => return,
                },
                Ok(()) = self.announced.changed() => {}
                Ok(()) = self.exposed.changed() => {}
                Some(message) = self.heard.recv() => self.handle_message(message).await,
            }
        }
    }

    /// Starts or stops the listener on podman's events, as needed.
    fn listen_to_podman(&mut self) {
        let is_needed = self.attachments.has_podman();
        match (is_needed, &self.podman) {
            (true, None) => {
                let podman = self.attachments.engines().of(Runtime::Podman);
                self.podman = podman.map(|podman| {
                    let listening = follow(podman, self.messages.clone(), PODMAN_AGAIN);
                    tokio::spawn(listening).abort_handle()
                });
            }
            (false, Some(listener)) => {
                listener.abort();
                self.podman = None;
            }
            _ => {}
        }
    }

    async fn handle_message(&mut self, message: EngineMessage) {
        match message {
            EngineMessage::Event(runtime, event) => {
                match (runtime, &event) {
                    (Runtime::Podman, _) => self.attachments.look_at_podman(),
                    (Runtime::Docker, EngineEvent::Connected) => {
                        self.attachments.docker_connected();
                        self.learn_of_all();
                    }
                    (Runtime::Docker, EngineEvent::NetworkCreated(id, name)) => {
                        let users = self.attachments.docker().users.clone();
                        let (id, name) = (id.clone(), name.clone());
                        tokio::spawn(async move { users.named(&id, &name).await });
                    }
                    _ => {}
                }
                self.handle_event(event).await;
            }
            EngineMessage::Inspected(id, answer) => {
                let answer = answer.map(|answer| *answer);
                if let Some(answer) = &answer {
                    self.starting.learn(&answer.container);
                }
                let name = answer.as_ref().map(|answer| answer.name.clone());
                if self.names.inspected(&id, answer) {
                    self.inspect(&id);
                } else if let Some(name) = name.filter(|name| !name.is_empty()) {
                    self.attachments.rename(&id, &name);
                }
            }
        }
    }

    async fn handle_event(&mut self, event: EngineEvent) {
        let effects = self.names.handle_event(event);
        if effects.resolve_owners {
            self.attachments.resolve_owners().await;
        }
        effects.inspect.iter().for_each(|id| self.inspect(id));
        if let Some((id, name)) = effects.renamed {
            self.attachments.rename(&id, &name);
        }
        if let Some(id) = effects.removed {
            self.starting.forget(&id);
        }
        self.store_if(effects.is_changed);
    }

    /// Updates the containers to those that are attached now.
    fn refresh(&mut self) {
        self.announced.mark_unchanged();
        self.listen_to_podman();
        let rows = self.attachments.ps();
        let effects = self.names.look(AttachedNow {
            rows: &rows,
            networks: self.attachments.network_addresses(),
            docker_networks: self.attachments.docker_networks(),
            exposed: self.exposed.borrow_and_update().clone(),
            wishes: self.attachments.hosts_wishes(),
        });
        effects.inspect.iter().for_each(|id| self.inspect(id));
        for line in effects.warnings {
            tracing::warn!("{line}");
        }
        self.docker.send_if_modified(|old| {
            let changed = *old != effects.docker;
            *old = effects.docker;
            changed
        });
        self.store_if(effects.is_changed);
    }

    /// Publishes changes: to the server of this host at once, and to other routers through the control plane.
    async fn announce(&mut self) {
        let Some(news) = self.names.take_announcement() else {
            return;
        };
        if let Some(server) = &self.server {
            // Fails if the server has ended.
            let update = NameUpdate::Own(news.own);
            let _ = server.send(DnsCommand::Update(update)).await;
        }
        if let Some(body) = news.statement {
            let command = ControlCommand::Announce(Topic::NAMES, body);
            // Fails if the control plane has ended.
            let _ = self.commands.send(command).await;
        }
    }

    /// Starts a query to the engine about a container.
    fn inspect(&self, id: &str) {
        let rows = self.attachments.ps();
        let runtime = rows.iter().find(|r| r.container == id).map(|r| r.runtime);
        let engine = runtime.and_then(|r| self.attachments.engines().of(r));
        let (id, domain, messages) = (id.to_owned(), self.domain.clone(), self.messages.clone());
        tokio::spawn(async move {
            let answer = match engine {
                Some(engine) => ask(&*engine, &id, &domain).await,
                None => None,
            };
            let answer = answer.map(Box::new);
            // Fails if the task has ended.
            let _ = messages.send(EngineMessage::Inspected(id, answer)).await;
        });
    }

    /// Queries Docker about all containers that may start on the mesh.
    fn learn_of_all(&self) {
        let Some(docker) = self.attachments.engines().of(Runtime::Docker) else {
            return;
        };
        let starting = self.starting.clone();
        tokio::spawn(async move {
            for id in docker.on_mesh().await.unwrap_or_default() {
                if let Ok(container) = docker.inspect(&id).await {
                    starting.learn(&container);
                }
            }
        });
    }

    /// Stores the operator's changes after some of containers that are gone were forgotten.
    fn store_if(&self, is_changed: bool) {
        if is_changed && let Err(error) = self.store.set_names(self.names.manual()) {
            tracing::error!(%error, "names changed by hand are not stored");
        }
    }

    async fn handle_request(&mut self, request: NamesRequest) {
        // A failed send means that the caller is gone.
        match request {
            NamesRequest::Add(change, done) => {
                let result = self.add(change).await;
                let _ = done.send(result);
            }
            NamesRequest::Remove(change, done) => {
                let result = self.remove(change).await;
                let _ = done.send(result);
            }
            NamesRequest::LeftOut(answer) => {
                let unusable = self.names.unusable().to_vec();
                let _ = answer.send((self.names.left_out(), unusable));
            }
        }
    }

    async fn add(&mut self, change: DnsChange) -> Result<(), NamesError> {
        let network = self.networks.resolve(&change.network)?;
        let target = self.target(&change).await?;
        let before = self.names.add(change, network, target)?;
        self.keep(before)
    }

    async fn remove(&mut self, change: DnsChange) -> Result<(), NamesError> {
        let network = self.networks.resolve(&change.network)?;
        let target = self.target(&change).await?;
        let before = self.names.remove(&change, network, target)?;
        self.keep(before)
    }

    /// Persists the operator's changes; rolls back to `before` on failure.
    fn keep(&mut self, before: ManualNames) -> Result<(), NamesError> {
        if let Err(error) = self.store.set_names(self.names.manual()) {
            self.names.roll_back(before);
            return Err(error.into());
        }
        Ok(())
    }

    async fn target(&self, change: &DnsChange) -> Result<Option<ChangeTarget>, NamesError> {
        let Some(wanted) = change.container.as_deref() else {
            return Ok(None);
        };
        let networks = self.attachments.network_addresses();
        if let Some(attached) = attached_target(&self.attachments.ps(), &networks, wanted) {
            return Ok(Some(attached));
        }
        // Not on the mesh now: its names apply once it is.
        let found = self.attachments.engines().find(None, wanted).await;
        let (_, container) = match found {
            Err(EngineError::Unavailable(_)) => {
                return Err(EngineError::NoContainer(wanted.to_owned()).into());
            }
            found => found?,
        };
        Ok(Some(ChangeTarget {
            id: container.id,
            name: container.name,
            networks: BTreeSet::new(),
        }))
    }
}
