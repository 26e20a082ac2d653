//! Dry runs: what they say, and that they change nothing. That they say what comes is checked by the random walks.

use super::*;

fn says(told: &Explanation) -> Vec<String> {
    told.stages.iter().map(ToString::to_string).collect()
}

#[test]
fn each_stage_says_what_it_decided() {
    let mut lab = Lab::new(base());
    let packet = udp6((A, 1), (embed(SERVER), 53));
    let told = lab.nat.explain(lab.now, INSIDE, &packet);
    assert_eq!(
        says(&told),
        [
            "parse       IPv6 2001:db8::a -> 2001:db8:64::c000:201, UDP 1 -> 53, hop limit 64, 56 bytes",
            "unit        unit in, service set s",
            "address     2001:db8:64::c000:201 stands for 192.0.2.1 under 2001:db8:64::/96",
            "session     no session",
            "rule        rule r term t",
            "pool        pool p gives a port to a new binding",
            "translation with a port still to be chosen, leaves by unit out, and a session is opened",
        ]
    );
    assert_eq!((told.service_set, told.term, told.session), (Some(0), Some(0), None));
    assert_eq!((lab.nat.session_count(), lab.nat.bib_count()), (0, 0));

    let pool = lab.udp((A, 1), (SERVER, 53));
    let told = lab.nat.explain(lab.now, OUTSIDE, &udp4((SERVER, 53), pool));
    assert_eq!(
        says(&told)[3..],
        [
            "binding     203.0.113.1 port 1024 is bound to 2001:db8::a port 1",
            "session     session 0, OPEN, its lifetime begins anew, carried by the card",
            "translation 54 bytes, leaves by unit in",
        ]
    );
    assert_eq!(told.session.map(|session| session.flow.pool), Some(pool));
    assert_eq!(told.packets.len(), 1);
    read(INSIDE, Some(Direction::FourToSix), &told.packets[0]);
}

#[test]
fn refusals_name_their_reason() {
    let mut config = base();
    config.service_sets[0].terms[0].then = Action::NoTranslation;
    config.service_sets[0].terms.push(term("u", "2001:db8:65::", 0));
    config.limits.icmp_errors_per_second = 1;
    let mut lab = Lab::new(config);
    let explain = |lab: &Lab, unit, packet: &[u8]| lab.nat.explain(lab.now, unit, packet);
    let refused = |reason| Verdict::Dropped {
        reason,
        answered: false,
    };
    let told = explain(&lab, 7, &udp6((A, 1), (embed(SERVER), 53)));
    assert_eq!(told.verdict, refused(Reason::NoUnit));
    let told = explain(&lab, INSIDE, &udp6((A, 1), (v6("2001:db8:1::1"), 53)));
    assert_eq!(told.verdict, refused(Reason::NoRule));
    let told = explain(&lab, INSIDE, &[0x45]);
    assert_eq!(told.verdict, refused(Reason::Truncated));
    let told = explain(&lab, INSIDE, &[]);
    assert_eq!(told.verdict, refused(Reason::Truncated));
    // No answer is sent, so the limit is still there for the next one.
    let mut late = udp6((A, 1), (embed_in("2001:db8:65::", SERVER), 53));
    late[7] = 1;
    for _ in 0..3 {
        let told = explain(&lab, INSIDE, &late);
        let answered = Verdict::Dropped {
            reason: Reason::TimeExceeded,
            answered: true,
        };
        assert_eq!(told.verdict, answered);
    }
    lab.step(INSIDE, &late).answered(Reason::TimeExceeded);
    assert_eq!(explain(&lab, INSIDE, &late).verdict, refused(Reason::ErrorRateLimited));
}

#[test]
fn a_hairpin_tells_what_cannot_be_known() {
    let mut lab = Lab::new(base());
    let server = lab.udp((B, 7), (SERVER, 53));
    let told = lab
        .nat
        .explain(lab.now, INSIDE, &udp6((A, 1), (embed(&server.0.to_string()), server.1)));
    let sent = Verdict::Sent {
        unit: INSIDE,
        direction: Direction::FourToSix,
        opens: true,
    };
    assert_eq!((told.verdict, told.exact), (sent, false));
    assert!(told.packets.is_empty(), "its port is not chosen");
    lab.udp((A, 1), (SERVER, 53));
    let hairpin = udp6((A, 1), (embed(&server.0.to_string()), server.1));
    let told = lab.nat.explain(lab.now, INSIDE, &hairpin);
    assert_eq!((told.verdict, told.exact, told.packets.len()), (sent, false, 1));
    lab.step(INSIDE, &hairpin);
    let told = lab.nat.explain(lab.now, INSIDE, &hairpin);
    let sent = Verdict::Sent {
        unit: INSIDE,
        direction: Direction::FourToSix,
        opens: false,
    };
    assert_eq!((told.verdict, told.exact, told.packets.len()), (sent, true, 1));
}
