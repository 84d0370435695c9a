//! `GET /metrics` for Prometheus, on the loopback.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use crate::telemetry::Telemetry;

/// Connections served at once; more wait.
const CONNECTIONS: usize = 8;
/// Longest wait for a request's header.
const HEADER_PATIENCE: Duration = Duration::from_secs(5);
/// Longest life of a connection.
const PATIENCE: Duration = Duration::from_secs(300);
/// Prometheus' text format, version 0.0.4.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where Prometheus asks.
#[derive(Debug)]
pub(super) struct MetricsServer(TcpListener);

impl MetricsServer {
    /// Listens at `address`.
    ///
    /// # Errors
    /// The address is taken or is not this host's.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        // An agent that hands over listens until the next one serves.
        socket.set_reuseport(true)?;
        socket.bind(address)?;
        socket.listen(CONNECTIONS as u32).map(Self)
    }

    /// Serves for as long as it is polled.
    pub(super) async fn serve(self, telemetry: Telemetry) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await;
            match self.0.accept().await {
                Ok((stream, _)) => {
                    let telemetry = telemetry.clone();
                    tokio::spawn(async move {
                        let _place = place;
                        let _ = timeout(PATIENCE, serve_one(stream, &telemetry)).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection for metrics");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve_one(stream: TcpStream, telemetry: &Telemetry) {
    let answer = async |request: Request<Incoming>| Ok::<_, Infallible>(route(&request, telemetry));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_PATIENCE).max_buf_size(16 << 10);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service_fn(answer)).await {
        tracing::debug!(%error, "a connection for metrics ended early");
    }
}

fn route(request: &Request<Incoming>, telemetry: &Telemetry) -> Response<Full<Bytes>> {
    let (status, text) = match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET) => (StatusCode::OK, telemetry.prometheus().unwrap_or_default()),
        ("/metrics", _) => (StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed here\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(TEXT));
    response
}
