//! Who may send to a mapping.

use super::*;

#[test]
fn endpoint_independent_filtering_lets_everyone_in() {
    let mut lab = Lab::new(base());
    let pool = lab.udp((A, 5000), (SERVER, 53));
    assert_eq!(
        lab.step(OUTSIDE, &udp4(("192.0.2.9", 9), pool)).one().dst6(),
        (v6(A), 5000)
    );
    assert_eq!(lab.installs().len(), 1);
    assert!(lab
        .nat
        .sessions()
        .any(|session| session.inbound && session.flow.remote == (v4("192.0.2.9"), 9)));
}

#[test]
fn address_dependent_filtering_knows_addresses() {
    let mut config = base();
    translate(&mut config).filtering = Filtering::AddressDependent;
    let mut lab = Lab::new(config);
    let pool = lab.udp((A, 5000), (SERVER, 53));
    lab.step(OUTSIDE, &udp4((SERVER, 9), pool)).one();
    lab.step(OUTSIDE, &udp4(("192.0.2.9", 53), pool))
        .dropped(Reason::Filtered);
    assert_eq!(lab.nat.session_count(), 2);
    lab.pass(300 * SECOND).assert_empty();
}

#[test]
fn the_permission_of_an_address_ends_with_its_last_session() {
    let mut config = base();
    translate(&mut config).filtering = Filtering::AddressDependent;
    let mut lab = Lab::new(config);
    let pool = lab.udp((A, 5000), (SERVER, 53));
    lab.pass(200 * SECOND).udp((A, 5000), ("192.0.2.9", 53));
    lab.pass(100 * SECOND)
        .step(OUTSIDE, &udp4((SERVER, 53), pool))
        .dropped(Reason::Filtered);
    lab.step(OUTSIDE, &udp4(("192.0.2.9", 99), pool)).one();
}

#[test]
fn address_and_port_dependent_filtering_knows_both() {
    let mut config = base();
    translate(&mut config).filtering = Filtering::AddressAndPortDependent;
    let mut lab = Lab::new(config);
    let pool = lab.udp((A, 5000), (SERVER, 53));
    lab.step(OUTSIDE, &udp4((SERVER, 9), pool)).dropped(Reason::Filtered);
    lab.step(OUTSIDE, &udp4((SERVER, 53), pool)).one();
    assert_eq!(lab.nat.session_count(), 1);
}

#[test]
fn filters_hold_for_echo() {
    let mut config = base();
    translate(&mut config).filtering = Filtering::AddressDependent;
    let mut lab = Lab::new(config);
    let pool = lab.step(INSIDE, &echo6(A, embed(SERVER), 7)).one().src4();
    lab.step(OUTSIDE, &echo4("192.0.2.9", pool.0, pool.1, false))
        .dropped(Reason::Filtered);
    lab.step(OUTSIDE, &echo4(SERVER, pool.0, pool.1, false)).one();
}

#[test]
fn a_prefix_list_names_who_may_come_in() {
    let mut config = base();
    translate(&mut config).filter_prefixes = vec![
        (v4("192.0.2.0"), 24, false),
        (v4("192.0.2.8"), 29, true),
        (v4("192.0.2.9"), 32, false),
    ];
    let mut lab = Lab::new(config);
    let pool = lab.udp((A, 5000), ("8.8.8.8", 53));
    lab.step(OUTSIDE, &udp4(("192.0.2.7", 1), pool)).one();
    lab.step(OUTSIDE, &udp4(("192.0.2.8", 1), pool))
        .dropped(Reason::Filtered);
    lab.step(OUTSIDE, &udp4(("192.0.2.9", 1), pool)).one();
    lab.step(OUTSIDE, &udp4(("198.51.100.1", 1), pool))
        .dropped(Reason::Filtered);
    lab.step(OUTSIDE, &udp4(("8.8.8.8", 53), pool)).one();
    let tcp = lab.connect((A, 5000), ("8.8.8.8", 80));
    lab.step(OUTSIDE, &tcp4(("198.51.100.1", 1), tcp, "S"))
        .dropped(Reason::Filtered);
}

#[test]
fn inbound_sessions_of_a_mapping_are_limited() {
    let mut config = base();
    translate(&mut config).eif_flow_limit = Some(2);
    let mut lab = Lab::new(config);
    let pool = lab.udp((A, 5000), (SERVER, 53));
    lab.step(OUTSIDE, &udp4((SERVER, 1), pool)).one();
    lab.step(OUTSIDE, &udp4((SERVER, 2), pool)).one();
    lab.step(OUTSIDE, &udp4((SERVER, 3), pool))
        .dropped(Reason::EifFlowLimit);
    lab.step(OUTSIDE, &udp4((SERVER, 2), pool)).one();
    lab.udp((A, 5000), (SERVER, 3));
    lab.step(OUTSIDE, &udp4((SERVER, 3), pool)).one();
}

#[test]
fn a_filtered_packet_refreshes_nothing() {
    let mut config = base();
    translate(&mut config).filtering = Filtering::AddressAndPortDependent;
    let mut lab = Lab::new(config);
    let pool = lab.udp((A, 5000), (SERVER, 53));
    let before = lab.only_session();
    lab.now += SECOND;
    lab.step(OUTSIDE, &udp4(("192.0.2.9", 9), pool))
        .dropped(Reason::Filtered);
    assert_eq!(lab.only_session(), before);
}
