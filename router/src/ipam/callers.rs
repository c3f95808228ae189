//! Callers that wait for an answer of the desk, each with the channel that it listens on.

use std::collections::BTreeMap;

use ipnet::IpNet;
use mesh_allocator::call::{CallAnswer, CallId, ContainerLease, NotGiven};
use mesh_proto::api::ipam::Left;
use tokio::sync::oneshot;

/// All callers that wait.
#[derive(Debug, Default)]
pub(super) struct Callers {
    waiting: BTreeMap<CallId, CallerAnswer>,
    /// The number of calls so far.
    calls: u64,
}

/// The channel of a caller.
#[derive(Debug)]
pub(super) enum CallerAnswer {
    Acquire(oneshot::Sender<Result<IpNet, NotGiven>>),
    Prime(oneshot::Sender<Result<(), String>>),
    Leave(oneshot::Sender<Left>),
}

impl Callers {
    /// Keeps a caller until it is answered. Returns the number of its call.
    pub(super) fn add(&mut self, answer: CallerAnswer) -> CallId {
        self.calls += 1;
        let id = CallId(self.calls);
        self.waiting.insert(id, answer);
        id
    }

    /// Returns the calls for addresses whose callers hung up.
    pub(super) fn abandoned(&self) -> Vec<CallId> {
        let hung_up = |(id, answer): (&CallId, &CallerAnswer)| match answer {
            CallerAnswer::Acquire(answer) if answer.is_closed() => Some(*id),
            _ => None,
        };
        self.waiting.iter().filter_map(hung_up).collect()
    }

    /// Answers a caller. Returns the lease that nobody waits for any more.
    pub(super) fn answer(&mut self, id: CallId, answer: CallAnswer) -> Option<ContainerLease> {
        // A caller that hung up does not need its answer.
        match (self.waiting.remove(&id)?, answer) {
            (
                CallerAnswer::Acquire(to),
                CallAnswer::Acquired {
                    network,
                    owner,
                    result,
                },
            ) => {
                let given = result.as_ref().ok().map(IpNet::addr);
                let left = to.send(result).err().and(given);
                return left.map(|addr| ContainerLease {
                    network,
                    addr,
                    owner,
                });
            }
            (CallerAnswer::Prime(to), CallAnswer::Primed(result)) => drop(to.send(result)),
            (CallerAnswer::Leave(to), CallAnswer::Left(left)) => drop(to.send(left)),
            _ => debug_assert!(false, "an answer to another call"),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_proto::network::NetworkId;

    #[test]
    fn an_address_for_a_caller_that_hung_up_is_returned() {
        let mut callers = Callers::default();
        let (to, waiting) = oneshot::channel();
        let id = callers.add(CallerAnswer::Acquire(to));
        assert!(callers.abandoned().is_empty());
        drop(waiting);
        assert_eq!(callers.abandoned(), [id]);
        let acquired = CallAnswer::Acquired {
            network: NetworkId::DEFAULT,
            owner: "docker:web:1".into(),
            result: Ok("10.32.5.1/24".parse().unwrap()),
        };
        let left = callers.answer(id, acquired.clone());
        let lease = ContainerLease {
            network: NetworkId::DEFAULT,
            addr: [10, 32, 5, 1].into(),
            owner: "docker:web:1".into(),
        };
        assert_eq!(left, Some(lease));
        assert_eq!(callers.answer(id, acquired), None);
    }
}
