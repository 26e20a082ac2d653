//! Neighbour resolution as the other side of the wire sees it.

use rand::{rngs::StdRng, Rng, SeedableRng};

use nat64_xlate::checksum;

use super::*;

const OURS: Mac = [2, 0, 0, 0, 0, 0xaa];
const PEER: Mac = [2, 0, 0, 0, 0, 0xbb];
const OTHER: Mac = [2, 0, 0, 0, 0, 0xcc];
const SECOND: Time = 1_000_000_000;

fn v4(text: &str) -> Ipv4Addr {
    text.parse().expect("IPv4")
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect("IPv6")
}

/// Unit 0: IPv6 inside; unit 1: IPv4 outside, tagged, with a pool.
fn units() -> Vec<UnitNet> {
    vec![
        UnitNet {
            mac: OURS,
            addresses6: vec![(v6("2001:db8::1"), 64)],
            ..UnitNet::default()
        },
        UnitNet {
            port: 1,
            vlans: [Some(7), None],
            mac: OURS,
            addresses4: vec![(v4("192.0.2.1"), 24)],
            gateway4: Some(v4("192.0.2.254")),
            proxy4: vec![(v4("203.0.113.1"), v4("203.0.113.254"))],
            ..UnitNet::default()
        },
    ]
}

fn packet4(to: &str) -> Vec<u8> {
    let mut packet = vec![0; 28];
    packet[0] = 0x45;
    packet[3] = 28;
    packet[16..20].copy_from_slice(&v4(to).octets());
    packet
}

fn packet6(to: &str) -> Vec<u8> {
    let mut packet = vec![0; 48];
    packet[0] = 0x60;
    packet[5] = 8;
    packet[24..40].copy_from_slice(&v6(to).octets());
    packet
}

fn run(call: impl FnOnce(&mut Output)) -> Output {
    let mut out = Output::default();
    call(&mut out);
    out
}

/// The ARP message of a frame: operation, sender, target.
fn arp_of(frame: &(usize, Vec<u8>)) -> (u16, Mac, Ipv4Addr, Ipv4Addr) {
    let parsed = link::parse(&frame.1).expect("frame");
    assert_eq!(parsed.ethertype, ETHERTYPE_ARP);
    let p = parsed.payload;
    let ip = |at: usize| Ipv4Addr::new(p[at], p[at + 1], p[at + 2], p[at + 3]);
    (u16::from(p[7]), p[8..14].try_into().expect("6"), ip(14), ip(24))
}

#[test]
fn packets_wait_for_the_arp_answer_and_leave_in_order() {
    let mut n = Neighbours::new(units());
    let first = run(|out| n.send(0, 1, &packet4("198.51.100.9"), true, out));
    assert_eq!(first.frames.len(), 1);
    assert_eq!(&first.frames[0].1[..6], &BROADCAST);
    // Off link: the gateway is asked for, with our address of its subnet.
    assert_eq!(arp_of(&first.frames[0]), (1, OURS, v4("192.0.2.1"), v4("192.0.2.254")));
    assert_eq!(first.frames[0].0, 1);
    let second = run(|out| n.send(1, 1, &packet4("198.51.100.10"), true, out));
    assert_eq!((second.frames.len(), n.waiting()), (0, 2));
    let answer = arp(2, (PEER, v4("192.0.2.254")), (OURS, v4("192.0.2.1")));
    let third = run(|out| n.arp(2, 1, &answer, out));
    let gateway = (1, IpAddr::V4(v4("192.0.2.254")));
    assert_eq!(third.changed, [gateway]);
    let want = |to| {
        (
            1,
            link::build(PEER, OURS, [Some(7), None], ETHERTYPE_IPV4, &packet4(to)),
        )
    };
    assert_eq!(third.frames, [want("198.51.100.9"), want("198.51.100.10")]);
    assert_eq!((n.waiting(), n.mac(gateway)), (0, Some(PEER)));
    let fourth = run(|out| n.send(3, 1, &packet4("198.51.100.11"), true, out));
    assert_eq!(fourth.frames, [want("198.51.100.11")]);
}

