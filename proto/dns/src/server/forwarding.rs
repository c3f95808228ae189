//! The order in which upstream servers are asked, and the reply that counts.

use mesh_names::{Forwarded, Judgement};
use mesh_proto::limits::MAX_DNS_TRIES;

/// Reply of a server, with the verdict on it.
pub type JudgedReply = (Judgement, Vec<u8>);

/// The servers that are asked for one query: resolvers in the namespace of the client once, then those of the host in turn.
#[derive(Debug)]
pub struct Attempts<S> {
    /// Servers in reverse order.
    servers: Vec<S>,
    failure: Option<JudgedReply>,
}

impl<S: Clone> Attempts<S> {
    /// Returns the attempts at these servers.
    pub fn new(embedded: Option<S>, upstreams: &[S]) -> Self {
        let turns = upstreams.iter().cycle().take(MAX_DNS_TRIES);
        let mut servers: Vec<S> = embedded.into_iter().chain(turns.cloned()).collect();
        servers.reverse();
        Self {
            servers,
            failure: None,
        }
    }

    /// Returns the next server to ask, if any.
    pub fn next_server(&mut self) -> Option<S> {
        self.servers.pop()
    }

    /// Takes the reply of a server. Returns it if it counts; a failure counts only if no other server knows better.
    pub fn take(&mut self, reply: JudgedReply) -> Option<JudgedReply> {
        if reply.0 == Judgement::Failure {
            self.failure = Some(reply);
            return None;
        }
        Some(reply)
    }

    /// Returns the last failure that a server replied with.
    pub fn failure(self) -> Option<JudgedReply> {
        self.failure
    }
}

/// Writes the reply for the client into `out`. Returns false if no server replied in time.
pub fn write_reply(forwarded: &Forwarded, reply: Option<JudgedReply>, out: &mut Vec<u8>) -> bool {
    match reply {
        // A single label that no server knows does not exist: the mesh has none of that name either.
        Some((Judgement::Failure, _)) if forwarded.is_single() => forwarded.give_up(out),
        Some((_, message)) => forwarded.reply(&message, out),
        None => {
            forwarded.give_up(out);
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_the_host_are_asked_in_turn_after_the_embedded_one() {
        let mut attempts = Attempts::new(Some(0), &[1, 2]);
        let mut asked = Vec::new();
        while let Some(server) = attempts.next_server() {
            asked.push(server);
        }
        assert_eq!(asked.len(), 1 + MAX_DNS_TRIES);
        assert_eq!(asked[..4], [0, 1, 2, 1]);
        assert_eq!(Attempts::<u8>::new(None, &[]).next_server(), None);
    }

    #[test]
    fn a_failure_counts_only_at_the_end() {
        let mut attempts = Attempts::<u8>::new(None, &[]);
        assert_eq!(attempts.take((Judgement::Failure, vec![1])), None);
        let truncated = (Judgement::Truncated, vec![2]);
        assert_eq!(attempts.take(truncated.clone()), Some(truncated));
        assert_eq!(attempts.failure(), Some((Judgement::Failure, vec![1])));
    }
}
