//! Clock: two halves of the hosts step in parallel, each up to the time at which a message from the other half can
//! arrive.
//!
//! A step is as long as the latency of the nearest two hosts. A host depends on its own events alone, whose order does
//! not depend on threads: a seed determines the run, however the threads are scheduled.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering as Memory};
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;

use mesh_proto::time::Instant;

use super::event::{Around, HostEvent};
use super::node::Node;
use super::underlay::{NEAREST, ScaleUnderlay};
use crate::sim::network::HostId;

/// Number of shards and threads.
pub(crate) const SHARDS: usize = 2;

struct Queued(HostEvent);

impl Queued {
    fn key(&self) -> (Instant, HostId, u64) {
        (self.0.at, self.0.from, self.0.number)
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    // The heap returns its greatest element first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

/// Every second host, with its future events.
pub(crate) struct HostShard {
    pub(crate) nodes: Vec<Node>,
    /// Event queue of each host.
    queues: Vec<BinaryHeap<Queued>>,
}

impl HostShard {
    pub(crate) fn new(nodes: Vec<Node>) -> Self {
        let queues = nodes.iter().map(|_| BinaryHeap::new()).collect();
        Self { nodes, queues }
    }

    pub(crate) fn take(&mut self, event: HostEvent) {
        if let Some(queue) = self.queues.get_mut(event.to / SHARDS) {
            queue.push(Queued(event));
        }
    }

    /// Handles the events due before `end`, host by host: hosts do not affect each other within a step, and this keeps
    /// each host's tables in the CPU cache. Events for other shards go to `away`.
    fn step(&mut self, end: Instant, hosts: usize, underlay: &ScaleUnderlay, away: &mut Away) {
        let mut out = Vec::new();
        for host in 0..self.nodes.len() {
            while let Some(event) = self.due(host, end) {
                let mut around = Around {
                    now: event.at,
                    hosts,
                    underlay,
                    out: &mut out,
                };
                let shard = event.to % SHARDS;
                self.nodes[host].handle(event, &mut around);
                for event in out.drain(..) {
                    if event.to % SHARDS == shard {
                        self.take(event);
                    } else {
                        away.push(event);
                    }
                }
            }
        }
    }

    /// Returns the next event of a host before `end`; events of a starved host are postponed.
    fn due(&mut self, host: usize, end: Instant) -> Option<HostEvent> {
        let (queue, node) = (&mut self.queues[host], &self.nodes[host]);
        while queue.peek().is_some_and(|next| next.0.at < end) {
            let Queued(mut event) = queue.pop()?;
            let Some(later) = node.frozen(event.at) else {
                return Some(event);
            };
            event.at = later;
            queue.push(Queued(event));
        }
        None
    }
}

/// Events for another shard.
type Away = Vec<HostEvent>;

/// Steps all shards from `now` to `end`. A panic of the code under test ends the run; the error names the host and
/// time.
pub(crate) fn run(
    shards: &mut [HostShard],
    underlay: &ScaleUnderlay,
    (now, end): (Instant, Instant),
    hosts: usize,
) -> Result<(), String> {
    let barrier = Barrier::new(SHARDS);
    let inboxes: [Mutex<Away>; SHARDS] = Default::default();
    let stopped = AtomicU64::new(u64::MAX);
    let panics = Mutex::new(Vec::new());
    let work = |number: usize, shard: &mut HostShard| {
        let (mut from, mut step) = (now, 0);
        let mut away = Away::new();
        while from < end {
            let until = (from + NEAREST).min(end);
            let played = catch_unwind(AssertUnwindSafe(|| {
                shard.step(until, hosts, underlay, &mut away);
            }));
            if let Err(panic) = played {
                locked(&panics).push(in_words(&*panic));
                stopped.fetch_min(step, Memory::SeqCst);
            }
            locked(&inboxes[1 - number]).append(&mut away);
            barrier.wait();
            if stopped.load(Memory::SeqCst) <= step {
                return;
            }
            for event in locked(&inboxes[number]).drain(..) {
                shard.take(event);
            }
            from = until;
            step += 1;
        }
        // Messages that the other shard sent in its last step.
        barrier.wait();
        for event in locked(&inboxes[number]).drain(..) {
            shard.take(event);
        }
    };
    if let [first, second] = shards {
        thread::scope(|scope| {
            scope.spawn(|| work(1, second));
            work(0, first);
        });
    }
    let panics = panics.into_inner().unwrap_or_else(PoisonError::into_inner);
    match panics.into_iter().next() {
        Some(panic) => Err(panic),
        None => Ok(()),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn in_words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without a message"))
}
