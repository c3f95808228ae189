//! The texts of a fixed report, compared with the files in `golden`. The tests of the command print the same ones, and
//! `MESH_BLESS=1` makes those rewrite them.

// This crate contains only tests: a failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

use mesh_proto::api::{AttachedContainer, NetworkReport, NetworksSummary, Report};
use mesh_view::networks;
use mesh_view::ps::PsListing;
use mesh_view::status::StatusSubject;
use mesh_view::topology::{self, MeshGraph};

fn report() -> Report {
    serde_json::from_str(include_str!("report.json")).unwrap()
}

#[test]
fn status() {
    for (what, golden) in [
        (None, include_str!("golden/status.txt")),
        (Some("targets"), include_str!("golden/status-targets.txt")),
        (
            Some("connections"),
            include_str!("golden/status-connections.txt"),
        ),
        (Some("peers"), include_str!("golden/status-peers.txt")),
    ] {
        let subject = StatusSubject::choose(what, &[], None, false).unwrap();
        let StatusSubject::Report(view) = subject else {
            panic!("{subject:?}");
        };
        assert_eq!(view.text(&report()), golden, "{what:?}");
        let json: serde_json::Value = serde_json::from_str(&view.json(&report()).unwrap()).unwrap();
        assert!(json.is_object() || json.is_array(), "{json}");
    }
}

#[test]
fn pictures() {
    let graph = MeshGraph::of(&report().router.peers);
    assert_eq!(topology::text(&graph), include_str!("golden/topology.txt"));
    assert_eq!(
        topology::dot(&graph),
        include_str!("golden/topology-dot.txt")
    );
    assert_eq!(
        topology::svg(&graph),
        include_str!("golden/topology-svg.txt")
    );
    let json = serde_json::to_string_pretty(&graph).unwrap() + "\n";
    assert_eq!(json, include_str!("golden/topology-json.txt"));
}

#[test]
fn ps() {
    let attached: Vec<AttachedContainer> = serde_json::from_str(include_str!("ps.json")).unwrap();
    let text = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let lines = PsListing::of(&attached, &names).lines();
        lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    assert_eq!(text(&[]), include_str!("golden/ps.txt"));
    assert_eq!(text(&["db", "0123"]), include_str!("golden/ps-named.txt"));
}

#[test]
fn networks() {
    let all: Vec<NetworkReport> = serde_json::from_str(include_str!("networks.json")).unwrap();
    assert_eq!(networks::table(&all), include_str!("golden/networks.txt"));
    let texts: Vec<String> = all[2..].iter().map(networks::details).collect();
    assert_eq!(
        texts.join("\n"),
        include_str!("golden/networks-inspect.txt")
    );
}

#[test]
fn status_with_networks() {
    let StatusSubject::Report(view) = StatusSubject::choose(None, &[], None, false).unwrap() else {
        panic!("another view");
    };
    let mut report = report();
    let without = view.text(&report);
    report.networks = Some(NetworksSummary {
        known: 2,
        used: 1,
        ..NetworksSummary::default()
    });
    let with = view.text(&report);
    let line = "       Networks: 2 besides default, 1 with containers here\n";
    assert_eq!(with.replacen(line, "", 1), without);
    assert!(with.contains(line), "{with}");
}
