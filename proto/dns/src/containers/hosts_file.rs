//! A container's `/etc/hosts`: Docker maps the container's own name to a Docker address; the mesh address must come
//! first.
//!
//! Lines of ours end with a mark, so that they can be found again. All other lines are kept, except those with the same
//! content.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Largest file that is changed, in bytes.
pub const MAX_HOSTS: u64 = 256 * 1024;
/// End of our lines.
const MARK: &str = "\t# mesh";

/// Lines to put into a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostsLines {
    /// Own names of the container: the host name and its first label.
    pub own: Vec<String>,
    /// Its addresses in the mesh, in order.
    pub addresses: Vec<IpAddr>,
    /// Further names, from `--add-host`.
    pub added: Vec<(String, IpAddr)>,
}

impl HostsLines {
    /// Returns the lines for a container with this host name.
    pub fn new(hostname: &str, addresses: Vec<IpAddr>, added: Vec<(String, IpAddr)>) -> Self {
        let fit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let is_name = !hostname.is_empty() && hostname.bytes().all(fit);
        let mut own = Vec::new();
        if is_name {
            own.push(hostname.to_owned());
            own.extend(hostname.split_once('.').map(|(first, _)| first.to_owned()));
        }
        Self {
            own,
            addresses,
            added,
        }
    }

    /// Returns `text` with these lines in place of our earlier ones.
    pub fn in_place_of(&self, text: &str) -> String {
        let is_other = |line: &&str| !line.ends_with(MARK) && !self.says(line);
        let mut lines: Vec<String> = text
            .lines()
            .filter(is_other)
            .map(ToOwned::to_owned)
            .collect();
        let names_us = |line: &String| {
            let mut names = line.split_whitespace().skip(1);
            !line.starts_with('#') && names.any(|name| self.own.iter().any(|own| own == name))
        };
        let at = lines.iter().position(names_us).unwrap_or(lines.len());
        let own = self.addresses.iter().filter(|_| !self.own.is_empty());
        let own = own.map(|ip| format!("{ip}\t{}{MARK}", self.own.join(" ")));
        let added = self
            .added
            .iter()
            .map(|(name, ip)| format!("{ip}\t{name}{MARK}"));
        lines.splice(at..at, own.chain(added));
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Returns true if a line of Docker's says the same as one of ours.
    fn says(&self, line: &str) -> bool {
        let mut words = line.split_whitespace();
        let ip = words.next().and_then(|word| word.parse().ok());
        let names: BTreeSet<&str> = words.collect();
        ip.is_some_and(|ip| self.addresses.contains(&ip))
            && !names.is_empty()
            && names
                .iter()
                .all(|name| self.own.iter().any(|own| own == name))
    }
}

/// Returns the path, if Docker keeps the file of this container there.
pub fn path_of(container: &str, path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(path);
    let is_its = path
        .parent()
        .and_then(Path::file_name)
        .is_some_and(|dir| dir == container);
    (path.is_absolute() && is_its && path.ends_with("hosts")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &str = "127.0.0.1\tlocalhost\n192.0.2.1\textra\n172.17.0.5\twww.mesh.local www\n10.2.1.1\twww.mesh.local www\n";

    fn lines(hostname: &str, addresses: &[&str]) -> HostsLines {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        HostsLines::new(hostname, addresses, Vec::new())
    }

    #[test]
    fn the_address_in_the_mesh_comes_first_and_each_once() {
        let ours = lines("www.mesh.local", &["10.2.1.1", "fd00::1"]);
        let text = ours.in_place_of(DOCKER);
        assert_eq!(
            text,
            "127.0.0.1\tlocalhost\n192.0.2.1\textra\n10.2.1.1\twww.mesh.local www\t# mesh\n\
             fd00::1\twww.mesh.local www\t# mesh\n172.17.0.5\twww.mesh.local www\n"
        );
        assert_eq!(ours.in_place_of(&text), text, "it stays as it is");
        let fewer = lines("www.mesh.local", &["10.2.1.9"]).in_place_of(&text);
        assert!(
            !fewer.contains("fd00::1")
                && fewer.contains("10.2.1.9\twww.mesh.local www\t# mesh\n172")
        );
        let none = lines("www.mesh.local", &[]).in_place_of(&text);
        assert_eq!(
            none,
            "127.0.0.1\tlocalhost\n192.0.2.1\textra\n172.17.0.5\twww.mesh.local www\n"
        );
    }

    #[test]
    fn a_file_without_the_name_and_names_that_are_added() {
        let mut ours = lines("0123456789ab", &["10.2.1.1"]);
        ours.added = vec![("db".to_owned(), "10.2.1.7".parse().unwrap())];
        let text = ours.in_place_of("127.0.0.1 localhost");
        assert_eq!(
            text,
            "127.0.0.1 localhost\n10.2.1.1\t0123456789ab\t# mesh\n10.2.1.7\tdb\t# mesh\n"
        );
        // An invalid name is not written.
        assert_eq!(lines("a\nb", &["10.2.1.1"]).in_place_of("x\n"), "x\n");
    }

    #[test]
    fn only_the_file_of_the_very_container_is_touched() {
        assert!(path_of("0123", "/var/lib/docker/containers/0123/hosts").is_some());
        for (id, path) in [
            ("0123", "/etc/hosts"),
            ("0123", ""),
            ("0123", "0123/hosts"),
            ("0123", "/x/0123/passwd"),
        ] {
            assert_eq!(path_of(id, path), None, "{path}");
        }
    }
}
