//! DNS check of peer names. A name that does not resolve is most likely a typo, so the user is told.

use std::net::ToSocketAddrs as _;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use mesh_command::lookup::{LookupName, names, unanswered, unresolved};

use crate::output;

/// Time limit for all names together.
const PATIENCE: Duration = Duration::from_secs(1);

/// Look-ups in progress.
pub(crate) struct PeerLookup {
    waiting: Vec<String>,
    answers: Receiver<(String, bool)>,
    deadline: Instant,
}

impl PeerLookup {
    /// Starts the look-ups in threads of their own.
    pub(crate) fn begin(targets: &[String]) -> Self {
        let (sender, answers) = channel();
        let mut waiting = Vec::new();
        for LookupName { typed, host, port } in names(targets) {
            let (sender, name) = (sender.clone(), typed.clone());
            let looked = thread::Builder::new().spawn(move || {
                let resolves = (host.as_str(), port).to_socket_addrs();
                // The receiver is gone after the time limit.
                let _ = sender.send((name, resolves.is_ok_and(|mut all| all.next().is_some())));
            });
            if looked.is_ok() {
                waiting.push(typed);
            }
        }
        Self {
            waiting,
            answers,
            deadline: Instant::now() + PATIENCE,
        }
    }

    /// Prints a line for each name that does not resolve, or not in time.
    pub(crate) fn finish(mut self) {
        while !self.waiting.is_empty() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let Ok((name, resolves)) = self.answers.recv_timeout(left) else {
                break;
            };
            self.waiting.retain(|waiting| *waiting != name);
            if !resolves {
                output::complain(&unresolved(&name));
            }
        }
        for name in self.waiting {
            output::complain(&unanswered(&name, PATIENCE.as_secs()));
        }
    }
}
