//! Rewriting of Go templates for a template engine that differs from Go.
//!
//! The engine runs the `else` of a `range` even after elements, and prints lists and maps in Rust's notation. So
//! `{{range P}}A{{else}}B{{end}}` becomes `{{if P}}{{range P}}A{{end}}{{else}}B{{end}}`, and `{{P}}` becomes
//! `{{P | text}}`.

/// Keywords of actions that print nothing themselves.
const KEYWORDS: [&str; 9] = [
    "if", "range", "with", "else", "end", "template", "define", "block", "/*",
];

/// Literal text, or an action in three parts: `{{- `, body, ` -}}`.
enum TemplatePart<'a> {
    Text(&'a str),
    Action {
        open: &'a str,
        body: &'a str,
        close: &'a str,
    },
}

/// An open block: its start in the output, and the place of its `else`.
struct Block {
    begin: usize,
    pipeline: Option<String>,
    otherwise: Option<usize>,
}

/// Returns the rewritten template; `None` if a `{{` has no `}}`, with which the engine never ends. Other errors remain
/// in the output, for the engine to report.
pub(crate) fn rewrite(template: &str) -> Option<String> {
    let mut out: Vec<String> = Vec::new();
    let mut blocks: Vec<Block> = Vec::new();
    for piece in pieces(template)? {
        let (open, body, close) = match piece {
            TemplatePart::Text(text) => {
                out.push(text.to_owned());
                continue;
            }
            TemplatePart::Action { open, body, close } => (open, body, close),
        };
        let begin = out.len();
        let mut text = format!("{open}{body}{close}");
        match first_word(body) {
            word @ ("if" | "with" | "range" | "define" | "block") => blocks.push(Block {
                begin,
                pipeline: (word == "range").then(|| pipeline(body).to_owned()),
                otherwise: None,
            }),
            "else" => {
                if let Some(Block {
                    pipeline: Some(_),
                    otherwise,
                    ..
                }) = blocks.last_mut()
                {
                    *otherwise = Some(begin);
                    text = format!("{open}end}}}}{{{{else{close}");
                }
            }
            "end" => {
                if let Some(Block {
                    begin,
                    pipeline: Some(pipeline),
                    otherwise: Some(_),
                }) = blocks.pop()
                {
                    out[begin] = guarded(&out[begin], &pipeline);
                }
            }
            _ if prints(body) => text = format!("{open}{} | text{close}", body.trim_end()),
            _ => {}
        }
        out.push(text);
    }
    Some(out.concat())
}

/// Puts an `if` around a `range`; the `if` takes over the left trim marker.
fn guarded(range: &str, pipeline: &str) -> String {
    match range.strip_prefix("{{- ") {
        Some(rest) => format!("{{{{- if {pipeline}}}}}{{{{{rest}"),
        None => format!("{{{{if {pipeline}}}}}{range}"),
    }
}

fn pieces(mut template: &str) -> Option<Vec<TemplatePart<'_>>> {
    let mut pieces = Vec::new();
    while let Some(at) = template.find("{{") {
        let (text, rest) = template.split_at(at);
        let end = action_end(rest)?;
        pieces.push(TemplatePart::Text(text));
        let (action, rest) = rest.split_at(end);
        pieces.push(parts(action));
        template = rest;
    }
    pieces.push(TemplatePart::Text(template));
    Some(pieces)
}

/// Returns the end of the action at the start of `text`; `}}` in quotes and comments does not count.
fn action_end(text: &str) -> Option<usize> {
    let inner = text[2..].trim_start_matches('-').trim_start();
    if inner.starts_with("/*") {
        let comment = text.find("*/")?;
        return text[comment..].find("}}").map(|at| comment + at + 2);
    }
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(2) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(q) if c == '\\' && q != '`' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '`' | '\'') => quote = Some(c),
            None if text[at..].starts_with("}}") => return Some(at + 2),
            None => {}
        }
    }
    None
}

fn parts(action: &str) -> TemplatePart<'_> {
    let open = if action.starts_with("{{- ") { 4 } else { 2 };
    let close = if action.len() >= open + 4 && action.ends_with(" -}}") {
        4
    } else {
        2
    };
    let (open, rest) = action.split_at(open);
    let (body, close) = rest.split_at(rest.len() - close);
    TemplatePart::Action { open, body, close }
}

fn first_word(body: &str) -> &str {
    body.split_whitespace().next().unwrap_or_default()
}

/// Returns the pipeline of a `range`, without its variables.
fn pipeline(body: &str) -> &str {
    let rest = body.trim().strip_prefix("range").unwrap_or_default().trim();
    match rest.split_once(":=") {
        Some((variables, pipeline)) if variables.starts_with('$') => pipeline.trim(),
        _ => rest,
    }
}

fn prints(body: &str) -> bool {
    let word = first_word(body);
    let assigns = word.starts_with('$') && (body.contains(":=") || body.contains(" = "));
    !word.is_empty() && !word.starts_with("/*") && !KEYWORDS.contains(&word) && !assigns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewritten() {
        for (template, expected) in [
            ("plain } {", "plain } {"),
            ("a{{.B}}c", "a{{.B | text}}c"),
            ("{{- .B -}}", "{{- .B | text -}}"),
            ("{{$x := .B}}{{$x}}", "{{$x := .B}}{{$x | text}}"),
            ("{{/* }} */}}{{\"}}\"}}", "{{/* }} */}}{{\"}}\" | text}}"),
            (
                "{{range .A}}{{.}}{{end}}",
                "{{range .A}}{{. | text}}{{end}}",
            ),
            (
                "{{range .A}}x{{else}}y{{end}}",
                "{{if .A}}{{range .A}}x{{end}}{{else}}y{{end}}",
            ),
            (
                "{{- range $i, $e := .A -}}x{{- else -}}y{{end}}",
                "{{- if .A}}{{range $i, $e := .A -}}x{{- end}}{{else -}}y{{end}}",
            ),
            (
                "{{range .A}}{{if .B}}1{{else}}2{{end}}{{end}}",
                "{{range .A}}{{if .B}}1{{else}}2{{end}}{{end}}",
            ),
        ] {
            assert_eq!(rewrite(template).as_deref(), Some(expected), "{template}");
        }
    }

    #[test]
    fn malformed_templates_stay_malformed() {
        for template in [
            "{{}}", "{{-}}", "{{ -}}", "{{- -}}", "{{end}}", "{{else}}", "é{{é}}",
        ] {
            let rewritten = rewrite(template).unwrap();
            assert!(
                rewritten.starts_with(&template[..2]),
                "{template} {rewritten}"
            );
        }
    }

    #[test]
    fn open_actions_are_refused() {
        for template in [
            "{{",
            "x{{- with ",
            "{{\"}}",
            "{{/*",
            "{{/* */",
            "{{'é",
            "{{.A}}{{",
        ] {
            assert_eq!(rewrite(template), None, "{template}");
        }
    }
}
