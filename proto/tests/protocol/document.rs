//! Parser of `docs/PROTOCOL.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

const DOCUMENT: &str = include_str!("../../../docs/PROTOCOL.md");
const DIGITS_PER_LINE: usize = 64;

/// Returns true if the text occurs in the document.
pub(crate) fn contains(text: &str) -> bool {
    DOCUMENT.contains(text)
}

/// Returns all examples of the document: name → hexadecimal digits.
pub(crate) fn vectors() -> BTreeMap<String, String> {
    let mut vectors = BTreeMap::new();
    let mut name = None;
    for line in DOCUMENT.lines() {
        if let Some(text) = line.strip_prefix("vector ") {
            let taken = vectors.insert(text.to_owned(), String::new());
            assert!(taken.is_none(), "two vectors called {text}");
            name = Some(text.to_owned());
        } else if line.starts_with("```") {
            name = None;
        } else if let Some(digits) = name.as_ref().and_then(|n| vectors.get_mut(n)) {
            digits.extend(line.chars().filter(|c| !c.is_whitespace()));
        }
    }
    vectors
}

/// Returns the value column of the table of limits, by name.
pub(crate) fn limits() -> BTreeMap<String, String> {
    let cells = |line: &'static str| -> Option<(String, String)> {
        let mut cells = line.strip_prefix("| `")?.split('`');
        let (name, _, value) = (cells.next()?, cells.next()?, cells.next()?);
        let constant = name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        constant.then(|| (name.to_owned(), value.to_owned()))
    };
    DOCUMENT.lines().filter_map(cells).collect()
}

/// Formats bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Formats an example as it is to be written in the document.
pub(crate) fn block(name: &str, bytes: &[u8]) -> String {
    let digits = hex(bytes);
    let lines: Vec<&str> = (0..digits.len())
        .step_by(DIGITS_PER_LINE)
        .map(|i| &digits[i..digits.len().min(i + DIGITS_PER_LINE)])
        .collect();
    format!("vector {name}\n{}\n\n", lines.join("\n"))
}
