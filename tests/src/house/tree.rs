//! The tree of modules of one crate, from its root file along `mod` items, as the compiler finds them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use super::File;
use super::facts::{Facts, ModuleFact};

/// The modules of one library or program.
#[derive(Debug)]
pub(crate) struct Tree {
    name: String,
    pub(crate) modules: BTreeMap<Vec<String>, Module>,
}

/// The names in one module.
#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) items: BTreeSet<String>,
    /// Imports and re-exports: the path behind each name.
    pub(crate) uses: BTreeMap<String, Vec<String>>,
    pub(crate) globs: Vec<Vec<String>>,
}

/// Returns whether a path is the root file of a library or program in the workspace.
pub(crate) fn is_root(path: &str) -> bool {
    !path.starts_with(super::OUTSIDE)
        && (path.ends_with("/src/lib.rs")
            || path.ends_with("/src/main.rs")
            || directory(path).ends_with("/src/bin"))
}

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// Returns the crate's directory, with the program's name unless it is the library or the only program.
fn name_of(root: &str) -> String {
    let (package, file) = root.split_once("/src/").unwrap_or(("", root));
    match file {
        "lib.rs" => package.to_owned(),
        _ => format!("{package}/{}", file.trim_end_matches(".rs")),
    }
}

impl Tree {
    /// Follows the modules from the file `root`. Takes the facts of each file of the crate from `parsed` to `files`.
    ///
    /// # Errors
    /// Fails if a module has no file.
    pub(crate) fn grow(
        root: &str,
        index: usize,
        parsed: &mut BTreeMap<String, Facts>,
        files: &mut Vec<File>,
    ) -> Result<Self> {
        let mut tree = Self {
            name: name_of(root),
            modules: BTreeMap::new(),
        };
        let mut queue = vec![(root.to_owned(), Vec::new(), directory(root).to_owned())];
        while let Some((path, module, below)) = queue.pop() {
            let Some(facts) = parsed.remove(&path) else {
                bail!("{path}: no such file, or it is two modules");
            };
            tree.add(&module, &facts);
            for child in facts.modules.iter().filter(|child| !child.is_inline) {
                let file = file_of(child, &path, &below, parsed)?;
                let name = [&module[..], &child.scope, std::slice::from_ref(&child.name)].concat();
                let is_whole = file.ends_with("/mod.rs");
                let below = if is_whole {
                    directory(&file).to_owned()
                } else {
                    file.trim_end_matches(".rs").to_owned()
                };
                queue.push((file, name, below));
            }
            files.push(File {
                path,
                tree: index,
                module,
                facts,
            });
        }
        Ok(tree)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn add(&mut self, module: &[String], facts: &Facts) {
        let within = |scope: &[String]| [module, scope].concat();
        self.modules.entry(module.to_vec()).or_default();
        for child in facts.modules.iter().filter(|child| child.is_inline) {
            let path = [&within(&child.scope)[..], std::slice::from_ref(&child.name)].concat();
            self.modules.entry(path).or_default();
        }
        for (scope, name) in &facts.items {
            let module = self.modules.entry(within(scope)).or_default();
            module.items.insert(name.clone());
        }
        for import in &facts.uses {
            let module = self.modules.entry(within(&import.scope)).or_default();
            match &import.alias {
                Some(alias) => _ = module.uses.insert(alias.clone(), import.path.clone()),
                None => module.globs.push(import.path.clone()),
            }
        }
    }
}

/// Returns the file of a module that the file at `path` declares, its own modules being in the directory `below`.
fn file_of(
    child: &ModuleFact,
    path: &str,
    below: &str,
    parsed: &BTreeMap<String, Facts>,
) -> Result<String> {
    let name = &child.name;
    let inline: String = child.scope.iter().map(|name| format!("{name}/")).collect();
    let candidates = match &child.path {
        Some(given) => vec![format!("{}/{given}", directory(path))],
        None => vec![
            format!("{below}/{inline}{name}.rs"),
            format!("{below}/{inline}{name}/mod.rs"),
        ],
    };
    match candidates.into_iter().find(|c| parsed.contains_key(c)) {
        Some(file) => Ok(file),
        None => bail!("{path}: module {name} has no file"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::house;
    use super::*;

    #[test]
    fn modules_are_found_where_the_compiler_looks() {
        let house = house(&[
            (
                "proto/src/lib.rs",
                "mod a; mod b; mod c { mod d; } #[cfg(test)] mod gone;",
            ),
            ("proto/src/a.rs", "mod e; #[path = \"odd.rs\"] mod f;"),
            ("proto/src/a/e.rs", ""),
            ("proto/src/odd.rs", ""),
            ("proto/src/b/mod.rs", "mod g;"),
            ("proto/src/b/g.rs", ""),
            ("proto/src/c/d.rs", ""),
            ("proto/src/gone.rs", "mod missing;"),
        ]);
        let mut found: Vec<_> = house
            .files
            .iter()
            .map(|file| (file.module.join("::"), file.path.as_str()))
            .collect();
        found.sort();
        let expected = [
            ("", "proto/src/lib.rs"),
            ("a", "proto/src/a.rs"),
            ("a::e", "proto/src/a/e.rs"),
            ("a::f", "proto/src/odd.rs"),
            ("b", "proto/src/b/mod.rs"),
            ("b::g", "proto/src/b/g.rs"),
            ("c::d", "proto/src/c/d.rs"),
        ];
        assert_eq!(
            found,
            expected.map(|(module, path)| (module.to_owned(), path))
        );
    }

    #[test]
    fn each_program_is_a_tree_of_its_own() {
        let house = house(&[
            ("cli/src/main.rs", "mod a;"),
            ("cli/src/a.rs", ""),
            ("tests/src/lib.rs", ""),
            ("tests/src/bin/one.rs", ""),
            ("tests/fuzz/src/lib.rs", "not parsed"),
        ]);
        let names: Vec<&str> = house.trees.iter().map(Tree::name).collect();
        assert_eq!(names, ["cli/main", "tests/bin/one", "tests"]);
    }

    #[test]
    fn a_module_without_a_file_is_an_error() {
        let texts = [("proto/src/lib.rs".to_owned(), "mod a;".to_owned())];
        let error = super::super::House::of(texts.into())
            .err()
            .expect("no file");
        assert_eq!(error.to_string(), "proto/src/lib.rs: module a has no file");
    }
}
