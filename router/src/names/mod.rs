//! Names of containers: the announcement of this host's own, and the DNS server for its containers.
//!
//! | part | role |
//! |---|---|
//! | [`host`] (a task) | names of this host's containers, from attachments, engines and the operator |
//! | [`NamesFeed`] | announcements and reachability of other routers, from the control plane to the server |
//! | [`crate::dns`] (a thread) | view of all names; answers |
//! | [`listening`] (a task) | listening addresses of the server; [`firewall`]: rules for them |
//! | [`docker_dns`] (a task) | Docker containers: redirection of their queries, and [`hosts_file`]: their `/etc/hosts` |
//! | [`networks`] | networks of containers, bridges and of the host; what users call them |
//! | [`inside`] (a task) | server inside containers that may have no route to the host |
//!
//! The decisions are in [`mesh_dns`].

mod clients;
mod docker_dns;
mod engines;
mod feed;
mod firewall;
mod host;
mod hosts_file;
mod inside;
mod listening;
mod networks;
mod starting;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use mesh_dns::host_names::NameChangeError;
use mesh_dns::server::resolv_conf::client_configuration;
use mesh_dns::update::KnownNames;
use mesh_engine::error::EngineError;
use mesh_names::{AnswerSettings, MeshName, NameError, Names};
use mesh_options::DnsSettings;
use mesh_proto::api::{DnsChange, DnsClient, DnsQuestion, Runtime};
use mesh_proto::ids::PeerId;
use tokio::sync::{mpsc, oneshot, watch};

use crate::attach::Attachments;
use crate::clock::Clock;
use crate::command::ControlCommand;
use crate::dns::{Dns, DnsCommand, DnsConfig, UpstreamSource, read_resolv_conf};
use crate::engine::Engines;
use crate::state::{StateError, Store};
use clients::DnsClients;
use docker_dns::DockerDns;
use host::{NamesRequest, NamesTask};
use inside::NetnsResolvers;
use listening::HostListeners;
use starting::StartingFiles;

pub use feed::NamesFeed;
pub use networks::CalledNetworks;

/// Capacity of the channel of operator requests.
const REQUESTS: usize = 64;
/// Longest wait for a started container.
const GUEST_WAIT: Duration = Duration::from_secs(3);
const GUEST_POLL: Duration = Duration::from_millis(10);
/// File with the DNS servers of the host.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Error of a request about names; one line, ready to print.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// Not a valid name in the mesh.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name cannot be changed.
    #[error(transparent)]
    Change(#[from] NameChangeError),
    /// The name does not exist.
    #[error("{0} is not known; `mesh status dns` lists the names of the mesh")]
    Unknown(String),
    /// No such network.
    #[error("{0}")]
    Network(String),
    /// The server is turned off.
    #[error("this router answers no names (it runs with --no-dns)")]
    Off,
    /// Error of the engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The state cannot be stored or read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The router is stopping.
    #[error("the router is stopping")]
    Stopping,
}

impl NamesError {
    /// Returns true if the caller can fix it (HTTP 4xx), false if the operator of the host must (5xx).
    pub fn is_callers(&self) -> bool {
        !matches!(
            self,
            Self::State(_)
                | Self::Stopping
                | Self::Engine(EngineError::Unavailable(_) | EngineError::Silent(_))
        )
    }
}

/// Interface of the API to names.
#[derive(Clone)]
pub struct Naming {
    settings: DnsSettings,
    networks: CalledNetworks,
    server: Option<NameServer>,
    inside: Option<Arc<NetnsResolvers>>,
    docker_dns: Arc<DockerDns>,
    starting: Arc<StartingFiles>,
    engines: Engines,
    requests: mpsc::Sender<NamesRequest>,
}

#[derive(Clone)]
struct NameServer {
    dns: Arc<Dns>,
    commands: mpsc::Sender<DnsCommand>,
    listening: Arc<HostListeners>,
}

/// View of names on this host, and of the server.
pub struct HostNamesView {
    /// All answered names; `None` without a server.
    pub shown: Option<KnownNames>,
    /// Number of names of this host that do not fit into its announcement.
    pub left_out: usize,
    /// Names of containers on this host that are not valid in the mesh, one line each.
    pub unusable: Vec<String>,
}

/// The server, before anything on the host is changed.
pub struct PreparedNames {
    settings: DnsSettings,
    networks: CalledNetworks,
    server: Option<NameServer>,
}

