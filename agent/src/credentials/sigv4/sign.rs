//! The signature itself.

use std::time::SystemTime;

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::{
    SigningOutput,
    http_request::{self, PayloadChecksumKind, SignableBody, SignableRequest, SigningInstructions, SigningSettings},
    sign::v4,
};
use aws_smithy_async::time::TimeSource as _;
use aws_smithy_runtime_api::client::identity::Identity;
use http::{
    HeaderName, HeaderValue,
    header::{ACCEPT, CONTENT_TYPE, HOST},
    request::Parts,
};

use super::{super::CredentialError, AwsKey, Scope};

/// Headers that are signed besides `Host`, the signature's own, `Mcp-*` and `X-Amzn-*`. What intermediaries change on the way
/// (`Accept-Encoding`, `User-Agent`, `Via`, trace headers …) is not, and neither is a value that is not visible ASCII: what
/// bytes a verifier makes of it is anybody's guess.
const SIGNED: [HeaderName; 3] = [ACCEPT, CONTENT_TYPE, HeaderName::from_static("last-event-id")];
/// Changed by every hop, and signed by no SDK.
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// Signs a request that has no signature. `authority` is what it names, and what its `Host` will be.
pub(in crate::credentials) fn sign(
    head: &mut Parts,
    authority: &str,
    body: &[u8],
    key: &AwsKey,
) -> Result<(), CredentialError> {
    let unsignable = CredentialError::Unsignable;
    let host = HeaderValue::from_str(authority).map_err(|_| unsignable("its Host is not ASCII"))?;
    head.headers.insert(HOST, host);
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let is_plain = |name: &&HeaderName| head.headers.get_all(*name).iter().all(|value| plain(value).is_some());
    let signed = head.headers.keys().filter(|name| is_signed(name)).filter(is_plain);
    let values = |name| head.headers.get_all(name).iter().filter_map(plain);
    let headers: Vec<(&str, &str)> = signed.flat_map(|name| values(name).map(|value| (name.as_str(), value))).collect();
    let mut settings = SigningSettings::default();
    let mut payload = SignableBody::Bytes(body);
    if !signs_payload(&key.scope.service) {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        payload = SignableBody::UnsignedPayload;
    }
    let uri = format!("https://{authority}{target}");
    write(head, signature(head.method.as_str(), &uri, &headers, payload, key, settings)?)
}

/// Puts a signature on.
pub(super) fn write(head: &mut Parts, signature: SigningInstructions) -> Result<(), CredentialError> {
    for header in signature.into_parts().0 {
        let value = HeaderValue::from_str(header.value());
        let mut value = value.map_err(|_| CredentialError::Unsignable("the session token is no header's value"))?;
        value.set_sensitive(header.sensitive() || header.name() == "authorization");
        head.headers.insert(header.name(), value);
    }
    Ok(())
}

/// The headers that make a request a signed one.
pub(super) fn signature(
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: SignableBody<'_>,
    key: &AwsKey,
    settings: SigningSettings,
) -> Result<SigningInstructions, CredentialError> {
    let request = SignableRequest::new(method, uri, headers.iter().copied(), body);
    let request = request.map_err(|_| CredentialError::Unsignable("its target is no URI"))?;
    Ok(computed(request, &key.keys, &key.scope, key.clock.now(), settings)?.into_parts().0)
}

/// The signature by any key, at any time.
pub(super) fn computed(
    request: SignableRequest<'_>,
    keys: &AwsCredentials,
    scope: &Scope,
    time: SystemTime,
    settings: SigningSettings,
) -> Result<SigningOutput<SigningInstructions>, CredentialError> {
    let unsignable = CredentialError::Unsignable;
    let identity: Identity = keys.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&scope.region)
        .name(&scope.service)
        .time(time)
        .settings(settings)
        .build()
        .map_err(|_| unsignable("the signature's parameters are incomplete"))?
        .into();
    http_request::sign(request, &params).map_err(|_| unsignable("it has no canonical form"))
}

/// Whether a request can be signed, before it is recorded.
///
/// # Errors
/// [`CredentialError::Unsignable`].
pub(in crate::credentials) fn check(head: &Parts) -> Result<(), CredentialError> {
    check_query(head.uri.query().unwrap_or_default())
}

/// Whether a service takes signatures over payloads. VPC Lattice does not, and wants to be told so (VPC Lattice User Guide, "`SIGv4`
/// authenticated requests").
fn signs_payload(service: &str) -> bool {
    service != "vpc-lattice-svcs"
}

fn is_signed(name: &HeaderName) -> bool {
    let own = name.as_str();
    let is_of_mcp = own.starts_with("mcp-") || own.starts_with("x-amzn-");
    name == HOST || SIGNED.contains(name) || (is_of_mcp && *name != TRACE)
}

/// A value of visible ASCII and blanks.
fn plain(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().filter(|text| !text.contains('\t'))
}

/// A query that reads in one way only: `+` is a blank to some and itself to others, and what is not UTF-8 has no canonical form.
fn check_query(query: &str) -> Result<(), CredentialError> {
    if query.contains('+') {
        return Err(CredentialError::Unsignable("`+` in its query reads in two ways: write %20 or %2B"));
    }
    let mut bytes = Vec::with_capacity(query.len());
    let mut rest = query.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escape = (first == b'%').then(|| tail.first_chunk::<2>()).flatten();
        let decoded = escape.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        if first == b'%' && decoded.is_none() {
            return Err(CredentialError::Unsignable("its query has a `%` that escapes nothing"));
        }
        bytes.push(decoded.unwrap_or(first));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    match std::str::from_utf8(&bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err(CredentialError::Unsignable("its query is not UTF-8")),
    }
}

#[cfg(test)]
mod tests;
