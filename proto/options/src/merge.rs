//! Options by their names: read from a file, merged, and handed on as words of a command line.

use serde_json::{Map, Value};

use crate::declared::Options;
use crate::error::OptionsError;

/// Options of which one replaces the other, wherever each was given.
const SECRETS: [&str; 2] = ["key-file", "password-file"];

impl Options {
    /// Options of a configuration file.
    ///
    /// # Errors
    /// [`OptionsError::File`] with the line.
    pub fn from_toml(text: &str) -> Result<Self, OptionsError> {
        toml::from_str(text).map_err(|error| OptionsError::File {
            line: error.span().map_or(1, |span| line_at(text, span.start)),
            message: error.message().trim().replace('\n', " "),
        })
    }

    /// `self` where it says something, else `file`; without `config`, which is read by then.
    ///
    /// # Errors
    /// [`OptionsError::Path`].
    pub fn over(&self, file: &Self) -> Result<Self, OptionsError> {
        let mut merged = self.given()?;
        let mut below = file.given()?;
        // A secret on the command line replaces the file's, of either kind.
        if SECRETS.iter().any(|secret| merged.contains_key(*secret)) {
            SECRETS
                .iter()
                .for_each(|secret| drop(below.remove(*secret)));
        }
        for (name, value) in below {
            merged.entry(name).or_insert(value);
        }
        merged.remove("config");
        serde_json::from_value(Value::Object(merged))
            .map_err(|error| OptionsError::Path(error.to_string()))
    }

    /// Words of a command line that has the same options: `--name=value`, flags, then the peers.
    ///
    /// # Errors
    /// [`OptionsError::Path`].
    pub fn to_words(&self) -> Result<Vec<String>, OptionsError> {
        let mut given = self.given()?;
        given.remove("peers");
        let mut words = Vec::new();
        for (name, value) in &given {
            match value {
                Value::Bool(_) => words.push(format!("--{name}")),
                Value::Array(values) => words.extend(values.iter().map(|v| word(name, v))),
                value => words.push(word(name, value)),
            }
        }
        words.extend(self.peers.iter().cloned());
        Ok(words)
    }

    /// Options that were given, by name.
    fn given(&self) -> Result<Map<String, Value>, OptionsError> {
        let path = |error: serde_json::Error| OptionsError::Path(error.to_string());
        let mut given = match serde_json::to_value(self).map_err(path)? {
            Value::Object(options) => options,
            _ => Map::new(),
        };
        given.retain(|_, value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(values) => !values.is_empty(),
            _ => true,
        });
        Ok(given)
    }
}

/// One word, so that a value may start with a dash.
fn word(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => format!("--{name}={text}"),
        other => format!("--{name}={other}"),
    }
}

