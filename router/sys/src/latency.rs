//! The latency request of the whole host: `/dev/cpu_dma_latency` (PM QoS, Documentation/power/pm_qos_interface.rst).

use std::fs::{File, OpenOptions};
use std::io::Write as _;

use crate::SysError;

const DEVICE: &str = "/dev/cpu_dma_latency";

/// A request that processors wake without delay; it ends with the value, and with the process however that ends.
#[derive(Debug)]
pub struct LatencyRequest {
    /// The kernel keeps the request as long as this is open.
    _device: File,
}

impl LatencyRequest {
    /// Asks for a wake-up latency of 0 µs, so that idle processors poll instead of sleeping.
    ///
    /// # Errors
    /// Without the device (no PM QoS in this kernel, or not in this container), or the right to write to it.
    pub fn hold() -> Result<Self, SysError> {
        let what = || format!("request quick wake-ups by {DEVICE}");
        let mut device = open().map_err(|e| SysError::new(what(), e))?;
        // A 32-bit number in native byte order, in microseconds.
        let zero = 0_i32.to_ne_bytes();
        device
            .write_all(&zero)
            .map_err(|e| SysError::new(what(), e))?;
        Ok(Self { _device: device })
    }

    /// Whether a request could be made. None is.
    ///
    /// # Errors
    /// As [`LatencyRequest::hold`].
    pub fn check() -> Result<(), SysError> {
        let what = || format!("request quick wake-ups by {DEVICE}");
        open().map(drop).map_err(|e| SysError::new(what(), e))
    }
}

fn open() -> std::io::Result<File> {
    OpenOptions::new().write(true).open(DEVICE)
}