impl PreparedNames {
    /// Starts the server and listens. Reverse queries for addresses in `ranges` are not forwarded: they are the mesh's.
    ///
    /// # Errors
    /// An address is in use, or the host does not have it.
    pub fn start(
        settings: &DnsSettings,
        networks: &CalledNetworks,
        me: PeerId,
        is_alone: bool,
        clock: Clock,
        ranges: Vec<IpNet>,
    ) -> anyhow::Result<Self> {
        let mut prepared = Self {
            settings: settings.clone(),
            networks: networks.clone(),
            server: None,
        };
        if !settings.enabled {
            return Ok(prepared);
        }
        let mut names = Names::new(me, clock.now());
        if is_alone {
            names.settle();
        }
        let clients = Arc::new(DnsClients::new(networks.clone()));
        clients.look()?;
        let (who, called) = (clients.clone(), networks.clone());
        let dns = Arc::new(Dns::start(DnsConfig {
            names,
            settings: AnswerSettings {
                domain: settings.domain.clone(),
                ttl: settings.ttl,
                ranges,
            },
            clients: Arc::new(move |ip| who.networks(ip)),
            upstreams: UpstreamSource::file(RESOLV_CONF),
            swarm: Arc::new(move |asker, ip| called.is_swarms(asker, ip)),
            clock,
        })?);
        let explicit = settings.listen.clone();
        let listening = HostListeners::new(dns.clone(), clients, explicit, networks.main_bridge());
        listening.begin(settings.by_hand)?;
        prepared.server = Some(NameServer {
            commands: dns.commands(),
            dns,
            listening: Arc::new(listening),
        });
        Ok(prepared)
    }

    /// Returns the control plane's end of the feed.
    pub fn feed(&self) -> NamesFeed {
        NamesFeed::new(self.server.as_ref().map(|s| s.commands.clone()))
    }

    /// Starts to announce the names of this host.
    ///
    /// # Errors
    /// The stored changes of names cannot be read.
    pub fn run(
        self,
        attachments: Arc<Attachments>,
        store: Arc<Store>,
        commands: mpsc::Sender<ControlCommand>,
    ) -> Result<Naming, StateError> {
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let server = self.server.as_ref().map(|s| s.commands.clone());
        let called = (self.settings.domain.clone(), self.networks.clone());
        let inside = self.server.as_ref().map(|server| {
            let inside = Arc::new(NetnsResolvers::new(
                server.dns.clone(),
                attachments.resolver_sites(),
            ));
            tokio::spawn(inside.clone().run());
            tokio::spawn(server.listening.clone().run());
            inside
        });
        let (known, wanted) = watch::channel(Vec::new());
        let dns = self.server.as_ref().map(|server| server.dns.clone());
        let docker_dns = Arc::new(DockerDns::new(dns, wanted));
        let starting = Arc::new(StartingFiles::default());
        let engines = attachments.engines().clone();
        let files = starting.clone();
        attachments.before_start(move |joined| files.before_start(joined));
        let looked_after = (known, starting.clone());
        let task = NamesTask::new(attachments, store, commands, server, called, looked_after)?;
        tokio::spawn(task.run(receiver));
        tokio::spawn(docker_dns.clone().run());
        Ok(Naming {
            settings: self.settings,
            networks: self.networks,
            server: self.server,
            inside,
            docker_dns,
            starting,
            engines,
            requests,
        })
    }
}

impl Naming {
    /// Returns the settings.
    pub fn settings(&self) -> &DnsSettings {
        &self.settings
    }

    /// Returns the networks as users call them.
    pub fn networks(&self) -> &CalledNetworks {
        &self.networks
    }

    /// Returns the server, if there is one.
    pub fn dns(&self) -> Option<&Dns> {
        self.server.as_ref().map(|s| &*s.dns)
    }

    /// Returns all problems of the server, one line each.
    pub fn problems(&self) -> Vec<String> {
        let server = self.server.as_ref();
        let host = server.map(|s| s.listening.problems()).unwrap_or_default();
        let inside = self.inside.as_ref().map(|i| i.problems());
        [host, inside.unwrap_or_default(), self.docker_dns.errors()].concat()
    }

    /// Returns the failures only.
    pub fn errors(&self) -> Vec<String> {
        let server = self.server.as_ref();
        let host = server.map(|s| s.listening.errors()).unwrap_or_default();
        let inside = self.inside.as_ref().map(|i| i.errors());
        [host, inside.unwrap_or_default(), self.docker_dns.errors()].concat()
    }

    /// Returns the number of containers with a server in their own namespace.
    pub fn inside(&self) -> usize {
        self.inside.as_ref().map(|i| i.count()).unwrap_or_default()
    }

    /// Prepares for the start of a Docker container (full id) that was just created.
    pub async fn expect(&self, container: &str) {
        if let Some(docker) = self.engines.of(Runtime::Docker)
            && let Ok(container) = docker.inspect(container).await
        {
            self.starting.learn(&container);
        }
    }

