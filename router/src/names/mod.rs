//! Names of containers: what this host states of its own, and the DNS server for its containers.
//!
//! | who | what |
//! |---|---|
//! | [`host`] (a task) | the names of this host's containers, from attachments, engines and the operator; states them |
//! | [`NamesFeed`] | from the control plane to the server: what other routers state, and whether they can be reached |
//! | [`crate::dns`] (a thread) | the view of all names, answers |
//! | [`listening`] (a task) | where the server listens: Docker's bridge may come and go; [`doors`] in the firewall to it |
//! | [`guests`] (a task) | Docker's containers from within: the server they ask, and [`hosts_file`]: what they call themselves |
//! | [`inside`] (a task) | the server within containers that may have no way to the host |

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
mod settings;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use mesh_proto::api::{DnsChange, DnsClient, Runtime};
use mesh_proto::ids::PeerId;
use mesh_proto::names::{AddError, MeshName, NameError, Names, Settings, options, search_domains};
use tokio::sync::{mpsc, oneshot, watch};

use crate::attach::Attachments;
use crate::clock::Clock;
use crate::dns::{Config, Dns, Shown, Told, Upstreams, read_resolv_conf};
use crate::engine::{EngineError, Engines};
use crate::shell::Command;
use crate::state::{StateError, Store};
use clients::Clients;
use expected::Expected;
use guests::Guests;
use host::{Host, Request};
use inside::Inside;
use listening::Listening;

pub use feed::NamesFeed;
pub(crate) use settings::Typed;
pub use settings::{DEFAULT_DOMAIN, DEFAULT_TTL, DnsSettings};

/// Requests of the operator that wait for the task.
const REQUESTS: usize = 64;
/// How long a container that was started is waited for.
const GUEST_WAIT: Duration = Duration::from_secs(3);
const GUEST_POLL: Duration = Duration::from_millis(10);
/// Which servers the host asks.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Why names are not as the operator asked; one line, ready to print.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// Not a name of the mesh.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A name that cannot be added.
    #[error(transparent)]
    Add(#[from] AddError),
    /// Neither a container nor an address with a name.
    #[error(
        "nothing to go by: give a container, or an address and -h NAME, like `mesh dns-add 10.2.1.1 -h web`"
    )]
    Nothing,
    /// Nothing was taken away.
    #[error("{0} has no such name; `mesh status dns` lists what there is")]
    NotThere(String),
    /// The name leads nowhere.
    #[error("{0} is not known; `mesh status dns` lists the names of the mesh")]
    Unknown(String),
    /// There is no server.
    #[error("this router answers no names (it runs with --no-dns)")]
    Off,
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The state could not be stored.
    #[error(transparent)]
    State(#[from] StateError),
    /// The router ends.
    #[error("the router is stopping")]
    Stopping,
}

impl NamesError {
    /// Whether the caller can mend it (HTTP 4xx) rather than the operator of the host (5xx).
    pub fn is_callers(&self) -> bool {
        !matches!(
            self,
            Self::State(_)
                | Self::Stopping
                | Self::Engine(EngineError::Unavailable(_) | EngineError::Silent(_))
        )
    }
}

/// What the API asks about names.
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

/// What is known of names on this host, and of the server.
pub struct NamesView {
    /// All that is answered; none without a server.
    pub shown: Option<Shown>,
    /// Names of this host that its statement has no room for.
    pub left_out: usize,
    /// What containers of this host are called and cannot be called here, one line each.
    pub unusable: Vec<String>,
}

/// The server, before anything of the host is changed.
pub struct Prepared {
    settings: DnsSettings,
    server: Option<Server>,
}

