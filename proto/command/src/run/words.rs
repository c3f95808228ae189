//! Separation of the words of mesh and of the engine on the command line of `mesh run`. Flags of mesh may stand
//! anywhere before the image (or before `--`); all others, `-h` among them, are the engine's.
//!
//! A flag that both have is mesh's before the first address and the first engine flag, and the engine's after that. With
//! `--net` the value counts, too: what only an engine can mean is the engine's everywhere.

use std::ffi::OsString;

use clap::{Command, CommandFactory as _, ValueEnum as _};
use mesh_proto::address::AddressArg;

use crate::args::{Cli, RuntimeArg};
use crate::engine_args::takes_next_word;

/// Verb with the shared command line.
const RUN: &str = "run";
/// A flag of both: an engine for mesh, or an OCI runtime for the engine; the value decides.
const RUNTIME: &str = "runtime";
/// A flag of both: a network of the mesh, or one of the engine.
const NET: &str = "net";
/// Values of [`NET`] that are modes of an engine, as are all with a colon, an equals sign or a comma.
const MODES: [&str; 6] = ["bridge", "host", "none", "pasta", "private", "slirp4netns"];
/// Flags that the engines have as well.
const SHARED: [&str; 2] = ["timeout", NET];

/// Moves the words of mesh in the arguments of `run` to the front and puts `--` before all others, so that the parser
/// does not touch the engine's. Other verbs are left as they are.
pub(crate) fn sorted(args: Vec<OsString>) -> Vec<OsString> {
    let texts: Option<Vec<&str>> = args.iter().map(|arg| arg.to_str()).collect();
    // The parser reports arguments that are not UTF-8.
    let Some((texts, verb)) = texts.and_then(|t| verb_of(&t).map(|at| (t, at))) else {
        return args;
    };
    let command = Cli::command();
    let Some(run) = command.find_subcommand(RUN).filter(|_| texts[verb] == RUN) else {
        return args;
    };
    let (own, rest) = cut(&texts[verb + 1..], &OwnFlags::of(&command, run));
    let head = texts[..=verb].iter().copied().chain(own);
    let all = head.chain(["--"]).chain(rest);
    all.map(OsString::from).collect()
}

/// Returns the index of the verb, after `--socket` and the like.
fn verb_of(words: &[&str]) -> Option<usize> {
    let mut at = 1;
    loop {
        match *words.get(at)? {
            "--socket" => at += 2,
            word if word.starts_with('-') => at += 1,
            _ => return Some(at),
        }
    }
}

/// Long flags of `mesh run`, each with true if it takes a value.
struct OwnFlags(Vec<(String, bool)>);

impl OwnFlags {
    fn of(top: &Command, run: &Command) -> Self {
        let globals = top.get_arguments().filter(|arg| arg.is_global_set());
        let flags = run.get_arguments().chain(globals).filter_map(|arg| {
            let takes_value = arg.get_action().takes_values();
            Some((arg.get_long()?.to_owned(), takes_value))
        });
        Self(flags.collect())
    }

    /// Returns the number of words of the flag at the front of `line`, if it is one of these.
    fn words(&self, line: &[&str], is_front: bool) -> Option<usize> {
        let word = line.first()?.strip_prefix("--")?;
        let (name, inside) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let (_, takes_value) = self.0.iter().find(|(flag, _)| flag == name)?;
        let value = inside.or(line.get(1).copied());
        let is_ours = match name {
            RUNTIME => value.is_none_or(|v| RuntimeArg::from_str(v, false).is_ok()),
            NET => is_front && value.is_none_or(|v| !is_mode(v)),
            name => is_front || !SHARED.contains(&name),
        };
        let words = if *takes_value && inside.is_none() {
            2
        } else {
            1
        };
        is_ours.then_some(words.min(line.len()))
    }
}

/// Returns true if the value of `--net` is one that only an engine knows.
fn is_mode(value: &str) -> bool {
    MODES.contains(&value) || value.contains([':', '=', ','])
}

