use proptest::prelude::*;

use super::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A version 2 header.
fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([0x20 | command, family]);
    bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn v4_pair() -> Vec<u8> {
    vec![203, 0, 113, 9, 10, 0, 0, 5, 0x30, 0x39, 0x01, 0xbb]
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// A header with these TLVs and a CRC32C after them, computed bit by bit (independent of the
/// crate).
fn with_checksum(tlvs: &[u8]) -> Vec<u8> {
    let payload = [v4_pair(), tlvs.to_vec(), tlv(0x03, &[0; 4])].concat();
    let mut bytes = v2(1, 0x11, &payload);
    let mut crc = u32::MAX;
    for byte in &bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (0u32.wrapping_sub(crc & 1)));
        }
    }
    let place = bytes.len() - 4;
    bytes[place..].copy_from_slice(&(!crc).to_be_bytes());
    bytes
}

/// Offers everything at once, with some data after it.
fn read(bytes: &[u8]) -> Result<Header, ProxyFault> {
    let mut reader = Reader::default();
    let (taken, result) = reader.offer(&[bytes, b"\x16\x03\x01"].concat());
    let result = result.unwrap_or_else(|| panic!("not over: {bytes:?}"));
    if result.is_ok() {
        assert_eq!(
            taken,
            bytes.len(),
            "what is behind the header is not its own"
        );
    }
    result
}

fn kind(bytes: &[u8]) -> ProxyFaultKind {
    read(bytes).unwrap_err().kind
}

