//! Answers of Docker's resolver about services of Swarm, which may lead to tasks that have ended, or to a virtual address
//! that only Docker's own networks have.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeSet;

use domain::base::iana::Rcode;
use domain::base::message_builder::{MessageBuilder, StaticCompressor};
use domain::base::{Message, ParsedRecord, Ttl};
use domain::dep::octseq::array::Array;
use domain::rdata::A;
use mesh_proto::entropy::Entropy;
use mesh_proto::limits::MAX_DNS_RECORDS;

use super::Names;
use super::asker::AskerNetworks;
use super::content::shuffle;
use super::forward::Forwarded;
use super::query::HEADER;

/// Label before the name of a service, for its tasks instead of its virtual address.
const TASKS: &[u8] = b"\x05tasks";
/// Longest name in wire format (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;
/// Room for an answer.
const ROOM: usize = 4_096;

impl Names {
    /// Returns the addresses of an answer that containers in these networks have now, as far as this router heard; in any
    /// order, as clients take the first.
    pub fn alive(
        &self,
        networks: &AskerNetworks,
        answer: &[u8],
        entropy: &mut impl Entropy,
    ) -> Vec<Ipv4Addr> {
        let mut alive = addresses(answer);
        alive.retain(|ip| self.is_alive(networks, (*ip).into()));
        shuffle(&mut alive, entropy);
        alive
    }

    fn is_alive(&self, networks: &AskerNetworks, ip: IpAddr) -> bool {
        let mut all = networks.as_slice().iter();
        let is_named = |network| !self.zone().network(network).named(ip).is_empty();
        self.is_here(networks, ip) || all.any(is_named)
    }
}

impl Forwarded {
    /// Returns the query for the tasks of the service that this one asks for; none if it asks for tasks, or the name is too
    /// long.
    pub fn of_tasks(&self) -> Option<Self> {
        let question = self.question();
        // Type and class follow the name.
        let is_long = question.len() - 4 + TASKS.len() > MAX_NAME;
        let is_of_tasks = question
            .get(..TASKS.len())
            .is_some_and(|s| s.eq_ignore_ascii_case(TASKS));
        let changed = || self.with_question([TASKS, question].concat());
        (!is_long && !is_of_tasks).then(changed)
    }

    /// Returns an answer to this query with other addresses, in the place of one that a server gave.
    pub fn with_addresses(
        &self,
        addresses: impl IntoIterator<Item = Ipv4Addr>,
        ttl: u32,
    ) -> Option<Vec<u8>> {
        let query = self.query(0);
        let message = Message::from_slice(&query).ok()?;
        let target = StaticCompressor::new(Array::<ROOM>::default());
        let builder = MessageBuilder::from_target(target).ok()?;
        let mut builder = builder.start_answer(message, Rcode::NOERROR).ok()?;
        builder.header_mut().set_ra(true);
        let owner = message.sole_question().ok()?;
        for address in addresses.into_iter().take(MAX_DNS_RECORDS) {
            let record = (owner.qname(), Ttl::from_secs(ttl), A::new(address));
            // What has no room is left out: any of them will do.
            if builder.push(record).is_err() {
                break;
            }
        }
        let answer = builder.finish().into_target().as_ref().to_vec();
        (answer.len() > HEADER).then_some(answer)
    }
}

/// Returns the IPv4 addresses of an answer, each once; none of one that is malformed.
fn addresses(message: &[u8]) -> Vec<Ipv4Addr> {
    let message = Message::from_slice(message).ok();
    let Some(answer) = message.and_then(|message| message.answer().ok()) else {
        return Vec::new();
    };
    let records = answer.take(MAX_DNS_RECORDS).flatten();
    let address = |record: ParsedRecord<'_, [u8]>| {
        let record = record.to_record::<A>().ok().flatten()?;
        Some(record.data().addr())
    };
    let each: BTreeSet<Ipv4Addr> = records.filter_map(address).collect();
    each.into_iter().collect()
}
