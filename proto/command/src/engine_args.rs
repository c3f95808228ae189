//! Parser of the engine's command line, as far as `mesh run` needs it: it finds the end of the flags and the image.

use crate::CommandError;

/// Long flags of `docker run` and `podman run` that take no value as a separate word.
const SWITCHES: [&str; 26] = [
    "detach",
    "disable-content-trust",
    "env-host",
    "help",
    "http-proxy",
    "init",
    "interactive",
    "no-healthcheck",
    "no-hostname",
    "no-hosts",
    "oom-kill-disable",
    "passwd",
    "privileged",
    "publish-all",
    "quiet",
    "read-only",
    "read-only-tmpfs",
    "replace",
    "rm",
    "rmi",
    "rootfs",
    "sig-proxy",
    "tls-verify",
    "tty",
    "unsetenv-all",
    "use-api-socket",
];
/// Short flags without a value, which may be clustered.
const SHORT_SWITCHES: &str = "diPqt";
/// Flags that `run` knows and `create` does not.
const RUN_ONLY: [&str; 3] = ["detach", "detach-keys", "sig-proxy"];
/// Flag that names a network, in both spellings.
const NETWORK: [&str; 2] = ["network", "net"];

/// Flag that sets the host name, beside `-h`.
const HOST_NAME: [&str; 1] = ["hostname"];
/// Flags that add aliases on a network.
const ALIAS: [&str; 2] = ["network-alias", "net-alias"];
/// Flag that names the container.
const NAME: [&str; 1] = ["name"];
/// Flags about replacing an existing container; they must not apply to a trial creation.
const OF_REPLACEMENT: [&str; 4] = ["replace", "name", "cidfile", "pod-id-file"];

/// `[flags] image [cmd…]`, split at the image.
#[derive(Debug, PartialEq, Eq)]
pub struct EngineArgs {
    flags: Vec<EngineFlag>,
    /// Image and its command.
    image: Vec<String>,
}

/// One flag with its value, as typed.
#[derive(Debug, PartialEq, Eq)]
struct EngineFlag {
    words: Vec<String>,
}

impl EngineArgs {
    /// Splits the arguments at the image.
    ///
    /// # Errors
    /// Fails if there is none.
    pub fn parse(args: &[String]) -> Result<Self, CommandError> {
        let mut flags = Vec::new();
        let mut rest = args;
        while let Some(flag) = take_flag(&mut rest) {
            flags.push(flag);
        }
        if rest.is_empty() {
            return Err(CommandError::NoImage);
        }
        Ok(Self {
            flags,
            image: rest.to_vec(),
        })
    }

    /// Returns the image, or an empty string.
    pub fn image(&self) -> &str {
        self.image.first().map_or("", String::as_str)
    }

    /// Returns the values of the network flags.
    pub fn networks(&self) -> impl Iterator<Item = &str> {
        let flags = self.flags.iter().filter(|f| f.is_long(&NETWORK));
        flags.map(EngineFlag::value)
    }

    /// Returns the container name that the flags set, if any.
    pub fn container_name(&self) -> Option<&str> {
        self.value_of(NAME[0])
    }

    /// Returns the host name that the flags set, if any.
    pub fn host_name(&self) -> Option<&str> {
        let mut named = self
            .flags
            .iter()
            .filter_map(|f| match f.is_long(&HOST_NAME) {
                true => Some(f.value()),
                false => f.short_value('h'),
            });
        named.next_back()
    }

