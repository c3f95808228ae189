//! DNS queries: an answer, or the decision to forward the query to other servers.
//!
//! Callers answer only the clients they serve. So an answer longer than its query cannot be used for amplification.

use core::net::IpAddr;

use domain::base::iana::{Rcode, Rtype};

use super::asker::{Asker, AskerNetworks};
use super::content::{AnswerContent, AnswerSettings, Service};
use super::forward::Forwarded;
use super::query::{Query, QueryError};
use super::statement::ServiceProtocol;
use super::subject::Subject;
use super::write::{fail, write};
use super::zone::{NetworkNames, ZoneEntry};
use super::{Names, Port};
use mesh_proto::entropy::Entropy;
use mesh_proto::limits::MAX_DNS_RECORDS;
use mesh_proto::time::Instant;

/// Outcome of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryOutcome {
    /// The buffer holds the answer.
    Answer,
    /// The query is for other servers.
    Forward(Forwarded),
    /// The message gets no answer.
    Drop,
}

/// Answers one message of at most [`mesh_proto::limits::MAX_DNS_QUERY`] bytes into `out`, whose content is replaced. What it
/// says of names depends on those of the asker's networks alone.
pub fn answer(
    query: &[u8],
    asker: Asker<'_>,
    names: &Names,
    settings: &AnswerSettings,
    now: Instant,
    entropy: &mut impl Entropy,
    out: &mut Vec<u8>,
) -> QueryOutcome {
    let query = match Query::parse(query, asker.transport) {
        Ok(query) => query,
        Err(QueryError::Drop) => return QueryOutcome::Drop,
        Err(QueryError::Code(code)) => {
            return match fail(query, code, out) {
                Some(()) => QueryOutcome::Answer,
                None => QueryOutcome::Drop,
            };
        }
    };
    let name = query.name();
    let lookup = AnswerLookup {
        names,
        networks: asker.networks,
        is_settled: names.is_settled(now),
        settings,
        rtype: query.question.qtype(),
    };
    let Some(mut found) = lookup.find(&Subject::of(&name, &settings.domain)) else {
        return QueryOutcome::Forward(Forwarded::new(&query));
    };
    found.mix(entropy);
    match write(&query, &found, settings, out) {
        Some(()) => QueryOutcome::Answer,
        None => QueryOutcome::Drop,
    }
}

struct AnswerLookup<'a> {
    names: &'a Names,
    networks: &'a AskerNetworks,
    is_settled: bool,
    settings: &'a AnswerSettings,
    rtype: Rtype,
}

impl<'a> AnswerLookup<'a> {
    /// Returns the answer to a question; `None` if it is for other servers.
    fn find(&self, subject: &Subject<'_>) -> Option<AnswerContent> {
        Some(match *subject {
            Subject::Domain => AnswerContent {
                is_domain: true,
                ..AnswerContent::default()
            },
            Subject::Name(name) => self.name(name),
            Subject::Single(name) if self.is_for_us(name) => self.single(name),
            Subject::Service(service, transport, name) => self.service(service, transport, name),
            Subject::Address(name, ip) => self.address(name, ip),
            Subject::Localhost => self.addresses(vec![
                IpAddr::from([127, 0, 0, 1]),
                core::net::Ipv6Addr::LOCALHOST.into(),
            ]),
            Subject::Reverse(ip) => self.reverse(ip)?,
            Subject::Single(_) | Subject::Outside => return None,
        })
    }

    /// Returns true if a single label is answered here and not forwarded: the mesh has it, it was removed manually,
    /// or the view is not yet settled and containers can have records of this type. Any other single label may be a
    /// name of the site, or a top-level domain.
    fn is_for_us(&self, name: &str) -> bool {
        let types = [Rtype::A, Rtype::AAAA, Rtype::SRV, Rtype::ANY];
        let is_of_containers = types.contains(&self.rtype);
        let may_come = is_of_containers && !self.is_settled;
        let is_denied = || self.names.is_denied(self.networks, name);
        may_come || !self.holders(name).is_empty() || is_denied()
    }

    fn single(&self, name: &str) -> AnswerContent {
        match self.holders(name).is_empty() {
            true => self.missing(),
            false => self.name(name),
        }
    }

    fn name(&self, name: &str) -> AnswerContent {
        let holders = self.holders(name);
        if holders.is_empty() {
            return self.absent(name);
        }
        if self.rtype == Rtype::SRV {
            return self.services(holders, |_, _| true);
        }
        let addresses = sample(holders).flat_map(|h| h.entry.addresses.iter().copied());
        self.addresses(addresses.collect())
    }

