//! Remarks on a request that waits for an address or an engine.

use mesh_proto::api::ipam::IpamWaiting;
use mesh_proto::api::{EngineWaiting, WaitingReport};

/// Time in seconds after which the user is told that an engine has not answered the router.
const PATIENCE: f64 = 0.5;

/// Returns an engine that has not answered the router for so long that the user is told.
pub fn late_engine(waiting: &WaitingReport) -> Option<&EngineWaiting> {
    let is_late = |e: &&EngineWaiting| e.since >= PATIENCE;
    waiting.engines.iter().find(is_late)
}

/// Returns the remark on a daemon that does not answer, and is waited for during `limit` seconds.
pub fn silence(daemon: &str, limit: u64) -> String {
    format!("waiting for {daemon}, which does not answer (for {limit} s at most)")
}

/// Remarks on the wait for an address; each reason is told once, until another comes between.
#[derive(Debug, Default)]
pub struct AddressRemarks {
    told: String,
}

impl AddressRemarks {
    /// Returns the remark that is due on the request of the process `caller_pid`.
    pub fn next(&mut self, waiting: &WaitingReport, caller_pid: u32) -> Option<String> {
        let ours = |w: &&IpamWaiting| w.caller_pid == caller_pid;
        let waiting = waiting.addresses.iter().find(ours)?;
        let (want, why) = (&waiting.want, &waiting.why);
        if *why == self.told {
            return None;
        }
        self.told.clone_from(why);
        let left = waiting.left.round();
        Some(format!("waiting for {want}: {why} (for {left} s at most)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(why: &str) -> WaitingReport {
        let of = |caller_pid, why: &str| IpamWaiting {
            want: "net:default".to_owned(),
            why: why.to_owned(),
            left: 29.6,
            caller_pid,
            ..IpamWaiting::default()
        };
        WaitingReport {
            addresses: vec![of(6, "another"), of(7, why)],
            engines: Vec::new(),
        }
    }

    #[test]
    fn a_reason_is_told_once() {
        let mut remarks = AddressRemarks::default();
        let told = remarks.next(&waits("nobody answers"), 7).unwrap();
        assert_eq!(
            told,
            "waiting for net:default: nobody answers (for 30 s at most)"
        );
        assert_eq!(remarks.next(&waits("nobody answers"), 7), None);
        assert!(remarks.next(&waits("all is taken"), 7).is_some());
        assert!(remarks.next(&waits("nobody answers"), 7).is_some());
        assert_eq!(remarks.next(&waits("nobody answers"), 8), None);
    }

    #[test]
    fn an_engine_has_half_a_second() {
        let engine = |since| EngineWaiting {
            engine: "Docker".to_owned(),
            since,
            limit: 15.0,
        };
        let mut waiting = WaitingReport {
            engines: vec![engine(0.1)],
            ..WaitingReport::default()
        };
        assert_eq!(late_engine(&waiting), None);
        waiting.engines.push(engine(0.6));
        assert_eq!(late_engine(&waiting), Some(&engine(0.6)));
        assert_eq!(
            silence("Docker", 15),
            "waiting for Docker, which does not answer (for 15 s at most)"
        );
    }
}
