//! The servers that the host asks: `resolv.conf`.

use core::net::{IpAddr, SocketAddr};

use crate::limits::MAX_UPSTREAMS;

/// Port of DNS.
const PORT: u16 = 53;

/// Servers to ask, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstreams {
    /// At most [`MAX_UPSTREAMS`], each once.
    pub servers: Vec<SocketAddr>,
    /// Lines that name a server in a way that cannot be used here.
    pub unusable: usize,
}

/// Reads the servers from the text of a `resolv.conf`, without those for which `is_ours` holds: a server that asks itself
/// gets no answer.
pub fn upstreams(text: &str, is_ours: impl Fn(SocketAddr) -> bool) -> Upstreams {
    let mut found = Upstreams::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        // With an interface (fe80::1%eth0) it means something in the network of who wrote it only.
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

    proptest! {
        #[test]
        fn any_text_is_read(text in "(nameserver [0-9.:a-f]{0,12}\n|.{0,20}\n){0,40}") {
            prop_assert!(upstreams(&text, |_| false).servers.len() <= MAX_UPSTREAMS);
        }
    }
}