    /// Returns all names that the flags set: container name, host name and aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let aliases = self.flags.iter().filter(|f| f.is_long(&ALIAS));
        let one = self.container_name().into_iter().chain(self.host_name());
        one.chain(aliases.map(EngineFlag::value))
    }

    /// True if one of these long flags was given.
    pub fn has(&self, names: &[&str]) -> bool {
        self.flags.iter().any(|f| f.is_long(names))
    }

    /// Returns the flag as typed, if it was given in one of these spellings and not with `=false`.
    pub fn given(&self, long: &[&str], short: Option<char>) -> Option<String> {
        let is_meant = |f: &&EngineFlag| f.is_long(long) || short.is_some_and(|s| f.has_short(s));
        let mut meant = self.flags.iter().filter(is_meant);
        let flag = meant.rfind(|f| !f.words[0].ends_with("=false"))?;
        Some(flag.words.join(" "))
    }

    /// Returns the value of a long flag; of several the last.
    pub fn value_of(&self, name: &str) -> Option<&str> {
        let named = self.flags.iter().filter(|f| f.is_long(&[name]));
        named.map(EngineFlag::value).next_back()
    }

    /// True if `none` is the only network of the flags.
    pub fn wants_no_network(&self) -> bool {
        self.networks().eq(["none"])
    }

    /// Returns the words for `create`: as typed, but without flags of `run` alone and without `--network none`.
    pub fn for_create(&self) -> Vec<String> {
        let flags = self.flags_but_none().filter(|f| !f.is_long(&RUN_ONLY));
        let words = flags.flat_map(EngineFlag::without_detach);
        words.chain(self.image.iter().cloned()).collect()
    }

    /// Like [`for_create`](Self::for_create), for a trial creation of the container.
    pub fn for_rehearsal(&self) -> Vec<String> {
        let flags = self.flags_but_none().filter(|f| !f.is_long(&RUN_ONLY));
        let flags = flags.filter(|f| !f.is_long(&OF_REPLACEMENT));
        let words = flags.flat_map(EngineFlag::without_detach);
        words.chain(self.image.iter().cloned()).collect()
    }

    fn flags_but_none(&self) -> impl Iterator<Item = &EngineFlag> {
        let none = self.wants_no_network();
        self.flags
            .iter()
            .filter(move |f| !(none && f.is_long(&NETWORK)))
    }
}

/// Takes one flag with its value off the front; `None` at the image.
fn take_flag(rest: &mut &[String]) -> Option<EngineFlag> {
    let first = rest.first()?;
    if first == "--" {
        *rest = &rest[1..];
        return None;
    }
    if !first.starts_with('-') || first == "-" {
        return None;
    }
    let words = if takes_next_word(first) { 2 } else { 1 };
    let (taken, left) = rest.split_at(words.min(rest.len()));
    *rest = left;
    Some(EngineFlag {
        words: taken.to_vec(),
    })
}

/// True if the next word is the value of the flag `word`.
pub(crate) fn takes_next_word(word: &str) -> bool {
    if let Some(long) = word.strip_prefix("--") {
        return !long.contains('=') && !SWITCHES.contains(&long);
    }
    // In a cluster, the first flag with a value takes the rest of the word, or else the next word.
    let cluster = &word[1..];
    match cluster.find(|c| !SHORT_SWITCHES.contains(c)) {
        Some(at) => cluster[at..].chars().count() == 1,
        None => false,
    }
}

impl EngineFlag {
    fn is_long(&self, names: &[&str]) -> bool {
        let long = self.words[0].strip_prefix("--").unwrap_or_default();
        let name = long.split('=').next().unwrap_or_default();
        names.contains(&name)
    }

    /// True if this short flag is in the cluster.
    fn has_short(&self, short: char) -> bool {
        let word = &self.words[0];
        if word.starts_with("--") {
            return false;
        }
        let cluster = word.trim_start_matches('-');
        let end = cluster.find(|c| !SHORT_SWITCHES.contains(c));
        // The first flag with a value takes the rest of the word.
        let flags = end.map_or(cluster, |at| {
            let length = cluster[at..].chars().next().map_or(0, char::len_utf8);
            &cluster[..at + length]
        });
        flags.contains(short)
    }

    /// Returns the value of the flag, from this word or the next; empty if there is none.
    fn value(&self) -> &str {
        let inside = self.words[0].split_once('=').map(|(_, value)| value);
        let next = self.words.get(1).map(String::as_str);
        inside.or(next).unwrap_or_default()
    }

    /// Returns the value of short flag `flag`, if that is the one in the cluster that takes a value.
    fn short_value(&self, flag: char) -> Option<&str> {
        let cluster = self.words[0].strip_prefix('-')?;
        let at = cluster.find(|c| !SHORT_SWITCHES.contains(c))?;
        let value = cluster[at..].strip_prefix(flag)?;
        match value.is_empty() {
            true => self.words.get(1).map(String::as_str),
            false => Some(value.strip_prefix('=').unwrap_or(value)),
        }
    }

