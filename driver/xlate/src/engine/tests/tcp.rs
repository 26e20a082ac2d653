//! RFC 6146 section 3.5.2, seen from outside.

use super::*;
use crate::packet::{TCP_ACK, TCP_RST};

const CLIENT: (&str, u16) = (A, 5000);
const WEB: (&str, u16) = (SERVER, 80);

fn flags(sent: &Sent) -> u8 {
    match sent.transport {
        Transport::Tcp { flags, .. } => flags,
        other => panic!("{other:?} is no TCP"),
    }
}

fn from_client(lab: &mut Lab, flags: &str) {
    lab.step(INSIDE, &tcp6(CLIENT, (embed(WEB.0), WEB.1), flags)).one();
}

fn from_server(lab: &mut Lab, pool: (Ipv4Addr, u16), flags: &str) {
    lab.step(OUTSIDE, &tcp4(WEB, pool, flags)).one();
}

#[test]
fn a_connection_is_installed_when_it_is_established() {
    let mut lab = Lab::new(base());
    let pool = lab.step(INSIDE, &tcp6(CLIENT, (embed(WEB.0), WEB.1), "S")).one().src4();
    assert_eq!((lab.state(), lab.installs().len()), (State::V6Init, 0));
    from_server(&mut lab, pool, "SA");
    assert_eq!((lab.state(), lab.installs().len()), (State::Established, 1));
    lab.pass(7440 * SECOND - 1);
    assert_eq!(lab.state(), State::Established);
}

#[test]
fn an_unanswered_syn_is_forgotten_after_the_transitory_time() {
    let mut lab = Lab::new(base());
    from_client(&mut lab, "S");
    assert_eq!(lab.nat.stats().embryonic, 1);
    lab.pass(200 * SECOND);
    from_client(&mut lab, "S");
    lab.pass(40 * SECOND);
    from_client(&mut lab, "A");
    lab.pass(200 * SECOND - 1);
    assert_eq!(
        lab.state(),
        State::V6Init,
        "the second SYN began it anew, the ACK did not"
    );
    lab.pass(1).assert_empty();
}

#[test]
fn a_connection_closed_from_both_ends_stays_for_the_transitory_time() {
    for client_first in [true, false] {
        let mut lab = Lab::new(base());
        let pool = lab.connect(CLIENT, WEB);
        if client_first {
            from_client(&mut lab, "FA");
            assert_eq!((lab.state(), lab.removes().len()), (State::V6FinRcv, 0));
            from_server(&mut lab, pool, "FA");
        } else {
            from_server(&mut lab, pool, "FA");
            assert_eq!(lab.state(), State::V4FinRcv);
            from_client(&mut lab, "FA");
        }
        assert_eq!((lab.state(), lab.removes().len()), (State::V4FinV6FinRcv, 1));
        lab.pass(239 * SECOND);
        from_client(&mut lab, "A");
        from_server(&mut lab, pool, "A");
        lab.pass(SECOND).assert_empty();
        assert_eq!(lab.removes(), [], "removed once");
    }
}

#[test]
fn one_fin_does_not_shorten_the_lifetime() {
    let mut lab = Lab::new(base());
    let pool = lab.connect(CLIENT, WEB);
    from_client(&mut lab, "FA");
    lab.pass(7000 * SECOND);
    from_server(&mut lab, pool, "A");
    lab.pass(7439 * SECOND);
    assert_eq!(lab.state(), State::V6FinRcv);
    lab.pass(SECOND);
    lab.assert_empty();
    assert_eq!(lab.nat.stats().probes, 0, "only ESTABLISHED is probed");
}

