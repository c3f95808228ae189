//! `mesh status dns`: names, and remarks about them.

use std::fmt::Write as _;

use mesh_proto::api::DnsReport;

/// Returns one line per name, address and container.
pub fn table(report: &DnsReport) -> String {
    let mut out = String::new();
    for entry in &report.entries {
        let address = entry.address.to_string();
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

    use super::*;

    #[test]
    fn remarks_are_about_what_is_missing() {
        let mut report = DnsReport {
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
        };
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
