//! Latency governor: requests quick wake-ups from the kernel while traffic is sparse.
//!
//! A processor in deep sleep takes longer to wake up than to handle a frame, and a round trip through two routers
//! wakes some four threads. A *latency request* (PM QoS) keeps processors out of deep sleep. It costs power, so it is
//! held only while it helps: not for a single frame, not without traffic, and not with so much traffic that no
//! processor sleeps.

use core::time::Duration;

/// Interval between two looks at the counters while there is traffic.
pub const TICK: Duration = Duration::from_millis(10);
/// Time without a frame after which a flow has ended.
pub const QUIET: Duration = Duration::from_millis(50);
/// Frames within [`QUIET`] of one another that make a flow; a ping and its answer do not yet.
const FLOW: u64 = 3;
/// Frames and datagrams in one tick from which lanes are busy (40,000 per second).
const BUSY: u64 = 400;
/// Frames and datagrams in one tick below which traffic is sparse again.
const SPARSE: u64 = 200;
/// Sparse ticks after which busy lanes count as sparse; pauses of TCP are shorter.
const SETTLED: u32 = 5;

/// Demand for the latency request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// No traffic: no request, and no tick needed before the next frame.
    Rest,
    /// A few frames, which may become a flow: no request yet.
    Watch,
    /// So much traffic that no processor sleeps: no request.
    Yield,
    /// Sparse traffic: the request is held.
    Hold,
}

/// Decides by the counters of the data plane, once per [`TICK`] while there is traffic.
#[derive(Debug, Default)]
pub struct LatencyGovernor {
    state: GovernorState,
    /// Counters at the last tick.
    last: Option<Traffic>,
    /// Consecutive ticks without a frame.
    silent: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum GovernorState {
    /// Frames since the last rest.
    Few(u64),
    Sparse,
    /// Consecutive sparse ticks.
    Busy(u32),
    #[default]
    Rest,
}

/// Totals of the data plane, which only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames from and to the local port, and datagrams relayed.
    pub frames: u64,
    /// Datagrams sent and frames delivered, as a measure of a lane's work.
    pub work: u64,
}

impl LatencyGovernor {
    /// Returns the demand until the next tick. `traffic` has the present totals.
    pub fn tick(&mut self, traffic: Traffic) -> Demand {
        let before = self.last.replace(traffic).unwrap_or(traffic);
        let frames = traffic.frames.saturating_sub(before.frames);
        let work = traffic.work.saturating_sub(before.work);
        self.silent = if frames == 0 { self.silent + 1 } else { 0 };
        if TICK * self.silent >= QUIET {
            self.state = GovernorState::Rest;
            self.silent = 0;
            return Demand::Rest;
        }
        self.state = match self.state {
            _ if work >= BUSY => GovernorState::Busy(0),
            GovernorState::Busy(_) if work >= SPARSE => GovernorState::Busy(0),
            GovernorState::Busy(ticks) if ticks + 1 < SETTLED => GovernorState::Busy(ticks + 1),
            GovernorState::Busy(_) | GovernorState::Sparse => GovernorState::Sparse,
            // The frame that ended the rest came before the first tick with a difference.
            GovernorState::Rest => Self::few(frames + 1),
            GovernorState::Few(seen) => Self::few(seen + frames),
        };
        match self.state {
            GovernorState::Sparse => Demand::Hold,
            GovernorState::Busy(_) => Demand::Yield,
            GovernorState::Few(_) | GovernorState::Rest => Demand::Watch,
        }
    }

    fn few(seen: u64) -> GovernorState {
        if seen >= FLOW {
            GovernorState::Sparse
        } else {
            GovernorState::Few(seen)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs ticks with these numbers of frames, each frame as much work, and returns the demands.
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
