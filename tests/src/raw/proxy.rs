//! A forward proxy: HTTP `CONNECT`, plain HTTP with absolute targets, and SOCKS5 without authentication.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use super::client::dial;

/// A running proxy. It ends with the process.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Listens on an address; dials from the namespace that it was started in. `lookup` gives the addresses of names.
    ///
    /// # Panics
    /// When the address cannot be taken.
    #[must_use]
    pub fn start(ip: IpAddr, lookup: fn(&str) -> Option<IpAddr>) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("listen");
        let addr = listener.local_addr().expect("a listener has an address");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let theirs = Arc::clone(&asked);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let asked = Arc::clone(&theirs);
                // Threads stay in the namespace of the thread that starts them.
                thread::spawn(move || serve(client, lookup, &asked));
            }
        });
        Self { addr, asked }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it was asked for: the first line of each HTTP request, and `socks <host>:<port>`.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(mut client: TcpStream, lookup: fn(&str) -> Option<IpAddr>, asked: &Mutex<Vec<String>>) -> io::Result<()> {
    let note = |what: String| asked.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    let mut first = [0];
    client.read_exact(&mut first)?;
    if first == [5] {
        let target = socks(&mut client)?;
        note(format!("socks {target}"));
        let server = reach(&target, lookup)?;
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        return join(client, server);
    }
    let mut head = first.to_vec();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let line = text.lines().next().unwrap_or_default().to_owned();
    note(line.clone());
    let target = line.split(' ').nth(1).unwrap_or_default();
    if line.starts_with("CONNECT ") {
        if !text.to_ascii_lowercase().contains("proxy-authorization") {
            client.write_all(
                b"HTTP/1.1 407 Who are you\r\nproxy-authenticate: Basic realm=x\r\ncontent-length: 0\r\n\r\n",
            )?;
            return serve(client, lookup, asked);
        }
        let server = reach(target, lookup)?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        return join(client, server);
    }
    let host = target.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let mut server = reach(&if host.contains(':') { host.to_owned() } else { format!("{host}:80") }, lookup)?;
    server.write_all(&head)?;
    join(client, server)
}

/// RFC 1928, from its second byte on.
fn socks(client: &mut TcpStream) -> io::Result<String> {
    let mut take = |count: usize| {
        let mut bytes = vec![0; count];
        client.read_exact(&mut bytes).map(|()| bytes)
    };
    let methods = usize::from(take(1)?[0]);
    take(methods)?;
    client.write_all(&[5, 0])?;
    let mut take = |count: usize| {
        let mut bytes = vec![0; count];
        client.read_exact(&mut bytes).map(|()| bytes)
    };
    let host = match take(4)?[3] {
        1 => take(4)?.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
        _ => {
            let length = usize::from(take(1)?[0]);
            String::from_utf8_lossy(&take(length)?).into_owned()
        }
    };
    let port = take(2)?;
    Ok(format!("{host}:{}", u16::from_be_bytes([port[0], port[1]])))
}

fn reach(target: &str, lookup: fn(&str) -> Option<IpAddr>) -> io::Result<TcpStream> {
    let (host, port) = target.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
    let port: u16 = port.parse().map_err(io::Error::other)?;
    let addr = match lookup(host) {
        Some(ip) => SocketAddr::new(ip, port),
        None => (host, port).to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?,
    };
    dial(addr)
}

fn join(client: TcpStream, server: TcpStream) -> io::Result<()> {
    client.set_read_timeout(None)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let copied = io::copy(&mut from_client, &mut to_server);
        to_server.shutdown(Shutdown::Write).and(copied.map(drop))
    });
    let (mut from_server, mut to_client) = (server, client);
    io::copy(&mut from_server, &mut to_client)?;
    to_client.shutdown(Shutdown::Write)
}
