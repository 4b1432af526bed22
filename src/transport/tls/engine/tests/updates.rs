//! Compares our answer to each broken `KeyUpdate`, and to each message in its place, with the
//! library's: the same alert, or none.

use rustls::{AlertDescription, ContentType, ServerConnection};

use super::hostile::{Hostile, Keys};
use super::*;

/// A connection of the library's own server.
struct Library {
    server: ServerConnection,
    keys: Keys,
}

impl Library {
    fn new() -> Self {
        let made = Server::new();
        let terminator = made.terminator("", &ListenerTlsState::new(None).unwrap());
        let (config, _) = terminator.for_one_handshake();
        let mut server = ServerConnection::new(config).unwrap();
        let mut client = made.client(VERSIONS[1]);
        Arc::make_mut(&mut client).enable_secret_extraction = true;
        let name = "gw.example".try_into().unwrap();
        let mut client = ClientConnection::new(client, name).unwrap();
        while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            give(&mut server, &bytes).unwrap();
            let bytes = sent(&mut server);
            let mut bytes = bytes.as_slice();
            while !bytes.is_empty() && client.read_tls(&mut bytes).unwrap() > 0 {
                client.process_new_packets().unwrap();
            }
        }
        let keys = Keys::of(client);
        Self { server, keys }
    }

    /// Returns the alert that these records get, and whether the connection goes on.
    fn hears(&mut self, records: &[(ContentType, &[u8])]) -> (Option<AlertDescription>, bool) {
        let mut goes_on = true;
        for (typ, payload) in records {
            let record = self.keys.record(*typ, payload);
            goes_on &= goes_on && give(&mut self.server, &record).is_ok();
        }
        let (mut rest, mut bodies) = (sent(&mut self.server), Vec::new());
        while rest.len() > 5 {
            let length = usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            bodies.push(rest[5..5 + length].to_vec());
            rest.drain(..5 + length);
        }
        let alert = self.keys.alert(&bodies);
        (alert.map(|(_, alert)| alert), goes_on)
    }
}

fn give(server: &mut ServerConnection, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() && server.read_tls(&mut bytes).unwrap() > 0 {
        server.process_new_packets()?;
    }
    Ok(())
}

fn sent(server: &mut ServerConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// The same for our own code.
fn ours(records: &[(ContentType, &[u8])]) -> (Option<AlertDescription>, bool) {
    let mut hostile = Hostile::new();
    for (typ, payload) in records {
        if hostile.pair.engine.end().is_none() {
            hostile.feed(*typ, payload);
        }
    }
    let goes_on = hostile.pair.engine.end().is_none();
    let alert = hostile.alert();
    (alert.map(|(_, alert)| alert), goes_on)
}

#[test]
fn the_same_alert_as_the_library() {
    let h = ContentType::Handshake;
    let decode = (Some(AlertDescription::DecodeError), false);
    let illegal = (Some(AlertDescription::IllegalParameter), false);
    let unexpected = (Some(AlertDescription::UnexpectedMessage), false);
    let nothing = (None, true);
    for (records, expected) in [
        // Without content, or with a length beyond the end.
        (&[&[24u8, 0, 0, 0] as &[u8]] as &[&[u8]], decode),
        (&[&[24, 0, 0, 2, 0, 0]], decode),
        (&[&[24, 0, 1, 0], &[0; 256]], decode),
        (&[&[24, 0, 0, 0, 24, 0, 0, 1, 0]], decode),
        (&[&[24, 0, 0, 2, 0, 0, 24]], decode),
        // An undefined value of `request_update`.
        (&[&[24, 0, 0, 1, 2]], illegal),
        (&[&[24, 0, 0, 1, 255]], illegal),
        // Cut at each position.
        (&[&[24]], nothing),
        (&[&[24], &[0, 0, 1, 0]], nothing),
        (&[&[24, 0], &[0, 1, 0]], nothing),
        (&[&[24, 0, 0], &[1, 0]], nothing),
        (&[&[24, 0, 0, 1], &[0]], nothing),
        (&[&[24], &[0], &[0], &[1], &[0]], nothing),
        (&[&[24, 0, 0, 1], &[], &[0]], nothing),
        (&[&[24, 0, 0, 1], &[2]], illegal),
        (&[&[24, 0], &[0, 0]], decode),
        (&[&[24, 0], &[0, 2, 0, 0]], decode),
        (&[&[24, 0, 0], &[1, 0, 24]], unexpected),
        // Two in one record, the second complete or begun.
        (&[&[24, 0, 0, 1, 0, 24, 0, 0, 1, 0]], unexpected),
        (&[&[24, 0, 0, 1, 1, 24, 0, 0, 1, 1]], unexpected),
        (&[&[24, 0, 0, 1, 2, 24, 0, 0, 1, 0]], unexpected),
        (&[&[24, 0, 0, 1, 0, 24]], unexpected),
        (&[&[24, 0, 0, 1, 0, 20, 0, 0, 0]], unexpected),
        // No bytes at all.
        (&[&[]], nothing),
        // Other messages: HelloRequest, EndOfEarlyData, Finished, an undefined one.
        (&[&[0, 0, 0, 0]], unexpected),
        (&[&[5, 0, 0, 0]], unexpected),
        (&[&[20, 0, 0, 3, 1, 2, 3]], unexpected),
        (&[&[99, 0, 0, 1, 0]], unexpected),
    ] {
        let records: Vec<_> = records.iter().map(|payload| (h, *payload)).collect();
        assert_eq!(Library::new().hears(&records), expected, "{records:?}");
        assert_eq!(ours(&records), expected, "{records:?}");
    }
}

/// In these cases the library ends the connection without an alert, and our code sends one: another
/// record type in the middle of a message (RFC 8446 section 5.1), and messages of more than 64 KiB.
#[test]
fn an_alert_where_the_library_has_none() {
    let decode = AlertDescription::DecodeError;
    let unexpected = AlertDescription::UnexpectedMessage;
    let begun = (ContentType::Handshake, &[24u8, 0, 0] as &[u8]);
    for (records, expected) in [
        (
            vec![begun, (ContentType::ApplicationData, b"data")],
            unexpected,
        ),
        (vec![begun, (ContentType::ApplicationData, b"")], unexpected),
        (vec![begun, (ContentType::Alert, &[1, 0])], unexpected),
        (vec![(ContentType::Handshake, &[24, 1, 0, 0, 0])], decode),
        (
            vec![(ContentType::Handshake, &[20, 1, 0, 0, 0])],
            unexpected,
        ),
    ] {
        assert_eq!(Library::new().hears(&records), (None, false), "{records:?}");
        assert_eq!(ours(&records), (Some(expected), false), "{records:?}");
    }
}
