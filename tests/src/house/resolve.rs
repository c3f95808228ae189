//! Paths, followed through imports and re-exports to the module that has the item.

use super::tree::{Module, Tree};

/// Longest chain of imports that is followed; a longer one is a cycle, or leads out of the crate.
const MAX_DEPTH: usize = 16;

/// The target of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResolvedPath {
    pub(crate) module: Vec<String>,
    /// The item in it; `None` for the module itself.
    pub(crate) item: Option<String>,
}

impl Tree {
    /// Returns the target of `path` as written in `module`; `None` if it is outside the crate.
    pub(crate) fn resolve(&self, module: &[String], path: &[String]) -> Option<ResolvedPath> {
        self.follow(module, path, MAX_DEPTH)
    }

    fn follow(&self, module: &[String], path: &[String], depth: usize) -> Option<ResolvedPath> {
        let depth = depth.checked_sub(1)?;
        let mut at = module.to_vec();
        let mut rest = path;
        let mut is_local = true;
        while let [first, others @ ..] = rest {
            match first.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => _ = at.pop()?,
                _ => break,
            }
            is_local = false;
            rest = others;
        }
        while let [name, others @ ..] = rest {
            let here = self.modules.get(&at)?;
            let child = [&at[..], std::slice::from_ref(name)].concat();
            if self.modules.contains_key(&child) {
                at = child;
            } else if here.items.contains(name) {
                let item = Some(name.clone());
                return Some(ResolvedPath { module: at, item });
            } else {
                match self.imported(here, &at, name, depth) {
                    Some(target) if target.item.is_none() => at = target.module,
                    Some(target) => return Some(target),
                    // From another crate, or from the language.
                    None if is_local => return None,
                    // Defined by a macro, for example.
                    None => {
                        let item = Some(name.clone());
                        return Some(ResolvedPath { module: at, item });
                    }
                }
            }
            is_local = false;
            rest = others;
        }
        Some(ResolvedPath {
            module: at,
            item: None,
        })
    }

    /// Returns the target of `name` by an import of the module `here` at `at`.
    fn imported(
        &self,
        here: &Module,
        at: &[String],
        name: &str,
        depth: usize,
    ) -> Option<ResolvedPath> {
        if let Some(path) = here.uses.get(name) {
            return self.follow(at, path, depth);
        }
        here.globs.iter().find_map(|glob| {
            let from = self.follow(at, glob, depth)?;
            let has_it =
                |module: &Module| module.items.contains(name) || module.uses.contains_key(name);
            let is_there =
                from.item.is_none() && self.modules.get(&from.module).is_some_and(has_it);
            let path = [name.to_owned()];
            is_there.then(|| self.follow(&from.module, &path, depth))?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{House, house};

    fn sample() -> House {
        house(&[
            (
                "proto/src/lib.rs",
                "mod a; mod b; mod c; pub use b::Thing; use std::fmt;",
            ),
            (
                "proto/src/a.rs",
                "use crate::b::{self, Thing as Other}; use crate::c::*; use serde;",
            ),
            (
                "proto/src/b.rs",
                "mod deep; pub use deep::Thing; pub use ring::Two; pub use bell::Two as ring;",
            ),
            ("proto/src/b/deep.rs", "pub struct Thing; impl Thing {}"),
            (
                "proto/src/c.rs",
                "pub use crate::b::Thing as Star; pub struct Own;",
            ),
        ])
    }

    fn resolve(module: &str, path: &str) -> Option<(String, Option<String>)> {
        let split = |text: &str| -> Vec<String> {
            let parts = text.split("::").filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        };
        let target = sample().trees[0].resolve(&split(module), &split(path))?;
        Some((target.module.join("::"), target.item))
    }

    fn thing() -> Option<(String, Option<String>)> {
        Some(("b::deep".to_owned(), Some("Thing".to_owned())))
    }

    #[test]
    fn re_exports_lead_to_where_the_item_is() {
        assert_eq!(resolve("a", "crate::b::Thing"), thing());
        assert_eq!(resolve("a", "crate::Thing::new"), thing());
        assert_eq!(resolve("a", "Other"), thing());
        assert_eq!(resolve("b::deep", "super::super::b::deep::Thing"), thing());
    }

    #[test]
    fn globs_are_followed() {
        assert_eq!(resolve("a", "Star"), thing());
        let own = Some(("c".to_owned(), Some("Own".to_owned())));
        assert_eq!(resolve("a", "Own"), own);
    }

    #[test]
    fn a_module_is_no_item() {
        assert_eq!(resolve("a", "b"), Some(("b".to_owned(), None)));
        assert_eq!(resolve("a", "b::deep"), Some(("b::deep".to_owned(), None)));
    }

    #[test]
    fn other_crates_and_circles_lead_nowhere() {
        assert_eq!(resolve("", "fmt::Display"), None);
        assert_eq!(resolve("a", "serde::Serialize"), None);
        assert_eq!(resolve("a", "Vec::new"), None);
        assert_eq!(resolve("b", "ring::Three"), None);
        assert_eq!(resolve("", "super::x"), None);
    }
}
