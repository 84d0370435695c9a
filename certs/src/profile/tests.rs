//! The profiles as other people's verifiers see them.

use std::{fs, path::Path, process::Command};

use rustls_pki_types::ServerName;

use super::*;
use crate::{Error, Facts, Host, Key, certificate_pem};

fn now() -> SystemTime {
    SystemTime::now()
}

fn hosts(names: &[&str]) -> Vec<Host> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn name(text: &str) -> ServerName<'static> {
    ServerName::try_from(text.to_owned()).unwrap()
}

/// `root.pem`, `intermediate.pem`, `leaf.pem` and `chain.pem`, `leaf.key` in `dir`.
fn write_chain(dir: &Path, root: &Root, intermediate: &Intermediate, leaf: &Leaf) {
    let [root, intermediate, certificate] =
        [root.certificate(), intermediate.certificate(), &leaf.certificate].map(|der| certificate_pem(der));
    fs::write(dir.join("chain.pem"), format!("{certificate}{intermediate}")).unwrap();
    fs::write(dir.join("root.pem"), root).unwrap();
    fs::write(dir.join("intermediate.pem"), intermediate).unwrap();
    fs::write(dir.join("leaf.pem"), certificate).unwrap();
    fs::write(dir.join("leaf.key"), leaf.key.to_pem().as_bytes()).unwrap();
}

