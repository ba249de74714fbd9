//! `wakemqd health`: asks a running broker whether it serves, as a client meets it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned,
};
use wakemq_broker::config::Config;
use wakemq_broker::init;
use wakemq_broker::transport::server_config::ALPN_HTTP1;

use crate::cli::HealthArgs;
use crate::exit::{self, Exit};
use crate::serve;

/// Time limit of each step of one address: to be connected, and each wait for the broker's next bytes.
const LIMIT: Duration = Duration::from_secs(3);
/// Longest status line that is read.
const LINE_MAX: u64 = 1024;

/// One address at which the broker does not serve.
#[derive(Debug, thiserror::Error)]
#[error("the broker does not serve at {0}")]
pub(crate) struct NotServing(SocketAddr);

/// Prints how the broker is. Whatever is wrong has one exit code: containers know no other.
pub(crate) fn tell(args: &HealthArgs) -> anyhow::Result<Exit> {
    match check(args) {
        Ok(asked) => crate::say(&format!("serves at {}\n", asked.join(", "))),
        Err(error) => {
            exit::report(&error);
            Ok(Exit::Failed)
        }
    }
}

fn check(args: &HealthArgs) -> anyhow::Result<Vec<String>> {
    init::check(&args.data)?;
    let config = serve::load_config(&args.data, args.config.as_deref())?;
    let listen = if args.listen.is_empty() { &config.listen.addresses } else { &args.listen };
    let name = config
        .advertise
        .endpoints
        .first()
        .map_or_else(init::host_name, |endpoint| endpoint.host_name().to_owned());
    let tls = client_config(&args.data, &config)?;
    let mut asked = Vec::new();
    for &address in listen {
        ask(address, &name, &tls).context(NotServing(address))?;
        asked.push(address.to_string());
    }
    Ok(asked)
}

fn ask(address: SocketAddr, name: &str, tls: &Arc<ClientConfig>) -> anyhow::Result<()> {
    let server = ServerName::try_from(name.to_owned()).with_context(|| format!("the name {name}"))?;
    let tcp = connect(address)?;
    tcp.set_read_timeout(Some(LIMIT))?;
    tcp.set_write_timeout(Some(LIMIT))?;
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::clone(tls), server)?, tcp);
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("TLS")?;
    let mut line = String::new();
    BufReader::new(stream).take(LINE_MAX).read_line(&mut line).context("no answer")?;
    ensure!(line.starts_with("HTTP/1.1 200 "), "it answered {:?}", line.trim_end());
    Ok(())
}

/// Connects to where a broker listens, on this machine.
fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let to = |ip: IpAddr| TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), LIMIT);
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => to(Ipv4Addr::LOCALHOST.into()),
        // `[::]` takes IPv4 in, and stands for it alone where there is no IPv6.
        IpAddr::V6(ip) if ip.is_unspecified() => {
            to(Ipv4Addr::LOCALHOST.into()).or_else(|_| to(Ipv6Addr::LOCALHOST.into()))
        }
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => to(ip),
    }
}

/// Trusts what agents are told to trust. What they know from their systems this machine need not know: then the
/// broker only has to own the certificate that it shows.
fn client_config(data: &Path, config: &Config) -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut tls = if config.advertise.use_system_roots {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth()
    } else {
        let path = data.join(&config.advertise.ca);
        let unreadable = || format!("{}: the CA that agents are given cannot be read", path.display());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&path).with_context(unreadable)? {
            roots.add(certificate.with_context(unreadable)?).with_context(unreadable)?;
        }
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    tls.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    Ok(Arc::new(tls))
}

/// Accepts every certificate whose key the other side has.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