/// Returns the line, from 1, in which a byte of the text stands.
fn line_at(text: &str, at: usize) -> usize {
    let before = text.bytes().take(at);
    before.filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, CommandFactory as _, Parser};

    use super::*;
    use crate::Cipher;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        options: Options,
    }

    fn parse(words: &[&str]) -> Options {
        let words = ["program"].iter().chain(words);
        Program::try_parse_from(words).unwrap().options
    }

    /// Each flag of the command line with a value that it takes.
    fn every_flag() -> Vec<String> {
        let values = |name: &str| match name {
            "host" => "192.0.2.1",
            "name" => "00:00:00:00:00:01",
            "datapath" => "pcap",
            "latency" => "off",
            "cipher" => "aes-256-gcm",
            "trusted-subnets" => "10.0.0.0/8",
            "ipalloc-range" | "ipalloc-default-subnet" => "10.2.0.0/16",
            "ipalloc-range6" => "fd00::/64",
            _ => "7",
        };
        let command = Options::augment_args(clap::Command::new("program"));
        let flags = command.get_arguments().filter_map(|arg| {
            let name = arg.get_long()?;
            let takes_value = arg.get_action().takes_values();
            (name != "key-file").then(|| match takes_value {
                true => format!("--{name}={}", values(name)),
                false => format!("--{name}"),
            })
        });
        let mut words: Vec<String> = flags.collect();
        // By name, as they are handed on: without it `range6=` would come before `range=`.
        words.sort_by_key(|word| word.split('=').next().unwrap_or_default().to_owned());
        words
    }

    #[test]
    fn every_flag_is_handed_on_as_it_was_given() {
        let mut given = every_flag();
        given.push("host2".to_owned());
        let words: Vec<&str> = given.iter().map(String::as_str).collect();
        let options = parse(&words);
        assert_eq!(options.to_words().unwrap(), given);
        assert!(given.len() > 25, "{given:?}");
    }

    #[test]
    fn every_flag_is_a_key_of_the_file_but_config() {
        let mut options = parse(&every_flag().iter().map(String::as_str).collect::<Vec<_>>());
        assert!(options.config.take().is_some());
        let text = toml::to_string(&options).unwrap();
        assert_eq!(Options::from_toml(&text).unwrap(), options);
        let error = Options::from_toml("config = 'x'").unwrap_err();
        assert!(
            error.to_string().contains("unknown field `config`"),
            "{error}"
        );
    }

    #[test]
    fn values_may_begin_with_a_dash_and_be_empty() {
        let options = parse(&["--nickname=-n", "--ipalloc-range="]);
        assert_eq!(
            options.to_words().unwrap(),
            ["--ipalloc-range=", "--nickname=-n"]
        );
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = Options::from_toml(
            "port = 7000\nmtu = 1400\npeers = ['a']\nno-dns = true\ncipher = 'auto'\ndns-listen = ['192.0.2.1']\nsocket = '/s'\n",
        )
        .unwrap();
        let merged = parse(&["--port=7001", "--cipher=aes-256-gcm", "--config=/x"])
            .over(&file)
            .unwrap();
        assert_eq!(
            (merged.port, merged.mtu, merged.no_dns),
            (Some(7001), Some(1400), true)
        );
        assert_eq!(
            (merged.cipher, merged.config),
            (Some(Cipher::Aes256Gcm), None)
        );
        assert_eq!(
            (merged.peers, merged.dns_listen),
            (vec!["a".to_owned()], vec!["192.0.2.1".to_owned()])
        );
        assert_eq!(merged.socket.unwrap().to_str(), Some("/s"));
    }

    #[test]
    fn a_secret_replaces_the_other_kind_of_the_file() {
        let file = Options::from_toml("key-file = '/k'").unwrap();
        let merged = parse(&["--password-file=/p"]).over(&file).unwrap();
        assert_eq!(
            (merged.key_file, merged.password_file),
            (None, Some("/p".into()))
        );
        assert_eq!(parse(&[]).over(&file).unwrap().key_file, Some("/k".into()));
    }

    #[test]
    fn mistakes_in_the_file_have_a_line() {
        for (text, line, message) in [
            ("prot = 7000\n", 1, "unknown field `prot`"),
            ("\n# é\nprot = 7000\n", 3, "unknown field `prot`"),
            ("\nport = 'x'\n", 2, "u16"),
            ("cipher = 'rot13'", 1, "aes-256-gcm"),
            ("trusted-subnets = ['10.0.0.0']", 1, ""),
        ] {
            match Options::from_toml(text).unwrap_err() {
                OptionsError::File {
                    line: at,
                    message: said,
                } => {
                    assert_eq!(at, line, "{text}");
                    assert!(said.contains(message), "{said}");
                }
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_path_that_is_not_text_is_an_error() {
        use std::os::unix::ffi::OsStringExt as _;
        let path = std::ffi::OsString::from_vec(vec![b'/', 0xff]);
        let options = Options {
            state_dir: Some(path.into()),
            ..Options::default()
        };
        assert!(matches!(options.to_words(), Err(OptionsError::Path(_))));
    }

    #[test]
    fn the_declaration_is_sound() {
        Program::command().debug_assert();
    }
}
