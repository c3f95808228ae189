//! Names of this host's containers, announced within milliseconds of a change.
//!
//! The container name comes with its attachment. Host name, aliases and ports come from the engine, which may take
//! longer: until it answers, the container name is announced alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use mesh_host::exposure::ExposedName;
use mesh_host::hosts::HostsWish;
use mesh_host::table::Announced;
use mesh_proto::api::{AttachedContainer, DnsChange, EXPOSE, Runtime};
use mesh_proto::names::{Container, Domain, LocalNames, ManualName, MeshName};
use mesh_proto::wire::topic::Topic;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::NamesError;
use super::details::Details;
use super::engines::{AGAIN, PODMAN_AGAIN, Word, ask, follow};
use super::expected::Expected;
use super::guests::Guest;
use super::hosts_file::{Lines, path_of};
use crate::attach::Attachments;
use crate::command::ControlCommand;
use crate::dns::{Own, Told};
use crate::engine::{EngineError, EngineEvent, is_part_of_id};
use crate::state::{StateError, Store};

/// Capacity of the channel of engine answers and events.
const EVENTS: usize = 256;

/// Request of the operator.
pub(super) enum Request {
    Add(DnsChange, oneshot::Sender<Result<(), NamesError>>),
    Remove(DnsChange, oneshot::Sender<Result<(), NamesError>>),
    /// Requests the number of names that do not fit into the announcement, and the texts that are not valid names.
    LeftOut(oneshot::Sender<(usize, Vec<String>)>),
}

/// State of the task.
pub(super) struct Host {
    attachments: Arc<Attachments>,
    store: Arc<Store>,
    commands: mpsc::Sender<ControlCommand>,
    told: Option<mpsc::Sender<Told>>,
    domain: Domain,
    local: LocalNames,
    /// Last answer of the engine, by container.
    details: BTreeMap<String, Details>,
    /// Pending queries by container; true if another one must follow.
    asked: BTreeMap<String, bool>,
    words: mpsc::Sender<Word>,
    heard: mpsc::Receiver<Word>,
    announced: watch::Receiver<Vec<Announced>>,
    /// Names of the host itself.
    exposed: watch::Receiver<Vec<ExposedName>>,
    /// Last announcement of this host.
    own: Own,
    /// Names of containers that are not valid in the mesh, one line each.
    unusable: Vec<String>,
    /// Docker containers, published to [`Guests`](super::guests::Guests).
    guests: watch::Sender<Vec<Guest>>,
    /// Docker containers that may start.
    expected: Arc<Expected>,
    /// Number of answers from engines so far.
    inspections: u64,
    /// Listener on podman's events, while podman containers are on the mesh: each listener costs a process.
    podman: Option<AbortHandle>,
}

impl Host {
    pub(super) fn new(
        attachments: Arc<Attachments>,
        store: Arc<Store>,
        commands: mpsc::Sender<ControlCommand>,
        told: Option<mpsc::Sender<Told>>,
        domain: Domain,
        (guests, expected): (watch::Sender<Vec<Guest>>, Arc<Expected>),
    ) -> Result<Self, StateError> {
        let kept = store.names()?;
        let (words, heard) = mpsc::channel(EVENTS);
        Ok(Self {
            announced: attachments.announced(),
            exposed: attachments.exposed_names(),
            attachments,
            store,
            commands,
            told,
            domain,
            local: LocalNames::new(kept),
            details: BTreeMap::new(),
            asked: BTreeMap::new(),
            words,
            heard,
            own: Own::default(),
            unusable: Vec::new(),
            guests,
            expected,
            inspections: 0,
            podman: None,
        })
    }

