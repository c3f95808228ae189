//! `mesh run`: has the router prepare the interfaces, then has the engine start the container on them.

mod arrived;
mod docker;
mod podman;
mod preparation;
mod process;
mod resolv;

use mesh_command::args::{RunArgs, RuntimeArg};
use mesh_command::engine_args::EngineArgs;
use mesh_command::run::{CommandLine, RunWorkload, WorkloadKind};
use mesh_command::{dns, request};
use mesh_proto::api::{DnsClient, Runtime};

use self::preparation::Preparation;
use crate::client::ApiClient;
use crate::engine::EngineClient;
use crate::output;
use crate::output::VerbResult;

/// Runs a container, or a command without an engine.
pub(crate) fn run(client: &ApiClient, args: &RunArgs) -> VerbResult {
    let RunWorkload { addresses, kind } = RunWorkload::of(args)?;
    match kind {
        WorkloadKind::Process(command) => run_process(client, args, addresses, &command),
        WorkloadKind::Container(engine_args) => {
            run_container(client, args, addresses, &engine_args)
        }
    }
}

fn run_process(
    client: &ApiClient,
    args: &RunArgs,
    addresses: &[String],
    command: &CommandLine,
) -> VerbResult {
    let (name, pid) = (command.name(), std::process::id());
    let request = request::prepare(args, Runtime::Process, addresses, name, pid);
    let prepared = Preparation::new(client, &request, args.json)?;
    warn_of_names(&prepared.prepared().dns, [name].into_iter());
    process::run(prepared, command)
}

fn run_container(
    client: &ApiClient,
    args: &RunArgs,
    addresses: &[String],
    engine_args: &EngineArgs,
) -> VerbResult {
    let (engine, note) = choose(args.engine.runtime)?;
    match engine {
        EngineClient::Docker => mesh_command::run::docker::check(engine_args)?,
        EngineClient::Podman => {
            mesh_command::run::podman::check(engine_args)?;
            // Fail first if no router runs: otherwise the old container would be removed for nothing.
            client.pid()?;
            podman::make_room(engine_args)?;
        }
    }
    if let Some(note) = note {
        output::complain(&note);
    }
    let name = engine_args.container_name().unwrap_or_default();
    let pid = std::process::id();
    let request = request::prepare(args, engine.runtime(), addresses, name, pid);
    let prepared = Preparation::new(client, &request, args.json)?;
    warn_of_names(&prepared.prepared().dns, engine_args.names());
    match engine {
        EngineClient::Docker => docker::run(prepared, engine_args, args),
        EngineClient::Podman => podman::run(prepared, engine_args),
    }
}

fn warn_of_names<'a>(dns: &DnsClient, names: impl Iterator<Item = &'a str>) {
    for remark in dns::unusable_names(dns, names) {
        output::complain(&remark);
    }
}

fn choose(runtime: Option<RuntimeArg>) -> anyhow::Result<(EngineClient, Option<String>)> {
    let engine = match runtime {
        Some(RuntimeArg::Docker) => EngineClient::Docker,
        Some(RuntimeArg::Podman) => EngineClient::Podman,
        Some(RuntimeArg::Process) | None => return EngineClient::detect(),
    };
    engine.check()?;
    Ok((engine, None))
}