#[test]
fn silence_ends_after_three_requests_a_second_apart() {
    let mut n = Neighbours::new(units());
    run(|out| n.send(0, 1, &packet4("192.0.2.9"), true, out));
    for second in 1..3 {
        assert_eq!(n.next_deadline(), Some(second * SECOND));
        assert_eq!(run(|out| n.advance(second * SECOND - 1, out)), Output::default());
        let again = run(|out| n.advance(second * SECOND, out));
        assert_eq!((again.frames.len(), again.drops.len()), (1, 0));
    }
    let end = run(|out| n.advance(3 * SECOND, out));
    assert_eq!((end.frames.len(), end.drops), (0, vec![Reason::NeighbourUnreachable]));
    assert_eq!(end.unreachable, [(1, packet4("192.0.2.9"))]);
    assert_eq!((n.stats().requests, n.stats().answers, n.stats().taken), (3, 0, 0));
    // About packets of ours nobody is told.
    run(|out| n.send(4 * SECOND, 1, &packet4("192.0.2.9"), false, out));
    let end = run(|out| n.advance(9 * SECOND, out));
    assert_eq!((end.drops.len(), end.unreachable.len()), (1, 0));
    assert_eq!((n.len(), n.waiting(), n.next_deadline()), (0, 0, None));
}

#[test]
fn the_waiting_queue_is_bounded() {
    let mut n = Neighbours::new(units());
    let out = run(|out| (0..QUEUE + 3).for_each(|_| n.send(0, 1, &packet4("192.0.2.9"), true, out)));
    assert_eq!(out.drops, [Reason::NeighbourQueueFull; 3]);
    assert_eq!(n.waiting(), QUEUE);
    let mut drops = 0;
    for host in 10..=250 {
        drops += run(|out| (0..QUEUE).for_each(|_| n.send(0, 1, &packet4(&format!("192.0.2.{host}")), true, out)))
            .drops
            .len();
    }
    assert_eq!(n.waiting(), QUEUE_ALL);
    assert_eq!(drops, 241 * QUEUE + QUEUE - QUEUE_ALL);
}

#[test]
fn arp_is_answered_for_our_addresses_and_pool_addresses_only() {
    let mut n = Neighbours::new(units());
    for target in ["192.0.2.1", "203.0.113.1", "203.0.113.254"] {
        let request = arp(1, (PEER, v4("192.0.2.254")), ([0; 6], v4(target)));
        let out = run(|out| n.arp(0, 1, &request, out));
        assert_eq!(out.frames.len(), 1, "{target}");
        assert_eq!(&out.frames[0].1[..6], &PEER);
        assert_eq!(arp_of(&out.frames[0]), (2, OURS, v4(target), v4("192.0.2.254")));
    }
    assert_eq!(
        n.mac((1, IpAddr::V4(v4("192.0.2.254")))),
        Some(PEER),
        "who asks us is known"
    );
    for target in ["192.0.2.2", "203.0.113.0", "203.0.113.255"] {
        let request = arp(1, (OTHER, v4("192.0.2.77")), ([0; 6], v4(target)));
        let out = run(|out| n.arp(0, 1, &request, out));
        assert_eq!((out.frames.len(), out.drops), (0, vec![Reason::NotForUs]), "{target}");
    }
    assert_eq!(n.mac((1, IpAddr::V4(v4("192.0.2.77")))), None, "who asks others is not");
    // A probe (sender 0.0.0.0) is answered and not learned.
    let probe = arp(1, (OTHER, Ipv4Addr::UNSPECIFIED), ([0; 6], v4("192.0.2.1")));
    assert_eq!(run(|out| n.arp(0, 1, &probe, out)).frames.len(), 1);
    assert_eq!(n.len(), 1);
    // On the inside unit there is no pool.
    let request = arp(1, (PEER, v4("192.0.2.254")), ([0; 6], v4("203.0.113.1")));
    assert_eq!(run(|out| n.arp(0, 0, &request, out)).frames.len(), 0);
}

