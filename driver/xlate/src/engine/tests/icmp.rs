//! RFC 6146 section 3.5.3, and ICMP errors.

use super::*;

#[test]
fn echo_goes_out_and_comes_back_with_its_identifier() {
    let mut lab = Lab::new(base());
    let out = lab.step(INSIDE, &echo6(A, embed(SERVER), 77)).one();
    assert_eq!(out.src4(), (v4("203.0.113.1"), 1024));
    assert_eq!(lab.installs()[0].remote, (v4(SERVER), 0));
    let back = lab
        .step(OUTSIDE, &echo4(SERVER, out.src4().0, out.src4().1, true))
        .one();
    assert_eq!((back.dst6(), back.src.0), ((v6(A), 77), embed(SERVER).into()));
    lab.pass(60 * SECOND).assert_empty();
}

#[test]
fn a_query_from_outside_needs_a_binding() {
    let mut lab = Lab::new(base());
    let answer = lab
        .step(OUTSIDE, &echo4(SERVER, v4("203.0.113.1"), 1024, false))
        .answered(Reason::NoMapping);
    assert_eq!(answer.icmp(), (3, 1));
    lab.step(INSIDE, &echo6(A, embed(SERVER), 77)).one();
    // Endpoint-independent filtering: another host may ask the client.
    let got = lab
        .step(OUTSIDE, &echo4("192.0.2.9", v4("203.0.113.1"), 1024, false))
        .one();
    assert_eq!(got.dst6(), (v6(A), 77));
    assert_eq!(lab.nat.session_count(), 2);
}

#[test]
fn an_error_from_outside_reaches_the_client() {
    let mut lab = Lab::new(base());
    let sent = lab.step(INSIDE, &udp6((A, 5000), (embed(SERVER), 53))).one();
    let before = lab.only_session();
    lab.now += 10 * SECOND;
    let error = lab
        .step(OUTSIDE, &error4("192.0.2.254", sent.src4().0, 3, 3, &sent.bytes))
        .one();
    assert_eq!((error.icmp(), error.unit), ((1, 4), INSIDE));
    assert_eq!((error.src.0, error.dst.0), (embed("192.0.2.254").into(), v6(A).into()));
    let quoted = read(0, None, &error.bytes[48..]);
    assert_eq!(
        (quoted.src, quoted.dst),
        ((v6(A).into(), 5000), (embed(SERVER).into(), 53))
    );
    assert_eq!(lab.only_session().last, before.last, "an error refreshes nothing");
}

#[test]
fn an_error_from_inside_reaches_the_server() {
    let mut lab = Lab::new(base());
    let pool = lab.udp((A, 5000), (SERVER, 53));
    let got = lab.step(OUTSIDE, &udp4((SERVER, 53), pool)).one();
    // A router in front of the client sends it.
    let error = lab
        .step(INSIDE, &error6("2001:db8::1:1", embed(SERVER), 1, 0, &got.bytes))
        .one();
    assert_eq!((error.icmp(), error.unit), ((3, 1), OUTSIDE));
    assert_eq!((error.src.0, error.dst.0), (pool.0.into(), v4(SERVER).into()));
    let quoted = read(0, None, &error.bytes[28..]);
    assert_eq!(
        (quoted.src, quoted.dst),
        ((v4(SERVER).into(), 53), (pool.0.into(), pool.1))
    );
}

#[test]
fn errors_about_echo_are_translated_by_the_identifier() {
    let mut lab = Lab::new(base());
    let sent = lab.step(INSIDE, &echo6(A, embed(SERVER), 77)).one();
    let error = lab
        .step(OUTSIDE, &error4(SERVER, sent.src4().0, 11, 0, &sent.bytes))
        .one();
    assert_eq!(error.icmp(), (3, 0));
    assert_eq!(read(0, None, &error.bytes[48..]).src, (v6(A).into(), 77));
}

#[test]
fn errors_about_nothing_we_sent_are_dropped() {
    let mut lab = Lab::new(base());
    let sent = lab.step(INSIDE, &udp6((A, 5000), (embed(SERVER), 53))).one();
    let (pool, port) = sent.src4();
    // Another server, another port, another address than quoted.
    let other = udp4(("203.0.113.1", port), (v4("192.0.2.7"), 53));
    lab.step(OUTSIDE, &error4(SERVER, pool, 3, 3, &other))
        .dropped(Reason::IcmpErrorNoSession);
    let other = udp4(("203.0.113.1", port + 1), (v4(SERVER), 53));
    lab.step(OUTSIDE, &error4(SERVER, pool, 3, 3, &other))
        .dropped(Reason::IcmpErrorNoSession);
    lab.step(OUTSIDE, &error4(SERVER, v4("203.0.113.2"), 3, 3, &sent.bytes))
        .dropped(Reason::IcmpErrorNoSession);
    let inner = error4(SERVER, pool, 3, 3, &sent.bytes);
    lab.step(OUTSIDE, &error4(SERVER, pool, 3, 3, &inner))
        .dropped(Reason::IcmpErrorMalformed);
    let other = udp6(("2001:db8:64::c000:201", 53), (v6(A), 5001));
    lab.step(INSIDE, &error6(A, embed(SERVER), 1, 4, &other))
        .dropped(Reason::IcmpErrorNoSession);
    assert_eq!(
        (lab.nat.session_count(), lab.nat.bib_count()),
        (1, 1),
        "errors make no state"
    );
}

#[test]
fn neighbour_discovery_and_timestamps_are_not_translated() {
    let mut lab = Lab::new(base());
    lab.step(INSIDE, &error6(A, embed(SERVER), 135, 0, &[0; 20]))
        .dropped(Reason::IcmpNotTranslated);
    lab.step(OUTSIDE, &error4(SERVER, v4("203.0.113.1"), 13, 0, &[0; 12]))
        .dropped(Reason::IcmpNotTranslated);
}

#[test]
fn an_error_of_a_private_router_comes_from_us_under_the_well_known_prefix() {
    let mut config = base();
    config.service_sets[0].terms = vec![term("t", "64:ff9b::", 0)];
    let mut lab = Lab::new(config);
    let sent = lab
        .step(INSIDE, &udp6((A, 5000), (embed_in("64:ff9b::", "8.8.8.8"), 53)))
        .one();
    let error = lab
        .step(OUTSIDE, &error4("10.0.0.1", sent.src4().0, 3, 3, &sent.bytes))
        .one();
    assert_eq!(
        error.src.0,
        embed_in("64:ff9b::", "203.0.113.1")
            .to_string()
            .parse::<IpAddr>()
            .unwrap()
    );
}
