use std::sync::Arc;

use proptest::prelude::*;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    client::{EchGreaseConfig, EchMode},
    crypto::{aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_128, hpke::Hpke},
    pki_types::ServerName,
};

use super::*;
use crate::tls::{VERSIONS, provider};

/// The first flight of a real client.
fn first_flight(config: ClientConfig, name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn hello(name: &str, alpn: &[&str]) -> Vec<u8> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    first_flight(config, name)
}

fn hello_with_ech_grease(name: &str) -> Vec<u8> {
    let suite = DH_KEM_X25519_HKDF_SHA256_AES_128;
    let (public_key, _) = suite.generate_key_pair().unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_ech(EchMode::Grease(EchGreaseConfig::new(suite, public_key)))
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    first_flight(config, name)
}

/// The same handshake bytes in records of at most `size` bytes each.
fn in_records_of(flight: &[u8], size: usize) -> Vec<u8> {
    let (header, payload) = flight.split_at(5);
    payload
        .chunks(size)
        .flat_map(|chunk| [&header[..3], &u16::try_from(chunk.len()).unwrap().to_be_bytes(), chunk].concat())
        .collect()
}

fn expected(name: &str, alpn: &[&str]) -> Sniff {
    Sniff::Hello(ClientHello {
        sni: Some(name.to_owned()),
        alpn: alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect(),
        ech: false,
    })
}

#[test]
fn a_hello_tells_its_name_and_its_protocols_in_order() {
    let alpn = ["h2", "http/1.1"];
    assert_eq!(ClientHello::sniff(&hello("MCP.Example.com", &alpn)), expected("mcp.example.com", &alpn));
    let alpn = ["http/1.1", "h2", "x-own"];
    assert_eq!(ClientHello::sniff(&hello("mcp.example.com", &alpn)), expected("mcp.example.com", &alpn));
}

#[test]
fn a_client_of_an_address_sends_no_name() {
    let Sniff::Hello(hello) = ClientHello::sniff(&hello("192.0.2.7", &[])) else { panic!("no hello") };
    assert_eq!((hello.sni, hello.alpn), (None, Vec::new()));
}

#[test]
fn encrypted_client_hello_is_noticed() {
    let flight = hello_with_ech_grease("mcp.example.com");
    for size in [1, 100, flight.len()] {
        let Sniff::Hello(hello) = ClientHello::sniff(&in_records_of(&flight, size)) else { panic!("no hello") };
        assert!(hello.ech);
    }
}

#[test]
fn nothing_is_incomplete_and_other_protocols_are_not_tls() {
    assert_eq!(ClientHello::sniff(b""), Sniff::Incomplete);
    assert_eq!(ClientHello::sniff(&[22]), Sniff::Incomplete);
    for other in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0", b"SSH-2.0-", &[22, 2, 1], &[0x80, 0x2e, 1, 3, 1]] {
        assert_eq!(ClientHello::sniff(other), Sniff::NotTls);
    }
}

#[test]
fn what_only_begins_like_tls_is_invalid_and_says_which_alert() {
    let server_hello_done = [22, 3, 1, 0, 4, 14, 0, 0, 0];
    let empty_client_hello = [22, 3, 1, 0, 4, 1, 0, 0, 0];
    for (bytes, alert) in
        [(server_hello_done, AlertDescription::UnexpectedMessage), (empty_client_hello, AlertDescription::DecodeError)]
    {
        let Sniff::Invalid(invalid) = ClientHello::sniff(&bytes) else { panic!("taken for a hello") };
        assert_eq!(invalid.alert, alert, "{invalid}");
    }
}

#[test]
fn a_hello_that_does_not_end_is_invalid_at_the_bound() {
    let claims_16_mib = [&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0; 0x3ffc]].concat();
    let endless: Vec<u8> = claims_16_mib.iter().copied().cycle().take(MAX_HELLO).collect();
    assert!(matches!(ClientHello::sniff(&endless), Sniff::Invalid(_)));
    let drip = in_records_of(&[&[22, 3, 1, 0, 0, 1, 0, 0xf0, 0][..], &[0; 60_000]].concat(), 1);
    assert!(matches!(ClientHello::sniff(&drip[..MAX_HELLO]), Sniff::Invalid(_)));
}

proptest! {
    #[test]
    fn any_part_is_incomplete_and_any_cutting_into_records_reads_the_same(
        cut in 0.0..1.0f64, size in 1usize..600, trailing in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let alpn = ["h2", "http/1.1"];
        let whole = in_records_of(&hello("mcp.example.com", &alpn), size);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
            reason = "a position within a few hundred bytes")]
        let part = &whole[..(whole.len() as f64 * cut) as usize];
        prop_assert_eq!(ClientHello::sniff(part), Sniff::Incomplete);
        prop_assert_eq!(ClientHello::sniff(&[whole, trailing].concat()), expected("mcp.example.com", &alpn));
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        ClientHello::sniff(&bytes);
        ClientHello::sniff(&[&[22, 3, 1][..], &bytes].concat());
        extensions::contains(&[&[22, 3, 1][..], &bytes].concat(), ENCRYPTED_CLIENT_HELLO);
    }

    #[test]
    fn no_damage_causes_a_panic(at in any::<proptest::sample::Index>(), value in any::<u8>()) {
        let mut flight = hello("mcp.example.com", &["h2"]);
        let at = at.index(flight.len());
        flight[at] = value;
        ClientHello::sniff(&flight);
        extensions::contains(&flight, ENCRYPTED_CLIENT_HELLO);
    }
}