/// What `openssl verify` says of a leaf for `server` under an intermediate for `permitted`.
fn openssl_verdict(permitted: &[&str], server: &str) -> Result<(), String> {
    let root = Root::generate(now()).unwrap();
    let intermediate = root.issue(&hosts(permitted), now()).unwrap();
    let leaf = intermediate.sign(&name(server), now()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    write_chain(dir.path(), &root, &intermediate, &leaf);
    let check = if server.parse::<std::net::IpAddr>().is_ok() { "-verify_ip" } else { "-verify_hostname" };
    let output = Command::new("openssl")
        .current_dir(dir.path())
        .args(["verify", "-x509_strict", "-purpose", "sslserver", check, server])
        .args(["-CAfile", "root.pem", "-untrusted", "intermediate.pem", "leaf.pem"])
        .output()
        .expect("openssl runs");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn openssl_accepts_each_kind_of_permitted_host_strictly() {
    let permitted = ["mcp.example.com", "*.tools.example.com", "192.0.2.7", "2001:db8::7"];
    for server in ["mcp.example.com", "a.tools.example.com", "192.0.2.7", "2001:db8::7"] {
        openssl_verdict(&permitted, server).unwrap();
    }
}

#[test]
fn openssl_refuses_what_the_constraints_leave_out() {
    let long = format!("{}.example.net", "a".repeat(60));
    for (permitted, server) in [
        (&["mcp.example.com"][..], "other.example.com"),
        (&["mcp.example.com"], "mcp.example.com.example.net"),
        (&["mcp.example.com"], &long),
        (&["mcp.example.com"], "192.0.2.7"),
        (&["mcp.example.com"], "2001:db8::7"),
        (&["192.0.2.7"], "192.0.2.8"),
        (&["192.0.2.7"], "2001:db8::7"),
        (&["192.0.2.7"], "mcp.example.com"),
        (&["2001:db8::7"], "192.0.2.7"),
        (&[], "mcp.example.com"),
        (&[], "192.0.2.7"),
    ] {
        let refusal = openssl_verdict(permitted, server).expect_err(server);
        assert!(refusal.contains("subtree violation"), "{permitted:?} {server}: {refusal}");
    }
}

#[test]
fn names_longer_than_a_common_name_are_accepted() {
    let long = format!("{}.{}.example.com", "a".repeat(60), "b".repeat(60));
    openssl_verdict(&[&long], &long).unwrap();
}

/// A handshake in memory between two contexts of Python's `ssl`, the client as strict as Python 3.13's default.
const PYTHON_HANDSHAKE: &str = r#"
import ssl, sys
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain("chain.pem", "leaf.key")
client = ssl.create_default_context(cafile="root.pem")
client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
sides = [client.wrap_bio(a, b, server_hostname=sys.argv[1]), server.wrap_bio(b, a, server_side=True)]
while sides:
    for side in list(sides):
        try:
            side.do_handshake()
            sides.remove(side)
        except ssl.SSLWantReadError:
            pass
"#;

#[test]
fn python_accepts_the_chain_strictly() {
    for server in ["mcp.example.com", "192.0.2.7"] {
        let root = Root::generate(now()).unwrap();
        let intermediate = root.issue(&hosts(&[server]), now()).unwrap();
        let leaf = intermediate.leaf(&name(server), now()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        write_chain(dir.path(), &root, &intermediate, &leaf);
        let output = Command::new("python3")
            .current_dir(dir.path())
            .args(["-c", PYTHON_HANDSHAKE, server])
            .output()
            .expect("python3 runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn an_intermediate_refuses_to_sign_what_no_client_would_accept() {
    let intermediate = Root::generate(now()).unwrap().issue(&hosts(&["mcp.example.com"]), now()).unwrap();
    let error = intermediate.leaf(&name("other.example.com"), now()).err().unwrap();
    assert!(matches!(&error, Error::NotPermitted { .. }), "{error}");
    assert!(error.to_string().contains("only mcp.example.com"), "{error}");
}

#[test]
fn no_certificate_outlives_its_profile_or_its_issuer() {
    let root = Root::generate(now()).unwrap();
    let late = root.facts().not_after - Duration::from_hours(48);
    for moment in [now(), late] {
        let intermediate = root.issue(&hosts(&["a.example"]), moment).unwrap();
        let life = intermediate.period().not_after.duration_since(intermediate.period().not_before).unwrap();
        assert!(life <= INTERMEDIATE_LIFE && intermediate.period().not_after <= root.facts().not_after);
        let last_hour = intermediate.period().not_after - Duration::from_hours(1);
        for moment in [moment, last_hour] {
            let leaf = intermediate.leaf(&name("a.example"), moment).unwrap();
            let facts = Facts::of(&leaf.certificate).unwrap();
            let life = facts.not_after.duration_since(facts.not_before).unwrap();
            assert!(life <= LEAF_LIFE && facts.not_after <= intermediate.period().not_after);
            assert!(facts.not_before <= moment - BACKDATE || facts.not_before == intermediate.period().not_before);
        }
    }
}

#[test]
fn an_expired_issuer_signs_nothing() {
    let root = Root::generate(now()).unwrap();
    let intermediate = root.issue(&hosts(&["a.example"]), now()).unwrap();
    let after = intermediate.period().not_after + Duration::from_secs(1);
    assert!(matches!(intermediate.leaf(&name("a.example"), after), Err(Error::IssuerExpired(_))));
    let after = root.facts().not_after + Duration::from_secs(1);
    assert!(matches!(root.issue(&[], after), Err(Error::IssuerExpired(_))));
}

#[test]
fn serials_are_random_and_wide() {
    let intermediate = Root::generate(now()).unwrap().issue(&hosts(&["a.example"]), now()).unwrap();
    let serial = || Facts::of(&intermediate.leaf(&name("a.example"), now()).unwrap().certificate).unwrap().serial;
    let (one, other) = (serial(), serial());
    assert_ne!(one, other);
    assert!(one.len() > 24, "{one} has fewer than 96 bits");
}

#[test]
fn issuers_survive_pem_and_stay_what_they_are() {
    let root = Root::generate(now()).unwrap();
    let intermediate = root.issue(&hosts(&["a.example", "192.0.2.7"]), now()).unwrap();
    let root_pem = certificate_pem(root.certificate());
    let intermediate_pem = certificate_pem(intermediate.certificate());

    let root = Root::from_pem(&root_pem, &root.key().to_pem()).unwrap();
    assert!(root.issue(&hosts(&["b.example"]), now()).is_ok());
    let read = Intermediate::from_pem(&intermediate_pem, &intermediate.key().to_pem()).unwrap();
    assert_eq!(read.permitted(), hosts(&["a.example", "192.0.2.7"]));

    assert!(matches!(Intermediate::from_pem(&root_pem, &root.key().to_pem()), Err(Error::WrongKind(..))));
    assert!(matches!(Root::from_pem(&intermediate_pem, &intermediate.key().to_pem()), Err(Error::WrongKind(..))));
    let stranger = Key::generate().unwrap();
    assert!(matches!(Root::from_pem(&root_pem, &stranger.to_pem()), Err(Error::KeyMismatch)));
}
