//! What is spoken inside.

use rustls::AlertDescription;

use super::*;

#[test]
fn alpn_settles_or_refuses() {
    let (server, ca) = localhost();
    let with = |protocols: &[&[u8]]| {
        let mut config = client_config(&ca, &TLS13);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Pair::new(&server, config)
    };
    for (offered, settled) in [
        (&[][..], None),
        (&[&b"mqtt"[..]][..], Some(&b"mqtt"[..])),
        (&[&b"http/1.1"[..]][..], Some(&b"http/1.1"[..])),
        (&[&b"http/1.1"[..], b"h2"][..], Some(&b"h2"[..])),
    ] {
        let mut pair = with(offered);
        pair.settle();
        assert_eq!(pair.server.alpn(), settled);
    }
    let mut pair = with(&[b"imap"]);
    let hello = pair.client_sends();
    assert!(pair.feed(&hello).is_err());
    assert!(matches!(
        pair.client_receives(),
        Err(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol))
    ));
}
