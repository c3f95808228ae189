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
    /// The fields of a struct; none for others.
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
    /// The name that it gives; none if it is a glob.
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
