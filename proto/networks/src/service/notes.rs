//! Changes of networks in words, for the log. Members of the mesh cause them, so their number is limited.

use core::time::Duration;

use mesh_proto::control::Note;
use mesh_proto::time::Instant;

use crate::definition::NetworkDefinition;
use crate::definition::subnet::NetworkSubnet;

/// Period of the limit.
const PERIOD: Duration = Duration::from_secs(60);
/// Notes in a period; further ones are counted.
const MOST: usize = 50;

/// Limits the notes of a period.
#[derive(Debug, Default)]
pub(crate) struct NoteLimit {
    since: Option<Instant>,
    noted: usize,
    left_out: usize,
}

impl NoteLimit {
    /// Returns the notes to log: this one if there is room, after the number of those that were left out in the period
    /// before.
    pub(crate) fn admit(&mut self, note: Note, now: Instant) -> Vec<Note> {
        let mut notes = Vec::new();
        if self.since.is_none_or(|since| now.since(since) >= PERIOD) {
            if self.left_out > 0 {
                let text = format!("{} further changes of networks", self.left_out);
                notes.push(Note::Info(text));
            }
            *self = Self {
                since: Some(now),
                ..Self::default()
            };
        }
        if self.noted < MOST {
            self.noted += 1;
            notes.push(note);
        } else {
            self.left_out += 1;
        }
        notes
    }
}

/// Says that there is a new network.
pub(crate) fn added(definition: &NetworkDefinition, author: &str) -> Note {
    let name = &definition.name;
    let subnets = listed(&definition.subnets);
    Note::Info(format!("{author} created the network {name} ({subnets})"))
}

/// Says that a network has a newer definition.
pub(crate) fn changed(definition: &NetworkDefinition, author: &str) -> Note {
    let name = &definition.name;
    Note::Info(format!("{author} changed the network {name}"))
}

/// Says that a network was removed, and what that means here.
pub(crate) fn removed(definition: &NetworkDefinition, by: &str, was_member: bool) -> Note {
    let name = &definition.name;
    match was_member {
        true => Note::Warn(format!(
            "{by} removed the network {name}; the containers of this host are detached from it"
        )),
        false => Note::Info(format!("{by} removed the network {name}")),
    }
}

/// Says that a network lost its name to another one.
pub(crate) fn shadowed(text: String, is_own: bool) -> Note {
    match is_own {
        true => Note::Warn(text),
        false => Note::Info(text),
    }
}

/// Says that a network has its name again.
pub(crate) fn revealed(definition: &NetworkDefinition, id: &str) -> Note {
    let name = &definition.name;
    Note::Info(format!("the network {id} has its name {name} again"))
}

fn listed(subnets: &[NetworkSubnet]) -> String {
    let texts: Vec<String> = subnets.iter().map(|s| s.net.to_string()).collect();
    match texts[..] {
        [] => "without subnets".to_owned(),
        _ => texts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_changes_is_summed_up() {
        let mut limit = NoteLimit::default();
        let mut now = Instant::ZERO + PERIOD;
        let note = || Note::Info("x".into());
        let first: usize = (0..80).map(|_| limit.admit(note(), now).len()).sum();
        assert_eq!(first, MOST);
        now += PERIOD;
        let notes = limit.admit(note(), now);
        assert!(
            matches!(&notes[..], [Note::Info(text), _] if text.starts_with("30 further")),
            "{notes:?}"
        );
        assert_eq!(limit.admit(note(), now).len(), 1);
    }
}