    /// Waits until a started Docker container (full id) uses the server and has its own address in its `/etc/hosts`,
    /// for at most [`GUEST_WAIT`].
    pub async fn settle(&self, container: &str) {
        let deadline = tokio::time::Instant::now() + GUEST_WAIT;
        while !self.docker_dns.is_done(container) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(GUEST_POLL).await;
        }
    }

    /// Returns the DNS configuration for a prepared container, by the id of its preparation.
    pub async fn client_of(&self, key: &str) -> DnsClient {
        let mut client = self.client();
        if let Some(inside) = &self.inside {
            inside.look().await;
            client.inside = client.inside.filter(|_| inside.serves(key));
        }
        client
    }

    /// Makes sure that a container that will use an address of this host for DNS can reach it.
    pub async fn admit(&self) {
        if let Some(server) = &self.server {
            server.listening.admit().await;
        }
    }

    /// Starts the server at once in the namespaces of new attachments.
    pub async fn look_inside(&self) {
        if let Some(inside) = &self.inside {
            inside.look().await;
        }
    }

    /// Returns the DNS configuration for containers.
    pub fn client(&self) -> DnsClient {
        let Some(dns) = self.dns() else {
            return DnsClient::default();
        };
        let text = read_resolv_conf(Path::new(RESOLV_CONF)).unwrap_or_default();
        client_configuration(
            &dns.listening(),
            inside::ADDRESS,
            &self.settings.domain,
            &text,
        )
    }

    /// Returns all names.
    ///
    /// # Errors
    /// [`NamesError::Stopping`].
    pub async fn view(&self) -> Result<HostNamesView, NamesError> {
        let (left_out, unusable) = self.ask(NamesRequest::LeftOut).await?;
        let shown = match &self.server {
            Some(_) => Some(self.look(DnsCommand::Show).await?),
            None => None,
        };
        Ok(HostNamesView {
            shown,
            left_out,
            unusable,
        })
    }

    /// Returns the addresses of a name, or the names of an address, in a network.
    ///
    /// # Errors
    /// The name is in another domain or does not exist; [`NamesError::Off`].
    pub async fn lookup(&self, question: &DnsQuestion) -> Result<Vec<String>, NamesError> {
        let network = self.networks.resolve(&question.network)?;
        let question = &question.name;
        let addresses = |name| self.look(move |to| DnsCommand::Lookup(network, name, to));
        let domain = &self.settings.domain;
        let found: Vec<String> = if let Ok(ip) = question.parse::<IpAddr>() {
            let names = self.look(|to| DnsCommand::Reverse(network, ip, to)).await?;
            names.iter().map(|name| name.full(domain)).collect()
        } else {
            // As `status dns` lists it: without the domain, with any number of labels.
            let listed = MeshName::relative(question).ok();
            let mut ips = match listed {
                Some(name) => addresses(name).await?,
                None => Vec::new(),
            };
            if ips.is_empty() {
                let name = MeshName::parse(question, domain)?;
                ips = addresses(name).await?;
            }
            ips.iter().map(ToString::to_string).collect()
        };
        match found.is_empty() {
            true => Err(NamesError::Unknown(question.clone())),
            false => Ok(found),
        }
    }

    /// Handles `mesh dns-add`.
    ///
    /// # Errors
    /// The request is invalid, or the result cannot be stored; nothing is changed.
    pub async fn add(&self, change: DnsChange) -> Result<(), NamesError> {
        self.ask(|done| NamesRequest::Add(change, done)).await?
    }

    /// Handles `mesh dns-remove`.
    ///
    /// # Errors
    /// [`NameChangeError::NotThere`], the request is invalid, or the result cannot be stored; nothing is changed.
    pub async fn remove(&self, change: DnsChange) -> Result<(), NamesError> {
        self.ask(|done| NamesRequest::Remove(change, done)).await?
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> NamesRequest,
    ) -> Result<T, NamesError> {
        let (sender, answer) = oneshot::channel();
        let sent = self.requests.send(request(sender)).await;
        sent.map_err(|_| NamesError::Stopping)?;
        answer.await.map_err(|_| NamesError::Stopping)
    }

    async fn look<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> DnsCommand,
    ) -> Result<T, NamesError> {
        let server = self.server.as_ref().ok_or(NamesError::Off)?;
        let (sender, answer) = oneshot::channel();
        let sent = server.commands.send(question(sender)).await;
        sent.map_err(|_| NamesError::Stopping)?;
        answer.await.map_err(|_| NamesError::Stopping)
    }
}