/// Splits the line into the words of mesh, and the addresses with the words of the engine.
fn cut<'a>(mut line: &[&'a str], flags: &OwnFlags) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut own, mut rest) = (Vec::new(), Vec::new());
    let mut has_flags = false;
    while let Some(word) = line.first() {
        if let Some(words) = flags.words(line, rest.is_empty()) {
            let (taken, left) = line.split_at(words);
            own.extend(taken);
            line = left;
            continue;
        }
        let is_address = !has_flags && AddressArg::looks_like(word);
        let is_flag = word.starts_with('-') && !matches!(*word, "-" | "--");
        if !is_address && !is_flag {
            // The image, or `--`.
            break;
        }
        has_flags |= is_flag;
        let words = if is_flag && takes_next_word(word) {
            2
        } else {
            1
        };
        let (taken, left) = line.split_at(words.min(line.len()));
        rest.extend(taken);
        line = left;
    }
    rest.extend(line);
    (own, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let words = line.split_whitespace().map(OsString::from).collect();
        let sorted = sorted(words);
        let texts: Vec<&str> = sorted.iter().filter_map(|word| word.to_str()).collect();
        texts.join(" ")
    }

    #[test]
    fn words_find_their_owner() {
        for (line, expected) in [
            ("run nginx", "run -- nginx"),
            (
                "run -h db.mesh.local --name db nginx -h",
                "run -- -h db.mesh.local --name db nginx -h",
            ),
            (
                "run 10.2.1.1/24 --runtime podman --name a u ls --json",
                "run --runtime podman -- 10.2.1.1/24 --name a u ls --json",
            ),
            (
                "run --runtime=podman 10.2.1.1/24 u",
                "run --runtime=podman -- 10.2.1.1/24 u",
            ),
            (
                "run --runtime nvidia --runtime docker --runtime=io.x.v2 u",
                "run --runtime docker -- --runtime nvidia --runtime=io.x.v2 u",
            ),
            ("run -d --runtime", "run --runtime -- -d"),
            (
                "run --name --json -e --help --json u",
                "run --json -- --name --json -e --help u",
            ),
            (
                "run --timeout 5 net:default --timeout 6 u",
                "run --timeout 5 -- net:default --timeout 6 u",
            ),
            (
                "run --net web 10.40.0.1 --name a --net back u",
                "run --net web -- 10.40.0.1 --name a --net back u",
            ),
            (
                "run --json --net=web --timeout 5 -d u",
                "run --json --net=web --timeout 5 -- -d u",
            ),
            (
                "run 10.2.1.1/24 --net back u",
                "run -- 10.2.1.1/24 --net back u",
            ),
            ("run -d --net=back u", "run -- -d --net=back u"),
            ("run --net none u", "run -- --net none u"),
            ("run --net=host u", "run -- --net=host u"),
            ("run --net container:x u", "run -- --net container:x u"),
            (
                "run --net bridge --net web u",
                "run -- --net bridge --net web u",
            ),
            ("run --network web u", "run -- --network web u"),
            ("run --net", "run --net --"),
            (
                "run --runtime process --net web 10.40.0.1 -- ls --net x",
                "run --runtime process --net web -- 10.40.0.1 -- ls --net x",
            ),
            (
                "run 10.2.1.1/24 --without-dns fd00::1/64 --no-multicast-route -ti u sh -c x",
                "run --without-dns --no-multicast-route -- 10.2.1.1/24 fd00::1/64 -ti u sh -c x",
            ),
            (
                "run u ip addr add 10.2.1.1/24",
                "run -- u ip addr add 10.2.1.1/24",
            ),
            (
                "run --runtime process 10.2.1.3/24 -- ls --json",
                "run --runtime process -- 10.2.1.3/24 -- ls --json",
            ),
            ("run -- --json", "run -- -- --json"),
            ("run --help", "run --help --"),
            ("run 10.2.1.1/24 -d --help", "run --help -- 10.2.1.1/24 -d"),
            (
                "run -v /a:/b -V --version u",
                "run -- -v /a:/b -V --version u",
            ),
            (
                "--socket /x run --socket=/y --name w u",
                "--socket /x run --socket=/y -- --name w u",
            ),
            ("--socket run ps", "--socket run ps"),
            ("attach --runtime podman c", "attach --runtime podman c"),
            ("help run", "help run"),
            ("run", "run --"),
        ] {
            let expected = format!("mesh {expected}");
            assert_eq!(shown(&format!("mesh {line}")), expected, "{line}");
        }
    }
}
