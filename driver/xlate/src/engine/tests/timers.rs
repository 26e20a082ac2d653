//! Exact time, with and without a card.

use super::*;

#[test]
fn deadlines_are_exact_and_processed_in_order() {
    let mut lab = Lab::new(base());
    lab.udp((A, 1), (SERVER, 53));
    lab.now += 1;
    lab.step(INSIDE, &echo6(A, embed(SERVER), 1)).one();
    assert_eq!(lab.nat.next_deadline(), Some(lab.now + 60 * SECOND));
    let log: Vec<Time> = lab.nat.sessions().map(|session| session.deadline).collect();
    assert_eq!(log, [lab.now - 1 + 300 * SECOND, lab.now + 60 * SECOND]);
    lab.pass(1000 * SECOND);
    let order: Vec<u32> = lab.removes().iter().map(|id| id.slot).collect();
    assert_eq!(order, [1, 0], "the echo ended first");
    assert_eq!(lab.nat.next_deadline(), None);
}

#[test]
fn a_long_jump_passes_every_stage_in_its_time() {
    let mut lab = Lab::new(base());
    lab.connect((A, 5000), (SERVER, 80));
    // ESTABLISHED, probe, TRANS and the end within one call.
    lab.pass(20_000 * SECOND);
    assert_eq!((lab.sent().len(), lab.removes().len()), (1, 1));
    lab.assert_empty();
}

#[test]
fn activity_counts_from_the_end_of_its_tick() {
    let mut config = base();
    config.activity_tick = Duration::from_nanos(1 << 26);
    let mut lab = Lab::new(config);
    for (at, end) in [(5 << 26, 6u64 << 26), ((6 << 26) - 1, 6 << 26), (6 << 26, 7 << 26)] {
        lab.now = at;
        lab.udp((A, 1), (SERVER, 53));
        assert_eq!(lab.only_session().deadline, end + 300 * SECOND);
    }
    lab.now = (7 << 26) + 300 * SECOND - 1;
    lab.pass(0);
    assert_eq!(lab.nat.session_count(), 1);
    lab.pass(1).assert_empty();
}

#[test]
fn a_stamp_of_a_card_counts_like_the_packet_it_is_of() {
    use nat64_layout::dump::{stamp_of, stamp_time_ns};
    for at in [9 << 26, (9 << 26) + 1, (10 << 26) - 1, 10 << 26] {
        let mut config = base();
        config.activity_tick = Duration::from_nanos(1 << nat64_layout::TICK_SHIFT);
        let (mut soft, mut card) = (Lab::new(config.clone()), Lab::new(config));
        for lab in [&mut soft, &mut card] {
            lab.now = 5 << 26;
            lab.udp((A, 1), (SERVER, 53));
            lab.now = at;
        }
        soft.udp((A, 1), (SERVER, 53));
        let id = card.only_session().flow.id;
        card.nat
            .touch(id, Direction::SixToFour, stamp_time_ns(stamp_of(at), at + SECOND));
        assert_eq!(card.only_session().deadline, soft.only_session().deadline, "{at}");
    }
}

#[test]
fn what_a_card_saw_counts_like_a_packet() {
    let mut lab = Lab::new(base());
    let start = lab.now;
    lab.udp((A, 1), (SERVER, 53));
    let id = lab.only_session().flow.id;
    let due = |lab: &Lab, at: Time| {
        let mut ids = Vec::new();
        lab.nat.due(at, &mut ids);
        ids
    };
    assert_eq!(due(&lab, start + 300 * SECOND - 1), []);
    assert_eq!(due(&lab, start + 300 * SECOND), [id]);
    lab.nat.touch(id, Direction::FourToSix, start + 250 * SECOND);
    lab.nat.touch(id, Direction::SixToFour, start + 200 * SECOND);
    assert_eq!(due(&lab, start + 300 * SECOND), [], "not due any more");
    lab.pass(300 * SECOND);
    assert_eq!(lab.only_session().deadline, start + 550 * SECOND);
    lab.pass(250 * SECOND).assert_empty();
    lab.nat.touch(id, Direction::SixToFour, lab.now);
    assert_eq!(lab.nat.session(id), None, "an id of the past names nothing");
}

