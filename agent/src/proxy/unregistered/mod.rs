//! A flow to an address that nobody registered (`tcp = "all"`). What names an endpoint becomes that endpoint's; everything
//! else is passed through untouched, or refused where `intercept.unregistered` says so.
//!
//! The destination is dialled before the application has said anything, and what it says first is passed on at once:
//! who is meant to speak first is not known. Only what the application says is held, until it shows what it is.
//!
//! | file | job |
//! |---|---|
//! | `stance` | pass or refuse, by destination |
//! | `http` | plain HTTP, `CONNECT` included |
//! | `request`, `socks`, `frames` | what is asked for, read from clear text |
//! | `watch` | look at what passes |
//! | `sightings` | report MCP at servers that nobody registered |

mod frames;
mod http;
mod request;
mod sightings;
mod socks;
mod stance;
mod watch;

use std::{
    io,
    ops::ControlFlow::{Break, Continue},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rustls::AlertDescription;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};

pub use self::sightings::ShadowStatus;
use self::stance::Stance;
pub(crate) use self::{sightings::Sightings, watch::Watch};
use super::{
    Shared,
    flow::{Ending, FlowContext, alert, reset},
    intercept::{self, Named},
    opening::Opening,
    splice,
    stream::AppStream,
    way::Way,
};
use crate::{
    audit::event::{Action, FlowEnd, Shadow, ShadowKind},
    mcp::sighting,
    tls::ClientHello,
};

/// How long the first bytes of something that could become HTTP are held back.
const UNDECIDED: Duration = Duration::from_secs(1);

/// How often a proxy is asked for tunnels on one connection: authentication takes some attempts.
const ASKING: u32 = 8;

/// How long an application may take to hear why its flow ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves one flow.
pub(super) async fn serve(shared: &Arc<Shared>, flow: &Arc<FlowContext>, app: TcpStream) -> Ending {
    let stance = Stance::towards(flow.dst.0, shared.config.intercept.unregistered);
    let visit = Visit {
        shared,
        flow,
        app,
        server: None,
        first: BytesMut::with_capacity(4096),
        way: Way::straight(flow.dst),
        toward: None,
        asked: None,
        asking_left: ASKING,
        stance,
        server_spoke: false,
    };
    visit.run().await
}

/// A flow whose end is not decided.
struct Visit<'f> {
    shared: &'f Arc<Shared>,
    flow: &'f Arc<FlowContext>,
    app: TcpStream,
    /// The destination, once it is dialled.
    server: Option<TcpStream>,
    /// What the application has said, or said since the tunnel opened.
    first: BytesMut,
    way: Way,
    /// The host that a proxy was asked for.
    toward: Option<String>,
    /// The same, if it is registered by its name or address.
    asked: Option<String>,
    /// How often a proxy may still be asked.
    asking_left: u32,
    stance: Stance,
    /// Whether anything came from the destination, other than a proxy's answer.
    server_spoke: bool,
}

/// What listening to the application gave.
enum Heard<T> {
    Told(T),
    /// One side is done, or what there is will not be told in time.
    Unclear,
    /// One side broke, or the agent ends.
    Gone(String),
}

