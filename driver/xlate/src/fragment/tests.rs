//! Tests of the fragment store.

use super::*;

const MS: u64 = 1_000_000;

fn store(limits: Limits) -> Store {
    Store::new(&limits, Duration::from_secs(2), &Keyed::new(1))
}

fn source(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, last)
}

/// `length` bytes of an IPv4 packet at `offset`; the first fragment of UDP has a checksum of `offset + 1`.
fn four(src: Ipv4Addr, id: u16, protocol: u8, offset: u16, length: u16, more: bool) -> Vec<u8> {
    let flags = offset >> 3 | if more { 0x2000 } else { 0 };
    let header = build4(
        0,
        20 + length,
        id,
        flags,
        64,
        protocol,
        src,
        Ipv4Addr::new(192, 0, 2, 1),
    );
    let mut bytes = [&header[..], &vec![(offset >> 3) as u8; usize::from(length)]].concat();
    if offset == 0 && protocol == 17 {
        bytes[20..28].copy_from_slice(&[0, 53, 0x9c, 0x40, 0x0f, 0xa0, 0, 1]);
    }
    if offset == 0 && protocol == 1 {
        bytes[20..28].copy_from_slice(&[0, 0, 0, 0, 0x9c, 0x40, 0, 1]);
    }
    bytes
}

fn insert(store: &mut Store, now: Time, bytes: &[u8]) -> Result<Outcome, Reason> {
    store.insert4(now, 0, &Packet4::parse(bytes).unwrap())
}

const UDP: Transport = Transport::Udp {
    src_port: 53,
    dst_port: 40000,
    length: 4000,
    checksum: 1,
};

fn release(held: Vec<Vec<u8>>) -> Result<Outcome, Reason> {
    Ok(Outcome::Release { transport: UDP, held })
}

#[test]
fn later_fragments_get_the_ports_of_the_first() {
    let mut store = store(Limits::default());
    let (a, b, c) = (
        four(source(1), 7, 17, 0, 1000, true),
        four(source(1), 7, 17, 1000, 1000, true),
        four(source(1), 7, 17, 2000, 100, false),
    );
    assert_eq!(insert(&mut store, 0, &a), release(vec![]));
    assert_eq!(insert(&mut store, 1, &b), release(vec![]));
    assert_eq!(store.len(), 1);
    assert_eq!(insert(&mut store, 2, &c), release(vec![]));
    assert_eq!(
        (store.len(), store.bytes(), store.deadline()),
        (0, 0, None),
        "nothing is left of it"
    );

    assert_eq!(insert(&mut store, 3, &c), Ok(Outcome::Held));
    assert_eq!(insert(&mut store, 4, &b), Ok(Outcome::Held));
    assert!(store.bytes() > 1100);
    assert_eq!(insert(&mut store, 5, &a), release(vec![c, b]));
    assert_eq!((store.len(), store.bytes()), (0, 0));
}

#[test]
fn packets_do_not_mix() {
    let mut store = store(Limits::default());
    let last = four(source(1), 7, 17, 1000, 100, false);
    assert_eq!(insert(&mut store, 0, &last), Ok(Outcome::Held));
    let others = [
        four(source(2), 7, 17, 0, 1000, true),
        four(source(1), 8, 17, 0, 1000, true),
        four(source(1), 7, 6, 0, 1000, true),
    ];
    for other in &others[..2] {
        assert_eq!(insert(&mut store, 0, other), release(vec![]));
    }
    assert!(Packet4::parse(&others[2]).is_err(), "no TCP header");
    let first = four(source(1), 7, 17, 0, 1000, true);
    let parsed = Packet4::parse(&first).unwrap();
    assert_eq!(
        store.insert4(0, 1, &parsed),
        release(vec![]),
        "the same on another unit"
    );
    assert_eq!(store.insert4(0, 0, &parsed), release(vec![last]));
}

