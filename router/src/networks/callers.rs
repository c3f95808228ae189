//! Callers that wait for an answer of the desk, each with the channel that it listens on.

use std::collections::BTreeMap;

use mesh_networks::{CreatedNetwork, NetworksAnswer, NetworksCall, NotRemoved};
use mesh_proto::network::NetworkId;
use tokio::sync::oneshot;

/// All callers that wait.
#[derive(Debug, Default)]
pub(super) struct NetworkCallers {
    waiting: BTreeMap<NetworksCall, NetworkCaller>,
    /// The number of calls so far.
    calls: u64,
}

/// The channel of a caller.
#[derive(Debug)]
pub(super) enum NetworkCaller {
    Create(oneshot::Sender<Result<CreatedNetwork, String>>),
    Remove(oneshot::Sender<Result<NetworkId, NotRemoved>>),
    Join(oneshot::Sender<Result<(), String>>),
}

impl From<oneshot::Sender<Result<CreatedNetwork, String>>> for NetworkCaller {
    fn from(answer: oneshot::Sender<Result<CreatedNetwork, String>>) -> Self {
        Self::Create(answer)
    }
}

impl From<oneshot::Sender<Result<NetworkId, NotRemoved>>> for NetworkCaller {
    fn from(answer: oneshot::Sender<Result<NetworkId, NotRemoved>>) -> Self {
        Self::Remove(answer)
    }
}

impl From<oneshot::Sender<Result<(), String>>> for NetworkCaller {
    fn from(answer: oneshot::Sender<Result<(), String>>) -> Self {
        Self::Join(answer)
    }
}

impl NetworkCallers {
    /// Keeps a caller until it is answered. Returns the number of its call.
    pub(super) fn add(&mut self, caller: impl Into<NetworkCaller>) -> NetworksCall {
        self.calls += 1;
        let call = NetworksCall(self.calls);
        self.waiting.insert(call, caller.into());
        call
    }

    /// Answers a caller.
    pub(super) fn answer(&mut self, call: NetworksCall, answer: NetworksAnswer) {
        // A caller that hung up does not need its answer.
        match (self.waiting.remove(&call), answer) {
            (Some(NetworkCaller::Create(to)), NetworksAnswer::Created(result)) => {
                drop(to.send(result));
            }
            (Some(NetworkCaller::Remove(to)), NetworksAnswer::Removed(result)) => {
                drop(to.send(result));
            }
            (Some(NetworkCaller::Join(to)), NetworksAnswer::Joined(result)) => {
                drop(to.send(result));
            }
            _ => debug_assert!(false, "an answer to another call"),
        }
    }
}
