//! One client connection at an endpoint, request by request: whose is it, is it a message, and where does it go.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::CONNECTION, request::Parts, uri::Scheme,
};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Shared,
    answer::{self, Stream},
    body::{self, Body, BoxError},
    call,
    caller::{self, Identified},
    flow::FlowContext,
    framing::{Watch, Watched},
    headers::{self, Carries, HeadError},
    passed::PassedExchange,
    record::{self, ExchangeFacts},
    upstream::Server,
};
use crate::{
    audit::log::AppendError,
    config::{OtherPaths, Registered},
    mcp::{self, Asked, Class, Era, Refusal},
    telemetry::Carrier,
};

/// One client connection whose requests are an endpoint's.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The agent.
    pub(crate) shared: Arc<Shared>,
    /// The flow.
    pub(crate) flow: Arc<FlowContext>,
    /// The endpoint that the connection was opened for.
    pub(crate) endpoint: Arc<Registered>,
    /// The name that TLS was set up for; `None` for plain HTTP.
    pub(crate) host: Option<String>,
    /// Where requests go.
    pub(crate) server: Arc<Server>,
}

/// A refusal that a request's head is enough for.
struct HeadRefusal {
    status: StatusCode,
    why: Refusal,
}

/// Where a request goes.
enum Target {
    /// A message, or a stream of them.
    Endpoint,
    /// Something else on the same host.
    Other,
    /// Nowhere: it asks for what Weir says of the endpoint, which is this.
    Metadata(String),
}

impl Connection {
    /// A connection that is about to be served.
    pub(crate) fn new(
        shared: Arc<Shared>,
        flow: Arc<FlowContext>,
        endpoint: Arc<Registered>,
        host: Option<String>,
        server: Arc<Server>,
    ) -> Arc<Self> {
        Arc::new(Self { shared, flow, endpoint, host, server })
    }

