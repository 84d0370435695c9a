//! The signature of a request as it came: which placeholder made it, over what, and whether it holds.

use std::sync::Arc;

use aws_credential_types::Credentials as AwsCredentials;
use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};
use http::{
    HeaderMap,
    header::{AUTHORIZATION, HOST},
    request::Parts,
};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use super::{
    super::{
        CredentialError,
        sigv4::{Claimed, Content, Original, Scope, credential_of, signature_of},
    },
    PlaceholderFault, Placeholders, Standing,
    token::{self, Purpose},
};
use crate::identity::Workload;

/// What the ids of placeholders begin with.
pub(in crate::credentials) const PREFIX: &str = "WEIR";
/// How far a signature's time may be off (AWS IAM User Guide, "Elements of an AWS API request signature": at most 15 minutes for S3).
const SKEW: SignedDuration = SignedDuration::from_mins(15);
/// The only algorithm: `SigV4A`'s keys cannot be derived alike by every client's library.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: &str = "x-amz-date";
const TOKEN: &str = "x-amz-security-token";
const CONTENT: &str = "x-amz-content-sha256";
/// The signature leaves the payload open; TLS guards it.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// The same, in chunks with a checksum behind them: what SDKs send to S3.
const UNSIGNED_CHUNKS: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// A request's signature by a placeholder, unchecked. Has what it takes to check it, whatever becomes of the request's head.
#[derive(Debug, Clone)]
pub struct Presented(Result<Arc<Signed>, PlaceholderFault>);

/// A placeholder's signature was checked, and holds.
#[derive(Debug, Clone)]
pub struct Vouched {
    /// The headers that the client signed, but for those of the signature itself.
    pub(in crate::credentials) signed: Vec<String>,
    /// The payload, as the client stated it.
    pub(in crate::credentials) payload: Payload,
}

/// What a request's signature says of its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: the signature holds for one body only, whose digest is not stated.
    Unstated,
    /// `x-amz-content-sha256`: a digest, or a word for what the signature leaves open.
    Stated(String),
}

#[derive(Debug)]
struct Signed {
    method: String,
    uri: String,
    /// The signed headers, but for those that the signature itself brings.
    headers: Vec<(String, String)>,
    key_id: String,
    scope: Scope,
    time: Timestamp,
    token: String,
    payload: Payload,
    signature: String,
}

impl Presented {
    /// The signature of a request, if a placeholder made it.
    #[must_use]
    pub fn of(head: &Parts) -> Option<Self> {
        let credential = credential_of(head)?;
        if !credential.text.starts_with(PREFIX) {
            return None;
        }
        let presigned = PlaceholderFault::Unreadable("it is in the query: sign in the headers");
        let read = if credential.is_in_header { Signed::read(head, &credential.text) } else { Err(presigned) };
        Some(Self(read.map(Arc::new)))
    }

    /// What it says of the payload.
    ///
    /// # Errors
    /// When it cannot be checked.
    pub fn payload(&self) -> Result<&Payload, CredentialError> {
        self.0.as_ref().map(|signed| &signed.payload).map_err(|fault| fault.clone().into())
    }

    /// Whether it holds: this workload's placeholder, in its time, over this request. `body` is as it came; without it, the
    /// payload that the signature states is believed, for the server to compare: it is stated again to it.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(
        &self,
        by: &Placeholders,
        workload: &Workload,
        body: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Vouched, CredentialError> {
        let signed = self.0.as_ref().map_err(Clone::clone)?;
        signed.check_owner(by, workload, now)?;
        signed.check_payload(body)?;
        signed.check_signature(by, body)?;
        let mut names: Vec<_> = signed.headers.iter().map(|(name, _)| name.clone()).collect();
        // One that is there twice is listed once.
        names.dedup();
        Ok(Vouched { signed: names, payload: signed.payload.clone() })
    }
}

