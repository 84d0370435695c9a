//! Minted certificates and verified upstreams, with other people's TLS at the other end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers as well")]

use std::{
    io::{BufRead, BufReader},
    num::NonZeroUsize,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use rustls::{AlertDescription, HandshakeKind, ProtocolVersion, pki_types::ServerName};
use tempfile::TempDir;
use tokio::{
    io::{AsyncWriteExt, duplex},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use weir::{
    tls::{Minter, UpstreamTlsError, Upstreams},
    trust::{Authority, Host},
};
use weir_certs::pki::{TestPki, Validity};

const NAME: &str = "mcp.example.com";

/// A CA in a directory of its own, and a minter under it.
struct Ca {
    dir: TempDir,
    authority: Authority,
    minter: Minter,
}

impl Ca {
    fn for_hosts(hosts: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::init(dir.path()).unwrap();
        let hosts: Vec<Host> = hosts.iter().map(|host| host.parse().unwrap()).collect();
        let intermediate = authority.issue_intermediate(&hosts).unwrap();
        let minter = Minter::new(Arc::new(intermediate), NonZeroUsize::new(8).unwrap());
        std::fs::write(dir.path().join("root.pem"), authority.root_pem()).unwrap();
        Self { dir, authority, minter }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn acceptor(&self, name: &str, alpn: Option<&[u8]>) -> TlsAcceptor {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsAcceptor::from(self.minter.server_config(&name, alpn).unwrap())
    }

    /// Serves every connection on a loopback port as `name`, with a line of text.
    async fn serve(&self, name: &str, alpn: Option<&[u8]>) -> u16 {
        let acceptor = self.acceptor(name, alpn);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(connection).await?;
                    stream.write_all(b"minted\n").await?;
                    stream.shutdown().await
                });
            }
        });
        port
    }
}

async fn run(mut command: Command) -> (bool, String) {
    command.stdin(Stdio::null());
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output().expect("the program runs")).await.unwrap();
    (status.success(), format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

async fn s_client(ca: &Ca, port: u16, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("openssl");
    command.current_dir(ca.path()).args(["s_client", "-connect", &format!("127.0.0.1:{port}")]);
    command.args(["-CAfile", "root.pem", "-x509_strict", "-verify_return_error", "-ign_eof"]).args(arguments);
    run(command).await
}

#[tokio::test]
async fn rustls_knows_a_minted_server_by_the_root_alone() {
    let ca = Ca::for_hosts(&[NAME, "192.0.2.7"]);
    let upstreams = Upstreams::without_system_roots(&[]).unwrap();
    let client = upstreams.endpoint(Some(&ca.path().join("root.pem")), None).unwrap();
    for name in [NAME, "192.0.2.7"] {
        for _ in 0..2 {
            let (near, far) = duplex(64 << 10);
            let acceptor = ca.acceptor(name, Some(b"h2"));
            let server = tokio::spawn(async move { acceptor.accept(far).await.map(drop) });
            let alpn = [b"http/1.1".to_vec(), b"h2".to_vec()];
            let deadline = Instant::now() + Duration::from_secs(30);
            let name = ServerName::try_from(name).unwrap();
            let stream = client.connect(near, name, &alpn, deadline).await.unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
            assert_eq!(session.peer_certificates().unwrap().len(), 2);
            assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
            server.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn an_agent_never_takes_its_own_minted_certificate_for_an_upstream() {
    let ca = Ca::for_hosts(&[NAME]);
    let upstreams = Upstreams::without_system_roots(&[ca.authority.root().clone()]).unwrap();
    let client = upstreams.endpoint(Some(&ca.path().join("root.pem")), None).unwrap();
    let (near, far) = duplex(64 << 10);
    let acceptor = ca.acceptor(NAME, None);
    tokio::spawn(async move { acceptor.accept(far).await.map(drop) });
    let deadline = Instant::now() + Duration::from_secs(30);
    let error = client.connect(near, ServerName::try_from(NAME).unwrap(), &[], deadline).await.map(drop).unwrap_err();
    assert!(matches!(error, UpstreamTlsError::UnknownIssuer), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_verifies_a_minted_server_strictly() {
    let ca = Ca::for_hosts(&[NAME]);
    let port = ca.serve(NAME, Some(b"http/1.1")).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = ["-servername", NAME, "-verify_hostname", NAME, "-alpn", "h2,http/1.1", version];
        let (ok, said) = s_client(&ca, port, &arguments).await;
        assert!(ok && said.contains("Verify return code: 0 (ok)"), "{said}");
        assert!(said.contains("ALPN protocol: http/1.1") && said.contains("minted"), "{said}");
        assert!(!said.contains("TLS session ticket:"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_with_tls_1_1_is_refused() {
    let ca = Ca::for_hosts(&[NAME]);
    let port = ca.serve(NAME, None).await;
    let (ok, said) = s_client(&ca, port, &["-servername", NAME, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]).await;
    assert!(!ok && said.contains("SSL alert number"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn python_verifies_a_minted_server_strictly() {
    const CLIENT: &str = r#"
import socket, ssl, sys
context = ssl.create_default_context(cafile="root.pem")
context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
with context.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1]))), server_hostname=sys.argv[2]) as tls:
    print(tls.recv(100))
"#;
    for name in [NAME, "192.0.2.7"] {
        let ca = Ca::for_hosts(&[name]);
        let port = ca.serve(name, None).await;
        let mut python = Command::new("python3");
        python.current_dir(ca.path()).args(["-c", CLIENT, &port.to_string(), name]);
        let (ok, said) = run(python).await;
        assert!(ok && said.contains("minted"), "{said}");
    }
}

/// `openssl s_server` on a loopback port, ended when dropped.
struct SServer {
    child: Child,
    port: u16,
}

impl SServer {
    fn start(dir: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .current_dir(dir)
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "server.pem", "-key", "server.key"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl runs");
        let announced = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ACCEPT 127.0.0.1:").and_then(|port| port.parse().ok()));
        let server = Self { child, port: announced.unwrap_or_default() };
        assert_ne!(server.port, 0, "openssl s_server did not say where it listens");
        server
    }
}

impl Drop for SServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_openssl_upstream_is_verified_and_one_with_tls_1_1_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let pki = TestPki::new().unwrap();
    pki.server(&[NAME], Validity::Valid).unwrap().write(dir.path(), "server").unwrap();
    let root = pki.write_root(dir.path(), "root").unwrap();
    let upstream = Upstreams::without_system_roots(&[]).unwrap().endpoint(Some(&root), None).unwrap();
    let connect = async |port: u16| {
        let io = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        upstream.connect(io, ServerName::try_from(NAME).unwrap(), &[b"h2".to_vec()], deadline).await
    };

    for (version, expected) in [("-tls1_2", ProtocolVersion::TLSv1_2), ("-tls1_3", ProtocolVersion::TLSv1_3)] {
        let server = SServer::start(dir.path(), &["-alpn", "h2", version]);
        let stream = connect(server.port).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    }

    let server = SServer::start(dir.path(), &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]);
    let error = connect(server.port).await.map(drop).unwrap_err();
    assert_eq!(error.client_alert(), AlertDescription::ProtocolVersion, "{error}");
}
