//! Tells which protocol is spoken inside TLS.

use super::server_config::{ALPN_HTTP1, ALPN_HTTP2, ALPN_MQTT};

/// The first byte of an MQTT connection: CONNECT, with its four flags 0.
const MQTT_CONNECT: u8 = 0x10;
const HTTP_METHODS: [&[u8]; 9] =
    [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"PATCH ", b"OPTIONS ", b"CONNECT ", b"TRACE "];

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1, or 1.0.
    Http1,
    /// HTTP/2: by ALPN alone (RFC 9113 §3.3).
    Http2,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniff {
    /// MQTT of any version.
    Mqtt,
    /// HTTP.
    Http(HttpVersion),
    /// Nothing that is served here.
    Unknown,
    /// Too few bytes to tell.
    NeedMore,
}

/// Tells the protocol by what ALPN settled on, else by all that was decrypted so far.
pub fn sniff(alpn: Option<&[u8]>, plain: &[u8]) -> Sniff {
    match alpn {
        Some(name) if name == ALPN_MQTT => Sniff::Mqtt,
        Some(name) if name == ALPN_HTTP1 => Sniff::Http(HttpVersion::Http1),
        Some(name) if name == ALPN_HTTP2 => Sniff::Http(HttpVersion::Http2),
        Some(_) => Sniff::Unknown,
        None => match plain.first() {
            None => Sniff::NeedMore,
            Some(&MQTT_CONNECT) => Sniff::Mqtt,
            Some(_) if HTTP_METHODS.iter().any(|method| plain.starts_with(method)) => {
                Sniff::Http(HttpVersion::Http1)
            }
            Some(_) if HTTP_METHODS.iter().any(|method| method.starts_with(plain)) => Sniff::NeedMore,
            Some(_) => Sniff::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpn_decides_before_any_byte() {
        assert_eq!(sniff(Some(b"mqtt"), b""), Sniff::Mqtt);
        assert_eq!(sniff(Some(b"http/1.1"), b""), Sniff::Http(HttpVersion::Http1));
        assert_eq!(sniff(Some(b"mqtt"), b"GET / "), Sniff::Mqtt);
        assert_eq!(sniff(Some(b"h2"), b""), Sniff::Http(HttpVersion::Http2));
        assert_eq!(sniff(Some(b"h3"), b""), Sniff::Unknown);
    }

    #[test]
    fn first_bytes_decide_without_alpn() {
        assert_eq!(sniff(None, b""), Sniff::NeedMore);
        assert_eq!(sniff(None, &[0x10]), Sniff::Mqtt);
        assert_eq!(sniff(None, &[0x1f]), Sniff::Unknown);
        assert_eq!(sniff(None, b"PRI * HTTP/2.0"), Sniff::Unknown);
        assert_eq!(sniff(None, b"GETX"), Sniff::Unknown);
        for method in HTTP_METHODS {
            for end in 1..method.len() {
                assert_eq!(sniff(None, &method[..end]), Sniff::NeedMore);
            }
            assert_eq!(sniff(None, method), Sniff::Http(HttpVersion::Http1));
        }
    }
}