impl Prepared {
    /// Starts the server and listens. Of `ranges`, which are the mesh's, nobody else is asked who has an address.
    ///
    /// # Errors
    /// When an address is taken or not of this host.
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
            settings: Settings {
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

    /// The control plane's end.
    pub fn feed(&self) -> NamesFeed {
        NamesFeed::new(self.server.as_ref().map(|s| s.told.clone()))
    }

    /// Begins to state the names of this host.
    ///
    /// # Errors
    /// The names changed by hand cannot be read.
    pub fn run(
        self,
        attachments: Arc<Attachments>,
        store: Arc<Store>,
        commands: mpsc::Sender<Command>,
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
    /// What the operator said.
    pub fn settings(&self) -> &DnsSettings {
        &self.settings
    }

    /// The server, if there is one.
    pub fn dns(&self) -> Option<&Dns> {
        self.server.as_ref().map(|s| &*s.dns)
    }

    /// What hinders the server, one line each.
    pub fn problems(&self) -> Vec<String> {
        let server = self.server.as_ref();
        let host = server.map(|s| s.listening.problems()).unwrap_or_default();
        let inside = self.inside.as_ref().map(|i| i.problems());
        [host, inside.unwrap_or_default(), self.guests.errors()].concat()
    }

    /// Of these, what went wrong.
    pub fn errors(&self) -> Vec<String> {
        let server = self.server.as_ref();
        let host = server.map(|s| s.listening.errors()).unwrap_or_default();
        let inside = self.inside.as_ref().map(|i| i.errors());
        [host, inside.unwrap_or_default(), self.guests.errors()].concat()
    }

    /// In how many containers queries are answered within their own namespaces.
    pub fn inside(&self) -> usize {
        self.inside.as_ref().map(|i| i.count()).unwrap_or_default()
    }

    /// A container of Docker, by its full id, was made and is about to be started.
    pub async fn expect(&self, container: &str) {
        if let Some(docker) = self.engines.of(Runtime::Docker)
            && let Ok(container) = docker.inspect(container).await
        {
            self.expected.learn(&container);
        }
    }

    /// Waits until a container of Docker that was just started, by its full id, asks here and knows its own address, or for
    /// [`GUEST_WAIT`].
    pub async fn settle(&self, container: &str) {
        let deadline = tokio::time::Instant::now() + GUEST_WAIT;
        while !self.guests.is_done(container) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(GUEST_POLL).await;
        }
    }

    /// How a container that was just prepared asks this router, under its key of [`Attachments::inside`].
    pub async fn client_of(&self, key: &str) -> DnsClient {
        let mut client = self.client();
        if let Some(inside) = &self.inside {
            inside.look().await;
            client.inside = client.inside.filter(|_| inside.serves(key));
        }
        client
    }

    /// Sees to it that a container that is about to be pointed at an address of this host reaches it.
    pub async fn admit(&self) {
        if let Some(server) = &self.server {
            server.listening.admit().await;
        }
    }

    /// Begins at once to answer within what was just attached.
    pub async fn look_inside(&self) {
        if let Some(inside) = &self.inside {
            inside.look().await;
        }
    }

    /// How containers ask this router.
    pub fn client(&self) -> DnsClient {
        let Some(dns) = self.dns() else {
            return DnsClient::default();
        };
        // An address in which only this host believes, or a port that no client asks, is of no use to them.
        let listening = dns.listening().into_iter();
        let usable = listening.filter(|a| a.port() == settings::DNS_PORT && !a.ip().is_loopback());
        let search = self.settings.domain.to_string();
        // What the host resolved before is resolved afterwards, too.
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

    /// All names.
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

    /// Where a name leads, or how an address is called.
    ///
    /// # Errors
    /// A name of another domain, or one that is not there; [`NamesError::Off`].
    pub async fn lookup(&self, question: &str) -> Result<Vec<String>, NamesError> {
        let domain = &self.settings.domain;
        let found: Vec<String> = if let Ok(ip) = question.parse::<IpAddr>() {
            let names = self.look(|answer| Told::Reverse(ip, answer)).await?;
            names.iter().map(|name| name.full(domain)).collect()
        } else {
            // As `status dns` lists it: without the domain, of however many labels.
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

    /// `mesh dns-add`.
    ///
    /// # Errors
    /// What is wrong with it; nothing is changed.
    pub async fn add(&self, change: DnsChange) -> Result<(), NamesError> {
        self.ask(|done| Request::Add(change, done)).await?
    }

    /// `mesh dns-remove`.
    ///
    /// # Errors
    /// What is wrong with it, [`NamesError::NotThere`]; nothing is changed.
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