#[test]
fn bad_arp_messages_change_nothing() {
    let mut n = Neighbours::new(units());
    let good = arp(1, (PEER, v4("192.0.2.254")), ([0; 6], v4("192.0.2.1")));
    for cut in 0..28 {
        assert_eq!(
            run(|out| n.arp(0, 1, &good[..cut], out)).drops,
            [Reason::BadNeighbourMessage]
        );
    }
    let mut bad: Vec<[u8; 28]> = (0..6)
        .map(|i| {
            let mut m = good;
            m[i] ^= 0x40;
            m
        })
        .collect();
    bad.push(arp(3, (PEER, v4("192.0.2.254")), ([0; 6], v4("192.0.2.1"))));
    bad.push(arp(1, ([1; 6], v4("192.0.2.254")), ([0; 6], v4("192.0.2.1"))));
    bad.push(arp(1, ([0; 6], v4("192.0.2.254")), ([0; 6], v4("192.0.2.1"))));
    bad.push(arp(2, (PEER, v4("192.0.2.1")), ([0; 6], v4("192.0.2.1"))));
    bad.push(arp(2, (PEER, v4("203.0.113.7")), ([0; 6], v4("203.0.113.7"))));
    for message in bad {
        let out = run(|out| n.arp(0, 1, &message, out));
        assert_eq!(
            (out.frames.len(), out.drops),
            (0, vec![Reason::BadNeighbourMessage]),
            "{message:x?}"
        );
    }
    assert!(n.is_empty());
}

#[test]
fn neighbour_discovery_asks_and_understands_the_answer() {
    let mut n = Neighbours::new(units());
    let out = run(|out| n.send(0, 0, &packet6("2001:db8::123:4567"), true, out));
    let frame = link::parse(&out.frames[0].1).expect("frame");
    assert_eq!(frame.destination, [0x33, 0x33, 0xff, 0x23, 0x45, 0x67]);
    let ask = Message::parse(frame.payload).expect("valid by its own rules");
    let target = v6("2001:db8::123:4567");
    assert_eq!(
        (ask.kind, ask.source, ask.target, ask.lladdr),
        (135, v6("2001:db8::1"), target, Some(OURS))
    );
    let answer = discovery(136, 0x60, target, v6("2001:db8::1"), target, (OPTION_TARGET, PEER));
    let out = run(|out| n.discovery(1, 0, &answer, out));
    let want = link::build(PEER, OURS, [None; 2], ETHERTYPE_IPV6, &packet6("2001:db8::123:4567"));
    assert_eq!(out.frames, [(0, want)]);
    // Another address without the override flag is not believed; with it, it is.
    let key = (0, IpAddr::V6(target));
    let other = |flags| discovery(136, flags, target, v6("ff02::1"), target, (OPTION_TARGET, OTHER));
    run(|out| n.discovery(2, 0, &other(0), out));
    assert_eq!(n.mac(key), Some(PEER));
    assert_eq!(run(|out| n.discovery(2, 0, &other(0x20), out)).changed, [key]);
    assert_eq!(n.mac(key), Some(OTHER));
}

