//! What a request is sent with: settled before the request is recorded, put on after.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header::ACCEPT, request::Parts};
use hyper::body::{Body as _, Incoming};

use super::{
    body::{self, Body, Whole},
    headers,
    http::Connection,
    record::ExchangeFacts,
    upstream::{Conn, SendError},
};
use crate::{
    credentials::{Asking, Credential, CredentialError, Grant, Presented, Upstream, Used, Vouched, Wanted},
    datapath::ProcessRoot,
    mcp::{Class, Refusal},
};

/// Most bytes of a server's refusal that are looked at for its reason.
const REFUSAL_BYTES: usize = 64 << 10;

/// Most bytes of one of the workload's own files.
const FILE_BYTES: u64 = 64 << 10;

/// What a request goes out with. Made by [`Connection::ticket`] only, so that nothing is sent to an endpoint before it is
/// settled with which credentials.
pub(crate) struct Ticket(Option<(Arc<Credential>, Grant)>);

impl Connection {
    /// Settles what a request to the endpoint goes out with, and notes it for the record.
    ///
    /// # Errors
    /// Why it cannot go out.
    pub(crate) async fn ticket(&self, head: &Parts, facts: &ExchangeFacts) -> Result<Ticket, Refusal> {
        match self.shared.credentials.of(self.endpoint.name()) {
            // Boxed: requests that go out as they came need not carry room for it.
            Some(credential) => Box::pin(self.obtain(credential, head, facts)).await,
            None => Ok(Ticket(None)),
        }
    }

    /// The same for a request that is no message. Where `paths` tell what is the endpoint, all on them is; otherwise a
    /// session's streams and its end are, and what else lives on the host goes out as it came.
    ///
    /// # Errors
    /// As [`ticket`](Self::ticket).
    pub(crate) async fn ticket_for_http(
        &self,
        head: &mut Parts,
        received: &[u8],
        facts: &ExchangeFacts,
    ) -> Result<Ticket, Refusal> {
        self.vouch(head, received, facts)?;
        let is_vouched = head.extensions.get::<Vouched>().is_some();
        let is_endpoints = !self.endpoint.endpoint.paths.is_empty() || speaks_mcp(head) || is_vouched;
        let credential = self.shared.credentials.of(self.endpoint.name());
        if is_endpoints || credential.is_some_and(|credential| credential.is_of_connection()) {
            self.ticket(head, facts).await
        } else {
            Ok(Ticket(None))
        }
    }

    /// Whether a request without a body is no session's, and a placeholder signed it: it goes out in the form in which it came.
    pub(super) fn is_only_resigned(&self, head: &Parts) -> bool {
        let is_presented = head.extensions.get::<Presented>().is_some();
        is_presented && self.endpoint.endpoint.paths.is_empty() && !speaks_mcp(head)
    }

    async fn obtain(
        &self,
        credential: &Arc<Credential>,
        head: &Parts,
        facts: &ExchangeFacts,
    ) -> Result<Ticket, Refusal> {
        let is_vouched = head.extensions.get::<Vouched>().is_some();
        match self.grant(credential, Wanted::of(head), facts).await {
            Ok(grant) => {
                let grant = if is_vouched { grant.in_place_of_placeholder() } else { grant };
                let _ = facts.credential.set(Arc::clone(grant.used()));
                Ok(Ticket(Some((Arc::clone(credential), grant))))
            }
            Err(error) => {
                let intended = self.intended(credential, facts);
                let intended = if is_vouched { intended.in_place_of_placeholder() } else { intended };
                let _ = facts.credential.set(Arc::new(intended));
                Err(Refusal::new(error.rule(), Class::NoCredential, error.to_string()))
            }
        }
    }

    /// What a request would be sent with, for the record of one that is not.
    pub(super) fn intended(&self, credential: &Credential, facts: &ExchangeFacts) -> Used {
        let file = |path: &str| self.workload_file(path);
        credential.intended(&Asking { workload: &self.flow.workload, caller: facts.caller.as_deref(), file: &file })
    }

