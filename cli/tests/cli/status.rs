//! `status`, `report`, `ps`, `version` against a fixed report. `MESH_BLESS=1` rewrites the golden files.

use crate::support::{Lab, REPORT};

#[track_caller]
fn golden(name: &str, text: &str) {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/view/tests/golden");
    let file = format!("{dir}/{name}.txt");
    if std::env::var_os("MESH_BLESS").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&file).unwrap(), "{file}");
}

#[test]
fn views() {
    let lab = Lab::with_router();
    for (name, line) in [
        ("status", "status"),
        ("status-targets", "status targets"),
        ("status-connections", "status connections"),
        ("status-peers", "status peers"),
        ("topology", "topology"),
        ("topology-dot", "topology --dot"),
        ("topology-svg", "topology --svg"),
        ("topology-json", "topology --json"),
        ("ps", "ps"),
        ("ps-named", "ps db 0123"),
    ] {
        golden(name, &lab.mesh(line).ok());
    }
}

#[test]
fn a_quiet_router_has_no_parentheses() {
    let lab = Lab::with_router();
    let mut report: serde_json::Value = serde_json::from_str(REPORT).unwrap();
    let router = &mut report["Router"];
    for list in ["Targets", "Connections", "Warnings"] {
        router[list] = serde_json::json!([]);
    }
    router["Peers"][0]["Connections"] = serde_json::json!([]);
    router["Peers"] = serde_json::json!([router["Peers"][0]]);
    router["ProtocolMaxVersion"] = 2.into();
    lab.answer("/report", 200, &report.to_string());
    golden("status-quiet", &lab.mesh("status").ok());
    assert_eq!(lab.mesh("status connections").ok(), "");
}

#[test]
fn answers_and_storms_are_summed_up() {
    let lab = Lab::with_router();
    let mut report: serde_json::Value = serde_json::from_str(REPORT).unwrap();
    let router = &mut report["Router"];
    router["Counters"] = serde_json::json!({"arp_directed": 12, "nd_directed": 3});
    lab.answer("/report", 200, &report.to_string());
    let status = lab.mesh("status").ok();
    assert!(
        status.contains("     ARP and ND: 12 and 3 asked of one container, not of everybody\n"),
        "{status}"
    );
    report["Router"]["Drops"] = serde_json::json!({"broadcast_limited": 5, "multicast_limited": 7, "unknown_limited": 2, "forged": 9});
    lab.answer("/report", 200, &report.to_string());
    let status = lab.mesh("status").ok();
    assert!(
        status.contains("12 and 3 asked of one container, not of everybody\n"),
        "{status}"
    );
    let line = "         Storms: frames beyond the limits dropped: 5 broadcasts (launch --broadcast-limit), \
                7 multicasts (launch --multicast-limit), 2 to unknown MACs\n";
    assert!(status.contains(line), "{status}");
    report["Router"]["Drops"] = serde_json::json!({"question_limited": 4});
    lab.answer("/report", 200, &report.to_string());
    let status = lab.mesh("status").ok();
    let line = "asked of one container, not of everybody; 4 beyond the limit dropped\n";
    assert!(
        status.contains(line) && !status.contains("Storms"),
        "{status}"
    );
}

#[test]
fn plain_vxlan_is_said() {
    let lab = Lab::with_router();
    let mut report: serde_json::Value = serde_json::from_str(REPORT).unwrap();
    let router = &mut report["Router"];
    router["Encryption"] = false.into();
    router["Plain"] = "peers that agree in 192.0.2.0/24".into();
    router["FastPath"] = "vxlan to 1 of 2 peers that agree".into();
    let row = &mut router["Connections"][0];
    row["Encrypted"] = false.into();
    row["Cipher"] = "vxlan".into();
    row["Datapath"] = "kernel".into();
    router["Connections"][1]["FastPathDoubt"] = "the other side does not offer plain VXLAN".into();
    lab.answer("/report", 200, &report.to_string());
    let status = lab.mesh("status").ok();
    let expected = "Encryption: enabled, but not with peers that agree in 192.0.2.0/24 \
                    (vxlan to 1 of 2 peers that agree)\n";
    assert!(status.contains(expected), "{status}");
    let rows = lab.mesh("status connections").ok();
    assert!(
        rows.contains("established unencrypted kernel 7a:10:00:00:00:02(host2) vxlan mtu=1376")
    );
    assert!(
        rows.contains("(encrypted: the other side does not offer plain VXLAN)"),
        "{rows}"
    );
}

