//! What the model has around the gateways: cards, services interfaces, applications, syslog, the control socket,
//! metrics, router advertisements, and the limits of the actual card.

use std::net::SocketAddr;
use std::time::Duration;

use nat64_host::config::{
    self, ApiClass, ApiMember, ApiWho, BuildOptions, CardLimits, Device, Model, SyslogClasses, SyslogTarget, Tree,
};
use nat64_layout::{Geometry, Protocol};
use nat64_xlate::config::Application;

const SEED: &str = include_str!("../../examples/seed.conf");
const TERM: &str = "services nat rule stateful-nat64 term t1";
const SET: &str = "services service-set sset-nat64";

fn changed(commands: &[&str]) -> Tree {
    let mut tree = config::parse_curly(SEED, "seed.conf").unwrap();
    for command in commands {
        let command = command.replace("{term}", TERM).replace("{set}", SET);
        config::apply_command(&mut tree, &command).unwrap_or_else(|error| panic!("{error}"));
    }
    tree
}

fn model(commands: &[&str]) -> (Model, Vec<String>) {
    match config::model(&changed(commands), &BuildOptions::default()) {
        Ok((model, warnings)) => (model, warnings.iter().map(|w| w.kind.to_string()).collect()),
        Err(problems) => panic!("{commands:?}\n{}", problems[0]),
    }
}

fn problems(commands: &[&str], options: &BuildOptions) -> Vec<String> {
    let problems = config::model(&changed(commands), options).unwrap_err();
    problems.iter().map(|p| p.kind.to_string()).collect()
}

fn one_problem(commands: &[&str], wanted: &str) {
    let found = problems(commands, &BuildOptions::default());
    assert!(
        found.len() == 1 && found[0].contains(wanted),
        "{commands:?}: wanted `{wanted}`, got {found:#?}"
    );
}

#[test]
fn applications_become_protocols_and_ports() {
    let (model, warnings) = model(&[
        "set applications application web protocol tcp destination-port http inactivity-timeout 600",
        "set applications application alt protocol 6 destination-port 8000-8100 source-port 1024-65535",
        "set applications application alt application-protocol http",
        "set applications application echo application-protocol icmp",
        "set applications application-set all application [ alt echo junos-dns-udp ]",
        "set applications application-set outer application-set all",
        "set applications application-set outer application web",
        "set {term} from applications [ web junos-https ]",
        "set {term} from application-sets outer",
    ]);
    assert!(warnings.is_empty(), "{warnings:?}");
    let app = |protocol, destination, source, timeout, application_protocol| Application {
        protocol: Some(protocol),
        destination_ports: destination,
        source_ports: source,
        inactivity_timeout: timeout,
        application_protocol,
    };
    let web = app(
        Protocol::Tcp,
        Some((80, 80)),
        None,
        Some(Duration::from_secs(600)),
        "none",
    );
    assert_eq!(
        model.cards[0].gateway.xlate.service_sets[0].terms[0].from.applications,
        [
            web.clone(),
            app(Protocol::Tcp, Some((443, 443)), None, None, "https"),
            web,
            app(Protocol::Tcp, Some((8000, 8100)), Some((1024, 65_535)), None, "http"),
            app(Protocol::Icmp, None, None, None, "icmpv6"),
            app(Protocol::Udp, Some((53, 53)), None, None, "none"),
        ]
    );
    for (commands, wanted) in [
        (
            vec!["set {term} from applications nothing"],
            "there is no `applications application nothing`",
        ),
        (
            vec!["set {term} from application-sets nothing"],
            "there is no `applications application-set nothing`",
        ),
        (
            vec!["set applications application-set s application nothing"],
            "there is no `applications application nothing`",
        ),
        (
            vec!["set applications application-set s application-set t"],
            "there is no `applications application-set t`",
        ),
        (
            vec!["set applications application a application-protocol ftp"],
            "no application gateway for `ftp`",
        ),
        (
            vec!["set applications application a destination-port 80"],
            "`destination-port` needs `protocol tcp`",
        ),
        (
            vec!["set applications application a protocol icmp source-port 80"],
            "`source-port` needs `protocol tcp`",
        ),
    ] {
        one_problem(&commands, wanted);
    }
    let found = problems(
        &[
            "set applications application-set a application-set b",
            "set applications application-set b application-set a",
            "set {term} from application-sets a",
        ],
        &BuildOptions::default(),
    );
    assert!(found.iter().any(|text| text.contains("holds itself")), "{found:?}");
}

