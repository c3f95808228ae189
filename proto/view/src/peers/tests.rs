use mesh_proto::api::{PeerConnectionReport, Report};

use super::*;

/// Returns the report of a mesh of `n` routers by the first of them: every second router is relayed by the one before
/// it, every fiftieth is unreachable.
fn mesh(n: usize) -> RouterReport {
    let golden = include_str!("../../tests/report.json");
    let report: Report = serde_json::from_str(golden).unwrap();
    let mut router = report.router;
    let name = |i: usize| format!("7a:10:00:00:{:02x}:{:02x}", i / 256, i % 256);
    let display = |i: usize| named(&name(i), &format!("host{i}"));
    let peer = |i: usize| PeerReport {
        name: name(i),
        nick_name: format!("host{i}"),
        id: format!("id{i}"),
        epoch: 1,
        version: 7,
        is_self: i == 0,
        path: match i {
            0 => "self".to_owned(),
            i if i % 50 == 0 => "none".to_owned(),
            i if i % 2 == 0 => format!("via {}", display(i - 1)),
            i => format!("direct 10.0.{}.{}:6783", i / 256, i % 256),
        },
        attached: 3,
        connections: (1..=8)
            .map(|step| PeerConnectionReport {
                peer: display((i + step) % n),
                outbound: step % 2 == 0,
                address: None,
                established: step < 8,
            })
            .collect(),
    };
    router.peers = (0..n).map(peer).collect();
    router
}

fn filter(patterns: &[&str], state: Option<&str>) -> Filter {
    let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
    Filter::for_peers(&patterns, state).unwrap()
}

#[test]
fn a_mesh_of_a_thousand_begins_with_a_summary_and_has_one_line_for_each() {
    let router = mesh(1_000);
    let shown = text(&router, &filter(&[], None), false);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines[0],
        "1000 routers (1 self, 500 direct, 480 relayed, 19 unreachable), \
         8000 link ends (7000 established, 1000 pending), 3000 container addresses"
    );
    assert_eq!(lines.len(), 1_001);
    assert!(lines.iter().all(|line| line.len() <= 150), "{}", lines[2]);
    assert!(lines[2].contains("host1) ") && lines[2].ends_with("7/8 links, 3 addresses"));
    let all = text(&router, &filter(&[], None), true);
    assert_eq!(all.lines().count(), 1 + 9 * 1_000);
}

#[test]
fn filters_choose_by_name_address_and_state_and_show_links() {
    let router = mesh(1_000);
    let shown = |patterns: &[&str], state| text(&router, &filter(patterns, state), false);
    let one = shown(&["HOST77)"], None);
    assert!(
        one.contains("\n0 routers shown\n"),
        "the name as it is: {one}"
    );
    let one = shown(&["host777"], None);
    assert!(
        one.contains("\n1 router shown\n7a:10:00:00:03:09(host777)\n"),
        "{one}"
    );
    assert_eq!(one.lines().count(), 2 + 9);
    let by_address = shown(&["10.0.3.9:"], None);
    assert!(by_address.contains("(host777)\n"));
    let lost = filter(&[], Some("unreachable")).peers(&router).len();
    assert_eq!(lost, 19);
    let both = filter(&["host95"], Some("unreachable"));
    let names: Vec<&str> = both
        .peers(&router)
        .iter()
        .map(|p| p.nick_name.as_str())
        .collect();
    assert_eq!(names, ["host950"]);
    let either = filter(&["host777", "host778"], None);
    assert_eq!(either.peers(&router).len(), 2);
}

#[test]
fn a_state_there_is_not_is_told_with_those_there_are() {
    let error = Filter::for_peers(&[], Some("up")).unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no state 'up' here; it is one of self, direct, relayed, unreachable"
    );
    assert!(Filter::for_connections(&[], Some("retrying")).is_ok());
    assert!(Filter::for_connections(&[], Some("direct")).is_err());
}

#[test]
fn an_empty_mesh_is_a_line() {
    let mut router = mesh(1);
    router.peers.clear();
    let shown = text(&router, &filter(&[], None), false);
    assert_eq!(shown, "0 routers, 0 link ends, 0 container addresses\n");
}