#[test]
fn time_ends_after_the_configured_time_from_the_first_arrival() {
    let mut store = store(Limits::default());
    let last = four(source(1), 7, 17, 1000, 100, false);
    assert_eq!(insert(&mut store, 100 * MS, &last), Ok(Outcome::Held));
    assert_eq!(
        insert(&mut store, 1900 * MS, &four(source(1), 7, 17, 400, 80, true)),
        Ok(Outcome::Held)
    );
    assert_eq!(
        insert(&mut store, 1000 * MS, &four(source(1), 8, 17, 400, 80, true)),
        Ok(Outcome::Held)
    );
    assert_eq!(store.deadline(), Some(2100 * MS));
    assert_eq!(store.advance(2100 * MS - 1), 0);
    assert_eq!(store.len(), 2);
    assert_eq!(store.advance(2100 * MS), 2, "two fragments lost");
    assert_eq!((store.len(), store.deadline()), (1, Some(3000 * MS)));
    // The first fragment alone is then forwarded and waits for the rest, which does not come any more.
    assert_eq!(
        insert(&mut store, 2200 * MS, &four(source(1), 7, 17, 0, 400, true)),
        release(vec![])
    );
    store.configure(&Limits::default(), Duration::from_secs(60));
    assert_eq!(store.advance(4200 * MS), 0);
    assert_eq!(store.advance(61_000 * MS), 1);
    assert_eq!(store.advance(u64::MAX), 0, "what went on is not lost");
    assert_eq!((store.len(), store.bytes()), (0, 0));
}

#[test]
fn overlaps_take_the_packet_with_them() {
    for (offset, length, more) in [
        (8, 1000, true),
        (992, 8, true),
        (1000, 2000, true),
        (496, 8, true),
        (1992, 16, true),
    ] {
        let mut store = store(Limits::default());
        // [0, 1000) forwarded, [2000, 3000) forwarded, a hole between.
        assert_eq!(
            insert(&mut store, 0, &four(source(1), 7, 17, 0, 1000, true)),
            release(vec![])
        );
        assert_eq!(
            insert(&mut store, 0, &four(source(1), 7, 17, 2000, 1000, true)),
            release(vec![])
        );
        let overlap = four(source(1), 7, 17, offset, length, more);
        assert_eq!(
            insert(&mut store, 0, &overlap),
            Err(Reason::FragmentOverlap),
            "{offset} {length}"
        );
        let fitting = four(source(1), 7, 17, 1000, 1000, true);
        assert_eq!(
            insert(&mut store, 0, &fitting),
            Err(Reason::FragmentOverlap),
            "{offset} {length}: the rest"
        );
        store.advance(2000 * MS);
        assert_eq!((store.len(), store.bytes()), (0, 0));
    }
}

#[test]
fn overlap_forgets_what_was_held() {
    let mut store = store(Limits::default());
    assert_eq!(
        insert(&mut store, 0, &four(source(1), 7, 17, 1000, 1000, true)),
        Ok(Outcome::Held)
    );
    assert_eq!(
        insert(&mut store, 0, &four(source(1), 7, 17, 1504, 1000, true)),
        Err(Reason::FragmentOverlap)
    );
    assert!(store.bytes() <= ENTRY_COST + 2 * PIECE_COST);
    assert_eq!(
        insert(&mut store, 0, &four(source(1), 7, 17, 0, 1000, true)),
        Err(Reason::FragmentOverlap)
    );
}

#[test]
fn fragments_past_the_end_are_overlaps() {
    for (offset, length, more) in [(1600, 8, true), (1600, 8, false), (1400, 8, false), (1400, 400, true)] {
        let mut store = store(Limits::default());
        assert_eq!(
            insert(&mut store, 0, &four(source(1), 7, 17, 0, 1000, true)),
            release(vec![])
        );
        assert_eq!(
            insert(&mut store, 0, &four(source(1), 7, 17, 1504, 40, false)),
            release(vec![])
        );
        let past = four(source(1), 7, 17, offset, length, more);
        assert_eq!(
            insert(&mut store, 0, &past),
            Err(Reason::FragmentOverlap),
            "{offset} {length} {more}"
        );
    }
    // The end is told when there is already something behind it.
    let mut store = store(Limits::default());
    assert_eq!(
        insert(&mut store, 0, &four(source(1), 7, 17, 2000, 80, true)),
        Ok(Outcome::Held)
    );
    assert_eq!(
        insert(&mut store, 0, &four(source(1), 7, 17, 1000, 80, false)),
        Err(Reason::FragmentOverlap)
    );
}

