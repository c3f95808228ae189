//! DNS check of peer names. A name that does not resolve is most likely a typo, so the user is told.

use std::net::ToSocketAddrs as _;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use mesh_proto::control::targets::{DialTo, parse_target};
use mesh_proto::limits::DEFAULT_PORT;

use crate::output;

/// Time limit for all names together.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most names that are looked up, all at once; further ones are skipped.
const MAX_NAMES: usize = 64;

/// Look-ups in progress.
pub(crate) struct Lookup {
    waiting: Vec<String>,
    answers: Receiver<(String, bool)>,
    deadline: Instant,
}

impl Lookup {
    /// Starts the look-ups in threads of their own.
    pub(crate) fn begin(targets: &[String]) -> Self {
        let (sender, answers) = channel();
        let mut waiting = Vec::new();
        for target in targets {
            let Ok(DialTo::Name { host, port }) = parse_target(target, DEFAULT_PORT) else {
                continue;
            };
            if waiting.len() >= MAX_NAMES || waiting.contains(target) {
                continue;
            }
            let (sender, name) = (sender.clone(), target.clone());
            let looked = thread::Builder::new().spawn(move || {
                let resolves = (host.as_str(), port).to_socket_addrs();
                // The receiver is gone after the time limit.
                let _ = sender.send((name, resolves.is_ok_and(|mut all| all.next().is_some())));
            });
            if looked.is_ok() {
                waiting.push(target.clone());
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
                output::complain(&format!(
                    "peer {name}: the name does not resolve; it is tried again and again, see `mesh status connections`"
                ));
            }
        }
        for name in self.waiting {
            output::complain(&format!(
                "peer {name}: no answer from the resolver in {} s; it is asked again and again, see `mesh status connections`",
                PATIENCE.as_secs()
            ));
        }
    }
}