#[test]
fn json_views() {
    let lab = Lab::with_router();
    let json =
        |line: &str| -> serde_json::Value { serde_json::from_str(&lab.mesh(line).ok()).unwrap() };
    let report: serde_json::Value = serde_json::from_str(REPORT).unwrap();
    assert_eq!(json("status --json"), report);
    assert_eq!(json("report"), report);
    assert_eq!(json("report --json"), report);
    for (name, field) in [
        ("targets", "Targets"),
        ("connections", "Connections"),
        ("peers", "Peers"),
    ] {
        assert_eq!(
            json(&format!("status {name} --json")),
            report["Router"][field]
        );
    }
    assert_eq!(json("ps --json web")[0]["Name"], "web");
}

#[test]
fn rows_are_chosen_by_pattern_and_state() {
    let lab = Lab::with_router();
    let one = lab.mesh("status peers HOST2").ok();
    assert!(
        one.starts_with("3 routers (") && one.contains("\n1 router shown\n"),
        "{one}"
    );
    assert!(
        one.ends_with("7a:10:00:00:00:01(host1)              established\n"),
        "{one}"
    );
    let rows: serde_json::Value =
        serde_json::from_str(&lab.mesh("status peers --json host2").ok()).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!(rows[0]["NickName"], "host2");
    let retrying = lab.mesh("status connections --state retrying").ok();
    assert!(!retrying.is_empty());
    assert!(
        retrying.lines().all(|line| line.contains(" retrying ")),
        "{retrying}"
    );
    lab.mesh("status peers --state up")
        .failed(1, "no state 'up'");
    lab.mesh("status targets host2")
        .failed(1, "nothing to choose");
    lab.mesh("status --state direct")
        .failed(1, "nothing to choose");
}

#[test]
fn a_report_is_summed_up_and_cut_down() {
    let lab = Lab::with_router();
    let json =
        |line: &str| -> serde_json::Value { serde_json::from_str(&lab.mesh(line).ok()).unwrap() };
    let whole = json("report");
    let sum = json("report --summary");
    assert_eq!(sum["Router"]["Peers"], 3);
    assert_eq!(sum["Router"]["Drops"], whole["Router"]["Drops"]);
    let one = json("report host2");
    let peers = one["Router"]["Peers"].as_array().unwrap();
    assert_eq!((peers.len(), &peers[0]["NickName"]), (1, &"host2".into()));
    assert_eq!(json("report --summary host2")["Router"]["Peers"], 1);
    let said = lab.mesh_words(&["report", "--summary", "-f", "{{.Router.Peers}}"]);
    assert_eq!(said.ok(), "3");
}

#[test]
fn templates() {
    let lab = Lab::with_router();
    let said = lab.mesh_words(&[
        "report",
        "-f",
        "{{range .Router.Peers}}{{.NickName}} {{end}}",
    ]);
    assert_eq!(said.ok(), "host1 host2 host3 ");
    lab.mesh_words(&["report", "-f", "{{.Router.Nope}}"])
        .failed(1, "Nope");
    lab.mesh_words(&["report", "-f", "{{if}"])
        .failed(1, "cannot render the template");
}

#[test]
fn a_router_that_is_not_ready_is_shown_and_is_a_failure() {
    let lab = Lab::with_router();
    lab.answer(
        "/report",
        200,
        &REPORT.replace("\"Ready\": true", "\"Ready\": false"),
    );
    let said = lab.mesh("status");
    assert_eq!(said.status, 1);
    assert!(said.out.contains("Service: router"));
    assert!(said.err.contains("not ready"));
}

