//! Ciphers that the router accepts for data: the operator's choice, and the capabilities of the CPU.

use mesh_options::Cipher;
use mesh_proto::crypto::aead::{Suite, Suites};

/// Returns the ciphers to offer and accept on this machine, in order of preference.
pub fn suites(asked: Cipher) -> Suites {
    choose(asked, has_aes())
}

fn choose(asked: Cipher, has_aes: bool) -> Suites {
    match asked {
        Cipher::Auto if has_aes => Suites::AES_FIRST,
        Cipher::Auto => Suites::CHACHA,
        Cipher::ChaCha20Poly1305 => Suites::only(Suite::ChaCha20Poly1305),
        Cipher::Aes256Gcm => Suites::only(Suite::Aes256Gcm),
    }
}

/// True if the CPU has instructions for AES and for the carry-less multiplication of GCM. Without both, AES-256-GCM is
/// several times slower than ChaCha20-Poly1305.
#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

/// True if the CPU has instructions for AES and for the carry-less multiplication of GCM.
#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
}

/// Returns false: other CPUs are not probed.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn auto_follows_the_processor_and_the_operator_is_obeyed() {
        assert_eq!(choose(Cipher::Auto, true), Suites::AES_FIRST);
        assert_eq!(choose(Cipher::Auto, false), Suites::CHACHA);
        for has_aes in [true, false] {
            let only = |asked| choose(asked, has_aes).iter().collect::<Vec<_>>();
            assert_eq!(only(Cipher::ChaCha20Poly1305), [Suite::ChaCha20Poly1305]);
            assert_eq!(only(Cipher::Aes256Gcm), [Suite::Aes256Gcm]);
        }
    }

    #[test]
    fn values_are_the_names_that_status_shows() {
        for (cipher, suite) in [
            (Cipher::ChaCha20Poly1305, Suite::ChaCha20Poly1305),
            (Cipher::Aes256Gcm, Suite::Aes256Gcm),
        ] {
            let value = cipher.to_possible_value().unwrap();
            assert_eq!(value.get_name(), suite.name());
        }
    }
}
