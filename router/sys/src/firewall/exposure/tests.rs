use ipnet::IpNet;
use mesh_proto::ids::Mac;

use super::*;
use crate::testing::{NamedNetns, needs_root};

fn nets(texts: &[&str]) -> BTreeSet<IpNet> {
    texts.iter().map(|t| t.parse().unwrap()).collect()
}

fn wanted() -> Exposure {
    Exposure {
        subnets: nets(&["10.32.0.0/12", "10.32.5.0/24", "10.2.1.0/24", "fd00::/64"]),
        masqueraded: nets(&["10.32.5.0/24", "10.2.1.0/24"]),
        inside: nets(&["10.32.0.0/12"]),
        open: nets(&["10.2.1.0/24"]),
        unjoined: ["br\"x", "docker0", "-x"].map(str::to_owned).into(),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
    }
}

fn rules_with(backend: Backend) -> Rules {
    let rules = Rules::new("mesh");
    rules.kept().backend = Some(backend);
    rules
}

fn shell(line: &str) -> String {
    let output = std::process::Command::new("sh")
        .args(["-c", line])
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_ip_version_gets_its_subnets_once() {
    let four = wanted().of(FirewallFamily::V4);
    assert_eq!(four.subnets.len(), 2, "{four:?}");
    assert_eq!(four.masqueraded.len(), 2);
    let six = wanted().of(FirewallFamily::V6);
    assert_eq!(six.subnets.len(), 1);
    assert!(six.masqueraded.is_empty());
    assert_eq!(
        four.nat("mesh"),
        [
            "-s 10.2.1.0/24 -o mesh -j RETURN",
            "-s 10.32.0.0/12 -o mesh -j RETURN",
            "-s 10.2.1.0/24 ! -o mesh -j MASQUERADE",
            "-d 10.2.1.0/24 -o mesh -j MASQUERADE",
            "-s 10.32.5.0/24 ! -o mesh -j MASQUERADE",
            "-d 10.32.5.0/24 -o mesh -j MASQUERADE",
        ]
    );
}

#[test]
fn subnets_and_other_bridges_are_separated_unless_opened() {
    let four = wanted().of(FirewallFamily::V4);
    let mangle = four.mangle("mesh");
    assert_eq!(
        mangle[..5],
        [
            "-m conntrack --ctstate DNAT -j RETURN",
            "-s 10.2.1.0/24 -j RETURN",
            "-d 10.2.1.0/24 -j RETURN",
            "-i docker0 -o mesh -j DROP",
            "-i mesh -o docker0 -j DROP",
        ]
    );
    // Connections that are established are let through only after other bridges.
    assert_eq!(
        mangle[mangle.len() - 3..],
        [
            "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
            "! -s 10.2.1.0/24 -d 10.2.1.0/24 -i mesh -o mesh -j DROP",
            "! -s 10.32.0.0/12 -d 10.32.0.0/12 -i mesh -o mesh -j DROP",
        ]
    );
    let text = four.nft(FirewallFamily::V4, "mesh");
    for line in [
        "ip saddr 10.2.1.0/24 accept",
        "iifname \"mesh\" oifname \"mesh\" ether daddr 02:00:00:00:00:01 counter drop",
        "iifname \"docker0\" oifname \"mesh\" counter drop",
        "iifname \"mesh\" oifname \"cali*\" counter drop",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("br\"x") && !text.contains("-x"), "{text}");
    let at = |part: &str| text.find(part).unwrap();
    let last_bridge = text.rfind("oifname \"ve-*\"").unwrap();
    assert!(last_bridge < at("ct state established"), "{text}");
    assert!(at("ct state established") < at("ether daddr"), "{text}");
}

#[test]
fn names_that_are_patterns_to_firewalls_are_refused() {
    for bad in ["mesh+", "mesh*", "me\"sh", "m{"] {
        let error = Rules::new(bad).check(false).unwrap_err().to_string();
        assert!(error.contains("--bridge"), "{error}");
    }
    assert!(Rules::new("mesh-1.a_b").check(false).is_ok());
}

#[test]
fn rules_are_applied_repaired_and_removed_by_each_backend() {
    if needs_root("rules_are_applied_repaired_and_removed_by_each_backend") {
        return;
    }
    for (backend, flush) in [
        (Backend::Nft, "nft flush ruleset"),
        (
            Backend::Iptables,
            "iptables -t nat -F; iptables -t nat -X; iptables -t mangle -F; iptables -F",
        ),
    ] {
        NamedNetns::new().run(|| {
            let all = "nft list ruleset; iptables-save | grep -v '^#'";
            let rules = rules_with(backend);
            assert_eq!(rules.ensure(&wanted()).unwrap(), Changed::Yes);
            let whole = shell(all);
            assert!(whole.contains("mesh-expose-mesh"), "{whole}");
            assert_eq!(rules.ensure(&wanted()).unwrap(), Changed::No);
            for damage in [
                flush,
                "iptables -P FORWARD DROP; iptables -I FORWARD -j REJECT",
            ] {
                shell(damage);
                assert_eq!(rules.ensure(&wanted()).unwrap(), Changed::Yes, "{damage}");
                assert_eq!(rules.ensure(&wanted()).unwrap(), Changed::No, "{damage}");
            }
            shell("iptables -P FORWARD ACCEPT; iptables -D FORWARD -j REJECT");
            // A wanted change, here for a further bridge, is no change by others.
            let mut more = wanted();
            more.unjoined.insert("br-more".to_owned());
            assert_eq!(rules.ensure(&more).unwrap(), Changed::No);
            assert!(shell(all).contains("br-more"));
            assert_eq!(rules.ensure(&wanted()).unwrap(), Changed::No);
            assert!(!shell(all).contains("br-more"));
            let again = rules_with(backend);
            assert_eq!(again.ensure(&wanted()).unwrap(), Changed::Yes);
            assert_eq!(
                shell(all).matches("asquerade").count(),
                whole.matches("asquerade").count()
            );
            assert_eq!(again.ensure(&Exposure::default()).unwrap(), Changed::Yes);
            assert!(!shell(all).contains("mesh-expose"), "{}", shell(all));
            assert_eq!(again.ensure(&Exposure::default()).unwrap(), Changed::No);
            again.ensure(&wanted()).unwrap();
            assert_eq!(rules.remove().unwrap(), Changed::Yes);
            assert_eq!(rules.remove().unwrap(), Changed::No);
            assert!(!shell(all).contains("mesh-expose"), "{}", shell(all));
        });
    }
}
