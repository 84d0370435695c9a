//! The client's own signature: what it says, and its removal.

use http::{HeaderMap, HeaderName, Uri, header::AUTHORIZATION, request::Parts, uri::PathAndQuery};

use super::super::CredentialError;

/// The query parameters of a presigned request (AWS IAM User Guide, "Add the signature to the request").
const PRESIGNED: [&str; 9] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-region-set",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// What the client signed for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::credentials) struct Claimed {
    pub(in crate::credentials) service: Option<String>,
    /// `None` for a signature that is good in several regions (`SigV4A`).
    pub(in crate::credentials) region: Option<String>,
}

/// The `Credential` of a signature: the key's id and the scope.
pub(in crate::credentials) struct CredentialText {
    pub(in crate::credentials) text: String,
    /// Otherwise it is in the query of a presigned request.
    pub(in crate::credentials) is_in_header: bool,
}

/// The credential that a request says it was signed with.
pub(in crate::credentials) fn credential_of(head: &Parts) -> Option<CredentialText> {
    let of = |is_in_header| move |text| CredentialText { text, is_in_header };
    in_header(&head.headers).map(of(true)).or_else(|| in_query(&head.uri).map(of(false)))
}

impl Claimed {
    /// The scope of the signature in a request's `Authorization` or query, where there is one.
    pub(in crate::credentials) fn of(head: &Parts) -> Option<Self> {
        credential_of(head).and_then(|credential| Self::read(&credential.text))
    }

    /// Reads `<key id>/<date>/<region>/<service>/aws4_request`; `SigV4A` has no region.
    pub(in crate::credentials) fn read(credential: &str) -> Option<Self> {
        let parts: Vec<&str> = credential.split('/').collect();
        let (region, service) = match parts.as_slice() {
            [_, _, region, service, "aws4_request"] => (Some(*region), *service),
            [_, _, service, "aws4_request"] => (None, *service),
            _ => return None,
        };
        let is_plain = |part: &&str| {
            (1..=64).contains(&part.len())
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let kept = |part: &str| Some(part).filter(is_plain).map(str::to_owned);
        Some(Self { service: kept(service), region: region.and_then(kept) })
    }
}

fn in_header(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let parts = value.strip_prefix("AWS4-").and_then(|rest| rest.split_once(' '))?.1;
    let credential = parts.split(',').find_map(|part| part.trim().strip_prefix("Credential="))?;
    Some(credential.to_owned())
}

fn in_query(uri: &Uri) -> Option<String> {
    let pairs = url::form_urlencoded::parse(uri.query()?.as_bytes());
    pairs
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("x-amz-credential"))
        .map(|(_, value)| value.into_owned())
}

/// Takes the client's credentials off a request: `Authorization`, every `X-Amz-*` header, and what presigning added to the query.
/// `Mcp-*` and `X-Amzn-*`, which are sessions' and traces', stay; so does the rest of the query, byte for byte.
///
/// # Errors
/// [`CredentialError::Unsignable`], for a query that could not be put together again.
pub(in crate::credentials) fn take_off(head: &mut Parts) -> Result<(), CredentialError> {
    head.headers.remove(AUTHORIZATION);
    let of_aws: Vec<HeaderName> =
        head.headers.keys().filter(|name| name.as_str().starts_with("x-amz-")).cloned().collect();
    for name in of_aws {
        head.headers.remove(name);
    }
    let Some(query) = head.uri.query() else { return Ok(()) };
    let is_presigned = |pair: &&str| {
        let name = url::form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name.to_ascii_lowercase());
        name.is_some_and(|name| PRESIGNED.contains(&name.as_str()))
    };
    if !query.split('&').any(|pair| is_presigned(&pair)) {
        return Ok(());
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_presigned(pair)).collect();
    let path = head.uri.path();
    let target = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    let broken = |()| CredentialError::Unsignable("its query cannot be put together again");
    let mut parts = head.uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_| broken(()))?);
    head.uri = Uri::from_parts(parts).map_err(|_| broken(()))?;
    Ok(())
}
