//! Cycles between modules of one level: the top modules of a crate, and the siblings in each module below.
//!
//! A path in code or in a `use` is an arrow from the module that names it to the module that has the item, re-exports
//! followed. The arrow counts at the one level where the two modules part: between children of the last module that is
//! above both. A parent and its child are not of one level.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, House};

/// Modules of one level, each of which needs all the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// The crate.
    pub package: String,
    /// The module above them; empty for the top modules of a crate.
    pub above: Vec<String>,
    /// The modules, in order.
    pub modules: Vec<String>,
    /// One place for each arrow between them.
    pub arrows: Vec<Finding>,
}

impl Cycle {
    /// Returns whether the cycle is one of top modules.
    pub fn is_top(&self) -> bool {
        self.above.is_empty()
    }

    /// Returns the modules, with the crate and the module above them.
    pub fn text(&self) -> String {
        let above: String = self.above.iter().map(|name| format!("::{name}")).collect();
        format!("{}{above}: {}", self.package, self.modules.join(", "))
    }
}

/// The children of one module of a crate.
type Level = (usize, Vec<String>);
/// The first place where one module names another.
type Arrows = BTreeMap<(String, String), Finding>;

/// Returns the cycles of all levels, the top modules of each crate first.
pub fn cycles(house: &House) -> Vec<Cycle> {
    let mut out = Vec::new();
    for ((tree, above), arrows) in levels(house) {
        for modules in components(&arrows) {
            let is_inside =
                |(from, to): &&(String, String)| modules.contains(from) && modules.contains(to);
            let inside = arrows.keys().filter(is_inside);
            out.push(Cycle {
                package: house.crate_name(tree).to_owned(),
                above: above.clone(),
                arrows: inside.map(|arrow| arrows[arrow].clone()).collect(),
                modules,
            });
        }
    }
    out.sort_by_key(|cycle| !cycle.is_top());
    out
}

fn levels(house: &House) -> BTreeMap<Level, Arrows> {
    let mut levels: BTreeMap<Level, Arrows> = BTreeMap::new();
    for file in &house.files {
        let facts = &file.facts;
        let uses = facts.uses.iter().map(|u| (&u.scope, &u.path, u.line));
        let paths = facts.paths.iter().map(|p| (&p.scope, &p.path, p.line));
        for (scope, path, line) in uses.chain(paths) {
            let from = file.within(scope);
            let Some(target) = house.trees[file.tree].resolve(&from, path) else {
                continue;
            };
            let to = target.module;
            let both = from.iter().zip(&to);
            let common = both.take_while(|(a, b)| a == b).count();
            if let (Some(a), Some(b)) = (from.get(common), to.get(common)) {
                let level = (file.tree, from[..common].to_vec());
                let arrow = (a.clone(), b.clone());
                let place = || Finding {
                    file: file.path.clone(),
                    line,
                    what: format!("{a} -> {b}, by {}", path.join("::")),
                };
                let arrows = levels.entry(level).or_default();
                arrows.entry(arrow).or_insert_with(place);
            }
        }
    }
    levels
}

/// Returns the strongly connected components of more than one module.
fn components(arrows: &Arrows) -> Vec<Vec<String>> {
    let names: BTreeSet<&String> = arrows.keys().flat_map(|(from, to)| [from, to]).collect();
    let reach: BTreeMap<&String, BTreeSet<&String>> = names
        .iter()
        .map(|name| (*name, reachable(arrows, name)))
        .collect();
    let mut out: Vec<Vec<String>> = Vec::new();
    for name in names {
        if out.iter().any(|component| component.contains(name)) {
            continue;
        }
        let back = |other: &&&String| reach[**other].contains(name);
        let component: Vec<String> = reach[name]
            .iter()
            .filter(back)
            .map(|other| (*other).clone())
            .collect();
        if component.len() > 1 {
            out.push(component);
        }
    }
    out
}

fn reachable<'a>(arrows: &'a Arrows, from: &'a String) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut queue = vec![from];
    while let Some(name) = queue.pop() {
        for (_, to) in arrows.keys().filter(|(from, _)| from == name) {
            if found.insert(to) {
                queue.push(to);
            }
        }
    }
    found
}

/// Lists the arrows of each cycle.
pub fn listed(cycles: &[Cycle]) -> Vec<Finding> {
    let arrows = cycles.iter().flat_map(|cycle| {
        let text = cycle.text();
        cycle.arrows.iter().map(move |arrow| Finding {
            what: format!("[{text}] {}", arrow.what),
            ..arrow.clone()
        })
    });
    arrows.collect()
}

#[cfg(test)]
mod tests {
    use super::super::house;
    use super::*;

    fn texts(files: &[(&str, &str)]) -> Vec<String> {
        cycles(&house(files)).iter().map(Cycle::text).collect()
    }

    #[test]
    fn top_modules_and_siblings_are_told_apart() {
        let house = house(&[
            ("proto/src/lib.rs", "mod a; mod b; mod c;"),
            ("proto/src/a.rs", "mod x; mod y; pub struct A;"),
            (
                "proto/src/a/x.rs",
                "use super::y::Y; pub struct X; pub fn to_b() { crate::b::b() }",
            ),
            ("proto/src/a/y.rs", "pub struct Y(super::x::X);"),
            (
                "proto/src/b.rs",
                "use crate::a::A; use crate::c::C; pub fn b() {}",
            ),
            ("proto/src/c.rs", "pub struct C;"),
        ]);
        let found = cycles(&house);
        let texts: Vec<String> = found.iter().map(Cycle::text).collect();
        assert_eq!(texts, ["proto: a, b", "proto::a: x, y"]);
        assert!(found[0].is_top() && !found[1].is_top());
        let arrows: Vec<String> = listed(&found).iter().map(ToString::to_string).collect();
        assert_eq!(
            arrows[0],
            "proto/src/a/x.rs:1: [proto: a, b] a -> b, by crate::b::b"
        );
        assert_eq!(
            arrows[1],
            "proto/src/b.rs:1: [proto: a, b] b -> a, by crate::a::A"
        );
    }

    #[test]
    fn a_re_export_is_no_detour() {
        let found = texts(&[
            ("proto/src/lib.rs", "mod a; mod b; pub use a::A;"),
            ("proto/src/a.rs", "pub struct A(crate::b::B);"),
            ("proto/src/b.rs", "use crate::A; pub struct B;"),
        ]);
        assert_eq!(found, ["proto: a, b"]);
    }

    #[test]
    fn parents_tests_and_other_crates_make_no_cycle() {
        let found = texts(&[
            (
                "proto/src/lib.rs",
                "mod a; mod b; pub struct Root; use a::A;",
            ),
            (
                "proto/src/a.rs",
                "use crate::Root; use crate::b::B; pub struct A;",
            ),
            (
                "proto/src/b.rs",
                "pub struct B; use a::Z; #[cfg(test)] mod tests { use crate::a::A; }",
            ),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_circle_of_three_is_one_cycle() {
        let found = texts(&[
            ("proto/src/lib.rs", "mod a; mod b; mod c; mod d;"),
            ("proto/src/a.rs", "pub fn a() { crate::b::b() }"),
            ("proto/src/b.rs", "pub fn b() { assert!(crate::c::c()) }"),
            ("proto/src/c.rs", "pub fn c() { use crate::a; a::a() }"),
            ("proto/src/d.rs", "use crate::a::a;"),
        ]);
        assert_eq!(found, ["proto: a, b, c"]);
    }
}
