//! DNS configuration of the host: `resolv.conf`.

use core::net::{IpAddr, SocketAddr};

use mesh_proto::limits::MAX_UPSTREAMS;

/// Port of DNS.
const PORT: u16 = 53;
/// Number of search domains used; older C libraries use six, newer ones any number.
const MAX_SEARCH: usize = 8;
/// Number of options used.
const MAX_OPTIONS: usize = 16;

/// Upstream servers, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstreams {
    /// Server addresses, each once; at most [`MAX_UPSTREAMS`].
    pub servers: Vec<SocketAddr>,
    /// Number of lines with a server that cannot be used.
    pub unusable: usize,
}

/// Parses the servers in a `resolv.conf`, except those for which `is_ours` holds: a query to itself would loop.
pub fn upstreams(text: &str, is_ours: impl Fn(SocketAddr) -> bool) -> Upstreams {
    let mut found = Upstreams::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        // With an interface (fe80::1%eth0) it is meaningful only in the network namespace of the file's author.
        let Some(Ok(ip)) = words.next().map(str::parse::<IpAddr>) else {
            found.unusable += 1;
            continue;
        };
        let server = SocketAddr::new(ip.to_canonical(), PORT);
        if server.ip().is_unspecified() || server.ip().is_multicast() {
            found.unusable += 1;
        } else if !is_ours(server)
            && !found.servers.contains(&server)
            && found.servers.len() < MAX_UPSTREAMS
        {
            found.servers.push(server);
        }
    }
    found
}

/// Parses the search domains in a `resolv.conf`, in order; as in the C library, the last line that has them counts.
/// Invalid domains are left out.
pub fn search_domains(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let most = match words.next() {
            Some("search") => MAX_SEARCH,
            Some("domain") => 1,
            _ => continue,
        };
        found = words.take_while(|w| !w.starts_with(['#', ';'])).collect();
        found.truncate(most);
    }
    let is_domain = |word: &&str| {
        let name = word.strip_suffix('.').unwrap_or(word);
        let label = |label: &str| {
            let fit = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            !label.is_empty() && label.len() <= 63 && label.bytes().all(fit)
        };
        name.len() <= 253 && !name.starts_with('-') && name.split('.').all(label)
    };
    found
        .into_iter()
        .filter(is_domain)
        .map(|w| w.trim_end_matches('.').to_ascii_lowercase())
        .collect()
}

/// Parses the options in a `resolv.conf`; words of letters, digits, `:`, `-` and `_`. `timeout`, `attempts` and
/// `rotate` are left out, because they are about the host's own servers.
pub fn options(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("options")).then_some(words)
    });
    let is_option = |word: &&str| {
        let fit = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b':' || b == b'_';
        let is_about_servers = ["timeout:", "attempts:", "rotate"];
        let is_about_servers = is_about_servers.iter().any(|start| word.starts_with(start));
        word.len() <= 32 && word.bytes().all(fit) && !is_about_servers
    };
    lines
        .flatten()
        .filter(is_option)
        .take(MAX_OPTIONS)
        .map(ToOwned::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn servers_are_read_in_order_without_our_own() {
        let text = "# nameserver 9.9.9.9\nsearch example.org\nnameserver 10.0.0.1\n nameserver\t10.0.0.2 # x\n\
                    nameserver 172.17.0.1\nnameserver fd00::1\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\n\
                    nameserver 0.0.0.0\nnameservers 1.1.1.1\nnameserver\n";
        let ours: SocketAddr = "172.17.0.1:53".parse().unwrap();
        let found = upstreams(text, |server| server == ours);
        let servers: Vec<String> = found.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "10.0.0.2:53", "[fd00::1]:53"]);
        assert_eq!(found.unusable, 3);
    }

    #[test]
    fn the_last_search_list_counts_and_options_add_up() {
        let text = "search old.example\nsearch Corp.example. b.corp.example  a/b # x\noptions ndots:2\noptions edns0 a;b timeout:1 no-aaaa\n";
        assert_eq!(search_domains(text), ["corp.example", "b.corp.example"]);
        assert_eq!(options(text), ["ndots:2", "edns0", "no-aaaa"]);
        assert_eq!(search_domains("search a b\ndomain c.d e\n"), ["c.d"]);
        assert!(search_domains("search .\nnameserver 1.1.1.1\n").is_empty());
        let many: String = (0..20).map(|n| format!(" d{n}.example")).collect();
        assert_eq!(search_domains(&format!("search{many}")).len(), MAX_SEARCH);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(nameserver [0-9.:a-f]{0,12}\n|.{0,20}\n){0,40}") {
            prop_assert!(upstreams(&text, |_| false).servers.len() <= MAX_UPSTREAMS);
            prop_assert!(search_domains(&text).len() <= MAX_SEARCH && options(&text).len() <= MAX_OPTIONS);
        }
    }
}
