//! Notes of `ps` about containers whose network was removed from the mesh under them.

use std::collections::VecDeque;
use std::time::Duration;

use ipnet::IpNet;
use mesh_proto::api::{AttachedContainer, Runtime};
use mesh_proto::time::Instant;

/// Containers of which it is said; when there are more, the oldest is forgotten.
const MAX_NOTES: usize = 64;
/// Time for which it is said.
const TOLD_FOR: Duration = Duration::from_secs(600);

/// A container that was detached from a network, because the mesh has it no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EvictedContainer {
    /// Container id, as in `ps`.
    pub(crate) container: String,
    /// Its name.
    pub(crate) name: String,
    /// Its runtime.
    pub(crate) runtime: Runtime,
    /// Name of the network.
    pub(crate) network: String,
    /// The address that it had there.
    pub(crate) address: IpNet,
}

impl EvictedContainer {
    fn words(&self) -> String {
        format!(
            "the network {} was removed, and with it the address {}",
            self.network,
            self.address.addr()
        )
    }
}

/// Evictions of late.
#[derive(Debug, Default)]
pub(super) struct EvictionNotes(VecDeque<(Instant, EvictedContainer)>);

impl EvictionNotes {
    pub(super) fn note(&mut self, removal: EvictedContainer, now: Instant) {
        if self.0.len() >= MAX_NOTES {
            self.0.pop_front();
        }
        self.0.push_back((now, removal));
    }

    pub(super) fn forget(&mut self, container: &str) {
        self.0.retain(|(_, removal)| removal.container != container);
    }

    pub(super) fn annotate(&mut self, rows: &mut Vec<AttachedContainer>, now: Instant) {
        self.0.retain(|(at, _)| now.since(*at) < TOLD_FOR);
        for (_, removal) in &self.0 {
            let is_its = |row: &&mut AttachedContainer| row.container == removal.container;
            if let Some(row) = rows.iter_mut().find(is_its) {
                row.notes.push(removal.words());
                continue;
            }
            rows.push(AttachedContainer {
                container: removal.container.clone(),
                name: removal.name.clone(),
                runtime: removal.runtime,
                interfaces: Vec::new(),
                notes: vec![removal.words()],
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removal(n: usize) -> EvictedContainer {
        EvictedContainer {
            container: format!("id-{n}"),
            name: format!("web{n}"),
            runtime: Runtime::Process,
            network: "web".into(),
            address: "10.40.0.1/16".parse().unwrap(),
        }
    }

    fn shown(notes: &mut EvictionNotes, secs: u64) -> Vec<AttachedContainer> {
        let mut rows = Vec::new();
        notes.annotate(&mut rows, Instant::ZERO + Duration::from_secs(secs));
        rows
    }

    #[test]
    fn removals_are_told_for_a_while_and_bounded() {
        let mut notes = EvictionNotes::default();
        for n in 0..=MAX_NOTES {
            notes.note(removal(n), Instant::ZERO);
        }
        let rows = shown(&mut notes, 599);
        assert_eq!((rows.len(), rows[0].name.as_str()), (MAX_NOTES, "web1"));
        let words = "the network web was removed, and with it the address 10.40.0.1";
        assert_eq!(rows[0].notes, [words]);
        notes.forget("id-1");
        assert_eq!(shown(&mut notes, 599).len(), MAX_NOTES - 1);
        assert!(shown(&mut notes, 600).is_empty());
    }
}
