//! Latency request of the host: `/dev/cpu_dma_latency` (PM QoS, Documentation/power/pm_qos_interface.rst).

use std::fs::{File, OpenOptions};
use std::io::Write as _;

use crate::SysError;

const DEVICE: &str = "/dev/cpu_dma_latency";

/// Request for quick wake-ups of the processors. It ends when the value is dropped, and with the process in any case.
#[derive(Debug)]
pub struct LatencyRequest {
    /// The kernel keeps the request while this is open.
    _device: File,
}

impl LatencyRequest {
    /// Requests a wake-up latency of 0 µs, so that idle processors poll instead of sleeping.
    ///
    /// # Errors
    /// The device is missing (no PM QoS in this kernel, or not in this container), or may not be written.
    pub fn hold() -> Result<Self, SysError> {
        let what = || format!("request quick wake-ups by {DEVICE}");
        let mut device = open().map_err(|e| SysError::new(what(), e))?;
        // 32-bit number in native byte order, in microseconds.
        let zero = 0_i32.to_ne_bytes();
        device
            .write_all(&zero)
            .map_err(|e| SysError::new(what(), e))?;
        Ok(Self { _device: device })
    }

    /// Checks that a request could be made, without making one.
    ///
    /// # Errors
    /// Like [`LatencyRequest::hold`].
    pub fn check() -> Result<(), SysError> {
        let what = || format!("request quick wake-ups by {DEVICE}");
        open().map(drop).map_err(|e| SysError::new(what(), e))
    }
}

fn open() -> std::io::Result<File> {
    OpenOptions::new().write(true).open(DEVICE)
}