    fn service(&self, service: &str, transport: ServiceProtocol, name: &str) -> AnswerContent {
        let number: Option<u16> = service.parse().ok();
        let is_asked = |port: &Port| {
            let is_named = !port.service.is_empty() && port.service == service;
            port.transport == transport && (is_named || number == Some(port.number))
        };
        let found = self.services(self.holders(name), |_, port| is_asked(port));
        if found.services.is_empty() {
            return self.missing();
        }
        match self.rtype {
            Rtype::SRV | Rtype::ANY => found,
            _ => AnswerContent::default(),
        }
    }

    fn address(&self, name: &str, ip: IpAddr) -> AnswerContent {
        let holders = self.holders(name);
        if !holders.iter().any(|h| h.entry.addresses.contains(&ip)) {
            return self.missing();
        }
        if self.rtype == Rtype::SRV {
            return self.services(holders, |at, _| at == ip);
        }
        self.addresses(vec![ip])
    }

    fn reverse(&self, ip: IpAddr) -> Option<AnswerContent> {
        let Some(network) = self.known().find(|known| !known.named(ip).is_empty()) else {
            let is_of_range = self.settings.ranges.iter().any(|net| net.contains(&ip));
            let is_ours = is_of_range || self.names.is_here(self.networks, ip);
            return is_ours.then(|| self.missing());
        };
        let mut found = AnswerContent::default();
        if matches!(self.rtype, Rtype::PTR | Rtype::ANY) {
            let names = network.names_of(ip).into_iter();
            found.names = names.map(|name| name.as_str().to_owned()).collect();
        }
        Some(found)
    }

    /// Returns the holders of a name in the first of the asker's networks that has it: those in another one are different
    /// containers, though of the same name.
    fn holders(&self, name: &str) -> &'a [ZoneEntry] {
        let mut holders = self.known().map(|known| known.holders(name));
        holders
            .find(|holders| !holders.is_empty())
            .unwrap_or_default()
    }

    /// Returns the names of the asker's networks, in order. All that is looked up comes from here.
    fn known(&self) -> impl Iterator<Item = &'a NetworkNames> {
        let zone = self.names.zone();
        let networks = self.networks.as_slice().iter();
        networks.map(|network| zone.network(network))
    }

    fn addresses(&self, mut addresses: Vec<IpAddr>) -> AnswerContent {
        addresses.sort_unstable();
        addresses.dedup();
        // ANY gets one of the RRsets, as in RFC 8482 section 4.1.
        let wanted = match self.rtype {
            Rtype::ANY => addresses.first().map(IpAddr::is_ipv4),
            Rtype::A => Some(true),
            Rtype::AAAA => Some(false),
            _ => None,
        };
        addresses.retain(|ip| Some(ip.is_ipv4()) == wanted);
        AnswerContent {
            addresses,
            ..AnswerContent::default()
        }
    }

    fn services(
        &self,
        holders: &[ZoneEntry],
        wanted: impl Fn(IpAddr, &Port) -> bool,
    ) -> AnswerContent {
        let mut services = Vec::new();
        for held in sample(holders) {
            for port in &held.entry.ports {
                let there = held.entry.addresses.iter().filter(|ip| wanted(**ip, port));
                services.extend(there.map(|ip| Service {
                    port: port.number,
                    ip: *ip,
                    name: held.name().as_str().to_owned(),
                }));
            }
            if services.len() > MAX_DNS_RECORDS {
                break;
            }
        }
        services.sort_unstable();
        services.dedup();
        AnswerContent {
            services,
            ..AnswerContent::default()
        }
    }

    /// Answers for a name without records of its own: it exists if there are names below it (RFC 8020).
    fn absent(&self, name: &str) -> AnswerContent {
        match self.known().any(|known| known.has_below(name)) {
            true => AnswerContent::default(),
            false => self.missing(),
        }
    }

    fn missing(&self) -> AnswerContent {
        let code = match self.is_settled {
            true => Rcode::NXDOMAIN,
            false => Rcode::SERVFAIL,
        };
        AnswerContent {
            code,
            ..AnswerContent::default()
        }
    }
}

/// Returns the holders of a name that are considered for one answer.
fn sample(holders: &[ZoneEntry]) -> impl Iterator<Item = &ZoneEntry> {
    holders.iter().take(MAX_DNS_RECORDS)
}
