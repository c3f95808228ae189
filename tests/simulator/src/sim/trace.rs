//! Trace of a run: a hash of every event, and optional lines of text.

use std::fmt::Arguments;

use mesh_proto::time::Instant;

/// Returns a 64-bit hash that distinguishes runs and datagrams (FNV-1a over eight bytes at a time).
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let (words, rest) = bytes.as_chunks();
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = mix(hash, u64::from_le_bytes(word));
    }
    mix(hash, bytes.len() as u64)
}

fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Receiver of verbose lines.
pub(crate) type LineSink = Box<dyn FnMut(&str)>;

/// Hash and number of events so far.
#[derive(Default)]
pub(crate) struct Trace {
    hash: u64,
    events: u64,
    sink: Option<LineSink>,
}

impl Trace {
    pub(crate) fn new(sink: Option<LineSink>) -> Self {
        Self {
            sink,
            ..Self::default()
        }
    }

    /// Records an event; `parts` identify it.
    pub(crate) fn event(&mut self, at: Instant, parts: &[u64]) {
        self.events += 1;
        self.hash = mix(self.hash, at.as_nanos());
        for part in parts {
            self.hash = mix(self.hash, *part);
        }
    }

    /// Writes a line of text.
    pub(crate) fn line(&mut self, at: Instant, line: Arguments<'_>) {
        if let Some(sink) = &mut self.sink {
            let seconds = at.as_nanos() as f64 / 1e9;
            sink(&format!("{seconds:10.6} {line}"));
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_content_count() {
        let run = |parts: &[u64]| {
            let mut trace = Trace::default();
            for part in parts {
                trace.event(Instant::ZERO, &[*part]);
            }
            trace.hash()
        };
        assert_eq!(run(&[1, 2]), run(&[1, 2]));
        assert_ne!(run(&[1, 2]), run(&[2, 1]));
        assert_ne!(fingerprint(b"a"), fingerprint(b"a\0"));
    }
}
