//! The router's port on the bridge, opened again after somebody deleted or downed it.

use std::time::{Duration, Instant};

use mesh_proto::offload::virtio::VirtioHeader;
use mesh_sys::port::{
    FrameBatch, FramePort, FrameReader, FrameWriter, Offloads, PcapPort, PcapReader, PcapWriter,
    PortError,
};

/// Opens the two halves of the port on one interface.
///
/// # Errors
/// When the interface cannot be captured on.
pub fn open(interface: &str) -> Result<(ReopeningReader, ReopeningWriter), PortError> {
    let (reader, writer) = PcapPort::open(interface)?.split();
    let reader = ReopeningReader {
        interface: interface.to_owned(),
        half: Some(reader),
    };
    let writer = ReopeningWriter {
        interface: interface.to_owned(),
        half: Some(writer),
        not_before: Instant::now(),
    };
    Ok((reader, writer))
}

/// The reading half.
pub struct ReopeningReader {
    interface: String,
    half: Option<PcapReader>,
}

/// The writing half.
pub struct ReopeningWriter {
    interface: String,
    half: Option<PcapWriter>,
    not_before: Instant,
}

/// Time between two attempts to open a port that is gone: the host side brings it back within a few seconds.
const PAUSE: Duration = Duration::from_millis(100);

impl FrameReader for ReopeningReader {
    fn recv(&mut self, batch: &mut FrameBatch, wait: Duration) -> Result<(), PortError> {
        let half = match &mut self.half {
            Some(half) => half,
            None => self.half.insert(PcapPort::open(&self.interface)?.split().0),
        };
        let result = half.recv(batch, wait);
        if result.is_err() {
            self.half = None;
        }
        result
    }

    fn dropped(&mut self) -> u64 {
        self.half.as_mut().map_or(0, FrameReader::dropped)
    }

    fn offloads(&self) -> Offloads {
        self.half
            .as_ref()
            .map_or(Offloads::None, FrameReader::offloads)
    }
}

impl FrameWriter for ReopeningWriter {
    fn send(&mut self, header: &VirtioHeader, frame: &[u8]) -> Result<(), PortError> {
        if self.half.is_none() && Instant::now() < self.not_before {
            return Err(PortError::Down(self.interface.clone()));
        }
        let half = match &mut self.half {
            Some(half) => half,
            None => {
                self.not_before = Instant::now() + PAUSE;
                self.half.insert(PcapPort::open(&self.interface)?.split().1)
            }
        };
        let result = half.send(header, frame);
        if matches!(result, Err(PortError::Down(_) | PortError::Other { .. })) {
            self.half = None;
        }
        result
    }

    fn offloads(&self) -> Offloads {
        self.half
            .as_ref()
            .map_or(Offloads::None, FrameWriter::offloads)
    }
}
