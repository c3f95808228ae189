//! Wishes about the `/etc/hosts` of containers that are attached.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Names that are put into the `/etc/hosts` of one container; further ones are refused.
pub const MAX_ADDED_HOSTS: usize = 256;

/// The user's wish about the `/etc/hosts` of a container that is attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostsWish {
    leave: bool,
    added: Vec<(String, IpAddr)>,
}

impl HostsWish {
    /// Reads `--no-rewrite-hosts`, and the arguments of `--add-host`, each `NAME:ADDRESS`.
    ///
    /// # Errors
    /// One line that names the first argument that cannot be used, or that there are too many.
    pub fn parse(leave: bool, added: &[String]) -> Result<Self, String> {
        if added.len() > MAX_ADDED_HOSTS {
            return Err(format!(
                "--add-host: at most {MAX_ADDED_HOSTS} names are possible"
            ));
        }
        let wrong = |text: &String| {
            format!(
                "--add-host '{}': must be a name and an address, like db:10.2.1.7",
                text.escape_debug()
            )
        };
        let all = added
            .iter()
            .map(|text| parse_added(text).ok_or_else(|| wrong(text)));
        Ok(Self {
            leave,
            added: all.collect::<Result<_, _>>()?,
        })
    }

    /// Returns whether the file is left alone.
    pub fn leave(&self) -> bool {
        self.leave
    }

    /// Returns the names that are put into the file.
    pub fn added(&self) -> &[(String, IpAddr)] {
        &self.added
    }

    /// Adds what a later request wants; the last word about leaving the file alone counts.
    pub fn merge(&mut self, later: Self) {
        self.leave = later.leave;
        for (name, ip) in later.added {
            if !self.added.contains(&(name.clone(), ip)) && self.added.len() < MAX_ADDED_HOSTS {
                self.added.push((name, ip));
            }
        }
    }

    pub(crate) fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

fn parse_added(text: &str) -> Option<(String, IpAddr)> {
    let (name, ip) = text.split_once(':')?;
    let fit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let is_name = !name.is_empty() && name.len() <= 253 && name.bytes().all(fit);
    let ip = ip
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()?;
    is_name.then(|| (name.to_owned(), ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_owned()).collect()
    }

    #[test]
    fn names_and_addresses_are_read_and_mistakes_named() {
        let wish = HostsWish::parse(true, &strings(&["db:10.2.1.7", "six:[fd00::7]"])).unwrap();
        assert!(wish.leave() && !wish.is_usual());
        let added = [
            ("db".to_owned(), "10.2.1.7".parse().unwrap()),
            ("six".to_owned(), "fd00::7".parse().unwrap()),
        ];
        assert_eq!(wish.added(), added);
        for bad in ["db", ":10.2.1.7", "d b:10.2.1.7", "db:x", "a\n:10.2.1.7"] {
            let error = HostsWish::parse(false, &strings(&["db:10.2.1.7", bad])).unwrap_err();
            assert!(
                error.contains(&bad.escape_debug().to_string()) && !error.contains('\n'),
                "{error}"
            );
        }
        let many = vec!["db:10.2.1.7".to_owned(); MAX_ADDED_HOSTS + 1];
        let error = HostsWish::parse(false, &many).unwrap_err();
        assert!(error.contains("at most 256"), "{error}");
    }

    #[test]
    fn later_wishes_add_up_and_the_last_word_counts() {
        let mut wish = HostsWish::parse(true, &strings(&["db:10.2.1.7"])).unwrap();
        wish.merge(HostsWish::parse(false, &strings(&["db:10.2.1.7", "web:10.2.1.8"])).unwrap());
        assert!(!wish.leave());
        assert_eq!(wish.added().len(), 2);
        let many = (0..MAX_ADDED_HOSTS).map(|n| format!("n{n}:10.2.1.9"));
        wish.merge(HostsWish::parse(false, &many.collect::<Vec<_>>()).unwrap());
        assert_eq!(wish.added().len(), MAX_ADDED_HOSTS);
    }
}
