//! The host's `resolv.conf`: when it is read again, and what containers and the server take from it.

use std::net::SocketAddr;

use mesh_names::{Domain, options, search_domains, upstreams};
use mesh_proto::api::DnsClient;
use mesh_proto::limits::RESOLV_CONF_INTERVAL;
use mesh_proto::time::Instant;

/// Port of DNS, as containers use it.
const PORT: u16 = 53;

/// Identity of the file's content: inode, length, modification time in seconds and nanoseconds.
pub type FileStamp = (u64, u64, i64, i64);

/// Upstream servers, as of the last look at the file.
#[derive(Debug, Default)]
pub struct ResolvConfCache {
    looked: Option<Instant>,
    stamp: Option<FileStamp>,
    servers: Vec<SocketAddr>,
}

/// Reason to look at the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The first look.
    First,
    /// A later one.
    Again,
}

impl ResolvConfCache {
    /// Returns true if the file is to be looked at now, and notes that it is.
    pub fn begin_look(&mut self, now: Instant) -> Option<Look> {
        let is_recent = |at: Instant| now.since(at) < RESOLV_CONF_INTERVAL;
        if self.looked.is_some_and(is_recent) {
            return None;
        }
        Some(match self.looked.replace(now) {
            None => Look::First,
            Some(_) => Look::Again,
        })
    }

    /// Returns true if the file has other content than when it was read.
    pub fn is_other(&self, stamp: FileStamp) -> bool {
        self.stamp != Some(stamp)
    }

    /// Takes the content of the file. Returns the number of lines that name no usable server.
    pub fn set(&mut self, stamp: FileStamp, text: &str) -> usize {
        let found = upstreams(text, |_| false);
        self.servers = found.servers;
        self.stamp = Some(stamp);
        found.unusable
    }

    /// Returns the servers, in order.
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// Returns the servers for the log.
    pub fn servers_text(&self) -> String {
        let servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        match servers.is_empty() {
            true => "nobody".to_owned(),
            false => servers.join(", "),
        }
    }
}

/// Returns the DNS configuration for containers: of a server that listens on these addresses of the host and on `inside`
/// within their namespaces, with the content of the host's `resolv.conf`.
pub fn client_configuration(
    listening: &[SocketAddr],
    inside: std::net::IpAddr,
    domain: &Domain,
    resolv_conf: &str,
) -> DnsClient {
    // Loopback addresses and ports other than 53 are useless to containers.
    let usable = listening
        .iter()
        .filter(|a| a.port() == PORT && !a.ip().is_loopback());
    let search = domain.to_string();
    // Names that the host resolves must resolve in containers, too.
    let mut also = search_domains(resolv_conf);
    also.retain(|domain| *domain != search);
    DnsClient {
        servers: usable.map(SocketAddr::ip).collect(),
        inside: Some(inside),
        search,
        also,
        options: options(resolv_conf),
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn the_file_is_looked_at_now_and_then() {
        let mut file = ResolvConfCache::default();
        let start = Instant::ZERO + Duration::from_secs(9);
        assert_eq!(file.begin_look(start), Some(Look::First));
        assert_eq!(file.begin_look(start), None);
        assert_eq!(
            file.begin_look(start + RESOLV_CONF_INTERVAL),
            Some(Look::Again)
        );
        assert!(file.is_other((1, 2, 3, 4)));
        assert_eq!(file.servers_text(), "nobody");
        assert_eq!(
            file.set((1, 2, 3, 4), "nameserver 192.0.2.1\nnameserver x\n"),
            1
        );
        assert!(!file.is_other((1, 2, 3, 4)) && file.is_other((1, 2, 3, 5)));
        assert_eq!(file.servers_text(), "192.0.2.1:53");
    }

    #[test]
    fn containers_get_usable_servers_and_the_domains_of_the_host() {
        let listening = ["172.17.0.1:53", "127.0.0.1:53", "172.17.0.1:5353"];
        let listening: Vec<SocketAddr> = listening.iter().map(|a| a.parse().unwrap()).collect();
        let domain = Domain::parse("mesh.local").unwrap();
        let text = "search mesh.local example.org\noptions ndots:2\n";
        let client = client_configuration(&listening, [127, 0, 0, 12].into(), &domain, text);
        assert_eq!(
            client.servers,
            ["172.17.0.1".parse::<std::net::IpAddr>().unwrap()]
        );
        assert_eq!(
            (client.search.as_str(), &client.also[..]),
            ("mesh.local", &["example.org".to_owned()][..])
        );
        assert_eq!(client.options, ["ndots:2"]);
    }
}
