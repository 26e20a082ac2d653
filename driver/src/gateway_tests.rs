//! The worked example, from the wire to the wire: without a card, and with one in software.

use std::net::Ipv4Addr;

use nat64_layout::ring::ExceptionDescriptor;
use nat64_layout::tables::NextHop;
use nat64_layout::{Direction, Geometry, Protocol};
use nat64_xlate::checksum;
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::*;
use crate::card::CardOptions;
use crate::link::Mac;
use crate::testing::{gateway_config, translate, FakeTransport, Verdict, MACS};
use crate::testing_wire::*;

const SECOND: Time = 1_000_000_000;
const SMALL: Geometry = Geometry {
    record_log2: 4,
    bucket_log2: 3,
    stash: 2,
};

fn soft() -> Gateway {
    Gateway::new(gateway_config(), None, 1).expect("valid")
}

fn with_card(config: GatewayConfig, geometry: Geometry) -> (FakeTransport, Gateway) {
    let transport = FakeTransport::new(geometry);
    let options = CardOptions {
        exception_log2: 5,
        inject_log2: 5,
        ..CardOptions::default()
    };
    let card = Card::open(Box::new(transport.clone()), options).expect("opens");
    (transport, Gateway::new(config, Some(card), 1).expect("valid"))
}

/// A gateway whose router is known.
fn ready(geometry: Geometry) -> (FakeTransport, Gateway) {
    let (transport, mut gateway) = with_card(gateway_config(), geometry);
    transport.card().receive(
        1,
        &arp(1, (ROUTER_MAC, "192.0.2.254"), ([0; 6], "192.0.2.1"), [0xff; 6]),
    );
    gateway.poll(0).expect("works");
    transport.card().work();
    transport.card().sent.clear();
    (transport, gateway)
}

