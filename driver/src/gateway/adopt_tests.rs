//! A host goes away, its card goes on, another host comes.

use nat64_layout::record::TAG_BASE;
use nat64_layout::{Bar, Geometry, Reason, ETHERTYPE_IPV6};

use super::*;
use crate::card::{AdoptCardError, Card, CardError, CardOptions};
use crate::link;
use crate::testing::{gateway_config, FakeTransport, Verdict, MACS};
use crate::testing_wire::*;
use crate::transport::DeviceError;

const SECOND: Time = 1_000_000_000;

fn options() -> CardOptions {
    CardOptions {
        exception_log2: 5,
        inject_log2: 5,
        ..CardOptions::default()
    }
}

fn poll(
    transport: &FakeTransport,
    gateway: &mut Gateway,
    now: Time,
    port: usize,
    frame: &[u8],
) -> Vec<(usize, Vec<u8>)> {
    transport.card().now = now;
    transport.card().receive(port, frame);
    gateway.poll(now).expect("works");
    transport.card().work();
    std::mem::take(&mut transport.card().sent)
}

/// A card with the sessions of `clients` requests, and the host that made them.
fn in_use(clients: u16) -> (FakeTransport, Gateway) {
    let transport = FakeTransport::new(Geometry::STANDARD);
    let card = Card::open(Box::new(transport.clone()), options()).expect("opens");
    let mut gateway = Gateway::new(gateway_config(), Some(card), 1).expect("valid");
    for client in 0..clients {
        poll(&transport, &mut gateway, 0, 0, &request(client));
        poll(&transport, &mut gateway, 0, 1, &router_answers());
    }
    assert_eq!(gateway.stats().installed, usize::from(clients));
    (transport, gateway)
}

#[test]
fn sessions_go_on_while_nobody_is_there_and_after() {
    let (transport, old) = in_use(5);
    let memory = old.card().expect("a card").memory();
    drop(old);
    let later = 20 * SECOND;
    transport.card().now = later;
    assert!(
        matches!(transport.card().receive(0, &request(3)), Verdict::Hit(..)),
        "the card goes on alone"
    );
    transport.card().writes.clear();

    let adopted = Card::adopt(Box::new(transport.clone()), options(), &memory, &gateway_config()).expect("runs");
    assert_eq!(adopted.orphans.len(), 5);
    let (mut gateway, report) = Gateway::adopt(gateway_config(), adopted, 2, later).expect("valid");
    assert_eq!(
        (report.adopted, report.moved, &report.refused[..]),
        (5, 0, &[][..]),
        "{report:?}"
    );
    let table_writes = transport
        .card()
        .writes
        .iter()
        .filter(|w| w.0 == Bar::Bar2 && w.1 >= TAG_BASE)
        .count();
    assert_eq!(table_writes, 0, "a table in order is not written");
    assert_eq!(
        (gateway.translator().session_count(), gateway.stats().installed),
        (5, 5)
    );

    // The old flows hit, a new one is set up with a port nobody has.
    assert!(matches!(transport.card().receive(0, &request(0)), Verdict::Hit(..)));
    assert!(matches!(transport.card().receive(1, &reply(0)), Verdict::Hit(..)));
    let sent = poll(&transport, &mut gateway, later, 0, &request(77));
    assert_eq!(
        (sent.len(), gateway.stats().installed),
        (1, 6),
        "its neighbours are known: nothing is asked for"
    );
    let mut ports: Vec<u16> = gateway.translator().sessions().map(|s| s.flow.pool.1).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 6);

    // Timers go on from what the card saw last: UDP lives 300 s.
    gateway.advance(later + 290 * SECOND).expect("works");
    assert_eq!(
        gateway.translator().session_count(),
        3,
        "3 and 0 were seen after the old host went, 77 is new"
    );
    gateway.advance(later + 400 * SECOND).expect("works");
    assert_eq!(
        (gateway.translator().session_count(), transport.card().entries()),
        (0, 0),
        "nothing is left in the card"
    );
}

/// A request of a client with an address of its own, behind the MAC address of all others.
fn request_of(client: u16) -> Vec<u8> {
    let packet = udp6(
        (&format!("2001:db8::1:{client:x}"), 4000),
        ("64:ff9b::198.51.100.7", 53),
    );
    link::build(MACS[0], CLIENT_MAC, [None; 2], ETHERTYPE_IPV6, &packet)
}