#[test]
fn a_wrong_sub_command_is_told_with_usage() {
    let said = Lab::with_router().mesh("status links");
    assert_eq!(said.status, 1);
    assert!(said.err.contains("Invalid status sub-command 'links'; "));
}

#[test]
fn ipam_view() {
    let lab = Lab::with_router();
    assert!(
        lab.mesh("status ipam")
            .ok()
            .contains("allocates no addresses")
    );
    let ipam = r#""IPAM": {"Range": "10.32.0.0/12", "DefaultSubnet": "10.32.0.0/12", "Owners": [], "Free": 0,
        "Allocations": [], "Loans": [], "Waiting": [], "Advice": ["do this"]}, "Ready""#;
    lab.answer("/report", 200, &REPORT.replacen("\"Ready\"", ipam, 1));
    let shown = lab.mesh("status ipam").ok();
    assert!(
        shown.starts_with("Range 10.32.0.0/12, default subnet 10.32.0.0/12\nNobody owns it yet"),
        "{shown}"
    );
    assert!(shown.ends_with("do this\n"), "{shown}");
    assert!(
        lab.mesh("status")
            .ok()
            .contains("Addresses: 10.32.0.0/12 (idle, 0 held here)")
    );
    let json: serde_json::Value =
        serde_json::from_str(&lab.mesh("status ipam --json").ok()).unwrap();
    assert_eq!(json["Range"], "10.32.0.0/12");
}

#[test]
fn prime_and_rmpeer_ask_the_router() {
    let lab = Lab::with_router();
    lab.answer("/ipam/prime", 200, "{}");
    lab.answer("/ipam/remove", 200, r#"{"Lines": ["host3 is removed"]}"#);
    assert_eq!(lab.mesh("prime --timeout 5").ok(), "");
    assert_eq!(lab.requests("/ipam/prime")[0]["Timeout"], 5.0);
    assert_eq!(lab.mesh("rmpeer --force host3").ok(), "host3 is removed\n");
    let json = lab.mesh("rmpeer --force --json host3").ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json, serde_json::json!({"Lines": ["host3 is removed"]}));
    let sent = &lab.requests("/ipam/remove")[0];
    assert_eq!(
        (&sent["Peers"][0], &sent["Force"]),
        (&"host3".into(), &true.into())
    );
    lab.answer("/ipam/remove", 400, r#"{"Error": "host3 can be reached"}"#);
    lab.mesh("rmpeer host3").failed(1, "host3 can be reached");
    assert_eq!(lab.mesh("rmpeer").status, 2);
}

#[test]
fn ps_of_an_unknown_container_fails() {
    Lab::with_router()
        .mesh("ps nosuch")
        .failed(1, "no container 'nosuch'");
}

#[test]
fn version_with_and_without_a_router() {
    let own = concat!("mesh ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(Lab::new().mesh("version").ok(), own);
    assert_eq!(
        Lab::with_router().mesh("version").ok(),
        format!("{own}router 0.1.0\n")
    );
}

#[test]
fn versions_as_json() {
    let printed = |lab: &Lab| -> serde_json::Value {
        serde_json::from_str(&lab.mesh("version --json").ok()).unwrap()
    };
    let own = env!("CARGO_PKG_VERSION");
    let alone = serde_json::json!({"Mesh": own, "Router": null});
    assert_eq!(printed(&Lab::new()), alone);
    let lab = Lab::with_router();
    let mut report: serde_json::Value = serde_json::from_str(REPORT).unwrap();
    report["Version"] = "7.8.9".into();
    lab.answer("/report", 200, &report.to_string());
    let both = serde_json::json!({"Mesh": own, "Router": "7.8.9"});
    assert_eq!(printed(&lab), both);
    lab.answer("/report", 500, "boom");
    lab.mesh("version --json").failed(1, "500");
}
