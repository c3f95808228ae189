//! Reasons for the end of a link, in words for operators.

use core::fmt;

use super::VERSION;
use crate::crypto::secret::SecretKind;
use crate::ids::{PeerId, PeerName};
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::topology::RecordError;

/// Reason why one side refuses a link, as sent in alerts and refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertCode {
    /// 1: the two sides have different secrets.
    WrongSecret,
    /// 2: the refused router's name belongs to another one.
    NameConflict,
    /// 3: both ends are the same router.
    SelfConnection,
    /// 4: no protocol version in common.
    Version,
    /// 5: different methods of authentication.
    Authentication,
    /// 6: no room for another link.
    Full,
    /// 7: there is another link between the two routers, which is kept.
    Duplicate,
    /// 8: the handshake fails to authenticate.
    Tampered,
    /// 9: the record in the handshake is invalid.
    BadRecord,
    /// 10: connections with a wrong secret came from the refused router's address, which must wait.
    Penalty,
    /// Any other number: a reason of a later version.
    Other(u8),
}

impl AlertCode {
    /// Returns the code as a byte.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::WrongSecret => 1,
            Self::NameConflict => 2,
            Self::SelfConnection => 3,
            Self::Version => 4,
            Self::Authentication => 5,
            Self::Full => 6,
            Self::Duplicate => 7,
            Self::Tampered => 8,
            Self::BadRecord => 9,
            Self::Penalty => 10,
            Self::Other(code) => code,
        }
    }

    /// Returns the code of a byte; every byte has one.
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::WrongSecret,
            2 => Self::NameConflict,
            3 => Self::SelfConnection,
            4 => Self::Version,
            5 => Self::Authentication,
            6 => Self::Full,
            7 => Self::Duplicate,
            8 => Self::Tampered,
            9 => Self::BadRecord,
            10 => Self::Penalty,
            other => Self::Other(other),
        }
    }

    /// Returns true if a router decides this only about an authenticated peer, so that a plain alert with it is
    /// forged.
    fn needs_proof(self) -> bool {
        matches!(
            self,
            Self::NameConflict | Self::SelfConnection | Self::Duplicate
        )
    }
}

/// Protocol of an endpoint that is no mesh router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// An HTTP server.
    Http,
    /// An SSH server.
    Ssh,
    /// A TLS server.
    Tls,
    /// Any other protocol.
    Other,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "it answered with HTTP",
            Self::Ssh => "it answered with SSH",
            Self::Tls => "it answered with TLS",
            Self::Other => "it answered with something else",
        })
    }
}

/// Reason for the end of a link. The text says what happened and, if possible, how to remedy it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The other end is no mesh router.
    #[error("not a mesh router ({0})")]
    NotMesh(Stranger),
    /// No protocol version in common.
    #[error("that router speaks mesh protocol {}, we speak {VERSION}; upgrade the older one", range(*.min, *.max))]
    Version {
        /// Lowest version of the other end.
        min: u8,
        /// Highest version of the other end.
        max: u8,
    },
    /// Only one side has a secret, or the methods of authentication differ.
    #[error("{}", authentication(*.ours, *.theirs))]
    Authentication {
        /// Kind of this router's secret.
        ours: SecretKind,
        /// Byte 6 of the other end's hello.
        theirs: u8,
    },
    /// The other end's mesh has another name.
    #[error("that router belongs to a mesh of another name; start both with the same --mesh-name")]
    OtherMesh,
    /// The secrets differ.
    #[error("{WRONG_SECRET}")]
    WrongSecret,
    /// The handshake fails to authenticate before the secret is used.
    #[error("the handshake was changed on its way; something between the two routers interferes")]
    Tampered,
    /// The other end's record is invalid.
    #[error("that router introduced itself wrongly: {0}")]
    BadRecord(RecordError),
    /// The other end proved another key than that in its record.
    #[error("that router introduced itself with a key that is not its own")]
    ForeignKey,
    /// This router's own record cannot be sent.
    #[error("this router cannot introduce itself: {0}")]
    OwnRecord(RecordError),
    /// This router refused the other end.
    #[error("{}", refusal(*.code, *.name))]
    Refused {
        /// Reason of the refusal.
        code: AlertCode,
        /// Name of the other end, once known.
        name: Option<PeerName>,
    },
    /// The other end refused this router.
    #[error("{}", refusal(*.code, Some(*.name)))]
    RefusedByPeer {
        /// Reason of the refusal.
        code: AlertCode,
        /// Name of this router.
        name: PeerName,
        /// The refusing router, if it is authenticated; otherwise the refusal is a hint that may be forged.
        by: Option<PeerId>,
    },
    /// The handshake, admission included, took longer than [`HANDSHAKE_TIMEOUT`].
    #[error("handshake timed out after {} s", HANDSHAKE_TIMEOUT.as_secs())]
    TimedOut,
    /// Protocol violation: bytes that no router of this version sends, or that were altered.
    #[error(
        "received what no router sends ({0}); something between the two routers interferes, or one of them is faulty"
    )]
    Corrupt(&'static str),
}