#[test]
fn duplicates_are_refused_alone() {
    let mut store = store(Limits::default());
    let (a, b, c) = (
        four(source(1), 7, 17, 0, 1000, true),
        four(source(1), 7, 17, 1000, 1000, true),
        four(source(1), 7, 17, 2000, 100, false),
    );
    assert_eq!(insert(&mut store, 0, &a), release(vec![]));
    assert_eq!(insert(&mut store, 0, &a), Err(Reason::FragmentOverlap));
    assert_eq!(insert(&mut store, 0, &c), release(vec![]));
    assert_eq!(insert(&mut store, 0, &c), Err(Reason::FragmentOverlap));
    assert_eq!(insert(&mut store, 0, &b), release(vec![]));
    assert!(store.is_empty());
}

#[test]
fn echo_is_reassembled_in_both_families() {
    let mut store = store(Limits::default());
    let last = four(source(1), 7, 1, 1480, 100, false);
    let first = four(source(1), 7, 1, 0, 1480, true);
    assert_eq!(insert(&mut store, 0, &last), Ok(Outcome::Held));
    let Ok(Outcome::Whole(whole)) = insert(&mut store, 0, &first) else {
        panic!("not whole")
    };
    let packet = Packet4::parse(&whole).unwrap();
    assert_eq!((packet.ident, packet.df, packet.fragment), (7, false, None));
    assert_eq!(
        packet.transport,
        Transport::Echo {
            request: false,
            id: 40000
        }
    );
    assert_eq!(packet.payload(), [&first[20..], &last[20..]].concat());

    let (src, dst) = (Ipv6Addr::LOCALHOST, Ipv6Addr::from(7));
    let six = |offset: u16, more: bool, payload: &[u8]| {
        let header = build6(0x5a, 8 + payload.len() as u16, 44, 9, src, dst);
        [&header[..], &build_fragment(58, offset, more, 0xabc_def0), payload].concat()
    };
    let (first, last) = (six(0, true, &[128, 0, 0, 0, 1, 2, 0, 0]), six(8, false, &[9; 5]));
    let parsed = Packet6::parse(&first).unwrap();
    assert_eq!(store.insert6(0, 0, &parsed), Ok(Outcome::Held));
    let parsed = Packet6::parse(&last).unwrap();
    let Ok(Outcome::Whole(whole)) = store.insert6(0, 0, &parsed) else {
        panic!("not whole")
    };
    let packet = Packet6::parse(&whole).unwrap();
    assert_eq!(
        (packet.traffic_class, packet.hop_limit, packet.is_part()),
        (0x5a, 9, false)
    );
    assert_eq!(packet.fragment.map(|fragment| fragment.id), Some(0xabc_def0));
    assert_eq!(
        packet.transport,
        Transport::Echo {
            request: true,
            id: 0x102
        }
    );
    assert_eq!(packet.payload().len(), 13);
    assert_eq!((store.len(), store.bytes()), (0, 0));
}

#[test]
fn udp_without_checksum_is_reassembled() {
    let mut store = store(Limits::default());
    let mut first = four(source(1), 7, 17, 0, 1000, true);
    first[24..28].copy_from_slice(&[4, 0x4c, 0, 0]);
    let last = four(source(1), 7, 17, 1000, 100, false);
    assert_eq!(insert(&mut store, 0, &first), Ok(Outcome::Held));
    let Ok(Outcome::Whole(whole)) = insert(&mut store, 0, &last) else {
        panic!("not whole")
    };
    let packet = Packet4::parse(&whole).unwrap();
    assert!(matches!(
        packet.transport,
        Transport::Udp {
            length: 1100,
            checksum: 0,
            ..
        }
    ));
}

/// A later fragment that calls itself something else does not change what the packet is.
#[test]
fn the_first_fragment_says_what_the_packet_is() {
    let mut store = store(Limits::default());
    let (src, dst) = (Ipv6Addr::LOCALHOST, Ipv6Addr::from(7));
    let six = |protocol: u8, offset: u16, more: bool, payload: &[u8]| {
        let header = build6(0, 8 + payload.len() as u16, 44, 9, src, dst);
        [&header[..], &build_fragment(protocol, offset, more, 3), payload].concat()
    };
    let first = six(17, 0, true, &[0, 53, 0x9c, 0x40, 0x0f, 0xa0, 0, 1]);
    let later = six(58, 8, false, &[1; 8]);
    assert_eq!(store.insert6(0, 0, &Packet6::parse(&first).unwrap()), release(vec![]));
    assert_eq!(store.insert6(0, 0, &Packet6::parse(&later).unwrap()), release(vec![]));
}

