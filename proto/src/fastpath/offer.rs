//! The offer of plain VXLAN, a payload of kind Probe: sealed and fresh, so nobody but the peer can have made it.

/// First byte of the payload; 0 and 1 are the request and the reply of [`crate::control::probe`].
const OFFER: u8 = 2;
/// Bytes of the payload.
const LEN: usize = 24;
/// Exclusive upper bound of a VXLAN network identifier (24 bits, RFC 7348 section 5).
const VNI_END: u32 = 1 << 24;

/// "I take plain VXLAN from you here", renewed with every heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// UDP port the sender receives VXLAN at; 0 refuses what the other side offered.
    pub port: u16,
    /// Network identifier it receives with, below 2^24.
    pub vni: u32,
    /// What its beats carry; drawn at its start.
    pub nonce: u64,
    /// The nonce of the beats it hears from the receiver of this offer; 0 while it hears none.
    pub echo: u64,
}

impl Offer {
    /// The answer of a router that does not consent.
    pub const REFUSAL: Self = Self {
        port: 0,
        vni: 0,
        nonce: 0,
        echo: 0,
    };

    /// Whether it refuses.
    pub fn is_refusal(&self) -> bool {
        self.port == 0
    }

    /// The bytes to seal: `2 ‖ 0 ‖ port u16 ‖ VNI u32 ‖ nonce u64 ‖ echo u64`, big-endian.
    pub fn encode(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        let (head, tail) = out.split_at_mut(8);
        head[0] = OFFER;
        head[2..4].copy_from_slice(&self.port.to_be_bytes());
        head[4..8].copy_from_slice(&self.vni.to_be_bytes());
        tail[..8].copy_from_slice(&self.nonce.to_be_bytes());
        tail[8..].copy_from_slice(&self.echo.to_be_bytes());
        out
    }

    /// Reads a payload; `None` for anything that [`Offer::encode`] does not make.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let [OFFER, 0, p0, p1, v0, v1, v2, v3, tail @ ..] = body else {
            return None;
        };
        let (nonce, echo) = tail.split_first_chunk::<8>()?;
        let vni = u32::from_be_bytes([*v0, *v1, *v2, *v3]);
        (vni < VNI_END).then_some(())?;
        Some(Self {
            port: u16::from_be_bytes([*p0, *p1]),
            vni,
            nonce: u64::from_be_bytes(*nonce),
            echo: u64::from_be_bytes(echo.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::probe::Probe;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(port: u16, vni in 0..VNI_END, nonce: u64, echo: u64) {
            let offer = Offer { port, vni, nonce, echo };
            prop_assert_eq!(Offer::decode(&offer.encode()), Some(offer));
            prop_assert_eq!(Probe::decode(&offer.encode()), None);
        }

        #[test]
        fn what_is_read_is_what_is_written(body in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(offer) = Offer::decode(&body) {
                prop_assert_eq!(&offer.encode()[..], &body[..]);
            }
        }
    }

    #[test]
    fn other_lengths_and_wide_identifiers_are_refused() {
        let bytes = Offer::REFUSAL.encode();
        assert_eq!(Offer::decode(&bytes), Some(Offer::REFUSAL));
        for len in 0..LEN {
            assert_eq!(Offer::decode(&bytes[..len]), None, "{len}");
        }
        assert_eq!(Offer::decode(&[&bytes[..], &[0]].concat()), None);
        let mut wide = bytes;
        wide[4] = 1;
        assert_eq!(Offer::decode(&wide), None);
    }
}
