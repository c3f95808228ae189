//! `mesh report`: the report as untyped JSON, since a newer router may report more fields.

use serde_json::Value;

/// Lists that grow with the mesh.
const LONG: [&str; 6] = [
    "Connections",
    "Peers",
    "UnicastRoutes",
    "BroadcastRoutes",
    "MACs",
    "Entries",
];

fn long_lists(report: &mut Value) -> impl Iterator<Item = &mut Value> {
    let parts = report.as_object_mut().into_iter().flatten();
    let parts = parts.filter(|(name, _)| ["Router", "DNS"].contains(&name.as_str()));
    let members = parts.filter_map(|(_, part)| part.as_object_mut()).flatten();
    members.filter_map(|(name, list)| LONG.contains(&name.as_str()).then_some(list))
}

/// Keeps those entries of the long lists that contain a pattern in a text field; nested lists are not searched.
pub fn select(report: &mut Value, patterns: &[String]) {
    if patterns.is_empty() {
        return;
    }
    let patterns: Vec<String> = patterns.iter().map(|p| p.to_lowercase()).collect();
    let is_wanted = |row: &Value| {
        let members = row.as_object().into_iter().flatten();
        let mut texts = members.filter_map(|(_, value)| value.as_str().map(str::to_lowercase));
        texts.any(|text| patterns.iter().any(|p| text.contains(p)))
    };
    for list in long_lists(report).filter_map(Value::as_array_mut) {
        list.retain(is_wanted);
    }
}

/// Replaces each long list by its length.
pub fn summarize(report: &mut Value) {
    for list in long_lists(report) {
        if let Some(entries) = list.as_array() {
            *list = entries.len().into();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example() -> Value {
        json!({
            "Router": {"Name": "a", "Peers": [{"NickName": "Host7", "Links": ["x"]}, {"NickName": "host8"}]},
            "DNS": {"Entries": [{"Name": "web"}]},
            "Host": {"MACs": [1, 2]},
        })
    }

    #[test]
    fn rows_with_a_pattern_stay() {
        let mut report = example();
        select(&mut report, &[]);
        assert_eq!(report, example());
        select(&mut report, &["hOST7".to_owned()]);
        assert_eq!(
            report["Router"]["Peers"],
            json!([{"NickName": "Host7", "Links": ["x"]}])
        );
        assert_eq!(report["DNS"]["Entries"], json!([]));
        assert_eq!(report["Host"]["MACs"], json!([1, 2]));
        select(&mut report, &["x".to_owned()]);
        assert_eq!(
            report["Router"]["Peers"],
            json!([]),
            "nested lists are not searched"
        );
    }

    #[test]
    fn a_summary_has_lengths() {
        let mut report = example();
        summarize(&mut report);
        assert_eq!(report["Router"], json!({"Name": "a", "Peers": 2}));
        assert_eq!(report["DNS"], json!({"Entries": 1}));
        assert_eq!(report["Host"], example()["Host"]);
    }
}
