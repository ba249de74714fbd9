//! The broker's own CA and the server's certificate.

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use ring::digest::{SHA256, digest};
use time::{Duration, OffsetDateTime};
use wakemq_protocol::Timestamp;

/// How long the CA is valid. Agents keep a copy of it, so that it outlives most of them.
const CA_DAYS: i64 = 3650;
/// How long the server's certificate is valid: the longest that Apple's TLS accepts, below a private CA too.
const SERVER_DAYS: i64 = 825;
/// How far back validity begins, for clients whose clock is slow.
const BEFORE_DAYS: i64 = 1;
/// Longest common name (RFC 5280 appendix A.1, `ub-common-name`).
const COMMON_NAME_MAX: usize = 64;

/// A CA: ECDSA on P-256.
pub(super) struct Ca {
    params: CertificateParams,
    key: KeyPair,
}

impl Ca {
    pub(super) fn generate(now: Timestamp) -> Result<Self, rcgen::Error> {
        Self::with_key(KeyPair::generate()?, now)
    }

    /// Takes up a CA again that this module made: its name follows from its key.
    pub(super) fn from_key_pem(pem: &str, now: Timestamp) -> Result<Self, rcgen::Error> {
        Self::with_key(KeyPair::from_pem(pem)?, now)
    }

    fn with_key(key: KeyPair, now: Timestamp) -> Result<Self, rcgen::Error> {
        let fingerprint: String = digest(&SHA256, key.public_key_raw()).as_ref()[..4]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let mut params = valid(CA_DAYS, now)?;
        params.distinguished_name = named(&format!("WakeMQ CA {fingerprint}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self { params, key })
    }

    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(super) fn certificate_pem(&self) -> Result<String, rcgen::Error> {
        Ok(self.params.self_signed(&self.key)?.pem())
    }

    /// Issues a server's certificate for host names and IP addresses.
    pub(super) fn issue(
        &self,
        server: &KeyPair,
        names: &[String],
        now: Timestamp,
    ) -> Result<String, rcgen::Error> {
        let mut params = valid(SERVER_DAYS, now)?;
        let common = names.iter().find(|name| name.len() <= COMMON_NAME_MAX);
        params.distinguished_name = named(common.map_or("wakemqd", String::as_str));
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(server, &Issuer::from_params(&self.params, &self.key))?.pem())
    }
}

fn valid(days: i64, now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let now = OffsetDateTime::from_unix_timestamp(now.unix_ms() / 1000).map_err(|_| rcgen::Error::Time)?;
    let mut params = CertificateParams::default();
    params.not_before = now - Duration::days(BEFORE_DAYS);
    params.not_after = now + Duration::days(days);
    Ok(params)
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn alternative(name: &str) -> Result<SanType, rcgen::Error> {
    Ok(match name.parse() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(Ia5String::try_from(name)?),
    })
}
