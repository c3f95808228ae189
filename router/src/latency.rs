//! The host's latency request, held by a thread of its own while frames flow and are sparse.
//!
//! When and why: [`mesh_proto::latency`]. Lanes only wake the thread, at the first frame after a rest; it reads the
//! counters that lanes keep anyway. While nothing flows it sleeps without a time-out.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use mesh_options::LatencyMode;
use mesh_proto::forward::{Counter, Counters, Forwarder};
use mesh_proto::latency::{Demand, LatencyGovernor, TICK, Traffic};
use mesh_sys::latency::LatencyRequest;

/// The latency request, as lanes and reports see it.
pub struct Latency {
    mode: LatencyMode,
    /// Why no request can be made on this host; empty if one can.
    missing: String,
    state: AtomicU8,
    /// Whether the thread waits for the first frame.
    rests: AtomicBool,
    /// Frames when the rest began.
    rested_at: AtomicU64,
    thread: OnceLock<Thread>,
    /// With `on`, held until the router ends.
    _held: Option<LatencyRequest>,
}

impl Latency {
    /// Begins to do what `mode` says. Without the device, or the right to use it, wake-ups are as slow as they are, and
    /// [`Latency::words`] says so.
    pub fn start(mode: LatencyMode, forwarder: &Arc<Forwarder>) -> Arc<Self> {
        let held = match mode {
            LatencyMode::Auto => LatencyRequest::check().map(|()| None),
            LatencyMode::On => LatencyRequest::hold().map(Some),
            LatencyMode::Off => Ok(None),
        };
        let (held, missing) = match held {
            Ok(held) => (held, String::new()),
            Err(error) => (None, error.to_string()),
        };
        if !missing.is_empty() {
            tracing::info!("{missing}; round trips take as long as processors take to wake");
        }
        let governed = mode == LatencyMode::Auto && missing.is_empty();
        let latency = Arc::new(Self {
            mode,
            missing,
            state: AtomicU8::new(State::Quiet as u8),
            rests: AtomicBool::new(false),
            rested_at: AtomicU64::new(0),
            thread: OnceLock::new(),
            _held: held,
        });
        if governed {
            latency.clone().govern(forwarder.clone());
        }
        latency
    }

    /// Starts the thread. It ends with the process, and so does what it holds.
    fn govern(self: Arc<Self>, forwarder: Arc<Forwarder>) {
        let run = {
            let latency = self.clone();
            move || latency.run(forwarder.counters())
        };
        match std::thread::Builder::new()
            .name("latency".to_owned())
            .spawn(run)
        {
            Ok(thread) => {
                // The only place that sets it.
                let _ = self.thread.set(thread.thread().clone());
            }
            Err(error) => tracing::warn!("cannot start a thread: {error}; wake-ups stay slow"),
        }
    }

    fn run(&self, counters: &Counters) {
        let mut governor = LatencyGovernor::default();
        let mut request = None;
        loop {
            match governor.tick(traffic(counters)) {
                Demand::Hold => {
                    request = request.or_else(hold);
                    self.set(State::Held);
                }
                Demand::Watch => self.set(State::Few),
                Demand::Yield => {
                    request = None;
                    self.set(State::Busy);
                }
                Demand::Rest => {
                    request = None;
                    self.set(State::Quiet);
                    self.rest(counters);
                    continue;
                }
            }
            std::thread::sleep(TICK);
        }
    }

    /// Returns when frames were moved since the counters were read last.
    fn rest(&self, counters: &Counters) {
        let frames = traffic(counters).frames;
        self.rested_at.store(frames, Ordering::Relaxed);
        self.rests.store(true, Ordering::SeqCst);
        while traffic(counters).frames == frames {
            std::thread::park();
        }
        self.rests.store(false, Ordering::Relaxed);
    }

    /// A lane has moved what it had: ends the rest if there was a frame among it.
    ///
    /// While frames flow that is one load. A lane that sees the rest too late tells with its next frame.
    pub fn moved(&self, counters: &Counters) {
        if self.rests.load(Ordering::Relaxed)
            && traffic(counters).frames != self.rested_at.load(Ordering::Relaxed)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn set(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// What a report says: the mode and, for `auto`, what it does now and why.
    pub fn words(&self) -> String {
        let mode = match self.mode {
            LatencyMode::Auto => "auto",
            LatencyMode::On => "on",
            LatencyMode::Off => return "off".to_owned(),
        };
        if !self.missing.is_empty() {
            return format!("{mode}, without effect: {}", self.missing);
        }
        let state = self.state.load(Ordering::Relaxed);
        let now = match self.mode {
            LatencyMode::Auto if state == State::Held as u8 => "quick wake-ups held: frames flow",
            LatencyMode::Auto if state == State::Busy as u8 => "nothing held: busy without a pause",
            LatencyMode::Auto if state == State::Few as u8 => "nothing held: few frames",
            LatencyMode::Auto => "nothing held: quiet",
            _ => "quick wake-ups held",
        };
        format!("{mode} ({now})")
    }
}

#[repr(u8)]
enum State {
    Quiet,
    Few,
    Held,
    Busy,
}

/// The request could be made at the start; if it cannot now, the next tick tries again.
fn hold() -> Option<LatencyRequest> {
    LatencyRequest::hold()
        .inspect_err(|error| tracing::debug!("{error}"))
        .ok()
}

fn traffic(counters: &Counters) -> Traffic {
    let sum = |all: &[Counter]| all.iter().map(|c| counters.get(*c)).sum();
    Traffic {
        frames: sum(&[
            Counter::FramesIn,
            Counter::FramesOut,
            Counter::Relayed,
            Counter::FloodPassed,
        ]),
        work: sum(&[
            Counter::DataSent,
            Counter::FramesOut,
            Counter::Relayed,
            Counter::FloodPassed,
        ]),
    }
}
