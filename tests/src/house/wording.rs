//! Wording: doc comments that begin with a question word, and words that only this project uses.

use std::collections::BTreeMap;

use super::{Finding, House};

/// First words of doc comments that ask a question instead of naming a thing.
const QUESTIONS: [&str; 5] = ["What", "Whether", "Who", "How", "Where"];
/// Words with plain alternatives, split in two: this file is searched, too.
const PRIVATE: [(&str, &str); 6] = [
    ("who", "ever"),
    ("who", "m"),
    ("an", "ew"),
    ("le", "st"),
    ("sel", "dom"),
    ("mean", "while"),
];

/// All doc comments, and those that begin with a question word.
#[derive(Debug)]
pub struct Docs {
    /// All doc comments outside tests.
    pub total: usize,
    /// Those that begin with What, Whether, Who, How or Where.
    pub questions: Vec<Finding>,
}

impl Docs {
    /// Returns the share of questions in per cent, rounded up.
    pub fn percent(&self) -> usize {
        (100 * self.questions.len()).div_ceil(self.total.max(1))
    }
}

/// Collects the doc comments of all crates.
pub fn docs(house: &House) -> Docs {
    let mut total = 0;
    let mut questions = Vec::new();
    for file in &house.files {
        total += file.facts.docs.len();
        for doc in &file.facts.docs {
            let first = doc.text.split(|c: char| !c.is_alphabetic()).next();
            if first.is_some_and(|first| QUESTIONS.contains(&first)) {
                questions.push(Finding {
                    file: file.path.clone(),
                    line: doc.line,
                    what: doc.text.clone(),
                });
            }
        }
    }
    Docs { total, questions }
}

/// Returns whether a file that is no source is searched for private words.
pub(crate) fn is_document(path: &str) -> bool {
    match path.split_once('/') {
        None => path.ends_with(".md"),
        Some(("docs", rest)) => rest.ends_with(".md"),
        Some((directory, _)) => ["packaging", "examples"].contains(&directory),
    }
}

/// Returns each occurrence of a private word in sources and documents, tests included. The word is the finding's
/// `what`.
pub fn private_words(house: &House) -> Vec<Finding> {
    let private: Vec<String> = PRIVATE.iter().map(|(a, b)| format!("{a}{b}")).collect();
    let mut out = Vec::new();
    for (path, text) in &house.texts {
        for (line, text) in (1..).zip(text.lines()) {
            for word in text.split(|c: char| !c.is_alphabetic()) {
                let found = private.iter().find(|p| p.eq_ignore_ascii_case(word));
                out.extend(found.map(|word| Finding {
                    file: path.clone(),
                    line,
                    what: word.clone(),
                }));
            }
        }
    }
    out
}

/// Counts the occurrences by word, in the order of the list.
pub fn by_word(findings: &[Finding]) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in findings {
        *counts.entry(&finding.what).or_default() += 1;
    }
    let words = PRIVATE.iter().map(|(a, b)| format!("{a}{b}"));
    words
        .map(|word| {
            let count = counts.get(word.as_str()).copied().unwrap_or(0);
            (word, count)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::house;
    use super::*;

    #[test]
    fn questions_are_counted_by_comment() {
        let docs = docs(&house(&[(
            "proto/src/lib.rs",
            "//! Whether it is.\n\n/// What\n/// Who\nstruct A {\n    /// Whatever.\n    a: u8,\n}\n\
             // How.\n/// Returns what.\nfn b() {}\n\
             #[cfg(test)]\nmod tests {\n    /// Where.\n    fn c() {}\n}",
        )]));
        assert_eq!(docs.total, 4);
        let lines: Vec<String> = docs.questions.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "proto/src/lib.rs:1: Whether it is.",
                "proto/src/lib.rs:3: What"
            ]
        );
        assert_eq!(docs.percent(), 50);
    }

    #[test]
    fn the_share_of_questions_is_rounded_up() {
        let question = Finding {
            file: String::new(),
            line: 1,
            what: String::new(),
        };
        let docs = |total| Docs {
            total,
            questions: vec![question.clone()],
        };
        assert_eq!(
            (docs(20).percent(), docs(19).percent(), docs(21).percent()),
            (5, 6, 5)
        );
    }

    #[test]
    fn words_are_found_whole_in_tests_and_documents() {
        let [a, b] = [PRIVATE[0], PRIVATE[2]].map(|(a, b)| format!("{a}{b}"));
        let upper = a.to_uppercase();
        let found = private_words(&house(&[
            (
                "proto/src/lib.rs",
                &format!("// {upper}, x{b}\nfn {b}_again() {{}}"),
            ),
            ("proto/tests/x.rs", &format!("fn a() {{}}\n// {a}\n")),
            ("docs/A.md", &format!("{a}'s {a}")),
        ]));
        let places: Vec<_> = found.iter().map(|f| (f.file.as_str(), f.line)).collect();
        assert_eq!(
            places,
            [
                ("docs/A.md", 1),
                ("docs/A.md", 1),
                ("proto/src/lib.rs", 1),
                ("proto/src/lib.rs", 2),
                ("proto/tests/x.rs", 2),
            ]
        );
        let counts: Vec<usize> = by_word(&found)
            .into_iter()
            .map(|(_, count)| count)
            .collect();
        assert_eq!(counts, [4, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn documents_are_those_that_a_user_reads() {
        for yes in [
            "README.md",
            "docs/A.md",
            "packaging/mesh.toml",
            "examples/weave/run.sh",
        ] {
            assert!(is_document(yes), "{yes}");
        }
        for no in [
            "Cargo.toml",
            "docs/A.svg",
            "proto/Cargo.toml",
            "tests/fuzz/README.md",
        ] {
            assert!(!is_document(no), "{no}");
        }
    }
}