    /// Runs until all senders of requests are gone.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        if let Some(docker) = self.attachments.engines().of(Runtime::Docker) {
            tokio::spawn(follow(docker, self.words.clone(), AGAIN));
        }
        loop {
            self.refresh();
            self.state().await;
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.handle_request(request).await,
                    None => return,
                },
                Ok(()) = self.announced.changed() => {}
                Ok(()) = self.exposed.changed() => {}
                Some(word) = self.heard.recv() => self.handle_word(word).await,
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
                    let listening = follow(podman, self.words.clone(), PODMAN_AGAIN);
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

    async fn handle_word(&mut self, word: Word) {
        match word {
            Word::Event(Runtime::Podman, event) => {
                self.attachments.look_at_podman();
                self.handle_event(event).await;
            }
            Word::Event(runtime, event) => {
                if runtime == Runtime::Docker && event == EngineEvent::Connected {
                    self.learn_of_all();
                }
                self.handle_event(event).await;
            }
            Word::Details(id, details) => {
                let mut details = details.map(|d| *d).unwrap_or_default();
                self.expected.learn(&details.container);
                self.inspections += 1;
                details.heard = self.inspections;
                if !details.name.is_empty() {
                    self.attachments.rename(&id, &details.name);
                }
                self.details.insert(id.clone(), details);
                if self.asked.remove(&id) == Some(true) {
                    self.inquire(&id);
                }
            }
        }
    }

    async fn handle_event(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Connected => {
                self.attachments.resolve_owners().await;
                let known: Vec<String> = self.details.keys().cloned().collect();
                known.iter().for_each(|id| self.inquire(id));
            }
            EngineEvent::Changed(id) => {
                self.attachments.resolve_owners().await;
                if self.details.contains_key(&id) || self.asked.contains_key(&id) {
                    self.inquire(&id);
                }
            }
            EngineEvent::Renamed(id, name) => self.attachments.rename(&id, &name),
            EngineEvent::Removed(id) => {
                self.expected.forget(&id);
                self.forget(|container| container != id);
            }
        }
    }

    /// Updates the containers to those that are attached now.
    fn refresh(&mut self) {
        self.announced.mark_unchanged();
        self.listen_to_podman();
        let rows = self.attachments.ps();
        let here: BTreeSet<&str> = rows.iter().map(|row| row.container.as_str()).collect();
        self.details.retain(|id, _| here.contains(id.as_str()));
        for row in &rows {
            let is_new = !self.details.contains_key(&row.container);
            let has_engine = matches!(row.runtime, Runtime::Docker | Runtime::Podman);
            let has_engine = has_engine && is_named(row);
            if is_new && has_engine && !self.asked.contains_key(&row.container) {
                self.inquire(&row.container);
            }
        }
        let exposed = self.exposed.borrow_and_update().clone();
        // The host's row lets names added by the operator resolve to all addresses of the host.
        let named = rows
            .iter()
            .filter(|row| row.container == EXPOSE || is_named(row));
        let lines: BTreeSet<String> = rows.iter().flat_map(|row| self.unusable(row)).collect();
        let containers = named.map(|row| self.container(row));
        let containers = containers.chain(exposed.into_iter().map(host_name));
        self.local.set_containers(containers.collect());
        for line in lines.iter().filter(|line| !self.unusable.contains(line)) {
            tracing::warn!("{line}");
        }
        self.unusable = lines.into_iter().collect();
        self.publish_guests(&rows);
        // Changes to the names of a process end with it. For containers, engines report the end.
        self.forget(|id| !attached_only(id) || here.contains(id));
    }

    /// Publishes the Docker containers on the mesh.
    fn publish_guests(&self, rows: &[AttachedContainer]) {
        let wishes = self.attachments.hosts_wishes();
        let docker = rows.iter().filter(|row| row.runtime == Runtime::Docker);
        let guests = docker.filter_map(|row| {
            let details = self.details.get(&row.container)?;
            let wish = wishes.get(&row.container).cloned().unwrap_or_default();
            Some(self.guest(row, details, &wish))
        });
        let guests: Vec<Guest> = guests.collect();
        self.guests.send_if_modified(|old| {
            let changed = *old != guests;
            *old = guests;
            changed
        });
    }

    fn guest(&self, row: &AttachedContainer, details: &Details, wish: &HostsWish) -> Guest {
        let engine = &details.container;
        let is_ours = |domain: &String| domain.eq_ignore_ascii_case(self.domain.as_str());
        let is_told = engine.dns_search.iter().any(is_ours);
        let path = path_of(&row.container, &engine.hosts_file);
        let path = path.filter(|_| !engine.leave_hosts && !wish.leave());
        let lines = Lines::new(
            &engine.hostname,
            addresses(row).collect(),
            wish.added().to_vec(),
        );
        Guest {
            id: row.container.clone(),
            name: row.name.clone(),
            sandbox: PathBuf::from(&engine.sandbox),
            asks: engine.dns.clone(),
            is_told,
            hosts: path.map(|path| (path, lines)),
            heard: details.heard,
        }
    }

    fn container(&self, row: &AttachedContainer) -> Container {
        let details = self.details.get(&row.container);
        // Until the engine answers, only the container name is known; processes have no other.
        let mut names = details.map(|d| d.names.clone()).unwrap_or_default();
        if let Ok(name) = MeshName::given(&row.name, &self.domain)
            && !names.contains(&name)
        {
            let behind_hostname = details.is_some_and(|d| d.has_hostname);
            names.insert(usize::from(behind_hostname), name);
        }
        Container {
            id: row.container.clone(),
            names,
            addresses: addresses(row).collect(),
            ports: details.map(|d| d.ports.clone()).unwrap_or_default(),
        }
    }

    /// Returns the names of a container that are not valid in the mesh, one line each.
    fn unusable(&self, row: &AttachedContainer) -> Vec<String> {
        let mut errors = match self.details.get(&row.container) {
            Some(details) => details.unusable.clone(),
            None => Vec::new(),
        };
        if row.container != EXPOSE && is_named(row) {
            let error = MeshName::given(&row.name, &self.domain).err();
            let error = error.filter(|error| !errors.contains(error));
            errors.extend(error);
        }
        let lines = errors.iter();
        lines
            .map(|error| {
                format!(
                    "container {} is not known by one of its names: {error}",
                    row.name
                )
            })
            .collect()
    }

    /// Publishes changes: to the server of this host at once, and to other routers through the control plane.
    async fn state(&mut self) {
        let own = Own {
            entries: self.local.entries().to_vec(),
            denied: self.local.denied(),
            addresses: self.local.addresses(),
        };
        if self.own == own {
            return;
        }
        let is_stated = self.own.entries == own.entries;
        self.own = own;
        if let Some(told) = &self.told {
            // Fails if the server has ended.
            let _ = told.send(Told::Own(self.own.clone())).await;
        }
        if is_stated {
            return;
        }
        let body = self.local.statement().to_vec();
        // Fails if the control plane has ended.
        let _ = self
            .commands
            .send(ControlCommand::Say(Topic::NAMES, body))
            .await;
    }

    /// Starts a query to the engine about a container.
    fn inquire(&mut self, id: &str) {
        if let Some(again) = self.asked.get_mut(id) {
            *again = true;
            return;
        }
        self.asked.insert(id.to_owned(), false);
        let rows = self.attachments.ps();
        let runtime = rows.iter().find(|r| r.container == id).map(|r| r.runtime);
        let engine = runtime.and_then(|r| self.attachments.engines().of(r));
        let (id, domain, words) = (id.to_owned(), self.domain.clone(), self.words.clone());
        tokio::spawn(async move {
            let details = match engine {
                Some(engine) => ask(&*engine, &id, &domain).await,
                None => None,
            };
            let details = details.map(Box::new);
            // Fails if the task has ended.
            let _ = words.send(Word::Details(id, details)).await;
        });
    }

    /// Queries Docker about all containers that may start on the mesh.
    fn learn_of_all(&self) {
        let Some(docker) = self.attachments.engines().of(Runtime::Docker) else {
            return;
        };
        let expected = self.expected.clone();
        tokio::spawn(async move {
            for id in docker.on_mesh().await.unwrap_or_default() {
                if let Ok(container) = docker.inspect(&id).await {
                    expected.learn(&container);
                }
            }
        });
    }

    /// Forgets the operator's changes for containers that are gone.
    fn forget(&mut self, exists: impl Fn(&str) -> bool) {
        if self.local.retain(exists)
            && let Err(error) = self.store.set_names(self.local.manual())
        {
            tracing::error!(%error, "names changed by hand are not stored");
        }
    }

    async fn handle_request(&mut self, request: Request) {
        // A failed send means that the caller is gone.
        match request {
            Request::Add(change, done) => {
                let result = self.add(change).await;
                let _ = done.send(result);
            }
            Request::Remove(change, done) => {
                let result = self.remove(change).await;
                let _ = done.send(result);
            }
            Request::LeftOut(answer) => {
                let _ = answer.send((self.local.left_out(), self.unusable.clone()));
            }
        }
    }

    async fn add(&mut self, change: DnsChange) -> Result<(), NamesError> {
        let subject = self.subject(&change).await?;
        let Some(name) = self.name(&change, subject.as_ref())? else {
            return Err(NamesError::Nothing);
        };
        let added = ManualName {
            container: subject.map(|s| s.id).unwrap_or_default(),
            name,
            addresses: change.addresses.into_iter().collect(),
        };
        let before = self.local.manual().clone();
        self.local.add(added)?;
        self.keep(before)
    }

    async fn remove(&mut self, change: DnsChange) -> Result<(), NamesError> {
        let subject = self.subject(&change).await?;
        if subject.is_none() && change.name.is_none() {
            return Err(NamesError::Nothing);
        }
        let name = change.name.as_deref();
        let name = name.map(|n| self.known(n)).transpose()?;
        let addresses = change.addresses.iter().copied().collect();
        let (id, whose) = match &subject {
            Some(subject) => (subject.id.as_str(), subject.name.clone()),
            None => ("", "this host".to_owned()),
        };
        let before = self.local.manual().clone();
        match self.local.remove(id, name.as_ref(), &addresses)? {
            0 => Err(NamesError::NotThere(whose)),
            _ => self.keep(before),
        }
    }

    /// Persists the operator's changes; rolls back to `before` on failure.
    fn keep(&mut self, before: mesh_proto::names::ManualNames) -> Result<(), NamesError> {
        if let Err(error) = self.store.set_names(self.local.manual()) {
            self.local.set_manual(before);
            return Err(error.into());
        }
        Ok(())
    }

    /// Returns the name in the request; by default the container's own name.
    fn name(
        &self,
        change: &DnsChange,
        subject: Option<&Subject>,
    ) -> Result<Option<MeshName>, NamesError> {
        Ok(match (&change.name, subject) {
            (Some(text), _) => Some(MeshName::parse(text, &self.domain)?),
            (None, Some(subject)) => Some(MeshName::given(&subject.name, &self.domain)?),
            (None, None) => None,
        })
    }

    /// Parses a name as users write it; names of this host also in the form of `status dns`.
    fn known(&self, text: &str) -> Result<MeshName, NamesError> {
        let listed = MeshName::relative(text).ok();
        let listed = listed.filter(|name| self.local.entries().iter().any(|e| e.name == *name));
        match listed {
            Some(name) => Ok(name),
            None => Ok(MeshName::parse(text, &self.domain)?),
        }
    }

    async fn subject(&self, change: &DnsChange) -> Result<Option<Subject>, NamesError> {
        let Some(wanted) = change.container.as_deref() else {
            return Ok(None);
        };
        let rows = self.attachments.ps();
        let named = |row: &&AttachedContainer| row.name == wanted || row.container == wanted;
        if let Some(row) = rows.into_iter().find(|row| named(&row)) {
            return Ok(Some(Subject {
                id: row.container,
                name: row.name,
            }));
        }
        // Not on the mesh now: its names apply once it is.
        let found = self.attachments.engines().find(None, wanted).await;
        let (_, container) = match found {
            Err(EngineError::Unavailable(_)) => {
                return Err(EngineError::NoContainer(wanted.to_owned()).into());
            }
            found => found?,
        };
        Ok(Some(Subject {
            id: container.id,
            name: container.name,
        }))
    }
}

