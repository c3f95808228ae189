//! Injection of frames into the port: merged into super-frames if the port supports them, else with finished checksums.

use mesh_proto::offload::{Merger, VirtioHeader, finish_checksum};
use mesh_proto::wire::datagram::InnerFrame;
use mesh_sys::port::{FrameWriter, Offloads, PortError};

use crate::lanes::port::ReopeningWriter;

/// Preparation of frames for a port with certain offloads.
pub(super) struct FramePreparation {
    offloads: Offloads,
    merger: Option<Merger>,
    /// Buffer of a frame whose checksum is being finished.
    frame: Vec<u8>,
}

impl FramePreparation {
    pub(super) fn new(offloads: Offloads) -> Self {
        let merges = offloads >= Offloads::Tcp;
        Self {
            offloads,
            merger: merges.then(|| Merger::new(offloads >= Offloads::TcpUdp)),
            frame: Vec::new(),
        }
    }

    /// Returns the offloads of the ports that it prepares frames for.
    pub(super) fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Takes a frame. If the port supports super-frames, the frame may be held for merging until
    /// [`FramePreparation::flush`].
    pub(super) fn push(
        &mut self,
        frame: InnerFrame<'_>,
        emit: &mut dyn FnMut(&VirtioHeader, &[u8]),
    ) {
        if let Some(merger) = &mut self.merger {
            merger.push(frame.bytes, frame.partial, emit);
        } else if frame.partial {
            self.frame.clear();
            self.frame.extend_from_slice(frame.bytes);
            match finish_checksum(&mut self.frame) {
                Ok(()) => emit(&VirtioHeader::PLAIN, &self.frame),
                Err(error) => tracing::trace!("cannot finish a checksum: {error}"),
            }
        } else {
            emit(&VirtioHeader::PLAIN, frame.bytes);
        }
    }

    /// Emits all held frames.
    pub(super) fn flush(&mut self, emit: &mut dyn FnMut(&VirtioHeader, &[u8])) {
        if let Some(merger) = &mut self.merger {
            merger.flush(emit);
        }
    }
}

/// Writing half of the port, with the preparation of frames.
pub(super) struct Injector {
    writer: ReopeningWriter,
    preparation: FramePreparation,
}

impl Injector {
    pub(super) fn new(writer: ReopeningWriter) -> Self {
        Self {
            preparation: FramePreparation::new(writer.offloads()),
            writer,
        }
    }

    /// Takes a frame, which may be held until [`Injector::flush`].
    pub(super) fn inject(&mut self, frame: InnerFrame<'_>) {
        let writer = &mut self.writer;
        self.preparation
            .push(frame, &mut |header, bytes| write(writer, header, bytes));
    }

    /// Writes all held frames.
    pub(super) fn flush(&mut self) {
        let writer = &mut self.writer;
        self.preparation
            .flush(&mut |header, bytes| write(writer, header, bytes));
    }
}

/// Writes one frame; one that the port does not take is lost.
pub(super) fn write(writer: &mut (impl FrameWriter + ?Sized), header: &VirtioHeader, bytes: &[u8]) {
    match writer.send(header, bytes) {
        Ok(()) => {}
        Err(error @ PortError::Down(_)) => tracing::trace!("{error}"),
        Err(error) => tracing::trace!("cannot inject a frame of {} bytes: {error}", bytes.len()),
    }
}