#[test]
fn limits_hold() {
    let limits = Limits {
        fragments_per_packet: 3,
        fragmented_packets_per_source: 2,
        ..Limits::default()
    };
    let mut tight = store(limits);
    for piece in 1..=3 {
        assert_eq!(
            insert(&mut tight, 0, &four(source(1), 1, 17, piece * 80, 80, true)),
            Ok(Outcome::Held)
        );
    }
    let fourth = four(source(1), 1, 17, 800, 80, true);
    assert_eq!(
        insert(&mut tight, 0, &fourth),
        Err(Reason::FragmentLimit),
        "fragments of a packet"
    );
    assert_eq!(
        insert(&mut tight, 0, &four(source(1), 2, 17, 80, 80, true)),
        Ok(Outcome::Held)
    );
    let third = four(source(1), 3, 17, 80, 80, true);
    assert_eq!(
        insert(&mut tight, 0, &third),
        Err(Reason::FragmentLimit),
        "packets of a source"
    );
    assert_eq!(
        insert(&mut tight, 0, &four(source(2), 3, 17, 80, 80, true)),
        Ok(Outcome::Held)
    );
    tight.advance(2000 * MS);
    assert_eq!(
        insert(&mut tight, 2000 * MS, &third),
        Ok(Outcome::Held),
        "the count goes down again"
    );

    let limits = Limits {
        fragment_bytes: 10_000,
        ..Limits::default()
    };
    let mut small = store(limits);
    let mut refused = 0;
    for id in 0..1000 {
        let bytes = four(source((id % 200) as u8), id, 17, 1000, 1000, true);
        match insert(&mut small, 0, &bytes) {
            Ok(_) => {}
            Err(reason) => {
                assert_eq!(reason, Reason::FragmentLimit);
                refused += 1;
            }
        }
        assert!(small.bytes() <= 10_000);
    }
    assert_eq!((small.len(), refused), (7, 993), "1,020 bytes and their cost each");
    // What is held is not harmed by the refusals.
    let first = four(source(0), 0, 17, 0, 1000, true);
    assert!(matches!(insert(&mut small, 0, &first), Ok(Outcome::Release { held, .. }) if held.len() == 1));
    assert_eq!(small.advance(2000 * MS), 6);
    assert_eq!(
        (small.len(), small.bytes(), small.per_source.len(), small.map.len()),
        (0, 0, 0, 0)
    );
}

#[test]
fn ipv6_sources_are_counted_by_their_64_bits() {
    let limits = Limits {
        fragmented_packets_per_source: 4,
        ..Limits::default()
    };
    let mut store = store(limits);
    let mut held = 0;
    for host in 1..=20u128 {
        let src = Ipv6Addr::from(0x2001_0db8_u128 << 96 | host);
        let header = build6(0, 16, 44, 9, src, Ipv6Addr::LOCALHOST);
        let bytes = [&header[..], &build_fragment(17, 8, true, 3), &[0; 8]].concat();
        held += u32::from(store.insert6(0, 0, &Packet6::parse(&bytes).unwrap()) == Ok(Outcome::Held));
    }
    assert_eq!(held, 4);
}

#[test]
fn whole_packets_are_no_fragments() {
    let mut store = store(Limits::default());
    let bytes = four(source(1), 7, 17, 0, 4000, false);
    assert_eq!(insert(&mut store, 0, &bytes), Err(Reason::BadHeader));
}

