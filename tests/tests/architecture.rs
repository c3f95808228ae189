//! What `docs/ARCHITECTURE.md` says of crates and files, held against `cargo metadata` and the source tree.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use mesh_tests::house::cycles::{self, Cycle};
use mesh_tests::house::{House, calls, names, sizes, types, wording};

/// Crates that do I/O, read clocks or draw random numbers: none may be reached from `proto`.
const IMPURE: [&str; 14] = [
    "async-std",
    "chrono",
    "crossbeam-channel",
    "getrandom",
    "hyper",
    "mio",
    "nix",
    "parking_lot",
    "pcap",
    "rand",
    "rustix",
    "socket2",
    "time",
    "tokio",
];
/// Dependencies that are allowed between our own crates.
const ARROWS: [(&str, &[&str]); 19] = [
    ("mesh-proto", &[]),
    ("mesh-allocator", &["mesh-host", "mesh-ipam", "mesh-proto"]),
    (
        "mesh-command",
        &["mesh-names", "mesh-options", "mesh-proto"],
    ),
    (
        "mesh-dns",
        &["mesh-engine", "mesh-host", "mesh-names", "mesh-proto"],
    ),
    ("mesh-engine", &["mesh-host", "mesh-proto"]),
    ("mesh-host", &["mesh-names", "mesh-networks", "mesh-proto"]),
    ("mesh-ipam", &["mesh-proto"]),
    ("mesh-names", &["mesh-proto"]),
    ("mesh-networks", &["mesh-proto"]),
    ("mesh-options", &["mesh-ipam", "mesh-names", "mesh-proto"]),
    ("mesh-state", &["mesh-proto"]),
    ("mesh-view", &["mesh-proto"]),
    ("mesh-sys", &["mesh-proto"]),
    (
        "mesh-router",
        &[
            "mesh-allocator",
            "mesh-dns",
            "mesh-engine",
            "mesh-host",
            "mesh-ipam",
            "mesh-names",
            "mesh-networks",
            "mesh-options",
            "mesh-proto",
            "mesh-state",
            "mesh-sys",
        ],
    ),
    (
        "mesh-cli",
        &["mesh-command", "mesh-options", "mesh-proto", "mesh-view"],
    ),
    (
        "mesh-simulator",
        &["mesh-allocator", "mesh-ipam", "mesh-names", "mesh-proto"],
    ),
    (
        "mesh-tests",
        &[
            "mesh-allocator",
            "mesh-ipam",
            "mesh-names",
            "mesh-networks",
            "mesh-options",
            "mesh-proto",
            "mesh-sys",
            "mesh-router",
            "mesh-cli",
            "mesh-simulator",
        ],
    ),
    (
        "mesh-benches",
        &["mesh-proto", "mesh-sys", "mesh-router", "mesh-cli"],
    ),
    (
        "mesh-examples",
        &[
            "mesh-names",
            "mesh-proto",
            "mesh-sys",
            "mesh-router",
            "mesh-cli",
        ],
    ),
];
/// Sources of the pure crates.
const PURE: [&str; 12] = [
    "proto/src",
    "proto/allocator/src",
    "proto/command/src",
    "proto/dns/src",
    "proto/engine/src",
    "proto/host/src",
    "proto/ipam/src",
    "proto/names/src",
    "proto/networks/src",
    "proto/options/src",
    "proto/state/src",
    "proto/view/src",
];
/// Platform of the inspected crate graph; the project's own crates do not depend on it.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";
/// Lines of code a file may have before its tests.
const MAX_CODE: usize = 600;