#[test]
fn a_reset_moves_to_trans_and_data_moves_back() {
    let mut lab = Lab::new(base());
    let pool = lab.connect(CLIENT, WEB);
    from_server(&mut lab, pool, "R");
    assert_eq!((lab.state(), lab.removes().len()), (State::Trans, 1));
    lab.pass(239 * SECOND);
    from_client(&mut lab, "R");
    assert_eq!(lab.state(), State::Trans, "another RST changes nothing");
    from_client(&mut lab, "A");
    assert_eq!((lab.state(), lab.installs().len()), (State::Established, 1));
    lab.pass(7439 * SECOND);
    assert_eq!(lab.state(), State::Established);
    from_client(&mut lab, "RA");
    lab.pass(240 * SECOND - 1);
    assert_eq!(lab.state(), State::Trans);
    lab.pass(1).assert_empty();
}

#[test]
fn an_old_connection_that_is_closed_ends_in_time() {
    // Its timer stands at the end of the long lifetime and must come forward.
    for ending in ["R", "F"] {
        let mut lab = Lab::new(base());
        let pool = lab.connect(CLIENT, WEB);
        lab.pass(1000 * SECOND);
        from_client(&mut lab, ending);
        if ending == "F" {
            from_server(&mut lab, pool, "FA");
        }
        lab.pass(240 * SECOND - 1);
        assert_eq!(lab.nat.session_count(), 1);
        lab.pass(1).assert_empty();
        assert_eq!(lab.sent().len(), 0);
    }
}

#[test]
fn probes_left_over_are_not_sent_after_a_reset() {
    let mut config = base();
    config.timers.tcp_probes = 4;
    let mut lab = Lab::new(config);
    lab.connect(CLIENT, WEB);
    lab.pass(7440 * SECOND);
    from_client(&mut lab, "A");
    from_client(&mut lab, "R");
    lab.pass(240 * SECOND - 1);
    assert_eq!((lab.state(), lab.nat.stats().probes), (State::Trans, 1));
    lab.pass(1).assert_empty();
}

#[test]
fn an_idle_connection_is_probed_then_forgotten() {
    let mut lab = Lab::new(base());
    lab.connect(CLIENT, WEB);
    lab.pass(7440 * SECOND);
    let sent = lab.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].unit, sent[0].translated), (INSIDE, None));
    assert_eq!(
        (sent[0].src, sent[0].dst6()),
        ((embed(SERVER).into(), 80), (v6(A), 5000))
    );
    assert_eq!(flags(&sent[0]), TCP_ACK);
    assert_eq!(sent[0].bytes[44..52], [0; 8]);
    assert_eq!((lab.state(), lab.removes().len()), (State::Trans, 1));
    lab.pass(240 * SECOND - 1);
    assert_eq!(lab.state(), State::Trans);
    lab.pass(1).assert_empty();
}

#[test]
fn the_answer_to_a_probe_keeps_the_connection() {
    let mut lab = Lab::new(base());
    lab.connect(CLIENT, WEB);
    lab.pass(7440 * SECOND + 10);
    from_client(&mut lab, "A");
    assert_eq!((lab.state(), lab.installs().len()), (State::Established, 1));
    lab.pass(7439 * SECOND);
    assert_eq!(lab.state(), State::Established);
}

#[test]
fn several_probes_divide_the_transitory_time() {
    let mut config = base();
    config.timers.tcp_probes = 4;
    let mut lab = Lab::new(config.clone());
    lab.connect(CLIENT, WEB);
    lab.pass(7440 * SECOND);
    for _ in 0..3 {
        assert_eq!(lab.sent().len(), 1);
        lab.pass(60 * SECOND - 1);
        assert_eq!(lab.sent().len(), 0);
        lab.pass(1);
    }
    assert_eq!((lab.sent().len(), lab.nat.stats().probes), (1, 4));
    lab.pass(60 * SECOND).assert_empty();

    config.timers.tcp_probes = 0;
    let mut lab = Lab::new(config);
    lab.connect(CLIENT, WEB);
    lab.pass(7440 * SECOND);
    assert_eq!((lab.sent().len(), lab.state()), (0, State::Trans));
    lab.pass(240 * SECOND).assert_empty();
}