#[test]
fn an_id_does_not_name_the_next_session_in_its_slot() {
    let mut lab = Lab::new(base());
    lab.udp((A, 1), (SERVER, 53));
    let old = lab.only_session().flow.id;
    lab.pass(300 * SECOND).udp((B, 1), (SERVER, 53));
    let new = lab.only_session().flow.id;
    assert_eq!((old.slot, new.slot, old != new), (0, 0, true));
    assert!(lab.nat.session(old).is_none() && lab.nat.session(new).is_some());
}

#[test]
fn only_installed_sessions_are_due_or_touched() {
    let mut lab = Lab::new(base());
    lab.step(INSIDE, &tcp6((A, 1), (embed(SERVER), 80), "S")).one();
    let (id, last) = (lab.only_session().flow.id, lab.only_session().last);
    let mut due = Vec::new();
    lab.nat.due(Time::MAX, &mut due);
    assert_eq!(due, []);
    lab.nat.touch(id, Direction::SixToFour, last + SECOND);
    assert_eq!(lab.only_session().last, last);
}

#[test]
fn the_refresh_direction_is_kept() {
    for (refresh, out, back) in [
        (Refresh::Both, true, true),
        (Refresh::Outbound, true, false),
        (Refresh::Inbound, false, true),
    ] {
        let mut config = base();
        translate(&mut config).mapping_refresh = refresh;
        let mut lab = Lab::new(config);
        let pool = lab.udp((A, 1), (SERVER, 53));
        for (direction, refreshes) in [(Direction::SixToFour, out), (Direction::FourToSix, back)] {
            let id = lab.only_session().flow.id;
            let before = lab.only_session().last;
            lab.now += SECOND;
            lab.nat.touch(id, direction, lab.now);
            assert_eq!(
                lab.only_session().last > before,
                refreshes,
                "touch {refresh:?} {direction:?}"
            );
            let before = lab.only_session().last;
            lab.now += SECOND;
            match direction {
                Direction::SixToFour => lab.udp((A, 1), (SERVER, 53)),
                Direction::FourToSix => lab.step(OUTSIDE, &udp4((SERVER, 53), pool)).one().src4_or_default(),
            };
            assert_eq!(
                lab.only_session().last > before,
                refreshes,
                "packet {refresh:?} {direction:?}"
            );
        }
    }
}

impl Sent {
    fn src4_or_default(&self) -> (Ipv4Addr, u16) {
        (Ipv4Addr::UNSPECIFIED, 0)
    }
}

#[test]
fn an_application_has_a_timeout_of_its_own() {
    let mut config = base();
    config.service_sets[0].terms[0].from.applications = vec![
        Application {
            protocol: Some(Protocol::Udp),
            destination_ports: Some((53, 53)),
            source_ports: None,
            inactivity_timeout: Some(Duration::from_secs(10)),
            application_protocol: "none",
        },
        Application {
            protocol: None,
            destination_ports: None,
            source_ports: None,
            inactivity_timeout: None,
            application_protocol: "none",
        },
    ];
    let mut lab = Lab::new(config);
    lab.udp((A, 1), (SERVER, 53));
    lab.udp((A, 1), (SERVER, 123));
    lab.pass(10 * SECOND);
    assert_eq!(lab.only_session().flow.remote.1, 123);
    lab.pass(290 * SECOND).assert_empty();
}

#[test]
fn a_mapping_can_outlive_its_sessions() {
    let mut config = base();
    config.pools[0].mapping_timeout = Some(Duration::from_secs(120));
    let mut lab = Lab::new(config);
    let pool = lab.udp((A, 1), (SERVER, 53));
    lab.pass(300 * SECOND);
    assert_eq!((lab.nat.session_count(), lab.nat.bib_count()), (0, 1));
    lab.pass(119 * SECOND);
    assert_eq!(lab.udp((A, 1), ("192.0.2.2", 53)), pool, "the same port again");
    lab.pass(300 * SECOND);
    assert_eq!(lab.nat.bib_count(), 1);
    lab.pass(120 * SECOND - 1);
    assert_eq!(lab.nat.bib_count(), 1);
    lab.pass(1).assert_empty();
}

#[test]
fn junos_timers_are_thirty_seconds() {
    let mut config = base();
    config.timers = Timers::JUNOS;
    let mut lab = Lab::new(config);
    lab.udp((A, 1), (SERVER, 53));
    lab.step(INSIDE, &echo6(A, embed(SERVER), 1)).one();
    lab.pass(30 * SECOND).assert_empty();
}
