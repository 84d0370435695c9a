//! Signing with an asymmetric key in AWS KMS, which never leaves it.

use std::time::Duration;

use aws_config::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_kms::{
    Client,
    config::Builder,
    primitives::Blob,
    types::{MessageType, SigningAlgorithmSpec},
};

use super::{
    key::{Algorithm, PublicKey},
    signer::SignerError,
};
use crate::{
    audit::ship::aws::{Connector, describe},
    config::KmsKey,
};

/// Longest wait for one answer, attempts included. KMS answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A key in KMS, and its public half.
pub(crate) struct KmsSigner {
    connector: Connector,
    client: Client,
    key_id: String,
    public: PublicKey,
}

impl KmsSigner {
    /// Asks for the public key.
    pub(super) async fn open(key: &KmsKey) -> Result<Self, SignerError> {
        let KmsKey { key_id, region, endpoint_url } = key;
        let failed = |error: String| SignerError::Kms { doing: "get the public key", key_id: key_id.clone(), error };
        let connector = Connector::new("audit.checkpoint.kms", region.as_deref(), endpoint_url.as_deref());
        let shared = connector.prepare().await.map_err(failed)?;
        let timeouts = TimeoutConfig::builder().operation_timeout(PATIENCE).build();
        let builder = Builder::from(&shared).retry_config(RetryConfig::standard()).timeout_config(timeouts);
        let client = Client::from_conf(builder.build());
        let ask = || client.get_public_key().key_id(key_id).send();
        let answer = match ask().await {
            Err(error) if connector.corrects_clock(&error) => ask().await,
            answer => answer,
        };
        let answer = answer.map_err(|error| failed(describe(&error)))?;
        let spki = answer.public_key.ok_or_else(|| failed("it answered without one".to_owned()))?;
        let public = PublicKey::from_spki(spki.as_ref())?;
        Ok(Self { connector, client, key_id: key_id.clone(), public })
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
        let request = request.message_type(MessageType::Raw).message(Blob::new(message));
        let answer = match request.clone().send().await {
            Err(error) if self.connector.corrects_clock(&error) => request.send().await,
            answer => answer,
        };
        let answer = answer.map_err(|error| failed(describe(&error)))?;
        Ok(answer.signature.ok_or_else(|| failed("it answered without a signature".to_owned()))?.into_inner())
    }
}