// Today's figures of `mesh-house`. Each may only go down, the pure share only up: an improvement is written here.
/// Pure code of the product without router/sys, in per cent.
const MIN_PURE_PERCENT: usize = 70;
/// Fields, lines and files of the largest types.
const MAX_LARGEST: [(&str, usize, usize, usize); 3] = [
    ("Control", 2, 660, 2),
    ("Attachments", 9, 222, 1),
    ("Ipam", 9, 409, 2),
];
/// Lines of the impls of any type.
const MAX_TYPE_LINES: usize = 700;
/// Files with impls of any type.
const MAX_TYPE_FILES: usize = 3;
/// Types of too many lines or files.
const MAX_GIANTS: usize = 0;
/// Pairs of files that call each other within one type.
const MAX_MUTUAL_CALLERS: usize = 0;
/// Cycles between the top modules of a crate.
const MAX_TOP_CYCLES: usize = 0;
/// Cycles between the modules in a module.
const MAX_SIBLING_CYCLES: usize = 0;
/// Modules in cycles of either kind.
const MAX_MODULES_IN_CYCLES: usize = 0;
/// Files in one folder.
const MAX_FOLDER: usize = 12;
/// Names that stand for more than one type.
const MAX_REUSED_NAMES: usize = 2;
/// Doc comments that begin with a question, in per cent.
const MAX_QUESTION_PERCENT: usize = 0;
/// Places of words that plain English has others for.
const MAX_PRIVATE_WORDS: usize = 0;
/// Functions of more than [`sizes::FUNCTION`] lines.
const MAX_LONG_FUNCTIONS: usize = 1;
/// Files of more than [`sizes::FILE`] lines.
const MAX_LONG_FILES: usize = 0;

/// The sources, read once for all tests.
static HOUSE: LazyLock<House> =
    LazyLock::new(|| House::read(&root()).expect("the sources can be read"));

static METADATA: LazyLock<Metadata> = LazyLock::new(|| {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        // Without the other platforms, whose crates need not be there.
        .other_options(["--offline", "--locked", "--filter-platform", PLATFORM].map(str::to_owned))
        .exec()
        .expect("cargo tells about the workspace")
});

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("a workspace around this crate")
        .to_owned()
}

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines before the first test module that is in this file.
    fn code(&self) -> impl Iterator<Item = &str> {
        let tests = ["\nmod tests {", "\npub(crate) mod testing {"];
        let ends = tests.iter().filter_map(|start| self.text.find(start));
        let end = ends.min().unwrap_or(self.text.len());
        self.text[..end].lines()
    }

    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.contains("/tests/") || name.starts_with("test") || name.contains("_tests")
    }

    /// Lines that are neither empty nor comments.
    fn code_lines(&self) -> usize {
        let code = self.code().map(str::trim);
        code.filter(|line| !line.is_empty() && !line.starts_with("//"))
            .count()
    }
}

/// All Rust files below a directory of the workspace, in order.
fn sources(dir: &str) -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join(dir), &mut files);
    files.sort();
    let source = |path: PathBuf| Source {
        text: fs::read_to_string(&path).expect("a source file can be read"),
        path: path
            .strip_prefix(root())
            .unwrap_or(&path)
            .display()
            .to_string(),
    };
    files.into_iter().map(source).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn ours() -> BTreeMap<&'static str, &'static PackageId> {
    let packages = METADATA.workspace_packages();
    packages
        .into_iter()
        .map(|p| (p.name.as_str(), &p.id))
        .collect()
}

/// The packages that `package` depends on directly, tests and build scripts left out.
fn needs(package: &PackageId) -> Vec<&'static PackageId> {
    let resolve = METADATA.resolve.as_ref().expect("a resolved graph");
    let node = resolve.nodes.iter().find(|node| node.id == *package);
    let deps = node.map(|node| &node.deps[..]).unwrap_or_default();
    deps.iter()
        .filter(|dep| {
            dep.dep_kinds
                .iter()
                .any(|k| k.kind == DependencyKind::Normal)
        })
        .map(|dep| &dep.pkg)
        .collect()
}

/// True for ring's source of randomness; [`proto_names_nothing_of_std_that_does_io`] checks that it is not used.
fn is_unused(package: &PackageId, on: &PackageId) -> bool {
    METADATA[package].name.as_str() == "ring" && METADATA[on].name.as_str() == "getrandom"
}

