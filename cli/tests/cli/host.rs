//! `mesh expose`, `hide`, `attach-bridge`, `detach-bridge`.

use serde_json::json;

use crate::support::{Lab, REPORT};

const EXPOSED: &str = r#"{"Addresses": [
    {"Address": "10.2.1.254/24", "Mac": "02:00:00:00:00:01", "Masquerade": true, "Names": ["gateway"]},
    {"Address": "fd00::1/64", "Mac": "02:00:00:00:00:01", "Masquerade": true, "Names": []}],
    "Notes": ["this host did not forward IPv4 and does now"]}"#;

#[test]
fn expose_prints_addresses_and_says_what_else_was_changed() {
    let lab = Lab::with_router();
    lab.answer("/expose", 200, EXPOSED);
    let said = lab.mesh("expose 10.2.1.254/24 net:default -h gateway");
    assert_eq!(said.status, 0);
    assert_eq!(said.out, "10.2.1.254 fd00::1\n");
    assert!(said.err.contains("did not forward IPv4"), "{said:?}");
    let request = &lab.requests("/expose")[0];
    assert_eq!(
        request["Addresses"],
        json!(["10.2.1.254/24", "net:default"])
    );
    assert_eq!(request["Name"], "gateway");
    assert_eq!(request["Masquerade"], true);
    let json = lab.mesh("expose --json --without-masquerade").ok();
    let printed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(printed["Addresses"][0]["Names"][0], "gateway");
    assert_eq!(lab.requests("/expose")[1]["Masquerade"], false);
    lab.mesh("expose 10.2.1.254").failed(1, "no prefix length");
    assert_eq!(
        lab.requests("/expose").len(),
        2,
        "a typing mistake is told at once"
    );
    lab.answer(
        "/expose",
        400,
        r#"{"Error": "10.2.1.1 is already used by container web"}"#,
    );
    lab.mesh("expose 10.2.1.1/24")
        .failed(1, "already used by container web");
}

#[test]
fn hide_prints_what_went_and_what_was_not_there() {
    let lab = Lab::with_router();
    let hidden = r#"{"Addresses": ["10.2.1.254"], "Unknown": ["10.2.1.9"]}"#;
    lab.answer("/hide", 200, hidden);
    let said = lab.mesh("hide 10.2.1.254/24 10.2.1.9/24");
    assert_eq!((said.status, said.out.as_str()), (0, "10.2.1.254\n"));
    assert!(
        said.err
            .contains("10.2.1.9: the host does not have this address"),
        "{said:?}"
    );
    let json = lab.mesh("hide --json").ok();
    assert!(json.contains("\"Unknown\""), "{json}");
    lab.answer("/hide", 200, r#"{"Addresses": []}"#);
    assert_eq!(lab.mesh("hide").ok(), "");
}

#[test]
fn bridges_are_named_and_shown() {
    let lab = Lab::with_router();
    assert_eq!(lab.mesh("attach-bridge br0").ok(), "");
    assert_eq!(lab.mesh("detach-bridge br0").ok(), "");
    assert_eq!(lab.requests("/attach-bridge"), [json!({"Bridge": "br0"})]);
    assert_eq!(lab.requests("/detach-bridge"), [json!({"Bridge": "br0"})]);
    let mut report: serde_json::Value = serde_json::from_str(REPORT).unwrap();
    report["Host"] = json!({
        "Exposed": [{"Address": "10.2.1.254/24", "Mac": "", "Masquerade": true, "Names": []},
                    {"Address": "10.3.1.254/24", "Mac": "", "Masquerade": false, "Names": []}],
        "Firewall": "nft", "Restored": 0,
        "Bridges": [{"Bridge": "br0", "Problem": ""}, {"Bridge": "br1", "Problem": "it is away"}],
    });
    lab.answer("/report", 200, &report.to_string());
    let status = lab.mesh("status").ok();
    for line in [
        "Exposed: 10.2.1.254/24 (masqueraded by nft), 10.3.1.254/24\n",
        "Bridges: br0, br1 (not joined: it is away)\n",
    ] {
        assert!(status.contains(line), "{status}");
    }
}

#[test]
fn each_help_has_an_example() {
    let lab = Lab::new();
    for verb in ["expose", "hide", "attach-bridge", "detach-bridge"] {
        let help = lab.mesh(&format!("{verb} --help")).ok();
        assert!(help.contains(&format!("Example:\n  mesh {verb}")), "{help}");
    }
}
