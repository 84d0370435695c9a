//! Signing with an asymmetric key in AWS KMS, which never leaves it.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, timeout::TimeoutConfig};
use aws_sdk_kms::{
    Client,
    error::DisplayErrorContext,
    primitives::Blob,
    types::{MessageType, SigningAlgorithmSpec},
};

use super::{
    key::{Algorithm, PublicKey},
    signer::SignerError,
};
use crate::config::KmsKey;

/// Longest wait for one answer, attempts included. KMS answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A key in KMS, and its public half.
pub(crate) struct KmsSigner {
    client: Client,
    key_id: String,
    public: PublicKey,
}

impl KmsSigner {
    /// Asks for the public key.
    pub(super) async fn open(key: &KmsKey) -> Result<Self, SignerError> {
        let KmsKey { key_id, region, endpoint_url } = key;
        let timeouts = TimeoutConfig::builder().operation_timeout(PATIENCE).build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts);
        if let Some(region) = region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let client = Client::new(&loader.load().await);
        let failed = |error: String| SignerError::Kms { doing: "get the public key", key_id: key_id.clone(), error };
        let answer = client.get_public_key().key_id(key_id).send().await;
        let answer = answer.map_err(|error| failed(DisplayErrorContext(error).to_string()))?;
        let spki = answer.public_key.ok_or_else(|| failed("it answered without one".to_owned()))?;
        let public = PublicKey::from_spki(spki.as_ref())?;
        Ok(Self { client, key_id: key_id.clone(), public })
    }

    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `message`; KMS takes at most 4096 bytes.
    pub(super) async fn sign(&self, message: Vec<u8>) -> Result<Vec<u8>, SignerError> {
        let algorithm = match self.public.algorithm() {
            Algorithm::Ed25519 => SigningAlgorithmSpec::Ed25519Sha512,
            Algorithm::EcdsaP256 => SigningAlgorithmSpec::EcdsaSha256,
        };
        let failed = |error: String| SignerError::Kms { doing: "sign", key_id: self.key_id.clone(), error };
        let request = self.client.sign().key_id(&self.key_id).signing_algorithm(algorithm);
        let answer = request.message_type(MessageType::Raw).message(Blob::new(message)).send().await;
        let answer = answer.map_err(|error| failed(DisplayErrorContext(error).to_string()))?;
        Ok(answer.signature.ok_or_else(|| failed("it answered without a signature".to_owned()))?.into_inner())
    }
}
