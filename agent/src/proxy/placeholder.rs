//! Requests that a placeholder signed: checked as they came, before anything is taken off them, and sent with the endpoint's real
//! credentials; a request that is no message as well, in the form in which it came.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, request::Parts};
use jiff::Timestamp;
use tokio::time::timeout;

use super::{
    body::{self, Body, Whole},
    headers,
    http::Connection,
    record::ExchangeFacts,
    upstream::SendError,
};
use crate::{
    credentials::{Credential, CredentialError, Grant, Payload, PlaceholderFault, Presented, Vouched, Wanted},
    mcp::{Class, Refusal},
};

/// A request that is no message, and what it goes out with.
pub(crate) struct Passing {
    head: Parts,
    body: Body,
    again: Option<Again>,
}

/// What replaces a placeholder's signature.
struct Again {
    grant: Grant,
    vouched: Vouched,
    /// The body, where the signature does not state its digest.
    whole: Option<Bytes>,
}

impl Connection {
    /// Notes a placeholder's signature, before hop-by-hop headers and others that it may cover are taken off.
    pub(super) fn note_placeholder(&self, head: &mut Parts) {
        if self.shared.placeholders.is_some()
            && let Some(presented) = Presented::of(head)
        {
            head.extensions.insert(presented);
        }
    }

    /// Checks a placeholder's signature on a message, whose body is `received`. A request without one is as good as before: the
    /// agent signs for its workload.
    ///
    /// # Errors
    /// Why the request must not go out.
    pub(super) fn vouch(&self, head: &mut Parts, received: &[u8], facts: &ExchangeFacts) -> Result<(), Refusal> {
        let Some(presented) = head.extensions.remove::<Presented>() else { return Ok(()) };
        let vouched = self.replacing().and_then(|_| self.check(&presented, Some(received)));
        match vouched {
            Ok(vouched) => {
                head.extensions.insert(vouched);
                Ok(())
            }
            Err(error) => Err(self.refused(&error, facts)),
        }
    }

    /// Settles what a request goes out with that is no message and no session's: as it came, but for a placeholder's signature.
    ///
    /// # Errors
    /// Why it must not go out.
    pub(super) async fn passing(&self, mut head: Parts, body: Body, facts: &ExchangeFacts) -> Result<Passing, Refusal> {
        let Some(presented) = head.extensions.remove::<Presented>() else {
            return Ok(Passing { head, body, again: None });
        };
        match self.again(&presented, &mut head, body, facts).await {
            Ok((body, again)) => Ok(Passing { head, body, again: Some(again) }),
            Err(Unsent::Refused(refusal)) => Err(refusal),
            Err(Unsent::Error(error)) => Err(self.refused(&error, facts)),
        }
    }

    async fn again(
        &self,
        presented: &Presented,
        head: &mut Parts,
        body: Body,
        facts: &ExchangeFacts,
    ) -> Result<(Body, Again), Unsent> {
        let credential = self.replacing()?;
        if self.endpoint.endpoint.caller.is_some() {
            return Err(PlaceholderFault::Callerless(self.endpoint.name().to_owned()).into());
        }
        let (body, whole) = match presented.payload()? {
            Payload::Stated(_) => (body, None),
            Payload::Unstated => {
                let Whole { bytes, trailers } = self.whole_body(body).await?;
                (body::whole(bytes.clone(), trailers), Some(bytes))
            }
        };
        let vouched = self.check(presented, whole.as_deref())?;
        let grant = self.grant(credential, Wanted::of(head), facts).await?.in_place_of_placeholder();
        grant.may_resign(head, whole.as_deref())?;
        let _ = facts.credential.set(Arc::clone(grant.used()));
        Ok((body, Again { grant, vouched, whole }))
    }

    /// The credentials that stand in for a placeholder here.
    fn replacing(&self) -> Result<&Arc<Credential>, CredentialError> {
        let own = self.shared.credentials.of(self.endpoint.name());
        let useless = || PlaceholderFault::Useless(self.endpoint.name().to_owned());
        Ok(own.filter(|credential| !credential.is_of_connection()).ok_or_else(useless)?)
    }

    fn check(&self, presented: &Presented, body: Option<&[u8]>) -> Result<Vouched, CredentialError> {
        let placeholders = self.shared.placeholders.as_ref().ok_or(PlaceholderFault::NotOptedIn)?;
        presented.check(placeholders, &self.flow.workload, body, Timestamp::now())
    }

    async fn whole_body(&self, body: Body) -> Result<Whole, Refusal> {
        let limits = &self.shared.config.limits;
        let collecting = body::collect(body, limits.request_bytes);
        match timeout(Duration::from_millis(limits.body_timeout_ms), collecting).await {
            Ok(Ok(whole)) => Ok(whole),
            Ok(Err(error)) => {
                let reason = format!("the body, whose digest the signature does not state, cannot be read: {error}");
                Err(Refusal::new("http-body", Class::TooLarge, reason))
            }
            Err(_) => {
                let reason = "the request body did not arrive in time (limits.body_timeout_ms)";
                Err(Refusal::new("http-body", Class::NotJson, reason))
            }
        }
    }

    fn refused(&self, error: &CredentialError, facts: &ExchangeFacts) -> Refusal {
        if let Some(credential) = self.shared.credentials.of(self.endpoint.name()) {
            let _ = facts.credential.set(Arc::new(self.intended(credential, facts).in_place_of_placeholder()));
        }
        let class = match error {
            CredentialError::Placeholder(_) => Class::Denied,
            _ => Class::NoCredential,
        };
        Refusal::new(error.rule(), class, error.to_string())
    }
}

impl Passing {
    /// The request as it goes out.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(super) fn into_request(self) -> Result<Request<Body>, SendError> {
        let Self { mut head, body, again } = self;
        if let Some(Again { grant, vouched, whole }) = again {
            let no_host = |_| SendError::Unsigned(CredentialError::Unsignable("it names no host"));
            let authority = headers::authority(&head).map_err(no_host)?;
            let signed = grant.resign(&mut head, authority.as_str(), &vouched, whole.as_deref());
            signed.map_err(SendError::Unsigned)?;
        }
        Ok(Request::from_parts(head, body))
    }
}

/// Why a request does not go out.
enum Unsent {
    Refused(Refusal),
    Error(CredentialError),
}

impl From<Refusal> for Unsent {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<CredentialError> for Unsent {
    fn from(error: CredentialError) -> Self {
        Self::Error(error)
    }
}

impl From<PlaceholderFault> for Unsent {
    fn from(fault: PlaceholderFault) -> Self {
        Self::Error(fault.into())
    }
}
