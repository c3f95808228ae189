//! Merging of ordinary frames into super-frames, like GRO in Linux: one write to the port for a whole burst.

use super::flow::{Candidate, Flow};
use super::packet::{L4Protocol, NotTransport, Packet};
use super::slot::{Join, Slot};
use super::virtio::VirtioHeader;
use crate::limits::MAX_MERGE_FLOWS;

/// Callback that takes a frame for a port with offloads; the frame is borrowed.
pub type Emit<'a> = dyn FnMut(&VirtioHeader, &[u8]) + 'a;

/// Builder of super-frames from consecutive TCP segments and from UDP datagrams of equal length.
///
/// Frames of one flow (protocol, addresses, ports) are emitted in the order in which they were pushed; those of
/// different flows may overtake one another. A complete frame is merged only after its checksum was verified.
///
/// At most [`MAX_MERGE_FLOWS`] super-frames are open at once; for a further one the oldest is emitted. Each has a
/// buffer of 64 KiB, allocated at its first use.
#[derive(Debug)]
pub struct Merger {
    /// Slots, those in use first, in the order in which they were begun.
    slots: Vec<Slot>,
    in_use: usize,
    merge_udp: bool,
}

impl Merger {
    /// Creates an empty merger. Merging UDP needs a kernel that supports [`super::Segmentation::Udp`] (Linux 6.2 for
    /// TAP).
    pub fn new(merge_udp: bool) -> Self {
        Self {
            slots: (0..MAX_MERGE_FLOWS).map(|_| Slot::default()).collect(),
            in_use: 0,
            merge_udp,
        }
    }

    /// Takes one ordinary frame, and emits super-frames that cannot grow any more.
    ///
    /// `partial`: the checksum holds the sum of the pseudo-header only, and the payload was authenticated already.
    pub fn push(&mut self, frame: &[u8], partial: bool, emit: &mut Emit<'_>) {
        let packet = match Packet::parse(frame) {
            Ok(packet) => packet,
            Err(NotTransport::Fragment) => {
                // It may belong to the flow of any open super-frame.
                self.flush(emit);
                return emit(&VirtioHeader::PLAIN, frame);
            }
            Err(NotTransport::Other) => return emit(&VirtioHeader::PLAIN, frame),
        };
        let candidate = Candidate {
            frame,
            packet,
            partial,
        };
        if packet.transport == L4Protocol::Udp && !self.merge_udp {
            return emit_alone(&candidate, emit);
        }
        let flow = Flow::of(frame, &packet);
        let mergeable = candidate.is_mergeable();
        if self.join(&flow, &candidate, mergeable, emit) {
            return;
        }
        if mergeable && candidate.can_begin() {
            self.begin(flow, &candidate, emit);
        } else {
            emit_alone(&candidate, emit);
        }
    }

    /// Emits all open super-frames, in the order in which they were begun.
    pub fn flush(&mut self, emit: &mut Emit<'_>) {
        for slot in self.slots.iter_mut().take(self.in_use) {
            let (header, frame) = slot.finish();
            emit(&header, frame);
        }
        self.in_use = 0;
    }

    /// Returns true if no super-frame is open: [`Merger::flush`] would emit nothing.
    pub fn is_empty(&self) -> bool {
        self.in_use == 0
    }

    /// Appends the frame to the super-frame of its flow and returns true; otherwise emits that super-frame.
    fn join(
        &mut self,
        flow: &Flow,
        candidate: &Candidate<'_>,
        mergeable: bool,
        emit: &mut Emit<'_>,
    ) -> bool {
        let mut waiting = self.slots.iter_mut().take(self.in_use).enumerate();
        let Some((at, slot)) = waiting.find(|(_, slot)| slot.holds(flow)) else {
            return false;
        };
        let joined = if mergeable {
            slot.join(candidate)
        } else {
            Join::Refused
        };
        if joined != Join::Open {
            self.release(at, emit);
        }
        joined != Join::Refused
    }

    fn begin(&mut self, flow: Flow, candidate: &Candidate<'_>, emit: &mut Emit<'_>) {
        if self.in_use == self.slots.len() {
            self.release(0, emit);
        }
        if let Some(slot) = self.slots.get_mut(self.in_use) {
            slot.begin(flow, candidate);
            self.in_use += 1;
        }
    }

    /// Emits the super-frame in slot `at`; later ones keep their order.
    fn release(&mut self, at: usize, emit: &mut Emit<'_>) {
        let Some([slot, later @ ..]) = self.slots.get_mut(at..self.in_use) else {
            return;
        };
        let (header, frame) = slot.finish();
        emit(&header, frame);
        if !later.is_empty()
            && let Some(waiting) = self.slots.get_mut(at..self.in_use)
        {
            waiting.rotate_left(1);
        }
        self.in_use -= 1;
    }
}

fn emit_alone(candidate: &Candidate<'_>, emit: &mut Emit<'_>) {
    let header = match candidate.partial {
        true => candidate.packet.partial_header(),
        false => VirtioHeader::PLAIN,
    };
    emit(&header, candidate.frame);
}