#[test]
fn proto_reaches_nothing_that_does_io() {
    let mut reached = BTreeSet::new();
    // Not mesh-options and mesh-command: clap, by which they declare flags, reads the environment and the terminal's width.
    let pure = [
        "mesh-proto",
        "mesh-allocator",
        "mesh-dns",
        "mesh-engine",
        "mesh-host",
        "mesh-ipam",
        "mesh-names",
        "mesh-networks",
        "mesh-state",
        "mesh-view",
    ];
    let mut queue: Vec<_> = pure.iter().map(|name| ours()[name]).collect();
    while let Some(package) = queue.pop() {
        if reached.insert(package) {
            queue.extend(
                needs(package)
                    .into_iter()
                    .filter(|on| !is_unused(package, on)),
            );
        }
    }
    let names: BTreeSet<&str> = reached
        .iter()
        .map(|id| METADATA[*id].name.as_str())
        .collect();
    assert!(
        names.contains("chacha20poly1305"),
        "the graph was not followed"
    );
    let impure: Vec<_> = IMPURE.iter().filter(|name| names.contains(*name)).collect();
    assert!(impure.is_empty(), "pure crates depend on {impure:?}");
    let direct: Vec<&str> = needs(ours()["mesh-proto"])
        .iter()
        .map(|id| METADATA[*id].name.as_str())
        .collect();
    assert!(
        !direct.contains(&"libc"),
        "mesh-proto depends on libc itself"
    );
}

#[test]
fn proto_names_nothing_of_std_that_does_io() {
    const BANNED: [&str; 10] = [
        "std::fs",
        "std::thread",
        "std::process",
        "std::env",
        "std::io",
        "SystemTime",
        "std::time",
        "UdpSocket",
        "ring::rand",
        "SystemRandom",
    ];
    let pure = PURE.into_iter().flat_map(sources);
    for source in pure.filter(|s| !s.is_test()) {
        for line in source
            .code()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            let named = BANNED.iter().find(|name| line.contains(*name));
            assert!(named.is_none(), "{}: {line}", source.path);
        }
    }
}

#[test]
fn crates_use_one_another_along_the_arrows() {
    let ours = ours();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours.keys().copied().collect::<BTreeSet<_>>(), known);
    for (name, allowed) in ARROWS {
        for used in needs(ours[name]) {
            let used = METADATA[used].name.as_str();
            assert!(
                !known.contains(used) || allowed.contains(&used),
                "{name} uses {used}"
            );
        }
    }
}

#[test]
fn unsafe_is_in_sys_only() {
    let word = "unsafe";
    let mut inside = 0;
    for dir in ["proto", "router", "cli", "tests", "benches", "examples"] {
        for source in sources(dir)
            .iter()
            .filter(|s| !s.path.starts_with("tests/fuzz/"))
        {
            let code = source
                .text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let blocks = [
                format!("{word} {{"),
                format!("{word} fn"),
                format!("{word} impl"),
                format!("{word} extern"),
            ];
            let uses = code
                .filter(|line| blocks.iter().any(|b| line.contains(b)))
                .count();
            if source.path.starts_with("router/sys/") {
                inside += uses;
            } else {
                assert_eq!(uses, 0, "{}", source.path);
            }
        }
    }
    assert!(inside > 0, "the search finds nothing at all");
    for dir in PURE.into_iter().chain(["router/src"]) {
        let lib = format!("{dir}/lib.rs");
        let text = fs::read_to_string(root().join(&lib)).expect("a source file can be read");
        let forbids = format!("#![forbid({word}_code)]");
        assert!(text.contains(&forbids), "{lib}");
    }
}

#[test]
fn one_file_names_the_serializer() {
    let naming: Vec<String> = sources("proto")
        .into_iter()
        .filter(|source| source.text.lines().any(|line| line.contains("bincode::")))
        .map(|source| source.path)
        .collect();
    assert_eq!(naming, ["proto/src/wire/codec.rs"]);
}

#[test]
fn no_file_is_too_long() {
    for dir in ["proto", "router", "cli", "tests", "benches", "examples"] {
        for source in sources(dir).iter().filter(|s| !s.is_test()) {
            let lines = source.code_lines();
            assert!(
                lines <= MAX_CODE,
                "{} has {lines} lines of code",
                source.path
            );
        }
    }
}

/// Fails if a measure has risen above the most that it may be.
fn at_most(what: &str, now: usize, most: usize, measure: &str) {
    assert!(
        now <= most,
        "{what}: {now}, and {most} at most; `mesh-house --list {measure}` shows where"
    );
}

#[test]
fn most_of_the_code_is_pure() {
    let share = sizes::pure_share(&HOUSE);
    let percent = share.percent();
    assert!(
        percent >= MIN_PURE_PERCENT,
        "{percent} % of the code is pure ({share:?}), and {MIN_PURE_PERCENT} % at least"
    );
}

