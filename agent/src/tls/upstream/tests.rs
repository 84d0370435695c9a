use std::{sync::Arc, time::Duration};

use rustls::{AlertDescription, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsAcceptor;
use weir_certs::pki::{Server, TestPki, Validity};

use super::*;

const NAME: &str = "mcp.example.com";

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn server_config(server: &Server, alpn: &[&str]) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(server.chain(), server.key())
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

/// Serves one handshake at the other end of the returned stream.
fn serve(config: ServerConfig) -> DuplexStream {
    let (client, server) = duplex(64 << 10);
    tokio::spawn(async move {
        if let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(server).await {
            let _ = stream.read(&mut [0]).await;
        }
    });
    client
}

/// An upstream that trusts `pki` alone, and not the keys of `own`.
fn trusting(pki: &TestPki, own: &[CertificateDer<'_>]) -> Upstream {
    let dir = tempfile::tempdir().unwrap();
    let root = pki.write_root(dir.path(), "root").unwrap();
    Upstreams::without_system_roots(own).unwrap().endpoint(Some(&root), None).unwrap()
}

async fn connect(upstream: &Upstream, server: &Server) -> Result<TlsStream<DuplexStream>, UpstreamTlsError> {
    let name = ServerName::try_from(NAME).unwrap();
    upstream.connect(serve(server_config(server, &[])), name, &[], deadline()).await
}

async fn failure(pki: &TestPki, server: &Server) -> UpstreamTlsError {
    connect(&trusting(pki, &[]), server).await.map(drop).unwrap_err()
}

#[tokio::test]
async fn a_good_server_is_believed_with_and_without_intermediate() {
    let pki = TestPki::new().unwrap();
    let upstream = trusting(&pki, &[]);
    connect(&upstream, &pki.server(&[NAME], Validity::Valid).unwrap()).await.unwrap();
    connect(&upstream, &pki.server_with_intermediate(&[NAME]).unwrap()).await.unwrap();
}

#[tokio::test]
async fn each_bad_certificate_is_told_apart_with_its_alert() {
    let pki = TestPki::new().unwrap();
    let stranger = TestPki::new().unwrap();

    let error = failure(&pki, &pki.server(&[NAME], Validity::Expired).unwrap()).await;
    assert!(matches!(error, UpstreamTlsError::Expired), "{error}");
    assert_eq!(error.client_alert(), AlertDescription::CertificateExpired);

    let error = failure(&pki, &pki.server(&[NAME], Validity::NotYetValid).unwrap()).await;
    assert!(matches!(error, UpstreamTlsError::NotYetValid), "{error}");
    assert_eq!(error.client_alert(), AlertDescription::CertificateExpired);

    let error = failure(&pki, &pki.server(&["other.example.com"], Validity::Valid).unwrap()).await;
    assert!(matches!(&error, UpstreamTlsError::WrongHost(names) if names.contains("other.example.com")), "{error}");
    assert_eq!(error.client_alert(), AlertDescription::BadCertificate);

    for unknown in [
        TestPki::self_signed(&[NAME]).unwrap(),
        TestPki::self_signed_ca(&[NAME]).unwrap(),
        stranger.server(&[NAME], Validity::Valid).unwrap(),
        pki.incomplete_chain(&[NAME]).unwrap(),
    ] {
        let error = failure(&pki, &unknown).await;
        assert!(matches!(error, UpstreamTlsError::UnknownIssuer), "{error}");
        assert_eq!(error.client_alert(), AlertDescription::UnknownCA);
    }
}

#[tokio::test]
async fn the_own_root_verifies_no_upstream() {
    let own = TestPki::new().unwrap();
    let server = own.server(&[NAME], Validity::Valid).unwrap();
    connect(&trusting(&own, &[]), &server).await.unwrap();
    let error = connect(&trusting(&own, &[own.root().clone()]), &server).await.map(drop).unwrap_err();
    assert!(matches!(error, UpstreamTlsError::UnknownIssuer), "{error}");
}

#[tokio::test]
async fn the_first_common_protocol_of_the_client_is_not_imposed_on_the_server() {
    let pki = TestPki::new().unwrap();
    let server = pki.server(&[NAME], Validity::Valid).unwrap();
    let offered = [b"h2".to_vec(), b"http/1.1".to_vec()];
    for (spoken, agreed) in [(&["http/1.1"][..], Some("http/1.1")), (&["h2", "http/1.1"], Some("h2")), (&[], None)] {
        let io = serve(server_config(&server, spoken));
        let name = ServerName::try_from(NAME).unwrap();
        let stream = trusting(&pki, &[]).connect(io, name, &offered, deadline()).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed.map(str::as_bytes));
    }
}

#[tokio::test]
async fn a_server_without_a_common_protocol_refuses_and_the_client_is_told_so() {
    let pki = TestPki::new().unwrap();
    let io = serve(server_config(&pki.server(&[NAME], Validity::Valid).unwrap(), &["x-own"]));
    let name = ServerName::try_from(NAME).unwrap();
    let error = trusting(&pki, &[]).connect(io, name, &[b"h2".to_vec()], deadline()).await.unwrap_err();
    assert!(matches!(error, UpstreamTlsError::Alert(AlertDescription::NoApplicationProtocol)), "{error}");
    assert_eq!(error.client_alert(), AlertDescription::NoApplicationProtocol);
}

#[tokio::test]
async fn what_is_not_tls_closes_or_stalls_is_told_apart() {
    let pki = TestPki::new().unwrap();
    let upstream = trusting(&pki, &[]);
    let name = || ServerName::try_from(NAME).unwrap();

    let (client, mut server) = duplex(64 << 10);
    server.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let error = upstream.connect(client, name(), &[], deadline()).await.unwrap_err();
    assert!(matches!(error, UpstreamTlsError::Protocol { .. }), "{error}");

    let (client, mut server) = duplex(64 << 10);
    tokio::spawn(async move { server.read(&mut [0; 4096]).await });
    let error = upstream.connect(client, name(), &[], deadline()).await.unwrap_err();
    assert!(matches!(error, UpstreamTlsError::Closed), "{error}");

    let (client, _server) = duplex(64 << 10);
    let error = upstream.connect(client, name(), &[], Instant::now()).await.unwrap_err();
    assert!(matches!(error, UpstreamTlsError::Timeout), "{error}");
    assert_eq!(error.client_alert(), AlertDescription::InternalError);
}

#[tokio::test]
async fn nothing_is_resumed() {
    let pki = TestPki::new().unwrap();
    let server = pki.server(&[NAME], Validity::Valid).unwrap();
    let upstream = trusting(&pki, &[]);
    for _ in 0..2 {
        let stream = connect(&upstream, &server).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[test]
fn root_files_that_hold_no_root_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roots.pem");
    let upstreams = Upstreams::without_system_roots(&[]).unwrap();
    let missing = upstreams.endpoint(Some(&path), None).err().unwrap();
    assert!(matches!(&missing, RootsError::File { .. }) && missing.to_string().contains("roots.pem"), "{missing}");
    std::fs::write(&path, "no certificate\n").unwrap();
    let empty = upstreams.endpoint(Some(&path), None).err().unwrap();
    assert!(empty.to_string().contains("no certificate in it"), "{empty}");
}
