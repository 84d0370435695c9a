//! A way to an emulator on which everything fails now and then: a proxy that answers 500, loses answers, throttles, accepts
//! requests in part, drops connections, or is not there at all.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode, body::Incoming, client::conn::http1 as client, header::HeaderValue, http::request,
    server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

/// What can go wrong with a `PutRecords`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 500, and nothing was stored.
    Internal,
    /// 503, and everything was stored.
    AnswerLost,
    /// The whole request is throttled.
    Throttled,
    /// Every third record fails, the others are stored.
    Partial,
    /// The connection ends without an answer.
    Dropped,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const ALL: [Fault; 5] = [Fault::Internal, Fault::AnswerLost, Fault::Throttled, Fault::Partial, Fault::Dropped];

#[derive(Debug, Default)]
struct State {
    outage: AtomicBool,
    per_mille: AtomicU32,
    requests: AtomicU64,
    faults: AtomicU64,
    /// The service's clock is this many seconds ahead.
    ahead: AtomicU64,
    /// The only session that has not ended.
    session: Mutex<Option<String>>,
}

/// The proxy. It ends with this value.
#[derive(Debug)]
pub struct Faults {
    address: SocketAddr,
    state: Arc<State>,
    _end: oneshot::Sender<()>,
}

impl Faults {
    /// A way to `upstream`, a port of loopback, on which so far nothing fails.
    ///
    /// # Panics
    ///
    /// When it cannot be opened.
    #[must_use]
    pub fn to(upstream: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State::default());
        let (end, ended) = oneshot::channel();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, upstream, shared) => {}
                    _ = ended => {}
                }
            });
        });
        Self { address, state, _end: end }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// So many of a thousand requests to store something fail, evenly in all ways.
    pub fn fail(&self, per_mille: u32) {
        self.state.per_mille.store(per_mille, Relaxed);
    }

    /// Nothing is answered, or all is again.
    pub fn outage(&self, outage: bool) {
        self.state.outage.store(outage, Relaxed);
    }

    /// From now on the service's clock is ahead of the host's, and signatures of the host's time are refused.
    pub fn clock_ahead(&self, seconds: u64) {
        self.state.ahead.store(seconds, Relaxed);
    }

    /// From now on every session but that of a token has ended, and who comes with another is told so, at length.
    ///
    /// # Panics
    ///
    /// Never: nobody panics with the lock.
    pub fn only_session(&self, token: &str) {
        *self.state.session.lock().expect("a lock") = Some(token.to_owned());
    }

    /// Requests to store something, and how many of them failed.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.state.requests.load(Relaxed), self.state.faults.load(Relaxed))
    }
}

async fn accept(listener: TcpListener, upstream: u16, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        if state.outage.load(Relaxed) {
            continue;
        }
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let answer = |request| respond(request, upstream, Arc::clone(&state));
            // A dropped connection is an error here, and meant.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

/// `Err` ends the connection.
async fn respond(
    request: Request<Incoming>,
    upstream: u16,
    state: Arc<State>,
) -> Result<Response<Full<Bytes>>, BoxError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let stores = head.headers.get("x-amz-target").is_some_and(|target| target.as_bytes().ends_with(b".PutRecords"));
    if let Some(refusal) = refused_for_its_time(&head, &state).or_else(|| refused_for_its_session(&head, &state)) {
        return Ok(refusal);
    }
    if state.outage.load(Relaxed) {
        return Ok(answer(StatusCode::SERVICE_UNAVAILABLE, &json!({})));
    }
    match fault(&state).filter(|_| stores) {
        None => forward(upstream, head, body).await,
        Some(Fault::Internal) => Ok(answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "__type": "InternalFailure" }))),
        Some(Fault::Throttled) => {
            let error = json!({ "__type": "ProvisionedThroughputExceededException", "message": "too much" });
            Ok(answer(StatusCode::BAD_REQUEST, &error))
        }
        Some(Fault::AnswerLost) => {
            forward(upstream, head, body).await?;
            Ok(answer(StatusCode::SERVICE_UNAVAILABLE, &json!({})))
        }
        Some(Fault::Partial) => partly(upstream, head, &body).await,
        Some(Fault::Dropped) => Err("dropped on purpose".into()),
    }
}

