//! Looks at what an application says on a flow that is passed through, and changes nothing. It breaks the flow off where a
//! registered endpoint is named (such a flow is intercepted when it names one from the start), and, where that is asked
//! for, where MCP is spoken. What it objects to has not been passed on.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http::Response;

use super::{
    frames::Frames,
    request::{Form, Request},
    socks::{self, Socks},
};
use crate::{
    audit::event::{Action, Shadow, ShadowKind},
    datapath::NetnsCookie,
    mcp::{Asked, Class, Refusal, sighting},
    proxy::{
        Shared,
        flow::FlowContext,
        framing::{Framing, Part},
        opening::Opening,
    },
    tls::hello::MAX_HELLO,
};

/// Watches one flow.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    flow: Arc<FlowContext>,
    /// The port that the application wants to reach.
    port: u16,
    hostname: Option<String>,
    refuses_mcp: bool,
    reading: Reading,
    shadow: Option<Shadow>,
    objection: Option<Objection>,
    unwatched: Option<&'static str>,
}

/// Why a flow is broken off, and what the application is told.
pub(crate) struct Objection {
    /// In words.
    pub(super) reason: String,
    /// In the protocol's.
    pub(super) farewell: Bytes,
}

enum Reading {
    /// Too little has been said to tell.
    Opening(Vec<u8>),
    Socks(Vec<u8>),
    Http(Framing, Vec<u8>),
    H2(Frames, u32, Vec<u8>),
    /// Nothing more is looked at.
    Done,
}

/// Something in a request.
enum Found {
    Request(Request),
    Message(&'static str),
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What it read can hold secrets.
        f.write_str("Watch")
    }
}

