//! `mesh run --runtime process`. The network namespace is the test process's own; entering it needs root and changes
//! nothing.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use crate::support::{Lab, appears};

fn lab() -> Option<Lab> {
    if !Uid::effective().is_root() {
        // Without this line nobody would notice that these tests did not run.
        println!("skipped: entering a network namespace needs root");
        return None;
    }
    let lab = Lab::with_router();
    lab.answer(
        "/prepare",
        200,
        r#"{"Id": "p1", "Netns": "/proc/self/ns/net", "Addresses": ["10.2.1.3"]}"#,
    );
    Some(lab)
}

#[test]
fn the_command_s_output_and_status_are_ours() {
    let Some(lab) = lab() else { return };
    lab.program("tool", "echo out; echo err >&2; exit 9");
    let said = lab.mesh("run --runtime process 10.2.1.3/24 -- tool a -d");
    assert_eq!(
        (said.status, said.out.as_str(), said.err.as_str()),
        (9, "out\n", "err\n")
    );
    assert_eq!(lab.log(), ["tool a -d"]);
    let adopted = &lab.requests("/adopt")[0];
    assert!(
        adopted["Pid"].as_u64().unwrap() > 1 && adopted["Name"] == "tool",
        "{adopted}"
    );
    assert_eq!(lab.requests("/abandon").len(), 1);
    assert_eq!(lab.requests("/prepare")[0]["Runtime"], "process");
}

#[test]
fn the_command_is_in_the_namespace_that_was_prepared() {
    let Some(lab) = lab() else { return };
    let mut other = Command::new("unshare")
        .args(["--net", "sleep", "30"])
        .spawn()
        .unwrap();
    let path = PathBuf::from(format!("/proc/{}/ns/net", other.id()));
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    while fs::read_link(&path).unwrap() == ours {
        thread::sleep(Duration::from_millis(5));
    }
    let prepared = serde_json::json!({"Id": "p1", "Netns": path, "Addresses": []});
    lab.answer("/prepare", 200, &prepared.to_string());
    let said = lab.mesh("run --runtime process 10.2.1.3/24 -- /bin/readlink /proc/self/ns/net");
    let theirs = fs::read_link(&path).unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(said.ok().trim(), theirs.to_str().unwrap());
}

#[test]
fn a_command_that_cannot_run_leaves_nothing() {
    let Some(lab) = lab() else { return };
    lab.mesh("run --runtime process 10.2.1.3/24 nosuch")
        .failed(1, "cannot run 'nosuch'");
    assert_eq!(lab.requests("/abandon").len(), 1);
    lab.answer(
        "/prepare",
        200,
        r#"{"Id": "p2", "Netns": "/nowhere", "Addresses": []}"#,
    );
    lab.mesh("run --runtime process 10.2.1.3/24 nosuch")
        .failed(1, "cannot open /nowhere");
}

#[test]
fn signals_are_passed_on() {
    let Some(lab) = lab() else { return };
    let ready = lab.path("ready");
    let body = format!(
        "trap 'exit 33' TERM; echo > {}; while :; do /bin/sleep 0.05; done",
        ready.display()
    );
    lab.program("tool", &body);
    let mut child = lab
        .command(&["run", "--runtime", "process", "10.2.1.3/24", "tool"])
        .spawn()
        .unwrap();
    assert!(appears(&ready));
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(33));
    assert_eq!(lab.requests("/abandon").len(), 1);
}

#[test]
fn detached_prints_an_id_and_returns() {
    let Some(lab) = lab() else { return };
    let done = lab.path("done");
    lab.program(
        "tool",
        &format!("/bin/sleep 0.3; echo > {}", done.display()),
    );
    let began = std::time::Instant::now();
    let out = lab
        .mesh("run --runtime process 10.2.1.3/24 -d --name web tool")
        .ok();
    assert_eq!(out, "p1\n");
    assert!(began.elapsed() < Duration::from_millis(290) || !done.exists());
    assert!(appears(&done), "it goes on after `mesh` has ended");
    assert_eq!(lab.requests("/adopt")[0]["Name"], "web");
    assert!(lab.requests("/abandon").is_empty());
}

#[test]
fn json_says_what_is_left_in_the_background() {
    let Some(lab) = lab() else { return };
    lab.program("tool", "exec /bin/sleep 0.1");
    let line = "run --json --runtime process 10.2.1.3/24 -d --name web tool";
    let printed: serde_json::Value = serde_json::from_str(&lab.mesh(line).ok()).unwrap();
    let expected = serde_json::json!({"Container": "p1", "Name": "web", "Addresses": ["10.2.1.3"]});
    assert_eq!(printed, expected);
    assert!(lab.requests("/abandon").is_empty());
}

#[test]
fn json_and_the_command_do_not_share_standard_output() {
    let lab = Lab::with_router();
    lab.program("tool", "echo out");
    lab.mesh("run --json --runtime process 10.2.1.3/24 tool")
        .failed(1, "--json wants -d");
    assert!(lab.log().is_empty() && lab.requests("/prepare").is_empty());
}

#[test]
fn a_command_that_is_not_adopted_is_ended() {
    let Some(lab) = lab() else { return };
    lab.answer("/adopt", 500, r#"{"Error": "no more"}"#);
    lab.program("tool", "exec /bin/sleep 30");
    let began = std::time::Instant::now();
    lab.mesh("run --runtime process 10.2.1.3/24 tool")
        .failed(1, "no more");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(lab.requests("/abandon").len(), 1);
}
