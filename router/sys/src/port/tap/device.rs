//! `/dev/net/tun`: creation of the device and its queues.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use mesh_proto::offload::virtio::VIRTIO_HEADER_LEN;
use nix::errno::Errno;
use nix::libc;

use super::{Offloads, TapSpec};
use crate::SysError;
use crate::ifname;

const CLONE_DEVICE: &str = "/dev/net/tun";
/// `MAX_TAP_QUEUES` of the kernel.
const MAX_QUEUES: usize = 256;
/// Unfinished checksums and TCP super-frames, also with ECN.
const TCP: libc::c_uint =
    libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
/// UDP super-frames; Linux 6.2.
const UDP: libc::c_uint = libc::TUN_F_USO4 | libc::TUN_F_USO6;

/// Creates the device and opens its non-blocking queues. Returns them with their offloads.
pub(super) fn create(spec: &TapSpec<'_>) -> Result<(Vec<File>, Offloads), SysError> {
    ifname::check(spec.name)?;
    let count = spec.queues.clamp(1, MAX_QUEUES);
    let multiple = if count > 1 { libc::IFF_MULTI_QUEUE } else { 0 };
    let kind = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | multiple;
    let mut queues = Vec::with_capacity(count);
    let mut offloads = Offloads::TcpUdp;
    for number in 0..count {
        let file = open_clone_device()?;
        // The first queue must not join a device of another process, from which it would take a share of the frames.
        let exclusive = if number == 0 { libc::IFF_TUN_EXCL } else { 0 };
        attach(&file, spec.name, kind | exclusive)
            .map_err(|e| SysError::errno(format!("make TAP device {}", spec.name), e))?;
        offloads = offloads.min(negotiate(&file).map_err(|e| {
            SysError::errno(format!("set the offloads of TAP device {}", spec.name), e)
        })?);
        queues.push(file);
    }
    Ok((queues, offloads))
}

fn open_clone_device() -> Result<File, SysError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(CLONE_DEVICE)
        .map_err(|e| match e.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT | Errno::ENXIO | Errno::ENODEV) => {
                SysError::other("make a TAP device", format!("no {CLONE_DEVICE}: {e}"))
            }
            _ => SysError::new(format!("open {CLONE_DEVICE}"), e),
        })
}

/// Attaches the file to a new queue of the device with that name (`TUNSETIFF`).
fn attach(file: &File, name: &str, flags: libc::c_int) -> Result<(), Errno> {
    // SAFETY: `ifreq` is a plain C struct of integers and a union of such; all-zero is a valid value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request
        .ifr_name
        .iter_mut()
        .zip(name.bytes().take(ifname::MAX_IFNAME))
    {
        *to = from.cast_signed();
    }
    // The flags fill an unsigned 16-bit field.
    let flags = u16::try_from(flags).map_err(|_| Errno::EINVAL)?;
    request.ifr_ifru.ifru_flags = flags.cast_signed();
    // SAFETY: the request is a whole `ifreq` with a terminated name that outlives the call, as TUNSETIFF wants.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    Errno::result(result).map(|_| ())
}

/// Sets the length of the virtio header, and enables as many offloads as the kernel supports.
fn negotiate(file: &File) -> Result<Offloads, Errno> {
    let length = libc::c_int::try_from(VIRTIO_HEADER_LEN).map_err(|_| Errno::EINVAL)?;
    // SAFETY: TUNSETVNETHDRSZ reads one `int`, which outlives the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const length) };
    Errno::result(result)?;
    match set_offloads(file, TCP | UDP) {
        Ok(()) => Ok(Offloads::TcpUdp),
        Err(Errno::EINVAL) => set_offloads(file, TCP).map(|()| Offloads::Tcp),
        Err(e) => Err(e),
    }
}

fn set_offloads(file: &File, offloads: libc::c_uint) -> Result<(), Errno> {
    let offloads = libc::c_ulong::from(offloads);
    // SAFETY: the argument of TUNSETOFFLOAD is a number, not a pointer.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, offloads) };
    Errno::result(result).map(|_| ())
}