impl Watch {
    pub(super) fn new(
        shared: &Arc<Shared>,
        flow: &Arc<FlowContext>,
        port: u16,
        hostname: Option<String>,
        refuses_mcp: bool,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            flow: Arc::clone(flow),
            port,
            hostname,
            refuses_mcp,
            reading: Reading::Opening(Vec::new()),
            shadow: None,
            objection: None,
            unwatched: None,
        }
    }

    /// Why the flow was broken off.
    pub(crate) fn objection(&self) -> Option<&Objection> {
        self.objection.as_ref()
    }

    /// MCP that was seen.
    pub(super) fn shadow(&self) -> Option<&Shadow> {
        self.shadow.as_ref()
    }

    /// Why it stopped looking at HTTP.
    pub(super) fn unwatched(&self) -> Option<&'static str> {
        self.unwatched
    }

    /// Looks at what comes next.
    ///
    /// # Errors
    /// There is an [`objection`](Self::objection).
    pub(crate) fn observe(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.objection.is_none()
            && let Err(objection) = self.look(bytes)
        {
            self.objection = Some(objection);
        }
        match &self.objection {
            Some(objection) => Err(io::Error::other(objection.reason.clone())),
            None => Ok(()),
        }
    }

    fn look(&mut self, bytes: &[u8]) -> Result<(), Objection> {
        if bytes.is_empty() {
            return Ok(());
        }
        match std::mem::replace(&mut self.reading, Reading::Done) {
            Reading::Done => Ok(()),
            Reading::Opening(mut said) => {
                said.extend_from_slice(bytes);
                self.opening(said)
            }
            Reading::Socks(mut said) => {
                said.extend_from_slice(bytes);
                self.socks(said)
            }
            Reading::Http(framing, body) => self.http(framing, body, bytes),
            Reading::H2(frames, stream, body) => self.h2(frames, stream, body, bytes),
        }
    }

    fn opening(&mut self, said: Vec<u8>) -> Result<(), Objection> {
        if !matches!(socks::read(&said), Socks::Other) {
            return self.socks(said);
        }
        match Opening::read(&said) {
            None if said.len() < MAX_HELLO => self.reading = Reading::Opening(said),
            None | Some(Opening::Other(_)) => {}
            Some(Opening::Tls(hello)) => {
                if let Some(host) = hello.sni.filter(|host| self.is_registered(host, self.port)) {
                    return Err(self.object(&host, "behind what could have been another protocol", Bytes::new()));
                }
            }
            Some(Opening::Http { h2: false }) => {
                let framing = Framing::new(self.shared.config.limits.header_bytes);
                return self.http(framing, Vec::new(), &said);
            }
            Some(Opening::Http { h2: true }) => return self.h2(Frames::new(), 0, Vec::new(), &said),
        }
        Ok(())
    }

    fn socks(&mut self, said: Vec<u8>) -> Result<(), Objection> {
        match socks::read(&said) {
            Socks::Incomplete if said.len() < socks::MAX_ASKING => self.reading = Reading::Socks(said),
            Socks::Incomplete | Socks::Other => {}
            Socks::Connect { host, port, length: _, refusal } if self.is_registered(&host, port) => {
                return Err(self.object(&host, "through a SOCKS proxy", Bytes::from_static(refusal)));
            }
            Socks::Connect { host, port, length, .. } => {
                (self.hostname, self.port) = (Some(host), port);
                self.reading = Reading::Opening(Vec::new());
                return self.look(&said[length..]);
            }
        }
        Ok(())
    }

    fn http(&mut self, mut framing: Framing, mut body: Vec<u8>, bytes: &[u8]) -> Result<(), Objection> {
        let (port, looks_for_mcp) = (self.port, self.shadow.is_none());
        let mut found = Vec::new();
        let followed = framing.observe(bytes, |part| match part {
            Part::Head(head) => {
                body.clear();
                found.extend(Request::read(head, port).ok().map(|(request, _)| Found::Request(request)));
            }
            Part::Body(part) if looks_for_mcp => found.extend(message_in(&mut body, part)),
            Part::Body(_) => {}
        });
        let mut tunnel = None;
        for found in found {
            match found {
                Found::Request(request) => {
                    self.judge(&request)?;
                    tunnel = (request.form == Form::Authority).then_some(request);
                }
                Found::Message(method) => self.sight(format!("message {method}"), true)?,
            }
        }
        match (tunnel, followed) {
            (Some(_), _) if !framing.is_between_requests() => {
                let reason = "more came right behind a CONNECT request, which could hide an endpoint".to_owned();
                return Err(Objection { reason, farewell: Bytes::new() });
            }
            // Either the proxy refuses, and another request comes, or what is in the tunnel.
            (Some(request), _) => {
                self.port = request.hosts.first().map_or(self.port, |(_, port)| *port);
                self.reading = Reading::Opening(Vec::new());
            }
            (None, Ok(())) => self.reading = Reading::Http(framing, body),
            (None, Err(ambiguity)) => self.unwatched = Some(ambiguity),
        }
        Ok(())
    }

    fn judge(&mut self, request: &Request) -> Result<(), Objection> {
        if let Some((host, _)) = request.hosts.iter().find(|(host, port)| self.is_registered(host, *port)) {
            let how = match request.form {
                Form::Origin => "on a connection that began with another host",
                Form::Absolute | Form::Authority => "through an HTTP proxy, on a connection that began otherwise",
            };
            return Err(self.object(host, how, refusal(&format!("{host} is to be asked on a connection of its own"))));
        }
        match request.mcp_header {
            Some(header) => self.sight(format!("header {header}"), true),
            None => Ok(()),
        }
    }

    fn h2(&mut self, mut frames: Frames, mut stream: u32, mut body: Vec<u8>, bytes: &[u8]) -> Result<(), Objection> {
        let mut found = None;
        frames.observe(bytes, |of, payload| {
            if of != stream {
                stream = of;
                body.clear();
            }
            if found.is_none() {
                found = message_in(&mut body, payload);
            }
        });
        if let Some(Found::Message(method)) = found {
            return self.sight(format!("message {method}"), false);
        }
        self.reading = Reading::H2(frames, stream, body);
        Ok(())
    }

    /// Notes MCP, once for a flow.
    fn sight(&mut self, evidence: String, can_answer: bool) -> Result<(), Objection> {
        if self.shadow.is_some() {
            return Ok(());
        }
        let shadow = Shadow { kind: ShadowKind::Mcp, evidence };
        let action = if self.refuses_mcp { Action::Deny } else { Action::Allow };
        self.shared.sighted(&self.flow, self.hostname.clone(), &shadow, action);
        self.shadow = Some(shadow);
        if !self.refuses_mcp {
            return Ok(());
        }
        let to = self.hostname.clone().unwrap_or_else(|| self.flow.dst.to_string());
        let reason = format!("MCP to {to}, which is not registered (intercept.unregistered)");
        let farewell = if can_answer { refusal(&reason) } else { Bytes::new() };
        Err(Objection { reason, farewell })
    }

    fn object(&self, host: &str, how: &str, farewell: Bytes) -> Objection {
        Objection { reason: format!("{host} is registered, and was asked for {how}"), farewell }
    }

    fn is_registered(&self, host: &str, port: u16) -> bool {
        is_registered(&self.shared, self.flow.netns_cookie, host, port)
    }
}

/// Whether a host at a port is an endpoint's, by its name or by its address.
pub(super) fn is_registered(shared: &Shared, netns: NetnsCookie, host: &str, port: u16) -> bool {
    let at_address = |ip: IpAddr| shared.names.is_registered(netns, SocketAddr::new(ip.to_canonical(), port));
    shared.names.endpoint_for(host, port).is_some() || host.parse().is_ok_and(at_address)
}

/// An HTTP/1.1 response that refuses, and that no MCP client takes for anything else.
pub(super) fn refusal(reason: &str) -> Bytes {
    let refusal = Refusal::new("unregistered", Class::Denied, reason.to_owned());
    let response: Response<Bytes> = refusal.undeliverable(&Asked::Unreadable);
    let (head, body) = response.into_parts();
    let mut text =
        format!("HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: {}\r\n", head.status, body.len()).into_bytes();
    for (name, value) in &head.headers {
        if name == http::header::CONTENT_TYPE {
            text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
    }
    text.extend([b"\r\n".as_slice(), &body].concat());
    text.into()
}

/// Adds to what is known of a body, up to a limit, and looks for a message in it.
fn message_in(body: &mut Vec<u8>, part: &[u8]) -> Option<Found> {
    let room = sighting::BODY_WINDOW.saturating_sub(body.len());
    if room == 0 {
        return None;
    }
    body.extend_from_slice(&part[..part.len().min(room)]);
    sighting::in_body(body).map(Found::Message)
}