#[test]
fn the_first_segment_must_be_a_syn() {
    let mut config = base();
    let mut lab = Lab::new(config.clone());
    let ack = tcp6(CLIENT, (embed(WEB.0), WEB.1), "A");
    lab.step(INSIDE, &ack).dropped(Reason::TcpNotSyn);
    lab.step(OUTSIDE, &tcp4(WEB, (v4("203.0.113.1"), 1024), "A"))
        .dropped(Reason::NoMapping);
    lab.assert_empty();
    config.service_sets[0].tcp_non_syn = TcpNonSyn::DropSendRst;
    let mut lab = Lab::new(config);
    let reset = lab.step(INSIDE, &ack).answered(Reason::TcpNotSyn);
    assert_eq!(
        (flags(&reset), reset.dst6(), reset.src),
        (TCP_RST, (v6(A), 5000), (embed(SERVER).into(), 80))
    );
    lab.step(INSIDE, &tcp6(CLIENT, (embed(WEB.0), WEB.1), "R"))
        .dropped(Reason::TcpNotSyn);
    lab.assert_empty();
}

#[test]
fn with_a_binding_a_segment_without_session_is_translated_and_leaves_no_state() {
    let mut lab = Lab::new(base());
    let pool = lab.connect(CLIENT, WEB);
    let out = lab.step(INSIDE, &tcp6(CLIENT, (embed("192.0.2.9"), 80), "A")).one();
    assert_eq!(out.src4(), pool);
    let back = lab.step(OUTSIDE, &tcp4(("192.0.2.9", 80), pool, "A")).one();
    assert_eq!(back.dst6(), (v6(A), 5000));
    assert_eq!(lab.nat.session_count(), 1);
}

#[test]
fn a_connection_can_be_opened_from_outside_through_a_binding() {
    let mut config = base();
    let mut lab = Lab::new(config.clone());
    let pool = lab.connect(CLIENT, WEB);
    let syn = tcp4(("192.0.2.9", 99), pool, "S");
    assert_eq!(lab.step(OUTSIDE, &syn).one().dst6(), (v6(A), 5000));
    let opened = lab.nat.sessions().find(|session| session.inbound).unwrap();
    assert_eq!(
        (opened.state, opened.flow.remote),
        (State::V4Init, (v4("192.0.2.9"), 99))
    );
    lab.step(INSIDE, &tcp6(CLIENT, (embed("192.0.2.9"), 99), "SA")).one();
    assert_eq!(lab.nat.session(opened.flow.id).unwrap().state, State::Established);
    assert_eq!(lab.installs()[0].remote, (v4("192.0.2.9"), 99));

    config.service_sets[0].outside_tcp_open = false;
    let mut lab = Lab::new(config);
    let pool = lab.connect(CLIENT, WEB);
    lab.step(OUTSIDE, &tcp4(("192.0.2.9", 99), pool, "S"))
        .dropped(Reason::Filtered);
    lab.step(OUTSIDE, &tcp4(("192.0.2.9", 99), (v4("203.0.113.5"), 1), "S"))
        .dropped(Reason::NoMapping);
}

#[test]
fn an_inbound_syn_nobody_answers_is_forgotten_after_the_transitory_time() {
    let mut lab = Lab::new(base());
    let pool = lab.connect(CLIENT, WEB);
    lab.step(OUTSIDE, &tcp4(("192.0.2.9", 99), pool, "S")).one();
    lab.pass(240 * SECOND - 1);
    assert_eq!(lab.nat.session_count(), 2);
    lab.pass(1);
    assert_eq!((lab.nat.session_count(), lab.drops().len()), (1, 0));
}

#[test]
fn a_syn_without_binding_waits_six_seconds() {
    let mut lab = Lab::new(base());
    let syn = tcp4(WEB, (v4("203.0.113.1"), 1024), "S");
    lab.step(OUTSIDE, &syn).held();
    assert_eq!(
        (lab.nat.stored_syns(), lab.nat.session_count(), lab.nat.bib_count()),
        (1, 0, 0)
    );
    assert_eq!(lab.nat.next_deadline(), Some(lab.now + 6 * SECOND));
    lab.step(OUTSIDE, &syn).dropped(Reason::NoMapping);
    lab.pass(6 * SECOND - 1).held();
    lab.pass(1);
    let answer = lab.answered(Reason::SynTimeout);
    assert_eq!(
        (answer.icmp(), answer.dst.0, answer.unit),
        ((3, 3), v4(SERVER).into(), OUTSIDE)
    );
    assert_eq!(answer.bytes[28..], syn, "with the SYN in it");
    lab.assert_empty();
}

