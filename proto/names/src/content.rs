//! Content of a DNS answer, before it is encoded.

use core::net::IpAddr;

use domain::base::iana::Rcode;
use ipnet::IpNet;

use super::name::Domain;
use super::subject::address_label;
use mesh_proto::entropy::{Entropy, SeededEntropy};
use mesh_proto::limits::MAX_DNS_RECORDS;

/// Settings of the DNS answers.
#[derive(Clone, Debug)]
pub struct AnswerSettings {
    /// Domain of the mesh.
    pub domain: Domain,
    /// Time to live of records, in seconds.
    pub ttl: u32,
    /// Address ranges of the mesh: reverse queries for an address in them are never forwarded.
    pub ranges: Vec<IpNet>,
}

/// Code, addresses and names of an answer.
#[derive(Debug)]
pub(super) struct AnswerContent {
    pub(super) code: Rcode,
    pub(super) addresses: Vec<IpAddr>,
    /// Names of an address, without the domain, in order.
    pub(super) names: Vec<String>,
    pub(super) services: Vec<Service>,
    /// True if the question was about the domain itself.
    pub(super) is_domain: bool,
}

/// SRV record.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Service {
    pub(super) port: u16,
    pub(super) ip: IpAddr,
    pub(super) name: String,
}

impl Default for AnswerContent {
    fn default() -> Self {
        Self {
            code: Rcode::NOERROR,
            addresses: Vec::new(),
            names: Vec::new(),
            services: Vec::new(),
            is_domain: false,
        }
    }
}

impl Service {
    /// Returns the name that leads only to this address, without the domain.
    pub(super) fn target(&self) -> String {
        format!("{}.{}", address_label(self.ip), self.name)
    }
}

impl AnswerContent {
    /// Shuffles addresses and services, and truncates them to what one answer may have.
    pub(super) fn mix(&mut self, entropy: &mut impl Entropy) {
        shuffle(&mut self.addresses, entropy);
        shuffle(&mut self.services, entropy);
        self.addresses.truncate(MAX_DNS_RECORDS);
        self.services.truncate(MAX_DNS_RECORDS);
        self.names.truncate(MAX_DNS_RECORDS);
    }
}

/// Puts a list into another order.
pub(super) fn shuffle<T>(list: &mut [T], entropy: &mut impl Entropy) {
    if list.len() < 2 {
        return;
    }
    // One draw from the system for the whole order, which is not secret.
    let mut dice = SeededEntropy::new(entropy.u64());
    for last in (1..list.len()).rev() {
        let n = u64::try_from(last + 1).unwrap_or(1);
        list.swap(last, usize::try_from(dice.u64() % n).unwrap_or(0));
    }
}
