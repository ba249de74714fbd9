//! A user name and a password for a proxy.

use std::fmt;
use std::str::FromStr;

/// Longest user name or password, in bytes: what SOCKS5 has room for (RFC 1929 §2).
const LEN_MAX: usize = 255;

/// A user name and a password for a proxy; never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    user: Box<str>,
    password: Box<str>,
}

/// Says why a text holds no credentials; the text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a user name and a password: {0}; expected USER:PASSWORD")]
pub struct ParseCredentialsError(&'static str);

impl Credentials {
    /// Makes credentials of what is sent as it is.
    pub fn new(user: &str, password: &str) -> Result<Self, ParseCredentialsError> {
        let err = |why| Err(ParseCredentialsError(why));
        match (user, password) {
            ("", _) => err("the user name is empty"),
            _ if user.len() > LEN_MAX || password.len() > LEN_MAX => err("more than 255 bytes"),
            _ if user.contains(':') => err("a colon in the user name"),
            _ if user.chars().chain(password.chars()).any(char::is_control) => err("a control character"),
            _ => Ok(Self { user: user.into(), password: password.into() }),
        }
    }

    /// Returns the user name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the password, for whoever has to send or keep it.
    pub fn expose_password(&self) -> &str {
        &self.password
    }

    /// Parses the part of a URL before `@`, in which both are percent-encoded (RFC 3986 §3.2.1).
    pub(super) fn from_url(text: &str) -> Result<Self, ParseCredentialsError> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        Self::new(&decode(user)?, &decode(password)?)
    }

    /// Returns what stands before `@` in a URL.
    pub(super) fn to_url(&self) -> String {
        format!("{}:{}", encode(&self.user), encode(&self.password))
    }
}

impl FromStr for Credentials {
    type Err = ParseCredentialsError;

    /// Parses `USER:PASSWORD`, nothing of it encoded.
    fn from_str(text: &str) -> Result<Self, ParseCredentialsError> {
        let (user, password) = text.split_once(':').ok_or(ParseCredentialsError("there is no colon"))?;
        Self::new(user, password)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

fn decode(text: &str) -> Result<String, ParseCredentialsError> {
    let malformed = ParseCredentialsError("a % without two hexadecimal digits behind it");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        bytes.push(u8::from_str_radix(digits.ok_or(malformed)?, 16).map_err(|_| malformed)?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| ParseCredentialsError("no UTF-8"))
}

fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_malformed_is_refused_without_its_text() {
        for (text, expected) in [
            ("s3cret", "no colon"),
            (":s3cret", "user name is empty"),
            ("me:s3cret\r\nX: y", "control character"),
        ] {
            let error = text.parse::<Credentials>().unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("s3cret"), "{error}");
        }
        for (text, expected) in [("me:%4", "hexadecimal"), ("me:%+1", "hexadecimal"), ("%ff", "UTF-8")] {
            let error = Credentials::from_url(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Credentials::new("me", &"x".repeat(256)).is_err());
        let shown = format!("{:?}", Credentials::new("me", "s3cret").unwrap());
        assert_eq!(shown, "Credentials(..)");
    }

    #[test]
    fn a_url_may_leave_the_password_out() {
        assert_eq!(Credentials::from_url("me").unwrap(), Credentials::new("me", "").unwrap());
    }

    proptest! {
        #[test]
        fn encoding_and_decoding_are_inverse(user in "[^:\\p{Cc}]{1,40}", password in "\\PC{0,40}") {
            let Ok(credentials) = Credentials::new(&user, &password) else { return Ok(()) };
            prop_assert_eq!(Credentials::from_url(&credentials.to_url()).unwrap(), credentials);
        }
    }
}
