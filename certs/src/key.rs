//! Private keys that leave no copy behind.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use zeroize::{Zeroize, Zeroizing};

use crate::{Error, pem};

/// A P-256 private key. Its encoded form is overwritten when it is dropped (the library behind it does the same with the
/// decoded form); it has no `Debug`.
pub struct Key(KeyPair);

impl Key {
    /// A new key.
    ///
    /// # Errors
    /// [`Error::Sign`] when the generator fails.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// Reads PKCS #8 PEM.
    ///
    /// # Errors
    /// [`Error::BadKey`] for everything else.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let mut der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| Error::BadKey)?;
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256);
        der.zeroize();
        pair.map(Self).map_err(|_| Error::BadKey)
    }

    /// PKCS #8 PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem::encode("PRIVATE KEY", self.0.serialized_der())
    }

    /// PKCS #8 DER, borrowed: for libraries that take a key by reference or copy it themselves.
    pub fn as_pkcs8(&self) -> PrivatePkcs8KeyDer<'_> {
        PrivatePkcs8KeyDer::from(self.0.serialized_der())
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_pem() {
        let key = Key::generate().unwrap();
        let read = Key::from_pem(&key.to_pem()).unwrap();
        assert_eq!(read.subject_public_key_info(), key.subject_public_key_info());
    }

    #[test]
    fn an_unreadable_key_is_refused_without_its_content() {
        let error = Key::from_pem("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n").err().unwrap();
        assert!(matches!(error, Error::BadKey));
        assert!(!error.to_string().contains("c2VjcmV0"));
    }
}
