//! `mesh status dns`: names, and remarks about them.

use std::fmt::Write as _;

use mesh_proto::api::DnsReport;

/// Returns one line per name, address and container; with their networks if there are names in others than `default`.
pub fn table(report: &DnsReport) -> String {
    let is_shown = report.entries.iter().any(|entry| !entry.network.is_empty());
    let mut out = String::new();
    for entry in &report.entries {
        let address = entry.address.to_string();
        if is_shown {
            let network = match entry.network.as_str() {
                "" => "default",
                network => network,
            };
            let _ = write!(out, "{network:<12} ");
        }
        let line = format!(
            "{:<12} {address:<15} {:<12} {}",
            entry.name, entry.container, entry.peer
        );
        let _ = writeln!(out, "{line}");
    }
    out
}

/// Returns the problems of the router with names, and notes on names that are not answered everywhere.
pub fn remarks(report: &DnsReport) -> Vec<String> {
    let mut remarks = report.problems.clone();
    if !report.enabled {
        remarks.push("this router answers no names (it runs with --no-dns)".to_owned());
    }
    if report.inside > 0 {
        let containers = plural(report.inside);
        remarks.push(format!(
            "queries are answered within {containers} of podman or --runtime process, too"
        ));
    }
    if report.hidden > 0 {
        let hidden = report.hidden;
        remarks.push(format!(
            "{hidden} names of routers out of reach are not answered"
        ));
    }
    if report.left_out > 0 {
        let left_out = report.left_out;
        remarks.push(format!(
            "{left_out} names of this host are not known elsewhere: it has too many"
        ));
    }
    remarks
}

fn plural(containers: usize) -> String {
    match containers {
        1 => "1 container".to_owned(),
        n => format!("{n} containers"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mesh_proto::api::DnsEntry;

    use super::*;

    #[test]
    fn networks_are_shown_once_there_are_others() {
        let entry = |network: &str| DnsEntry {
            network: network.to_owned(),
            name: "web".to_owned(),
            address: [10, 2, 1, 1].into(),
            container: "0123".to_owned(),
            peer: "p(host1)".to_owned(),
        };
        let shown = |networks: &[&str]| {
            let mut report = report();
            report.entries = networks.iter().map(|network| entry(network)).collect();
            table(&report)
        };
        let line = "web          10.2.1.1        0123         p(host1)\n";
        assert_eq!(shown(&[""]), line);
        let expected = format!("default      {line}blue         {line}");
        assert_eq!(shown(&["", "blue"]), expected);
        let json = serde_json::to_string(&entry("")).unwrap();
        assert!(json.starts_with(r#"{"Name":"web""#), "{json}");
    }

    fn report() -> DnsReport {
        DnsReport {
            enabled: true,
            domain: "mesh.local".to_owned(),
            ttl: 60,
            listen: Vec::new(),
            inside: 0,
            upstreams: Vec::new(),
            problems: Vec::new(),
            entries: Vec::new(),
            hidden: 0,
            left_out: 0,
            counters: BTreeMap::new(),
        }
    }

    #[test]
    fn remarks_are_about_what_is_missing() {
        let mut report = report();
        assert!(table(&report).is_empty() && remarks(&report).is_empty());
        report.problems = vec!["port 53 is taken".to_owned()];
        report.enabled = false;
        report.inside = 1;
        report.hidden = 2;
        report.left_out = 3;
        let expected = [
            "port 53 is taken",
            "this router answers no names (it runs with --no-dns)",
            "queries are answered within 1 container of podman or --runtime process, too",
            "2 names of routers out of reach are not answered",
            "3 names of this host are not known elsewhere: it has too many",
        ];
        assert_eq!(remarks(&report), expected);
    }
}