    /// Fetches what a request is to be sent with.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(super) async fn grant(
        &self,
        credential: &Credential,
        wanted: Wanted,
        facts: &ExchangeFacts,
    ) -> Result<Grant, CredentialError> {
        let file = |path: &str| self.workload_file(path);
        let asking = Asking { workload: &self.flow.workload, caller: facts.caller.as_deref(), file: &file };
        let upstream = Upstream { verified: self.server.verified_name(), port: self.server.port };
        credential.obtain(wanted, upstream, &asking).await
    }

    /// Sends a request with what was settled. It is sent once more if the server refused it for the time of its signature, and
    /// the time is known now.
    ///
    /// # Errors
    /// As [`send_untouched`](Self::send_untouched), or when it cannot be signed.
    pub(crate) async fn send(
        &self,
        ticket: Ticket,
        head: Parts,
        raw: Bytes,
        trailers: Option<HeaderMap>,
    ) -> Result<(Response<Body>, Conn), SendError> {
        let Some((credential, grant)) = ticket.0 else {
            return self.send_untouched(Request::from_parts(head, body::whole(raw, trailers))).await;
        };
        let unsigned = Unsigned { head, raw, trailers };
        let (response, conn) = self.server.send(unsigned.signed(&grant)?, &self.shared.pool).await?;
        let (answer, is_worth_it) = heed(&credential, response).await?;
        if !is_worth_it {
            return Ok((answer, conn));
        }
        self.shared.pool.put(&self.server.affinity, conn);
        self.send_untouched(unsigned.signed(&grant)?).await
    }

    /// Sends a request as it is.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn send_untouched(&self, request: Request<Body>) -> Result<(Response<Body>, Conn), SendError> {
        let (response, conn) = self.server.send(request, &self.shared.pool).await?;
        Ok((response.map(body::passing), conn))
    }

    /// A file as the process sees it that opened the flow, if it is still there.
    fn workload_file(&self, path: &str) -> Result<String, String> {
        let process = &self.flow.workload.process;
        let gone = || "the process that opened the connection has gone".to_owned();
        let root = ProcessRoot::open(process.pid, self.flow.netns.id()).map_err(|error| error.to_string())?;
        // Afterwards: whose root it is has been settled by now.
        if !self.shared.workloads.is_still(&self.flow.workload) {
            return Err(gone());
        }
        root.read(path, FILE_BYTES).map_err(|error| error.to_string())
    }
}

/// A request as it came, to be signed as often as it is sent.
struct Unsigned {
    head: Parts,
    raw: Bytes,
    trailers: Option<HeaderMap>,
}

impl Unsigned {
    fn signed(&self, grant: &Grant) -> Result<Request<Body>, SendError> {
        let Self { head, raw, trailers } = self;
        let mut head = head.clone();
        let no_host = |_| SendError::Unsigned(CredentialError::Unsignable("it names no host"));
        let authority = headers::authority(&head).map_err(no_host)?;
        grant.apply(&mut head, authority.as_str(), raw).map_err(SendError::Unsigned)?;
        Ok(Request::from_parts(head, body::whole(raw.clone(), trailers.clone())))
    }
}

/// Lets the credential see a refusal. A body of a stated length that is short enough is read for the reason, and then passed on
/// from memory; others tell nothing, since they may end late or never.
async fn heed(credential: &Credential, response: Response<Incoming>) -> Result<(Response<Body>, bool), SendError> {
    if ![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&response.status()) {
        return Ok((response.map(body::passing), false));
    }
    let is_short = response.body().size_hint().upper().is_some_and(|most| most <= REFUSAL_BYTES as u64);
    let (head, incoming) = response.into_parts();
    let mut body = body::passing(incoming);
    let mut bytes = Bytes::new();
    if is_short {
        let collected = body::collect(body, REFUSAL_BYTES).await;
        let Whole { bytes: read, trailers } = collected.map_err(SendError::Refusal)?;
        (bytes, body) = (read.clone(), body::whole(read, trailers));
    }
    let is_worth_it = credential.heed(&head, &bytes);
    Ok((Response::from_parts(head, body), is_worth_it))
}

/// Whether a request without a message belongs to a session: its stream, a resumption, or its end.
fn speaks_mcp(head: &Parts) -> bool {
    let accepts = head.headers.get_all(ACCEPT).iter();
    let mut accepted = accepts.map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    match head.method {
        Method::GET => accepted.any(|value| value.contains("text/event-stream")),
        Method::DELETE => head.headers.contains_key("mcp-session-id"),
        _ => false,
    }
}
