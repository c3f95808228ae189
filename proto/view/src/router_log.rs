//! The end of the router's log, after a start that failed.

/// Lines that are shown.
const LINES: usize = 3;

/// Returns the last lines of the log, errors in preference to others.
pub fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let is_error = |l: &&&str| l.contains("ERROR") || l.to_lowercase().starts_with("error");
    let errors: Vec<&str> = lines.iter().filter(is_error).copied().collect();
    let chosen = if errors.is_empty() { lines } else { errors };
    chosen[chosen.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_before_other_lines() {
        assert_eq!(last_lines("a\n\nERROR b\nc\n"), "ERROR b");
        assert_eq!(last_lines("1\n2\n3\n4\n"), "2\n3\n4");
        assert_eq!(last_lines(""), "");
    }
}
