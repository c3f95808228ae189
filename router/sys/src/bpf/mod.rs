//! eBPF for the filter of a port: programs, maps, and bpf(2).
//!
//! Linux 4.16 to 5.10 charges maps to RLIMIT_MEMLOCK, which may be too low for them; later kernels do not.

mod program;

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

use crate::SysError;

pub(crate) use self::program::{Label, Program, Reg, Width};

// `enum bpf_cmd`, `enum bpf_map_type` and `enum bpf_prog_type` of linux/bpf.h.
const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const PROG_LOAD: libc::c_int = 5;
const PROG_TYPE_SOCKET_FILTER: u32 = 1;
/// No function reserved for GPL programs is called; the verifier requires a licence anyway.
const LICENCE: &std::ffi::CStr = c"Apache-2.0";

/// Sizes of all keys and values, in bytes.
const KEY_SIZE: u32 = u32::BITS / 8;
const VALUE_SIZE: u32 = u64::BITS / 8;

/// Kind of a map.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum MapKind {
    /// Keys are the numbers below the map's length (32 bits); all values exist from the start, as zero.
    Array = 2,
    /// Hash table that evicts the least recently used entry when it is full.
    LruHash = 9,
}

/// Map with 32-bit keys and 64-bit values, shared by the router and its eBPF programs.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
}

impl Map {
    /// Creates a map of at most `length` entries.
    ///
    /// # Errors
    /// EPERM without CAP_BPF (before Linux 5.8: CAP_SYS_ADMIN); ENOSYS on a kernel without eBPF.
    pub(crate) fn create(kind: MapKind, length: u32) -> Result<Self, SysError> {
        #[repr(C)]
        struct Attributes {
            kind: u32,
            key_size: u32,
            value_size: u32,
            max_entries: u32,
            flags: u32,
        }
        let attributes = Attributes {
            kind: kind as u32,
            key_size: KEY_SIZE,
            value_size: VALUE_SIZE,
            max_entries: length,
            flags: 0,
        };
        // SAFETY: BPF_MAP_CREATE reads this first part of `union bpf_attr`, which holds no pointer.
        let fd = unsafe { bpf(MAP_CREATE, &attributes) };
        let fd = fd.map_err(|e| SysError::errno("make an eBPF map", e))?;
        Ok(Self { fd: owned(fd)? })
    }

    /// Returns the value at `key`; `None` if there is none.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub(crate) fn get(&self, key: u32) -> Result<Option<u64>, SysError> {
        #[repr(C)]
        struct Attributes {
            fd: u32,
            padding: u32,
            key: u64,
            value: u64,
            flags: u64,
        }
        let mut value = 0_u64;
        let attributes = Attributes {
            fd: self.number(),
            padding: 0,
            key: (&raw const key).expose_provenance() as u64,
            value: (&raw mut value).expose_provenance() as u64,
            flags: 0,
        };
        // SAFETY: the kernel reads a key of 32 bits and writes a value of 64, as the map was made with; both outlive
        // the call.
        match unsafe { bpf(MAP_LOOKUP_ELEM, &attributes) } {
            Ok(_) => Ok(Some(value)),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(SysError::errno("read an eBPF map", e)),
        }
    }

    fn number(&self) -> u32 {
        self.fd.as_raw_fd().cast_unsigned()
    }
}

/// Loads a program of the type that filters packets for a socket or a TAP device.
///
/// # Errors
/// EPERM like [`Map::create`]; EACCES or EINVAL with the verifier's message if it rejects the program.
pub(crate) fn load_socket_filter(program: &Program) -> Result<OwnedFd, SysError> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        instructions: u32,
        code: u64,
        licence: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
    }
    const LOG: u32 = 64 * 1024;
    let code = program.assemble();
    let mut log = vec![0_u8; LOG as usize];
    let attributes = Attributes {
        kind: PROG_TYPE_SOCKET_FILTER,
        instructions: u32::try_from(code.len()).unwrap_or(u32::MAX),
        code: code.as_ptr().expose_provenance() as u64,
        licence: LICENCE.as_ptr().expose_provenance() as u64,
        log_level: 1,
        log_size: LOG,
        log: log.as_mut_ptr().expose_provenance() as u64,
    };
    // SAFETY: the kernel reads `instructions` words of code and a terminated text, and writes at most `log_size`
    // bytes; all three outlive the call.
    match unsafe { bpf(PROG_LOAD, &attributes) } {
        Ok(fd) => owned(fd),
        Err(e @ (Errno::EACCES | Errno::EINVAL)) => {
            let text = String::from_utf8_lossy(&log);
            let words = text.trim_end_matches('\0').trim_end();
            let why = format!(
                "{} ({})",
                e.desc(),
                words.lines().last().unwrap_or_default()
            );
            Err(SysError::other("load an eBPF program", why))
        }
        Err(e) => Err(SysError::errno("load an eBPF program", e)),
    }
}

/// # Safety
/// `attributes` must be the first part of `union bpf_attr` as `command` wants it, and what it points to must be valid.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> Result<libc::c_long, Errno> {
    // SAFETY: the kernel reads no more than the given length of attributes; the rest is the caller's promise.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of_val(attributes),
        )
    };
    Errno::result(result)
}

fn owned(fd: libc::c_long) -> Result<OwnedFd, SysError> {
    let fd = RawFd::try_from(fd)
        .map_err(|_| SysError::new("use eBPF", io::Error::from_raw_os_error(libc::EBADF)))?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
