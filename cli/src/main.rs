//! The `mesh` command: thin. It calls the router over its Unix socket and the container engine, and prints. All decisions
//! are the router's.
//!
//! The command line and what follows from it are in the crate `mesh-command`, the text of answers in `mesh-view`; neither
//! makes a system call. Here is what does:
//!
//! | folder | verbs |
//! |---|---|
//! | `service` | `launch`, `stop`, `reset`: the router's process |
//! | `run` | `run`: containers of Docker and podman, and commands without an engine |
//! | `containers` | `attach`, `detach`, `start`, `restart`, `expose`, `ps`, `dns-…`: what exists already |
//! | `view` | `status`, `report`, `topology`, `version` |
//! | (here) | `connect`, `forget`, `keygen`, `network`, `prime`, `rmpeer`, `completions` |
//!
//! [`client`] speaks to the router, [`waiting`] where a request may take long, [`engine`] to docker and podman, [`output`] to the user.

#![forbid(unsafe_code)]

mod client;
mod connect;
mod containers;
mod engine;
mod ipam;
mod keygen;
mod lookup;
mod network;
mod output;
mod router;
mod run;
mod service;
mod view;
mod waiting;

use std::process::ExitCode;

use mesh_command::args::{Cli, Verb};
use mesh_command::completions;
use mesh_command::service::ConfigFile;

use client::ApiClient;
use containers::{attach, dns, expose, ps};
use output::VerbResult;
use service::{launch, reset, stop};
use view::{report, status, topology, version};

fn main() -> ExitCode {
    let words = std::env::args_os().collect();
    let cli = mesh_command::parse(words).unwrap_or_else(|error| error.exit());
    match dispatch(cli) {
        Ok(status) => ExitCode::from(status),
        Err(error) if output::is_broken_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            output::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> VerbResult {
    let socket = cli.socket;
    let client = || ApiClient::new(ConfigFile::default().socket(socket.as_deref()));
    match cli.verb {
        Verb::Launch(args) => launch::launch(&args, socket.as_deref()),
        Verb::Connect(args) => connect::connect(&client()?, args),
        Verb::Forget(args) => connect::forget(&client()?, args),
        Verb::Run(args) => run::run(&client()?, &args),
        Verb::Start(args) => attach::start(&client()?, &args),
        Verb::Restart(args) => attach::restart(&client()?, &args),
        Verb::Attach(args) => attach::attach(&client()?, &args),
        Verb::Detach(args) => attach::detach(&client()?, &args),
        Verb::DnsAdd(args) => dns::add(&client()?, &args),
        Verb::DnsRemove(args) => dns::remove(&client()?, &args),
        Verb::DnsLookup(args) => dns::lookup(&client()?, &args),
        Verb::DnsArgs(args) => dns::args(&client()?, &args),
        Verb::Expose(args) => expose::expose(&client()?, &args),
        Verb::Hide(args) => expose::hide(&client()?, &args),
        Verb::AttachBridge(args) => expose::attach_bridge(&client()?, &args),
        Verb::DetachBridge(args) => expose::detach_bridge(&client()?, &args),
        Verb::Network(args) => network::network(&client()?, &args),
        Verb::Ps(args) => ps::ps(&client()?, &args),
        Verb::Status(args) => status::status(&client()?, &args),
        Verb::Topology(args) => topology::topology(&client()?, &args),
        Verb::Prime(args) => ipam::prime(&client()?, &args),
        Verb::Rmpeer(args) => ipam::rmpeer(&client()?, &args),
        Verb::Report(args) => report::report(&client()?, &args),
        Verb::Stop => stop::stop(&client()?),
        Verb::Reset(args) => reset::reset(&args, socket.as_deref()),
        Verb::Keygen(args) => keygen::keygen(&args),
        Verb::Version(args) => version::version(&client()?, &args),
        Verb::Completions(args) => print(&completions::script(args.shell)),
    }
}

fn print(text: &str) -> VerbResult {
    output::print(text)?;
    Ok(0)
}