    /// Serves requests until either side ends the connection. Returns why, when it broke.
    pub(crate) async fn serve<IO>(self: Arc<Self>, io: IO, h2: bool) -> Option<String>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let limits = &shared.config.limits;
        let header_bytes = limits.header_bytes;
        let mut watched = None;
        let ended = if h2 {
            let service = service_fn(move |request| Arc::clone(&self).exchange(request, None));
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
                .max_concurrent_streams(256)
                .serve_connection(TokioIo::new(io), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = shared.drain.started() => {
                    connection.as_mut().graceful_shutdown();
                    shared.drain.bound(connection).await.unwrap_or(Ok(()))
                }
            }
        } else {
            let (io, watch) = Watched::new(io, header_bytes);
            watched = Some(Arc::clone(&watch));
            let service = service_fn(move |request| Arc::clone(&self).exchange_or_last(request, Arc::clone(&watch)));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(std::time::Duration::from_millis(limits.header_timeout_ms))
                .preserve_header_case(true)
                .max_buf_size(header_bytes.max(8192))
                .serve_connection(TokioIo::new(io), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = shared.drain.started() => {
                    if !shared.drain.is_gentle() {
                        connection.as_mut().graceful_shutdown();
                    }
                    shared.drain.bound(connection).await.unwrap_or(Ok(()))
                }
            }
        };
        // What hyper refuses in its own words it need not call an error.
        let ambiguity = || watched.and_then(|watch| watch.ambiguity()).map(str::to_owned);
        ended.err().map(|error| describe(&error)).or_else(ambiguity)
    }

    /// An exchange of HTTP/1.1; the last on its connection, if another agent takes the next connections.
    async fn exchange_or_last(
        self: Arc<Self>,
        request: Request<Incoming>,
        watch: Arc<Watch>,
    ) -> Result<Response<Body>, BoxError> {
        let shared = Arc::clone(&self.shared);
        let mut response = self.exchange(request, Some(watch)).await?;
        if shared.drain.is_gentle() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    async fn exchange(
        self: Arc<Self>,
        request: Request<Incoming>,
        watch: Option<Arc<Watch>>,
    ) -> Result<Response<Body>, BoxError> {
        let (mut head, body) = request.into_parts();
        if let Some(watch) = watch {
            // Found again where the body is read: a chunk can be as ambiguous as a head.
            head.extensions.insert(watch);
        }
        let target = match self.judge_head(&head) {
            Ok(target) => target,
            Err(refusal) => return self.refuse_head(&head, &refusal).await,
        };
        self.note_placeholder(&mut head);
        headers::strip_hop_by_hop(&mut head.headers);
        // The body is read to its end before it is judged, so the proxy itself answers `100-continue`.
        head.headers.remove(http::header::EXPECT);
        if let Target::Metadata(document) = target {
            return Ok(caller::tell_metadata(&self, self.facts_of_head(&head), document).await);
        }
        let is_message = head.method == Method::POST;
        if matches!(target, Target::Endpoint)
            && !is_message
            && let Err(why) = caller::identify(&self, &mut head).await
        {
            return self.refuse_head(&head, &HeadRefusal { status: why.status(), why }).await;
        }
        match (target, head.method.clone()) {
            (Target::Endpoint, Method::POST) => call::post(&self, head, body).await,
            (Target::Endpoint, _) if !body.is_end_stream() => call::other_method(&self, head, body).await,
            (Target::Endpoint, _) if self.is_only_resigned(&head) => self.pass(head, body::passing(body)).await,
            (Target::Endpoint, Method::GET) => self.listen(head).await,
            (Target::Endpoint, _) => self.pass_at_endpoint(head, Bytes::new(), None).await,
            (Target::Other | Target::Metadata(_), _) => self.pass(head, body::passing(body)).await,
        }
    }

    /// Whether the request's head leaves one reading, and whose it is.
    fn judge_head(&self, head: &Parts) -> Result<Target, HeadRefusal> {
        let refuse = |rule, error: HeadError| HeadRefusal {
            status: StatusCode::BAD_REQUEST,
            why: Refusal::new(rule, Class::NotRpc, error.to_string()),
        };
        check_watch(head).map_err(|why| HeadRefusal { status: StatusCode::BAD_REQUEST, why })?;
        headers::check_framing(head).map_err(|e| refuse("http-framing", e))?;
        let authority = headers::authority(head).map_err(|e| refuse("http-authority", e))?;
        let asked = headers::canonical_host(authority.host());
        let port = self.server.port;
        let default_port = if self.server.tls.is_some() { 443 } else { 80 };
        let port_agrees = authority.port_u16().unwrap_or(default_port) == port;
        let host_agrees = match &self.host {
            Some(opened) => asked == *opened,
            None => self.shared.names.endpoint_for(&asked, port).is_some_and(|e| e.name() == self.endpoint.name()),
        };
        if !host_agrees || !port_agrees {
            let opened = format!("{}:{port}", self.host.as_deref().unwrap_or(self.endpoint.name()));
            let error = HeadError::Misdirected { asked: authority.to_string(), opened };
            let status = StatusCode::MISDIRECTED_REQUEST;
            return Err(HeadRefusal { status, ..refuse("http-misdirected", error) });
        }
        let covered = self.endpoint.covers(head.uri.path()).map_err(|error| HeadRefusal {
            status: StatusCode::BAD_REQUEST,
            why: Refusal::new("http-path", Class::NotRpc, error.to_string()),
        })?;
        if let Some(document) = caller::metadata_asked(self, head) {
            return Ok(Target::Metadata(document));
        }
        // Wherever the server has the legacy transport's messages sent, they are the endpoint's.
        let covered = covered || self.shared.legacy.was_announced(self.endpoint.name(), head.uri.path());
        if !self.endpoint.endpoint.mcp {
            return Ok(Target::Other);
        }
        match (covered, self.endpoint.endpoint.other_paths) {
            (true, _) => Ok(Target::Endpoint),
            (false, OtherPaths::Pass) => Ok(Target::Other),
            (false, OtherPaths::Deny) => {
                let reason =
                    format!("{} is not a path of endpoint {} (other_paths)", head.uri.path(), self.endpoint.name());
                Err(HeadRefusal {
                    status: StatusCode::FORBIDDEN,
                    why: Refusal::new("other-paths", Class::Denied, reason),
                })
            }
        }
    }

    /// The facts of an exchange whose messages, if any, are of `era`.
    pub(crate) fn facts(
        &self,
        head: &Parts,
        era: Era,
        protocol_version: Option<String>,
        session_id: Option<String>,
    ) -> Arc<ExchangeFacts> {
        let Identified { caller, took_token } = head.extensions.get().cloned().unwrap_or_default();
        Arc::new(ExchangeFacts {
            flow: Arc::clone(&self.flow),
            caller,
            took_token,
            endpoint: Arc::clone(&self.endpoint),
            hostname: self.host.clone(),
            era,
            protocol_version,
            session_id,
            http: record::http_request(head),
            carrier: Carrier::of_headers(&head.headers),
            credential: OnceLock::new(),
        })
    }

    /// The facts of an exchange that is told from its headers alone.
    fn facts_of_head(&self, head: &Parts) -> Arc<ExchangeFacts> {
        let session_id = record::header(&head.headers, "mcp-session-id");
        let version = record::header(&head.headers, "mcp-protocol-version");
        self.facts(head, mcp::era::tell(&head.headers, None), version, session_id)
    }

    async fn refuse_head(&self, head: &Parts, refusal: &HeadRefusal) -> Result<Response<Body>, BoxError> {
        self.shared.record_refused(&self.facts_of_head(head), &refusal.why).await;
        let mut response = refusal.why.undeliverable(&Asked::Unreadable);
        *response.status_mut() = refusal.status;
        Ok(refusal_response(response))
    }

    /// A stream that the client opens to hear the server: GET of a session, a resumption, or the legacy transport's own.
    async fn listen(self: &Arc<Self>, mut head: Parts) -> Result<Response<Body>, BoxError> {
        let facts = self.facts_of_head(&head);
        let ticket = match self.ticket_for_http(&mut head, &[], &facts).await {
            Ok(ticket) => ticket,
            Err(refusal) => return Ok(self.refuse_http(&facts, &refusal).await),
        };
        let exchange = match PassedExchange::begin(&self.shared, facts).await {
            Ok(exchange) => exchange,
            Err(error) => return Ok(unrecorded(&error)),
        };
        let scheme = if self.server.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let legacy_base = headers::absolute_uri(&head, scheme);
        let accepts_events = headers::accepts_events(&head.headers);
        let resumes = head.headers.contains_key("last-event-id");
        let (response, conn) = self.send(ticket, head, Bytes::new(), None).await?;
        let carries = headers::carries(response.headers());
        let is_stream = accepts_events && response.status().is_success() || carries == Some(Carries::Events);
        if carries == Some(Carries::Unclear) {
            let facts = Arc::clone(exchange.facts());
            return Ok(self.refuse_http(&facts, &answer::unclear()).await);
        }
        if !is_stream {
            return Ok(exchange.finish_with(&self.server, response, conn));
        }
        answer::listen(Stream::listening(self, exchange, &legacy_base, resumes), response, conn).await
    }

    /// A request on an endpoint path that has no message, such as a session's DELETE: recorded before and after.
    pub(crate) async fn pass_at_endpoint(
        self: &Arc<Self>,
        mut head: Parts,
        raw: Bytes,
        trailers: Option<HeaderMap>,
    ) -> Result<Response<Body>, BoxError> {
        let facts = self.facts_of_head(&head);
        let ticket = match self.ticket_for_http(&mut head, &raw, &facts).await {
            Ok(ticket) => ticket,
            Err(refusal) => return Ok(self.refuse_http(&facts, &refusal).await),
        };
        let exchange = match PassedExchange::begin(&self.shared, facts).await {
            Ok(exchange) => exchange,
            Err(error) => return Ok(unrecorded(&error)),
        };
        let (response, conn) = self.send(ticket, head, raw, trailers).await?;
        Ok(exchange.finish_with(&self.server, response, conn))
    }

    /// Something else on the endpoint's host: passed on as it is, but for a placeholder's signature; recorded before and after.
    pub(crate) async fn pass(self: &Arc<Self>, head: Parts, body: Body) -> Result<Response<Body>, BoxError> {
        let facts = self.facts_of_head(&head);
        // Boxed: few requests bring a placeholder.
        let passing = match Box::pin(self.passing(head, body, &facts)).await {
            Ok(passing) => passing,
            Err(refusal) => return Ok(self.refuse_http(&facts, &refusal).await),
        };
        let exchange = match PassedExchange::begin(&self.shared, facts).await {
            Ok(exchange) => exchange,
            Err(error) => return Ok(unrecorded(&error)),
        };
        let (response, conn) = self.send_untouched(passing.into_request()?).await?;
        Ok(exchange.finish_with(&self.server, response, conn))
    }

    /// Refuses a request that is not a message.
    async fn refuse_http(&self, facts: &ExchangeFacts, refusal: &Refusal) -> Response<Body> {
        self.shared.record_refused(facts, refusal).await;
        refusal_response(refusal.undeliverable(&Asked::Unreadable))
    }
}

/// Refuses a request whose framing was seen to be ambiguous.
///
/// # Errors
/// The refusal.
pub(crate) fn check_watch(head: &Parts) -> Result<(), Refusal> {
    match head.extensions.get::<Arc<Watch>>().and_then(|watch| watch.ambiguity()) {
        None => Ok(()),
        Some(ambiguity) => Err(Refusal::new("http-framing", Class::NotRpc, ambiguity)),
    }
}

/// The refusal of what cannot be recorded.
pub(crate) fn unrecordable() -> Refusal {
    let reason = "its record could not be written; nothing was sent. Ask the host's operator (weir status)";
    Refusal::new("audit-unavailable", Class::Unrecorded, reason)
}

pub(crate) fn unrecorded(error: &AppendError) -> Response<Body> {
    tracing::error!(%error, "a request is refused: its record could not be written");
    refusal_response(unrecordable().undeliverable(&Asked::Unreadable))
}

/// A refusal as an HTTP response.
pub(crate) fn refusal_response(response: Response<Bytes>) -> Response<Body> {
    response.map(|bytes| body::whole(bytes, None))
}

fn describe(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
