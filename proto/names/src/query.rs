//! Parser of DNS queries.

use domain::base::iana::{Class, Opcode, OptRcode, Rcode, Rtype};
use domain::base::name::{ParsedName, ToLabelIter};
use domain::base::{Message, Question};

use mesh_proto::limits::{MAX_DNS_QUERY, MAX_DNS_UDP};

/// Bytes that every client accepts over UDP (RFC 1035 section 4.2.1).
const PLAIN_UDP: usize = 512;
/// Longest message over TCP, in bytes.
const MAX_TCP: usize = 65_535;
/// Length of the header, in bytes.
pub(super) const HEADER: usize = 12;

/// Transport of a query, which limits the length of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryTransport {
    /// UDP: one datagram.
    Udp,
    /// TCP: with a length prefix, on a connection.
    Tcp,
}

/// EDNS parameters of the client (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    /// Longest UDP message that the client accepts, in bytes.
    pub(super) size: u16,
    /// Version of EDNS.
    pub(super) version: u8,
    /// True if the client requests DNSSEC records (DO bit).
    pub(super) dnssec: bool,
}

/// Question with its context.
#[derive(Clone, Debug)]
pub(super) struct Query<'a> {
    pub(super) message: &'a Message<[u8]>,
    pub(super) question: Question<ParsedName<&'a [u8]>>,
    pub(super) edns: Option<Edns>,
    pub(super) transport: QueryTransport,
}

/// Reaction to a message that is no acceptable query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueryError {
    /// No answer: the message is no query.
    Drop,
    /// Answer with an error code.
    Code(OptRcode),
}

impl<'a> Query<'a> {
    /// Parses a query.
    ///
    /// # Errors
    /// [`QueryError`], with the reaction to anything else.
    pub(super) fn parse(bytes: &'a [u8], transport: QueryTransport) -> Result<Self, QueryError> {
        let is_too_long = bytes.len() > MAX_DNS_QUERY;
        let message = Message::from_slice(bytes).map_err(|_| QueryError::Drop)?;
        // Responses are never answered: two servers could answer each other for ever.
        if is_too_long || message.header().qr() {
            return Err(QueryError::Drop);
        }
        if message.header().opcode() != Opcode::QUERY {
            return Err(code(Rcode::NOTIMP));
        }
        let question = message.sole_question().map_err(|_| code(Rcode::FORMERR))?;
        if question.qname().is_compressed() {
            return Err(code(Rcode::FORMERR));
        }
        let edns = edns(message)?;
        if edns.is_some_and(|e| e.version > 0) {
            return Err(QueryError::Code(OptRcode::BADVERS));
        }
        let is_class_ours = question.qclass() == Class::IN;
        // Zone transfers are not for clients.
        let is_transfer = matches!(question.qtype(), Rtype::AXFR | Rtype::IXFR);
        if !is_class_ours || is_transfer {
            return Err(code(Rcode::REFUSED));
        }
        Ok(Self {
            message,
            question,
            edns,
            transport,
        })
    }

    /// Returns the question as encoded in the message.
    pub(super) fn question_bytes(&self) -> &'a [u8] {
        let len = usize::from(self.question.qname().compose_len()) + 4;
        let bytes = self.message.as_slice();
        bytes.get(HEADER..HEADER + len).unwrap_or_default()
    }

    /// Returns the name in lower case, without the final dot; bytes that no name of the mesh has become `?`.
    pub(super) fn name(&self) -> String {
        let mut name = String::with_capacity(64);
        for label in self.question.qname().iter().filter(|l| !l.is_root()) {
            if !name.is_empty() {
                name.push('.');
            }
            for byte in label.as_slice() {
                let known = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                let byte = if known { *byte } else { b'?' };
                name.push(char::from(byte.to_ascii_lowercase()));
            }
        }
        name
    }

    /// Returns the longest permitted answer, in bytes.
    pub(super) fn max_answer(&self) -> usize {
        max_answer(self.edns, self.transport)
    }
}

/// Returns the longest permitted answer to a client, in bytes.
pub(super) fn max_answer(edns: Option<Edns>, transport: QueryTransport) -> usize {
    match transport {
        QueryTransport::Tcp => MAX_TCP,
        QueryTransport::Udp => {
            let size = edns.map_or(PLAIN_UDP, |e| usize::from(e.size));
            size.clamp(PLAIN_UDP, MAX_DNS_UDP)
        }
    }
}

/// Returns the EDNS parameters of a message, as far as it can be parsed; for error answers.
pub(super) fn edns_of(bytes: &[u8]) -> Option<Edns> {
    edns(Message::from_slice(bytes).ok()?).ok().flatten()
}

fn edns(message: &Message<[u8]>) -> Result<Option<Edns>, QueryError> {
    let mut found = None;
    let records = message.additional().map_err(|_| code(Rcode::FORMERR))?;
    for record in records {
        let record = record.map_err(|_| code(Rcode::FORMERR))?;
        if record.rtype() != Rtype::OPT {
            continue;
        }
        if found.is_some() || !record.owner().is_root() {
            return Err(code(Rcode::FORMERR));
        }
        let ttl = record.ttl().as_secs().to_be_bytes();
        found = Some(Edns {
            size: record.class().to_int(),
            version: ttl[1],
            dnssec: ttl[2] & 0x80 != 0,
        });
    }
    Ok(found)
}

pub(super) fn code(rcode: Rcode) -> QueryError {
    QueryError::Code(rcode.into())
}
