//! Names of containers: the announcement of this host's own, and the DNS server for its containers.
//!
//! | part | role |
//! |---|---|
//! | [`host`] (a task) | names of this host's containers, from attachments, engines and the operator |
//! | [`NamesFeed`] | announcements and reachability of other routers, from the control plane to the server |
//! | [`crate::dns`] (a thread) | view of all names; answers |
//! | [`listening`] (a task) | listening addresses of the server; [`doors`]: firewall rules for them |
//! | [`guests`] (a task) | Docker containers: redirection of their queries, and [`hosts_file`]: their `/etc/hosts` |
//! | [`inside`] (a task) | server inside containers that may have no route to the host |

mod clients;
mod details;
mod doors;
mod engines;
mod expected;
mod feed;
mod guests;
mod host;
mod hosts_file;
mod inside;
mod listening;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use mesh_proto::api::{DnsChange, DnsClient, Runtime};
use mesh_proto::ids::PeerId;
use mesh_proto::names::{
    AddError, AnswerSettings, MeshName, NameError, Names, options, search_domains,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::attach::Attachments;
use crate::clock::Clock;
use crate::command::ControlCommand;
use crate::config::{DNS_PORT, DnsSettings};
use crate::dns::{Config, Dns, Shown, Told, Upstreams, read_resolv_conf};
use crate::engine::{EngineError, Engines};
use crate::state::{StateError, Store};
use clients::Clients;
use expected::Expected;
use guests::Guests;
use host::{Host, Request};
use inside::Inside;
use listening::Listening;

pub use feed::NamesFeed;

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
    /// The name cannot be added.
    #[error(transparent)]
    Add(#[from] AddError),
    /// The request has neither a container nor an address with a name.
    #[error(
        "nothing to go by: give a container, or an address and -h NAME, like `mesh dns-add 10.2.1.1 -h web`"
    )]
    Nothing,
    /// The name to remove does not exist.
    #[error("{0} has no such name; `mesh status dns` lists what there is")]
    NotThere(String),
    /// The name does not exist.
    #[error("{0} is not known; `mesh status dns` lists the names of the mesh")]
    Unknown(String),
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
    /// True if the caller can fix it (HTTP 4xx), false if the operator of the host must (5xx).
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
    server: Option<Server>,
    inside: Option<Arc<Inside>>,
    guests: Arc<Guests>,
    expected: Arc<Expected>,
    engines: Engines,
    requests: mpsc::Sender<Request>,
}

#[derive(Clone)]
struct Server {
    dns: Arc<Dns>,
    told: mpsc::Sender<Told>,
    listening: Arc<Listening>,
}

/// View of names on this host, and of the server.
pub struct NamesView {
    /// All answered names; `None` without a server.
    pub shown: Option<Shown>,
    /// Number of names of this host that do not fit into its announcement.
    pub left_out: usize,
    /// Names of containers on this host that are not valid in the mesh, one line each.
    pub unusable: Vec<String>,
}

/// The server, before anything on the host is changed.
pub struct Prepared {
    settings: DnsSettings,
    server: Option<Server>,
}

impl Prepared {
    /// Starts the server and listens. Reverse queries for addresses in `ranges` are not forwarded: they are the mesh's.
    ///
    /// # Errors
    /// An address is in use, or the host does not have it.
    pub fn start(
        settings: &DnsSettings,
        bridge: &str,
        me: PeerId,
        is_alone: bool,
        clock: Clock,
        ranges: Vec<IpNet>,
    ) -> anyhow::Result<Self> {
        let mut prepared = Self {
            settings: settings.clone(),
            server: None,
        };
        if !settings.enabled {
            return Ok(prepared);
        }
        let mut names = Names::new(me, clock.now());
        if is_alone {
            names.settle();
        }
        let clients = Arc::new(Clients::new(bridge));
        clients.look()?;
        let who = clients.clone();
        let dns = Arc::new(Dns::start(Config {
            names,
            settings: AnswerSettings {
                domain: settings.domain.clone(),
                ttl: settings.ttl,
                ranges,
            },
            clients: Arc::new(move |ip| who.allows(ip)),
            upstreams: Upstreams::file(RESOLV_CONF),
            clock,
        })?);
        let listening = Listening::new(dns.clone(), clients, settings.listen.clone(), bridge);
        listening.begin(settings.by_hand)?;
        prepared.server = Some(Server {
            told: dns.told(),
            dns,
            listening: Arc::new(listening),
        });
        Ok(prepared)
    }