#[test]
fn syslog_hosts_are_typed() {
    let (model, warnings) = model(&[
        "set {set} syslog host local services warning",
        "set {set} syslog host 192.0.2.9 contents services info",
        "set {set} syslog host 192.0.2.9 facility-override local3",
        "set {set} syslog host 192.0.2.9 log-prefix nat port 5514",
        "set {set} syslog host 192.0.2.9 source-address 192.0.2.1",
        "set {set} syslog host 192.0.2.9 class session-logs close",
        "set {set} syslog host log.example class session-logs",
        "set {set} syslog host log.example class nat-logs",
        "set {set} syslog host quiet services none",
        "set {set} syslog message-rate-limit 100",
        "set {set} service-set-options enable-descriptive-session-syslog",
    ]);
    assert!(warnings.is_empty(), "{warnings:?}");
    let extra = &model.cards[0].service_sets[0];
    assert_eq!(extra.interface.as_deref(), Some("ms-0/1/0.0"));
    let syslog = &extra.syslog;
    assert_eq!((syslog.message_rate_limit, syslog.descriptive), (Some(100), true));
    let [local, address, name, quiet] = syslog.hosts.as_slice() else {
        panic!("{:?}", syslog.hosts)
    };
    assert_eq!(
        (&local.host, local.level, local.facility, local.port),
        (&SyslogTarget::Local, Some(4), 16, 514)
    );
    assert_eq!(local.classes, SyslogClasses::ALL);
    assert_eq!(address.host, SyslogTarget::Address("192.0.2.9".parse().unwrap()));
    assert_eq!((address.level, address.facility, address.port), (Some(6), 19, 5514));
    assert_eq!(address.log_prefix.as_deref(), Some("nat"));
    assert_eq!(address.source, Some("192.0.2.1".parse().unwrap()));
    let only = |session_open, session_close, nat| SyslogClasses {
        session_open,
        session_close,
        nat,
        packet: false,
    };
    assert_eq!(address.classes, only(false, true, false));
    assert_eq!(
        (&name.host, name.level),
        (&SyslogTarget::Name("log.example".into()), Some(7))
    );
    assert_eq!(name.classes, only(true, true, true));
    assert_eq!(quiet.level, None);
    assert!(model.cards[0].gateway.xlate.service_sets[0].log_sessions);

    one_problem(
        &["set {set} syslog host h services [ none info ]"],
        "`none` and other levels exclude",
    );
    let many: Vec<String> = (0..11)
        .map(|i| format!("set {{set}} syslog host h{i} services any"))
        .collect();
    one_problem(
        &many.iter().map(String::as_str).collect::<Vec<_>>(),
        "at most 10 syslog hosts",
    );
}

#[test]
fn services_interfaces_give_timers_and_limits() {
    let (model, warnings) = model(&[
        "set interfaces ms-0/1/0 services-options inactivity-timeout 600",
        "set interfaces ms-0/1/0 services-options inactivity-tcp-timeout 900",
        "set interfaces ms-0/1/0 services-options open-timeout 100",
        "set interfaces ms-0/1/0 services-options tcp-tickles 2",
        "set interfaces ms-0/1/0 services-options fragment-limit 9",
        "set interfaces ms-0/1/0 services-options reassembly-timeout 7",
        "set interfaces ms-0/1/0 services-options session-limit maximum 5k",
        "set interfaces ms-0/1/0 services-options cgn-pic",
        "set interfaces ms-0/1/0 unit 0 family inet6",
        "set {set} service-set-options tcp-session tcp-tickles 3",
    ]);
    let xlate = &model.cards[0].gateway.xlate;
    let seconds = |t: Duration| t.as_secs();
    assert_eq!(
        [
            xlate.timers.udp,
            xlate.timers.icmp,
            xlate.timers.tcp_established,
            xlate.timers.tcp_transitory
        ]
        .map(seconds),
        [600, 600, 900, 100]
    );
    assert_eq!((seconds(xlate.timers.fragment), xlate.timers.tcp_probes), (7, 3));
    assert_eq!((xlate.limits.fragments_per_packet, xlate.limits.sessions), (9, 5000));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    // Of another interface nothing is taken.
    let (model, warnings) = self::model(&["set interfaces ms-1/0/0 services-options inactivity-timeout 600"]);
    assert_eq!(seconds(model.cards[0].gateway.xlate.timers.udp), 300);
    assert!(warnings[0].contains("no service set is on `ms-1/0/0`"), "{warnings:?}");
}

