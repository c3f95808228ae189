//! Merging ordinary frames into super-frames, as Linux' GRO does: one write into a port for a whole burst.

use super::flow::{Candidate, Flow};
use super::packet::{NotTransport, Packet, Transport};
use super::slot::{Join, Slot};
use super::virtio::VirtioHeader;
use crate::limits::MAX_MERGE_FLOWS;

/// Takes a frame for a port with offloads; the frame is only lent.
pub type Emit<'a> = dyn FnMut(&VirtioHeader, &[u8]) + 'a;

/// Makes super-frames of consecutive TCP segments and of equally long UDP datagrams.
///
/// Frames of one flow (protocol, addresses, ports) are emitted in the order in which they were pushed; frames of
/// different flows may pass each other. Every byte of a complete frame that is merged was checked against its checksum.
///
/// At most [`MAX_MERGE_FLOWS`] super-frames grow at once; for another one the oldest is emitted. Each has a buffer of 64
/// KiB, allocated at its first use.
#[derive(Debug)]
pub struct Merger {
    /// Those in use first, in the order in which they were begun.
    slots: Vec<Slot>,
    in_use: usize,
    merge_udp: bool,
}

impl Merger {
    /// A merger that holds nothing; UDP needs a kernel that takes [`super::Segmentation::Udp`] (Linux 6.2 for TAP).
    pub fn new(merge_udp: bool) -> Self {
        Self {
            slots: (0..MAX_MERGE_FLOWS).map(|_| Slot::default()).collect(),
            in_use: 0,
            merge_udp,
        }
    }

    /// Takes one ordinary frame; emits what cannot grow any more, in the order of each flow.
    ///
    /// `partial`: the checksum holds the sum of the pseudo-header only, and the payload was authenticated by others.
    pub fn push(&mut self, frame: &[u8], partial: bool, emit: &mut Emit<'_>) {
        let packet = match Packet::parse(frame) {
            Ok(packet) => packet,
            Err(NotTransport::Fragment) => {
                // Its flow may be any of those that wait.
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
        if packet.transport == Transport::Udp && !self.merge_udp {
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

    /// Emits all that waits, in the order in which it began.
    pub fn flush(&mut self, emit: &mut Emit<'_>) {
        for slot in self.slots.iter_mut().take(self.in_use) {
            let (header, frame) = slot.finish();
            emit(&header, frame);
        }
        self.in_use = 0;
    }

    /// Whether nothing waits: [`Merger::flush`] would emit nothing.
    pub fn is_empty(&self) -> bool {
        self.in_use == 0
    }

    /// Whether the frame became part of the super-frame of its flow; if not, that is emitted.
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

    /// Emits what slot `at` holds; those begun later keep their order.
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
