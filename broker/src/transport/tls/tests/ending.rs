//! Ends: close_notify, and alerts in both directions.

use rustls::AlertDescription;

use super::*;

#[test]
fn both_say_goodbye() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        pair.client.writer().write_all(b"last words").unwrap();
        pair.client.send_close_notify();
        let mut stream = pair.client_sends();
        stream.extend_from_slice(b"garbage behind the end");
        pair.feed(&stream).unwrap();
        assert!(pair.server.peer_closed());
        assert_eq!(pair.got, b"last words");
        assert!(pair.server.rest.is_empty());
        pair.feed(b"more garbage").unwrap();

        pair.server_says(b"so long");
        pair.server.close(&mut pair.to_client);
        pair.client_receives().unwrap();
        assert_eq!(pair.client_got, b"so long");
        assert!(pair.client.process_new_packets().unwrap().peer_has_closed());

        pair.server.close(&mut pair.to_client);
        assert!(pair.to_client.is_empty(), "once is enough");
        assert!(matches!(pair.server.seal(b"x", &mut pair.to_client), Err(TlsError::Closed)));
    }
}

#[test]
fn a_goodbye_byte_by_byte() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        pair.client.writer().write_all(b"last words").unwrap();
        pair.client.send_close_notify();
        let stream = pair.client_sends();
        for (at, byte) in stream.iter().enumerate() {
            assert!(!pair.server.peer_closed(), "before byte {at} of {}", stream.len());
            pair.feed(&[*byte]).unwrap();
        }
        assert!(pair.server.peer_closed());
        assert_eq!(pair.got, b"last words");
        pair.server.close(&mut pair.to_client);
        pair.client_receives_in(1).unwrap();
        assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn a_damaged_record_byte_by_byte_is_answered_by_an_alert_at_its_end() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        pair.client.writer().write_all(b"damaged").unwrap();
        let mut damaged = pair.client_sends();
        *damaged.last_mut().unwrap() ^= 1;
        let (last, before) = damaged.split_last().unwrap();
        for byte in before {
            pair.feed(&[*byte]).unwrap();
        }
        assert!(matches!(pair.feed(&[*last]), Err(TlsError::Protocol(rustls::Error::DecryptError))));
        let alert = AlertDescription::BadRecordMac;
        assert_eq!(pair.client_receives_in(1), Err(rustls::Error::AlertReceived(alert)));
    }
}

#[test]
fn a_damaged_record_is_answered_by_an_alert() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        pair.client.writer().write_all(b"fine").unwrap();
        let mut stream = pair.client_sends();
        pair.client.writer().write_all(b"damaged").unwrap();
        let mut damaged = pair.client_sends();
        *damaged.last_mut().unwrap() ^= 1;
        stream.extend(damaged);
        assert!(matches!(pair.feed(&stream), Err(TlsError::Protocol(rustls::Error::DecryptError))));
        assert_eq!(pair.got, b"fine");
        assert!(matches!(
            pair.client_receives(),
            Err(rustls::Error::AlertReceived(AlertDescription::BadRecordMac))
        ));
        assert!(matches!(pair.feed(b"x"), Err(TlsError::Closed)));
        assert!(matches!(pair.server.seal(b"x", &mut pair.to_client), Err(TlsError::Closed)));
        assert!(pair.to_client.is_empty());
    }
}

#[test]
fn what_is_not_tls_is_answered_by_an_alert() {
    let (server, _) = localhost();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x10, 5, 0, 4, b'M', b'Q'], &[22, 3, 1, 0xff, 0xff, 1]]
    {
        let mut tls = Tls::new(Arc::clone(&server)).unwrap();
        let mut scratch = Scratch::default();
        scratch.input[..garbage.len()].copy_from_slice(garbage);
        assert!(matches!(tls.feed(garbage.len(), &mut scratch), Err(TlsError::Protocol(_))));
        assert_eq!(scratch.output[0], 21, "an alert record");
    }
}

#[test]
fn the_clients_alert_ends_the_connection() {
    let (server, _) = localhost();
    let (_, other_ca) = localhost();
    let mut pair = Pair::new(&server, client_config(&other_ca, &TLS13));
    let hello = pair.client_sends();
    pair.feed(&hello).unwrap();
    assert!(pair.client_receives().is_err(), "the certificate is of another");
    let alert = pair.client_sends();
    assert!(matches!(pair.feed(&alert), Err(TlsError::Protocol(rustls::Error::AlertReceived(_)))));
}
