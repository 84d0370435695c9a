//! Plain HTTP to an address that nobody registered: to a server, or to a proxy.

use std::{
    io,
    net::SocketAddr,
    ops::ControlFlow::{self, Break, Continue},
};

use tokio::{io::AsyncWriteExt, time::Instant};

use super::{
    Heard, Visit, farewell,
    request::{Form, Request, Unreadable},
    stance::Stance,
    watch::{is_registered, refusal},
};
use crate::proxy::{
    flow::Ending,
    intercept::{self, Plain},
    tunnel::Tunnel,
};

impl Visit<'_> {
    /// A plain HTTP/1.1 flow, or one inside a tunnel. Goes on where a proxy was asked for a tunnel.
    pub(super) async fn http(mut self) -> ControlFlow<Ending, Self> {
        let port = self.way.port;
        let limit = self.shared.config.limits.header_bytes;
        let read = move |said: &[u8]| match Request::read(said, port) {
            Err(Unreadable::Incomplete) if said.len() < limit => None,
            read => Some(read),
        };
        let (request, length) = match self.listen(read).await {
            Heard::Told(Ok(read)) => read,
            Heard::Gone(why) => return Break(self.broke("http", why)),
            Heard::Told(Err(Unreadable::NotHttp)) => return Break(self.other().await),
            Heard::Told(Err(Unreadable::Incomplete)) | Heard::Unclear => {
                let reason = "the request's head did not end in time, or is too long".into();
                return Break(self.refuse("http", None, reason));
            }
        };
        if request.form == Form::Authority && self.asking_left > 0 {
            return self.tunnel(request, length).await;
        }
        Break(self.request(request).await)
    }

    async fn request(mut self, request: Request) -> Ending {
        let named = |(host, port): &(String, u16)| Some((host.clone(), self.shared.names.endpoint_for(host, *port)?));
        let host = request.hosts.first().map(|(host, _)| host.clone());
        match (request.form, request.hosts.iter().find_map(named)) {
            (Form::Origin, Some((host, _))) if self.server_spoke => self.refuse_speaker("http", host),
            (Form::Origin, Some((host, endpoint))) => {
                let plain = Plain { h2: false, host: Some(host), way: self.take_way() };
                let Self { shared, flow, app, first, .. } = self;
                intercept::plain(shared, flow, app, first.freeze(), &endpoint, plain).await
            }
            (Form::Absolute | Form::Authority, Some((host, _))) => {
                let reason =
                    format!("{host} is registered, and a proxy is asked for it in plain HTTP: ask it without a proxy");
                farewell(&mut self.app, &refusal(&reason)).await;
                Ending { hostname: Some(host), ..Ending::refused("http", reason) }
            }
            (_, None) if self.asked.is_some() => self.refuse_other("http"),
            (_, None) => self.pass("http", host).await,
        }
    }

    /// Asks the proxy for what the application asked it for.
    async fn tunnel(mut self, request: Request, length: usize) -> ControlFlow<Ending, Self> {
        self.asking_left -= 1;
        let Some((host, port)) = request.hosts.into_iter().next() else { return Break(self.pass("http", None).await) };
        let is_registered = is_registered(self.shared, self.flow.netns_cookie, &host, port);
        if self.way.tunnel.is_some() {
            return Break(match is_registered {
                true => self.refuse("http", Some(host), "a registered host is asked for through two proxies".into()),
                false => self.pass("http", Some(host)).await,
            });
        }
        if self.stance == Stance::Refuse && !is_registered {
            return Break(self.pass("http", Some(host)).await);
        }
        let tunnel = Tunnel::new(&self.first.split_to(length));
        self.flow.traffic.count_out(length);
        let deadline = Instant::now() + self.shared.connect_patience();
        let asked = async {
            self.dial().await?;
            let proxy = self.server.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            let answer = tunnel.ask(proxy, deadline).await?;
            self.app.write_all(&answer.bytes).await?;
            io::Result::Ok(answer)
        };
        let answer = match asked.await {
            Ok(answer) => answer,
            Err(error) => return Break(self.unreachable(&error, "http")),
        };
        self.flow.traffic.count_in(answer.bytes.len());
        if answer.is_open {
            let at = host
                .parse()
                .ok()
                .and_then(|ip| self.shared.names.only_host_at(self.flow.netns_cookie, SocketAddr::new(ip, port)));
            self.asked = is_registered.then(|| at.unwrap_or_else(|| host.clone()));
            self.toward = Some(host);
            self.server_spoke = answer.bytes.len() > answer.head;
            (self.way.port, self.way.tunnel) = (port, Some(tunnel));
        }
        Continue(self)
    }

    /// HTTP/2 in clear text names its host where this does not look: on an endpoint's port it could be the endpoint's.
    pub(super) async fn h2(self) -> Ending {
        let port = self.way.port;
        if self.asked.is_some() || self.shared.config.endpoints.iter().any(|endpoint| endpoint.ports.contains(&port)) {
            return self.refuse("http", None, format!("HTTP/2 in clear text, and port {port} is an endpoint's"));
        }
        let host = self.toward.clone();
        self.pass("http", host).await
    }
}
