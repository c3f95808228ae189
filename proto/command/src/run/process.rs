//! A command in its own network namespace, without an engine.

use crate::CommandError;

/// `[-d] [--name NAME] [--] command [argument…]`.
#[derive(Debug, PartialEq, Eq)]
pub struct CommandLine {
    detach: bool,
    name: String,
    words: Vec<String>,
}

impl CommandLine {
    /// Parses the words after the addresses.
    ///
    /// # Errors
    /// Fails for an unknown flag, or without a command.
    pub fn parse(rest: &[String]) -> Result<Self, CommandError> {
        let mut detach = false;
        let mut name = None;
        let mut rest = rest;
        loop {
            match rest {
                [flag, after @ ..] if flag == "-d" || flag == "--detach" => {
                    detach = true;
                    rest = after;
                }
                [flag, value, after @ ..] if flag == "--name" => {
                    name = Some(value.clone());
                    rest = after;
                }
                [flag, after @ ..] if flag == "--" => {
                    rest = after;
                    break;
                }
                [flag, ..] if flag.starts_with('-') => {
                    return Err(CommandError::NotOfProcess(flag.clone()));
                }
                _ => break,
            }
        }
        let Some(program) = rest.first() else {
            return Err(CommandError::NoCommand);
        };
        let name = name.unwrap_or_else(|| program.rsplit('/').next().unwrap_or(program).to_owned());
        Ok(Self {
            detach,
            name,
            words: rest.to_vec(),
        })
    }

    /// Returns the program to run, or an empty string.
    pub fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Returns the program and its arguments.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// True if the command stays in the background.
    pub fn is_detached(&self) -> bool {
        self.detach
    }

    /// Returns the name that `ps` shows.
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<CommandLine, CommandError> {
        let words: Vec<_> = line.split_whitespace().map(ToOwned::to_owned).collect();
        CommandLine::parse(&words)
    }

    #[test]
    fn command_lines() {
        for (line, detach, name, words) in [
            ("ping 10.2.1.1 -d", false, "ping", "ping 10.2.1.1 -d"),
            ("-- /bin/ping -c 1 x", false, "ping", "/bin/ping -c 1 x"),
            ("-d -- sleep 60", true, "sleep", "sleep 60"),
            ("--detach --name web httpd -f", true, "web", "httpd -f"),
            ("-- -odd", false, "-odd", "-odd"),
        ] {
            let command = parse(line).unwrap();
            assert_eq!(command.detach, detach, "{line}");
            assert_eq!(command.name, name, "{line}");
            assert_eq!(command.words.join(" "), words, "{line}");
        }
        for line in ["", "-d", "--", "-x ping", "--name"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