impl LinkError {
    /// Returns the reason as a code, which decides when to dial again. `None` for errors without one, and for
    /// unauthenticated hints of decisions that are only taken about an authenticated peer.
    pub fn alert(&self) -> Option<AlertCode> {
        match self {
            Self::WrongSecret => Some(AlertCode::WrongSecret),
            Self::Version { .. } => Some(AlertCode::Version),
            Self::Authentication { .. } => Some(AlertCode::Authentication),
            Self::Tampered => Some(AlertCode::Tampered),
            Self::BadRecord(_) | Self::ForeignKey => Some(AlertCode::BadRecord),
            Self::Refused { code, .. } => Some(*code),
            Self::RefusedByPeer { code, by, .. } => {
                (by.is_some() || !code.needs_proof()).then_some(*code)
            }
            Self::NotMesh(_)
            | Self::OtherMesh
            | Self::OwnRecord(_)
            | Self::TimedOut
            | Self::Corrupt(_) => None,
        }
    }

    /// Returns the authenticated peer that refused this router for `reason`.
    pub fn refused_by(&self, reason: AlertCode) -> Option<PeerId> {
        match self {
            Self::RefusedByPeer { code, by, .. } => by.filter(|_| *code == reason),
            _ => None,
        }
    }
}

const WRONG_SECRET: &str = "wrong password or key: this router and that one have different secrets";

const PENALTY: &str = "that router takes no connection from this address for up to 60 s: a wrong password or key came from here";

fn range(min: u8, max: u8) -> String {
    if min == max {
        min.to_string()
    } else {
        format!("{min} to {max}")
    }
}

fn authentication(ours: SecretKind, theirs: u8) -> String {
    let ours = match ours {
        SecretKind::KeyFile => "a key file",
        SecretKind::Password => "a password",
        SecretKind::Open => "no secret",
    };
    match theirs {
        0 => format!("that router has no secret, this one has {ours}"),
        1 => format!("that router has a key file or a password, this one has {ours}"),
        other => format!(
            "that router asks for authentication of kind {other}, which this version does not know; this one has {ours}"
        ),
    }
}

fn refusal(code: AlertCode, name: Option<PeerName>) -> String {
    match code {
        AlertCode::WrongSecret => WRONG_SECRET.to_owned(),
        AlertCode::NameConflict => {
            let name = name.map_or_else(String::new, |n| format!(" {n}"));
            format!("the name{name} belongs to another router; give one of them another --name")
        }
        AlertCode::SelfConnection => "connected to ourselves".to_owned(),
        AlertCode::Version => "the two routers have no protocol version in common".to_owned(),
        AlertCode::Authentication => "only one of the two routers has a secret".to_owned(),
        AlertCode::Full => "that router has as many links as it may".to_owned(),
        AlertCode::Duplicate => "the two routers are connected already".to_owned(),
        AlertCode::Tampered => LinkError::Tampered.to_string(),
        AlertCode::BadRecord => "the router introduced itself wrongly".to_owned(),
        AlertCode::Penalty => PENALTY.to_owned(),
        AlertCode::Other(code) => {
            format!("refused for a reason this version does not know ({code})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_bytes_are_one_to_one() {
        for byte in 0..=255 {
            assert_eq!(AlertCode::from_byte(byte).to_byte(), byte);
        }
    }

    #[test]
    fn messages_say_what_happened() {
        let text = |e: LinkError| e.to_string();
        assert_eq!(
            text(LinkError::NotMesh(Stranger::Http)),
            "not a mesh router (it answered with HTTP)"
        );
        assert_eq!(
            text(LinkError::Version { min: 2, max: 3 }),
            "that router speaks mesh protocol 2 to 3, we speak 1; upgrade the older one"
        );
        assert_eq!(
            text(LinkError::Authentication {
                ours: SecretKind::KeyFile,
                theirs: 0
            }),
            "that router has no secret, this one has a key file"
        );
        assert_eq!(
            text(LinkError::Authentication {
                ours: SecretKind::Open,
                theirs: 1
            }),
            "that router has a key file or a password, this one has no secret"
        );
        let name = PeerName([0x7a, 0, 0, 0, 0, 1]);
        let conflict = LinkError::RefusedByPeer {
            code: AlertCode::NameConflict,
            name,
            by: Some(PeerId([1; 16])),
        };
        assert_eq!(
            text(conflict),
            "the name 7a:00:00:00:00:01 belongs to another router; give one of them another --name"
        );
        assert_eq!(text(LinkError::TimedOut), "handshake timed out after 5 s");
    }

    #[test]
    fn a_forged_alert_cannot_make_us_give_up_a_peer() {
        let by_peer = |code, by| {
            LinkError::RefusedByPeer {
                code,
                name: PeerName([0; 6]),
                by,
            }
            .alert()
        };
        for code in [
            AlertCode::SelfConnection,
            AlertCode::NameConflict,
            AlertCode::Duplicate,
        ] {
            assert_eq!(by_peer(code, None), None);
            assert_eq!(by_peer(code, Some(PeerId([1; 16]))), Some(code));
        }
        assert_eq!(
            by_peer(AlertCode::WrongSecret, None),
            Some(AlertCode::WrongSecret)
        );
    }
}
