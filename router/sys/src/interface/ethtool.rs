//! Disabling of driver offloads: frames captured by pcap must be complete and no longer than the MTU.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::SysError;
use crate::ifname;

/// Commands for the offloads (linux/ethtool.h), in an order in which none depends on a later one.
const OFFLOADS: [(&str, u32); 6] = [
    ("transmit checksums", 0x17),
    ("receive checksums", 0x15),
    ("scatter-gather", 0x19),
    ("TCP segmentation", 0x1f),
    ("generic segmentation", 0x24),
    ("generic receive", 0x2c),
];

/// The kernel's `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Disables checksum, segmentation and receive offloads of an interface of the thread's namespace.
///
/// Offloads that the driver does not support are skipped.
///
/// # Errors
/// [`SysError::is_not_found`] if there is no such interface; EPERM without CAP_NET_ADMIN.
pub fn disable_offloads(interface: &str) -> Result<(), SysError> {
    ifname::check(interface)?;
    let what = |offload: &str| format!("switch {offload} offload of {interface} off");
    let fd = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .map_err(|e| SysError::errno(what("any"), e))?;
    for (offload, command) in OFFLOADS {
        match set_value(&fd, interface, command, 0) {
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::EINVAL) => {}
            Err(e) => return Err(SysError::errno(what(offload), e)),
        }
    }
    Ok(())
}

fn set_value(fd: &impl AsRawFd, interface: &str, command: u32, data: u32) -> Result<(), Errno> {
    let mut value = EthtoolValue { command, data };
    ethtool(fd, interface, &mut value)
}

fn ethtool(fd: &impl AsRawFd, interface: &str, value: &mut EthtoolValue) -> Result<(), Errno> {
    // SAFETY: `ifreq` is a plain C struct of integers and a union of such; all-zero is a valid value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes().take(15)) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(value).cast();
    // SAFETY: the request is a whole `ifreq` with a terminated name, and its data pointer leads to an `ethtool_value`
    // that outlives the call; the commands used read or write no more than that.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    Errno::result(result).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Netlink, VethSpec};
    use crate::testing::{NamedNetns, needs_root};

    fn is_on(interface: &str, get_command: u32) -> bool {
        let fd = socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::empty(),
            None,
        )
        .unwrap();
        let mut value = EthtoolValue {
            command: get_command,
            data: 0,
        };
        ethtool(&fd, interface, &mut value).unwrap();
        value.data != 0
    }

    #[test]
    fn offloads_of_a_veth_go_off() {
        if needs_root("offloads_of_a_veth_go_off") {
            return;
        }
        NamedNetns::new().run(|| {
            let spec = VethSpec {
                name: "a",
                peer_name: "b",
                peer_netns: None,
                peer_mac: None,
                mtu: 1376,
            };
            Netlink::open().unwrap().link().create_veth(&spec).unwrap();
            // Transmit checksums, scatter-gather, TCP and generic segmentation, as ETHTOOL_G….
            let commands = [0x16, 0x18, 0x1e, 0x23];
            assert!(commands.iter().all(|c| is_on("a", *c)));
            disable_offloads("a").unwrap();
            assert!(commands.iter().all(|c| !is_on("a", *c)));
            assert!(is_on("b", 0x1e), "only the named interface changes");
            assert!(disable_offloads("none").unwrap_err().is_not_found());
        });
    }
}
