//! Forwarding of a query to other servers: the query sent, the check of the response, and the answer to the client.
//!
//! EDNS options are hop by hop, so the OPT record is built from scratch, not passed on.

use core::net::IpAddr;

use domain::base::Message;
use domain::base::iana::Rcode;
use domain::rdata::{A, Aaaa};

use super::query::{Edns, HEADER, Query, QueryTransport, max_answer};
use super::write::fail;
use mesh_proto::limits::{MAX_DNS_RECORDS, MAX_DNS_UDP};

/// Positions and bits of the header (RFC 1035 section 4.1.1, RFC 4035 section 3.2).
const QR: u8 = 0x80;
const OPCODE: u8 = 0x78;
const TC: u8 = 0x02;
const RD: u8 = 0x01;
const AD_CD: u8 = 0x30;
const RCODE: u8 = 0x0f;
/// Type of the OPT record of EDNS.
const OPT: u8 = 41;

/// Query of a client that is forwarded to other servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    id: u16,
    /// Name, type and class as sent by the client.
    question: Vec<u8>,
    /// Second and third flag byte of the client's header, reduced to RD, AD and CD.
    wishes: [u8; 2],
    edns: Option<Edns>,
    transport: QueryTransport,
}

/// Verdict on a message from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Valid answer.
    Answer,
    /// Truncated answer; the whole answer is available by TCP.
    Truncated,
    /// The server cannot or will not answer; another one may.
    Failure,
    /// No answer to this query.
    Other,
}

impl Forwarded {
    pub(super) fn new(query: &Query<'_>) -> Self {
        let head = query.message.as_slice();
        let flags = |at: usize| head.get(at).copied().unwrap_or_default();
        Self {
            id: query.message.header().id(),
            question: query.question_bytes().to_vec(),
            wishes: [flags(2) & RD, flags(3) & AD_CD],
            edns: query.edns,
            transport: query.transport,
        }
    }

    /// Returns the same query with another question.
    pub(super) fn with_question(&self, question: Vec<u8>) -> Self {
        Self {
            question,
            ..self.clone()
        }
    }

    /// Returns true if the question is for a single label, which the mesh does not have and the site may not have
    /// either.
    pub fn is_single(&self) -> bool {
        let first = self.question.first().copied().map_or(0, usize::from);
        first != 0 && self.question.get(first + 1) == Some(&0)
    }

    /// Returns the transport of the client's query.
    pub fn transport(&self) -> QueryTransport {
        self.transport
    }

    /// Returns name, type and class in wire format.
    pub fn question(&self) -> &[u8] {
        &self.question
    }

    /// Encodes the query to a server, under an unpredictable `id`.
    pub fn query(&self, id: u16) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.question.len() + 11);
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&self.wishes);
        let extra = u8::from(self.edns.is_some());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, extra]);
        out.extend_from_slice(&self.question);
        if let Some(edns) = self.edns {
            let size = u16::try_from(MAX_DNS_UDP).unwrap_or(512).to_be_bytes();
            let dnssec = if edns.dnssec { 0x80 } else { 0 };
            out.extend_from_slice(&[0, 0, OPT, size[0], size[1], 0, 0, dnssec, 0, 0, 0]);
        }
        out
    }

    /// Judges a message from a server that was sent the query under `id`.
    pub fn judge(&self, id: u16, message: &[u8]) -> Judgement {
        let Some((head, rest)) = message.split_first_chunk::<HEADER>() else {
            return Judgement::Other;
        };
        let is_response = head[2] & QR != 0 && head[2] & OPCODE == 0;
        let is_ours = head[..2] == id.to_be_bytes() && head[4..6] == [0, 1] && is_response;
        // Some servers change the case of the question. Length bytes of labels are not letters, so the comparison is
        // safe.
        let same = rest.get(..self.question.len());
        if !is_ours || !same.is_some_and(|q| q.eq_ignore_ascii_case(&self.question)) {
            return Judgement::Other;
        }
        let rcode = Rcode::masked_from_int(head[3] & RCODE);
        match rcode {
            _ if head[2] & TC != 0 => Judgement::Truncated,
            Rcode::NOERROR | Rcode::NXDOMAIN => Judgement::Answer,
            _ => Judgement::Failure,
        }
    }

    /// Writes the answer to the client into `out`, from an answer accepted by [`Forwarded::judge`]: with the client's
    /// id and question, truncated if it is too long for the client.
    pub fn reply(&self, message: &[u8], out: &mut Vec<u8>) {
        out.clear();
        let question_end = HEADER + self.question.len();
        let is_whole = message.len() <= max_answer(self.edns, self.transport);
        let taken = if is_whole {
            message.len()
        } else {
            question_end
        };
        out.extend_from_slice(message.get(..taken).unwrap_or_default());
        if let Some(id) = out.get_mut(..2) {
            id.copy_from_slice(&self.id.to_be_bytes());
        }
        if let Some(question) = out.get_mut(HEADER..question_end) {
            question.copy_from_slice(&self.question);
        }
        if let (false, Some(head)) = (is_whole, out.get_mut(..HEADER)) {
            head[2] |= TC;
            head[6..].fill(0);
        }
    }

    /// Returns true if the answer has an A or AAAA record for which `is_known` holds; false if it is malformed.
    pub fn leads_to(message: &[u8], is_known: impl Fn(IpAddr) -> bool) -> bool {
        let Ok(message) = Message::from_slice(message) else {
            return false;
        };
        let Ok(answer) = message.answer() else {
            return false;
        };
        answer.take(MAX_DNS_RECORDS).flatten().any(|record| {
            let v4 = record.to_record::<A>().ok().flatten();
            let v6 = record.to_record::<Aaaa>().ok().flatten();
            v4.is_some_and(|r| is_known(r.data().addr().into()))
                || v6.is_some_and(|r| is_known(r.data().addr().into()))
        })
    }

    /// Writes the answer "server failure" into `out`.
    pub fn fail(&self, out: &mut Vec<u8>) {
        self.refuse(Rcode::SERVFAIL, out);
    }

    /// Writes the answer after all servers failed: a single label does not exist then, for other names it is "server
    /// failure".
    pub fn give_up(&self, out: &mut Vec<u8>) {
        self.refuse(
            match self.is_single() {
                true => Rcode::NXDOMAIN,
                false => Rcode::SERVFAIL,
            },
            out,
        );
    }

    fn refuse(&self, code: Rcode, out: &mut Vec<u8>) {
        let query = self.query(self.id);
        if fail(&query, code.into(), out).is_none() {
            out.clear();
        }
    }
}