    /// Returns the flag without the `d` of a cluster of short switches; empty if nothing remains.
    fn without_detach(&self) -> Vec<String> {
        let first = &self.words[0];
        if first.starts_with("--") {
            return self.words.clone();
        }
        let cluster = &first[1..];
        let end = cluster
            .find(|c| !SHORT_SWITCHES.contains(c))
            .unwrap_or(cluster.len());
        let (switches, mut value) = cluster.split_at(end);
        if value.starts_with('=') && switches.ends_with('d') {
            value = "";
        }
        let left = switches.replace('d', "") + value;
        if left.is_empty() {
            return Vec::new();
        }
        let mut words = self.words.clone();
        words[0] = format!("-{left}");
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<EngineArgs, CommandError> {
        let words: Vec<_> = line.split_whitespace().map(ToOwned::to_owned).collect();
        EngineArgs::parse(&words)
    }

    #[test]
    fn the_image_is_found() {
        for (line, image) in [
            ("ubuntu", "ubuntu"),
            ("-ti ubuntu sh -c x", "ubuntu sh -c x"),
            ("--name web nginx", "nginx"),
            ("--name=web nginx -d", "nginx -d"),
            ("-e A=1 -eB=2 -tie C=3 u", "u"),
            ("--rm --init --privileged u", "u"),
            ("-p 80:80 -v /a:/b -h host u --network x", "u --network x"),
            ("--rm -- u", "u"),
        ] {
            assert_eq!(parse(line).unwrap().image.join(" "), image, "{line}");
        }
    }

    #[test]
    fn create_drops_detach() {
        for (line, create) in [
            ("-d u", "u"),
            ("-dti u -d", "-ti u -d"),
            ("-tid -e d=1 u", "-ti -e d=1 u"),
            ("--detach --detach=true --name d u", "--name d u"),
            ("--sig-proxy=false --detach-keys ctrl-p -ed u", "-ed u"),
            ("-dp 80:80 u", "-p 80:80 u"),
            ("-d=true -td=true -dt=true u", "-t -t=true u"),
        ] {
            let args = parse(line).unwrap();
            assert_eq!(args.for_create().join(" "), create, "{line}");
        }
    }

    #[test]
    fn networks_are_the_users_except_none() {
        for (line, networks, create) in [
            (
                "--network back u --net none",
                "back",
                "--network back u --net none",
            ),
            ("--net=back u", "back", "--net=back u"),
            ("--network none -t u", "none", "-t u"),
            ("--net=none u", "none", "u"),
            (
                "--net none --net back u",
                "none back",
                "--net none --net back u",
            ),
            ("-e net=none u", "", "-e net=none u"),
        ] {
            let args = parse(line).unwrap();
            let named: Vec<_> = args.networks().collect();
            assert_eq!(named.join(" "), networks, "{line}");
            assert_eq!(args.for_create().join(" "), create, "{line}");
        }
    }

    #[test]
    fn a_flag_is_found_in_each_spelling() {
        let long = ["publish"];
        for (line, given) in [
            ("-p 80:80 u", Some("-p 80:80")),
            ("-p80:80 u", Some("-p80:80")),
            ("-tip 80:80 u", Some("-tip 80:80")),
            ("--publish=80 u", Some("--publish=80")),
            ("--publish 80 u", Some("--publish 80")),
            ("-e p=1 -ep -v /p:/p --name p u -p 80", None),
            ("--publish=false u", None),
        ] {
            let found = parse(line).unwrap().given(&long, Some('p'));
            assert_eq!(found.as_deref(), given, "{line}");
        }
    }

    #[test]
    fn a_rehearsal_is_another_container() {
        let line = "-dti --replace --name q --cidfile /x -v /a:/b --network none u sh";
        let words = parse(line).unwrap().for_rehearsal();
        assert_eq!(words.join(" "), "-ti -v /a:/b u sh");
    }

    #[test]
    fn a_missing_image_is_told() {
        for line in ["", "-d", "--name web", "--name", "-e", "--"] {
            assert!(
                parse(line).unwrap_err().to_string().contains("no image"),
                "{line}"
            );
        }
    }
}
