//! Suggestions for mistyped words: only close ones, and verbs after `help` as well.
//!
//! The parser compares by the Jaro distance, by which `--peer` is like `--cipher`, and `lauch` like `detach`.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Command, CommandFactory as _};

use crate::args::Cli;

/// Replaces the parser's suggestions by words that are close to the typed one.
pub(crate) fn revise(mut error: Error) -> Error {
    match error.kind() {
        ErrorKind::InvalidSubcommand => suggest_verbs(&mut error),
        ErrorKind::UnknownArgument => drop_far_argument(&mut error),
        _ => {}
    }
    error
}

fn suggest_verbs(error: &mut Error) {
    let Some(typed) = text_of(error, ContextKind::InvalidSubcommand) else {
        return;
    };
    let command = Cli::command();
    let parent = parent_of(error, &command);
    let names = parent.get_subcommands().map(Command::get_name);
    let mut close: Vec<String> = names
        .filter(|name| is_close(&typed, name))
        .map(ToOwned::to_owned)
        .collect();
    close.sort_by_key(|name| strsim::osa_distance(&typed, name));
    error.remove(ContextKind::SuggestedSubcommand);
    if !close.is_empty() {
        error.insert(
            ContextKind::SuggestedSubcommand,
            ContextValue::Strings(close),
        );
    }
}

/// Returns the command below which a verb is missing: `mesh`, or a verb with verbs of its own.
fn parent_of<'a>(error: &Error, command: &'a Command) -> &'a Command {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    };
    let mut words = usage.split_whitespace().skip_while(|word| *word != "mesh");
    let verb = words.nth(1).and_then(|verb| command.find_subcommand(verb));
    verb.unwrap_or(command)
}

fn drop_far_argument(error: &mut Error) {
    let typed = text_of(error, ContextKind::InvalidArg).unwrap_or_default();
    let suggested = text_of(error, ContextKind::SuggestedArg);
    let bare = |text: &str| {
        let name = text.trim_start_matches('-');
        name.split(['=', ' ']).next().unwrap_or_default().to_owned()
    };
    if suggested.is_some_and(|suggested| !is_close(&bare(&typed), &bare(&suggested))) {
        error.remove(ContextKind::SuggestedArg);
    }
}

fn text_of(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

/// True if the words differ by a typo or two, or `typed` is a prefix of `meant`.
fn is_close(typed: &str, meant: &str) -> bool {
    let slips = match typed.len() {
        0..=2 => 0,
        3..=4 => 1,
        _ => 2,
    };
    let begins = typed.len() >= 3 && meant.starts_with(typed);
    begins || strsim::osa_distance(typed, meant) <= slips
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn said(line: &str) -> String {
        let words = ["mesh"].into_iter().chain(line.split(' '));
        revise(Cli::try_parse_from(words).unwrap_err()).to_string()
    }

    #[test]
    fn verbs_are_suggested_also_after_help() {
        for line in ["lauch", "help lauch"] {
            let text = said(line);
            assert!(text.contains("'launch'"), "{text}");
            assert!(!text.contains("attach"), "{text}");
        }
        assert!(said("comp").contains("'completions'"));
        let text = said("network creat");
        assert!(text.contains("'create'"), "{text}");
        assert!(!said("creat").contains("'create'"));
        assert!(!said("frobnicate").contains("tip"));
    }

    #[test]
    fn arguments_that_are_something_else_are_not_suggested() {
        assert!(said("launch --mtuu 1").contains("'--mtu'"));
        assert!(said("launch --trusted 10.0.0.0/8").contains("'--trusted-subnets'"));
        let text = said("launch --pier host2");
        assert!(!text.contains("--cipher"), "{text}");
    }
}
