//! Whom a client believes to be its broker.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

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
    /// Those of somebody between who opens TLS.
    extra: Option<Arc<RootCertStore>>,
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
        Ok(Self { roots: Arc::new(roots), extra: None })
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
        Ok(Self { roots: Arc::new(roots), extra: None })
    }

    /// Accepts also what `extra` vouches for, where the trust itself does not: the certificates that a proxy makes
    /// which opens TLS. A connection that is trusted so tells it.
    #[must_use]
    pub fn with_extra(mut self, extra: &Self) -> Self {
        self.extra = Some(Arc::clone(&extra.roots));
        self
    }

    /// Returns what to believe a proxy's own certificate by: all of this, and what the system trusts.
    fn for_proxies(&self) -> Self {
        let mut roots = RootCertStore::clone(&self.roots);
        if let Some(extra) = &self.extra {
            roots.extend(extra.roots.iter().cloned());
        }
        match Self::system() {
            Ok(system) => roots.extend(system.roots.roots.iter().cloned()),
            Err(error) => tracing::debug!(%error, "a proxy's certificate is looked at without them"),
        }
        Self { roots: Arc::new(roots), extra: None }
    }

    /// Makes the TLS settings for a proxy itself.
    pub(crate) fn proxy_config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        self.for_proxies().client_config(Alpn::Http1)
    }

    /// Makes the TLS settings: TLS 1.2 and 1.3, resumption on, `alpn` asked for.
    pub fn client_config(&self, alpn: Alpn) -> Result<Arc<ClientConfig>, TrustError> {
        let builder =
            ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match &self.extra {
            None => builder.with_root_certificates(Arc::clone(&self.roots)),
            Some(extra) => {
                let either = Either { own: verifier(&self.roots)?, extra: verifier(extra)? };
                builder.dangerous().with_custom_certificate_verifier(Arc::new(either))
            }
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        config.resumption = Resumption::in_memory_sessions(RESUMED_SESSIONS);
        Ok(Arc::new(config))
    }

    /// Tells whether certificates that were accepted are trusted only because of the extra CA.
    pub(crate) fn is_by_extra(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> bool {
        let Some((first, others)) = chain.split_first().filter(|_| self.extra.is_some()) else {
            return false;
        };
        verifier(&self.roots)
            .is_ok_and(|own| own.verify_server_cert(first, others, name, &[], UnixTime::now()).is_err())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn verifier(roots: &Arc<RootCertStore>) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
    WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))
}

/// Believes the extra CA where its own do not vouch for a certificate.
#[derive(Debug)]
struct Either {
    own: Arc<WebPkiServerVerifier>,
    extra: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Either {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let by = |verifier: &WebPkiServerVerifier| {
            verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now)
        };
        by(&self.own).or_else(|own| {
            let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
            // If that is all it says, the extra CA has nothing to do with it.
            by(&self.extra).map_err(|extra| if extra == unknown { own } else { extra })
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.own.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.own.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.own.supported_verify_schemes()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extra = self.extra.as_ref().map_or(0, |extra| extra.len());
        f.debug_struct("Trust").field("roots", &self.roots.len()).field("extra", &extra).finish()
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
