//! What runs out is counted under its own reason, and the traffic of sessions that exist goes on unharmed.

use nat64_driver::card::CardOptions;
use nat64_layout::Reason;
use nat64_tests::rig::{client_udp, configuration, example, server_arp, server_udp, Rig};

const POOL: [u8; 4] = [203, 0, 113, 1];

/// Asserts that the session of client 1, port 40000, works both ways through the card.
fn first_session_works(rig: &mut Rig) {
    let before = rig.gateway.card_counters().unwrap().unwrap().translated();
    assert_eq!(rig.send(0, &client_udp(1, 40_000, 100)).len(), 1);
    assert_eq!(rig.send(1, &server_udp(POOL, 1024, 100)).len(), 1);
    let after = rig.gateway.card_counters().unwrap().unwrap().translated();
    assert_eq!(
        [after[0] - before[0], after[1] - before[1]],
        [1, 1],
        "the card itself translates it"
    );
}

#[test]
fn a_full_session_table_leaves_new_sessions_in_software() {
    let mut rig = Rig::new(example("seed.conf"));
    rig.send(1, &server_arp(POOL));
    // 2,048 records; the tags may refuse a little earlier
    let records = nat64_layout::Geometry::STANDARD.records() as u16;
    for i in 0..records + 40 {
        let sent = rig.send(0, &client_udp(1 + (i / 1000) as u8, 40_000 + i % 1000, 70));
        assert_eq!(sent.len(), 1, "packet {i} is translated, by whomever");
        rig.record.take();
    }
    let refused = rig.gateway.stats().reason(Reason::CardTableFull);
    let installed = rig.gateway.card().unwrap().table().len();
    assert!(refused >= 40, "{refused} sessions refused");
    assert_eq!(refused as usize + installed, usize::from(records) + 40);
    assert!(installed * 100 >= usize::from(records) * 95, "{installed} sessions fit");
    first_session_works(&mut rig);
    // the last one lives in software and still works
    let last = records + 39;
    let sent = rig.send(0, &client_udp(1 + (last / 1000) as u8, 40_000 + last % 1000, 70));
    assert_eq!(sent.len(), 1);
}

#[test]
fn an_empty_pool_refuses_new_sessions_only() {
    let text = std::fs::read_to_string(nat64_tests::program::workspace().join("examples/seed.conf")).unwrap();
    let text = text
        .replace("automatic;", "range low 1024 high 1027;")
        .replace("203.0.113.0/24", "203.0.113.1/32");
    let mut rig = Rig::new(configuration(&text));
    rig.send(1, &server_arp(POOL));
    for i in 0..4 {
        assert_eq!(rig.send(0, &client_udp(1, 40_000 + i, 70)).len(), 1);
    }
    for i in 4..10 {
        let sent = rig.send(0, &client_udp(1, 40_000 + i, 70));
        assert!(sent.iter().all(|f| f.port == 0), "nothing leaves to the server");
    }
    assert_eq!(rig.gateway.stats().reason(Reason::PoolExhausted), 6);
    first_session_works(&mut rig);
}

#[test]
fn a_full_exception_ring_drops_and_counts_and_spares_the_fast_path() {
    let options = CardOptions {
        exception_log2: 2,
        clear: false,
        ..CardOptions::default()
    };
    let mut rig = Rig::with_options(example("seed.conf"), options);
    rig.send(1, &server_arp(POOL));
    rig.send(0, &client_udp(1, 40_000, 100));
    let count = |rig: &mut Rig, reason| rig.gateway.card_counters().unwrap().unwrap().reason(reason);
    let (full, missed) = (
        count(&mut rig, Reason::ExceptionRingFull),
        count(&mut rig, Reason::NoSession),
    );
    // the host sleeps: nobody empties the ring of four slots
    for i in 0..20 {
        rig.wire.rx(0, &client_udp(2, 50_000 + i, 80), false);
        rig.wire.rx(0, &client_udp(1, 40_000, 80), false);
    }
    rig.wire.run_until_idle().unwrap();
    assert_eq!(rig.wire.take_tx().len(), 20, "every packet of the known session passes");
    assert_eq!(count(&mut rig, Reason::ExceptionRingFull) - full, 16);
    assert_eq!(count(&mut rig, Reason::NoSession) - missed, 4);
    // the host wakes up: the four are served, and the gateway works as before
    assert_eq!(rig.run().len(), 4);
    first_session_works(&mut rig);
    assert_eq!(rig.send(0, &client_udp(2, 50_000 + 15, 80)).len(), 1);
}
