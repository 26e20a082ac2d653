//! Captures written byte by byte, good and bad ones.

use super::*;

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    file
}

/// A pcap file: magic as it stands in the file, link type, records of seconds, fraction and bytes.
fn pcap(magic: u32, big: bool, link: u32, records: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let word = |v: u32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
    let half = |v: u16| if big { v.to_be_bytes() } else { v.to_le_bytes() };
    let mut out = Vec::new();
    out.extend(word(magic));
    out.extend(half(2));
    out.extend(half(4));
    // No snaplen: some writers leave it 0.
    [0, 0, 0, link].iter().for_each(|&v| out.extend(word(v)));
    for (sec, frac, bytes) in records {
        let length = bytes.len() as u32;
        [*sec, *frac, length, length].iter().for_each(|&v| out.extend(word(v)));
        out.extend(*bytes);
    }
    out
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().div_ceil(4) * 4, 0);
    let length = body.len() as u32 + 12;
    [
        kind.to_le_bytes().to_vec(),
        length.to_le_bytes().to_vec(),
        body,
        length.to_le_bytes().to_vec(),
    ]
    .concat()
}

fn section() -> Vec<u8> {
    let mut body = 0x1a2b_3c4du32.to_le_bytes().to_vec();
    body.extend([1, 0, 0, 0]);
    body.extend([0xff; 8]);
    block(0x0a0d_0d0a, &body)
}

/// An interface with an `if_tsresol`.
fn interface(link: u16, resolution: u8) -> Vec<u8> {
    let mut body = link.to_le_bytes().to_vec();
    body.extend([0, 0, 0, 0, 4, 0]);
    body.extend([9, 0, 1, 0, resolution, 0, 0, 0, 0, 0, 0, 0]);
    block(1, &body)
}

fn enhanced(interface: u32, stamp: u64, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u32;
    let words = [interface, (stamp >> 32) as u32, stamp as u32, length, length];
    let mut body: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    body.extend(bytes);
    block(6, &body)
}

fn all(bytes: &[u8]) -> Result<Vec<Captured>, CaptureError> {
    let file = file(bytes);
    let mut capture = Capture::open(file.path())?;
    let mut packets = Vec::new();
    while let Some(packet) = capture.next_packet()? {
        packets.push(packet);
    }
    assert_eq!(capture.offset(), bytes.len() as u64, "everything was read");
    Ok(packets)
}

fn stamps(bytes: &[u8]) -> Vec<u64> {
    all(bytes).expect("readable").iter().map(|p| p.time_ns).collect()
}

#[test]
fn micro_and_nanoseconds_of_both_byte_orders() {
    for big in [false, true] {
        let records: &[(u32, u32, &[u8])] = &[(1, 2, &[1, 2, 3]), (1_700_000_000, 999_999, &[4])];
        assert_eq!(
            stamps(&pcap(0xa1b2_c3d4, big, 1, records)),
            [1_000_002_000, 1_700_000_000_999_999_000]
        );
        assert_eq!(
            stamps(&pcap(0xa1b2_3c4d, big, 101, records)),
            [1_000_000_002, 1_700_000_000_000_999_999]
        );
    }
    let packets = all(&pcap(0xa1b2_c3d4, false, 1, &[(1, 2, &[1, 2, 3])])).expect("readable");
    assert_eq!(
        packets,
        [Captured {
            time_ns: 1_000_002_000,
            bytes: vec![1, 2, 3],
            original: 3,
            number: 1
        }]
    );
}

#[test]
fn pcapng_resolutions_are_those_of_the_interface() {
    let bytes = [
        section(),
        interface(1, 6),
        interface(1, 9),
        interface(1, 3),
        interface(1, 0x80 | 10),
        block(0x0bad, &[1, 2, 3, 4, 5]),
        enhanced(0, 5_000_007, &[1]),
        enhanced(1, 5_000_007, &[2, 2]),
        enhanced(2, 5_007, &[3; 5]),
        enhanced(3, 5 << 10 | 512, &[4; 1514]),
    ];
    assert_eq!(
        stamps(&bytes.concat()),
        [5_000_007_000, 5_000_007, 5_007_000_000, 5_500_000_000]
    );
}

#[test]
fn a_truncated_file_is_told_with_packet_and_offset_at_every_length() {
    let whole = pcap(0xa1b2_c3d4, false, 1, &[(1, 2, &[7; 20]), (1, 3, &[8; 30])]);
    let ng = [
        section(),
        interface(1, 9),
        enhanced(0, 1, &[1; 20]),
        enhanced(0, 2, &[2; 30]),
    ]
    .concat();
    let first = section().len() + interface(1, 9).len();
    let second = first + enhanced(0, 1, &[1; 20]).len();
    for (whole, start, one, two) in [(whole, 24, 24, 60), (ng, first, first, second)] {
        for length in 0..whole.len() {
            let result = all(&whole[..length]);
            if length < start.min(28) {
                assert!(
                    matches!(result, Err(CaptureError::NotACapture { .. })),
                    "{length}: {result:?}"
                );
                continue;
            }
            if [start, one, two].contains(&length) || (start > 28 && length == section().len()) {
                assert!(result.is_ok(), "{length}: {result:?}");
                continue;
            }
            let Err(CaptureError::Truncated { packet, offset, .. }) = result else {
                panic!("{length}: {result:?}")
            };
            let at = if length > two { (2, two) } else { (1, one) };
            if length > start {
                assert_eq!((packet, offset as usize), at, "{length}");
            }
        }
    }
}

