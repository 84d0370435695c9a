//! What the head of a plain HTTP/1.1 request asks for, and of whom.

use http::{Uri, uri::Authority};

use crate::{
    mcp::sighting,
    proxy::{headers::canonical_host, tunnel},
};

/// The port of a proxied `http` URL without one.
const HTTP_PORT: u16 = 80;

/// Most headers that are read.
const MAX_HEADERS: usize = 128;

/// A request's head, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// How the target is written.
    pub(super) form: Form,
    /// Every host and port that it names.
    pub(super) hosts: Vec<(String, u16)>,
    /// A header that only MCP has.
    pub(super) mcp_header: Option<&'static str>,
}

/// How a request's target is written (RFC 9112 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// To a server.
    Origin,
    /// To a proxy.
    Absolute,
    /// To a proxy, for a tunnel.
    Authority,
}

/// Why no request can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// More bytes are needed.
    Incomplete,
    /// It is not HTTP/1.
    NotHttp,
}

impl Request {
    /// Reads a head at the beginning of `bytes`; says how long it is. `port` is the one that was connected to.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub(super) fn read(bytes: &[u8], port: u16) -> Result<(Self, usize), Unreadable> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Err(Unreadable::Incomplete),
            Err(_) => return Err(Unreadable::NotHttp),
        };
        let target = request.path.unwrap_or_default();
        let (form, mut hosts) = if request.method == Some("CONNECT") {
            (Form::Authority, tunnel::target(target).into_iter().collect())
        } else if target.starts_with('/') || target == "*" {
            (Form::Origin, Vec::new())
        } else {
            (Form::Absolute, absolute(target).into_iter().collect())
        };
        if form != Form::Authority {
            let named = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
            let named = named.filter_map(|header| Authority::try_from(header.value).ok());
            // Where a transparent connection went decides the port, whatever the header says of it.
            let port = |host: &Authority| match form {
                Form::Origin => port,
                _ => host.port_u16().unwrap_or(HTTP_PORT),
            };
            hosts.extend(named.map(|host| (canonical_host(host.host()), port(&host))));
        }
        let mcp_header = sighting::in_headers(request.headers.iter().map(|header| header.name));
        Ok((Self { form, hosts, mcp_header }, length))
    }
}

fn absolute(target: &str) -> Option<(String, u16)> {
    let uri: Uri = target.parse().ok()?;
    Some((canonical_host(uri.host()?), uri.port_u16().unwrap_or(HTTP_PORT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> (Form, Vec<String>) {
        let (request, length) = Request::read(head.as_bytes(), 8080).unwrap();
        assert_eq!(length, head.len());
        (request.form, request.hosts.iter().map(|(host, port)| format!("{host} {port}")).collect())
    }

    #[test]
    fn every_form_names_its_hosts() {
        assert_eq!(read("GET /x HTTP/1.1\r\nHost: A.test:9\r\n\r\n"), (Form::Origin, vec!["a.test 8080".into()]));
        assert_eq!(
            read("GET HTTP://a.test/x HTTP/1.1\r\nHost: b.test\r\n\r\n"),
            (Form::Absolute, vec!["a.test 80".into(), "b.test 80".into()])
        );
        assert_eq!(
            read("CONNECT a.test:443 HTTP/1.1\r\nHost: b\r\n\r\n"),
            (Form::Authority, vec!["a.test 443".into()])
        );
        assert_eq!(read("GET / HTTP/1.0\r\n\r\n"), (Form::Origin, vec![]));
    }

    #[test]
    fn what_is_no_request_is_told_from_what_is_not_whole() {
        assert_eq!(Request::read(b"GET / HTTP/1.1\r\nHost: a", 80), Err(Unreadable::Incomplete));
        assert_eq!(Request::read(b"GET \x00 / HTTP/1.1\r\n\r\n", 80), Err(Unreadable::NotHttp));
    }
}
