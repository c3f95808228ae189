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
    let (addresses, container) = addresses::with_container(&args.rest)?;
    let runtime = args.engine.runtime.map(Runtime::from);
    let attached = request_attach(client, args, container, addresses, runtime)?;
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

/// Starts a stopped container, then attaches it to the addresses given.
pub(crate) fn start(client: &ApiClient, args: &ContainerArgs) -> VerbResult {
    let (addresses, container) = addresses::with_container(&args.rest)?;
    start_and_attach(client, args, "start", container, addresses)
}

/// Restarts a container, then attaches it to the given addresses, by default to those that it had.
pub(crate) fn restart(client: &ApiClient, args: &ContainerArgs) -> VerbResult {
    let (addresses, container) = addresses::with_container(&args.rest)?;
    let addresses = if addresses.is_empty() {
        addresses_of(client, container)?
    } else {
        addresses.to_vec()
    };
    start_and_attach(client, args, "restart", container, &addresses)
}

/// Returns the current addresses of the container; empty if it is not on the mesh.
fn addresses_of(client: &ApiClient, container: &str) -> anyhow::Result<Vec<String>> {
    let attached: Vec<AttachedContainer> = client.get("/ps")?;
    let interfaces = ps::find(&attached, container).map(|c| c.interfaces.as_slice());
    let addresses = interfaces
        .unwrap_or_default()
        .iter()
        .map(|i| i.address.clone());
    Ok(addresses.filter(|a| !a.is_empty()).collect())
}

fn start_and_attach(
    client: &ApiClient,
    args: &ContainerArgs,
    verb: &str,
    container: &str,
    addresses: &[String],
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
    if !addresses.is_empty() {
        // Attaching an address that the container already has is a no-op.
        request_attach(client, args, container, addresses, Some(engine.runtime()))?;
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
    addresses: &[String],
    runtime: Option<Runtime>,
) -> anyhow::Result<ContainerAddresses> {
    let pid = std::process::id();
    let request = request::attach(args, container, addresses, runtime, pid);
    Ok(waiting::post(
        client,
        "/attach",
        &request,
        args.interfaces.allocation.timeout,
    )?)
}