#[test]
fn idle_time_goes_on_through_restart_after_restart() {
    const CLIENTS: u16 = 4;
    let transport = FakeTransport::new(Geometry::STANDARD);
    let card = Card::open(Box::new(transport.clone()), options()).expect("opens");
    let mut gateway = Gateway::new(gateway_config(), Some(card), 1).expect("valid");
    for client in 0..CLIENTS {
        poll(&transport, &mut gateway, 0, 0, &request_of(client));
        poll(&transport, &mut gateway, 0, 1, &router_answers());
    }
    assert_eq!(gateway.stats().installed, usize::from(CLIENTS));
    for restart in 1..=3 {
        let memory = gateway.card().expect("a card").memory();
        drop(gateway);
        let now = restart * 20 * SECOND;
        transport.card().now = now;
        transport.card().writes.clear();
        let adopted = Card::adopt(Box::new(transport.clone()), options(), &memory, &gateway_config()).expect("runs");
        let report;
        (gateway, report) = Gateway::adopt(gateway_config(), adopted, 2, now).expect("valid");
        assert_eq!((report.adopted, report.moved), (u32::from(CLIENTS), 0), "{report:?}");
        let written = transport.card().writes.iter().filter(|w| w.0 == Bar::Bar2).count();
        assert_eq!(
            written, 0,
            "restart {restart}: a record that is written anew forgets its stamps"
        );
    }
    // Nobody has sent anything: all end when they would have without restarts, 300 s after their only packet.
    gateway.advance(299 * SECOND).expect("works");
    assert_eq!(gateway.translator().session_count(), usize::from(CLIENTS));
    gateway.advance(301 * SECOND).expect("works");
    assert_eq!(
        (gateway.translator().session_count(), transport.card().entries()),
        (0, 0)
    );
}

#[test]
fn a_next_hop_that_is_used_again_is_remembered() {
    let (transport, mut gateway) = in_use(1);
    let card = |gateway: &Gateway| gateway.card().expect("a card").memory_version();
    let clear = |gateway: &mut Gateway| gateway.clear_sessions(SECOND, |_| true).expect("works");
    assert_eq!(clear(&mut gateway), 1);
    // What a daemon keeps: it writes when the version moves, here last while nobody used a next hop.
    let (kept, version) = (gateway.card().expect("a card").memory(), card(&gateway));
    poll(&transport, &mut gateway, SECOND, 0, &request(0));
    assert_eq!(gateway.stats().installed, 1);
    assert_eq!(card(&gateway), version, "the card has both next hops still");
    drop(gateway);
    let adopted = Card::adopt(Box::new(transport.clone()), options(), &kept, &gateway_config()).expect("runs");
    let (_, report) = Gateway::adopt(gateway_config(), adopted, 2, SECOND).expect("valid");
    assert_eq!((report.adopted, report.moved), (1, 0), "{report:?}");
}

#[test]
fn what_the_new_host_refuses_leaves_the_card() {
    let (transport, old) = in_use(4);
    let memory = old.card().expect("a card").memory();
    drop(old);
    let mut config = gateway_config();
    config.xlate.limits.sessions = 3;
    let adopted = Card::adopt(Box::new(transport.clone()), options(), &memory, &config).expect("the same tables");
    let (gateway, report) = Gateway::adopt(config, adopted, 2, SECOND).expect("valid");
    assert_eq!(report.adopted, 3);
    assert_eq!(report.refused, [("a limit is reached (SessionLimit)".to_string(), 1)]);
    assert_eq!(
        (gateway.translator().session_count(), transport.card().entries()),
        (3, 6)
    );
}

#[test]
fn a_next_hop_that_is_not_remembered_is_asked_for_and_the_session_comes_back() {
    let (transport, old) = in_use(2);
    let mut memory = old.card().expect("a card").memory();
    drop(old);
    memory.hops.clear();
    let adopted = Card::adopt(Box::new(transport.clone()), options(), &memory, &gateway_config()).expect("runs");
    let (mut gateway, report) = Gateway::adopt(gateway_config(), adopted, 2, SECOND).expect("valid");
    assert_eq!(
        (report.adopted, report.moved, gateway.translator().session_count()),
        (0, 2, 2)
    );
    assert_eq!(
        transport.card().entries(),
        0,
        "no record with a next hop nobody knows stays"
    );
    // The client's next packet teaches its address, the router answers.
    for client in 0..2 {
        poll(&transport, &mut gateway, SECOND, 0, &request(client));
    }
    poll(&transport, &mut gateway, SECOND, 1, &router_answers());
    assert_eq!((gateway.stats().installed, transport.card().entries()), (2, 4));
}

