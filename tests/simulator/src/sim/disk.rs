//! A host's disk with the journal of addresses: synced bytes stay, an unfinished write may be torn.
//!
//! Writes are batched as by the router's disk thread: everything queued since the last sync is in the next one, and a
//! new file is complete before it replaces the old one. The bytes are those of the real journal.

use std::time::Duration;

use mesh_allocator::journal::file::{entries, file, frame};

use super::invariants::{Check, Violation};
use super::rng::Rng;

/// Unit in bytes that a power failure may lose separately.
const SECTOR: usize = 512;
const TORN: &str = "I13 old or new, never a third";

/// One of a router's journals, each in a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JournalKind {
    /// Addresses in the network `default`.
    Default,
    /// Addresses in the other networks.
    Networks,
}

impl JournalKind {
    pub(crate) const ALL: [Self; 2] = [Self::Default, Self::Networks];
}

/// Write request of a router.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    /// Append an entry.
    Entry { position: u64, entry: Vec<u8> },
    /// Replace the file by a snapshot that includes all entries up to `position`.
    Replace {
        position: u64,
        entries: Vec<Vec<u8>>,
    },
}

/// Kind of crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// `kill -9`: everything handed to the kernel is written.
    Kill,
    /// Power failure: any part of the unsynced data may be written.
    Power,
}

/// A crash armed for a certain write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trap {
    /// Number of writes that start before it.
    pub(crate) after: usize,
    pub(crate) crash: Crash,
}

/// Write in progress.
#[derive(Clone, Debug)]
enum Writing {
    Append(Vec<u8>),
    Replace(Vec<u8>),
}

/// State of the disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    file: Option<Vec<u8>>,
    writing: Option<(u64, Writing)>,
    snapshot: Option<(u64, Vec<Vec<u8>>)>,
    waiting: Vec<Vec<u8>>,
    position: u64,
    pub(crate) trap: Option<Trap>,
    /// Permitted contents after a crash: the entries before and after the interrupted write.
    left: Option<[Vec<Vec<u8>>; 2]>,
}

impl Disk {
    /// Queues a write; a snapshot replaces all earlier queued entries.
    pub(crate) fn push(&mut self, write: Write) {
        match write {
            Write::Entry { position, entry } => {
                self.waiting.push(entry);
                self.position = position;
            }
            Write::Replace { position, entries } => {
                self.waiting.clear();
                self.snapshot = Some((position, entries));
                self.position = position;
            }
        }
    }

    /// Starts the next write, unless one is in progress. Returns its duration, and the armed crash if it is due at this
    /// write.
    pub(crate) fn begin(&mut self, rng: &mut Rng) -> Option<(Duration, Option<Crash>)> {
        if self.writing.is_some() {
            return None;
        }
        let write = match (self.snapshot.take(), &self.file) {
            (Some((position, entries)), _) => (position, Writing::Replace(file(&entries))),
            (None, old) if !self.waiting.is_empty() => {
                let entries = std::mem::take(&mut self.waiting);
                let writing = match old {
                    Some(old) => Writing::Append(frame(old.len(), &entries)),
                    // The first entries come with the file.
                    None => Writing::Replace(file(&entries)),
                };
                (self.position, writing)
            }
            _ => return None,
        };
        self.writing = Some(write);
        let slow = rng.chance(50);
        let time = rng.millis(1, if slow { 200 } else { 20 });
        Some((time, self.sprung()))
    }

    fn sprung(&mut self) -> Option<Crash> {
        let trap = self.trap.as_mut()?;
        if trap.after > 0 {
            trap.after -= 1;
            return None;
        }
        self.trap.take().map(|trap| trap.crash)
    }

    /// Completes the write in progress. Returns the durable position, and the length of the file.
    pub(crate) fn finish(&mut self) -> Option<(u64, usize)> {
        let (position, writing) = self.writing.take()?;
        self.file = Some(self.after(&writing));
        Some((position, self.file.as_ref().map_or(0, Vec::len)))
    }

    fn after(&self, writing: &Writing) -> Vec<u8> {
        match writing {
            Writing::Replace(file) => file.clone(),
            Writing::Append(frame) => {
                let mut file = self.file.clone().unwrap_or_default();
                file.extend_from_slice(frame);
                file
            }
        }
    }

    /// Crashes, perhaps in the middle of a write.
    pub(crate) fn crash(&mut self, how: Crash, rng: &mut Rng) {
        self.waiting.clear();
        self.snapshot = None;
        self.position = 0;
        let Some((_, writing)) = self.writing.take() else {
            return;
        };
        let said = |file: &Option<Vec<u8>>| {
            let said = file.as_ref().map(|file| entries(file));
            said.and_then(Result::ok).unwrap_or_default()
        };
        let after = Some(self.after(&writing));
        self.left = Some([said(&self.file), said(&after)]);
        match writing {
            Writing::Replace(new) => {
                if rng.chance(500) {
                    self.file = Some(new);
                }
            }
            Writing::Append(frame) => {
                let torn = torn(frame, how, rng);
                if let Some(file) = &mut self.file {
                    file.extend_from_slice(&torn);
                }
            }
        }
    }

