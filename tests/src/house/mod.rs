//! Metrics of the source code: [`House`] is the workspace as parsed by `syn`, each measure is a function of it, and
//! [`table`] compares the measures with their goals.
//!
//! | module | subject |
//! |---|---|
//! | [`facts`] | data that the measures need of one file |
//! | [`reader`], [`syntax`], [`tokens`] | walk through its syntax |
//! | [`lines`] | lines of code |
//! | [`tree`] | modules of a crate, found as the compiler finds them |
//! | [`resolve`] | paths, followed through imports and re-exports |
//! | [`sizes`] | pure share, folders, functions and files |
//! | [`types`] | fields, lines and files of each type |
//! | [`calls`] | files of one type that call each other |
//! | [`cycles`] | cycles between modules of one level |
//! | [`names`] | type names that are used twice |
//! | [`wording`] | doc comments and words of a private language |
//! | [`table`] | rows, goals, text |
//!
//! Test modules count nowhere except in [`wording::private_words`].

pub mod calls;
pub mod cycles;
mod facts;
mod lines;
pub mod names;
mod reader;
mod resolve;
pub mod sizes;
mod syntax;
pub mod table;
mod tokens;
mod tree;
pub mod types;
pub mod wording;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};

use facts::Facts;
use tree::Tree;

/// Directories without sources of the project.
const FOREIGN: [&str; 3] = ["target", "corpus", "__pycache__"];
/// Crates outside the workspace.
const OUTSIDE: &str = "tests/fuzz/";

/// The sources of the workspace, parsed.
pub struct House {
    files: Vec<File>,
    trees: Vec<Tree>,
    /// All text by path, tests and documents included.
    texts: BTreeMap<String, String>,
}

/// One file of a crate, outside test modules.
pub(crate) struct File {
    pub(crate) path: String,
    /// The index of its crate in [`House::trees`].
    pub(crate) tree: usize,
    /// The path of its module in the crate.
    pub(crate) module: Vec<String>,
    pub(crate) facts: Facts,
}

/// One place that a measure counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The path, relative to the root of the workspace.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The reason it counts.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

impl File {
    /// Returns whether the file is part of a program that is shipped.
    pub(crate) fn is_product(&self) -> bool {
        ["proto/", "router/", "cli/"]
            .iter()
            .any(|dir| self.path.starts_with(dir))
    }

    /// Returns the module path of something in the inline modules `scope` of this file.
    pub(crate) fn within(&self, scope: &[String]) -> Vec<String> {
        [&self.module[..], scope].concat()
    }
}

impl House {
    /// Reads the workspace at `root`.
    ///
    /// # Errors
    /// Fails if a file cannot be read or parsed.
    pub fn read(root: &Path) -> Result<Self> {
        let mut texts = BTreeMap::new();
        collect(root, "", &mut texts)?;
        anyhow::ensure!(
            texts.keys().any(|path| tree::is_root(path)),
            "{}: no crate has its sources here",
            root.display()
        );
        Self::of(texts)
    }

    /// Parses `texts`, by path.
    ///
    /// # Errors
    /// Fails if a file of a crate cannot be parsed, or a module has no file.
    pub fn of(texts: BTreeMap<String, String>) -> Result<Self> {
        let in_crate = |path: &&String| {
            path.ends_with(".rs") && path.contains("src/") && !path.starts_with(OUTSIDE)
        };
        let paths: Vec<&String> = texts.keys().filter(in_crate).collect();
        let mut parsed = parse(&texts, &paths)?;
        let mut files = Vec::new();
        let mut trees = Vec::new();
        for root in paths.iter().filter(|path| tree::is_root(path)) {
            trees.push(Tree::grow(root, trees.len(), &mut parsed, &mut files)?);
        }
        Ok(Self {
            files,
            trees,
            texts,
        })
    }

    /// Returns the name of the crate that a tree belongs to: its directory, and which program if not the library.
    pub(crate) fn crate_name(&self, tree: usize) -> &str {
        self.trees[tree].name()
    }
}

/// Parses each file, on all CPUs.
fn parse(texts: &BTreeMap<String, String>, paths: &[&String]) -> Result<BTreeMap<String, Facts>> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let one = |path: &String| -> Result<(String, Facts)> {
        let facts = reader::read(&texts[path]).with_context(|| path.clone())?;
        Ok((path.clone(), facts))
    };
    thread::scope(|scope| {
        let begin = |worker| {
            let mine = paths.iter().skip(worker).step_by(workers);
            scope.spawn(move || mine.map(|path| one(path)).collect::<Result<Vec<_>>>())
        };
        let handles: Vec<_> = (0..workers).map(begin).collect();
        let mut out = BTreeMap::new();
        for handle in handles {
            out.extend(handle.join().expect("a parser does not panic")?);
        }
        Ok(out)
    })
}

/// Reads all text files below a directory that the measures need.
fn collect(dir: &Path, prefix: &str, texts: &mut BTreeMap<String, String>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    for entry in entries {
        let entry = entry.with_context(|| dir.display().to_string())?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && !FOREIGN.contains(&name.as_str()) {
                collect(&entry.path(), &format!("{path}/"), texts)?;
            }
        } else if path.ends_with(".rs") || wording::is_document(&path) {
            let text = fs::read_to_string(entry.path()).with_context(|| path.clone())?;
            texts.insert(path, text);
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) fn house(texts: &[(&str, &str)]) -> House {
    let texts = texts
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    House::of(texts.collect()).expect("these sources can be parsed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_file_and_line() {
        let texts = [("proto/src/lib.rs".to_owned(), "fn a() {}\nfn {".to_owned())];
        let error = House::of(texts.into()).err().expect("this is no Rust");
        let text = format!("{error:#}");
        assert!(text.starts_with("proto/src/lib.rs: line 2"), "{text}");
    }

    #[test]
    fn a_directory_without_crates_is_refused() {
        let empty = tempfile::tempdir().expect("a directory can be made");
        assert!(House::read(empty.path()).is_err());
    }

    #[test]
    fn a_workspace_is_read_without_its_build_products() {
        let root = tempfile::tempdir().expect("a directory can be made");
        for (path, text) in [
            ("proto/src/lib.rs", "mod a;"),
            ("proto/src/a.rs", "struct A;"),
            ("proto/target/b.rs", "not Rust at all"),
            ("README.md", "# A title"),
        ] {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().expect("a parent")).expect("a directory can be made");
            fs::write(file, text).expect("a file can be written");
        }
        let house = House::read(root.path()).expect("a workspace");
        let texts: Vec<&str> = house.texts.keys().map(String::as_str).collect();
        assert_eq!(texts, ["README.md", "proto/src/a.rs", "proto/src/lib.rs"]);
        assert_eq!(house.files.len(), 2);
    }
}
