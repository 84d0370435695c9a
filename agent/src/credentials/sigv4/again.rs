//! A request that was signed by another key: what its signature is by that key, and the request signed again by ours, with
//! nothing else changed. Unlike a message's, its own `X-Amz-*` headers are what it asks for, and stay.

use std::time::SystemTime;

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
};
use http::{
    HeaderValue,
    header::{AUTHORIZATION, HOST},
    request::Parts,
};

use super::{
    super::CredentialError,
    AwsKey, Scope,
    sign::{computed, signature, write},
};

/// What a signature brings along: replaced with it.
const OWN: [&str; 3] = ["x-amz-date", "x-amz-security-token", "x-amz-content-sha256"];

/// A request as it was signed.
pub(in crate::credentials) struct Original<'a> {
    pub(in crate::credentials) method: &'a str,
    pub(in crate::credentials) uri: &'a str,
    /// The signed headers, but for the host and those that a signature brings along.
    pub(in crate::credentials) headers: &'a [(&'a str, &'a str)],
    pub(in crate::credentials) content: Content<'a>,
}

/// The content that a signature is over.
#[derive(Debug, Clone, Copy)]
pub(in crate::credentials) enum Content<'a> {
    /// These bytes; the request does not state their digest.
    Whole(&'a [u8]),
    /// What `x-amz-content-sha256` states.
    Stated(&'a str),
}

impl<'a> Content<'a> {
    fn as_body(self) -> (SignableBody<'a>, PayloadChecksumKind) {
        match self {
            Self::Whole(bytes) => (SignableBody::Bytes(bytes), PayloadChecksumKind::NoHeader),
            Self::Stated(stated) => (SignableBody::Precomputed(stated.to_owned()), PayloadChecksumKind::XAmzSha256),
        }
    }
}

/// The signature of a request by the keys that its client holds, in hexadecimal digits.
///
/// # Errors
/// [`CredentialError::Unsignable`].
pub(in crate::credentials) fn signature_of(
    original: &Original<'_>,
    keys: &AwsCredentials,
    scope: &Scope,
    time: SystemTime,
) -> Result<String, CredentialError> {
    let Original { method, uri, headers, content } = *original;
    let (body, stated) = content.as_body();
    let request = SignableRequest::new(method, uri, headers.iter().copied(), body);
    let request = request.map_err(|_| CredentialError::Unsignable("its target is no URI"))?;
    let settings = settings(scope, stated);
    Ok(computed(request, keys, scope, time, settings)?.signature().to_owned())
}

/// Replaces a request's signature, over the headers in `names` that are still there.
///
/// # Errors
/// [`CredentialError::Unsignable`].
pub(in crate::credentials) fn sign_again(
    head: &mut Parts,
    authority: &str,
    names: &[String],
    content: Content<'_>,
    key: &AwsKey,
) -> Result<(), CredentialError> {
    head.headers.remove(AUTHORIZATION);
    for name in OWN {
        head.headers.remove(name);
    }
    let host = HeaderValue::from_str(authority).map_err(|_| CredentialError::Unsignable("its Host is not ASCII"))?;
    head.headers.insert(HOST, host);
    let values = |name| head.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let headers = names.iter().map(String::as_str).flat_map(|name| values(name).map(move |value| (name, value)));
    let headers: Vec<(&str, &str)> = headers.collect();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let uri = format!("https://{authority}{target}");
    let (body, stated) = content.as_body();
    let signature = signature(head.method.as_str(), &uri, &headers, body, key, settings(&key.scope, stated))?;
    write(head, signature)
}

/// S3 takes paths as they are; others have them normalised, and escaped once more.
fn settings(scope: &Scope, stated: PayloadChecksumKind) -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = stated;
    // What is signed is listed; nothing is left out of it.
    settings.excluded_headers = None;
    if scope.service.starts_with("s3") {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    settings
}
