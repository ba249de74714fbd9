//! Who issued a certificate, for a person to read (RFC 5280 §4.1.2.4).

/// Tags of DER (X.690 §8.1.2).
const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The version of a certificate (RFC 5280 §4.1).
const VERSION: u8 = 0xA0;
/// The attributes that are told, in this order of preference: commonName, organizationName, organizationalUnitName.
const ATTRIBUTES: [&[u8]; 3] = [&[0x55, 4, 3], &[0x55, 4, 10], &[0x55, 4, 11]];
/// Longest name that is told, in characters.
const LEN_MAX: usize = 80;

/// Returns the name of who issued a certificate: its common name and its organisation, as far as they are there.
pub(super) fn issuer(certificate: &[u8]) -> Option<String> {
    let (whole, _) = open(certificate, SEQUENCE)?;
    let (mut fields, _) = open(whole, SEQUENCE)?;
    if let Some((_, rest)) = open(fields, VERSION) {
        fields = rest;
    }
    let (_serial, rest) = open(fields, INTEGER)?;
    let (_algorithm, rest) = open(rest, SEQUENCE)?;
    let (mut sets, _) = open(rest, SEQUENCE)?;
    let mut found = [const { None }; ATTRIBUTES.len()];
    while !sets.is_empty() {
        let (mut set, rest) = open(sets, SET)?;
        sets = rest;
        while !set.is_empty() {
            let (pair, rest) = open(set, SEQUENCE)?;
            set = rest;
            let (kind, value) = open(pair, OBJECT_ID)?;
            if let Some(at) = ATTRIBUTES.iter().position(|attribute| *attribute == kind) {
                let (_, text, _) = element(value)?;
                found[at].get_or_insert_with(|| readable(text));
            }
        }
    }
    let names: Vec<String> = found.into_iter().flatten().filter(|name| !name.is_empty()).take(2).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Returns the content of the first element if it has that tag, and what is behind it.
fn open(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Returns the first element's tag and content, and what is behind it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// Returns what somebody else wrote, as it can be logged.
fn readable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(LEN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, Issuer, KeyPair};

    use super::*;

    fn issued_by(names: &[(DnType, &str)]) -> Vec<u8> {
        let mut distinguished = DistinguishedName::new();
        for (kind, name) in names {
            distinguished.push(kind.clone(), *name);
        }
        let (own, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(vec!["ca".to_owned()]).unwrap();
        params.distinguished_name = distinguished;
        let issuer = Issuer::new(params, key);
        let made =
            CertificateParams::new(vec!["broker".to_owned()]).unwrap().signed_by(&own, &issuer).unwrap();
        made.der().to_vec()
    }

    #[test]
    fn common_name_and_organisation_are_told() {
        for (names, expected) in [
            (
                &[(DnType::CommonName, "Corp Root"), (DnType::OrganizationName, "Corp")][..],
                Some("Corp Root, Corp"),
            ),
            (&[(DnType::OrganizationName, "Corp\n\x1b"), (DnType::CountryName, "FR")], Some("Corp")),
            (&[(DnType::OrganizationalUnitName, "Proxies")], Some("Proxies")),
            (&[(DnType::CountryName, "FR")], None),
            (&[], None),
        ] {
            assert_eq!(issuer(&issued_by(names)).as_deref(), expected);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_issuer() {
        let whole = issued_by(&[(DnType::CommonName, "x")]);
        assert!(issuer(&whole).is_some());
        for cut in 0..whole.len() - 1 {
            assert_eq!(issuer(&whole[..cut]), None, "{cut}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xFF;
            // Whatever it finds, it ends.
            issuer(&bytes);
        }
    }
}
