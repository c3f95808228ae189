//! Type names that stand for more than one type: a reader must know which is meant.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, House};

/// The names of all types.
#[derive(Debug, Default)]
pub struct TypeNames {
    /// The definitions behind each name.
    by_name: BTreeMap<String, Vec<Finding>>,
}

/// Collects the names of structs, enums, unions, traits and aliases over all crates.
pub fn names(house: &House) -> TypeNames {
    let mut names = TypeNames::default();
    let mut seen = BTreeSet::new();
    for file in &house.files {
        for fact in &file.facts.types {
            // Two definitions in one module are one type under two conditions.
            if seen.insert((file.tree, file.within(&fact.scope), &fact.name)) {
                let places = names.by_name.entry(fact.name.clone()).or_default();
                places.push(Finding {
                    file: file.path.clone(),
                    line: fact.line,
                    what: fact.name.clone(),
                });
            }
        }
    }
    names
}

impl TypeNames {
    /// Counts the names.
    pub fn total(&self) -> usize {
        self.by_name.len()
    }

    /// Returns the names that stand for more than one type, the most frequent first, with their definitions.
    pub fn reused(&self) -> Vec<(&str, &[Finding])> {
        let mut reused: Vec<(&str, &[Finding])> = self
            .by_name
            .iter()
            .filter(|(_, places)| places.len() > 1)
            .map(|(name, places)| (name.as_str(), &places[..]))
            .collect();
        reused.sort_by_key(|(_, places)| std::cmp::Reverse(places.len()));
        reused
    }

    /// Lists the definitions of each name that stands for more than one type.
    pub fn listed(&self) -> Vec<Finding> {
        let reused = self.reused().into_iter();
        reused.flat_map(|(_, places)| places.to_vec()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::house;
    use super::*;

    fn sample() -> TypeNames {
        names(&house(&[
            (
                "proto/src/lib.rs",
                "mod a;\nstruct Table;\ntrait Port {}\n#[cfg(unix)] type Two = u8;\n#[cfg(not(unix))] type Two = u16;",
            ),
            (
                "proto/src/a.rs",
                "enum Table {}\n#[cfg(test)] mod tests { struct Port; struct Probe; }",
            ),
            (
                "cli/src/main.rs",
                "type Table = u8;\nunion Port { a: u8 }\nstruct Own;",
            ),
        ]))
    }

    #[test]
    fn a_name_counts_once_however_often_it_is_used() {
        let names = sample();
        let reused: Vec<_> = names
            .reused()
            .iter()
            .map(|(name, places)| (*name, places.len()))
            .collect();
        assert_eq!(reused, [("Table", 3), ("Port", 2)]);
        assert_eq!(names.total(), 4);
    }

    #[test]
    fn the_list_says_where_each_is() {
        let lines: Vec<String> = sample().listed().iter().map(ToString::to_string).collect();
        assert_eq!(lines[0], "cli/src/main.rs:1: Table");
        assert_eq!(lines.len(), 5);
    }
}