fn fault(state: &State) -> Option<Fault> {
    let number = state.requests.fetch_add(1, Relaxed);
    // A fixed sequence without a pattern (Knuth's multiplicative hash).
    let drawn = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 % 1000;
    if drawn >= state.per_mille.load(Relaxed) {
        return None;
    }
    let count = state.faults.fetch_add(1, Relaxed);
    Some(ALL[count as usize % ALL.len()])
}

/// A request more than five minutes away from the service's time is refused, as a signature says it.
fn refused_for_its_time(head: &request::Parts, state: &State) -> Option<Response<Full<Bytes>>> {
    let ahead = state.ahead.load(Relaxed);
    let signed: jiff::civil::DateTime =
        head.headers.get("x-amz-date")?.to_str().ok()?.trim_end_matches('Z').parse().ok()?;
    let signed = signed.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    let theirs = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead.cast_signed());
    if theirs.duration_since(signed).abs() < jiff::SignedDuration::from_mins(5) {
        return None;
    }
    let error = json!({ "__type": "InvalidSignatureException", "message": "Signature expired" });
    let mut refusal = answer(StatusCode::BAD_REQUEST, &error);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&theirs).ok()?;
    refusal.headers_mut().insert("date", HeaderValue::from_str(&date).ok()?);
    Some(refusal)
}

/// A service that explains a refusal quotes what was signed, and so the token.
fn refused_for_its_session(head: &request::Parts, state: &State) -> Option<Response<Full<Bytes>>> {
    let only = state.session.lock().ok()?.clone()?;
    let token = head.headers.get("x-amz-security-token").and_then(|token| token.to_str().ok()).unwrap_or_default();
    if token == only {
        return None;
    }
    state.faults.fetch_add(1, Relaxed);
    let message = format!(
        "The security token included in the request is expired\n\nThe Canonical String for this request should have \
         been\n'POST\n/\n\nx-amz-security-token:{token}'"
    );
    Some(answer(StatusCode::BAD_REQUEST, &json!({ "__type": "ExpiredTokenException", "message": message })))
}

/// Stores all but every third record.
async fn partly(upstream: u16, mut head: request::Parts, body: &[u8]) -> Result<Response<Full<Bytes>>, BoxError> {
    let mut call: Value = serde_json::from_slice(body).unwrap_or_default();
    let records = call["Records"].as_array().cloned().unwrap_or_default();
    let kept: Vec<_> = records.iter().enumerate().filter(|(i, _)| i % 3 != 0).map(|(_, r)| r.clone()).collect();
    if kept.is_empty() {
        return Ok(answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "__type": "InternalFailure" })));
    }
    call["Records"] = Value::Array(kept);
    head.headers.remove("content-length");
    let (status, stored) = forward(upstream, head, call.to_string().into()).await?.into_parts();
    if status.status != StatusCode::OK {
        return Ok(Response::from_parts(status, stored));
    }
    let stored: Value = serde_json::from_slice(&stored.collect().await?.to_bytes())?;
    let mut results = stored["Records"].as_array().cloned().unwrap_or_default().into_iter();
    let failed = json!({ "ErrorCode": "InternalFailure", "ErrorMessage": "not this one" });
    let results: Vec<_> = (0..records.len())
        .map(|i| if i % 3 == 0 { failed.clone() } else { results.next().unwrap_or_default() })
        .collect();
    let count = results.iter().filter(|result| result["ErrorCode"].is_string()).count();
    Ok(answer(StatusCode::OK, &json!({ "FailedRecordCount": count, "Records": results })))
}

async fn forward(upstream: u16, head: request::Parts, body: Bytes) -> Result<Response<Full<Bytes>>, BoxError> {
    let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await else {
        return Ok(answer(StatusCode::BAD_GATEWAY, &json!({})));
    };
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (head, body) = sender.send_request(Request::from_parts(head, Full::new(body))).await?.into_parts();
    Ok(Response::from_parts(head, Full::new(body.collect().await?.to_bytes())))
}

fn answer(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/x-amz-json-1.1"));
    response
}
