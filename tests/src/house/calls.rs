//! Files of one type that call each other: a type that is spread over files without parts of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::types::wholes;
use super::{Finding, House};

/// Two files that call each other's methods of one type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mutual {
    /// The type.
    pub of: String,
    /// The two files, in order.
    pub files: (String, String),
    /// One call from the first to the second, and one back.
    pub calls: (Finding, Finding),
}

/// Returns the pairs of files that call each other's methods on `self`, type by type.
pub fn mutual(house: &House) -> Vec<Mutual> {
    let mut out = Vec::new();
    for whole in wholes(house) {
        let mut homes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (file, fact) in whole.impls.iter().filter(|(_, fact)| fact.is_inherent) {
            for method in &fact.methods {
                homes.entry(method).or_default().insert(&file.path);
            }
        }
        let mut calls: BTreeMap<(&str, &str), Finding> = BTreeMap::new();
        for (file, fact) in &whole.impls {
            for (method, line) in &fact.calls {
                let targets = homes.get(method.as_str()).into_iter().flatten();
                for target in targets.filter(|target| **target != file.path) {
                    calls
                        .entry((&file.path, target))
                        .or_insert_with(|| Finding {
                            file: file.path.clone(),
                            line: *line,
                            what: format!("{} calls {method} in {target}", whole.name),
                        });
                }
            }
        }
        for ((from, to), there) in calls.iter().filter(|((from, to), _)| from < to) {
            if let Some(back) = calls.get(&(*to, *from)) {
                out.push(Mutual {
                    of: whole.name.to_owned(),
                    files: ((*from).to_owned(), (*to).to_owned()),
                    calls: (there.clone(), back.clone()),
                });
            }
        }
    }
    out
}

/// Counts the pairs by type, in descending order.
pub fn by_type(pairs: &[Mutual]) -> Vec<(&str, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for pair in pairs {
        *counts.entry(&pair.of).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// Lists one call there and one back of each pair.
pub fn listed(pairs: &[Mutual]) -> Vec<Finding> {
    let both = |pair: &Mutual| [pair.calls.0.clone(), pair.calls.1.clone()];
    pairs.iter().flat_map(both).collect()
}

#[cfg(test)]
mod tests {
    use super::super::house;
    use super::*;

    const ROOT: &str = "mod a; mod b; mod c; struct T; struct Other; impl T { fn root(&self) {} }";

    fn pairs(a: &str, b: &str, c: &str) -> Vec<Mutual> {
        let head = "use crate::T;\nuse crate::Other;\n";
        let [a, b, c] = [a, b, c].map(|text| format!("{head}{text}"));
        mutual(&house(&[
            ("proto/src/lib.rs", ROOT),
            ("proto/src/a.rs", &a),
            ("proto/src/b.rs", &b),
            ("proto/src/c.rs", &c),
        ]))
    }

    #[test]
    fn two_files_that_call_each_other_are_a_pair_once() {
        let found = pairs(
            "impl T { fn a(&self) { self.b(); self.b(); } }",
            "impl T { fn b(&self) {\nself.c(); vec![self.a()]; } }",
            "impl T { fn c(&self) { self.root(); } }",
        );
        assert_eq!(by_type(&found), [("T", 1)]);
        let lines: Vec<String> = listed(&found).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "proto/src/a.rs:3: T calls b in proto/src/b.rs",
                "proto/src/b.rs:4: T calls a in proto/src/a.rs",
            ]
        );
    }

    #[test]
    fn calls_on_others_and_of_others_are_no_pair() {
        let of_fields = pairs(
            "impl T { fn a(&self) { self.x.b(); } }",
            "impl T { fn b(&self) { self.a(); } }",
            "",
        );
        assert!(of_fields.is_empty(), "{of_fields:?}");
        let of_another_type = pairs(
            "impl T { fn a(&self) { self.b(); } }",
            "impl T { fn b(&self) {} } impl Other { fn c(&self) { self.a(); } }",
            "",
        );
        assert!(of_another_type.is_empty(), "{of_another_type:?}");
    }

    #[test]
    fn a_circle_of_three_has_no_pair() {
        let found = pairs(
            "impl T { fn a(&self) { self.b(); } }",
            "impl T { fn b(&self) { self.c(); } }",
            "impl T { fn c(&self) { self.a(); } }",
        );
        assert!(found.is_empty(), "{found:?}");
    }
}
