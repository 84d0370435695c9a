//! A client for the benchmark: measures when the events of a tool call's stream arrive.
//!
//! `first_event <port> <trusted.pem> <streams> <events> <gap in ms>` prints one line of JSON per stream: `cold_us`, from before
//! the connection to the first event; `warm_us`, from a second call on that connection to its first event; `delays_us`, for each
//! event of that second call, from when the server sent it to when it was here.

use std::{net::Ipv4Addr, sync::Arc, time::Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{ACCEPT, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        client::Resumption,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use weir_tests::clock;

/// What is asked of the server.
#[derive(Clone, Copy)]
struct Script {
    events: u64,
    gap_ms: u64,
}

/// When what arrived.
struct Arrival {
    first: Instant,
    delays_us: Vec<u64>,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [port, trusted, streams, events, gap_ms] = args.as_slice() else {
        anyhow::bail!("usage: first_event <port> <trusted.pem> <streams> <events> <gap in ms>");
    };
    let port: u16 = port.parse()?;
    let script = Script { events: events.parse()?, gap_ms: gap_ms.parse()? };
    let connector = connector(trusted)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // What a process does once, such as gathering entropy, is no part of a stream.
    runtime.block_on(measure(&connector, port, Script { events: 1, gap_ms: 0 }))?;
    for _ in 0..streams.parse::<u32>()? {
        println!("{}", runtime.block_on(measure(&connector, port, script))?);
    }
    Ok(())
}

fn connector(trusted: &str) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(trusted)? {
        roots.add(certificate?)?;
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // Each stream is a new client's.
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn measure(connector: &TlsConnector, port: u16, script: Script) -> Result<Value> {
    let connecting = Instant::now();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.set_nodelay(true)?;
    let stream = connector.connect(ServerName::try_from("localhost")?, stream).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);

    let cold = call(&mut sender, port, Script { events: 1, gap_ms: 0 }).await?;
    let calling = Instant::now();
    let warm = call(&mut sender, port, script).await?;
    let us = |from: Instant, to: Instant| u64::try_from(to.duration_since(from).as_micros()).unwrap_or(u64::MAX);
    Ok(json!({
        "cold_us": us(connecting, cold.first),
        "warm_us": us(calling, warm.first),
        "delays_us": warm.delays_us,
    }))
}

/// Calls the tool and reads its stream to the end.
async fn call(sender: &mut SendRequest<Full<Bytes>>, port: u16, script: Script) -> Result<Arrival> {
    sender.ready().await?;
    let response = sender.send_request(request(port, script)?).await?;
    ensure!(response.status().is_success(), "the server answered {}", response.status());
    let mut events = Events { body: response.into_body(), pending: Vec::new() };
    let mut first = None;
    let mut delays_us = Vec::new();
    while let Some(event) = events.next().await? {
        let now = clock::now_us();
        first = first.or_else(|| Some(Instant::now()));
        if let Some(sent) = event["params"]["message"].as_str() {
            delays_us.push(now.saturating_sub(sent.parse()?));
        } else {
            ensure!(event["result"].is_object(), "the stream ended with {event}");
        }
    }
    ensure!(delays_us.len() as u64 == script.events, "{} of {} events arrived", delays_us.len(), script.events);
    Ok(Arrival { first: first.context("no event arrived")?, delays_us })
}

fn request(port: u16, Script { events, gap_ms }: Script) -> Result<Request<Full<Bytes>>> {
    let meta = json!({
        "progressToken": 1,
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": "progress", "arguments": { "events": events, "gap_ms": gap_ms }, "_meta": meta });
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let request = Request::post("/mcp")
        .header(HOST, format!("localhost:{port}"))
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "progress");
    Ok(request.body(Full::new(call.to_string().into()))?)
}

/// The messages of an SSE body whose events are one `data:` line each.
struct Events {
    body: Incoming,
    pending: Vec<u8>,
}

impl Events {
    async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            if let Some(end) = self.pending.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.pending.drain(..end + 2).collect();
                let data = event.strip_prefix(b"data: ").context("an event without data")?;
                return Ok(Some(serde_json::from_slice(data)?));
            }
            match self.body.frame().await.transpose()? {
                Some(frame) => self.pending.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                None => return Ok(None),
            }
        }
    }
}
