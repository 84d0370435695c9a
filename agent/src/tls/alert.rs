//! Alerts that are sent without a TLS session.

use rustls::AlertDescription;

/// A fatal alert as a plaintext record (RFC 5246 §7.2, RFC 8446 §6), for a client whose hello was read and whose handshake
/// will not be answered.
pub fn fatal_alert(description: AlertDescription) -> [u8; 7] {
    const ALERT: u8 = 21;
    const TLS_1_2: [u8; 2] = [3, 3];
    const LENGTH: [u8; 2] = [0, 2];
    const FATAL: u8 = 2;
    [ALERT, TLS_1_2[0], TLS_1_2[1], LENGTH[0], LENGTH[1], FATAL, description.into()]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, Error, RootCertStore, pki_types::ServerName};

    use super::*;

    #[test]
    fn a_client_reads_the_alert_in_answer_to_its_hello() {
        let config = ClientConfig::builder_with_provider(crate::tls::provider())
            .with_protocol_versions(crate::tls::VERSIONS)
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from("mcp.example.com").unwrap();
        for alert in [AlertDescription::UnknownCA, AlertDescription::CertificateExpired] {
            let mut client = ClientConnection::new(Arc::new(config.clone()), name.clone()).unwrap();
            client.write_tls(&mut Vec::new()).unwrap();
            client.read_tls(&mut &fatal_alert(alert)[..]).unwrap();
            assert_eq!(client.process_new_packets().unwrap_err(), Error::AlertReceived(alert));
        }
    }
}