#[test]
fn simultaneous_open_without_binding() {
    let mut lab = Lab::new(base());
    // The first binding of TCP gets 203.0.113.1 port 1024.
    lab.step(OUTSIDE, &tcp4(WEB, (v4("203.0.113.1"), 1024), "S")).held();
    lab.now += 5 * SECOND;
    from_client(&mut lab, "S");
    assert_eq!(
        (lab.state(), lab.nat.stored_syns(), lab.installs().len()),
        (State::Established, 0, 1)
    );
    assert_eq!(lab.nat.stats().stored_syns_met, 1);
    lab.pass(2 * SECOND).held();
}

#[test]
fn simultaneous_open_behind_a_filter() {
    for filtering in [Filtering::AddressDependent, Filtering::AddressAndPortDependent] {
        let mut config = base();
        translate(&mut config).filtering = filtering;
        let mut lab = Lab::new(config);
        let pool = lab.connect(CLIENT, WEB);
        let stranger = ("192.0.2.9", 99);
        lab.step(OUTSIDE, &tcp4(stranger, pool, "S")).held();
        lab.step(OUTSIDE, &tcp4(stranger, pool, "A")).dropped(Reason::Filtered);
        lab.step(OUTSIDE, &tcp4(stranger, pool, "S")).dropped(Reason::Filtered);
        let waiting = lab.nat.sessions().find(|session| session.inbound).unwrap();
        assert_eq!((waiting.state, lab.nat.stored_syns()), (State::V4InitStored, 1));
        lab.now += 5 * SECOND;
        assert_eq!(
            lab.step(INSIDE, &tcp6(CLIENT, (embed("192.0.2.9"), 99), "S"))
                .one()
                .src4(),
            pool
        );
        assert_eq!(lab.nat.session(waiting.flow.id).unwrap().state, State::Established);
        assert_eq!(lab.nat.stored_syns(), 0);
        lab.pass(10 * SECOND).held();
        lab.step(OUTSIDE, &tcp4(stranger, pool, "A")).one();
        lab.pass(10_000 * SECOND).pass(10_000 * SECOND).assert_empty();
    }
}

#[test]
fn a_syn_the_filter_stores_ends_in_port_unreachable() {
    let mut config = base();
    translate(&mut config).filtering = Filtering::AddressDependent;
    let mut lab = Lab::new(config);
    let pool = lab.connect(CLIENT, WEB);
    let syn = tcp4(("192.0.2.9", 99), pool, "S");
    lab.step(OUTSIDE, &syn).held();
    lab.pass(6 * SECOND);
    let answer = lab.answered(Reason::SynTimeout);
    assert_eq!((answer.icmp(), answer.bytes[28..].to_vec()), ((3, 3), syn));
    assert_eq!((lab.nat.session_count(), lab.nat.stored_syns()), (1, 0));
}

#[test]
fn stored_syns_are_bounded() {
    let mut config = base();
    config.limits.stored_syns = 3;
    let mut lab = Lab::new(config);
    for port in 0..3 {
        lab.step(OUTSIDE, &tcp4((SERVER, port), (v4("203.0.113.7"), 2000), "S"))
            .held();
    }
    lab.step(OUTSIDE, &tcp4((SERVER, 4), (v4("203.0.113.7"), 2000), "S"))
        .dropped(Reason::SynStoreFull);
    lab.pass(6 * SECOND);
    assert_eq!(lab.drops(), [Reason::SynTimeout; 3]);
    lab.step(OUTSIDE, &tcp4((SERVER, 4), (v4("203.0.113.7"), 2000), "S"))
        .held();
}
