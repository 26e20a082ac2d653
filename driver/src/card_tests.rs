//! The card's life against a card in software.

use std::net::{IpAddr, Ipv4Addr};

use nat64_layout::ring::ExceptionDescriptor;
use nat64_layout::Protocol;

use super::*;
use crate::testing::{gateway_config, FakeTransport, Faults};

const SMALL: Geometry = Geometry {
    record_log2: 4,
    bucket_log2: 3,
    stash: 2,
};

fn options() -> CardOptions {
    CardOptions {
        exception_log2: 2,
        inject_log2: 2,
        timeout: Duration::from_millis(20),
        ..CardOptions::default()
    }
}

fn open() -> (FakeTransport, Card) {
    let transport = FakeTransport::new(SMALL);
    let card = Card::open(Box::new(transport.clone()), options()).expect("opens");
    (transport, card)
}

fn faulty(faults: Faults) -> CardError {
    let transport = FakeTransport::new(SMALL);
    transport.card().faults = faults;
    Card::open(Box::new(transport), options()).expect_err("refused")
}

fn id(slot: u32) -> SessionId {
    SessionId { slot, generation: 1 }
}

fn flow(n: u16) -> Flow {
    Flow {
        id: id(n.into()),
        protocol: Protocol::Udp,
        unit: 0,
        service_set: 0,
        term: 0,
        pref64: "64:ff9b::".parse().expect("IPv6"),
        pref64_length: 96,
        client: ("2001:db8::c".parse().expect("IPv6"), n),
        pool: (Ipv4Addr::new(203, 0, 113, 1), 1024 + n),
        remote: (Ipv4Addr::new(198, 51, 100, 7), 53),
    }
}

#[test]
fn opening_sets_everything_up() {
    let (transport, mut card) = open();
    assert_eq!(card.geometry(), SMALL);
    let fake = transport.card();
    let reg = |offset| fake.bar0.get(&offset).copied().unwrap_or(0);
    assert_eq!((reg(ExcCtrl::OFFSET), reg(InjCtrl::OFFSET)), (0x201, 0x201));
    assert_eq!(
        [reg(HashKey0::OFFSET), reg(HashKey1::OFFSET)],
        CardOptions::default().hash_key.0
    );
    assert_eq!(reg(Ctrl::OFFSET), 0, "not before it is configured");
    for low in [
        ExcBaseLow::OFFSET,
        InjBaseLow::OFFSET,
        InjWbLow::OFFSET,
        DumpAddrLow::OFFSET,
        DumpDoneLow::OFFSET,
    ] {
        let address = u64::from(reg(low + 4)) << 32 | u64::from(reg(low));
        assert!(fake.memory.read_word(address).is_ok(), "{low:#x} holds {address:#x}");
    }
    let tags = (BANKS * WAYS) << SMALL.bucket_log2;
    let cleared = fake.writes.iter().filter(|w| w.0 == Bar::Bar2 && w.2 == 0).count();
    assert_eq!(cleared, tags + 2 * SMALL.stash);
    drop(fake);
    card.configure(&gateway_config()).expect("fits");
    assert_eq!(transport.card().bar0[&Ctrl::OFFSET], 1);
}

#[test]
fn what_cannot_be_used_is_refused_with_its_facts() {
    let error = faulty(Faults {
        abi: Some(0x1234_5678),
        ..Faults::default()
    });
    assert!(
        matches!(
            error,
            CardError::AbiMismatch {
                card: 0x1234_5678,
                driver: ABI_HASH
            }
        ),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains("0x12345678") && text.contains(&format!("{ABI_HASH:#010x}")),
        "{text}"
    );
    let error = faulty(Faults {
        ident: Some(0xdead_beef),
        ..Faults::default()
    });
    assert!(matches!(error, CardError::NotACard { found: 0xdead_beef }));
    let error = faulty(Faults {
        scratch: true,
        ..Faults::default()
    });
    assert!(matches!(
        error,
        CardError::Scratch {
            wrote: 0x5aa5_c33c,
            read: 0
        }
    ));
    let error = faulty(Faults {
        gone: true,
        ..Faults::default()
    });
    assert!(matches!(
        error,
        CardError::Device(DeviceError::Gone {
            bar: Bar::Bar0,
            offset: 0
        })
    ));
    for found in [0, 0x0410_0312, 0x0410_1f0b, 0x0310_090b] {
        let error = faulty(Faults {
            geometry: Some(found),
            ..Faults::default()
        });
        assert!(
            matches!(error, CardError::Geometry { found: f } if f == found),
            "{found:#x}: {error:?}"
        );
    }
    let transport = FakeTransport::new(SMALL);
    let error = Card::open(
        Box::new(transport),
        CardOptions {
            inject_log2: 13,
            ..options()
        },
    )
    .expect_err("refused");
    assert!(matches!(error, CardError::RingSize { log2: 13 }));
}

