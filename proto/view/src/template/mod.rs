//! Go templates over JSON.

mod text;

use std::collections::{BTreeMap, HashMap};

use gtmpl::error::ExecError;
use gtmpl::{Context, FuncError, Template, Value};
use serde_json::Value as Json;

/// Objects that are maps rather than structs: a missing key is not an error.
const MAPS: [&str; 2] = ["Drops", "Counters"];
/// Longest error shown, in characters: the engine puts whole values into its messages.
const MAX_ERROR: usize = 200;
/// Longest list of field names shown, in characters.
const MAX_NAMES: usize = 600;

/// Reason why a template cannot be rendered, in one short line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// An action without its end.
    #[error("a {{{{ has no }}}}")]
    Open,
    /// A field that the value does not have. Carries the field and the names of those that there are.
    #[error("{0}")]
    Field(String),
    /// `range` over a value that has no elements.
    #[error("range wants a list or a map")]
    Range,
    /// Any other mistake, in the words of the template engine.
    #[error("{0}")]
    Engine(String),
}

/// Renders `format` with `data` as the dot. Functions beyond those of Go: `json VALUE`, `keys MAP`.
///
/// With some malformed templates the engine never ends, so a caller sets it a time limit.
///
/// # Errors
/// Fails if the template is malformed, or does not fit the data.
pub fn render(format: &str, data: &Json) -> Result<String, TemplateError> {
    let format = text::rewrite(format).ok_or(TemplateError::Open)?;
    let mut template = Template::default();
    template.add_func("json", json);
    template.add_func("keys", keys);
    template.add_func("text", text);
    template.parse(format).map_err(|e| short(&e.to_string()))?;
    let context = Context::from(to_value(data, false));
    template.render(&context).map_err(|error| match error {
        ExecError::NoFiledFor(field, value) => no_field(&field, &value),
        ExecError::InvalidRange(_) => TemplateError::Range,
        error => short(&error.to_string()),
    })
}

/// Returns the error about an unknown field, with the list of existing ones.
fn no_field(field: &str, value: &Value) -> TemplateError {
    let mut names: Vec<&str> = match value {
        Value::Object(fields) | Value::Map(fields) => fields.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    names.sort_unstable();
    let said = match names.as_slice() {
        [] => format!("no field {field} in a value without fields"),
        names => format!("no field {field}; there are {}", names.join(", ")),
    };
    TemplateError::Field(one_line(&said, MAX_NAMES))
}

/// Shortens an engine error to the part before the values, which are in Rust's notation.
fn short(message: &str) -> TemplateError {
    let values = ["{\"", "Object(", "Map(", "Array(", "[String(", "[Number("];
    let end = values.iter().filter_map(|v| message.find(v)).min();
    let text = message[..end.unwrap_or(message.len())].trim_end();
    let text = ["for", "in", "format"].iter().fold(text, |text, word| {
        text.strip_suffix(word).map_or(text, str::trim_end)
    });
    TemplateError::Engine(one_line(text, MAX_ERROR))
}

fn one_line(text: &str, length: usize) -> String {
    let text = text.replace('\n', " ");
    if text.chars().count() <= length {
        return text;
    }
    text.chars().take(length).chain(['…']).collect()
}

fn to_value(json: &Json, is_map: bool) -> Value {
    match json {
        Json::Null => Value::NoValue,
        Json::Bool(b) => Value::Bool(*b),
        Json::String(s) => Value::String(s.clone()),
        Json::Array(items) => Value::Array(items.iter().map(|i| to_value(i, false)).collect()),
        Json::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(n), _) => Value::from(n),
            (_, Some(n)) => Value::from(n),
            _ => Value::from(n.as_f64().unwrap_or_default()),
        },
        Json::Object(fields) => {
            let fields: HashMap<_, _> = fields
                .iter()
                .map(|(k, v)| (k.clone(), to_value(v, MAPS.contains(&k.as_str()))))
                .collect();
            if is_map {
                Value::Map(fields)
            } else {
                Value::Object(fields)
            }
        }
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::NoValue | Value::Nil | Value::Function(_) => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::String(s) => Json::String(s.clone()),
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Object(fields) | Value::Map(fields) => Json::Object(
            fields
                .iter()
                .map(|(k, v)| (k.clone(), to_json(v)))
                .collect(),
        ),
        Value::Number(n) => match (n.as_u64(), n.as_i64(), n.as_f64()) {
            (Some(n), _, _) => n.into(),
            (_, Some(n), _) => n.into(),
            (_, _, Some(n)) => n.into(),
            _ => Json::Null,
        },
    }
}

fn json(args: &[Value]) -> Result<Value, FuncError> {
    match args {
        [value] => Ok(Value::String(to_json(value).to_string())),
        _ => Err(FuncError::ExactlyXArgs("json".to_owned(), 1)),
    }
}

/// Prints the value of an action as Go does, where the engine would print it otherwise.
fn text(args: &[Value]) -> Result<Value, FuncError> {
    match args {
        [value] => Ok(Value::String(go_text(value))),
        _ => Err(FuncError::ExactlyXArgs("text".to_owned(), 1)),
    }
}

