//! When a host asks its kernel for quick wake-ups: while frames flow and are sparse.
//!
//! A processor that sleeps deeply takes longer to wake than a frame takes to be handled, and a round trip through two
//! routers wakes some four threads. A *latency request* (PM QoS) keeps processors from sleeping deeply. It costs power,
//! so it is held only while it helps: not for a lone frame, not when nothing flows, and not when so much flows that
//! nobody sleeps anyway.

use core::time::Duration;

/// Time between two looks at the counters while frames flow.
pub const TICK: Duration = Duration::from_millis(10);
/// Time without a frame after which a flow has ended.
pub const QUIET: Duration = Duration::from_millis(50);
/// Frames within [`QUIET`] of one another that are a flow; a ping and its answer are not one yet.
const FLOW: u64 = 3;
/// Frames and datagrams in one tick from which lanes count as busy (40,000 a second).
const BUSY: u64 = 400;
/// Below this many in one tick they are sparse again.
const SPARSE: u64 = 200;
/// Ticks of sparse traffic after which busy lanes count as sparse: TCP pauses for shorter than that.
const SETTLED: u32 = 5;

/// What a host does about its latency request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nothing flows: nothing is held, and nothing needs to be looked at before the next frame.
    Rest,
    /// A few frames came, which may become a flow: nothing is held yet.
    Watch,
    /// So much flows that nobody sleeps: nothing is held.
    Yield,
    /// Frames flow and are sparse: the request is held.
    Hold,
}

/// Decides by the data plane's counters, once each [`TICK`] while frames flow.
#[derive(Debug, Default)]
pub struct LatencyGovernor {
    state: State,
    /// The counters of the last tick.
    last: Option<Traffic>,
    /// Ticks in a row without a frame.
    silent: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// So many frames since the last rest.
    Few(u64),
    Sparse,
    /// So many ticks in a row were sparse.
    Busy(u32),
    #[default]
    Rest,
}

/// What the data plane has moved so far; only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames from and to the local port, and datagrams passed on for others.
    pub frames: u64,
    /// Datagrams sent and frames delivered: what costs a lane time.
    pub work: u64,
}

impl LatencyGovernor {
    /// Returns what to do from now until the next tick. `traffic` holds the counters as of now.
    pub fn tick(&mut self, traffic: Traffic) -> Demand {
        let before = self.last.replace(traffic).unwrap_or(traffic);
        let frames = traffic.frames.saturating_sub(before.frames);
        let work = traffic.work.saturating_sub(before.work);
        self.silent = if frames == 0 { self.silent + 1 } else { 0 };
        if TICK * self.silent >= QUIET {
            self.state = State::Rest;
            self.silent = 0;
            return Demand::Rest;
        }
        self.state = match self.state {
            _ if work >= BUSY => State::Busy(0),
            State::Busy(_) if work >= SPARSE => State::Busy(0),
            State::Busy(ticks) if ticks + 1 < SETTLED => State::Busy(ticks + 1),
            State::Busy(_) | State::Sparse => State::Sparse,
            // The frame that ended the rest came before the first tick that compares.
            State::Rest => Self::few(frames + 1),
            State::Few(seen) => Self::few(seen + frames),
        };
        match self.state {
            State::Sparse => Demand::Hold,
            State::Busy(_) => Demand::Yield,
            State::Few(_) | State::Rest => Demand::Watch,
        }
    }

    fn few(seen: u64) -> State {
        if seen >= FLOW {
            State::Sparse
        } else {
            State::Few(seen)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks with so many frames each, each frame as much work; the demands.
    fn ticks(governor: &mut LatencyGovernor, total: &mut u64, frames: &[u64]) -> Vec<Demand> {
        let tick = |n: &u64| {
            *total += n;
            governor.tick(Traffic {
                frames: *total,
                work: *total,
            })
        };
        frames.iter().map(tick).collect()
    }

    #[test]
    fn requests_and_answers_are_held_for_until_they_end() {
        let (mut governor, mut total) = (LatencyGovernor::default(), 0);
        let flow = ticks(&mut governor, &mut total, &[1, 2, 4, 0, 0, 6, 0, 0, 0, 0]);
        assert_eq!(flow[0], Demand::Watch);
        assert!(flow[1..].iter().all(|d| *d == Demand::Hold), "{flow:?}");
        let end = ticks(&mut governor, &mut total, &[0]);
        assert_eq!(end, [Demand::Rest], "50 ms without a frame");
    }

    #[test]
    fn a_lone_ping_and_its_answer_are_not_worth_it() {
        let (mut governor, mut total) = (LatencyGovernor::default(), 0);
        let start = ticks(&mut governor, &mut total, &[0; 5]);
        assert_eq!(start.last(), Some(&Demand::Rest));
        for _ in 0..10 {
            let all = ticks(&mut governor, &mut total, &[1, 0, 0, 0, 0, 0]);
            assert!(all.iter().all(|d| *d != Demand::Hold), "{all:?}");
            assert_eq!(all.last(), Some(&Demand::Rest));
        }
    }

    #[test]
    fn a_ping_each_20_ms_is_a_flow() {
        let (mut governor, mut total) = (LatencyGovernor::default(), 0);
        let all = ticks(&mut governor, &mut total, &[1, 0, 2, 0, 2, 0, 2]);
        assert!(all[2..].iter().all(|d| *d == Demand::Hold), "{all:?}");
    }

    #[test]
    fn busy_lanes_do_without_and_a_short_pause_of_theirs_changes_nothing() {
        let (mut governor, mut total) = (LatencyGovernor::default(), 0);
        let bulk = ticks(
            &mut governor,
            &mut total,
            &[5, 5, 5_000, 5_000, 10, 0, 9_000],
        );
        assert_eq!(bulk[1], Demand::Hold);
        assert!(bulk[2..].iter().all(|d| *d == Demand::Yield), "{bulk:?}");
        let after = ticks(&mut governor, &mut total, &[20; 6]);
        assert_eq!(after[..4], [Demand::Yield; 4]);
        assert_eq!(after[4..], [Demand::Hold; 2]);
        let between = ticks(&mut governor, &mut total, &[300, 300]);
        assert_eq!(between, [Demand::Hold; 2], "only from BUSY on");
    }

    #[test]
    fn counters_that_went_back_do_no_harm() {
        let mut governor = LatencyGovernor::default();
        for n in [u64::MAX, 0, u64::MAX, 3] {
            governor.tick(Traffic { frames: n, work: n });
        }
    }
}
