//! Replays the corpus of every fuzz target, then runs a seeded mutator for a bounded number of inputs.
//!
//! `MESH_FUZZ_SEED` selects another run, `MESH_FUZZ_FACTOR` a longer one. A failing input is written to a file, whose
//! name is printed; add it to `tests/fuzz/corpus/<target>/` as `crash-…` with the fix.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use mesh_tests::fuzz::{FuzzTarget, Mutator, TARGETS, by_name};

/// Limits on the committed corpus.
const MAX_FILES: usize = 40;
const MAX_FILE: usize = 3 * 1024;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn try_run(target: &FuzzTarget, input: &[u8]) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|panic| text_of(&*panic))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a text")
        .to_owned()
}

fn fuzz(name: &str) {
    let target = by_name(name).expect("a target of that name");
    let corpus = target.corpus().expect("the corpus can be read");
    assert!(
        !corpus.is_empty(),
        "no corpus: cargo run -p mesh-tests --bin mesh-corpus"
    );
    for (path, input) in &corpus {
        if let Err(why) = try_run(target, input) {
            panic!("{name}: {} fails: {why}", path.display());
        }
    }
    let corpus: Vec<Vec<u8>> = corpus.into_iter().map(|(_, input)| input).collect();
    let seed = number("MESH_FUZZ_SEED", 1);
    let runs = u64::from(target.iterations) * number("MESH_FUZZ_FACTOR", 1);
    let mut mutator = Mutator::new(seed);
    for n in 0..runs {
        let input = mutator.next(&corpus);
        if let Err(why) = try_run(target, &input) {
            let path = keep(target, seed, n, &input);
            panic!(
                "{name}: seed {seed}, input {n} fails: {why}; it is in {}",
                path.display()
            );
        }
    }
}

fn keep(target: &FuzzTarget, seed: u64, n: u64, input: &[u8]) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    let path = dir.join(format!("crash-{}-{seed}-{n}", target.name));
    let written = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&path, input));
    written.expect("the input can be kept");
    path
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            fuzz(stringify!($name));
        })*

        #[test]
        fn no_target_is_left_out() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(TARGETS.iter().map(|t| t.name).collect::<Vec<_>>(), tested);
        }
    };
}

tests! {
    datagram frame resolution fit fragment offload ingress egress session link_hello link link_message record unicast topology
    probe names networks text config state journal ipam spaces api control
}

#[test]
fn the_corpus_is_small() {
    for target in TARGETS {
        let files = target.corpus().expect("the corpus can be read");
        assert!(
            files.len() <= MAX_FILES,
            "{}: {} files",
            target.name,
            files.len()
        );
        for (path, bytes) in files {
            assert!(
                bytes.len() <= MAX_FILE,
                "{}: {} bytes",
                path.display(),
                bytes.len()
            );
        }
    }
}
