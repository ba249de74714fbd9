//! How the broker's doors speak TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring as provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};

/// ALPN's name for MQTT.
pub const ALPN_MQTT: &[u8] = b"mqtt";
/// ALPN's name for HTTP/2.
pub const ALPN_HTTP2: &[u8] = b"h2";
/// ALPN's name for HTTP/1.1.
pub const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum ServerConfigError {
    /// A file could not be read as PEM.
    #[error("{path}: not readable as PEM")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What the reader said.
        #[source]
        source: pem::Error,
    },
    /// A file of certificates holds none.
    #[error("{path}: holds no certificate")]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// The key is of a kind that is not supported, or does not belong to the certificate.
    #[error("{key}: of no use with the certificate {certificate}")]
    Key {
        /// The key's file.
        key: PathBuf,
        /// The certificates' file.
        certificate: PathBuf,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// The cryptography provider failed: no random numbers, most likely.
    #[error("the TLS provider failed")]
    Provider(#[source] rustls::Error),
}

/// Builds the configuration of all doors from a certificate chain (leaf first) and its key, both PEM.
///
/// TLS 1.2 and 1.3 by `ring`, ALPN `mqtt`, `h2` and `http/1.1`; resumption by stateless tickets alone, so that nothing
/// is kept in memory for clients that are gone; no early data and nothing sent before the client has finished.
///
/// # Errors
/// Each names the file that is at fault.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, ServerConfigError> {
    let pem_error = |path: &Path| {
        let path = path.to_owned();
        move |source| ServerConfigError::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(pem_error(certificate))?;
    if chain.is_empty() {
        return Err(ServerConfigError::NoCertificate { path: certificate.to_owned() });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(pem_error(key))?;

    let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(ServerConfigError::Provider)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|source| ServerConfigError::Key {
            key: key.to_owned(),
            certificate: certificate.to_owned(),
            source,
        })?;
    config.alpn_protocols = [ALPN_MQTT, ALPN_HTTP2, ALPN_HTTP1].map(<[u8]>::to_vec).into();
    config.ticketer = provider::Ticketer::new().map_err(ServerConfigError::Provider)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    Ok(Arc::new(config))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    /// A certificate for `localhost`, made for one test, and the configuration that uses it.
    pub(crate) fn localhost() -> (Arc<ServerConfig>, CertificateDer<'static>) {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let pair = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&pair).unwrap();
        std::fs::write(&certificate, made.pem()).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        (server_config(&certificate, &key).unwrap(), made.der().clone())
    }

    #[test]
    fn errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let pair = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&pair).unwrap();
        std::fs::write(path("good.pem"), made.pem()).unwrap();
        std::fs::write(path("good.key"), pair.serialize_pem()).unwrap();
        std::fs::write(path("other.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        std::fs::write(path("empty.pem"), "nothing\n").unwrap();

        let told = |certificate: &str, key: &str| {
            server_config(&path(certificate), &path(key)).unwrap_err().to_string()
        };
        assert!(told("missing.pem", "good.key").contains("missing.pem"));
        assert!(told("empty.pem", "good.key").contains("empty.pem"));
        assert!(told("good.pem", "missing.key").contains("missing.key"));
        assert!(told("good.pem", "empty.pem").contains("empty.pem"));
        assert!(told("good.pem", "other.key").contains("other.key"));
        assert!(server_config(&path("good.pem"), &path("good.key")).is_ok());
    }
}
