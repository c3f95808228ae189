//! Sizes: the pure share of the product, files in a folder, long functions and files.

use std::collections::BTreeMap;

use super::{Finding, House};

/// Lines of code above which a function is long.
pub const FUNCTION: usize = 60;
/// Lines of code above which a file is long.
pub const FILE: usize = 400;
/// Pure code: no input or output, no clock, no thread.
const PURE: &str = "proto/";
/// System calls: neither pure nor a decision that could be.
const SYSTEM: &str = "router/sys/";

/// Lines of code of the product without its system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The lines of pure code.
    pub pure: usize,
    /// All lines.
    pub all: usize,
}

impl Share {
    /// Returns the pure share in per cent, rounded down.
    pub fn percent(self) -> usize {
        100 * self.pure / self.all.max(1)
    }
}

/// Measures the pure share.
pub fn pure_share(house: &House) -> Share {
    let mut share = Share { pure: 0, all: 0 };
    let files = house.files.iter().filter(|file| file.is_product());
    for file in files.filter(|file| !file.path.starts_with(SYSTEM)) {
        let lines = file.facts.lines.total();
        share.all += lines;
        if file.path.starts_with(PURE) {
            share.pure += lines;
        }
    }
    share
}

/// Lists the product's files that are not pure, the longest first.
pub fn impure(house: &House) -> Vec<Finding> {
    let files = house.files.iter().filter(|file| {
        file.is_product() && !file.path.starts_with(SYSTEM) && !file.path.starts_with(PURE)
    });
    let mut sizes: Vec<_> = files
        .map(|file| (file.facts.lines.total(), &file.path))
        .collect();
    sizes.sort_by_key(|(lines, _)| std::cmp::Reverse(*lines));
    sizes
        .into_iter()
        .map(|(lines, path)| finding(path, 1, format!("{lines} lines")))
        .collect()
}

/// Counts the files of the product in each folder, the fullest first.
pub fn folders(house: &House) -> Vec<(String, usize)> {
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    for file in house.files.iter().filter(|file| file.is_product()) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        *folders.entry(folder).or_default() += 1;
    }
    let mut folders: Vec<_> = folders
        .into_iter()
        .map(|(folder, files)| (folder.to_owned(), files))
        .collect();
    folders.sort_by_key(|(_, files)| std::cmp::Reverse(*files));
    folders
}

/// Lists the functions of more than [`FUNCTION`] lines, the longest first.
pub fn long_functions(house: &House) -> Vec<Finding> {
    let mut long = Vec::new();
    for file in &house.files {
        for function in &file.facts.functions {
            let lines = file.facts.lines.count(&function.lines);
            if lines > FUNCTION {
                let what = format!("{} has {lines} lines", function.name);
                long.push((lines, finding(&file.path, *function.lines.start(), what)));
            }
        }
    }
    longest_first(long)
}

/// Lists the files of more than [`FILE`] lines, the longest first.
pub fn long_files(house: &House) -> Vec<Finding> {
    let sizes = house.files.iter().map(|f| (f.facts.lines.total(), &f.path));
    let long = sizes
        .filter(|(lines, _)| *lines > FILE)
        .map(|(lines, path)| (lines, finding(path, 1, format!("{lines} lines"))));
    longest_first(long.collect())
}

fn longest_first(mut findings: Vec<(usize, Finding)>) -> Vec<Finding> {
    findings.sort_by_key(|(lines, _)| std::cmp::Reverse(*lines));
    findings.into_iter().map(|(_, finding)| finding).collect()
}

fn finding(file: &str, line: usize, what: String) -> Finding {
    Finding {
        file: file.to_owned(),
        line,
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::super::house;
    use super::*;

    fn functions(lines: usize) -> String {
        "fn a() {}\n".repeat(lines)
    }

    #[test]
    fn the_share_is_of_the_product_without_system_calls_and_tests() {
        let house = house(&[
            (
                "proto/src/lib.rs",
                "mod a;\n\n// no code\n#[cfg(test)] mod tests {\nfn a() {}\n}",
            ),
            ("proto/src/a.rs", &functions(2)),
            ("router/src/lib.rs", "fn a() {}"),
            ("router/sys/src/lib.rs", &functions(10)),
            ("cli/src/main.rs", &functions(3)),
            ("tests/src/lib.rs", &functions(10)),
        ]);
        let share = pure_share(&house);
        assert_eq!(share, Share { pure: 3, all: 7 });
        assert_eq!(share.percent(), 42);
        let listed: Vec<String> = impure(&house).iter().map(ToString::to_string).collect();
        assert_eq!(
            listed,
            ["cli/src/main.rs:1: 3 lines", "router/src/lib.rs:1: 1 lines"]
        );
    }

    #[test]
    fn a_folder_has_its_own_files_only() {
        let folders = folders(&house(&[
            ("proto/src/lib.rs", "mod a; mod b; #[cfg(test)] mod c;"),
            ("proto/src/a.rs", "mod d;"),
            ("proto/src/a/d.rs", ""),
            ("proto/src/b.rs", ""),
            ("proto/src/c.rs", ""),
        ]));
        let expected = [("proto/src", 3), ("proto/src/a", 1)];
        assert_eq!(
            folders,
            expected.map(|(folder, files)| (folder.to_owned(), files))
        );
    }

    #[test]
    fn a_function_is_long_by_its_code() {
        let of = |lines: usize| {
            let body = "one();\n\n// why\n".repeat(lines - 2);
            let text = format!("\nfn long() {{\n{body}}}");
            long_functions(&house(&[("cli/src/main.rs", &text)]))
        };
        assert!(of(FUNCTION).is_empty());
        let long: Vec<String> = of(FUNCTION + 1).iter().map(ToString::to_string).collect();
        assert_eq!(long, ["cli/src/main.rs:2: long has 61 lines"]);
    }

    #[test]
    fn a_file_is_long_by_its_code() {
        let of = |lines: usize| {
            let text = format!(
                "{}#[cfg(test)]\nmod tests {{\nfn a() {{}}\n}}",
                functions(lines)
            );
            long_files(&house(&[("cli/src/main.rs", &text)])).len()
        };
        assert_eq!((of(FILE), of(FILE + 1)), (0, 1));
    }
}