impl Visit<'_> {
    async fn run(mut self) -> Ending {
        if self.stance != Stance::Refuse
            && let Err(error) = self.dial().await
        {
            return self.unreachable(&error, "opaque");
        }
        loop {
            return match self.listen(Opening::read).await {
                Heard::Gone(why) => self.broke("opaque", why),
                Heard::Unclear if Opening::begins_as_tls(&self.first) => {
                    self.refuse("tls", None, "the ClientHello did not end in time".into())
                }
                Heard::Told(Opening::Tls(hello)) => self.tls(hello).await,
                Heard::Told(Opening::Http { h2: false }) => match self.http().await {
                    Break(ending) => ending,
                    Continue(visit) => {
                        self = visit;
                        continue;
                    }
                },
                Heard::Told(Opening::Http { h2: true }) => self.h2().await,
                Heard::Unclear | Heard::Told(Opening::Other(_)) => self.other().await,
            };
        }
    }

    async fn dial(&mut self) -> io::Result<()> {
        if self.server.is_none() {
            self.server = Some(self.flow.dial(self.shared.connect_patience()).await?);
        }
        Ok(())
    }

    /// Holds what the application says until it tells something, and passes on what the destination says.
    async fn listen<T>(&mut self, tell: impl Fn(&[u8]) -> Option<T>) -> Heard<T> {
        let patience = Duration::from_millis(self.shared.config.limits.sniff_timeout_ms);
        let mut deadline = (self.stance == Stance::Refuse).then(|| Instant::now() + patience);
        let mut from_server = [0; 4096];
        loop {
            if !self.first.is_empty() {
                if let Some(told) = tell(&self.first) {
                    return Heard::Told(told);
                }
                // A word that happens to begin as a method does: its sender may be waiting for an answer to it.
                let is_short = self.first.len() < 8 && !Opening::begins_as_tls(&self.first);
                let patience = if is_short { patience.min(UNDECIDED) } else { patience };
                deadline.get_or_insert_with(|| Instant::now() + patience);
            }
            tokio::select! {
                read = self.app.read_buf(&mut self.first) => match read {
                    Ok(0) => return Heard::Unclear,
                    Ok(_) => {}
                    Err(error) => return Heard::Gone(format!("the application's stream broke: {error}")),
                },
                read = read_some(&mut self.server, &mut from_server) => match read {
                    Ok(0) => return Heard::Unclear,
                    Err(error) => return Heard::Gone(format!("the destination's stream broke: {error}")),
                    Ok(n) => {
                        self.server_spoke = true;
                        if let Err(error) = self.app.write_all(&from_server[..n]).await {
                            return Heard::Gone(format!("the application's stream broke: {error}"));
                        }
                        self.flow.traffic.count_in(n);
                    }
                },
                () = wait_until(deadline) => return Heard::Unclear,
                () = self.shared.drain.expired() => return Heard::Gone("the agent ended".into()),
            }
        }
    }

    async fn tls(mut self, hello: ClientHello) -> Ending {
        let host = hello.sni.clone().or_else(|| self.asked.clone());
        let endpoint = host.as_deref().and_then(|host| self.shared.names.endpoint_for(host, self.way.port));
        match (host, endpoint) {
            (Some(host), Some(_)) if self.server_spoke => self.refuse_speaker("tls", host),
            (Some(host), Some(endpoint)) => {
                let way = self.take_way();
                let Self { shared, flow, app, first, .. } = self;
                intercept::tls(shared, flow, app, first.freeze(), &endpoint, Named { hello, host, way }).await
            }
            (host, _) if self.asked.is_some() => {
                alert(&mut self.app, AlertDescription::UnrecognisedName).await;
                let asked = self.asked.unwrap_or_default();
                let reason =
                    format!("a proxy was asked for {asked}, which is registered, and the server for another name");
                Ending { hostname: host, ..Ending::refused("tls", reason) }
            }
            (host, _) => self.pass("tls", host).await,
        }
    }

    async fn other(self) -> Ending {
        if self.asked.is_some() {
            return self.refuse_other("opaque");
        }
        let host = self.toward.clone();
        self.pass("opaque", host).await
    }

    /// Passes the flow through untouched, unless its destination is refused.
    async fn pass(mut self, protocol: &'static str, hostname: Option<String>) -> Ending {
        let likely = hostname.as_deref().filter(|host| protocol == "tls" && sighting::is_likely_host(host));
        let likely = likely.map(|host| Shadow { kind: ShadowKind::LikelyMcp, evidence: format!("host name {host}") });
        if let Some(shadow) = &likely {
            let action = if self.stance == Stance::Refuse { Action::Deny } else { Action::Allow };
            self.shared.sighted(self.flow, hostname.clone(), shadow, action);
        }
        if self.stance == Stance::Refuse {
            let to = hostname.clone().unwrap_or_else(|| self.flow.dst.to_string());
            let reason = format!("{to} is not registered (intercept.unregistered = \"deny\")");
            return Ending { shadow: likely, ..self.refuse(protocol, hostname, reason) };
        }
        let Some(server) = self.server.take() else {
            return self.unreachable(&io::ErrorKind::NotConnected.into(), protocol);
        };
        let Self { shared, flow, app, first, way, stance, .. } = self;
        let mut app = AppStream::new(first.freeze(), app, Arc::clone(&flow.traffic));
        if protocol != "tls" {
            app = app.watched(Watch::new(shared, flow, way.port, hostname.clone(), stance == Stance::PassUnlessMcp));
        }
        let (cut, watch) = splice::join(shared, flow, app, server).await;
        let objection = watch.as_ref().and_then(|watch| watch.objection());
        if let (Some(mut app), Some(objection)) = (cut, objection) {
            farewell(&mut app, &objection.farewell).await;
        }
        let unwatched = || watch.as_ref()?.unwatched().map(|why| format!("looked at until: {why}"));
        Ending {
            end: if objection.is_some() { FlowEnd::Refused } else { FlowEnd::Spliced },
            reason: objection.map(|objection| objection.reason.clone()).or_else(unwatched),
            protocol,
            endpoint: None,
            hostname,
            shadow: watch.as_ref().and_then(|watch| watch.shadow().cloned()).or(likely),
        }
    }

    /// Where the destination is reached, with the connection that there is.
    fn take_way(&mut self) -> Way {
        let Way { addr, port, tunnel, .. } = &self.way;
        Way { addr: *addr, port: *port, tunnel: tunnel.clone(), open: self.server.take() }
    }

    fn refuse(self, protocol: &'static str, hostname: Option<String>, reason: String) -> Ending {
        reset(self.app);
        Ending { hostname, ..Ending::refused(protocol, reason) }
    }

    fn refuse_speaker(self, protocol: &'static str, host: String) -> Ending {
        let reason = format!("{host} is registered, and the server at {} spoke first", self.flow.dst);
        self.refuse(protocol, Some(host), reason)
    }

    fn refuse_other(self, protocol: &'static str) -> Ending {
        let asked = self.asked.clone();
        let reason = "a proxy was asked for a registered host, and something else was said to it".into();
        self.refuse(protocol, asked, reason)
    }

    fn unreachable(self, error: &io::Error, protocol: &'static str) -> Ending {
        reset(self.app);
        let ending = Ending::refused(protocol, format!("{}: {error}", self.way.addr));
        Ending { end: FlowEnd::UpstreamUnreachable, hostname: self.toward, ..ending }
    }

    /// One side broke: so does the other.
    fn broke(self, protocol: &'static str, why: String) -> Ending {
        self.server.into_iter().for_each(reset);
        reset(self.app);
        Ending { end: FlowEnd::Spliced, hostname: self.toward, ..Ending::refused(protocol, why) }
    }
}

/// Reads from the destination; waits for ever while there is none.
async fn read_some(server: &mut Option<TcpStream>, buffer: &mut [u8]) -> io::Result<usize> {
    match server {
        Some(server) => server.read(buffer).await,
        None => std::future::pending().await,
    }
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Says why a flow ends, and ends it. Without words, it is reset.
async fn farewell(app: &mut TcpStream, words: &Bytes) {
    if words.is_empty() {
        let _ = socket2::SockRef::from(&*app).set_linger(Some(Duration::ZERO));
        return;
    }
    let _ = timeout(FAREWELL, async {
        app.write_all(words).await?;
        app.shutdown().await?;
        // Closing with unread bytes would turn the words into a reset before the application reads them.
        let mut rest = [0; 1024];
        while app.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}