/// Gives the card a frame, lets the host handle it, and returns what the card sent.
fn exchange(
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

fn check_request_out(frame: &(usize, Vec<u8>)) {
    assert_eq!(frame.0, 1);
    let parsed = link::parse(&frame.1).expect("frame");
    assert_eq!(
        (parsed.destination, parsed.source, parsed.ethertype),
        (ROUTER_MAC, MACS[1], ETHERTYPE_IPV4)
    );
    let p = parsed.payload;
    assert_eq!(
        (&p[12..16], &p[16..20]),
        (&[203, 0, 113, 1][..], &[198, 51, 100, 7][..])
    );
    assert_eq!(
        (&p[20..22], &p[22..24]),
        (&1024u16.to_be_bytes()[..], &53u16.to_be_bytes()[..])
    );
    assert_eq!(checksum::finish(checksum::sum(&p[..20])), 0);
    let pseudo = checksum::pseudo4(v4("203.0.113.1"), v4("198.51.100.7"), 16, 17);
    assert_eq!(checksum::finish(pseudo + checksum::sum(&p[20..])), 0);
    assert_eq!((p[8], &p[28..]), (63, &b"payload!"[..]));
}

fn check_reply_out(frame: &(usize, Vec<u8>)) {
    assert_eq!(frame.0, 0);
    let parsed = link::parse(&frame.1).expect("frame");
    assert_eq!(
        (parsed.destination, parsed.source, parsed.ethertype),
        (CLIENT_MAC, MACS[0], ETHERTYPE_IPV6)
    );
    let p = parsed.payload;
    assert_eq!(p[8..24], v6("64:ff9b::198.51.100.7").octets());
    assert_eq!(p[24..40], v6("2001:db8::c").octets());
    assert_eq!((&p[42..44], &p[48..]), (&4000u16.to_be_bytes()[..], &b"answer!!"[..]));
    let pseudo = checksum::pseudo6(v6("64:ff9b::198.51.100.7"), v6("2001:db8::c"), 16, 17);
    assert_eq!(checksum::finish(pseudo + checksum::sum(&p[40..])), 0);
}

#[test]
fn the_worked_example_without_a_card() {
    let mut gateway = soft();
    gateway.frame(0, 0, &request(0)).expect("works");
    let out = gateway.take_output();
    assert_eq!(
        out,
        [(1, arp(1, (MACS[1], "192.0.2.1"), ([0; 6], "192.0.2.254"), [0xff; 6]))]
    );
    gateway.frame(1000, 1, &router_answers()).expect("works");
    let out = gateway.take_output();
    assert_eq!(out.len(), 1);
    check_request_out(&out[0]);
    gateway.frame(2000, 1, &reply(0)).expect("works");
    let out = gateway.take_output();
    assert_eq!(out.len(), 1);
    check_reply_out(&out[0]);
    let stats = gateway.stats();
    assert_eq!(
        (stats.translated, stats.frames_in, stats.frames_out),
        ([1, 1], [1, 2], [1, 2])
    );
    assert!(stats.reasons.iter().all(|&n| n == 0));
    assert_eq!(gateway.translator().session_count(), 1);
}

#[test]
fn the_worked_example_with_a_card() {
    let (transport, mut gateway) = with_card(gateway_config(), Geometry::STANDARD);
    let out = exchange(&transport, &mut gateway, 0, 0, &request(0));
    assert_eq!(
        out,
        [(1, arp(1, (MACS[1], "192.0.2.1"), ([0; 6], "192.0.2.254"), [0xff; 6]))]
    );
    assert_eq!(
        (gateway.stats().installed, gateway.stats().deferred),
        (0, 1),
        "the router is not known yet"
    );
    let out = exchange(&transport, &mut gateway, 1000, 1, &router_answers());
    assert_eq!(out.len(), 1);
    check_request_out(&out[0]);
    assert_eq!(
        (
            gateway.stats().installed,
            gateway.stats().deferred,
            gateway.stats().next_hops
        ),
        (1, 0, 2)
    );
    assert_eq!(
        transport.card().receive(0, &request(0)),
        Verdict::Hit(0, Direction::SixToFour)
    );
    assert_eq!(
        transport.card().receive(1, &reply(0)),
        Verdict::Hit(0, Direction::FourToSix)
    );
    assert_eq!(gateway.poll(2000).expect("works"), 0, "nothing comes up any more");
    let record = transport.card().record(0).expect("installed");
    assert_eq!(
        (record.protocol, record.pool_port, record.client_port),
        (Protocol::Udp, 1024, 4000)
    );
    let hop = |index: u8| {
        (0..4)
            .map(|i| transport.card().bar0[&(crate::hops::offset(index) + 4 * i)])
            .collect::<Vec<_>>()
    };
    let next = |destination, port: u8| NextHop {
        destination,
        source: MACS[usize::from(port)],
        port,
        vlans: [None; 2],
        qinq: false,
    };
    assert_eq!(hop(record.hop6), next(CLIENT_MAC, 0).to_words());
    assert_eq!(hop(record.hop4), next(ROUTER_MAC, 1).to_words());
}

#[test]
fn sessions_the_card_keeps_busy_live_and_idle_ones_leave_it() {
    let (transport, mut gateway) = ready(Geometry::STANDARD);
    for n in 0..2 {
        assert_eq!(exchange(&transport, &mut gateway, 0, 0, &request(n)).len(), 1);
    }
    assert_eq!(transport.card().entries(), 4);
    // Session 0 is used at 200 s, by the card alone.
    transport.card().now = 200 * SECOND;
    assert!(matches!(transport.card().receive(0, &request(0)), Verdict::Hit(..)));
    while gateway.next_deadline().is_some_and(|deadline| deadline < 400 * SECOND) {
        let deadline = gateway.next_deadline().expect("checked");
        gateway.advance(deadline).expect("works");
    }
    gateway.advance(400 * SECOND).expect("works");
    assert_eq!(
        (gateway.translator().session_count(), transport.card().entries()),
        (1, 2)
    );
    assert!(
        matches!(transport.card().receive(0, &request(0)), Verdict::Hit(..)),
        "the busy one is still there"
    );
    gateway.advance(499 * SECOND).expect("works");
    assert_eq!(gateway.translator().session_count(), 1);
    gateway.advance(1000 * SECOND).expect("works");
    assert_eq!(
        (gateway.translator().session_count(), transport.card().entries()),
        (0, 0)
    );
    assert_eq!(gateway.stats().next_hops, 0);
    assert!(!transport.card().dumps.is_empty());
}

#[test]
fn tcp_is_in_the_card_between_handshake_and_fin() {
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const ACK: u8 = 16;
    let (transport, mut gateway) = ready(Geometry::STANDARD);
    let out = exchange(&transport, &mut gateway, 0, 0, &tcp(true, 0, SYN, 100, 0));
    assert_eq!((out.len(), gateway.stats().installed), (1, 0), "half open: the host's");
    let port = u16::from_be_bytes([out[0].1[34], out[0].1[35]]);
    assert_eq!(
        exchange(&transport, &mut gateway, 1, 1, &tcp(false, port, SYN | ACK, 500, 101)).len(),
        1
    );
    let data = tcp(true, 0, ACK, 101, 501);
    if gateway.stats().installed == 0 {
        assert_eq!(exchange(&transport, &mut gateway, 2, 0, &data).len(), 1);
    }
    assert_eq!(gateway.stats().installed, 1);
    assert!(matches!(transport.card().receive(0, &data), Verdict::Hit(..)));
    assert!(matches!(
        transport.card().receive(1, &tcp(false, port, ACK, 501, 101)),
        Verdict::Hit(..)
    ));
    // The segment that ends the connection comes up, and the session leaves the card with it.
    assert_eq!(
        exchange(&transport, &mut gateway, 3, 0, &tcp(true, 0, FIN | ACK, 101, 501)).len(),
        1
    );
    assert_eq!(
        exchange(&transport, &mut gateway, 4, 1, &tcp(false, port, FIN | ACK, 501, 102)).len(),
        1
    );
    assert_eq!((gateway.stats().installed, transport.card().entries()), (0, 0));
    assert_eq!(transport.card().receive(0, &data), Verdict::Punt(Reason::NoSession));
}

#[test]
fn one_port_with_two_tagged_units_does_too() {
    let mut config = gateway_config();
    config.units[0].vlans = [Some(100), None];
    (config.units[1].port, config.units[1].vlans) = (0, [Some(200), Some(7)]);
    let tag = |frame: Vec<u8>, vlans| {
        let parsed = link::parse(&frame).expect("frame");
        link::build(
            parsed.destination,
            parsed.source,
            vlans,
            parsed.ethertype,
            parsed.payload,
        )
    };
    let (inside, outside) = ([Some(100), None], [Some(200), Some(7)]);
    let (transport, mut gateway) = with_card(config, Geometry::STANDARD);
    let out = exchange(&transport, &mut gateway, 0, 0, &tag(request(0), inside));
    let ask = link::parse(&out[0].1).expect("frame");
    assert_eq!(
        (out[0].0, ask.vlans, ask.ethertype, ask.source),
        (0, outside, ETHERTYPE_ARP, MACS[0])
    );
    let out = exchange(&transport, &mut gateway, 1, 0, &tag(router_answers(), outside));
    assert_eq!(link::parse(&out[0].1).expect("frame").vlans, outside);
    let Verdict::Hit(index, _) = transport.card().receive(0, &tag(request(0), inside)) else {
        panic!("not installed")
    };
    assert!(matches!(
        transport.card().receive(0, &tag(reply(0), outside)),
        Verdict::Hit(..)
    ));
    let record = transport.card().record(index).expect("installed");
    let words = |hop: u8| std::array::from_fn(|i| transport.card().bar0[&(crate::hops::offset(hop) + 4 * i as u32)]);
    let hop = |destination, vlans| NextHop {
        destination,
        source: MACS[0],
        port: 0,
        vlans,
        qinq: false,
    };
    assert_eq!(hop(CLIENT_MAC, inside).to_words(), words(record.hop6));
    assert_eq!(hop(ROUTER_MAC, outside).to_words(), words(record.hop4));
    // Without the tags it is nobody's.
    assert_eq!(
        transport.card().receive(0, &request(1)),
        Verdict::Drop(Reason::PolicyDrop)
    );
    gateway.frame(2, 0, &request(1)).expect("works");
    assert_eq!(gateway.stats().reason(Reason::NoUnit), 1);
}

#[test]
fn poisoned_descriptors_are_counted_and_the_next_frame_is_handled() {
    let (transport, mut gateway) = ready(Geometry::STANDARD);
    let bad = |reason, length| ExceptionDescriptor {
        reason,
        length,
        ..Default::default()
    };
    for descriptor in [bad(0, 60), bad(255, 60), bad(12, 0), bad(12, 2017), bad(35, 60)] {
        assert!(transport.card().punt_raw(descriptor, &[0xff; 60]));
    }
    let out = exchange(&transport, &mut gateway, 0, 0, &request(0));
    assert_eq!(out.len(), 1);
    check_request_out(&out[0]);
    assert_eq!(gateway.stats().reason(Reason::BadDescriptor), 5);
    let cut = ExceptionDescriptor {
        reason: 12,
        length: 60,
        cut: true,
        ..Default::default()
    };
    assert!(transport.card().punt_raw(cut, &[0; 60]));
    gateway.poll(0).expect("works");
    assert_eq!(gateway.stats().reason(Reason::Oversize), 1);
}

#[test]
fn a_full_card_keeps_what_it_has_and_takes_the_rest_when_there_is_room() {
    let (transport, mut gateway) = ready(SMALL);
    for n in 0..20 {
        assert_eq!(
            exchange(&transport, &mut gateway, 0, 0, &request(n)).len(),
            1,
            "session {n} works all the same"
        );
    }
    let stats = gateway.stats();
    assert_eq!(
        (stats.installed, stats.deferred, stats.reason(Reason::CardTableFull)),
        (16, 4, 4)
    );
    for n in 0..20 {
        let verdict = transport.card().receive(0, &request(n));
        assert_eq!(matches!(verdict, Verdict::Hit(..)), n < 16, "session {n}: {verdict:?}");
    }
    assert_eq!(gateway.poll(0).expect("works"), 4);
    assert_eq!(gateway.stats().translated, [24, 0]);
    let count = gateway
        .clear_sessions(0, |info| info.flow.client.1 < 4003)
        .expect("works");
    let stats = gateway.stats();
    assert_eq!((count, stats.installed, stats.deferred), (3, 16, 1));
    for n in 3..19 {
        assert!(
            matches!(transport.card().receive(0, &request(n)), Verdict::Hit(..)),
            "session {n}"
        );
    }
    gateway.clear_sessions(0, |_| true).expect("works");
    let stats = gateway.stats();
    assert_eq!((stats.installed, stats.deferred, stats.next_hops), (0, 0, 0));
    assert_eq!(transport.card().entries(), 0);
}

#[test]
fn sessions_follow_a_neighbour_to_another_mac_address() {
    let (transport, mut gateway) = ready(Geometry::STANDARD);
    exchange(&transport, &mut gateway, 0, 0, &request(0));
    let index = transport.card().record(0).expect("installed").hop4;
    let other: Mac = [2, 0, 0, 0, 0, 0xe2];
    let announcement = arp(2, (other, "192.0.2.254"), (other, "192.0.2.254"), [0xff; 6]);
    let writes = transport.card().writes.len();
    exchange(&transport, &mut gateway, 1, 1, &announcement);
    let to: Vec<u8> = (0..2)
        .flat_map(|i| transport.card().bar0[&(crate::hops::offset(index) + 4 * i)].to_be_bytes())
        .collect();
    assert_eq!(to[..6], other);
    let bar2 = transport.card().writes[writes..]
        .iter()
        .filter(|w| w.0 == crate::transport::Bar::Bar2)
        .count();
    assert_eq!(bar2, 0, "the session itself is not touched");
    // The router is shared now with a server on the link; moving again must not take that one along.
    gateway
        .add_neighbour(2, 1, IpAddr::V4(v4("192.0.2.9")), other)
        .expect("works");
    let packet = udp6(("2001:db8::c", 5000), ("64:ff9b::192.0.2.9", 53));
    exchange(
        &transport,
        &mut gateway,
        2,
        0,
        &link::build(MACS[0], CLIENT_MAC, [None; 2], ETHERTYPE_IPV6, &packet),
    );
    assert_eq!(gateway.stats().installed, 2);
    exchange(&transport, &mut gateway, 3, 1, &router_answers());
    assert_eq!((gateway.stats().installed, gateway.stats().next_hops), (2, 3));
    let Verdict::Hit(index, _) = transport.card().receive(0, &request(0)) else {
        panic!("not in the card")
    };
    let hop = transport.card().record(index).expect("installed").hop4;
    let to: Vec<u8> = (0..2)
        .flat_map(|i| transport.card().bar0[&(crate::hops::offset(hop) + 4 * i)].to_be_bytes())
        .collect();
    assert_eq!(to[..6], ROUTER_MAC);
}

#[test]
fn sessions_behind_a_neighbour_that_is_gone_come_back_to_the_host() {
    let (transport, mut gateway) = ready(Geometry::STANDARD);
    let mut config = gateway_config();
    config.xlate.timers.udp = std::time::Duration::from_secs(100_000);
    gateway.reconfigure(0, config).expect("valid");
    exchange(&transport, &mut gateway, 0, 0, &request(0));
    assert_eq!(gateway.stats().installed, 1);
    // Nobody answers for the router any more.
    while gateway
        .next_deadline()
        .is_some_and(|deadline| deadline < neigh::LIFETIME + 10 * SECOND)
    {
        let deadline = gateway.next_deadline().expect("checked");
        gateway.advance(deadline).expect("works");
    }
    assert_eq!((gateway.stats().installed, gateway.stats().deferred), (0, 1));
    assert_eq!(transport.card().entries(), 0);
    exchange(&transport, &mut gateway, 2 * neigh::LIFETIME, 1, &router_answers());
    exchange(&transport, &mut gateway, 2 * neigh::LIFETIME, 0, &request(0));
    exchange(&transport, &mut gateway, 2 * neigh::LIFETIME, 1, &router_answers());
    assert_eq!((gateway.stats().installed, gateway.stats().deferred), (1, 0));
}

#[test]
fn an_unreachable_neighbour_costs_its_packets_and_their_sender_is_told() {
    let mut gateway = soft();
    gateway.record_exceptions(true);
    for n in 0..20 {
        gateway.frame(0, 0, &request(n)).expect("works");
    }
    assert_eq!(gateway.take_output().len(), 1, "one request");
    assert_eq!(gateway.stats().reason(Reason::NeighbourQueueFull), 4);
    assert_eq!(gateway.take_exceptions().len(), 4);
    for second in 1..=3 {
        gateway.advance(second * SECOND).expect("works");
    }
    let (told, asked): (Vec<_>, Vec<_>) = gateway.take_output().into_iter().partition(|frame| frame.0 == 0);
    assert_eq!((asked.len(), told.len()), (2, 16));
    for (_, frame) in told {
        let frame = link::parse(&frame).expect("frame");
        let p = frame.payload;
        assert_eq!((frame.destination, frame.ethertype), (CLIENT_MAC, ETHERTYPE_IPV6));
        assert_eq!(p[24..40], v6("2001:db8::c").octets());
        assert_eq!((p[6], p[40], p[41]), (58, 1, 3), "address unreachable");
        assert_eq!(
            (&p[56..72], &p[72..88]),
            (
                &v6("2001:db8::c").octets()[..],
                &v6("64:ff9b::198.51.100.7").octets()[..]
            )
        );
    }
    assert_eq!(gateway.stats().reason(Reason::NeighbourUnreachable), 16);
    assert_eq!(gateway.stats().waiting, 0);
    assert_eq!(gateway.books().expect("no card").difference(), 0);
}

#[test]
fn bare_ip_packets_need_no_neighbours() {
    let mut config = gateway_config();
    config.link_type = LinkType::Raw;
    let mut gateway = Gateway::new(config.clone(), None, 1).expect("valid");
    let packet = |frame: Vec<u8>| frame[14..].to_vec();
    gateway.frame(0, 0, &packet(request(0))).expect("works");
    let out = gateway.take_output();
    assert_eq!((out.len(), out[0].0, out[0].1[0] >> 4), (1, 1, 4));
    gateway.frame(0, 1, &packet(reply(0))).expect("works");
    let out = gateway.take_output();
    assert_eq!((out[0].0, &out[0].1[24..40]), (0, &v6("2001:db8::c").octets()[..]));

    let (transport, mut gateway) = with_card(config, Geometry::STANDARD);
    gateway.record_exceptions(true);
    let wrapped = link::raw_wrap(0, MACS[0], &packet(request(0))).expect("IPv6");
    let out = exchange(&transport, &mut gateway, 0, 0, &wrapped);
    assert_eq!(link::raw_unwrap(&out[0].1).expect("IPv4")[16..20], [198, 51, 100, 7]);
    assert_eq!(
        (&out[0].1[..6], &out[0].1[6..12]),
        (&link::raw_peer(1)[..], &MACS[1][..])
    );
    assert!(matches!(transport.card().receive(0, &wrapped), Verdict::Hit(..)));
    let wrapped = link::raw_wrap(1, MACS[1], &packet(reply(0))).expect("IPv4");
    assert!(matches!(transport.card().receive(1, &wrapped), Verdict::Hit(..)));
    let punted = Some(Reason::NoSession);
    let want = Exception {
        port: 0,
        frame: packet(request(0)),
        reason: Reason::NoSession,
        punted,
    };
    assert_eq!(gateway.take_exceptions(), [want]);
}

#[test]
fn a_new_configuration_keeps_what_it_allows() {
    let (transport, mut gateway) = ready(Geometry::STANDARD);
    exchange(&transport, &mut gateway, 0, 0, &request(0));
    // Another prefix that stands before the old one in the card's table.
    let mut config = gateway_config();
    let mut term = config.xlate.service_sets[0].terms[0].clone();
    term.name = "t2".into();
    term.from.destination.clear();
    term.then = translate("10::", 96);
    config.xlate.service_sets[0].terms.push(term);
    gateway.reconfigure(1, config.clone()).expect("valid");
    assert_eq!(
        (gateway.translator().session_count(), gateway.stats().installed),
        (1, 1)
    );
    let Verdict::Hit(index, _) = transport.card().receive(0, &request(0)) else {
        panic!("not in the card")
    };
    assert_eq!(transport.card().record(index).expect("installed").pref64, 1);
    assert!(matches!(transport.card().receive(1, &reply(0)), Verdict::Hit(..)));
    // The same again touches nothing.
    let writes = transport.card().writes.len();
    gateway.reconfigure(2, config.clone()).expect("valid");
    assert_eq!(transport.card().writes.len(), writes);
    // A configuration that does not fit changes nothing.
    let mut wide = config.clone();
    wide.xlate.pools[0].ranges = (0..9)
        .map(|i| (Ipv4Addr::new(198, 18, i, 1), Ipv4Addr::new(198, 18, i, 1)))
        .collect();
    assert!(matches!(
        gateway.reconfigure(3, wide),
        Err(GatewayError::Plan(PlanError::TooMany { .. }))
    ));
    assert_eq!(transport.card().writes.len(), writes);
    assert!(matches!(transport.card().receive(0, &request(0)), Verdict::Hit(..)));
    // Without the pool the session cannot live on.
    let mut other = config;
    other.xlate.pools[0].ranges = vec![(v4("198.18.0.1"), v4("198.18.0.9"))];
    gateway.reconfigure(4, other).expect("valid");
    assert_eq!(
        (gateway.translator().session_count(), gateway.stats().installed),
        (0, 0)
    );
    assert_eq!(transport.card().entries(), 0);
    let out = exchange(&transport, &mut gateway, 5, 0, &request(0));
    assert_eq!(out[0].1[26..30], [198, 18, 0, 1]);
}

#[test]
fn sessions_that_are_installed_again_keep_their_activity() {
    let (transport, mut gateway) = ready(Geometry::STANDARD);
    exchange(&transport, &mut gateway, 0, 0, &request(0));
    transport.card().now = 200 * SECOND;
    assert!(matches!(transport.card().receive(0, &request(0)), Verdict::Hit(..)));
    let mut config = gateway_config();
    let mut term = config.xlate.service_sets[0].terms[0].clone();
    term.name = "t2".into();
    term.from.destination.clear();
    term.then = translate("10::", 96);
    config.xlate.service_sets[0].terms.push(term);
    gateway.reconfigure(250 * SECOND, config).expect("valid");
    assert_eq!(transport.card().record(1).expect("installed again").pref64, 1);
    gateway.advance(499 * SECOND).expect("works");
    assert_eq!(
        gateway.stats().installed,
        1,
        "300 s after the card saw it last are not over"
    );
    gateway.advance(502 * SECOND).expect("works");
    assert_eq!(
        (gateway.translator().session_count(), gateway.stats().installed),
        (0, 0)
    );
}

#[test]
fn sessions_live_on_when_their_unit_gets_another_number() {
    let (transport, mut gateway) = ready(Geometry::STANDARD);
    exchange(&transport, &mut gateway, 0, 0, &request(0));
    transport.card().now = 200 * SECOND;
    assert!(matches!(transport.card().receive(0, &request(0)), Verdict::Hit(..)));
    let mut config = gateway_config();
    config.units.reverse();
    config.xlate.units.reverse();
    config.xlate.service_sets[0].outside_unit = 0;
    gateway.reconfigure(250 * SECOND, config).expect("valid");
    assert_eq!(gateway.translator().session_count(), 1);
    // Unit numbers name neighbours too: both are asked for again.
    gateway.poll(250 * SECOND).expect("works");
    transport.card().work();
    transport.card().sent.clear();
    exchange(&transport, &mut gateway, 251 * SECOND, 1, &router_answers());
    exchange(&transport, &mut gateway, 251 * SECOND, 0, &request(0));
    let Verdict::Hit(index, _) = transport.card().receive(0, &request(0)) else {
        panic!("not in the card")
    };
    assert_eq!(transport.card().record(index).expect("installed").unit, 1);
    assert!(matches!(transport.card().receive(1, &reply(0)), Verdict::Hit(..)));
    assert_eq!((gateway.stats().installed, transport.card().entries()), (1, 2));
}

#[test]
fn frames_that_end_here_are_told_with_their_reason() {
    let mut gateway = soft();
    gateway.record_exceptions(true);
    let frame = |ethertype, payload: &[u8]| link::build(MACS[0], CLIENT_MAC, [None; 2], ethertype, payload);
    let tagged = link::build(
        MACS[0],
        CLIENT_MAC,
        [Some(9), None],
        ETHERTYPE_IPV6,
        &udp6(("2001:db8::c", 1), ("64:ff9b::1.2.3.4", 2)),
    );
    let stranger = frame(ETHERTYPE_IPV6, &udp6(("2001:db9::c", 1), ("64:ff9b::1.2.3.4", 2)));
    let cases = [
        (vec![1, 2, 3], Reason::ShortFrame),
        (frame(0x88cc, &[0; 46]), Reason::UnknownEthertype),
        (tagged, Reason::NoUnit),
        (frame(ETHERTYPE_ARP, &[0; 10]), Reason::BadNeighbourMessage),
        (frame(ETHERTYPE_IPV4, &[0x60; 46]), Reason::BadHeader),
        (stranger, Reason::NoRule),
    ];
    for (frame, reason) in cases {
        gateway.frame(0, 0, &frame).expect("works");
        let want = Exception {
            port: 0,
            frame,
            reason,
            punted: None,
        };
        assert_eq!(gateway.take_exceptions(), [want]);
        assert_eq!(gateway.stats().reason(reason), 1, "{reason:?}");
    }
    gateway.filter_mac(true);
    let mut elsewhere = request(0);
    elsewhere[5] ^= 1;
    gateway.frame(0, 0, &elsewhere).expect("works");
    assert_eq!(gateway.take_exceptions()[0].reason, Reason::NotForUs);
    assert!(gateway.take_output().is_empty());
    gateway.frame(0, 7, &request(0)).expect("works");
    assert_eq!(gateway.stats().reason(Reason::NoUnit), 2, "no such port");
}

#[test]
fn the_port_policy_forwards_what_nothing_matches() {
    let mut config = gateway_config();
    config
        .ports
        .iter_mut()
        .for_each(|port| port.policy = PortPolicy::Forward);
    let mut gateway = Gateway::new(config, None, 1).expect("valid");
    let six = |from, to| {
        link::build(
            MACS[0],
            CLIENT_MAC,
            [None; 2],
            ETHERTYPE_IPV6,
            &udp6((from, 1), (to, 2)),
        )
    };
    let four = |to| {
        link::build(
            MACS[1],
            ROUTER_MAC,
            [None; 2],
            ETHERTYPE_IPV4,
            &udp4(("198.51.100.7", 1), (to, 2)),
        )
    };
    let through = [
        (0, six("2001:db8::c", "2001:db8:5::1")),
        (0, six("2001:db9::c", "64:ff9b::1.2.3.4")),
        (1, four("192.0.2.77")),
    ];
    for (port, frame) in through {
        gateway.frame(0, port, &frame).expect("works");
        assert_eq!(gateway.take_output(), [(1 - port, frame)]);
    }
    gateway.frame(0, 1, &four("203.0.113.200")).expect("works");
    assert!(
        gateway.take_output().iter().all(|(port, _)| *port == 1),
        "to the pool: translated or refused, not forwarded"
    );
}

#[test]
fn a_card_that_goes_away_is_an_error_not_a_panic() {
    let (transport, mut gateway) = ready(Geometry::STANDARD);
    exchange(&transport, &mut gateway, 0, 0, &request(0));
    transport.card().faults.gone = true;
    assert!(matches!(
        gateway.card_counters(),
        Err(GatewayError::Device(DeviceError::Gone { .. }))
    ));
}

#[test]
fn units_that_cannot_be_are_refused() {
    let refused = |edit: &dyn Fn(&mut GatewayConfig)| {
        let mut config = gateway_config();
        edit(&mut config);
        Gateway::new(config, None, 1).expect_err("refused").to_string()
    };
    assert_eq!(refused(&|c| c.units[1].port = 2), "unit 1: there is no such port");
    assert_eq!(
        refused(&|c| c.units[0].vlans = [None, Some(1)]),
        "unit 0: an inner VLAN tag needs an outer one"
    );
    assert_eq!(
        refused(&|c| c.units[0].vlans = [Some(4095), None]),
        "unit 0: a VLAN id is at most 4094"
    );
    assert_eq!(
        refused(&|c| c.units[1].port = 0),
        "unit 1: another unit has the same port and VLAN tags"
    );
    assert_eq!(
        refused(&|c| c.units[0].addresses6[0].1 = 129),
        "unit 0: the prefix length of an address is too long"
    );
    assert_eq!(
        refused(&|c| c.ports[0].mac = [1; 6]),
        "the MAC address of port 0 is no unicast address"
    );
    assert_eq!(
        refused(&|c| drop(c.units.pop())),
        "unit 1: the links and the translator have different units"
    );
}

#[test]
fn damaged_frames_never_panic_with_or_without_a_card() {
    let seed = 21;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (transport, mut carded) = ready(SMALL);
    let mut gateway = soft();
    gateway.frame(0, 1, &router_answers()).expect("works");
    for now in 0..4000u64 {
        let port = random.random_range(0..2usize);
        let mut frame = match random.random_range(0..4) {
            0 => request(random.random_range(0..40)),
            1 => reply(random.random_range(0..40)),
            2 => router_answers(),
            _ => (0..random.random_range(0..100)).map(|_| random.random()).collect(),
        };
        for _ in 0..random.random_range(0..3) {
            if !frame.is_empty() {
                let at = random.random_range(0..frame.len());
                frame[at] = random.random();
            }
        }
        frame.truncate(random.random_range(0..=frame.len() + 20));
        let now = now * 100_000_000;
        gateway.frame(now, port, &frame).expect("works");
        gateway.take_output();
        let reason = [Reason::NoSession, Reason::NotIp, Reason::HopLimit][random.random_range(0..3)] as u8;
        let length = frame.len() as u16;
        transport.card().punt_raw(
            ExceptionDescriptor {
                reason,
                length,
                port: port as u8,
                ..Default::default()
            },
            &frame,
        );
        carded.poll(now).expect("works");
        carded.advance(now).expect("works");
        let stats = carded.stats();
        assert!(stats.installed <= 16 && transport.card().entries() == 2 * stats.installed);
        transport.card().sent.clear();
    }
}
