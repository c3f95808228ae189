//! Handshake state (Noise section 5.3).

use core::fmt;

use zeroize::Zeroizing;

use super::pattern::Token;
use super::symmetric::{SplitKeys, SymmetricState};
use super::{MAX_MESSAGE, NoiseError, Pattern, Role};
use crate::crypto::dh::{DhSecret, LowOrder};

const KEY: usize = 32;

/// One side of a handshake. Secrets are erased when dropped and never printed.
pub struct Handshake {
    pattern: Pattern,
    role: Role,
    local_static: DhSecret,
    psk: Zeroizing<[u8; 32]>,
    progress: HandshakeProgress,
}

/// State that changes with each message. A message is read on a copy, which replaces this state if the whole message
/// is valid.
struct HandshakeProgress {
    symmetric: SymmetricState,
    local_ephemeral: Option<DhSecret>,
    remote_static: Option<[u8; 32]>,
    remote_ephemeral: Option<[u8; 32]>,
    messages: usize,
}

impl Handshake {
    /// Creates a handshake. Both sides must use the same `prologue`. The initiator of [`Pattern::IkPsk2`] needs
    /// `remote_static`, without which its first `write_message` fails; in all other cases it is ignored.
    pub fn new(
        pattern: Pattern,
        role: Role,
        prologue: &[u8],
        local_dh: &DhSecret,
        remote_static: Option<[u8; 32]>,
        psk: &[u8; 32],
    ) -> Self {
        let mut symmetric = SymmetricState::new(pattern.name());
        symmetric.mix_hash(prologue);
        let mut known = None;
        if pattern.responder_known() {
            match role {
                Role::Initiator => known = remote_static,
                Role::Responder => symmetric.mix_hash(&local_dh.public()),
            }
            if let Some(key) = &known {
                symmetric.mix_hash(key);
            }
        }
        Self {
            pattern,
            role,
            local_static: local_dh.duplicate(),
            psk: Zeroizing::new(*psk),
            progress: HandshakeProgress {
                symmetric,
                local_ephemeral: None,
                remote_static: known,
                remote_ephemeral: None,
                messages: 0,
            },
        }
    }

    /// Appends the next message with `payload` to `out`. The payload is encrypted once the pattern has a key, in
    /// every message but the first of XX. `ephemeral` is 32 fresh random bytes, unused by the third message of XX.
    /// After an error `out` is as before.
    pub fn write_message(
        &mut self,
        ephemeral: [u8; 32],
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), NoiseError> {
        let ephemeral = Zeroizing::new(ephemeral);
        let tokens = self.next_tokens(true)?;
        let start = out.len();
        let mut next = self.progress.duplicate();
        let written = self.write_tokens(&mut next, tokens, &ephemeral, payload, out);
        if written.is_ok() && out.len() - start > MAX_MESSAGE {
            out.truncate(start);
            return Err(NoiseError::TooLong);
        }
        match written {
            Ok(()) => self.progress = next,
            Err(_) => out.truncate(start),
        }
        written
    }

    /// Returns the payload of the other side's next message. After an error the handshake is as before and may read
    /// another message.
    pub fn read_message(&mut self, message: &[u8]) -> Result<Vec<u8>, NoiseError> {
        if message.len() > MAX_MESSAGE {
            return Err(NoiseError::TooLong);
        }
        let tokens = self.next_tokens(false)?;
        let mut next = self.progress.duplicate();
        let payload = self.read_tokens(&mut next, tokens, message)?;
        self.progress = next;
        Ok(payload)
    }

    /// Returns true if all messages were written and read.
    pub fn is_finished(&self) -> bool {
        self.progress.messages == self.pattern.messages().len()
    }

    /// Returns the other side's static key, once known; it is authenticated when the handshake is finished.
    pub fn remote_static(&self) -> Option<[u8; 32]> {
        self.progress.remote_static
    }

    /// Returns the transcript hash, which is the channel binding once the handshake is finished (Noise section 11.2).
    pub fn hash(&self) -> [u8; 32] {
        self.progress.symmetric.hash()
    }

    /// Returns the transport keys; an error unless the handshake is finished.
    pub fn split(self) -> Result<SplitKeys, NoiseError> {
        if !self.is_finished() {
            return Err(NoiseError::Unfinished);
        }
        let mut keys = self.progress.symmetric.split();
        if self.role == Role::Responder {
            let SplitKeys { send, recv } = &mut keys;
            core::mem::swap(send, recv);
        }
        Ok(keys)
    }

