//! Encoding of answers and errors.

use core::net::IpAddr;

use domain::base::iana::{OptRcode, Rcode, Rtype};
use domain::base::message_builder::{
    AdditionalBuilder, AnswerBuilder, MessageBuilder, StaticCompressor,
};
use domain::base::name::Name;
use domain::base::wire::Composer;
use domain::base::{Message, Serial, Ttl};
use domain::dep::octseq::array::Array;
use domain::dep::octseq::builder::{OctetsBuilder, Truncate};
use domain::rdata::{A, Aaaa, Ptr, Soa, Srv};

use super::content::{AnswerContent, AnswerSettings};
use super::query::{self, Edns, Query};
use mesh_proto::limits::MAX_DNS_UDP;

/// Target of the encoder: the vector of the caller, with name compression.
type AnswerBuffer<'a> = StaticCompressor<Buffer<'a>>;
/// Absolute name.
type FullName = Name<Array<256>>;
/// Length of the OPT record of an answer, in bytes.
const OPT: usize = 11;

/// Encodes an answer; `None` if the domain made a name too long, which the bounds exclude.
pub(super) fn write(
    query: &Query<'_>,
    found: &AnswerContent,
    settings: &AnswerSettings,
    out: &mut Vec<u8>,
) -> Option<()> {
    out.clear();
    let ttl = Ttl::from_secs(settings.ttl);
    let mut builder = MessageBuilder::from_target(StaticCompressor::new(Buffer(out))).ok()?;
    // The OPT record must always fit; the limit is the first length that is too long.
    let reserve = if query.edns.is_some() { OPT } else { 0 };
    builder.set_push_limit(query.max_answer() - reserve + 1);
    let mut builder = builder.start_answer(query.message, found.code).ok()?;
    let header = builder.header_mut();
    header.set_aa(found.code != Rcode::SERVFAIL);
    header.set_ra(true);
    header.set_cd(query.message.header().cd());
    let is_whole = push_answers(&mut builder, query, found, settings, ttl);
    builder.header_mut().set_tc(!is_whole);
    let is_empty = builder.counts().ancount() == 0 && is_whole;
    let mut builder = builder.authority();
    if is_empty && found.code != Rcode::SERVFAIL {
        let apex = full_name(settings.domain.as_str())?;
        // The SOA record lets the client cache the negative answer; if it does not fit, the answer is not cached.
        let _ = builder.push((&apex, ttl, start(&apex, ttl)?));
    }
    let mut builder = builder.additional();
    if is_whole {
        push_targets(&mut builder, found, settings, ttl);
    }
    builder.set_push_limit(query.max_answer() + 1);
    finish(builder, query.edns, found.code.into())
}

/// Encodes the answer section. Returns false if it is truncated.
fn push_answers(
    builder: &mut AnswerBuilder<AnswerBuffer<'_>>,
    query: &Query<'_>,
    found: &AnswerContent,
    settings: &AnswerSettings,
    ttl: Ttl,
) -> bool {
    let owner = query.question.qname();
    let full = |name: &str| full_name(&format!("{name}.{}", settings.domain));
    for ip in &found.addresses {
        let pushed = match ip {
            IpAddr::V4(v4) => builder.push((owner, ttl, A::new(*v4))),
            IpAddr::V6(v6) => builder.push((owner, ttl, Aaaa::new(*v6))),
        };
        if pushed.is_err() {
            return false;
        }
    }
    // Names that would be too long with their prefix are left out.
    for name in found.names.iter().flat_map(|name| full(name)) {
        if builder.push((owner, ttl, Ptr::new(name))).is_err() {
            return false;
        }
    }
    for service in &found.services {
        let Some(target) = full(&service.target()) else {
            continue;
        };
        let srv = Srv::new(0, 0, service.port, target);
        if builder.push((owner, ttl, srv)).is_err() {
            return false;
        }
    }
    if found.is_domain && matches!(query.question.qtype(), Rtype::SOA | Rtype::ANY) {
        let soa = full_name(settings.domain.as_str()).and_then(|apex| start(&apex, ttl));
        return soa.is_some_and(|soa| builder.push((owner, ttl, soa)).is_ok());
    }
    true
}

/// Encodes the addresses of services, as far as they fit.
fn push_targets(
    builder: &mut AdditionalBuilder<AnswerBuffer<'_>>,
    found: &AnswerContent,
    settings: &AnswerSettings,
    ttl: Ttl,
) {
    for service in &found.services {
        let full = format!("{}.{}", service.target(), settings.domain);
        let Some(owner) = full_name(&full) else {
            continue;
        };
        let pushed = match service.ip {
            IpAddr::V4(v4) => builder.push((owner, ttl, A::new(v4))),
            IpAddr::V6(v6) => builder.push((owner, ttl, Aaaa::new(v6))),
        };
        if pushed.is_err() {
            return;
        }
    }
}

/// Returns the SOA record of the domain, which limits the time for which a client caches a negative answer (RFC
/// 2308).
fn start(apex: &FullName, ttl: Ttl) -> Option<Soa<FullName>> {
    let contact = full_name(&format!("hostmaster.{apex}"))?;
    let day = Ttl::from_secs(86_400);
    let (name, serial) = (apex.clone(), Serial::from(1));
    Some(Soa::new(name, contact, serial, day, day, day, ttl))
}

fn finish(
    mut builder: AdditionalBuilder<AnswerBuffer<'_>>,
    edns: Option<Edns>,
    code: OptRcode,
) -> Option<()> {
    if edns.is_some() {
        let written = builder.opt(|opt| {
            opt.set_udp_payload_size(u16::try_from(MAX_DNS_UDP).unwrap_or(512));
            opt.set_rcode(code);
            Ok(())
        });
        written.ok()?;
    }
    Some(())
}

/// Encodes an error: the header, the question if it can be parsed, and the OPT record if the client has sent one.
pub(super) fn fail(query: &[u8], code: OptRcode, out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    let message = Message::from_slice(query).ok()?;
    let is_one = message.header_counts().qdcount() == 1;
    let question = message
        .sole_question()
        .ok()
        .filter(|q| is_one && !q.qname().is_compressed());
    let mut builder = MessageBuilder::from_target(StaticCompressor::new(Buffer(out))).ok()?;
    let header = builder.header_mut();
    header.set_id(message.header().id());
    header.set_qr(true);
    header.set_opcode(message.header().opcode());
    header.set_rd(message.header().rd());
    header.set_ra(true);
    header.set_rcode(code.rcode());
    let mut builder = builder.question();
    if let Some(question) = question {
        builder.push(question).ok()?;
    }
    finish(builder.additional(), query::edns_of(query), code)
}

fn full_name(text: &str) -> Option<FullName> {
    Name::from_chars(text.chars()).ok()
}

/// Adapter of a vector for the library, whose own support for vectors needs a hash table.
struct Buffer<'a>(&'a mut Vec<u8>);

impl OctetsBuilder for Buffer<'_> {
    type AppendError = core::convert::Infallible;

    fn append_slice(&mut self, slice: &[u8]) -> Result<(), Self::AppendError> {
        self.0.extend_from_slice(slice);
        Ok(())
    }
}

impl Truncate for Buffer<'_> {
    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

impl AsRef<[u8]> for Buffer<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

impl AsMut<[u8]> for Buffer<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        self.0
    }
}

impl Composer for Buffer<'_> {}
