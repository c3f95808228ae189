//! Frames of one wake-up, in one buffer.

use mesh_proto::limits::MAX_SUPER_FRAME;
use mesh_proto::offload::virtio::VirtioHeader;

/// Most bytes of frames in one batch: several super-frames, and no more than a second-level cache holds. What does not fit
/// waits in the port.
pub const MAX_BATCH_BYTES: usize = 512 * 1024;

/// Up to a fixed number of frames and [`MAX_BATCH_BYTES`] in all, each no longer than [`MAX_SUPER_FRAME`]; its memory is
/// kept from batch to batch.
#[derive(Debug)]
pub struct FrameBatch {
    /// Zeroed memory of the kernel's, not touched before a frame comes to lie there.
    bytes: Box<[u8]>,
    frames: Vec<Frame>,
    capacity: usize,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    header: VirtioHeader,
    /// Where it ends in the bytes; it begins where the one before ends.
    end: usize,
}

impl FrameBatch {
    /// An empty batch of at most `frames` frames.
    pub fn with_capacity(frames: usize) -> Self {
        Self {
            bytes: vec![0; MAX_BATCH_BYTES].into(),
            frames: Vec::with_capacity(frames),
            capacity: frames,
        }
    }

    /// Forgets the frames, keeps the memory.
    pub fn clear(&mut self) {
        self.frames.clear();
    }

    /// Adds a frame; false, and nothing is added, when there is no room for it or it is empty or too long.
    pub fn push(&mut self, header: &VirtioHeader, frame: &[u8]) -> bool {
        let start = self.used();
        let Some(room) = self.bytes.get_mut(start..start + frame.len()) else {
            return false;
        };
        room.copy_from_slice(frame);
        self.commit(header, frame.len())
    }

    /// The room behind the last frame, longer than [`MAX_SUPER_FRAME`], to be filled and then added by
    /// [`FrameBatch::commit`]; none when the batch is full.
    pub fn spare(&mut self) -> Option<&mut [u8]> {
        let start = self.used();
        (!self.is_full())
            .then(|| self.bytes.get_mut(start..))
            .flatten()
    }

    /// Adds the frame that is the first `length` bytes of [`FrameBatch::spare`]; false, and nothing is added, when that is
    /// no length of a frame.
    pub fn commit(&mut self, header: &VirtioHeader, length: usize) -> bool {
        let end = self.used() + length;
        let good = (1..=MAX_SUPER_FRAME).contains(&length) && end <= self.bytes.len();
        if good && self.frames.len() < self.capacity {
            self.frames.push(Frame {
                header: *header,
                end,
            });
            return true;
        }
        false
    }

    /// The frames with their headers, in the order of their arrival.
    pub fn iter(&self) -> impl Iterator<Item = (VirtioHeader, &[u8])> {
        let mut start = 0;
        self.frames.iter().map(move |frame| {
            let bytes = &self.bytes[start..frame.end];
            start = frame.end;
            (frame.header, bytes)
        })
    }

    /// The frames, to be changed in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (VirtioHeader, &mut [u8])> {
        let mut rest = &mut *self.bytes;
        let mut start = 0;
        self.frames.iter().map(move |frame| {
            let (bytes, after) = std::mem::take(&mut rest).split_at_mut(frame.end - start);
            rest = after;
            start = frame.end;
            (frame.header, bytes)
        })
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// How many frames fit, if they are small.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many more frames of up to `length` bytes fit for certain.
    pub fn room_for_frames(&self, length: usize) -> usize {
        let by_bytes = (self.bytes.len() - self.used()) / length.max(1);
        by_bytes.min(self.capacity - self.frames.len())
    }

    /// Bytes of all frames together.
    pub fn used(&self) -> usize {
        self.frames.last().map_or(0, |frame| frame.end)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether a further frame of any length may not fit.
    pub fn is_full(&self) -> bool {
        self.frames.len() >= self.capacity || self.bytes.len() - self.used() <= MAX_SUPER_FRAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: VirtioHeader = VirtioHeader::PLAIN;
    const UNFINISHED: VirtioHeader = VirtioHeader {
        needs_checksum: true,
        ..PLAIN
    };

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut batch = FrameBatch::with_capacity(2);
        assert!(batch.push(&PLAIN, b"one") && batch.push(&UNFINISHED, b"three"));
        assert!(
            !batch.push(&PLAIN, b"two") && batch.spare().is_none(),
            "full"
        );
        assert!(!batch.commit(&PLAIN, 1));
        let all =
            |batch: &FrameBatch| -> Vec<_> { batch.iter().map(|(h, f)| (h, f.to_vec())).collect() };
        assert_eq!(
            all(&batch),
            [(PLAIN, b"one".to_vec()), (UNFINISHED, b"three".to_vec())]
        );
        for (_, frame) in batch.iter_mut() {
            frame[0] = b'X';
        }
        assert_eq!(
            all(&batch),
            [(PLAIN, b"Xne".to_vec()), (UNFINISHED, b"Xhree".to_vec())]
        );
        batch.clear();
        assert!(batch.is_empty() && batch.iter().next().is_none());
    }

    #[test]
    fn what_is_read_into_the_spare_room_follows_the_last() {
        let mut batch = FrameBatch::with_capacity(3);
        assert!(batch.push(&PLAIN, b"one"));
        batch.spare().unwrap()[..3].copy_from_slice(b"two");
        assert!(batch.commit(&UNFINISHED, 3));
        assert_eq!(batch.used(), 6);
        let last = batch.iter().last().unwrap();
        assert_eq!(last, (UNFINISHED, &b"two"[..]));
    }

    #[test]
    fn empty_and_giant_frames_are_refused() {
        let mut batch = FrameBatch::with_capacity(8);
        assert!(!batch.push(&PLAIN, b""));
        assert!(!batch.push(&PLAIN, &[0; MAX_SUPER_FRAME + 1]));
        assert!(!batch.commit(&PLAIN, 0) && !batch.commit(&PLAIN, MAX_SUPER_FRAME + 1));
        assert!(batch.push(&PLAIN, &[0; MAX_SUPER_FRAME]));
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn the_bytes_are_bounded_too() {
        let mut batch = FrameBatch::with_capacity(64);
        while batch.push(&PLAIN, &[0; MAX_SUPER_FRAME]) {}
        assert!(batch.is_full() && batch.spare().is_none());
        assert!(batch.used() <= MAX_BATCH_BYTES && batch.len() >= MAX_BATCH_BYTES / 65_536 - 1);
        assert_eq!(batch.room_for_frames(MAX_SUPER_FRAME), 0);
    }
}