/// A packet longer than any packet can be is refused, not cut (ping of death).
#[test]
fn too_long_packets_are_refused() {
    let mut store = store(Limits::default());
    let (src, dst) = (Ipv6Addr::LOCALHOST, Ipv6Addr::from(7));
    let six = |offset: u16, more: bool, payload: &[u8]| {
        let header = build6(0, 8 + payload.len() as u16, 44, 9, src, dst);
        [&header[..], &build_fragment(58, offset, more, 3), payload].concat()
    };
    let mut echo = vec![0; 32768];
    echo[0] = 128;
    assert_eq!(
        store.insert6(0, 0, &Packet6::parse(&six(0, true, &echo)).unwrap()),
        Ok(Outcome::Held)
    );
    let last = six(32768, false, &[0; 32767]);
    assert_eq!(
        store.insert6(0, 0, &Packet6::parse(&last).unwrap()),
        Err(Reason::BadHeader)
    );
    assert!(store.is_empty());
}

/// What the counters say is what is there.
fn assert_consistent(store: &Store) {
    let mut ages = Vec::new();
    let (mut at, mut before) = (store.oldest, NONE);
    while let Some(assembly) = store.slot(at) {
        assert_eq!(assembly.older, before);
        let held: usize = assembly.held.iter().map(|held| held.bytes.len()).sum();
        assert_eq!(assembly.cost, ENTRY_COST + PIECE_COST * assembly.seen.len() + held);
        assert!(
            assembly.seen.windows(2).all(|pair| pair[0].1 <= u32::from(pair[1].0)),
            "{:?}",
            assembly.seen
        );
        let covered: u32 = assembly.seen.iter().map(|&(offset, end)| end - u32::from(offset)).sum();
        assert_eq!(assembly.covered, covered);
        assert_eq!(store.map.get(&assembly.key), Some(&at));
        ages.push(assembly.cost);
        (before, at) = (at, assembly.newer);
    }
    assert_eq!((store.newest, ages.len()), (before, store.len()));
    assert_eq!(ages.iter().sum::<usize>(), store.bytes());
    assert_eq!(
        store
            .per_source
            .values()
            .map(|&count| usize::from(count))
            .sum::<usize>(),
        store.len()
    );
    assert!(store.bytes() <= store.limits.fragment_bytes);
    assert_eq!(store.free.len() + store.len(), store.slots.len());
}

#[test]
fn random_use_keeps_the_books() {
    use rand::{Rng, SeedableRng};
    const SEED: u64 = 0x5722;
    println!("seed {SEED:#x}");
    let mut rng = rand::rngs::StdRng::seed_from_u64(SEED);
    let limits = Limits {
        fragment_bytes: 8000,
        fragments_per_packet: 5,
        fragmented_packets_per_source: 4,
        ..Limits::default()
    };
    let mut store = store(limits);
    let mut reasons = std::collections::BTreeMap::new();
    let mut now = 0;
    for _ in 0..30_000 {
        now += rng.random_range(0..40 * MS);
        let protocol = if rng.random() { 17 } else { 1 };
        // Mostly thirds of a packet of 48 bytes, else anything.
        let (offset, length, more) = if rng.random_range(0..8) != 0 {
            let third = rng.random_range(0..3);
            (third * 16, 16, third != 2)
        } else {
            let more: bool = rng.random();
            let offset = rng.random_range(u16::from(!more)..8) * 8;
            (
                offset,
                rng.random_range(1..=4) * 8 - if more { 0 } else { rng.random_range(0..8) },
                more,
            )
        };
        let bytes = four(
            source(rng.random_range(0..6)),
            rng.random_range(0..4),
            protocol,
            offset,
            length,
            more,
        );
        let outcome = match insert(&mut store, now, &bytes) {
            Ok(Outcome::Held) => "held",
            Ok(Outcome::Release { .. }) => "released",
            Ok(Outcome::Whole(whole)) => {
                assert!(Packet4::parse(&whole).is_ok());
                "whole"
            }
            Err(reason) => reason.name(),
        };
        *reasons.entry(outcome).or_insert(0) += 1;
        assert_consistent(&store);
        if rng.random_range(0..20) == 0 {
            store.advance(now);
            assert_consistent(&store);
            assert!(store.deadline().is_none_or(|deadline| deadline > now));
        }
    }
    for outcome in ["held", "released", "whole", "FragmentOverlap", "FragmentLimit"] {
        assert!(
            reasons.get(outcome).is_some_and(|&count| count > 100),
            "{outcome} hardly happened: {reasons:?}"
        );
    }
    store.advance(u64::MAX);
    assert_consistent(&store);
    assert_eq!((store.len(), store.bytes()), (0, 0));
}
