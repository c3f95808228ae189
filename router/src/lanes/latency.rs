//! The host's latency request, held by a thread while frames flow at a low rate.
//!
//! The reasons are in [`mesh_proto::latency`]. Lanes only wake the thread, at the first frame after an idle period; it
//! then reads the counters that lanes keep anyway. While idle it sleeps without a timeout.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use mesh_options::LatencyMode;
use mesh_proto::forward::{Counter, Counters, Forwarder};
use mesh_proto::latency::{Demand, LatencyGovernor, TICK, Traffic};
use mesh_sys::process::latency::LatencyRequest;

/// The latency request, shared with lanes and reports.
pub struct Latency {
    mode: LatencyMode,
    /// Error, if this host allows no latency request; else empty.
    missing: String,
    state: AtomicU8,
    /// True while the thread waits for the first frame.
    rests: AtomicBool,
    /// Frame count at the start of the idle period.
    rested_at: AtomicU64,
    thread: OnceLock<Thread>,
    /// Request of mode `on`, held until the router ends.
    _held: Option<LatencyRequest>,
}

impl Latency {
    /// Starts the mode. Without the device, or the right to use it, wake-ups stay slow, and [`Latency::words`] says so.
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
            state: AtomicU8::new(RequestState::Quiet as u8),
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

    /// Starts the thread. It ends with the process, which releases the request.
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
                // The only place that sets it, so it cannot fail.
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
                    self.set(RequestState::Held);
                }
                Demand::Watch => self.set(RequestState::Few),
                Demand::Yield => {
                    request = None;
                    self.set(RequestState::Busy);
                }
                Demand::Rest => {
                    request = None;
                    self.set(RequestState::Quiet);
                    self.rest(counters);
                    continue;
                }
            }
            std::thread::sleep(TICK);
        }
    }

    /// Blocks until frames have moved since the last reading of the counters.
    fn rest(&self, counters: &Counters) {
        let frames = traffic(counters).frames;
        self.rested_at.store(frames, Ordering::Relaxed);
        self.rests.store(true, Ordering::SeqCst);
        while traffic(counters).frames == frames {
            std::thread::park();
        }
        self.rests.store(false, Ordering::Relaxed);
    }

    /// Called by a lane after a batch: ends the idle period if frames were moved.
    ///
    /// Outside idle periods this is one atomic load. A lane that misses the start of an idle period wakes the thread
    /// with its next frame.
    pub fn moved(&self, counters: &Counters) {
        if self.rests.load(Ordering::Relaxed)
            && traffic(counters).frames != self.rested_at.load(Ordering::Relaxed)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn set(&self, state: RequestState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Returns the state for reports: the mode and, for `auto`, the current state and its reason.
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
            LatencyMode::Auto if state == RequestState::Held as u8 => {
                "quick wake-ups held: frames flow"
            }
            LatencyMode::Auto if state == RequestState::Busy as u8 => {
                "nothing held: busy without a pause"
            }
            LatencyMode::Auto if state == RequestState::Few as u8 => "nothing held: few frames",
            LatencyMode::Auto => "nothing held: quiet",
            _ => "quick wake-ups held",
        };
        format!("{mode} ({now})")
    }
}

#[repr(u8)]
enum RequestState {
    Quiet,
    Few,
    Held,
    Busy,
}

/// Makes the request. It was possible at the start; if it fails now, the next tick retries.
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