#[test]
fn a_card_that_goes_away_is_noticed() {
    let (transport, mut card) = open();
    card.configure(&gateway_config()).expect("fits");
    card.install(id(1), &card.record(&flow(1), 0, 1).expect("offloaded"), 0)
        .expect("room");
    transport.card().faults.gone = true;
    transport.card().faults.dump = true;
    assert!(matches!(card.counters(), Err(DeviceError::Gone { .. })));
    assert!(matches!(card.activity(&[id(1)]), Err(DeviceError::Gone { .. })));
    assert!(matches!(card.time(), Err(DeviceError::Gone { .. })));
    transport.card().faults.gone = false;
    let error = card.activity(&[id(1)]).expect_err("never finishes");
    assert!(
        matches!(
            error,
            DeviceError::Timeout {
                what: "copy of session activity",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn installing_and_removing_read_nothing() {
    let (transport, mut card) = open();
    card.configure(&gateway_config()).expect("fits");
    let reads = transport.card().reads;
    let hop = NextHop {
        destination: [2; 6],
        source: [4; 6],
        port: 1,
        vlans: [None; 2],
        qinq: false,
    };
    for n in 0..16 {
        let hop = card
            .acquire_hop((1, IpAddr::V4(Ipv4Addr::LOCALHOST)), hop)
            .expect("works")
            .expect("room");
        let record = card.record(&flow(n), hop, hop).expect("offloaded");
        card.install(id(n.into()), &record, 0).expect("room");
    }
    let record = card.record(&flow(99), 0, 0).expect("offloaded");
    assert!(matches!(
        card.install(id(99), &record, 0),
        Err(TableError::Full { used: 16, capacity: 16 })
    ));
    assert_eq!(transport.card().entries(), 32);
    for n in 0..16 {
        assert!(card.remove(id(n)).expect("works").is_some());
    }
    assert_eq!(transport.card().entries(), 0);
    assert_eq!(transport.card().reads, reads, "posted writes only");
}

#[test]
fn a_record_says_what_the_tables_say() {
    let (_, mut card) = open();
    assert_eq!(card.record(&flow(1), 0, 0), None, "nothing is configured");
    let mut config = gateway_config();
    card.configure(&config).expect("fits");
    let record = card.record(&flow(7), 3, 4).expect("offloaded");
    assert_eq!((record.pref64, record.unit, record.hop6, record.hop4), (0, 0, 3, 4));
    assert_eq!(
        (record.client_port, record.pool_port, record.remote_port),
        (7, 1031, 53)
    );
    assert_eq!((record.pool, record.remote), (0xcb00_7101, 0xc633_6407));
    assert_eq!(
        card.record(
            &Flow {
                pref64_length: 64,
                ..flow(1)
            },
            0,
            0
        ),
        None
    );
    assert_eq!(card.record(&Flow { unit: 16, ..flow(1) }, 0, 0), None);
    config.xlate.service_sets[0].tos_override = Some(0);
    card.configure(&config).expect("fits");
    assert_eq!(card.record(&flow(1), 0, 0), None, "no offload for this set");
}

/// Replays the writes of a reconfiguration and looks at every state in between.
#[test]
fn no_packet_sees_half_a_table() {
    let (transport, mut card) = open();
    let config = gateway_config();
    card.configure(&config).expect("fits");
    let before = transport.card().writes.len();
    card.configure(&config).expect("fits");
    assert_eq!(
        transport.card().writes.len(),
        before,
        "nothing changed, nothing written"
    );

    let mut state = transport.card().bar0.clone();
    let mut next = config.clone();
    next.xlate.pools[0]
        .ranges
        .push((Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 0, 9)));
    next.xlate.service_sets[0].ipv6_mtu = 1400;
    card.configure(&next).expect("fits");
    let writes = transport.card().writes[before..].to_vec();
    let policy = Plan::policy_punt();
    for &(bar, offset, value) in &writes {
        assert_eq!(bar, Bar::Bar0);
        if offset >= tables::PREF64_BASE {
            let served = (0..tables::UNITS as u32).any(|i| {
                state
                    .get(&(tables::UNIT_BASE + i * tables::UNIT_STRIDE + 4))
                    .is_some_and(|w| w >> 31 == 1)
            });
            assert!(!served, "a table is written while a unit is on");
            assert_eq!(state[&Policy::OFFSET], policy);
        }
        state.insert(offset, value);
    }
    let plan = Plan::new(&next).expect("fits");
    let words = |base: u32, n: u32| {
        (0..n)
            .map(|i| state.get(&(base + 4 * i)).copied().unwrap_or(0))
            .collect::<Vec<_>>()
    };
    assert_eq!(words(tables::UNIT_BASE, 4), plan.units[..2].concat());
    assert_eq!(words(tables::POOL_BASE + tables::POOL_STRIDE, 3), plan.pools[1]);
    assert_eq!(words(tables::SERVICE_SET_BASE, 2), plan.service_sets[0]);
    assert_eq!(words(Policy::OFFSET, 1), [0]);

    next.xlate.pools[0].ranges = (0..9)
        .map(|i| (Ipv4Addr::new(198, 18, i, 1), Ipv4Addr::new(198, 18, i, 9)))
        .collect();
    let before = transport.card().writes.len();
    let error = card.configure(&next).expect_err("nine ranges");
    assert!(matches!(
        error,
        CardError::Plan(PlanError::TooMany {
            table: "pool",
            wanted: 9,
            capacity: 8
        })
    ));
    assert_eq!(
        transport.card().writes.len(),
        before,
        "refused before anything is written"
    );
}

#[test]
fn activity_comes_in_few_copies() {
    let (transport, mut card) = open();
    card.configure(&gateway_config()).expect("fits");
    for n in 0..16 {
        card.install(id(n.into()), &card.record(&flow(n), 0, 1).expect("offloaded"), 0)
            .expect("room");
    }
    for n in 0..16 {
        let entry = DumpEntry {
            stamp: [n, 100 + n],
            packets: [n, 1],
            bytes: [u64::from(n), 2],
        };
        transport.card().activity.insert(n, entry);
    }
    let ids = [id(9), id(2), id(2), id(3), id(77)];
    let mut entries = card.activity(&ids).expect("finishes");
    entries.sort_by_key(|entry| entry.0);
    let index = |id| card.table().get(id).expect("installed").index;
    let want: Vec<_> = [id(2), id(3), id(9)]
        .map(|i| (i, transport.card().activity[&index(i)]))
        .into();
    assert_eq!(entries, want);
    assert_eq!(
        transport.card().dumps,
        [(2, 8)],
        "one copy from the lowest to the highest record"
    );
    assert_eq!(card.activity(&[]).expect("nothing to do"), []);
    for _ in 0..300 {
        assert_eq!(
            card.activity(&[id(1)]).expect("finishes").len(),
            1,
            "sequence numbers go round"
        );
    }
}

#[test]
fn frames_go_both_ways_and_a_full_ring_is_told() {
    let (transport, mut card) = open();
    card.configure(&gateway_config()).expect("fits");
    let mut frame = Vec::new();
    let descriptor = |reason: Reason, length| ExceptionDescriptor {
        reason: reason as u8,
        length,
        ..Default::default()
    };
    for _ in 0..4 {
        assert!(transport.card().punt_raw(descriptor(Reason::NoSession, 60), &[5; 60]));
    }
    assert!(
        !transport.card().punt_raw(descriptor(Reason::NoSession, 60), &[5; 60]),
        "the ring is full"
    );
    assert_eq!(card.counters().expect("reads").reason(Reason::ExceptionRingFull), 1);
    for _ in 0..4 {
        assert_eq!(
            card.take(&mut frame).expect("filled").expect("good").reason,
            Reason::NoSession
        );
        assert_eq!(frame, [5; 60]);
    }
    assert!(card.take(&mut frame).is_none());
    card.give_back().expect("writes");
    assert!(
        transport.card().punt_raw(descriptor(Reason::NoSession, 60), &[6; 60]),
        "and free again"
    );
    assert_eq!(
        card.wait(Duration::ZERO).expect("polls"),
        crate::transport::IRQ_EXCEPTION
    );

    transport.card().faults.inject = true;
    for n in 0..4 {
        card.inject(n & 1, &[n as u8; 60]).expect("works").expect("room");
    }
    assert_eq!(
        card.inject(0, &[0; 60]).expect("works"),
        Err(InjectError::Full { slots: 4 })
    );
    assert_eq!(
        card.inject(0, &[0; 3]).expect("works"),
        Err(InjectError::Length { bytes: 3 })
    );
    transport.card().faults.inject = false;
    card.inject(0, &[9; 60]).expect("works").expect("room again");
    card.flush().expect("writes");
    card.wait(Duration::ZERO).expect("polls");
    let sent: Vec<_> = transport
        .card()
        .sent
        .iter()
        .map(|(port, frame)| (*port, frame[0]))
        .collect();
    assert_eq!(sent, [(0, 0), (1, 1), (0, 2), (1, 3), (0, 9)]);
    assert!(card.inject_idle());
}
