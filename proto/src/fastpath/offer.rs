//! Offer of plain VXLAN, a payload of kind Probe: sealed and protected against replay, so only the peer can have made
//! it.

/// First byte of the payload; 0 and 1 are the request and the reply of [`crate::control::probe`].
const OFFER: u8 = 2;
/// Length of the payload, in bytes.
const LEN: usize = 24;
/// Exclusive upper bound of a VXLAN network identifier (24 bits, RFC 7348 section 5).
const VNI_END: u32 = 1 << 24;

/// Offer to accept plain VXLAN from the receiver, renewed with every heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// UDP port of the sender's VXLAN devices; 0 refuses the other side's offer.
    pub port: u16,
    /// VXLAN network identifier of the sender, below 2^24.
    pub vni: u32,
    /// Nonce of the sender's beats, drawn at its start.
    pub nonce: u64,
    /// Nonce of the beats received from the receiver of this offer; 0 while there are none.
    pub echo: u64,
}

impl Offer {
    /// Answer of a router whose operator does not consent.
    pub const REFUSAL: Self = Self {
        port: 0,
        vni: 0,
        nonce: 0,
        echo: 0,
    };

    /// Returns true if it refuses the other side's offer.
    pub fn is_refusal(&self) -> bool {
        self.port == 0
    }

    /// Encodes the payload: `2 ‖ 0 ‖ port u16 ‖ VNI u32 ‖ nonce u64 ‖ echo u64`, big-endian.
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

    /// Decodes a payload; `None` for anything that [`Offer::encode`] does not produce.
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
        fn decoded_offers_encode_to_the_same_bytes(body in proptest::collection::vec(any::<u8>(), 0..40)) {
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
