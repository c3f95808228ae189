//! Fields, lines and files of each type: what one type owns, and how far its methods are spread.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::ImplFact;
use super::resolve::ResolvedPath;
use super::{File, Finding, House};

/// A type that is larger than this in [`Shape::lines`] or [`Shape::files`] counts as a giant.
pub const GIANT: (usize, usize) = (700, 3);
/// The giants to take apart first.
pub const NAMED: [&str; 3] = ["Control", "Attachments", "Ipam"];
/// The fields that each of [`NAMED`] may have.
pub const FIELDS: usize = 12;

/// The size of one type with methods of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The name, without its path.
    pub name: String,
    /// The crate.
    pub package: String,
    /// The file of its definition.
    pub file: String,
    /// The line of its definition.
    pub line: usize,
    /// The fields of a struct; 0 for other types.
    pub fields: usize,
    /// Lines of code of all its impls.
    pub lines: usize,
    /// The files that its impls are in.
    pub files: usize,
}

impl Shape {
    /// Returns whether the type is larger than [`GIANT`].
    pub fn is_giant(&self) -> bool {
        self.lines > GIANT.0 || self.files > GIANT.1
    }
}

/// A type with all its impls.
pub(crate) struct TypeImpls<'a> {
    pub(crate) name: &'a str,
    file: &'a File,
    line: usize,
    fields: usize,
    pub(crate) impls: Vec<(&'a File, &'a ImplFact)>,
}

/// Returns each type of the workspace that has methods of its own, in order of crate and module.
pub(crate) fn wholes(house: &House) -> Vec<TypeImpls<'_>> {
    let mut found: BTreeMap<(usize, ResolvedPath), TypeImpls<'_>> = BTreeMap::new();
    for file in &house.files {
        for fact in &file.facts.types {
            let item = Some(fact.name.clone());
            let module = file.within(&fact.scope);
            let whole = TypeImpls {
                name: &fact.name,
                file,
                line: fact.line,
                fields: fact.fields,
                impls: Vec::new(),
            };
            found.insert((file.tree, ResolvedPath { module, item }), whole);
        }
    }
    for file in &house.files {
        for fact in &file.facts.impls {
            let tree = &house.trees[file.tree];
            let target = tree.resolve(&file.within(&fact.scope), &fact.of);
            let whole = target.and_then(|target| found.get_mut(&(file.tree, target)));
            if let Some(whole) = whole {
                whole.impls.push((file, fact));
            }
        }
    }
    let has_methods = |whole: &TypeImpls<'_>| whole.impls.iter().any(|(_, fact)| fact.is_inherent);
    found.into_values().filter(has_methods).collect()
}

/// Measures each type with methods of its own, the largest first.
pub fn shapes(house: &House) -> Vec<Shape> {
    let shape = |whole: TypeImpls<'_>| {
        let files: BTreeSet<&str> = whole.impls.iter().map(|(f, _)| f.path.as_str()).collect();
        let lines = whole
            .impls
            .iter()
            .map(|(file, fact)| file.facts.lines.count(&fact.lines));
        Shape {
            name: whole.name.to_owned(),
            package: house.crate_name(whole.file.tree).to_owned(),
            file: whole.file.path.clone(),
            line: whole.line,
            fields: whole.fields,
            lines: lines.sum(),
            files: files.len(),
        }
    };
    let mut shapes: Vec<Shape> = wholes(house).into_iter().map(shape).collect();
    shapes.sort_by(|a, b| b.lines.cmp(&a.lines).then_with(|| a.name.cmp(&b.name)));
    shapes
}

/// Returns the three largest types and the largest of each of [`NAMED`].
pub fn shown(shapes: &[Shape]) -> Vec<&Shape> {
    let named = |name: &&str| shapes.iter().position(|shape| shape.name == *name);
    let mut shown: BTreeSet<usize> = NAMED.iter().filter_map(named).collect();
    shown.extend(0..shapes.len().min(3));
    shown.into_iter().map(|at| &shapes[at]).collect()
}

