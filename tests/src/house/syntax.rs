//! Helpers that inspect the syntax of items.

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Expr, Item, Lit, Meta};

/// Returns whether an attribute makes test code: `#[test]`, `#[cfg(test)]` and `#[cfg(any(test, …))]`, but not
/// `#[cfg(not(test))]`.
pub(crate) fn is_test(attribute: &Attribute) -> bool {
    if attribute.path().is_ident("test") {
        return true;
    }
    match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => needs_test(list.tokens.clone()),
        _ => false,
    }
}

fn needs_test(tokens: TokenStream) -> bool {
    let mut negated = false;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if ident == "test" => return true,
            TokenTree::Ident(ident) => negated = ident == "not",
            TokenTree::Group(group) if !negated && needs_test(group.stream()) => return true,
            _ => {}
        }
    }
    false
}

/// Returns the names in a path, without generics.
pub(crate) fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|s| s.ident.to_string()).collect()
}

/// Returns the name that an item gives to what it defines.
pub(crate) fn ident_of(item: &Item) -> Option<&syn::Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}

/// Returns the attributes of an item.
pub(crate) fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Returns the value of an attribute `#[name = "value"]`.
pub(crate) fn value_of(attribute: &Attribute, name: &str) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident(name) => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_attribute<T>(text: &str, ask: impl Fn(&Attribute) -> T) -> T {
        let file = syn::parse_file(text).expect("this is Rust");
        ask(&attributes_of(&file.items[0])[0])
    }

    #[test]
    fn tests_are_told_from_the_rest() {
        let is_test =
            |attribute: &str| with_attribute(&format!("#[{attribute}] fn a() {{}}"), is_test);
        for yes in [
            "test",
            "cfg(test)",
            "cfg(any(unix, test))",
            "cfg(all(test, not(miri)))",
        ] {
            assert!(is_test(yes), "{yes}");
        }
        for no in [
            "inline",
            "cfg(not(test))",
            "cfg(feature = \"test\")",
            "cfg(any(not(test), unix))",
        ] {
            assert!(!is_test(no), "{no}");
        }
    }

    #[test]
    fn an_attribute_has_the_value_of_its_name_only() {
        let value = |name| with_attribute("#[path = \"a.rs\"] mod b;", |a| value_of(a, name));
        assert_eq!(value("path").as_deref(), Some("a.rs"));
        assert_eq!(value("doc"), None);
    }
}
