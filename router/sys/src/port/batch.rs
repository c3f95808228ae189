//! Batch of frames from one wake-up, in one buffer.

use mesh_proto::limits::MAX_SUPER_FRAME;
use mesh_proto::offload::virtio::VirtioHeader;

/// Longest batch in bytes: several super-frames, but no more than a second-level cache holds. The rest waits in the
/// port.
pub const MAX_BATCH_BYTES: usize = 512 * 1024;

/// Batch of up to a fixed number of frames and [`MAX_BATCH_BYTES`], each no longer than [`MAX_SUPER_FRAME`]; its
/// memory is reused.
#[derive(Debug)]
pub struct FrameBatch {
    /// Zeroed memory, whose pages are not touched before a frame is stored there.
    bytes: Box<[u8]>,
    frames: Vec<Frame>,
    capacity: usize,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    header: VirtioHeader,
    /// End of the frame in the bytes; it begins at the end of the previous one.
    end: usize,
}

impl FrameBatch {
    /// Creates an empty batch of at most `frames` frames.
    pub fn with_capacity(frames: usize) -> Self {
        Self {
            bytes: vec![0; MAX_BATCH_BYTES].into(),
            frames: Vec::with_capacity(frames),
            capacity: frames,
        }
    }

    /// Removes all frames, but keeps the memory.
    pub fn clear(&mut self) {
        self.frames.clear();
    }

    /// Appends a frame. Returns false, and appends nothing, if there is no room, or the frame is empty or too long.
    pub fn push(&mut self, header: &VirtioHeader, frame: &[u8]) -> bool {
        let start = self.used();
        let Some(room) = self.bytes.get_mut(start..start + frame.len()) else {
            return false;
        };
        room.copy_from_slice(frame);
        self.commit(header, frame.len())
    }

    /// Returns the free space behind the last frame, longer than [`MAX_SUPER_FRAME`], to be filled and then appended
    /// by [`FrameBatch::commit`]; `None` if the batch is full.
    pub fn spare(&mut self) -> Option<&mut [u8]> {
        let start = self.used();
        (!self.is_full())
            .then(|| self.bytes.get_mut(start..))
            .flatten()
    }

    /// Appends the first `length` bytes of [`FrameBatch::spare`] as a frame. Returns false, and appends nothing, if
    /// that is no valid length.
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

    /// Returns the frames with their headers, in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = (VirtioHeader, &[u8])> {
        let mut start = 0;
        self.frames.iter().map(move |frame| {
            let bytes = &self.bytes[start..frame.end];
            start = frame.end;
            (frame.header, bytes)
        })
    }

    /// Returns the frames for changes in place.
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

    /// Returns the number of frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Returns the largest number of small frames.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the number of further frames of up to `length` bytes that fit in any case.
    pub fn room_for_frames(&self, length: usize) -> usize {
        let by_bytes = (self.bytes.len() - self.used()) / length.max(1);
        by_bytes.min(self.capacity - self.frames.len())
    }

    /// Returns the length of all frames, in bytes.
    pub fn used(&self) -> usize {
        self.frames.last().map_or(0, |frame| frame.end)
    }

    /// Returns true if there is no frame.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns true if a further frame of any length may not fit.
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
    fn frames_read_into_the_spare_room_follow_the_last() {
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
