//! Peers that a starting router dials: stored targets, and targets given now.

use crate::process::start::StartMode;
use mesh_options::RouterSettings;
use mesh_state::content::GivenPeers;

/// Targets of this start, and the given peers to store.
pub(super) struct Settled {
    pub(super) targets: Vec<String>,
    pub(super) given: GivenPeers,
}

/// Merges given peers with the stored targets. Peers on the command line replace the stored ones. A service has the
/// same command line and file at each start: of these, only changes since the last start count, so that `mesh connect`
/// and `mesh forget` stay in effect.
pub(super) fn settle(
    settings: &RouterSettings,
    manner: StartMode,
    stored: Vec<String>,
    last: GivenPeers,
) -> Settled {
    if manner.resume || manner.again {
        return Settled {
            targets: stored,
            given: last,
        };
    }
    let (command, file) = (&settings.peers, &settings.configured);
    if !command.is_empty() {
        let is_same = !manner.daemon && *command == last.command;
        return Settled {
            targets: distinct(if is_same { stored } else { command.clone() }),
            given: GivenPeers {
                command: command.clone(),
                // The file was not used: next time all its peers count.
                file: Vec::new(),
            },
        };
    }
    let mut targets = stored;
    targets.retain(|t| file.contains(t) || !last.file.contains(t));
    targets.extend(file.iter().filter(|t| !last.file.contains(t)).cloned());
    Settled {
        targets: distinct(targets),
        given: GivenPeers {
            command: Vec::new(),
            file: file.clone(),
        },
    }
}

fn distinct(targets: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(targets.len());
    for target in targets {
        if !out.contains(&target) {
            out.push(target);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_options::Options;

    /// A host with its stored targets, over several starts.
    #[derive(Default)]
    struct Host {
        stored: Vec<String>,
        given: GivenPeers,
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(ToOwned::to_owned).collect()
    }

    const SERVICE: StartMode = StartMode {
        daemon: false,
        resume: false,
        supervisor: None,
        again: false,
    };
    const BY_HAND: StartMode = StartMode {
        daemon: true,
        ..SERVICE
    };

    impl Host {
        fn start(&mut self, manner: StartMode, command: &str, file: &str) -> String {
            let settings = RouterSettings {
                peers: words(command),
                configured: words(file),
                ..crate::config::settings(Options::default()).unwrap()
            };
            let settled = settle(&settings, manner, self.stored.clone(), self.given.clone());
            self.given = settled.given;
            self.stored = settled.targets;
            self.stored.join(" ")
        }

        fn forget(&mut self, target: &str) {
            self.stored.retain(|t| t != target);
        }

        fn connect(&mut self, target: &str) {
            self.stored.push(target.to_owned());
        }
    }

    #[test]
    fn the_command_line_replaces_and_no_peers_change_nothing() {
        let mut host = Host::default();
        assert_eq!(host.start(BY_HAND, "a b a", ""), "a b");
        host.connect("c");
        assert_eq!(host.start(BY_HAND, "", ""), "a b c");
        assert_eq!(host.start(BY_HAND, "d", ""), "d");
        host.forget("d");
        assert_eq!(host.start(BY_HAND, "d", ""), "d", "it was typed again");
        assert_eq!(host.start(SERVICE, "e", ""), "e", "another command line");
    }

    #[test]
    fn a_start_after_a_crash_and_a_resume_have_what_is_stored() {
        let mut host = Host::default();
        host.start(BY_HAND, "a b", "");
        host.forget("a");
        host.connect("c");
        let again = StartMode {
            again: true,
            ..BY_HAND
        };
        assert_eq!(host.start(again, "a b", ""), "b c");
        let resume = StartMode {
            resume: true,
            ..BY_HAND
        };
        assert_eq!(host.start(resume, "", "x y"), "b c");
    }

    #[test]
    fn a_service_does_not_undo_what_was_done_by_hand() {
        for (command, file) in [("a b", ""), ("", "a b")] {
            let mut host = Host::default();
            assert_eq!(host.start(SERVICE, command, file), "a b");
            host.forget("a");
            host.connect("c");
            assert_eq!(host.start(SERVICE, command, file), "b c");
            assert_eq!(host.start(SERVICE, command, file), "b c");
        }
    }

    #[test]
    fn what_changes_in_the_file_counts() {
        let mut host = Host::default();
        host.start(SERVICE, "", "a b");
        host.connect("c");
        host.forget("b");
        assert_eq!(host.start(SERVICE, "", "a b d"), "a c d");
        assert_eq!(
            host.start(SERVICE, "", "b d"),
            "c d",
            "a went, b was forgotten"
        );
        assert_eq!(host.start(SERVICE, "", "d"), "c d");
        assert_eq!(host.start(SERVICE, "", "b d"), "c d b", "written again");
        assert_eq!(host.start(BY_HAND, "x", "b d"), "x");
        assert_eq!(host.start(SERVICE, "", "b d"), "x b d");
    }
}
