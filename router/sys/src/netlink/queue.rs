//! Transmit queue of an interface: length and losses.

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use super::LinkHandle;
use crate::SysError;
use crate::ifname;

impl LinkHandle<'_> {
    /// Sets the length of the transmit queue, in frames; for a TAP it is the number of frames that wait for its
    /// reader, per queue.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn set_queue_len(&mut self, index: u32, frames: u32) -> Result<(), SysError> {
        let length = LinkAttribute::TxQueueLen(frames);
        self.change(index, "set the queue length of", length)
    }

    /// Returns the number of frames dropped at the transmit queue since the interface was created; for a TAP those
    /// that were not read in time.
    ///
    /// # Errors
    /// [`SysError::is_not_found`] if there is no such interface.
    pub fn tx_dropped(&mut self, interface: &str) -> Result<u64, SysError> {
        ifname::check(interface)?;
        let mut request = LinkMessage::default();
        let name = LinkAttribute::IfName(interface.to_owned());
        request.attributes.push(name);
        let what = format!("read the statistics of {interface}");
        let Message::NewLink(answer) = self.socket.get(&what, Message::GetLink(request))? else {
            return Err(SysError::other(what, "no interface in the answer"));
        };
        let mut attributes = answer.attributes.iter();
        let dropped = attributes.find_map(|attribute| match attribute {
            LinkAttribute::Stats64(stats) => Some(stats.tx_dropped),
            _ => None,
        });
        dropped.ok_or_else(|| SysError::other(what, "no statistics in the answer"))
    }
}

#[cfg(test)]
mod tests {
    use crate::netlink::{Netlink, VethSpec};
    use crate::testing::{NamedNetns, needs_root};

    #[test]
    fn the_queue_of_an_existing_and_of_a_missing_interface() {
        if needs_root("the_queue_of_an_existing_and_of_a_missing_interface") {
            return;
        }
        NamedNetns::new().run(|| {
            let mut netlink = Netlink::open().unwrap();
            let spec = VethSpec {
                name: "a",
                peer_name: "b",
                peer_netns: None,
                peer_mac: None,
                mtu: 1376,
            };
            netlink.link().create_veth(&spec).unwrap();
            let index = netlink.link().require("a").unwrap().index;
            netlink.link().set_queue_len(index, 77).unwrap();
            let shown = std::process::Command::new("ip")
                .args(["link", "show", "dev", "a"])
                .output()
                .unwrap();
            let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
            assert!(shown.contains("qlen 77"), "{shown}");
            assert_eq!(netlink.link().tx_dropped("a").unwrap(), 0);
            assert!(
                netlink
                    .link()
                    .tx_dropped("none")
                    .unwrap_err()
                    .is_not_found()
            );
        });
    }
}
