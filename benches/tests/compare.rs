//! The side-by-side benchmark (`make bench`): unit tests of its report.

use std::path::Path;
use std::process::Command;

#[test]
fn the_harness_tests_itself() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("compare/selftest.py");
    let run = Command::new("python3")
        .arg("-B")
        .arg(&script)
        .output()
        .expect("python3 is installed (tests/testbed/install-deps.sh)");
    let report = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{report}");
    // Python reports success for a file without tests.
    assert!(!report.contains("Ran 0 tests"), "{report}");
}
