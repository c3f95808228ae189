//! `mesh dns-…`.

use mesh_command::args::{DnsArgsArgs, DnsChangeArgs, DnsLookupArgs};
use mesh_command::dns;
use mesh_proto::api::{Addresses, DnsClient, DnsQuestion, Done};

use crate::client::ApiClient;
use crate::output;
use crate::output::VerbResult;

/// Adds a name.
pub(crate) fn add(client: &ApiClient, args: &DnsChangeArgs) -> VerbResult {
    client.post::<Done>("/dns/add", &dns::change(args)?)?;
    Ok(0)
}

/// Removes names.
pub(crate) fn remove(client: &ApiClient, args: &DnsChangeArgs) -> VerbResult {
    client.post::<Done>("/dns/remove", &dns::change(args)?)?;
    Ok(0)
}

/// Prints the addresses of a name, or the names of an address, one per line.
pub(crate) fn lookup(client: &ApiClient, args: &DnsLookupArgs) -> VerbResult {
    let question = DnsQuestion {
        name: args.name.clone(),
        network: args.net.clone().unwrap_or_default(),
    };
    let found: Addresses = client.post("/dns/lookup", &question)?;
    if args.json {
        output::print_json(&found.addresses)?;
        return Ok(0);
    }
    for line in &found.addresses {
        output::print_line(line)?;
    }
    Ok(0)
}

/// Prints the engine flags that make a container use the router for DNS.
pub(crate) fn args(client: &ApiClient, args: &DnsArgsArgs) -> VerbResult {
    let settings: DnsClient = client.get("/dns/client")?;
    let flags = dns::flags_of(args.runtime, &settings)?;
    if args.json {
        output::print_json(&flags)?;
    } else if !flags.is_empty() {
        output::print_line(&flags.join(" "))?;
    }
    Ok(0)
}