#[test]
fn cards_have_devices_ports_and_service_sets() {
    let (model, _) = model(&["set nat64-nic card c vfio 03:00.0"]);
    assert_eq!(model.cards.len(), 1);
    assert_eq!(
        (model.cards[0].name.as_str(), &model.cards[0].device),
        ("c", &Some(Device::Vfio("0000:03:00.0".into())))
    );
    assert_eq!(model.cards[0].gateway.units.len(), 2);
    let (model, _) = self::model(&[]);
    assert_eq!((model.cards[0].name.as_str(), &model.cards[0].device), ("card0", &None));

    let two = [
        "set nat64-nic card a vfio-user /run/a.sock service-interface ms-0/1/0",
        "set nat64-nic card b soft",
        "set nat64-nic card b service-interface ms-0/2/0",
        "set nat64-nic card b port 0 interface eth0",
        "set nat64-nic card b port 1 interface eth1",
        "set nat64-nic card b port 1 unit 7 vlan-id 7",
        "set nat64-nic card b port 0 unit 7 vlan-id 7",
        "set services nat pool second address 198.51.100.0/24",
        "copy services nat rule stateful-nat64 to two",
        "set services nat rule two term t1 then translated source-pool second",
        "set services service-set two nat-rules two",
        "set services service-set two interface-service service-interface ms-0/2/0.1",
    ];
    let (model, _) = self::model(&two);
    let [a, b] = model.cards.as_slice() else {
        panic!("{:?}", model.cards)
    };
    assert_eq!(
        (&a.device, &b.device),
        (&Some(Device::VfioUser("/run/a.sock".into())), &Some(Device::Soft))
    );
    let named = |name: &str| Some(nat64_host::config::Link::Interface(name.into()));
    assert_eq!(b.links, [named("eth0"), named("eth1")]);
    for (card, set, pool, units) in [(a, "sset-nat64", "src-pool-nat64", 2), (b, "two", "second", 2)] {
        let xlate = &card.gateway.xlate;
        assert_eq!(
            xlate.service_sets.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
            [set]
        );
        assert_eq!(xlate.pools.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), [pool]);
        assert_eq!(
            (xlate.units.len(), card.units.len(), card.service_sets.len()),
            (units, units, 1)
        );
        assert!(xlate.units.iter().all(|unit| unit.service_set == Some(0)));
        assert_eq!(xlate.service_sets[0].outside_unit, 1);
    }
    assert_eq!(b.gateway.units[0].vlans, [Some(7), None]);
    // One card is all the simulator has.
    assert!(config::build(&changed(&two), BuildOptions::default()).is_err());

    for (commands, wanted) in [
        (
            vec!["set nat64-nic card c sim", "set nat64-nic card c soft"],
            "`sim` and `soft` exclude",
        ),
        (
            vec![
                "set nat64-nic card c sim",
                "set nat64-nic card c port 0 unmatched drop",
                "set nat64-nic port 0 unmatched drop",
            ],
            "ports stand under `nat64-nic card`",
        ),
        (
            vec![
                "set nat64-nic card c service-interface ms-0/1/0",
                "set nat64-nic card d service-interface ms-0/1/0",
            ],
            "already the services interface of another card",
        ),
    ] {
        one_problem(&commands, wanted);
    }
    let mut unplaced = two.to_vec();
    unplaced.push("delete services service-set two interface-service");
    let found = problems(&unplaced, &BuildOptions::default());
    assert!(
        found
            .iter()
            .any(|text| text.contains("the service set `two` is on no card")),
        "{found:?}"
    );
    let mut foreign = two.to_vec();
    foreign.push("set nat64-nic card b port 0 unit 7 service-set sset-nat64");
    let found = problems(&foreign, &BuildOptions::default());
    assert!(
        found.iter().any(|text| text.contains("is on another card")),
        "{found:?}"
    );
}

#[test]
fn the_control_socket_and_metrics() {
    let (model, _) = model(&[
        "set nat64-nic api class operator group noc",
        "set nat64-nic api class super-user user alice",
        "set nat64-nic api class read-only user bob",
        "set nat64-nic metrics listen 127.0.0.1 port 9464",
    ]);
    let member = |class, who| ApiMember { class, who };
    assert_eq!(
        model.api.members,
        [
            member(ApiClass::Operator, ApiWho::Group("noc".into())),
            member(ApiClass::SuperUser, ApiWho::User("alice".into())),
            member(ApiClass::ReadOnly, ApiWho::User("bob".into())),
        ]
    );
    assert_eq!(model.metrics, Some(SocketAddr::from(([127, 0, 0, 1], 9464))));
    let (quiet, _) = self::model(&[]);
    assert_eq!((quiet.metrics, quiet.api.members.len()), (None, 0));
    one_problem(
        &[
            "set nat64-nic api class operator user x",
            "set nat64-nic api class read-only user x",
        ],
        "`user x` is of class `operator` already",
    );
    let (_, warnings) = self::model(&["set nat64-nic metrics listen :: port 1"]);
    assert!(warnings[0].contains("every address"), "{warnings:?}");
}

