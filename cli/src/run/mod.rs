//! `mesh run`: has the router prepare the interfaces, then has the engine start the container on them.

mod arrived;
mod docker;
mod podman;
mod preparation;
mod process;
mod resolv;
pub(crate) mod words;

use anyhow::bail;
use mesh_proto::api::Runtime;

use self::preparation::Preparation;
use crate::args::{RunArgs, RuntimeArg};
use crate::client::Client;
use crate::containers::addresses;
use crate::containers::dns;
use crate::engine::Engine;
use crate::engine::args::EngineArgs;
use crate::output;
use crate::output::Outcome;

/// Runs a container, or a command without an engine.
pub(crate) fn run(client: &Client, args: &RunArgs) -> Outcome {
    let (addresses, rest) = addresses::split(&args.rest);
    addresses::check(addresses)?;
    if args.engine.runtime == Some(RuntimeArg::Process) {
        let command = process::CommandLine::parse(rest)?;
        addresses::check_image(command.program())?;
        if args.json && !command.is_detached() {
            bail!("--json wants -d here: without it standard output is the command's");
        }
        let name = command.name();
        let prepared = Preparation::new(client, Runtime::Process, addresses, args, name)?;
        dns::warn_of_names(&prepared.prepared().dns, [name].into_iter());
        return process::run(prepared, &command);
    }
    let engine_args = EngineArgs::parse(rest)?;
    addresses::check_image(engine_args.image())?;
    let (engine, note) = choose(args.engine.runtime)?;
    match engine {
        Engine::Docker => docker::check(&engine_args)?,
        Engine::Podman => {
            podman::check(&engine_args)?;
            // Fail first if no router runs: otherwise the old container would be removed for nothing.
            client.pid()?;
            podman::make_room(&engine_args)?;
        }
    }
    if let Some(note) = note {
        output::complain(&note);
    }
    let name = engine_args.container_name().unwrap_or_default();
    let prepared = Preparation::new(client, engine.runtime(), addresses, args, name)?;
    dns::warn_of_names(&prepared.prepared().dns, engine_args.names());
    match engine {
        Engine::Docker => {
            let wishes = docker::Wishes {
                without_dns: args.without_dns,
                no_rewrite_hosts: args.no_rewrite_hosts,
            };
            docker::run(prepared, &engine_args, wishes)
        }
        Engine::Podman => podman::run(prepared, &engine_args),
    }
}

fn choose(runtime: Option<RuntimeArg>) -> anyhow::Result<(Engine, Option<String>)> {
    let engine = match runtime {
        Some(RuntimeArg::Docker) => Engine::Docker,
        Some(RuntimeArg::Podman) => Engine::Podman,
        Some(RuntimeArg::Process) | None => return Engine::detect(),
    };
    engine.check()?;
    Ok((engine, None))
}
