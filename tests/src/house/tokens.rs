//! Names in the arguments of macros, which the parser leaves as tokens.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};

/// A name among tokens, with its position.
pub(crate) struct TokenPosition {
    pub(crate) what: Named,
    pub(crate) span: Span,
}

/// The kinds of names that the measures need.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A path, perhaps of one segment.
    Path(Vec<String>),
    /// A method that is called on `self`.
    MethodOfSelf(String),
}

/// Returns the names in `tokens` and the groups in it, in order.
pub(crate) fn named(tokens: TokenStream) -> Vec<TokenPosition> {
    let mut out = Vec::new();
    collect(tokens, &mut out);
    out
}

fn collect(tokens: TokenStream, out: &mut Vec<TokenPosition>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut path = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if let TokenTree::Ident(ident) = token {
            if !ends_in_colons(&tokens[..at]) {
                path.clear();
            }
            path.push(ident.to_string());
            if !begins_with_colon(&tokens[at + 1..]) {
                let what = Named::Path(std::mem::take(&mut path));
                let span = ident.span();
                out.push(TokenPosition { what, span });
            }
        }
        if let Some((method, span)) = method_of_self(&tokens[..=at]) {
            let what = Named::MethodOfSelf(method);
            out.push(TokenPosition { what, span });
        }
        if let TokenTree::Group(group) = token {
            collect(group.stream(), out);
        }
    }
}

fn ends_in_colons(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [.., TokenTree::Punct(a), TokenTree::Punct(b)] if a.as_char() == ':' && b.as_char() == ':')
}

fn begins_with_colon(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(p), ..] if p.as_char() == ':')
}

/// Returns the method if `tokens` end in `self.method(…)`.
fn method_of_self(tokens: &[TokenTree]) -> Option<(String, Span)> {
    let [
        ..,
        TokenTree::Ident(this),
        TokenTree::Punct(dot),
        TokenTree::Ident(method),
        TokenTree::Group(arguments),
    ] = tokens
    else {
        return None;
    };
    let is_call =
        *this == "self" && dot.as_char() == '.' && arguments.delimiter() == Delimiter::Parenthesis;
    is_call.then(|| (method.to_string(), method.span()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<Named> {
        let tokens: TokenStream = text.parse().expect("these are tokens");
        named(tokens).into_iter().map(|spot| spot.what).collect()
    }

    fn path(text: &str) -> Named {
        Named::Path(text.split("::").map(str::to_owned).collect())
    }

    #[test]
    fn paths_are_whole_and_apart() {
        assert_eq!(
            found("crate::a::B { c: d::e } f"),
            [path("crate::a::B"), path("d::e"), path("f")]
        );
    }

    #[test]
    fn only_calls_on_self_are_calls() {
        let calls = |text: &str| -> Vec<Named> {
            let is_call = |named: &Named| matches!(named, Named::MethodOfSelf(_));
            found(text).into_iter().filter(is_call).collect()
        };
        let one = || Named::MethodOfSelf("one".to_owned());
        assert_eq!(calls("self.one(), (x, self.one(y))"), [one(), one()]);
        assert!(calls("self.one, other.one(), self.a.one(), self.one[0]").is_empty());
    }
}
