//! What an Init must pass before we spend a key agreement on it: mac1, and under load a cookie and a rate.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use core::time::Duration;
use zeroize::Zeroizing;

use super::message::{self, Cookie, Sealed};
use super::{Refused, Via};
use crate::entropy::Entropy;
use crate::limits;
use crate::time::Instant;

const WINDOW: Duration = Duration::from_secs(1);

/// Counts Inits in windows of one second, and makes and checks cookies.
pub(super) struct Guard {
    own_dh: [u8; 32],
    mac1_key: [u8; 32],
    window: Window,
    loaded_until: Option<Instant>,
    secrets: Option<Secrets>,
}

/// What came within the current second.
#[derive(Default)]
struct Window {
    start: Instant,
    messages: u32,
    relayed: u32,
    sources: BTreeMap<Source, u32>,
}

struct Secrets {
    made: Instant,
    current: Zeroizing<[u8; 32]>,
    previous: Zeroizing<[u8; 32]>,
}

/// Who shares one rate: an IPv4 address or an IPv6 /64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    V4([u8; 4]),
    V6([u8; 8]),
}

/// Whether a message is worth a key agreement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Accepted,
    /// Not before its sender shows this Cookie message's content.
    Challenge(Vec<u8>),
}

impl Guard {
    pub(super) fn new(own_dh: [u8; 32]) -> Self {
        Self {
            own_dh,
            mac1_key: message::mac1_key(&own_dh),
            window: Window::default(),
            loaded_until: None,
            secrets: None,
        }
    }

    /// Whether a Response was made for us. It costs a key agreement only if it names a pending handshake, so it needs
    /// no cookie.
    pub(super) fn admit_response(&self, response: &Sealed<'_>) -> Result<(), Refused> {
        response.check_mac1(&self.mac1_key)
    }

    /// Whether an Init was made for us and may cost a key agreement now.
    pub(super) fn admit_init(
        &mut self,
        init: &Sealed<'_>,
        via: Via,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Result<Admission, Refused> {
        init.check_mac1(&self.mac1_key)?;
        if !self.count(now) {
            return Ok(Admission::Accepted);
        }
        let Via::Direct(address) = via else {
            self.window.relayed += 1;
            return if self.window.relayed <= limits::RELAYED_HANDSHAKES {
                Ok(Admission::Accepted)
            } else {
                Err(Refused::RateLimited)
            };
        };
        let [cookie, before] = self.cookies(address, now, entropy);
        if init.has_mac2_of(&cookie) || init.has_mac2_of(&before) {
            self.window.admit_source(address)?;
            return Ok(Admission::Accepted);
        }
        let (receiver, mac1) = (init.header.receiver, init.mac1());
        message::cookie_message(receiver, &mac1, &cookie, &self.own_dh, entropy)
            .map(Admission::Challenge)
            .ok_or(Refused::RateLimited)
    }

    /// Counts one message; whether we are under load.
    fn count(&mut self, now: Instant) -> bool {
        if now.since(self.window.start) >= WINDOW {
            self.window = Window {
                start: now,
                ..Window::default()
            };
        }
        self.window.messages = self.window.messages.saturating_add(1);
        if self.window.messages > limits::HANDSHAKE_LOAD {
            // For a while longer, or every second would begin with free key agreements.
            self.loaded_until = Some(now + WINDOW);
        }
        self.loaded_until.is_some_and(|until| now < until)
    }

    /// The cookies of an address that hold now; the first is the one to give away.
    fn cookies(
        &mut self,
        address: SocketAddr,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> [Cookie; 2] {
        let secrets = self.secrets.get_or_insert_with(|| Secrets {
            made: now,
            current: Zeroizing::new(entropy.key()),
            previous: Zeroizing::new(entropy.key()),
        });
        let age = now.since(secrets.made);
        if age >= limits::COOKIE_AGE {
            secrets.previous = if age >= 2 * limits::COOKIE_AGE {
                Zeroizing::new(entropy.key())
            } else {
                core::mem::take(&mut secrets.current)
            };
            secrets.current = Zeroizing::new(entropy.key());
            secrets.made = now;
        }
        let mut bytes = match address.ip().to_canonical() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        bytes.extend_from_slice(&address.port().to_be_bytes());
        [&secrets.current, &secrets.previous].map(|s| Zeroizing::new(message::mac32(s, &bytes)))
    }
}

impl Window {
    fn admit_source(&mut self, address: SocketAddr) -> Result<(), Refused> {
        let source = match address.ip().to_canonical() {
            IpAddr::V4(ip) => Source::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Source::V6([a, b, c, d, e, f, g, h])
            }
        };
        let known = self.sources.len();
        if known >= limits::MAX_HANDSHAKE_SOURCES && !self.sources.contains_key(&source) {
            return Err(Refused::RateLimited);
        }
        let count = self.sources.entry(source).or_default();
        *count += 1;
        if *count > limits::HANDSHAKES_PER_SOURCE {
            return Err(Refused::RateLimited);
        }
        Ok(())
    }
}