/// Formats a value as Go's `%v`: `[a b]`, `map[k:v]` with sorted keys.
fn go_text(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(go_text).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) | Value::Map(fields) => {
            let fields: BTreeMap<_, _> = fields.iter().collect();
            let fields: Vec<_> = fields
                .into_iter()
                .map(|(k, v)| format!("{k}:{}", go_text(v)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

/// Returns the sorted keys of a map: `range` over the map itself has no fixed order.
fn keys(args: &[Value]) -> Result<Value, FuncError> {
    let [Value::Object(fields) | Value::Map(fields)] = args else {
        return Err(FuncError::Generic("keys wants one map".to_owned()));
    };
    let mut keys: Vec<_> = fields.keys().cloned().collect();
    keys.sort();
    Ok(Value::Array(keys.into_iter().map(Value::String).collect()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use serde_json::json as data;

    /// Longest rendering; a test fails instead of hanging when the engine does not end.
    const DEADLINE: Duration = Duration::from_secs(5);

    fn rendered(format: &str) -> String {
        let data = data!({
            "Ready": true,
            "Router": {
                "Name": "7a:00:00:00:00:01", "Port": 6783, "Rtt": 0.25, "Retry": null, "None": [],
                "Targets": ["b", "a"],
                "Peers": [{"NickName": "h1", "Links": [1, 2]}, {"NickName": "h2", "Links": []}],
                "Counters": {"tx": 2, "rx": 1},
            },
        });
        let (sender, receiver) = channel();
        let format = format.to_owned();
        thread::spawn(move || sender.send(render(&format, &data)));
        match receiver.recv_timeout(DEADLINE) {
            Ok(Ok(text)) => text,
            Ok(Err(e)) => format!("error: {e}"),
            Err(e) => format!("error: it did not come to an end ({e})"),
        }
    }

    #[test]
    fn fields_and_functions() {
        for (format, expected) in [
            ("{{.Router.Name}}", "7a:00:00:00:00:01"),
            (
                "{{.Router.Port}} {{.Router.Rtt}} {{.Ready}}",
                "6783 0.25 true",
            ),
            ("{{len .Router.Peers}}", "2"),
            ("{{index .Router.Targets 1}}", "a"),
            ("{{(index .Router.Peers 0).NickName}}", "h1"),
            ("{{json .Router.Targets}}", r#"["b","a"]"#),
            (
                "{{.Router.Peers | json}}",
                r#"[{"Links":[1,2],"NickName":"h1"},{"Links":[],"NickName":"h2"}]"#,
            ),
            ("{{json .Router.Retry}}", "null"),
            (
                "{{printf \"%s-%d\" .Router.Name .Router.Port}}",
                "7a:00:00:00:00:01-6783",
            ),
            (
                "{{.Router.Counters.tx}} {{.Router.Counters.none}}",
                "2 <no value>",
            ),
            ("{{range keys .Router.Counters}}{{.}} {{end}}", "rx tx "),
        ] {
            assert_eq!(rendered(format), expected, "{format}");
        }
    }

    #[test]
    fn control_structures() {
        for (format, expected) in [
            (
                "{{range .Router.Peers}}{{.NickName}}={{len .Links}};{{end}}",
                "h1=2;h2=0;",
            ),
            (
                "{{range $i, $p := .Router.Peers}}{{$i}}{{$p.NickName}} {{end}}",
                "0h1 1h2 ",
            ),
            (
                "{{range .Router.Peers}}{{$.Router.Port}},{{end}}",
                "6783,6783,",
            ),
            ("{{if .Ready}}yes{{else}}no{{end}}", "yes"),
            ("{{if eq .Router.Port 6783}}std{{end}}", "std"),
            ("{{if gt (len .Router.Targets) 1}}many{{end}}", "many"),
            ("{{with .Router}}{{.Port}}{{end}}", "6783"),
            ("{{- range .Router.Targets -}} {{.}} {{- end -}}", "ba"),
            ("{{range .Router.Targets}}{{.}}{{else}}none{{end}}", "ba"),
            (
                "{{range $i, $t := .Router.Targets}}{{$i}}{{else}}none{{end}}",
                "01",
            ),
            (
                "{{.Router.Targets}} {{.Router.Counters}} {{.Router.None}}",
                "[b a] map[rx:1 tx:2] []",
            ),
            ("{{$n := .Router.Name}}{{$n}}", "7a:00:00:00:00:01"),
            ("{{range .Router.None}}x{{else}}none{{end}}", "none"),
        ] {
            assert_eq!(rendered(format), expected, "{format}");
        }
    }

    #[test]
    fn mistakes_are_told_in_one_short_line() {
        for format in [
            "{{.Nope}}",
            "{{",
            "{{end}}",
            "{{nope .}}",
            "{{range .Router.Port}}{{end}}",
            "{{index .Router.Targets 9}}",
            "{{index .Router 1}}",
            "{{printf \"%d\" .Router}}",
            "{{.Router.Nope.Deeper}}",
            "{{.Router.Name.Nope}}",
            "{{range .Router}}{{.Nope}}{{end}}",
            "{{.DNS.Domain}}",
        ] {
            let message = rendered(format);
            assert!(message.starts_with("error: "), "{format}: {message}");
            assert!(
                message.len() < 250 && !message.contains('\n'),
                "{format}: {message}"
            );
            for debris in ["String(", "Number(", "Object(", "{\""] {
                assert!(!message.contains(debris), "{format}: {message}");
            }
        }
        assert_eq!(
            rendered("{{.DNS.Domain}}"),
            "error: no field DNS; there are Ready, Router"
        );
    }

    #[test]
    fn a_template_cut_anywhere_does_no_harm() {
        let template = r#"{{- with $r := .Router}}{{range $i, $p := .Peers}}{{if eq $i 1}}{{printf "%s%5d%v" $p.NickName $i (len .Links)}}
            {{else}}{{json (index $.Router.Targets 0)}}{{end}}{{else}}none{{end}}{{len .Name | print}}{{end -}}"#;
        assert!(
            !rendered(template).starts_with("error"),
            "{}",
            rendered(template)
        );
        for at in 0..template.len() {
            let without = format!("{}{}", &template[..at], &template[at + 1..]);
            for cut in [&template[..at], &template[at..], &without] {
                let text = rendered(cut);
                assert!(!text.contains("come to an end"), "{cut}: {text}");
            }
        }
    }
}