impl Signed {
    fn read(head: &Parts, credential: &str) -> Result<Self, PlaceholderFault> {
        let unreadable = PlaceholderFault::Unreadable;
        let header = |name| only(&head.headers, name);
        let text = header(AUTHORIZATION.as_str()).ok_or(unreadable("its header is not plain"))?;
        let said = text.strip_prefix(ALGORITHM).ok_or(unreadable("it is not by AWS4-HMAC-SHA256"))?;
        let (listed, signature) = (member(said, "SignedHeaders")?, member(said, "Signature")?);
        let Some(Claimed { service: Some(service), region: Some(region) }) = Claimed::read(credential) else {
            return Err(unreadable("its credential scope has other parts"));
        };
        let mut parts = credential.split('/');
        let (key_id, day) = (parts.next().unwrap_or_default().to_owned(), parts.next());
        if header(DATE).and_then(|date| date.split('T').next()) != day {
            return Err(unreadable("its credential scope and x-amz-date name different days"));
        }
        let names: Vec<&str> = listed.split(';').collect();
        let is_signed = |name: &str| names.contains(&name);
        if ![HOST.as_str(), DATE, TOKEN].into_iter().all(is_signed) {
            return Err(unreadable("host, x-amz-date and x-amz-security-token must be signed"));
        }
        let payload = match (header(CONTENT), is_signed(CONTENT)) {
            (Some(stated), true) => Payload::Stated(stated.to_owned()),
            (None, false) => Payload::Unstated,
            _ => return Err(unreadable("x-amz-content-sha256 must be signed, once")),
        };
        let authority = header(HOST.as_str()).or_else(|| head.uri.authority().map(http::uri::Authority::as_str));
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(Self {
            method: head.method.as_str().to_owned(),
            uri: format!("https://{}{target}", authority.ok_or(unreadable("it names no host"))?),
            headers: values(&head.headers, &names).ok_or(unreadable("it covers a header that is not visible ASCII"))?,
            key_id,
            scope: Scope { service, region },
            time: header(DATE).and_then(time).ok_or(unreadable("its x-amz-date is no time"))?,
            token: header(TOKEN).ok_or(unreadable("it has no session token"))?.to_owned(),
            payload,
            signature: signature.to_owned(),
        })
    }

    fn check_owner(&self, by: &Placeholders, workload: &Workload, now: Timestamp) -> Result<(), PlaceholderFault> {
        let sealed = token::open(&by.key, Purpose::Key, &self.token).ok_or(PlaceholderFault::Forged)?;
        if sealed.workload != workload.id {
            return Err(PlaceholderFault::Foreign(sealed.workload));
        }
        if by.standing(workload) == Standing::Out {
            return Err(PlaceholderFault::NotOptedIn);
        }
        if sealed.ends <= now {
            return Err(PlaceholderFault::Expired);
        }
        if self.time.duration_since(now).abs() > SKEW {
            return Err(PlaceholderFault::Time);
        }
        if self.key_id == by.id_of(&self.token) { Ok(()) } else { Err(PlaceholderFault::Forged) }
    }

    fn check_payload(&self, body: Option<&[u8]>) -> Result<(), PlaceholderFault> {
        let Payload::Stated(stated) = &self.payload else { return Ok(()) };
        let is_digest = stated.len() == 64 && stated.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match (body, stated.as_str()) {
            (_, UNSIGNED) | (None, UNSIGNED_CHUNKS) => Ok(()),
            (Some(body), _) if is_digest => {
                if *stated == hex(digest(&SHA256, body).as_ref()) {
                    Ok(())
                } else {
                    Err(PlaceholderFault::Altered)
                }
            }
            (None, _) if is_digest => Ok(()),
            _ => Err(PlaceholderFault::Unreadable(
                "its chunks are signed one by one: send the payload unsigned, or whole",
            )),
        }
    }

    fn check_signature(&self, by: &Placeholders, body: Option<&[u8]>) -> Result<(), PlaceholderFault> {
        let content = match (&self.payload, body) {
            (Payload::Stated(stated), _) => Content::Stated(stated),
            (Payload::Unstated, Some(body)) => Content::Whole(body),
            (Payload::Unstated, None) => return Err(PlaceholderFault::Unreadable("it does not state its payload")),
        };
        let secret = by.secret_of(&self.token);
        let keys = AwsCredentials::new(&self.key_id, secret.as_str(), Some(self.token.clone()), None, "placeholder");
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let original = Original { method: &self.method, uri: &self.uri, headers: &headers, content };
        let expected = signature_of(&original, &keys, &self.scope, self.time.into());
        let expected = expected.map_err(|_| PlaceholderFault::Unreadable("the request has no canonical form"))?;
        verify_slices_are_equal(expected.as_bytes(), self.signature.as_bytes()).map_err(|_| PlaceholderFault::Altered)
    }
}

/// The one part of an `Authorization` header that has this name.
fn member<'h>(said: &'h str, name: &str) -> Result<&'h str, PlaceholderFault> {
    let mut members = said.split(',').filter_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
    let member = members.next().filter(|_| members.next().is_none());
    member.ok_or(PlaceholderFault::Unreadable("its header has other parts"))
}

/// A header that is there once, in visible ASCII.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

/// The signed headers, but for those that the signature itself brings; none if one is not visible ASCII.
fn values(headers: &HeaderMap, names: &[&str]) -> Option<Vec<(String, String)>> {
    let own = [HOST.as_str(), DATE, TOKEN, CONTENT];
    let signed = names.iter().filter(|name| !own.contains(name));
    let values = signed.flat_map(|name| headers.get_all(*name).iter().map(move |value| (*name, value)));
    values.map(|(name, value)| Some((name.to_owned(), value.to_str().ok()?.to_owned()))).collect()
}

/// `20261123T120000Z`.
fn time(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
