//! `mesh attach`, `detach`, `start` and `restart`.

use anyhow::bail;
use mesh_command::addresses;
use mesh_command::args::{AttachArgs, ContainerArgs, DetachArgs, RuntimeArg};
use mesh_command::request;
use mesh_proto::api::{AttachedContainer, ContainerAddresses, Done, Runtime};
use mesh_view::ps;

use crate::client::ApiClient;
use crate::engine::EngineClient;
use crate::output;
use crate::output::VerbResult;
use crate::waiting;

/// Attaches a running container and prints its addresses.
pub(crate) fn attach(client: &ApiClient, args: &AttachArgs) -> VerbResult {
    let (json, args) = (args.json, &args.container);
    let (addresses, container) = addresses::with_container(&args.network, &args.rest)?;
    let runtime = args.engine.runtime.map(Runtime::from);
    let wanted = Wanted::of(args, addresses);
    let attached = request_attach(client, args, container, &wanted, runtime)?;
    print(&attached, json)
}

/// Detaches a container and prints the addresses that it had.
pub(crate) fn detach(client: &ApiClient, args: &DetachArgs) -> VerbResult {
    let request = request::detach(args)?;
    let detached: ContainerAddresses = waiting::post(client, "/detach", &request, None)?;
    print(&detached, args.json)
}

fn print(answer: &ContainerAddresses, json: bool) -> VerbResult {
    if json {
        output::print_json(answer)?;
    } else {
        output::print_line(&answer.addresses.join(" "))?;
    }
    Ok(0)
}

/// Addresses in one network.
struct Wanted {
    network: String,
    addresses: Vec<String>,
}

impl Wanted {
    /// Returns the addresses of the command line, in its network.
    fn of(args: &ContainerArgs, addresses: &[String]) -> Self {
        Self {
            network: args.network.name().to_owned(),
            addresses: addresses.to_vec(),
        }
    }
}

/// Starts a stopped container, then attaches it to the addresses given.
pub(crate) fn start(client: &ApiClient, args: &ContainerArgs) -> VerbResult {
    let (addresses, container) = addresses::with_container(&args.network, &args.rest)?;
    let wanted = match addresses {
        [] => Vec::new(),
        addresses => vec![Wanted::of(args, addresses)],
    };
    start_and_attach(client, args, "start", container, &wanted)
}

/// Restarts a container, then attaches it to the given addresses, by default to those that it had, in all networks.
pub(crate) fn restart(client: &ApiClient, args: &ContainerArgs) -> VerbResult {
    let (addresses, container) = addresses::with_container(&args.network, &args.rest)?;
    let wanted = match addresses {
        [] => addresses_of(client, container)?,
        addresses => vec![Wanted::of(args, addresses)],
    };
    start_and_attach(client, args, "restart", container, &wanted)
}

/// Returns the current addresses of the container, by network; empty if it is not on the mesh.
fn addresses_of(client: &ApiClient, container: &str) -> anyhow::Result<Vec<Wanted>> {
    let attached: Vec<AttachedContainer> = client.get("/ps")?;
    let interfaces = ps::find(&attached, container).map(|c| c.interfaces.as_slice());
    let mut wanted: Vec<Wanted> = Vec::new();
    let interfaces = interfaces.unwrap_or_default().iter();
    for interface in interfaces.filter(|i| !i.address.is_empty()) {
        let address = interface.address.clone();
        let mut known = wanted.iter_mut();
        match known.find(|wanted| wanted.network == interface.network) {
            Some(wanted) => wanted.addresses.push(address),
            None => wanted.push(Wanted {
                network: interface.network.clone(),
                addresses: vec![address],
            }),
        }
    }
    Ok(wanted)
}

fn start_and_attach(
    client: &ApiClient,
    args: &ContainerArgs,
    verb: &str,
    container: &str,
    wanted: &[Wanted],
) -> VerbResult {
    // Fail before the container is touched: without a router it would start without its addresses.
    client.pid()?;
    let engine = engine_for(args.engine.runtime, container)?;
    if engine == EngineClient::Docker {
        // A stopped container does not start while one of its networks is missing.
        client.post::<Done>("/mend", &Done {})?;
    }
    let finished = engine.run(&[verb.to_owned(), container.to_owned()])?;
    if finished.status != 0 {
        output::complain(&format!(
            "{} did not {verb} '{container}' (status {})",
            engine.program(),
            finished.status
        ));
        return Ok(finished.status);
    }
    for wanted in wanted {
        // Attaching an address that the container already has is a no-op.
        request_attach(client, args, container, wanted, Some(engine.runtime()))?;
    }
    output::print_line(container)?;
    Ok(0)
}

fn engine_for(runtime: Option<RuntimeArg>, container: &str) -> anyhow::Result<EngineClient> {
    let engine = match runtime {
        None => return EngineClient::of(container),
        Some(RuntimeArg::Process) => {
            bail!("a process cannot be started again; use `mesh run --runtime process`")
        }
        Some(RuntimeArg::Docker) => EngineClient::Docker,
        Some(RuntimeArg::Podman) => EngineClient::Podman,
    };
    engine.check()?;
    Ok(engine)
}

fn request_attach(
    client: &ApiClient,
    args: &ContainerArgs,
    container: &str,
    wanted: &Wanted,
    runtime: Option<Runtime>,
) -> anyhow::Result<ContainerAddresses> {
    let pid = std::process::id();
    let mut request = request::attach(args, container, &wanted.addresses, runtime, pid);
    request.network.clone_from(&wanted.network);
    Ok(waiting::post(
        client,
        "/attach",
        &request,
        args.interfaces.allocation.timeout,
    )?)
}
