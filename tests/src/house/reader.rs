//! Walk through the syntax of one file, which collects its [`Facts`].

use std::ops::RangeInclusive;

use anyhow::{Result, anyhow};
use proc_macro2::{Span, TokenStream};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Item, Type, UseTree};

use super::facts::{
    DocFact, Facts, FunctionFact, ImplFact, ModuleFact, PathFact, Scope, TypeFact, UseFact,
};
use super::lines::CodeLines;
use super::syntax::{attributes_of, ident_of, is_test, segments, value_of};
use super::tokens::{self, Named};

/// Parses one file.
///
/// # Errors
/// Fails, with the line, if `text` is not Rust.
pub(crate) fn read(text: &str) -> Result<Facts> {
    let parsed = syn::parse_file(text).map_err(|e| anyhow!("line {}: {e}", line(e.span())));
    let mut reader = Reader::default();
    if let Ok(file) = &parsed {
        reader.visit_file(file);
    }
    // The parser keeps each text for its spans; the reader has turned them into lines.
    proc_macro2::extra::invalidate_current_thread_spans();
    parsed?;
    Ok(reader.finish(text))
}

/// Returns the line where a span begins.
fn line(span: Span) -> usize {
    span.start().line
}

/// The walk through one file.
#[derive(Default)]
struct Reader {
    facts: Facts,
    scope: Scope,
    /// The number of enclosing functions: their items belong to no module.
    depth: usize,
    /// The index of the enclosing impl.
    owner: Option<usize>,
    tests: Vec<RangeInclusive<usize>>,
    /// Lines of doc comments.
    doc_lines: Vec<(usize, String)>,
}

impl Reader {
    /// Returns the facts of a file whose text is `text`.
    fn finish(mut self, text: &str) -> Facts {
        self.facts.lines = CodeLines::of(text, &self.tests);
        self.facts.docs = self.docs();
        self.facts
    }

    /// Returns whether `attributes` make their node test code, and leaves out its lines if so.
    fn leave_out(&mut self, attributes: &[Attribute], span: impl Fn() -> Span) -> bool {
        let is_test = attributes.iter().any(is_test);
        if is_test {
            let span = span();
            self.tests.push(line(span)..=span.end().line);
        }
        is_test
    }

    fn add_item(&mut self, item: &Item) {
        let Some(ident) = ident_of(item) else { return };
        let name = ident.to_string();
        if self.depth == 0 {
            self.facts.items.push((self.scope.clone(), name.clone()));
        }
        let fields = match item {
            Item::Struct(item) => {
                let is_product = |field: &&syn::Field| !field.attrs.iter().any(is_test);
                item.fields.iter().filter(is_product).count()
            }
            Item::Enum(_) | Item::Trait(_) | Item::Type(_) | Item::Union(_) => 0,
            _ => return,
        };
        let line = line(ident.span());
        let scope = self.scope.clone();
        self.facts.types.push(TypeFact {
            scope,
            name,
            line,
            fields,
        });
    }

    fn add_function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let last = block.brace_token.span.close().end().line;
        self.facts.functions.push(FunctionFact {
            name: signature.ident.to_string(),
            lines: line(signature.fn_token.span)..=last,
        });
    }

    fn add_call(&mut self, method: String, line: usize) {
        if let Some(owner) = self.owner {
            self.facts.impls[owner].calls.push((method, line));
        }
    }

    fn add_path(&mut self, path: Vec<String>, line: usize) {
        if path.len() > 1 {
            let scope = self.scope.clone();
            self.facts.paths.push(PathFact { scope, path, line });
        }
    }

    fn add_use(&mut self, tree: &UseTree, prefix: &[String]) {
        let (alias, name) = match tree {
            UseTree::Path(inner) => {
                let prefix = [prefix, &[inner.ident.to_string()]].concat();
                return self.add_use(&inner.tree, &prefix);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_use(tree, prefix);
                }
                return;
            }
            UseTree::Name(name) => (Some(name.ident.to_string()), Some(&name.ident)),
            UseTree::Rename(name) => (Some(name.rename.to_string()), Some(&name.ident)),
            _ => (None, None),
        };
        let mut path = prefix.to_vec();
        path.extend(name.filter(|name| *name != "self").map(ToString::to_string));
        let is_self = alias.as_deref() == Some("self");
        let alias = if is_self { path.last().cloned() } else { alias };
        let line = line(tree.span());
        let scope = self.scope.clone();
        self.facts.uses.push(UseFact {
            scope,
            alias,
            path,
            line,
        });
    }

    /// Reads the arguments of a macro, which the parser leaves as tokens.
    fn read_tokens(&mut self, tokens: TokenStream) {
        for named in tokens::named(tokens) {
            let line = line(named.span);
            match named.what {
                Named::Path(path) => self.add_path(path, line),
                Named::MethodOfSelf(method) => self.add_call(method, line),
            }
        }
    }

    /// Joins lines of doc comments that follow one another.
    fn docs(&mut self) -> Vec<DocFact> {
        self.doc_lines.sort();
        let mut docs: Vec<DocFact> = Vec::new();
        let mut last = 0;
        for (line, text) in self.doc_lines.drain(..) {
            let text = text.trim().to_owned();
            match docs.last_mut() {
                Some(doc) if line == last + 1 => {
                    if doc.text.is_empty() {
                        doc.text = text;
                    }
                }
                _ => docs.push(DocFact { line, text }),
            }
            last = line;
        }
        docs
    }
}

