//! Firewall rules of the host. [`sources`] restricts the sources of a UDP port, [`service`] admits containers to a
//! service of this host, [`exposure`] admits packets between the mesh and networks behind the host. The rest of this
//! module accepts frames between the ports of the mesh's bridge, for hosts on which dockerd has set the policy of
//! FORWARD to DROP and br_netfilter sends bridged packets through it.

use std::io::{self, Write as _};
use std::process::{Output, Stdio};

use self::chain::{Chain, JumpPosition};
use crate::SysError;
use crate::ifname;
use crate::process::environment::command;

mod chain;
pub mod exposure;
pub mod networks;
mod nft;
pub(crate) mod redirect;
pub mod service;
pub mod sources;

/// Result for one of the two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The rule was inserted, or removed.
    Yes,
    /// No change was needed.
    No,
    /// The program, or its part of the kernel, is missing; so there is no such firewall either.
    Absent,
}

/// Results for IPv4 and IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleChanges {
    /// `iptables`.
    pub ipv4: Changed,
    /// `ip6tables`.
    pub ipv6: Changed,
}

/// Makes the rule that accepts packets between ports of `bridge` the first of FORWARD, in the thread's namespace.
/// Idempotent; moves the rule back to the front if necessary.
///
/// # Errors
/// The error of the program.
pub fn ensure_forward_accept(bridge: &str) -> Result<RuleChanges, SysError> {
    ifname::check(bridge)?;
    Ok(RuleChanges {
        ipv4: ensure("iptables", bridge)?,
        ipv6: ensure("ip6tables", bridge)?,
    })
}

/// Removes all copies of the rule.
///
/// # Errors
/// The error of the program.
pub fn remove_forward_accept(bridge: &str) -> Result<RuleChanges, SysError> {
    ifname::check(bridge)?;
    Ok(RuleChanges {
        ipv4: remove("iptables", bridge)?,
        ipv6: remove("ip6tables", bridge)?,
    })
}

fn ensure(program: &'static str, bridge: &str) -> Result<Changed, SysError> {
    let Some(chain) = list(program, "FORWARD")? else {
        return Ok(Changed::Absent);
    };
    let ours = positions(&chain, bridge);
    if ours == [1] {
        return Ok(Changed::No);
    }
    if ours.is_empty()
        && uncommented(program, &uncommented_name(bridge))
            .list()?
            .is_some()
    {
        return Ok(Changed::No);
    }
    let rule = rule(bridge);
    // Insert first, then delete old copies: no frame is dropped in between.
    let put = change(
        program,
        &[&["-I", "FORWARD", "1"], rule.as_slice()].concat(),
    );
    if let Err(why) = put {
        // Kernel or program lack the match `comment`: use a chain of the mesh, whose name identifies the rule.
        let rule = format!("-i {bridge} -o {bridge} -j ACCEPT");
        uncommented(program, &uncommented_name(bridge))
            .put(&[rule])
            .map_err(|_| why)?;
        return Ok(Changed::Yes);
    }
    for position in ours.iter().rev() {
        change(program, &["-D", "FORWARD", &(position + 1).to_string()])?;
    }
    Ok(Changed::Yes)
}

fn remove(program: &'static str, bridge: &str) -> Result<Changed, SysError> {
    let Some(chain) = list(program, "FORWARD")? else {
        return Ok(Changed::Absent);
    };
    let ours = positions(&chain, bridge);
    for position in ours.iter().rev() {
        change(program, &["-D", "FORWARD", &position.to_string()])?;
    }
    let had_chain = uncommented(program, &uncommented_name(bridge)).remove()?;
    Ok(if ours.is_empty() && !had_chain {
        Changed::No
    } else {
        Changed::Yes
    })
}

/// Returns a name of at most 28 bytes.
fn uncommented_name(bridge: &str) -> String {
    format!("mesh-forward-{bridge}")
}

/// Returns the chain for the rule where rules cannot have comments.
fn uncommented<'a>(program: &'static str, name: &'a str) -> Chain<'a> {
    Chain {
        program,
        table: "filter",
        name,
        from: "FORWARD",
        place: JumpPosition::First,
    }
}

fn rule(bridge: &str) -> Vec<&str> {
    let mut rule = vec!["-i", bridge, "-o", bridge];
    rule.extend(["-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"]);
    rule
}

/// Identifies the rules of the mesh in a listing; one word, so that no version of the program quotes it.
const COMMENT: &str = "mesh-forward";