/// Lists the giants, each with its impls by file.
pub fn giants(house: &House) -> Vec<Finding> {
    let shapes = shapes(house);
    let giants = shapes.iter().filter(|shape| shape.is_giant());
    let mut out: Vec<Finding> = Vec::new();
    let wholes = wholes(house);
    for shape in giants {
        out.push(Finding {
            file: shape.file.clone(),
            line: shape.line,
            what: format!(
                "{}: {} fields, {} lines in {} files",
                shape.name, shape.fields, shape.lines, shape.files
            ),
        });
        let mut same = wholes
            .iter()
            .filter(|w| w.file.path == shape.file && w.line == shape.line);
        let impls = same.next().map_or(&[][..], |whole| &whole.impls[..]);
        let parts = impls.iter().map(|(file, fact)| Finding {
            file: file.path.clone(),
            line: *fact.lines.start(),
            what: format!(
                "  {} lines of {}",
                file.facts.lines.count(&fact.lines),
                shape.name
            ),
        });
        out.extend(parts);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::house;
    use super::*;

    fn sample() -> House {
        house(&[
            ("proto/src/lib.rs", "mod a; mod b; struct Plain { x: u8 }"),
            (
                "proto/src/a.rs",
                "pub struct Part { a: u8, b: u8 }\n\
                 impl Part {\n// why\nfn new() {}\n}\n\
                 impl Default for Part {\nfn default() {}\n}\n\
                 impl Default for Plain {}\n\
                 #[cfg(test)]\nimpl Part {\nfn x() {}\n}",
            ),
            (
                "proto/src/b.rs",
                "use crate::a::Part as Whole;\nimpl Whole {\nfn b() {}\n}\nmod inner { pub struct Part; impl Part { fn c() {} } }",
            ),
        ])
    }

    #[test]
    fn impls_are_counted_over_files_by_the_type_they_are_of() {
        let shapes = shapes(&sample());
        let sizes: Vec<_> = shapes
            .iter()
            .map(|s| (s.file.as_str(), s.fields, s.lines, s.files))
            .collect();
        assert_eq!(
            sizes,
            [("proto/src/a.rs", 2, 9, 2), ("proto/src/b.rs", 0, 1, 1)]
        );
        assert!(
            shapes
                .iter()
                .all(|s| s.name == "Part" && s.package == "proto")
        );
    }

    #[test]
    fn a_giant_has_too_many_lines_or_files() {
        let mut shape = shapes(&sample()).remove(0);
        (shape.lines, shape.files) = GIANT;
        assert!(!shape.is_giant());
        shape.lines += 1;
        assert!(shape.is_giant());
        shape.lines = 1;
        shape.files += 1;
        assert!(shape.is_giant());
    }

    #[test]
    fn giants_are_listed_with_their_parts() {
        let text = format!(
            "pub struct Big;\nimpl Big {{\n{}}}",
            "fn a() {}\n".repeat(GIANT.0)
        );
        let found = giants(&house(&[("cli/src/main.rs", &text)]));
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "cli/src/main.rs:1: Big: 0 fields, 702 lines in 1 files",
                "cli/src/main.rs:2:   702 lines of Big",
            ]
        );
        assert!(giants(&sample()).is_empty());
    }

    #[test]
    fn the_named_are_shown_however_small() {
        let text = "struct Ipam; impl Ipam {}\n".to_owned()
            + &["A", "B", "C", "D"]
                .map(|n| format!("struct {n};\nimpl {n} {{\nfn a() {{}}\n}}\n"))
                .concat();
        let shapes = shapes(&house(&[("cli/src/main.rs", &text)]));
        let names: Vec<&str> = shown(&shapes)
            .iter()
            .map(|shape| shape.name.as_str())
            .collect();
        assert_eq!(names, ["A", "B", "C", "Ipam"]);
    }
}
