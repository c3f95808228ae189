//! Protection of the key agreement against floods of Inits: mac1, and under load cookies and rate limits.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use core::time::Duration;
use zeroize::Zeroizing;

use super::message::{self, Cookie, Sealed};
use super::{Refused, Via};
use crate::entropy::Entropy;
use crate::limits;
use crate::source::Source;
use crate::time::Instant;

const WINDOW: Duration = Duration::from_secs(1);

/// Counter of Inits in windows of one second; makes and checks cookies.
pub(super) struct Guard {
    own_dh: [u8; 32],
    mac1_key: [u8; 32],
    window: Window,
    loaded_until: Option<Instant>,
    secrets: Option<Secrets>,
}

/// Messages in the current second.
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

/// Verdict on an Init.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Accepted,
    /// Refused until the sender proves its address with the cookie; contains the Cookie message to send.
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

    /// Checks that a Response is addressed to this router. It causes a key agreement only if it names a pending
    /// handshake, so it needs no cookie.
    pub(super) fn admit_response(&self, response: &Sealed<'_>) -> Result<(), Refused> {
        response.check_mac1(&self.mac1_key)
    }

    /// Checks that an Init is addressed to this router, and decides if it may cause a key agreement now.
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

    /// Counts one message. Returns true if the router is under load.
    fn count(&mut self, now: Instant) -> bool {
        if now.since(self.window.start) >= WINDOW {
            self.window = Window {
                start: now,
                ..Window::default()
            };
        }
        self.window.messages = self.window.messages.saturating_add(1);
        if self.window.messages > limits::HANDSHAKE_LOAD {
            // The load state lasts a window longer; otherwise each second would begin with unlimited key agreements.
            self.loaded_until = Some(now + WINDOW);
        }
        self.loaded_until.is_some_and(|until| now < until)
    }

    /// Returns the current and the previous cookie of an address; the first one is to be sent.
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
        let source = Source::of(address);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::dh::DhSecret;
    use crate::entropy::SeededEntropy;
    use crate::ids::{PeerId, SessionIndex};
    use crate::session::INIT_LEN;
    use crate::session::message::Message;
    use crate::wire::datagram::Kind;

    const START: Instant = Instant::from_nanos(1);

    struct Setup {
        guard: Guard,
        own_dh: [u8; 32],
        entropy: SeededEntropy,
    }

    impl Setup {
        fn new() -> Self {
            let own_dh = DhSecret::from_bytes([5; 32]).public();
            Self {
                guard: Guard::new(own_dh),
                own_dh,
                entropy: SeededEntropy::new(1),
            }
        }

        /// Returns an Init with the parts that the guard checks.
        fn init(&mut self, cookie: Option<&Cookie>) -> Vec<u8> {
            let header = message::header(Kind::Init, SessionIndex(77), &mut self.entropy);
            let mut bytes = header.encode().to_vec();
            bytes.resize(INIT_LEN - 32, 0);
            message::append_mac1(&mut bytes, &self.own_dh);
            message::append_mac2(&mut bytes, cookie);
            bytes
        }

        fn admit(&mut self, bytes: &[u8], via: Via, now: Instant) -> Result<Admission, Refused> {
            let Ok(Message::Init(init)) = message::parse(bytes) else {
                panic!("not an Init")
            };
            self.guard.admit_init(&init, via, now, &mut self.entropy)
        }

        fn load(&mut self, now: Instant) {
            let bytes = self.init(None);
            for _ in 0..limits::HANDSHAKE_LOAD {
                assert_eq!(self.admit(&bytes, direct(9), now), Ok(Admission::Accepted));
            }
        }

        /// Returns the cookie from the answer to an Init without one.
        fn cookie(&mut self, via: Via, now: Instant) -> Cookie {
            let init = self.init(None);
            let Ok(Admission::Challenge(bytes)) = self.admit(&init, via, now) else {
                panic!("no challenge")
            };
            assert!(bytes.len() <= init.len());
            let Ok(Message::Cookie(answer)) = message::parse(&bytes) else {
                panic!("not a Cookie")
            };
            assert_eq!(answer.receiver, SessionIndex(77));
            let Ok(Message::Init(init)) = message::parse(&init) else {
                panic!("not an Init")
            };
            assert!(answer.open(&self.own_dh, &[0; 16]).is_err());
            assert!(answer.open(&[1; 32], &init.mac1()).is_err());
            answer.open(&self.own_dh, &init.mac1()).unwrap()
        }
    }

    fn direct(last: u8) -> Via {
        Via::Direct(SocketAddr::from(([10, 0, 0, last], 6783)))
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn without_load_no_cookie_is_needed() {
        let mut setup = Setup::new();
        for second in 0..3 {
            setup.load(START + seconds(second));
        }
    }

    #[test]
    fn an_init_for_another_router_does_not_count_as_load() {
        let mut setup = Setup::new();
        let mut bad = setup.init(None);
        bad[INIT_LEN - 32] ^= 1;
        for _ in 0..1_000 {
            assert_eq!(setup.admit(&bad, direct(1), START), Err(Refused::BadMac));
        }
        setup.load(START);
    }

    #[test]
    fn under_load_a_cookie_proves_the_address_it_was_sent_to() {
        let mut setup = Setup::new();
        setup.load(START);
        let cookie = setup.cookie(direct(1), START);
        let init = setup.init(Some(&cookie));
        assert_eq!(
            setup.admit(&init, direct(1), START),
            Ok(Admission::Accepted)
        );
        let other_port = Via::Direct(SocketAddr::from(([10, 0, 0, 1], 6784)));
        for via in [direct(2), other_port] {
            assert!(matches!(
                setup.admit(&init, via, START),
                Ok(Admission::Challenge(_))
            ));
        }
        let mapped = Via::Direct("[::ffff:10.0.0.1]:6783".parse().unwrap());
        assert_eq!(setup.admit(&init, mapped, START), Ok(Admission::Accepted));
    }

    #[test]
    fn cookies_outlive_one_secret_and_not_two() {
        let mut setup = Setup::new();
        setup.load(START);
        let cookie = setup.cookie(direct(1), START);
        for (age, good) in [(119, true), (121, true), (239, true), (241, false)] {
            let now = START + seconds(age);
            setup.load(now);
            let init = setup.init(Some(&cookie));
            let accepted = setup.admit(&init, direct(1), now) == Ok(Admission::Accepted);
            assert_eq!(accepted, good, "{age} s");
        }
    }

    #[test]
    fn a_long_pause_replaces_both_secrets() {
        let mut setup = Setup::new();
        setup.load(START);
        let cookie = setup.cookie(direct(1), START);
        let now = START + 2 * limits::COOKIE_AGE;
        setup.load(now);
        let init = setup.init(Some(&cookie));
        assert!(setup.admit(&init, direct(1), now) != Ok(Admission::Accepted));
    }

    #[test]
    fn a_source_has_a_rate_even_with_a_cookie() {
        let mut setup = Setup::new();
        setup.load(START);
        let cookies = [direct(1), direct(2)].map(|via| (via, setup.cookie(via, START)));
        for (via, cookie) in &cookies {
            let init = setup.init(Some(cookie));
            for n in 0..limits::HANDSHAKES_PER_SOURCE + 5 {
                let expected = if n < limits::HANDSHAKES_PER_SOURCE {
                    Ok(Admission::Accepted)
                } else {
                    Err(Refused::RateLimited)
                };
                assert_eq!(setup.admit(&init, *via, START), expected);
            }
        }
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_rate_and_sources_are_bounded() {
        let mut window = Window::default();
        let v6 = |text: &str| SocketAddr::new(text.parse().unwrap(), 1);
        for n in 0..limits::HANDSHAKES_PER_SOURCE {
            let address = v6(&format!("2001:db8::{n:x}"));
            assert_eq!(window.admit_source(address), Ok(()));
        }
        assert!(window.admit_source(v6("2001:db8::ffff")).is_err());
        for n in 1..u32::try_from(limits::MAX_HANDSHAKE_SOURCES).unwrap() {
            let address = SocketAddr::new(IpAddr::from(n.to_be_bytes()), 1);
            assert_eq!(window.admit_source(address), Ok(()));
        }
        assert!(window.admit_source(v6("2001:db8:1::1")).is_err());
        assert_eq!(window.admit_source(v6("0.0.0.1")), Ok(()), "known before");
        assert_eq!(window.sources.len(), limits::MAX_HANDSHAKE_SOURCES);
    }

    #[test]
    fn relayed_messages_have_a_budget_of_their_own() {
        let mut setup = Setup::new();
        setup.load(START);
        let (init, relayed) = (setup.init(None), Via::Relay(PeerId([9; 16])));
        for _ in 0..limits::RELAYED_HANDSHAKES {
            assert_eq!(setup.admit(&init, relayed, START), Ok(Admission::Accepted));
        }
        assert_eq!(
            setup.admit(&init, relayed, START),
            Err(Refused::RateLimited)
        );
    }

    #[test]
    fn load_passes() {
        let mut setup = Setup::new();
        setup.load(START);
        setup.cookie(direct(1), START);
        let init = setup.init(None);
        let soon = START + Duration::from_millis(900);
        assert!(setup.admit(&init, direct(1), soon) != Ok(Admission::Accepted));
        let later = START + seconds(3);
        assert_eq!(
            setup.admit(&init, direct(1), later),
            Ok(Admission::Accepted)
        );
    }
}