#[test]
fn damaged_files_are_refused_with_a_reason() {
    let good = [section(), interface(1, 9)].concat();
    let with = |block: Vec<u8>| [good.clone(), block].concat();
    for (bytes, reason) in [
        (
            b"hello, this is a text and no capture".to_vec(),
            "not a pcap or pcapng file",
        ),
        (vec![1, 2], "less than 4 bytes"),
        (pcap(0xa1b2_c3d4, false, 105, &[]), "neither Ethernet nor raw IP"),
        (
            pcap(0xa1b2_c3d4, false, 1, &[(1, 1_000_000, &[1])]),
            "packet 1 at offset 24: fraction of a second",
        ),
        (
            pcap(0xa1b2_c3d4, false, 1, &[(1, 1, &[0; 300_000])]),
            "300000 bytes are more than",
        ),
        (with(enhanced(7, 1, &[1])), "packet 1 at offset"),
        (with(block(3, &[1, 0, 0, 0, 9, 0, 0, 0])), "no time stamp"),
        (with(enhanced(0, u64::MAX, &[1])), "out of range"),
        (
            [section(), interface(105, 9), enhanced(0, 1, &[1])].concat(),
            "neither Ethernet nor raw IP",
        ),
        (
            [
                section(),
                interface(1, 9),
                interface(101, 9),
                enhanced(0, 1, &[1]),
                enhanced(1, 1, &[1]),
            ]
            .concat(),
            "in one file",
        ),
    ] {
        let error = all(&bytes).expect_err(reason).to_string();
        assert!(error.contains(reason), "{reason}: {error}");
    }
    // A length field of 2 GB in a file that is longer than the reader's buffer is not the file's end.
    let mut long = pcap(0xa1b2_c3d4, false, 1, &[(1, 1, &[0; 8])]);
    long[32..36].copy_from_slice(&(2u32 << 30).to_le_bytes());
    long.resize(BUFFER * 2, 0);
    let error = all(&long).expect_err("too long").to_string();
    assert!(error.contains("packet 1 at offset 24: its length field"), "{error}");
    let missing = Capture::open(Path::new("/nonexistent/a.pcap"))
        .expect_err("missing")
        .to_string();
    assert!(missing.contains("/nonexistent/a.pcap: "), "{missing}");
    assert!(matches!(Capture::open(Path::new("/")), Err(CaptureError::Open { .. })));
}

#[test]
fn inputs_are_merged_by_time_and_the_inside_comes_first() {
    let inside = file(&pcap(
        0xa1b2_c3d4,
        false,
        1,
        &[(1, 5, &[1]), (1, 4, &[2]), (3, 0, &[3])],
    ));
    let outside = file(&pcap(
        0xa1b2_3c4d,
        true,
        1,
        &[(1, 4_999, &[4]), (3, 0, &[5]), (4, 0, &[6])],
    ));
    let open = |f: &tempfile::NamedTempFile| Capture::open(f.path()).expect("opens");
    let mut merge = Merge::new(vec![(1, open(&outside)), (0, open(&inside))]).expect("first packets");
    assert_eq!(merge.link(None).expect("one type"), LinkType::Ethernet);
    assert_eq!(
        merge
            .link(Some(LinkType::Raw))
            .expect_err("other")
            .to_string()
            .matches("--linktype raw")
            .count(),
        1
    );
    assert_eq!(merge.peek_time(), Some(1_000_004_999));
    let mut order = Vec::new();
    while let Some((port, packet)) = merge.next_packet().expect("reads") {
        order.push((port, packet.bytes[0]));
    }
    // The inside's second packet is older than its first, and keeps its place.
    assert_eq!(order, [(1, 4), (0, 1), (0, 2), (0, 3), (1, 5), (1, 6)]);
    let (size, done) = merge.progress();
    assert_eq!(size, done);
    assert_eq!((merge.peek_time(), merge.next_packet().expect("end")), (None, None));
}

#[test]
fn two_files_of_different_link_types_are_refused() {
    let a = file(&pcap(0xa1b2_c3d4, false, 1, &[]));
    let b = file(&pcap(0xa1b2_c3d4, false, 101, &[]));
    let captures = [&a, &b].map(|f| Capture::open(f.path()).expect("opens"));
    let merge = Merge::new(captures.into_iter().zip([0, 1]).map(|(c, p)| (p, c)).collect()).expect("empty");
    let error = merge.link(None).expect_err("they differ").to_string();
    assert!(error.contains("raw packets, but ethernet"), "{error}");
}

#[test]
fn random_bytes_never_panic() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    let seed = 0x6e61_7436;
    let mut random = StdRng::seed_from_u64(seed);
    let whole = pcap(0xa1b2_c3d4, false, 1, &[(1, 2, &[7; 20]), (1, 3, &[8; 30])]);
    let ng = [
        section(),
        interface(1, 9),
        enhanced(0, 1, &[1; 20]),
        enhanced(0, 2, &[2; 30]),
    ]
    .concat();
    for i in 0..400 {
        let mut bytes = if i % 2 == 0 { whole.clone() } else { ng.clone() };
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        let file = file(&bytes);
        // Any result is right, as long as there is one and it ends; printed with the seed when it does not.
        let mut packets = 0;
        if let Ok(mut capture) = Capture::open(file.path()) {
            while let Ok(Some(_)) = capture.next_packet() {
                packets += 1;
                assert!(
                    packets <= bytes.len(),
                    "seed {seed:#x}, case {i}: more packets than bytes"
                );
            }
        }
    }
}
