//! Injection of frames into the port: merged into super-frames if the port supports them, else with finished checksums.

use mesh_proto::offload::{Merger, VirtioHeader, finish_checksum};
use mesh_proto::wire::datagram::InnerFrame;
use mesh_sys::port::{FrameWriter, Offloads, PortError};

use crate::lanes::port::ReopeningWriter;

/// Writing half of the port, with the preparation of frames.
pub(super) struct Injector {
    writer: ReopeningWriter,
    merger: Option<Merger>,
    /// Buffer of a frame whose checksum is being finished.
    frame: Vec<u8>,
}

impl Injector {
    pub(super) fn new(writer: ReopeningWriter) -> Self {
        let offloads = writer.offloads();
        let merges = offloads >= Offloads::Tcp;
        Self {
            merger: merges.then(|| Merger::new(offloads >= Offloads::TcpUdp)),
            writer,
            frame: Vec::new(),
        }
    }

    /// Takes a frame. If the port supports super-frames, the frame may be held for merging until [`Injector::flush`].
    pub(super) fn inject(&mut self, frame: InnerFrame<'_>) {
        let writer = &mut self.writer;
        if let Some(merger) = &mut self.merger {
            merger.push(frame.bytes, frame.partial, &mut |header, bytes| {
                write(writer, header, bytes);
            });
        } else if frame.partial {
            self.frame.clear();
            self.frame.extend_from_slice(frame.bytes);
            match finish_checksum(&mut self.frame) {
                Ok(()) => write(writer, &VirtioHeader::PLAIN, &self.frame),
                Err(error) => tracing::trace!("cannot finish a checksum: {error}"),
            }
        } else {
            write(writer, &VirtioHeader::PLAIN, frame.bytes);
        }
    }

    /// Writes all held frames.
    pub(super) fn flush(&mut self) {
        let writer = &mut self.writer;
        if let Some(merger) = &mut self.merger {
            merger.flush(&mut |header, bytes| write(writer, header, bytes));
        }
    }
}

fn write(writer: &mut ReopeningWriter, header: &VirtioHeader, bytes: &[u8]) {
    match writer.send(header, bytes) {
        Ok(()) => {}
        Err(error @ PortError::Down(_)) => tracing::trace!("{error}"),
        Err(error) => tracing::trace!("cannot inject a frame of {} bytes: {error}", bytes.len()),
    }
}