/// Returns the positions, from 1, of the mesh's rules in a listing by `-S FORWARD`.
fn positions(chain: &str, bridge: &str) -> Vec<usize> {
    let rules = chain.lines().filter(|line| line.starts_with("-A "));
    let is_ours = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let has = |pair: [&str; 2]| words.windows(2).any(|w| *w == pair);
        has(["-i", bridge]) && has(["-o", bridge]) && has(["--comment", COMMENT])
    };
    rules
        .enumerate()
        .filter(|(_, line)| is_ours(&line.replace('"', "")))
        .map(|(index, _)| index + 1)
        .collect()
}

/// Lists a built-in chain; `None` if there is no such program or the kernel has no such table.
fn list(program: &str, chain: &str) -> Result<Option<String>, SysError> {
    let output = match run(program, &["-S", chain]) {
        Ok(output) => output,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(SysError::new(format!("run {program}"), e)),
    };
    if output.status.success() {
        return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // Exit code 3: the kernel does not know the table; then nothing is dropped either.
    if output.status.code() == Some(3) && !said.contains("Permission denied") {
        tracing::debug!(program, %said, "no firewall");
        return Ok(None);
    }
    let what = format!("read the {chain} chain of {program}");
    Err(SysError::other(what, said.trim()))
}

fn change(program: &str, arguments: &[&str]) -> Result<(), SysError> {
    let what = format!("run {program} {}", arguments.join(" "));
    let output = run(program, arguments).map_err(|e| SysError::new(&*what, e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(SysError::other(what, said.trim()))
}

/// Runs the program with `-w`, to wait at most 5 seconds for the lock that dockerd may hold.
fn run(program: &str, arguments: &[&str]) -> io::Result<Output> {
    command(program).args(["-w", "5"]).args(arguments).output()
}

/// Passes `text` to a program that applies it as one transaction.
fn feed(program: &str, arguments: &[&str], text: &str) -> Result<(), SysError> {
    let failed = |e| SysError::new(format!("run {program}"), e);
    let mut child = command(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // A program that ends early reports the reason; the broken pipe does not.
        let _ = input.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(SysError::other(format!("run {program}"), one_line(&said)))
}

/// Joins the output of a program to one line.
fn one_line(said: &str) -> String {
    let words: Vec<&str> = said.split_whitespace().collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NamedNetns, needs_root};

    #[test]
    fn the_rules_of_the_mesh_are_found_in_a_listing() {
        let chain = "-P FORWARD DROP\n\
                     -A FORWARD -j DOCKER-USER\n\
                     -A FORWARD -i mesh -o mesh -m comment --comment mesh-forward -j ACCEPT\n\
                     -A FORWARD -i mesh -o mesh -j ACCEPT\n\
                     -A FORWARD -i mesh -o mesh -m comment --comment \"mesh-forward\" -j ACCEPT\n\
                     -A FORWARD -i mesh2 -o mesh2 -m comment --comment mesh-forward -j ACCEPT\n";
        assert_eq!(positions(chain, "mesh"), [2, 4]);
        assert_eq!(positions(chain, "mesh2"), [5]);
        assert_eq!(positions(chain, "other"), Vec::<usize>::new());
    }

    #[test]
    fn the_rule_is_inserted_first_and_removed() {
        if needs_root("the_rule_is_inserted_first_and_removed") {
            return;
        }
        NamedNetns::new().run(|| {
            let done = ensure_forward_accept("mesh").unwrap();
            if done.ipv4 == Changed::Absent {
                println!("the_rule_is_inserted_first_and_removed: skipped, no iptables here");
                return;
            }
            assert_eq!(done.ipv4, Changed::Yes);
            assert_eq!(ensure_forward_accept("mesh").unwrap().ipv4, Changed::No);
            // Like dockerd when it restarts: inserts a rule before that of the mesh.
            change("iptables", &["-I", "FORWARD", "1", "-j", "DROP"]).unwrap();
            assert_eq!(ensure_forward_accept("mesh").unwrap().ipv4, Changed::Yes);
            let chain = list("iptables", "FORWARD").unwrap().unwrap();
            assert_eq!(positions(&chain, "mesh"), [1]);
            assert_eq!(remove_forward_accept("mesh").unwrap().ipv4, Changed::Yes);
            assert_eq!(remove_forward_accept("mesh").unwrap().ipv4, Changed::No);
        });
    }
}