#[test]
fn router_advertisements_tell_the_prefix() {
    let unit = "set nat64-nic port 0 unit 0";
    let out = "set nat64-nic port 1 unit 0";
    let with = |lines: &[&str]| -> Vec<String> {
        let lines = lines.iter().map(|line| format!("{unit} {line}"));
        lines.chain([out.to_string()]).collect()
    };
    let all = with(&[
        "family inet6 address 2001:db8:1::1/64",
        "router-advertisement nat-prefix 64:ff9b::/96 lifetime 1001",
        "router-advertisement max-advertisement-interval 30",
    ]);
    let (model, warnings) = model(&all.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(warnings.is_empty(), "{warnings:?}");
    let ra = model.cards[0].units[0].router_advertisement.as_ref().unwrap();
    assert!(model.cards[0].units[1].router_advertisement.is_none());
    let seconds = Duration::from_secs;
    assert_eq!(
        (ra.max_interval, ra.min_interval, ra.default_lifetime),
        (seconds(30), seconds(10), seconds(90))
    );
    assert_eq!(
        (ra.nat_prefixes[0].length, ra.nat_prefixes[0].lifetime),
        (96, seconds(1008))
    );
    assert_eq!(
        (ra.prefixes.len(), ra.prefixes[0].address, ra.prefixes[0].autonomous),
        (1, "2001:db8:1::".parse().unwrap(), true)
    );
    for (line, wanted) in [
        (
            "router-advertisement min-advertisement-interval 500",
            "three quarters of the longest, 450 s",
        ),
        (
            "router-advertisement default-lifetime 5",
            "at least the longest interval, 600 s",
        ),
        (
            "router-advertisement nat-prefix 64:ff9b::/80",
            "a translation prefix has length",
        ),
        (
            "router-advertisement prefix 2001:db8::/64 valid-lifetime 5",
            "preferred no longer than they are valid",
        ),
    ] {
        let lines = with(&[line]);
        one_problem(&lines.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
    }
    one_problem(
        &[unit, "set nat64-nic port 1 unit 0 router-advertisement"],
        "sent on inside units",
    );
    let (_, warnings) = self::model(&[&format!("{unit} router-advertisement nat-prefix 2001:db8:64::/96"), out]);
    assert!(warnings[0].contains("is no `destination-prefix`"), "{warnings:?}");
}

#[test]
fn the_actual_card_decides_what_fits() {
    let small = CardLimits {
        units: 1,
        prefixes: 0,
        pool_ranges: 0,
        sessions: 1000,
        ..CardLimits::card(Geometry::STANDARD)
    };
    let options = |limits| BuildOptions {
        card_limits: vec![("card0".into(), limits)],
        ..BuildOptions::default()
    };
    let found = config::model(
        &changed(&["set nat64-nic port 0 unit 0", "set nat64-nic port 1 unit 0"]),
        &options(small),
    );
    let found = found.unwrap_err();
    let texts: Vec<String> = found.iter().map(|p| p.kind.to_string()).collect();
    for wanted in [
        "unit table holds 1 entries, the configuration needs 2",
        "pref64 table holds 0 entries, the configuration needs 1",
        "pool table holds 0 entries, the configuration needs 1",
        "`limits sessions` is 1048576, more than the 1000 that are kept",
    ] {
        assert!(texts.iter().any(|text| text.contains(wanted)), "{wanted}: {texts:#?}");
    }
    assert_eq!(found.iter().filter(|p| p.place.is_some()).count(), 3, "{texts:#?}");
    // More rule terms than a card has: fine without one, where the configuration says so too.
    let many: Vec<String> = (0..40u32).map(|i| format!("set {{set}} nat-rules r{i}")).collect();
    let mut commands: Vec<String> = (0..40)
        .flat_map(|i| {
            [
                format!(
                    "set services nat rule r{i} match-direction input term t from source-address 2001:db8:{i}::/48"
                ),
                format!("set services nat rule r{i} term t then no-translation"),
            ]
        })
        .collect();
    commands.extend(many);
    let mut commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    assert!(problems(&commands, &BuildOptions::default())[0].contains("rule-term table"));
    config::model(&changed(&commands), &options(CardLimits::SOFT)).unwrap();
    commands.push("set nat64-nic card x soft");
    config::model(&changed(&commands), &BuildOptions::default()).unwrap();
}

#[test]
fn nothing_is_a_configuration_too() {
    let (model, warnings) = config::model(&Tree::new(), &BuildOptions::default()).unwrap();
    assert!(model.cards.is_empty() && warnings.is_empty());
    assert!(config::build(&Tree::new(), BuildOptions::default()).is_err());
}
