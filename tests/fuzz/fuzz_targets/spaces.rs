#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mesh_tests::fuzz::{FuzzTarget, by_name};

static TARGET: LazyLock<&FuzzTarget> =
    LazyLock::new(|| by_name("spaces").expect("a target of that name"));

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
