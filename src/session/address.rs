//! Addresses as records show them, without the machinery of formatting: each session has several.

use std::net::SocketAddr;

/// `address:port`, as the standard library shows it.
#[must_use]
pub(crate) fn text(addr: SocketAddr) -> String {
    let SocketAddr::V4(addr) = addr else {
        return addr.to_string();
    };
    // The longest address.
    let mut text = Vec::with_capacity("255.255.255.255:65535".len());
    for (place, octet) in addr.ip().octets().into_iter().enumerate() {
        if place > 0 {
            text.push(b'.');
        }
        number(&mut text, octet.into());
    }
    text.push(b':');
    number(&mut text, addr.port());
    String::from_utf8(text).unwrap_or_default()
}

/// The address of an `address:port`.
#[must_use]
pub(crate) fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

fn number(text: &mut Vec<u8>, value: u16) {
    let mut power = 10_000;
    while power > 1 && value < power {
        power /= 10;
    }
    while power > 0 {
        let digit = u8::try_from(value / power % 10).unwrap_or_default();
        text.push(b'0' + digit);
        power /= 10;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn it_is_what_the_standard_library_shows() {
        let numbers = [0, 1, 9, 10, 11, 99, 100, 101, 199, 200, 255];
        for octet in numbers {
            for port in [
                0,
                1,
                9,
                10,
                80,
                99,
                100,
                443,
                999,
                1000,
                9999,
                10_000,
                u16::MAX,
            ] {
                let ip = Ipv4Addr::new(octet, 0, 255 - octet, octet);
                let addr = SocketAddr::from((ip, port));
                assert_eq!(text(addr), addr.to_string());
            }
        }
        for addr in ["[::1]:443", "[fe80::1%3]:1", "[2001:db8::]:65535"] {
            assert_eq!(text(addr.parse().unwrap()), addr);
        }
    }
}