#[test]
fn a_card_that_cannot_be_taken_over_says_why_and_is_left_alone() {
    let adopt = |transport: &FakeTransport, memory: &crate::CardMemory, config: &GatewayConfig| {
        Card::adopt(Box::new(transport.clone()), options(), memory, config).map(|a| a.orphans.len())
    };
    let (transport, old) = in_use(20);
    let memory = old.card().expect("a card").memory();
    drop(old);

    let mut other = gateway_config();
    other.ports[0].policy = nat64_layout::tables::PortPolicy::Forward;
    assert!(matches!(
        adopt(&transport, &memory, &other),
        Err(AdoptCardError::OtherConfiguration)
    ));
    let old_abi = crate::CardMemory {
        abi_hash: 1,
        ..memory.clone()
    };
    assert!(matches!(
        adopt(&transport, &old_abi, &gateway_config()),
        Err(AdoptCardError::OtherAbi { memory: 1, .. })
    ));
    let secret = crate::CardMemory {
        secret: [1, 2],
        ..memory.clone()
    };
    let before = transport.card().bar2.clone();
    let error = adopt(&transport, &secret, &gateway_config()).expect_err("another secret");
    assert!(matches!(error, AdoptCardError::Scrambled(_)), "{error}");
    assert_eq!(transport.card().bar2, before, "its sessions are as they were");
    assert_eq!(adopt(&transport, &memory, &gateway_config()).expect("still there"), 20);

    transport.card().faults.abi = Some(7);
    let error = adopt(&transport, &memory, &gateway_config()).expect_err("another card");
    assert!(error.to_string().contains("0x00000007"), "{error}");
    transport.card().faults.abi = None;
    transport.card().faults.dump = true;
    let quick = CardOptions {
        timeout: std::time::Duration::ZERO,
        ..options()
    };
    let error = Card::adopt(Box::new(transport.clone()), quick, &memory, &gateway_config()).expect_err("no copy");
    let AdoptCardError::Card(CardError::Device(DeviceError::Timeout { what, .. })) = error else {
        panic!("{error:?}")
    };
    assert_eq!(what, "copy of the session table");
    transport.card().faults.dump = false;
    transport.card().bar0.clear();
    assert!(matches!(
        adopt(&transport, &memory, &gateway_config()),
        Err(AdoptCardError::NotRunning)
    ));
}

#[test]
fn while_no_host_takes_frames_they_are_counted() {
    let (transport, old) = in_use(1);
    let memory = old.card().expect("a card").memory();
    drop(old);
    for client in 0..40 {
        transport.card().receive(0, &request(100 + client));
    }
    assert_eq!(
        transport.card().counters[&Reason::ExceptionRingFull],
        8,
        "the ring has 32 slots"
    );
    let adopted = Card::adopt(Box::new(transport.clone()), options(), &memory, &gateway_config()).expect("runs");
    let (mut gateway, _) = Gateway::adopt(gateway_config(), adopted, 2, SECOND).expect("valid");
    assert_eq!(
        poll(&transport, &mut gateway, SECOND, 0, &request(100)).len(),
        1,
        "the new ring works"
    );
}

#[test]
fn the_memory_moves_when_it_must_be_written_again() {
    let (transport, mut gateway) = in_use(1);
    let version = |gateway: &Gateway| gateway.card().expect("a card").memory_version();
    let before = version(&gateway);
    poll(&transport, &mut gateway, 0, 0, &request(1));
    assert_eq!(
        version(&gateway),
        before,
        "the same client's MAC address, the same router"
    );
    let mut config = gateway_config();
    config.ports[0].policy = nat64_layout::tables::PortPolicy::Forward;
    gateway.reconfigure(SECOND, config).expect("valid");
    assert!(version(&gateway) > before);
}
