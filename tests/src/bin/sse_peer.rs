//! A server for the benchmark: answers a tool call with a stream of progress events, each carrying the time it was sent.
//!
//! `sse_peer <certificate.pem> <key.pem>` listens on port 8445 of loopback. The call's arguments say how many events come
//! before the result, and how far apart.

use std::{convert::Infallible, net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{
    BodyExt,
    channel::{Channel, Sender},
};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{CACHE_CONTROL, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use weir_tests::clock;

const PORT: u16 = 8445;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let certificate = args.next().context("name a certificate")?;
    let key = args.next().context("name its key")?;
    let chain = CertificateDer::pem_file_iter(&certificate)?.collect::<Result<Vec<_>, _>>()?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&key)?)
        .context("the certificate and the key do not go together")?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(TlsAcceptor::from(Arc::new(config))))
}

async fn serve(acceptor: TlsAcceptor) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).await?;
    println!("listening on https://localhost:{PORT}/mcp");
    loop {
        let (stream, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(stream, acceptor).await {
                eprintln!("a connection ended: {error:#}");
            }
        });
    }
}

async fn converse(stream: TcpStream, acceptor: TlsAcceptor) -> Result<()> {
    // An event is one small write: it must not wait for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await?;
    Ok(())
}

async fn answer(request: Request<Incoming>) -> Result<Response<Channel<Bytes, Infallible>>> {
    let call: Value = serde_json::from_slice(&request.into_body().collect().await?.to_bytes())?;
    let argument =
        |name: &str| call["params"]["arguments"][name].as_u64().with_context(|| format!("no argument {name}"));
    let (events, gap) = (argument("events")?, Duration::from_millis(argument("gap_ms")?));
    let (sender, body) = Channel::new(1);
    tokio::spawn(stream(sender, events, gap, call["id"].clone()));
    let response = Response::builder().header(CONTENT_TYPE, "text/event-stream").header(CACHE_CONTROL, "no-store");
    Ok(response.body(body)?)
}

/// The first event comes at once, the result right after the last.
async fn stream(mut sender: Sender<Bytes>, events: u64, gap: Duration, id: Value) {
    for n in 1..=events {
        let params =
            json!({ "progressToken": id, "progress": n, "total": events, "message": clock::now_us().to_string() });
        let event = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params });
        if sender.send_data(event_of(&event)).await.is_err() {
            return;
        }
        tokio::time::sleep(gap).await;
    }
    let result = json!({ "resultType": "complete", "content": [{ "type": "text", "text": "done" }] });
    let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
    let _ = sender.send_data(event_of(&answer)).await;
}

fn event_of(message: &Value) -> Bytes {
    format!("data: {message}\n\n").into()
}
