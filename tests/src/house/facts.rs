//! The facts that the measures need of one file, as plain data: `syn`'s trees cannot be shared between threads.

use std::ops::RangeInclusive;

use super::lines::CodeLines;

/// The contents of one file, test modules and other test code left out.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) lines: CodeLines,
    pub(crate) modules: Vec<ModuleFact>,
    /// The items of each module by name, for the resolution of paths.
    pub(crate) items: Vec<(Scope, String)>,
    pub(crate) types: Vec<TypeFact>,
    pub(crate) impls: Vec<ImplFact>,
    pub(crate) functions: Vec<FunctionFact>,
    pub(crate) uses: Vec<UseFact>,
    /// Qualified paths in code: at least two segments.
    pub(crate) paths: Vec<PathFact>,
    pub(crate) docs: Vec<DocFact>,
}

/// The inline modules around something.
pub(crate) type Scope = Vec<String>;

#[derive(Debug)]
pub(crate) struct ModuleFact {
    pub(crate) scope: Scope,
    pub(crate) name: String,
    /// The value of its `#[path]`.
    pub(crate) path: Option<String>,
    pub(crate) is_inline: bool,
}

#[derive(Debug)]
pub(crate) struct TypeFact {
    pub(crate) scope: Scope,
    pub(crate) name: String,
    pub(crate) line: usize,
    /// The fields of a struct; 0 for other types.
    pub(crate) fields: usize,
}

#[derive(Debug)]
pub(crate) struct ImplFact {
    pub(crate) scope: Scope,
    /// The path of the type, without generics.
    pub(crate) of: Vec<String>,
    pub(crate) is_inherent: bool,
    pub(crate) lines: RangeInclusive<usize>,
    pub(crate) methods: Vec<String>,
    /// Methods called on `self`, with the line.
    pub(crate) calls: Vec<(String, usize)>,
}

#[derive(Debug)]
pub(crate) struct FunctionFact {
    pub(crate) name: String,
    pub(crate) lines: RangeInclusive<usize>,
}

#[derive(Debug)]
pub(crate) struct UseFact {
    pub(crate) scope: Scope,
    /// The name that it introduces; `None` for a glob.
    pub(crate) alias: Option<String>,
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

#[derive(Debug)]
pub(crate) struct PathFact {
    pub(crate) scope: Scope,
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

#[derive(Debug)]
pub(crate) struct DocFact {
    pub(crate) line: usize,
    /// The first line of text.
    pub(crate) text: String,
}

#[cfg(test)]
mod tests {
    use super::super::reader::read;
    use super::*;

    const TEXT: &str = r#"
use crate::wire::{self, Message as Wire, codec::*};

/// What it is.
///
/// More of it.
pub struct Thing {
    /// A field.
    a: u8,
    #[cfg(test)]
    b: u8,
}

impl Thing {
    fn one(&self) -> u8 {
        println!("{} {}", self.two(), wire::SIZE);
        self.a.max(self.three())
    }

    #[cfg(test)]
    fn four(&self) -> u8 {
        self.one()
    }
}

impl Default for Thing {
    fn default() -> Self {
        #[cfg(test)]
        return super::b::make();
        #[cfg(not(test))]
        super::a::make()
    }
}

mod inner {
    enum Inside {}
}
mod other;

#[cfg(any(test, feature = "testing"))]
mod testing;

#[cfg(test)]
mod tests {
    /// Nobody counts this.
    struct Probe;
}
"#;

    fn facts() -> Facts {
        read(TEXT).expect("this is Rust")
    }

    #[test]
    fn types_have_a_scope_and_fields_outside_tests() {
        let facts = facts();
        let types = facts.types.iter();
        let types: Vec<_> = types
            .map(|t| (t.scope.join("::"), t.name.as_str(), t.fields))
            .collect();
        assert_eq!(
            types,
            [
                (String::new(), "Thing", 1),
                ("inner".to_owned(), "Inside", 0)
            ]
        );
    }

    #[test]
    fn calls_on_self_are_found_in_macros_too() {
        let thing = &facts().impls[0];
        let calls: Vec<_> = thing
            .calls
            .iter()
            .map(|(name, line)| (name.as_str(), *line))
            .collect();
        assert_eq!(calls, [("two", 16), ("three", 17)]);
        assert_eq!(thing.methods, ["one"]);
        assert!(thing.is_inherent && !facts().impls[1].is_inherent);
    }

    #[test]
    fn uses_and_paths_are_flat() {
        let facts = facts();
        let uses: Vec<_> = facts
            .uses
            .iter()
            .map(|u| (u.alias.as_deref(), u.path.join("::")))
            .collect();
        assert_eq!(
            uses,
            [
                (Some("wire"), "crate::wire".to_owned()),
                (Some("Wire"), "crate::wire::Message".to_owned()),
                (None, "crate::wire::codec".to_owned()),
            ]
        );
        let paths: Vec<_> = facts.paths.iter().map(|p| p.path.join("::")).collect();
        assert_eq!(paths, ["wire::SIZE", "super::a::make"]);
    }

    #[test]
    fn a_doc_comment_is_one_however_long() {
        let facts = facts();
        let docs: Vec<_> = facts
            .docs
            .iter()
            .map(|d| (d.line, d.text.as_str()))
            .collect();
        assert_eq!(docs, [(4, "What it is."), (8, "A field.")]);
    }

    #[test]
    fn modules_of_tests_are_left_out_and_their_lines() {
        let facts = facts();
        let modules: Vec<_> = facts
            .modules
            .iter()
            .map(|m| (m.name.as_str(), m.is_inline))
            .collect();
        assert_eq!(modules, [("inner", true), ("other", false)]);
        assert_eq!(facts.lines.count(&(35..=60)), 4);
    }

    #[test]
    fn functions_end_with_their_brace() {
        let facts = facts();
        let functions: Vec<_> = facts
            .functions
            .iter()
            .map(|f| (f.name.as_str(), f.lines.clone()))
            .collect();
        assert_eq!(functions, [("one", 15..=18), ("default", 27..=32)]);
    }
}
