//! Whom a client believes to be its broker.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Sessions kept for resumption: one for each name and version is enough for a client of one broker.
const RESUMED_SESSIONS: usize = 4;

/// The protocol that the client asks for within TLS (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// `mqtt`
    Mqtt,
    /// `http/1.1`
    Http1,
}

impl Alpn {
    fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Mqtt => b"mqtt",
            Self::Http1 => b"http/1.1",
        }
    }
}

/// The certificate authorities that a client accepts.
#[derive(Clone)]
pub struct Trust {
    roots: Arc<RootCertStore>,
}

/// Says why there is nobody to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("cannot read the CA file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It holds no certificate.
    #[error("there is no certificate in {0}; a CA in PEM begins with -----BEGIN CERTIFICATE-----")]
    Empty(String),
    /// It holds something that is no certificate authority.
    #[error("{origin} cannot be used as a CA: {why}")]
    Invalid {
        /// Where it came from.
        origin: String,
        /// What is wrong.
        why: String,
    },
    /// The operating system offers no root certificates.
    #[error("the system's root certificates cannot be used: {0}")]
    System(String),
    /// TLS itself refused its settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Trust {
    /// Trusts the CA certificates of a PEM file.
    pub fn from_file(path: &Path) -> Result<Self, TrustError> {
        let pem = std::fs::read(path).map_err(|source| TrustError::Read { path: path.into(), source })?;
        Self::parse(&pem, &path.display().to_string())
    }

    /// Trusts the CA certificates of a PEM text.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TrustError> {
        Self::parse(pem, "the CA in PEM")
    }

    /// Trusts what the operating system trusts (also `SSL_CERT_FILE` and `SSL_CERT_DIR`).
    pub fn system() -> Result<Self, TrustError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Systems commonly carry a few old roots that no current parser takes; the rest is good.
        let (added, ignored) = roots.add_parsable_certificates(found.certs);
        tracing::debug!(added, ignored, errors = found.errors.len(), "system roots loaded");
        if added == 0 {
            let why = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
            return Err(TrustError::System(why));
        }
        Ok(Self { roots: Arc::new(roots) })
    }

    fn parse(pem: &[u8], origin: &str) -> Result<Self, TrustError> {
        let invalid = |why: String| TrustError::Invalid { origin: origin.to_owned(), why };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
            roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(TrustError::Empty(origin.to_owned()));
        }
        Ok(Self { roots: Arc::new(roots) })
    }

    /// Makes the TLS settings: TLS 1.2 and 1.3, resumption on, `alpn` asked for.
    pub fn client_config(&self, alpn: Alpn) -> Result<Arc<ClientConfig>, TrustError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        config.resumption = Resumption::in_memory_sessions(RESUMED_SESSIONS);
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("roots", &self.roots.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_file_and_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let text = Trust::from_file(&path).unwrap_err().to_string();
        assert!(text.contains("ca.pem") && text.contains("No such file"), "{text}");
        std::fs::write(&path, "hello").unwrap();
        let text = Trust::from_file(&path).unwrap_err().to_string();
        assert!(text.contains("no certificate in") && text.contains("ca.pem"), "{text}");
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let text = Trust::from_file(&path).unwrap_err().to_string();
        assert!(text.contains("cannot be used as a CA"), "{text}");
    }
}
