//! Lines of code: neither blank nor comment nor part of a test.

use std::ops::RangeInclusive;

/// The lines of one file, each code or not.
#[derive(Debug, Default)]
pub(crate) struct CodeLines {
    code: Vec<bool>,
}

impl CodeLines {
    /// Classifies the lines of `text`; those in `tests` (from 1) are none of the code.
    pub(crate) fn of(text: &str, tests: &[RangeInclusive<usize>]) -> Self {
        let mut in_comment = false;
        let mut code: Vec<bool> = text
            .lines()
            .map(|line| is_code(line.trim(), &mut in_comment))
            .collect();
        for line in tests.iter().cloned().flatten() {
            if let Some(is_code) = code.get_mut(line.wrapping_sub(1)) {
                *is_code = false;
            }
        }
        Self { code }
    }

    /// Counts the lines of code in the file.
    pub(crate) fn total(&self) -> usize {
        self.code.iter().filter(|is_code| **is_code).count()
    }

    /// Counts the lines of code in a range of lines (from 1).
    pub(crate) fn count(&self, range: &RangeInclusive<usize>) -> usize {
        let numbered = (1..).zip(&self.code);
        numbered
            .filter(|(line, is_code)| range.contains(line) && **is_code)
            .count()
    }
}

/// Classifies one trimmed line and updates whether a block comment is open.
fn is_code(line: &str, in_comment: &mut bool) -> bool {
    if *in_comment {
        *in_comment = !line.contains("*/");
        return !*in_comment && !line.ends_with("*/");
    }
    if line.starts_with("/*") {
        *in_comment = !line.contains("*/");
        return !*in_comment && !line.ends_with("*/");
    }
    !line.is_empty() && !line.starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
//! Head.

/// Doc.
fn a() { // one
    /* a
    b */
    two();
}
fn test() {}
";

    #[test]
    fn blank_lines_comments_and_tests_do_not_count() {
        assert_eq!(CodeLines::of(TEXT, &[]).total(), 4);
        let lines = CodeLines::of(TEXT, &[9..=9, 40..=50]);
        assert_eq!(lines.total(), 3);
        assert_eq!(lines.count(&(4..=7)), 2);
        assert_eq!(lines.count(&(1..=3)), 0);
    }

    #[test]
    fn code_after_a_block_comment_counts() {
        assert_eq!(CodeLines::of("/* a */ one();\n/* b */\n", &[]).total(), 1);
        assert_eq!(CodeLines::of("/* a\n*/ one();\ntwo();", &[]).total(), 2);
    }
}
