//! Transmit queue of an interface.

use netlink_packet_route::link::LinkAttribute;

use super::LinkHandle;
use crate::SysError;

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
}

#[cfg(test)]
mod tests {
    use crate::netlink::{Netlink, VethSpec};
    use crate::testing::{NamedNetns, needs_root};

    #[test]
    fn the_length_of_a_queue_is_set() {
        if needs_root("the_length_of_a_queue_is_set") {
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
        });
    }
}