#[test]
fn version_1_names_the_client() {
    let header = read(b"PROXY TCP4 203.0.113.9 10.0.0.5 12345 443\r\n").unwrap();
    assert_eq!(header.client, Some("203.0.113.9:12345".parse().unwrap()));
    assert_eq!(header.facts.version, Some(1));
    assert_eq!(header.facts.destination.as_deref(), Some("10.0.0.5:443"));
    let header = read(b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n").unwrap();
    assert_eq!(header.client, Some("[2001:db8::1]:1".parse().unwrap()));
}

#[test]
fn version_1_without_a_client() {
    for line in [
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN ffff:ff::1 ffff:ff::2 65535 65535\r\n",
        "PROXY UNKNOWN a b c d e f g h\r\n",
    ] {
        let header = read(line.as_bytes()).unwrap();
        assert_eq!(header.client, None);
        assert_eq!(header.facts.command, Some(ProxyCommand::Unknown));
    }
}

#[test]
fn version_1_is_read_strictly() {
    for line in [
        "PROXY TCP4 203.0.113.9 10.0.0.5 12345 443\n",
        "PROXY TCP4 203.0.113.9 10.0.0.5 +12345 443\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.5 012 443\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.5 65536 443\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.5 1\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.5 1 2 3\r\n",
        "PROXY TCP4  203.0.113.9 10.0.0.5 1 2\r\n",
        "PROXY TCP4 203.0.113.256 10.0.0.5 1 2\r\n",
        "PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
        "PROXY TCP6 203.0.113.9 10.0.0.5 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY UDP4 203.0.113.9 10.0.0.5 1 2\r\n",
        "PROXY tcp4 203.0.113.9 10.0.0.5 1 2\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.5 12345 443 \n",
        "PROXY TCP4 203.0.113.9 10.0.0.5 12345 443\r\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.5 12345 443 \r\n",
        "PROXY TCP4 203.0.113.09 10.0.0.5 12345 443\r\n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN \n",
        "PROXY UNKNOWN 1 2 \n",
        "PROXY UNKNOWNX\r\n",
        "PROXY TCP4 \r\n",
    ] {
        assert_eq!(kind(line.as_bytes()), ProxyFaultKind::Malformed, "{line:?}");
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    assert_eq!(long.len(), 107);
    assert!(read(long.as_bytes()).is_ok());
    let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(108 - 16));
    assert_eq!(kind(longer.as_bytes()), ProxyFaultKind::TooLong);
}

#[test]
fn version_2_names_the_client() {
    let header = read(&v2(1, 0x11, &v4_pair())).unwrap();
    assert_eq!(header.client, Some("203.0.113.9:12345".parse().unwrap()));
    assert_eq!(header.facts.command, Some(ProxyCommand::Proxy));
    let pair = [
        &[0x20, 0x01, 0x0d, 0xb8][..],
        &[0; 11],
        &[7],
        &[0; 15],
        &[1, 0, 1, 0, 2],
    ]
    .concat();
    let header = read(&v2(1, 0x21, &pair)).unwrap();
    assert_eq!(header.client, Some("[2001:db8::7]:1".parse().unwrap()));
    assert_eq!(header.facts.destination.as_deref(), Some("[::1]:2"));
}

#[test]
fn version_2_without_a_client() {
    for (command, family, payload, command_read) in [
        (0, 0x00, Vec::new(), ProxyCommand::Local),
        // Such an address belongs to no client.
        (0, 0x11, v4_pair(), ProxyCommand::Local),
        (1, 0x00, vec![1, 2, 3], ProxyCommand::Unknown),
        (1, 0x31, vec![b'x'; 216], ProxyCommand::Unknown),
    ] {
        let header = read(&v2(command, family, &payload)).unwrap();
        assert_eq!(header.client, None);
        assert_eq!(header.facts.command, Some(command_read));
        assert_eq!(header.facts.source, None);
    }
}

#[test]
fn version_2_is_read_strictly() {
    let mut other_version = v2(1, 0x11, &v4_pair());
    other_version[12] = 0x31;
    for (what, bytes) in [
        ("version 3", other_version),
        ("command 2", v2(2, 0x11, &v4_pair())),
        ("family 4", v2(1, 0x41, &v4_pair())),
        ("protocol 3", v2(1, 0x13, &v4_pair())),
        ("datagrams", v2(1, 0x12, &v4_pair())),
        ("too short for IPv4", v2(1, 0x11, &[0; 11])),
        ("too short for IPv6", v2(1, 0x21, &v4_pair())),
        ("half a TLV", v2(1, 0x11, &[v4_pair(), vec![4, 0]].concat())),
        (
            "a TLV that is too long",
            v2(1, 0x11, &[v4_pair(), vec![4, 0, 9, 0]].concat()),
        ),
        (
            "a CRC of two bytes",
            v2(1, 0x11, &[v4_pair(), tlv(3, &[0; 2])].concat()),
        ),
    ] {
        assert_eq!(kind(&bytes), ProxyFaultKind::Malformed, "{what}");
    }
    let most = MAX_LENGTH - 16;
    let padded = |count: usize| [v4_pair(), tlv(4, &vec![0; count - 12 - 3])].concat();
    assert!(read(&v2(1, 0x11, &padded(most))).is_ok());
    assert_eq!(
        kind(&v2(1, 0x11, &padded(most + 1))),
        ProxyFaultKind::TooLong
    );
    // Refused by the length alone, without waiting for the promised bytes or allocating room for
    // them.
    let mut promise = v2(1, 0x11, &[]);
    promise[14..].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(kind(&promise), ProxyFaultKind::TooLong);
}

#[test]
fn tlvs_are_facts_and_the_checksum_counts() {
    let inner = [
        vec![0x05, 0, 0, 0, 0],
        tlv(0x21, b"TLSv1.3"),
        tlv(0x22, b"me"),
    ]
    .concat();
    let tlvs = [
        tlv(0x01, b"http/1.1"),
        tlv(0x02, b"gw.example\x1b"),
        tlv(0x05, b"id-7"),
        tlv(0x20, &inner),
        tlv(0xee, b"of somebody's own"),
    ]
    .concat();
    let right = with_checksum(&tlvs);
    let facts = read(&right).unwrap().facts;
    assert!(facts.checked);
    assert_eq!(facts.alpn.unwrap().as_str(), "http/1.1");
    assert_eq!(facts.authority.unwrap().as_str(), "gw.example\\u{1b}");
    assert_eq!(facts.unique_id.unwrap().as_str(), "id-7");
    let inner = facts.tls.unwrap();
    assert_eq!(inner.version.unwrap().as_str(), "TLSv1.3");
    assert!(inner.client_verified);
    // Every byte counts, except the one that says that there is a checksum.
    for place in (16..right.len()).filter(|place| *place != right.len() - 7) {
        let mut wrong = right.clone();
        wrong[place] ^= 0x10;
        assert!(read(&wrong).is_err(), "byte {place}");
    }
    let mut wrong = right;
    wrong[19] ^= 1;
    assert_eq!(kind(&wrong), ProxyFaultKind::Checksum);
}

/// As many TLVs as fit: empty ones, and ones whose text is kept.
#[test]
fn many_tlvs_are_read_once() {
    for one in [tlv(0x04, b""), tlv(0x02, b"a.example"), tlv(0x20, &[1; 8])] {
        let count = (MAX_LENGTH - 16 - 12) / one.len();
        let bytes = v2(1, 0x11, &[v4_pair(), one.repeat(count)].concat());
        assert!(read(&bytes).unwrap().client.is_some());
    }
    // The first of two is right; the second is not even looked at.
    let mut two = with_checksum(&tlv(0x03, &[0; 4]));
    let end = two.len();
    two.copy_within(end - 4.., end - 11);
    two[end - 4..].fill(0);
    assert_eq!(kind(&two), ProxyFaultKind::Malformed);
}

#[test]
fn what_is_no_header_is_told_at_once() {
    for (bytes, first) in [
        (&b"GET / HTTP/1.1\r\n"[..], FirstBytes::Http),
        (b"\x16\x03\x01\x02\x00", FirstBytes::Tls),
        (b"SSH-2.0-x", FirstBytes::Other),
        (b"PROXX TCP4", FirstBytes::Http),
        (b"\r\n\r\n\0\r\nQUAT\n    ", FirstBytes::Proxy),
    ] {
        let mut reader = Reader::default();
        let (_, result) = reader.offer(bytes);
        let fault = result.unwrap().unwrap_err();
        assert_eq!(fault.kind, ProxyFaultKind::Missing, "{bytes:?}");
        assert_eq!(reader.first_bytes(), first, "{bytes:?}");
    }
    assert_eq!(Reader::default().cut(), None);
    let mut reader = Reader::default();
    assert_eq!(reader.offer(b"PROXY TCP4"), (10, None));
    assert_eq!(reader.cut().unwrap().kind, ProxyFaultKind::Cut);
}

fn headers() -> impl Strategy<Value = Vec<u8>> {
    let tlvs = proptest::collection::vec(any::<u8>(), 0..64);
    prop_oneof![
        Just(b"PROXY TCP4 203.0.113.9 10.0.0.5 12345 443\r\n".to_vec()),
        Just(b"PROXY UNKNOWN\r\n".to_vec()),
        Just(with_checksum(&tlv(0x05, b"id"))),
        (0u8..3, any::<u8>(), tlvs).prop_map(|(command, family, tlvs)| {
            v2(command, family, &[v4_pair(), tlvs].concat())
        }),
        proptest::collection::vec(any::<u8>(), 0..300),
    ]
}

proptest! {
    #[test]
    fn any_chunking_reads_the_same(
        bytes in headers(),
        behind in proptest::collection::vec(any::<u8>(), 0..20),
        cuts in proptest::collection::vec(1usize..20, 1..40),
    ) {
        let all = [bytes, behind].concat();
        let mut whole = Reader::default();
        let (taken, expected) = whole.offer(&all);
        prop_assert!(taken <= all.len() && whole.have.len() <= MAX_LENGTH);
        // In pieces; bytes that are not taken are offered again, as with peeking.
        let mut pieces = Reader::default();
        let (mut from, mut to) = (0, 0);
        let mut found = None;
        for cut in cuts.iter().cycle() {
            to = (to + cut).min(all.len());
            let (count, result) = pieces.offer(&all[from..to]);
            from += count;
            if result.is_some() || to == all.len() {
                found = result;
                break;
            }
            prop_assert_eq!(from, to, "without an answer everything is taken");
        }
        prop_assert_eq!(&found, &expected);
        if matches!(expected, Some(Ok(_))) {
            prop_assert_eq!(from, taken);
        }
    }
}