#[test]
fn no_type_grows() {
    let shapes = types::shapes(&HOUSE);
    for shape in &shapes {
        at_most(&shape.name, shape.lines, MAX_TYPE_LINES, "types");
        at_most(&shape.name, shape.files, MAX_TYPE_FILES, "types");
        let largest = MAX_LARGEST.iter().find(|(name, ..)| *name == shape.name);
        if let Some((name, fields, lines, files)) = largest {
            at_most(&format!("fields of {name}"), shape.fields, *fields, "types");
            at_most(&format!("lines of {name}"), shape.lines, *lines, "types");
            at_most(&format!("files of {name}"), shape.files, *files, "types");
        }
    }
    let giants = shapes.iter().filter(|shape| shape.is_giant()).count();
    at_most(
        "types of too many lines or files",
        giants,
        MAX_GIANTS,
        "types",
    );
}

#[test]
fn files_of_one_type_do_not_call_each_other() {
    let pairs = calls::mutual(&HOUSE).len();
    at_most("pairs of files", pairs, MAX_MUTUAL_CALLERS, "calls");
}

#[test]
fn modules_of_one_level_have_no_cycles() {
    let cycles = cycles::cycles(&HOUSE);
    let (top, siblings): (Vec<&Cycle>, Vec<&Cycle>) = cycles.iter().partition(|c| c.is_top());
    at_most("cycles of top modules", top.len(), MAX_TOP_CYCLES, "cycles");
    at_most(
        "cycles of siblings",
        siblings.len(),
        MAX_SIBLING_CYCLES,
        "cycles",
    );
    // Two cycles that become one are no progress.
    let modules = cycles.iter().map(|cycle| cycle.modules.len()).sum();
    at_most(
        "modules in cycles",
        modules,
        MAX_MODULES_IN_CYCLES,
        "cycles",
    );
}

#[test]
fn no_folder_gets_fuller() {
    let folders = sizes::folders(&HOUSE);
    let (folder, files) = &folders[0];
    at_most(&format!("files in {folder}"), *files, MAX_FOLDER, "folders");
}

#[test]
fn a_type_name_stands_for_one_type() {
    let reused = names::names(&HOUSE).reused().len();
    at_most(
        "names of more than one type",
        reused,
        MAX_REUSED_NAMES,
        "names",
    );
}

#[test]
fn doc_comments_are_sentences() {
    let percent = wording::docs(&HOUSE).percent();
    at_most(
        "per cent that begin with a question",
        percent,
        MAX_QUESTION_PERCENT,
        "docs",
    );
}

#[test]
fn words_are_those_of_plain_english() {
    let words = wording::private_words(&HOUSE).len();
    at_most(
        "words of a private language",
        words,
        MAX_PRIVATE_WORDS,
        "words",
    );
}

#[test]
fn functions_and_files_are_short() {
    let functions = sizes::long_functions(&HOUSE).len();
    at_most("long functions", functions, MAX_LONG_FUNCTIONS, "functions");
    let files = sizes::long_files(&HOUSE).len();
    at_most("long files", files, MAX_LONG_FILES, "files");
}

#[test]
fn every_limit_is_used() {
    let limits =
        fs::read_to_string(root().join("proto/src/limits.rs")).expect("the limits can be read");
    let names: Vec<&str> = limits
        .lines()
        .filter_map(|line| line.strip_prefix("pub const "))
        .filter_map(|rest| rest.split(':').next())
        .collect();
    assert!(names.len() > 50, "{}", names.len());
    let code: Vec<Source> = PURE
        .into_iter()
        .chain(["router", "cli/src"])
        .flat_map(sources)
        .filter(|source| !source.path.ends_with("/limits.rs") && !source.is_test())
        .collect();
    let lines = code.iter().flat_map(Source::code);
    let used: HashSet<&str> = lines.flat_map(words).collect();
    let unused: Vec<_> = names.iter().filter(|name| !used.contains(*name)).collect();
    assert!(unused.is_empty(), "limits that nothing keeps: {unused:?}");
}

/// The words of a line; none of a comment.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let is_comment = line.trim_start().starts_with("//");
    let text = if is_comment { "" } else { line };
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}
