//! `mesh network`.

use mesh_command::args::{
    NetworkArgs, NetworkCreateArgs, NetworkInspectArgs, NetworkLsArgs, NetworkRmArgs, NetworkVerb,
};
use mesh_command::request;
use mesh_proto::api::{NetworkCreated, NetworkRemoved, NetworkReport};
use mesh_view::networks;

use crate::client::{ApiClient, ClientError};
use crate::output;
use crate::output::VerbResult;

/// Runs a verb about networks.
pub(crate) fn network(client: &ApiClient, args: &NetworkArgs) -> VerbResult {
    match &args.verb {
        NetworkVerb::Create(args) => create(client, args),
        NetworkVerb::Ls(args) => ls(client, args),
        NetworkVerb::Inspect(args) => inspect(client, args),
        NetworkVerb::Rm(args) => rm(client, args),
    }
}

/// Creates a network, and prints its id.
fn create(client: &ApiClient, args: &NetworkCreateArgs) -> VerbResult {
    let request = request::create_network(args);
    let created: NetworkCreated = client.post("/networks/create", &request)?;
    if !created.is_new {
        let name = &created.name;
        output::complain(&format!("the network {name} exists already, as asked for"));
    }
    match args.json {
        true => output::print_json(&created)?,
        false => output::print_line(&created.id)?,
    }
    Ok(0)
}

/// Prints a line for each network.
fn ls(client: &ApiClient, args: &NetworkLsArgs) -> VerbResult {
    let all: Vec<NetworkReport> = client.get("/networks")?;
    match args.json {
        true => output::print_json(&all)?,
        false => output::print(&networks::table(&all))?,
    }
    Ok(0)
}

/// Prints all about the networks that are found; the exit status is 1 if one is not.
fn inspect(client: &ApiClient, args: &NetworkInspectArgs) -> VerbResult {
    let found = each(&args.networks, |network| {
        client.get::<NetworkReport>(&request::network_path(network))
    })?;
    if args.json {
        output::print_json(&found)?;
    } else {
        let texts: Vec<String> = found.iter().map(networks::details).collect();
        output::print(&texts.join("\n"))?;
    }
    Ok(u8::from(found.len() < args.networks.len()))
}

/// Removes networks, and prints those that are removed; the exit status is 1 if one is not.
fn rm(client: &ApiClient, args: &NetworkRmArgs) -> VerbResult {
    let mut names = Vec::new();
    let removed: Vec<NetworkRemoved> = each(&args.networks, |network| {
        let request = request::remove_network(network, args.force);
        let removed = client.post("/networks/remove", &request)?;
        names.push(network.to_owned());
        Ok(removed)
    })?;
    if args.json {
        output::print_json(&removed)?;
    } else {
        for name in names {
            output::print_line(&name)?;
        }
    }
    Ok(u8::from(removed.len() < args.networks.len()))
}

/// Makes a request for each network. Those that are refused are told in a line each, and the others are made all the same.
fn each<T>(
    networks: &[String],
    mut ask: impl FnMut(&str) -> Result<T, ClientError>,
) -> anyhow::Result<Vec<T>> {
    let mut answers = Vec::new();
    for network in networks {
        match ask(network) {
            Ok(answer) => answers.push(answer),
            Err(ClientError::Refused(why)) => output::complain(&why),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(answers)
}