    fn next_tokens(&self, writing: bool) -> Result<&'static [Token], NoiseError> {
        let even = self.progress.messages.is_multiple_of(2);
        let my_turn = even == (self.role == Role::Initiator);
        if my_turn != writing {
            return Err(NoiseError::OutOfTurn);
        }
        let messages = self.pattern.messages();
        let tokens = messages.get(self.progress.messages);
        tokens.copied().ok_or(NoiseError::OutOfTurn)
    }

    fn write_tokens(
        &self,
        next: &mut HandshakeProgress,
        tokens: &[Token],
        ephemeral: &[u8; 32],
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), NoiseError> {
        for token in tokens {
            match token {
                Token::E => {
                    let secret = DhSecret::from_bytes(*ephemeral);
                    let public = secret.public();
                    out.extend_from_slice(&public);
                    next.mix_ephemeral(&public);
                    next.local_ephemeral = Some(secret);
                }
                Token::S => {
                    let public = self.local_static.public();
                    next.symmetric.encrypt_and_hash(&public, out);
                }
                other => self.mix(next, *other)?,
            }
        }
        next.messages += 1;
        next.symmetric.encrypt_and_hash(payload, out);
        Ok(())
    }

    fn read_tokens(
        &self,
        next: &mut HandshakeProgress,
        tokens: &[Token],
        message: &[u8],
    ) -> Result<Vec<u8>, NoiseError> {
        let mut rest = message;
        for token in tokens {
            match token {
                Token::E => {
                    let public = take(&mut rest, KEY)?;
                    let public = public.try_into().map_err(|_| NoiseError::TooShort)?;
                    next.mix_ephemeral(&public);
                    next.remote_ephemeral = Some(public);
                }
                Token::S => {
                    let sealed = take(&mut rest, KEY + next.symmetric.overhead())?;
                    let public = next.symmetric.decrypt_and_hash(sealed)?;
                    let public = public.try_into().map_err(|_| NoiseError::TooShort)?;
                    next.remote_static = Some(public);
                }
                other => self.mix(next, *other)?,
            }
        }
        next.messages += 1;
        next.symmetric.decrypt_and_hash(rest)
    }

    /// Mixes in a Diffie-Hellman result or the pre-shared key.
    fn mix(&self, next: &mut HandshakeProgress, token: Token) -> Result<(), NoiseError> {
        let initiator = self.role == Role::Initiator;
        let (local_static, remote_static) = match token {
            Token::Psk => {
                next.symmetric.mix_key_and_hash(&self.psk[..]);
                return Ok(());
            }
            Token::Es => (!initiator, initiator),
            Token::Se => (initiator, !initiator),
            Token::Ss => (true, true),
            Token::Ee | Token::E | Token::S => (false, false),
        };
        let local = match (local_static, &next.local_ephemeral) {
            (true, _) => &self.local_static,
            (false, Some(ephemeral)) => ephemeral,
            (false, None) => return Err(NoiseError::OutOfTurn),
        };
        let remote = if remote_static {
            next.remote_static.ok_or(NoiseError::NoRemoteStatic)?
        } else {
            next.remote_ephemeral.ok_or(NoiseError::OutOfTurn)?
        };
        let shared = local.agree(&remote)?;
        next.symmetric.mix_key(&shared[..]);
        Ok(())
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Handshake({:?}, {:?}, {} messages)",
            self.pattern, self.role, self.progress.messages
        )
    }
}

impl HandshakeProgress {
    fn duplicate(&self) -> Self {
        Self {
            symmetric: self.symmetric.clone(),
            local_ephemeral: self.local_ephemeral.as_ref().map(DhSecret::duplicate),
            ..*self
        }
    }

    /// Mixes in an ephemeral key, in patterns with a pre-shared key also into the chaining key (Noise section 9.2).
    fn mix_ephemeral(&mut self, public: &[u8; 32]) {
        self.symmetric.mix_hash(public);
        self.symmetric.mix_key(public);
    }
}

impl From<LowOrder> for NoiseError {
    fn from(_: LowOrder) -> Self {
        NoiseError::LowOrder
    }
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Result<&'a [u8], NoiseError> {
    let (head, tail) = rest.split_at_checked(n).ok_or(NoiseError::TooShort)?;
    *rest = tail;
    Ok(head)
}