    /// Loses the last bytes of the file although they were synced: a lying disk.
    pub(crate) fn lose_end(&mut self, bytes: usize) {
        if let Some(file) = &mut self.file {
            file.truncate(file.len().saturating_sub(bytes));
        }
    }

    /// Loses all content.
    pub(crate) fn lose(&mut self) {
        *self = Self {
            trap: self.trap,
            ..Self::default()
        };
    }

    /// Returns a copy of the disk's synced content.
    pub(crate) fn copy(&self) -> Self {
        Self {
            file: self.file.clone(),
            ..Self::default()
        }
    }

    /// Returns the entries that the next start reads.
    ///
    /// # Errors
    /// I13, if the content is neither that before nor that after the interrupted write.
    pub(crate) fn read(&mut self) -> Result<Vec<Vec<u8>>, Violation> {
        let left = self.left.take();
        let Some(bytes) = &self.file else {
            return Ok(Vec::new());
        };
        let said = entries(bytes).map_err(|e| Violation::new(TORN, e.to_string()))?;
        check_left(left.as_ref(), &said)?;
        Ok(said)
    }
}

fn check_left(left: Option<&[Vec<Vec<u8>>; 2]>, said: &Vec<Vec<u8>>) -> Check {
    match left {
        Some(left) if !left.contains(said) => {
            let detail = format!(
                "the journal has {} entries after a crash, neither {} nor {}",
                said.len(),
                left[0].len(),
                left[1].len()
            );
            Err(Violation::new(TORN, detail))
        }
        _ => Ok(()),
    }
}

/// Returns the part of an interrupted append that is in the file.
fn torn(mut frame: Vec<u8>, how: Crash, rng: &mut Rng) -> Vec<u8> {
    match (how, rng.below(4)) {
        (_, 0) => frame,
        (Crash::Power, 1) => {
            // The file has its new length, and an arbitrary subset of its sectors.
            for sector in frame.chunks_mut(SECTOR) {
                if rng.chance(500) {
                    sector.fill(0);
                }
            }
            frame
        }
        (Crash::Power, 2) => {
            frame.fill(0);
            frame
        }
        _ => {
            frame.truncate(rng.below(frame.len() + 1));
            frame
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u8) -> Write {
        let (position, entry) = (n.into(), vec![n; 100]);
        Write::Entry { position, entry }
    }

    fn written(rng: &mut Rng) -> Disk {
        let mut disk = Disk::default();
        disk.push(Write::Replace {
            position: 1,
            entries: vec![vec![0; 3]],
        });
        assert!(disk.begin(rng).is_some());
        assert_eq!(disk.finish().unwrap().0, 1);
        disk
    }

    #[test]
    fn what_is_synced_stays_and_the_rest_is_there_as_a_whole_or_not_at_all() {
        let mut kept = [0; 2];
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut disk = written(&mut rng);
            disk.push(entry(2));
            assert!(disk.begin(&mut rng).is_some());
            assert!(disk.begin(&mut rng).is_none(), "one after the other");
            disk.push(entry(3));
            let how = [Crash::Kill, Crash::Power][usize::from(rng.chance(500))];
            disk.crash(how, &mut rng);
            let said = disk.read().unwrap();
            kept[said.len() - 1] += 1;
        }
        assert!(kept[0] > 100 && kept[1] > 20, "{kept:?}");
    }

    #[test]
    fn a_third_state_is_noticed() {
        let mut rng = Rng::new(1);
        let mut disk = written(&mut rng);
        for n in [2, 3] {
            disk.push(entry(n));
            disk.begin(&mut rng).unwrap();
            disk.finish().unwrap();
        }
        disk.push(entry(4));
        disk.begin(&mut rng).unwrap();
        disk.crash(Crash::Kill, &mut rng);
        disk.lose_end(10_000);
        assert!(disk.read().is_err());
        let mut disk = written(&mut rng);
        disk.push(entry(2));
        disk.begin(&mut rng).unwrap();
        disk.finish().unwrap();
        disk.push(entry(3));
        disk.begin(&mut rng).unwrap();
        disk.crash(Crash::Kill, &mut rng);
        disk.file = Some(file(&[vec![9; 9]]));
        assert!(disk.read().unwrap_err().invariant.starts_with("I13"));
    }

    #[test]
    fn a_trap_springs_at_its_write_and_once() {
        let mut rng = Rng::new(1);
        let mut disk = written(&mut rng);
        disk.trap = Some(Trap {
            after: 1,
            crash: Crash::Power,
        });
        let mut sprung = Vec::new();
        for n in 2..6 {
            disk.push(entry(n));
            sprung.push(disk.begin(&mut rng).unwrap().1);
            disk.finish();
        }
        assert_eq!(sprung, [None, Some(Crash::Power), None, None]);
    }
}
