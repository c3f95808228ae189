//! Comparison of `docs/PROTOCOL.md` with the code: every example and every limit in the document must be what the
//! code produces.
//!
//! Examples are written as `vector <name>` and hexadecimal digits in a fenced block. If one is wrong, the test prints
//! the correct block.

#![allow(clippy::unwrap_used, reason = "all of it is a test")]

mod counters;
mod document;
mod limits;
mod link;
mod networks;
mod records;
mod routers;
mod session;

use std::collections::BTreeMap;

/// Examples by name.
type Vectors = BTreeMap<&'static str, Vec<u8>>;

#[test]
fn every_example_is_what_the_code_makes() {
    let mut made = Vectors::new();
    made.extend(records::identities());
    made.extend(records::secrets());
    made.extend(records::messages());
    made.extend(records::record());
    made.extend(networks::statement());
    made.extend(networks::keys());
    made.extend(link::handshake());
    made.extend(session::handshake_and_datagrams());
    made.extend(session::cookie());
    made.extend(session::probes());
    let written = document::vectors();
    let mut wrong = String::new();
    for (name, bytes) in &made {
        if written.get(*name) != Some(&document::hex(bytes)) {
            wrong += &document::block(name, bytes);
        }
    }
    assert!(
        wrong.is_empty(),
        "docs/PROTOCOL.md lacks or misstates:\n{wrong}"
    );
    let unknown: Vec<&String> = written
        .keys()
        .filter(|n| !made.contains_key(n.as_str()))
        .collect();
    assert!(unknown.is_empty(), "examples nobody checks: {unknown:?}");
}

#[test]
fn names_are_written_as_the_code_prints_them() {
    for router in [routers::a(), routers::b()] {
        let id = router.identity.id();
        assert!(document::contains(&id.to_string()), "{id}");
        let name = id.derived_name();
        assert!(document::contains(&name.to_string()), "{name}");
    }
}
