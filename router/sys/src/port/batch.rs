//! Frames of one wake-up, in one buffer.

use mesh_proto::limits::MAX_FRAME;

/// Up to a fixed number of frames, none longer than [`MAX_FRAME`]; its memory is kept from batch to batch.
#[derive(Debug)]
pub struct FrameBatch {
    bytes: Vec<u8>,
    /// Where each frame ends in `bytes`.
    ends: Vec<usize>,
    capacity: usize,
}

impl FrameBatch {
    /// An empty batch of at most `frames` frames.
    pub fn with_capacity(frames: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(frames.saturating_mul(1_536)),
            ends: Vec::with_capacity(frames),
            capacity: frames,
        }
    }

    /// Forgets the frames, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Adds a frame; false, and nothing is added, when the batch is full or the frame empty or too long.
    pub fn push(&mut self, frame: &[u8]) -> bool {
        if self.is_full() || frame.is_empty() || frame.len() > MAX_FRAME {
            return false;
        }
        self.bytes.extend_from_slice(frame);
        self.ends.push(self.bytes.len());
        true
    }

    /// The frames, in the order of their arrival.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let frame = &self.bytes[start..*end];
            start = *end;
            frame
        })
    }

    /// The frames, to be changed in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let mut rest = self.bytes.as_mut_slice();
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let (frame, after) = std::mem::take(&mut rest).split_at_mut(end - start);
            rest = after;
            start = *end;
            frame
        })
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many frames fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether no further frame fits.
    pub fn is_full(&self) -> bool {
        self.ends.len() >= self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut batch = FrameBatch::with_capacity(2);
        assert!(batch.push(b"one") && batch.push(b"three"));
        assert!(!batch.push(b"two"), "full");
        assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"one"[..], b"three"]);
        for frame in batch.iter_mut() {
            frame[0] = b'X';
        }
        assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"Xne"[..], b"Xhree"]);
        batch.clear();
        assert!(batch.is_empty() && batch.iter().next().is_none());
    }

    #[test]
    fn empty_and_giant_frames_are_refused() {
        let mut batch = FrameBatch::with_capacity(8);
        assert!(!batch.push(b""));
        assert!(!batch.push(&[0; MAX_FRAME + 1]));
        assert!(batch.push(&[0; MAX_FRAME]));
        assert_eq!(batch.len(), 1);
    }
}
