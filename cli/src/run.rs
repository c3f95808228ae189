//! `mesh run`: has the router prepare the interfaces, then has the engine start the container on them.

use anyhow::bail;
use mesh_proto::api::{
    AbandonRequest, ContainerAddresses, Done, PrepareRequest, Prepared, Runtime,
};

use crate::args::{RunArgs, RuntimeArg};
use crate::client::Client;
use crate::engine::Engine;
use crate::engine_args::EngineArgs;
use crate::output::Outcome;
use crate::{addresses, dns, docker, ipam, output, podman, process};

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

/// Interfaces and addresses that the router prepared for a container to come; undone on drop unless
/// [`keep`](Self::keep) was called.
pub(crate) struct Preparation<'a> {
    client: &'a Client,
    prepared: Prepared,
    json: bool,
    kept: bool,
}

impl<'a> Preparation<'a> {
    fn new(
        client: &'a Client,
        runtime: Runtime,
        addresses: &[String],
        args: &RunArgs,
        name: &str,
    ) -> anyhow::Result<Self> {
        let request = PrepareRequest {
            runtime,
            addresses: addresses.to_vec(),
            multicast_route: !args.interfaces.no_multicast_route,
            caller_pid: std::process::id(),
            name: name.to_owned(),
            without_dns: args.without_dns,
            timeout: args.interfaces.allocation.timeout,
        };
        Ok(Self {
            client,
            prepared: ipam::post_waiting(
                client,
                "/prepare",
                &request,
                args.interfaces.allocation.timeout,
            )?,
            json: args.json,
            kept: false,
        })
    }

    /// Returns the router's handle of the preparation, and what to pass to the engine.
    pub(crate) fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// Returns the client for further requests about the preparation.
    pub(crate) fn client(&self) -> &Client {
        self.client
    }

    /// True if JSON will be printed rather than the id alone.
    pub(crate) fn wants_json(&self) -> bool {
        self.json
    }

    /// Makes the preparation permanent: the container runs.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }

    /// Prints the id of the container; as JSON, its name and addresses as well.
    pub(crate) fn print(&self, container: &str, name: &str) -> anyhow::Result<()> {
        if !self.json {
            return output::print_line(container);
        }
        output::print_json(&ContainerAddresses {
            container: container.to_owned(),
            name: name.to_owned(),
            addresses: self.prepared.addresses.clone(),
        })
    }
}

impl Drop for Preparation<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let request = AbandonRequest {
            id: self.prepared.id.clone(),
        };
        if let Err(error) = self.client.post::<Done>("/abandon", &request) {
            output::complain(&format!("could not undo the preparations: {error}"));
        }
    }
}
