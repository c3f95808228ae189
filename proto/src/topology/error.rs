//! Errors of records and of messages to one router.

use crate::wire::codec::CodecError;
use crate::wire::topic::Topic;

/// Reason why a record is refused, or cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Longer than [`Topic::max_record`].
    #[error("the record has {0} bytes, more than are allowed")]
    TooLong(usize),
    /// Not a record, or a bound is exceeded.
    #[error("the record is {0}")]
    Malformed(#[from] CodecError),
    /// A text with control characters, which could manipulate an operator's terminal.
    #[error("a name in the record has control characters")]
    ControlCharacters,
    /// The signature is not that of the origin's key.
    #[error("the record's signature is wrong")]
    BadSignature,
    /// An identity with other keys than those of its origin or its signer.
    #[error("the record is about other keys than those of its origin")]
    OtherKeys,
    /// Not an identity, where one was expected.
    #[error("the record does not say who its origin is")]
    NoIdentity,
    /// Records of this topic are made only by the control plane.
    #[error("records about {0} are made by the router itself")]
    BuiltIn(Topic),
}