/// A container of this host, as the target of a request.
struct Subject {
    id: String,
    name: String,
}

/// Returns one name of the host in the form of a container.
fn host_name((name, addresses): ExposedName) -> Container {
    Container {
        id: EXPOSE.to_owned(),
        names: vec![name],
        addresses,
        ports: Vec::new(),
    }
}

/// Returns its mesh addresses, in the order of its interfaces.
fn addresses(row: &AttachedContainer) -> impl Iterator<Item = IpAddr> + '_ {
    row.interfaces.iter().filter_map(|i| {
        let text = i.address.split('/').next().unwrap_or_default();
        text.parse().ok()
    })
}

/// True if the displayed name is a real one: while the owner is unknown, it is a prefix of the id.
fn is_named(row: &AttachedContainer) -> bool {
    !is_part_of_id(&row.name, &row.container)
}

/// True for ids of attachments without an engine; engines' ids have 64 digits.
fn attached_only(id: &str) -> bool {
    id.len() < 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_begins_an_id_by_chance_is_a_name() {
        let row = |name: &str| AttachedContainer {
            container: "c7a90b1122334455".to_owned(),
            name: name.to_owned(),
            runtime: Runtime::Process,
            interfaces: Vec::new(),
        };
        for name in ["c", "c7", "web", "c7a90b11223"] {
            assert!(is_named(&row(name)), "{name}");
        }
        for id in ["c7a90b112233", "c7a90b1122334455"] {
            assert!(!is_named(&row(id)), "{id}");
        }
    }
}