#[test]
fn solicitations_for_our_addresses_are_answered() {
    let mut n = Neighbours::new(units());
    let (client, local) = (v6("2001:db8::c"), units()[0].link_local());
    assert_eq!(local, v6("fe80::ff:fe00:aa"));
    for target in [v6("2001:db8::1"), local] {
        let ask = discovery(135, 0, client, solicited_node(target), target, (OPTION_SOURCE, PEER));
        let out = run(|out| n.discovery(0, 0, &ask, out));
        let frame = link::parse(&out.frames[0].1).expect("frame");
        assert_eq!(frame.destination, PEER);
        let answer = Message::parse(frame.payload).expect("valid");
        assert_eq!(
            (answer.kind, answer.source, answer.target, answer.flags),
            (136, target, target, 0xe0)
        );
        assert_eq!(answer.lladdr, Some(OURS));
    }
    assert_eq!(n.mac((0, IpAddr::V6(client))), Some(PEER), "who asks us is known");
    let target = v6("2001:db8::2");
    let ask = discovery(135, 0, client, solicited_node(target), target, (OPTION_SOURCE, PEER));
    assert_eq!(run(|out| n.discovery(0, 0, &ask, out)).drops, [Reason::NotForUs]);
    // Duplicate address detection: no option, unspecified source, answer to all nodes.
    let target = v6("2001:db8::1");
    let mut probe = discovery(
        135,
        0,
        Ipv6Addr::UNSPECIFIED,
        solicited_node(target),
        target,
        (OPTION_SOURCE, PEER),
    )[..64]
        .to_vec();
    probe[5] = 24;
    fix_checksum(&mut probe);
    let out = run(|out| n.discovery(0, 0, &probe, out));
    let frame = link::parse(&out.frames[0].1).expect("frame");
    assert_eq!(frame.destination, [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(Message::parse(frame.payload).expect("valid").flags, 0xa0);
}

fn fix_checksum(packet: &mut [u8]) {
    packet[42..44].fill(0);
    let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).expect("16"));
    let length = packet.len() as u32 - 40;
    let sum = checksum::finish(checksum::pseudo6(address(8), address(24), length, 58) + checksum::sum(&packet[40..]));
    packet[42..44].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn bad_discovery_messages_change_nothing() {
    let target = v6("2001:db8::1");
    let good = discovery(
        135,
        0,
        v6("2001:db8::c"),
        solicited_node(target),
        target,
        (OPTION_SOURCE, PEER),
    );
    let edit = |at: usize, value: u8, fix: bool| {
        let mut packet = good.to_vec();
        packet[at] = value;
        if fix {
            fix_checksum(&mut packet);
        }
        packet
    };
    let cases = [
        ("hop limit", edit(7, 254, false)),
        ("checksum", edit(71, 0, false)),
        ("code", edit(41, 1, true)),
        ("option of length 0", edit(65, 0, true)),
        ("option past the end", edit(65, 2, true)),
        ("multicast target", edit(48, 0xff, true)),
        ("multicast source", edit(8, 0xff, true)),
        ("multicast MAC", edit(66, 1, true)),
        ("length", edit(5, 33, false)),
    ];
    let mut n = Neighbours::new(units());
    for (what, packet) in cases {
        let out = run(|out| n.discovery(0, 0, &packet, out));
        assert_eq!(
            (out.frames.len(), out.drops),
            (0, vec![Reason::BadNeighbourMessage]),
            "{what}"
        );
    }
    for cut in 0..good.len() {
        assert_eq!(
            run(|out| n.discovery(0, 0, &good[..cut], out)).frames.len(),
            0,
            "cut to {cut}"
        );
    }
    assert!(n.is_empty());
    assert_eq!(
        run(|out| n.discovery(0, 0, &good, out)).frames.len(),
        1,
        "and the good one is good"
    );
}

#[test]
fn auto_last_hop_learns_but_never_overrides_what_is_known() {
    let mut nets = units();
    nets[0].auto_last_hop = true;
    let mut n = Neighbours::new(nets);
    let far = IpAddr::V6(v6("2001:db8:9::9"));
    assert_eq!(run(|out| n.learn(0, 0, far, PEER, out)).changed, [(0, far)]);
    let out = run(|out| n.send(0, 0, &packet6("2001:db8:9::9"), true, out));
    assert_eq!(&out.frames[0].1[..6], &PEER);
    assert_eq!(run(|out| n.learn(1, 0, far, OTHER, out)), Output::default());
    assert_eq!(
        n.mac((0, far)),
        Some(PEER),
        "one packet with a foreign source does not turn its owner's traffic away"
    );
    let near = v6("2001:db8::5");
    let told = discovery(
        135,
        0,
        near,
        solicited_node(v6("2001:db8::1")),
        v6("2001:db8::1"),
        (OPTION_SOURCE, PEER),
    );
    run(|out| n.discovery(2, 0, &told, out));
    assert_eq!(
        run(|out| n.learn(3, 0, IpAddr::V6(near), OTHER, out)),
        Output::default()
    );
    assert_eq!(n.mac((0, IpAddr::V6(near))), Some(PEER));
    for bad in ["::", "ff02::1", "::1", "2001:db8::1"] {
        run(|out| n.learn(4, 0, IpAddr::V6(v6(bad)), OTHER, out));
    }
    run(|out| n.learn(4, 0, IpAddr::V6(v6("2001:db8::77")), [1; 6], out));
    run(|out| n.learn(4, 1, IpAddr::V4(v4("192.0.2.3")), PEER, out));
    assert_eq!(n.len(), 2);
}

#[test]
fn entries_end_with_their_lifetime_and_are_asked_again_when_in_use() {
    let mut n = Neighbours::new(units());
    let told = |n: &mut Neighbours, now, last| {
        let sender = Ipv4Addr::new(192, 0, 2, last);
        let answer = arp(1, (PEER, sender), (OURS, v4("192.0.2.1")));
        run(|out| n.arp(now, 1, &answer, out));
        (1, IpAddr::V4(sender))
    };
    let (idle, used) = (told(&mut n, 0, 50), told(&mut n, 0, 60));
    n.pin(used);
    let out = run(|out| n.advance(LIFETIME, out));
    assert_eq!((n.mac(idle), n.mac(used)), (None, Some(PEER)));
    assert_eq!(out.frames.len(), 1, "the one in use is asked for");
    assert_eq!(arp_of(&out.frames[0]).3, v4("192.0.2.60"));
    told(&mut n, LIFETIME + 1, 60);
    let out = run(|out| n.advance(2 * LIFETIME, out));
    assert_eq!((out.frames.len(), n.mac(used)), (0, Some(PEER)), "it answered");
    let mut asked = 0;
    let mut lost = Vec::new();
    while let Some(deadline) = n.next_deadline() {
        let out = run(|out| n.advance(deadline, out));
        asked += out.frames.len();
        lost.extend(out.lost);
    }
    assert_eq!((asked, lost), (3, vec![used]));
    assert!(n.is_empty());
}

#[test]
fn the_table_is_bounded_and_keeps_what_is_in_use() {
    let mut nets = units();
    nets[0].auto_last_hop = true;
    let mut n = Neighbours::new(nets);
    let address = |i: u32| IpAddr::V6(Ipv6Addr::from(0x2001_0db8_0000_0001_u128 << 64 | u128::from(i)));
    run(|out| n.learn(0, 0, address(0), PEER, out));
    n.pin((0, address(0)));
    for i in 1..ENTRIES as u32 + 100 {
        run(|out| n.learn(u64::from(i), 0, address(i), PEER, out));
    }
    assert_eq!(n.len(), ENTRIES);
    assert_eq!(n.mac((0, address(0))), Some(PEER));
    assert_eq!(n.mac((0, address(1))), None);
    assert_eq!(n.mac((0, address(ENTRIES as u32 + 99))), Some(PEER));
}

#[test]
fn changed_units_lose_their_neighbours_and_their_waiting_packets() {
    let mut n = Neighbours::new(units());
    run(|out| n.add_fixed(0, 0, IpAddr::V6(v6("2001:db8::9")), PEER, out));
    run(|out| n.send(0, 1, &packet4("192.0.2.9"), true, out));
    let mut nets = units();
    nets[1].proxy4.clear();
    let out = run(|out| n.reconfigure(nets.clone(), out));
    assert_eq!((out.drops.len(), n.len()), (0, 2), "another pool is no other link");
    nets[1].vlans = [None; 2];
    let out = run(|out| n.reconfigure(nets, out));
    assert_eq!(
        (out.drops, n.len(), n.waiting()),
        (vec![Reason::NeighbourUnreachable], 1, 0)
    );
    let out = run(|out| n.send(0, 7, &packet4("192.0.2.9"), true, out));
    assert_eq!(out.drops, [Reason::NoUnit]);
}

#[test]
fn a_port_with_another_link_loses_its_neighbours_but_those_that_are_kept() {
    let mut neighbours = Neighbours::new(units());
    let (port, mac) = (neighbours.units()[1].port, [2, 0, 0, 0, 0, 9]);
    let address = |last: u8| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    let other = (0..units().len()).find(|&unit| neighbours.units()[unit].port != port);
    run(|out| neighbours.restore(0, (1, address(9)), mac, out));
    run(|out| neighbours.add_fixed(0, 1, address(10), mac, out));
    run(|out| neighbours.restore(0, (1, address(11)), mac, out));
    neighbours.pin((1, address(11)));
    if let Some(other) = other {
        run(|out| neighbours.restore(0, (other, address(12)), mac, out));
    }
    run(|out| neighbours.send(0, 1, &packet4("192.0.2.13"), true, out));
    let out = run(|out| neighbours.forget_port(port, out));
    assert_eq!(out.drops, [Reason::NeighbourUnreachable], "the packet that waited");
    assert_eq!(neighbours.mac((1, address(9))), None);
    assert_eq!(neighbours.mac((1, address(10))), Some(mac), "fixed");
    assert_eq!(neighbours.mac((1, address(11))), Some(mac), "in use");
    if let Some(other) = other {
        assert_eq!(neighbours.mac((other, address(12))), Some(mac), "another port");
    }
    assert_eq!(neighbours.waiting(), 0);
}

#[test]
fn random_messages_never_panic_and_stay_bounded() {
    let seed = 11;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut n = Neighbours::new(units());
    let target = v6("2001:db8::1");
    let good = discovery(
        135,
        0,
        v6("2001:db8::c"),
        solicited_node(target),
        target,
        (OPTION_SOURCE, PEER),
    );
    let good_arp = arp(1, (PEER, v4("192.0.2.254")), ([0; 6], v4("192.0.2.1")));
    for now in 0..20_000u64 {
        let mut six = good.to_vec();
        let mut four = good_arp.to_vec();
        for _ in 0..random.random_range(0..4) {
            let at = random.random_range(0..six.len());
            six[at] = random.random();
            let at = random.random_range(0..four.len());
            four[at] = random.random();
        }
        if random.random() && six[40..].len() >= 4 {
            fix_checksum(&mut six);
        }
        six.truncate(random.random_range(0..=72));
        run(|out| n.discovery(now, 0, &six, out));
        run(|out| n.arp(now, 1, &four, out));
        run(|out| n.send(now, random.random_range(0..3), &six, true, out));
        run(|out| n.advance(now * 1_000_000, out));
        assert!(n.len() <= ENTRIES && n.waiting() <= QUEUE_ALL);
    }
}

#[test]
fn a_neighbour_in_use_is_not_pushed_out_by_strangers() {
    let mut nets = units();
    nets[0].auto_last_hop = true;
    let mut n = Neighbours::new(nets);
    let friend = (0, IpAddr::V6(v6("2001:db8::f")));
    run(|out| n.learn(0, 0, friend.1, PEER, out));
    for stranger in 0..2 * ENTRIES as u64 {
        let now = 1 + stranger;
        let address = Ipv6Addr::from(0x2001_0db8_0000_0000_0000_0000_0001_0000 + u128::from(stranger));
        run(|out| n.learn(now, 0, address.into(), OTHER, out));
        if stranger % 1000 == 0 {
            run(|out| n.learn(now, 0, friend.1, PEER, out));
        }
    }
    assert_eq!(n.len(), ENTRIES);
    assert_eq!(n.mac(friend), Some(PEER));
    // One that says nothing goes with the others.
    for stranger in 0..2 * ENTRIES as u64 {
        let address = Ipv6Addr::from(0x2001_0db8_0000_0000_0000_0000_0002_0000 + u128::from(stranger));
        run(|out| n.learn(100_000 + stranger, 0, address.into(), OTHER, out));
    }
    assert_eq!((n.len(), n.mac(friend)), (ENTRIES, None));
}

/// Many that are in use were known first, so they stood in front when the table filled up: the first of them was pushed out
/// although others said nothing.
#[test]
fn many_neighbours_in_use_are_not_pushed_out_by_strangers() {
    let mut nets = units();
    nets[0].auto_last_hop = true;
    let mut n = Neighbours::new(nets);
    let friend = |i: u64| Ipv6Addr::from(0x2001_0db8_0000_0000_0000_0000_0004_0000 + u128::from(i));
    for stranger in 0..3 * ENTRIES as u64 {
        let now = 1 + stranger;
        let address = Ipv6Addr::from(0x2001_0db8_0000_0000_0000_0000_0001_0000 + u128::from(stranger));
        run(|out| n.learn(now, 0, address.into(), OTHER, out));
        if stranger % 1000 == 0 {
            (0..200).for_each(|i| drop(run(|out| n.learn(now, 0, friend(i).into(), PEER, out))));
        }
        // So they are looked for, not known, whose timers end first.
        if stranger % 10 == 0 && stranger < 2000 {
            let to = format!("2001:db8:0:1::{stranger:x}");
            run(|out| n.resolve(now, 0, v6(&to).into(), out));
        }
    }
    assert_eq!(n.len(), ENTRIES);
    assert!((0..200).all(|i| n.mac((0, friend(i).into())) == Some(PEER)));
}

/// A table full of searches has room for nobody: packets to addresses that nobody has make no more of them than may wait.
#[test]
fn a_sweep_over_empty_addresses_leaves_room() {
    let mut n = Neighbours::new(units());
    let mut full = 0;
    for i in 0..2 * ENTRIES as u128 {
        let mut packet = vec![0; 48];
        packet[0] = 0x60;
        packet[24..40].copy_from_slice(&(0x2001_0db8_0000_0000_0000_0000_0005_0000 + i).to_be_bytes());
        let out = run(|out| n.send(0, 0, &packet, true, out));
        full += out
            .drops
            .iter()
            .filter(|&&drop| drop == Reason::NeighbourQueueFull)
            .count();
    }
    assert_eq!(
        (n.waiting(), n.len(), full),
        (QUEUE_ALL, QUEUE_ALL, 2 * ENTRIES - QUEUE_ALL)
    );
}

#[test]
fn a_gateway_is_not_pushed_out_by_strangers() {
    let mut nets = units();
    nets[0].auto_last_hop = true;
    let mut n = Neighbours::new(nets);
    let gateway = (1, IpAddr::V4(v4("192.0.2.254")));
    // It is heard of once, when it answers our request; what it forwards tells nothing of it.
    run(|out| n.send(0, 1, &packet4("198.51.100.1"), true, out));
    let answer = arp(2, (PEER, v4("192.0.2.254")), (OURS, v4("192.0.2.1")));
    run(|out| n.arp(1, 1, &answer, out));
    assert_eq!(n.mac(gateway), Some(PEER));
    for stranger in 0..2 * ENTRIES as u64 {
        let address = Ipv6Addr::from(0x2001_0db8_0000_0000_0000_0000_0003_0000 + u128::from(stranger));
        run(|out| n.learn(2 + stranger, 0, address.into(), OTHER, out));
    }
    assert_eq!((n.len(), n.mac(gateway)), (ENTRIES, Some(PEER)));
}
