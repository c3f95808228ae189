//! `docs/OPERATING.md` explains each reason to drop a frame.

use mesh_proto::forward::DropReason;

const MANUAL: &str = include_str!("../../../docs/OPERATING.md");

#[test]
fn every_drop_reason_is_explained() {
    let rows = MANUAL.lines().filter(|line| line.starts_with("| `"));
    let explained: Vec<&str> = rows
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|names| names.split('`').skip(1).step_by(2))
        .collect();
    let missing: Vec<&str> = DropReason::ALL
        .iter()
        .map(|reason| reason.name())
        .filter(|name| !explained.contains(name))
        .collect();
    assert!(missing.is_empty(), "not in OPERATING.md: {missing:?}");
}