    /// Returns the control plane's end of the feed.
    pub fn feed(&self) -> NamesFeed {
        NamesFeed::new(self.server.as_ref().map(|s| s.told.clone()))
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
        let told = self.server.as_ref().map(|s| s.told.clone());
        let domain = self.settings.domain.clone();
        let inside = self.server.as_ref().map(|server| {
            let inside = Arc::new(Inside::new(
                server.dns.clone(),
                attachments.resolver_sites(),
            ));
            tokio::spawn(inside.clone().run());
            tokio::spawn(server.listening.clone().run());
            inside
        });
        let (known, wanted) = watch::channel(Vec::new());
        let dns = self.server.as_ref().map(|server| server.dns.clone());
        let guests = Arc::new(Guests::new(dns, wanted));
        let expected = Arc::new(Expected::default());
        let engines = attachments.engines().clone();
        let starting = expected.clone();
        attachments.before_start(move |joined| starting.before_start(joined));
        let looked_after = (known, expected.clone());
        let host = Host::new(attachments, store, commands, told, domain, looked_after)?;
        tokio::spawn(host.run(receiver));
        tokio::spawn(guests.clone().run());
        Ok(Naming {
            settings: self.settings,
            server: self.server,
            inside,
            guests,
            expected,
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

    /// Returns the server, if there is one.
    pub fn dns(&self) -> Option<&Dns> {
        self.server.as_ref().map(|s| &*s.dns)
    }

    /// Returns all problems of the server, one line each.
    pub fn problems(&self) -> Vec<String> {
        let server = self.server.as_ref();
        let host = server.map(|s| s.listening.problems()).unwrap_or_default();
        let inside = self.inside.as_ref().map(|i| i.problems());
        [host, inside.unwrap_or_default(), self.guests.errors()].concat()
    }

    /// Returns the failures only.
    pub fn errors(&self) -> Vec<String> {
        let server = self.server.as_ref();
        let host = server.map(|s| s.listening.errors()).unwrap_or_default();
        let inside = self.inside.as_ref().map(|i| i.errors());
        [host, inside.unwrap_or_default(), self.guests.errors()].concat()
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
            self.expected.learn(&container);
        }
    }

    /// Waits until a started Docker container (full id) uses the server and has its own address in its `/etc/hosts`,
    /// for at most [`GUEST_WAIT`].
    pub async fn settle(&self, container: &str) {
        let deadline = tokio::time::Instant::now() + GUEST_WAIT;
        while !self.guests.is_done(container) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(GUEST_POLL).await;
        }
    }

    /// Returns the DNS configuration for a prepared container, by its key in [`Attachments::inside`].
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
        // Loopback addresses and ports other than 53 are useless to containers.
        let listening = dns.listening().into_iter();
        let usable = listening.filter(|a| a.port() == DNS_PORT && !a.ip().is_loopback());
        let search = self.settings.domain.to_string();
        // Names that the host resolves must resolve in containers, too.
        let text = read_resolv_conf(Path::new(RESOLV_CONF)).unwrap_or_default();
        let mut also = search_domains(&text);
        also.retain(|domain| *domain != search);
        DnsClient {
            servers: usable.map(|a| a.ip()).collect(),
            inside: Some(inside::ADDRESS),
            search,
            also,
            options: options(&text),
        }
    }

    /// Returns all names.
    ///
    /// # Errors
    /// [`NamesError::Stopping`].
    pub async fn view(&self) -> Result<NamesView, NamesError> {
        let (left_out, unusable) = self.ask(Request::LeftOut).await?;
        let shown = match &self.server {
            Some(_) => Some(self.look(Told::Show).await?),
            None => None,
        };
        Ok(NamesView {
            shown,
            left_out,
            unusable,
        })
    }

    /// Returns the addresses of a name, or the names of an address.
    ///
    /// # Errors
    /// The name is in another domain or does not exist; [`NamesError::Off`].
    pub async fn lookup(&self, question: &str) -> Result<Vec<String>, NamesError> {
        let domain = &self.settings.domain;
        let found: Vec<String> = if let Ok(ip) = question.parse::<IpAddr>() {
            let names = self.look(|answer| Told::Reverse(ip, answer)).await?;
            names.iter().map(|name| name.full(domain)).collect()
        } else {
            // As `status dns` lists it: without the domain, with any number of labels.
            let listed = MeshName::relative(question).ok();
            let mut ips = match listed {
                Some(name) => self.look(|answer| Told::Lookup(name, answer)).await?,
                None => Vec::new(),
            };
            if ips.is_empty() {
                let name = MeshName::parse(question, domain)?;
                ips = self.look(|answer| Told::Lookup(name, answer)).await?;
            }
            ips.iter().map(ToString::to_string).collect()
        };
        match found.is_empty() {
            true => Err(NamesError::Unknown(question.to_owned())),
            false => Ok(found),
        }
    }

    /// Handles `mesh dns-add`.
    ///
    /// # Errors
    /// The request is invalid, or the result cannot be stored; nothing is changed.
    pub async fn add(&self, change: DnsChange) -> Result<(), NamesError> {
        self.ask(|done| Request::Add(change, done)).await?
    }

    /// Handles `mesh dns-remove`.
    ///
    /// # Errors
    /// [`NamesError::NotThere`], the request is invalid, or the result cannot be stored; nothing is changed.
    pub async fn remove(&self, change: DnsChange) -> Result<(), NamesError> {
        self.ask(|done| Request::Remove(change, done)).await?
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, NamesError> {
        let (sender, answer) = oneshot::channel();
        let sent = self.requests.send(request(sender)).await;
        sent.map_err(|_| NamesError::Stopping)?;
        answer.await.map_err(|_| NamesError::Stopping)
    }

    async fn look<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Told,
    ) -> Result<T, NamesError> {
        let server = self.server.as_ref().ok_or(NamesError::Off)?;
        let (sender, answer) = oneshot::channel();
        let sent = server.told.send(question(sender)).await;
        sent.map_err(|_| NamesError::Stopping)?;
        answer.await.map_err(|_| NamesError::Stopping)
    }
}