/// Leaves out a node if it is test code, and visits it otherwise.
macro_rules! unless_test {
    ($($method:ident: $node:ty),* $(,)?) => {$(
        fn $method(&mut self, node: &'a $node) {
            if !self.leave_out(&node.attrs, || node.span()) {
                visit::$method(self, node);
            }
        }
    )*};
}

impl<'a> Visit<'a> for Reader {
    unless_test! {
        visit_field: syn::Field,
        visit_variant: syn::Variant,
        visit_field_value: syn::FieldValue,
        visit_arm: syn::Arm,
        visit_local: syn::Local,
        visit_expr_return: syn::ExprReturn,
        visit_expr_block: syn::ExprBlock,
        visit_expr_if: syn::ExprIf,
    }

    fn visit_item(&mut self, item: &'a Item) {
        if !self.leave_out(attributes_of(item), || item.span()) {
            self.add_item(item);
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        self.facts.modules.push(ModuleFact {
            scope: self.scope.clone(),
            name: item.ident.to_string(),
            path: item.attrs.iter().find_map(|a| value_of(a, "path")),
            is_inline: item.content.is_some(),
        });
        self.scope.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.scope.pop();
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        for attribute in &item.attrs {
            self.visit_attribute(attribute);
        }
        if item.leading_colon.is_none() {
            self.add_use(&item.tree, &[]);
        }
    }

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.add_function(&item.sig, &item.block);
        self.depth += 1;
        visit::visit_item_fn(self, item);
        self.depth -= 1;
    }

    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        let before = self.owner.take();
        if let Type::Path(of) = &*item.self_ty {
            self.owner = Some(self.facts.impls.len());
            self.facts.impls.push(ImplFact {
                scope: self.scope.clone(),
                of: segments(&of.path),
                is_inherent: item.trait_.is_none(),
                lines: line(item.impl_token.span)..=item.brace_token.span.close().end().line,
                methods: Vec::new(),
                calls: Vec::new(),
            });
        }
        visit::visit_item_impl(self, item);
        self.owner = before;
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        if self.leave_out(&item.attrs, || item.span()) {
            return;
        }
        self.add_function(&item.sig, &item.block);
        if let Some(owner) = self.owner {
            let method = item.sig.ident.to_string();
            self.facts.impls[owner].methods.push(method);
        }
        self.depth += 1;
        visit::visit_impl_item_fn(self, item);
        self.depth -= 1;
    }

    fn visit_trait_item_fn(&mut self, item: &'a syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add_function(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        if matches!(&*call.receiver, Expr::Path(this) if this.path.is_ident("self")) {
            self.add_call(call.method.to_string(), line(call.method.span()));
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.leading_colon.is_none() {
            let first = path.segments.first();
            self.add_path(segments(path), first.map_or(0, |s| line(s.ident.span())));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'a syn::Macro) {
        self.visit_path(&called.path);
        self.read_tokens(called.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'a Attribute) {
        if let Some(text) = value_of(attribute, "doc") {
            self.doc_lines
                .push((line(attribute.pound_token.span), text));
        }
    }
}
