//! `mesh ps`: one line per attached container.

use mesh_proto::api::AttachedContainer;

use crate::args::PsArgs;
use crate::client::Client;
use crate::engine::short_id;
use crate::output;
use crate::output::Outcome;

/// Prints `<id12> <mac> cidr…` for each container, or for those in `args`, which are shown by the name given.
pub(crate) fn ps(client: &Client, args: &PsArgs) -> Outcome {
    let attached: Vec<AttachedContainer> = client.get("/ps")?;
    let mut status = 0;
    let mut shown = Vec::new();
    for name in &args.containers {
        match find(&attached, name) {
            Some(container) => shown.push((name.as_str(), container)),
            None => {
                output::complain(&format!(
                    "no container '{name}' on the mesh on this host; `mesh ps` lists them"
                ));
                status = 1;
            }
        }
    }
    if args.containers.is_empty() {
        shown.extend(attached.iter().map(|c| (short_id(&c.container), c)));
    }
    if args.json {
        output::print_json(&shown.iter().map(|(_, c)| c).collect::<Vec<_>>())?;
        return Ok(status);
    }
    for (name, container) in shown {
        output::print_line(&line(name, container))?;
    }
    Ok(status)
}

/// Returns the container with this name or id, or the only one whose id starts with `name`.
pub(crate) fn find<'a>(
    attached: &'a [AttachedContainer],
    name: &str,
) -> Option<&'a AttachedContainer> {
    let exact = |c: &&AttachedContainer| c.name == name || c.container == name;
    if let Some(container) = attached.iter().find(exact) {
        return Some(container);
    }
    let mut by_prefix = attached.iter().filter(|c| c.container.starts_with(name));
    match (by_prefix.next(), by_prefix.next()) {
        (Some(container), None) if !name.is_empty() => Some(container),
        _ => None,
    }
}

fn line(name: &str, container: &AttachedContainer) -> String {
    let mut line = name.to_owned();
    let mac = container.interfaces.first().map(|i| i.mac.as_str());
    let addresses = container.interfaces.iter().map(|i| i.address.as_str());
    for word in mac.into_iter().chain(addresses).filter(|w| !w.is_empty()) {
        line.push(' ');
        line.push_str(word);
    }
    line
}
