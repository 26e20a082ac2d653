//! `services service-set NAME`.

use super::{
    container, field, flag, leaf, list, presence, refused, Field, Statement, Value, ADDRESS4, NAME, PERCENT, PORT,
    RULE_NAME, RULE_SET_NAME,
};

const SNMP: &str = "the gateway sends no SNMP traps";
const NO_ALG: &str = "the gateway has no application gateways";
const FIREWALL: &str = "the gateway has no firewall rules";
const PIC: &str = "the card is no services PIC";

const SUBSCRIBER: &[Field] = &[field(Value::Number(1, 32_000))];
const MSS: &[Field] = &[field(Value::Number(536, 65_535))];
const NON_SYN: &[Field] = &[field(Value::Word(&["drop-flow", "drop-flow-send-rst"]))];
const COUNT: &[Field] = &[field(Value::Count(1, 1 << 32))];
const IDLE: &[Field] = &[field(Value::Number(4, 86_400))];
const INTERFACE: &[Field] = &[field(Value::Interface)];
const TEXT: &[Field] = &[field(Value::Text)];

pub(super) static STATEMENTS: &[Statement] = &[
    container("syslog", SYSLOG, "Where log messages go").default("nowhere"),
    leaf("max-flows", COUNT, "Most sessions of this service set").default("`nat64-nic limits sessions`"),
    leaf("max-session-setup-rate", COUNT, "Most new sessions per second").default("no limit"),
    leaf("tcp-mss", MSS, "Largest MSS option in SYN segments").default("unchanged"),
    container("nat-options", NAT_OPTIONS, "Options of address translation"),
    presence("service-set-options", OPTIONS, "Options of the service set"),
    list("nat-rules", RULE_NAME, &[], "A rule; excludes `nat-rule-sets`"),
    list("nat-rule-sets", RULE_SET_NAME, &[], "A rule set; excludes `nat-rules`"),
    container(
        "interface-service",
        &[
            leaf(
                "service-interface",
                INTERFACE,
                "A name for the card; two service sets cannot share it",
            ),
            refused("load-balancing-options", "the gateway has one card"),
        ],
        "Translate what passes the units; excludes `next-hop-service`",
    ),
    container(
        "next-hop-service",
        &[
            leaf("inside-service-interface", INTERFACE, "A name for the inside"),
            leaf("outside-service-interface", INTERFACE, "A name for the outside"),
            refused(
                "outside-service-interface-type",
                "fragments are handled by the translator itself",
            ),
            refused("service-interface-pool", "the gateway has one card"),
        ],
        "Translate what is routed to the card; excludes `interface-service`",
    ),
    container(
        "max-drop-flows",
        &[
            leaf("ingress", &[field(Value::Number(0, 8_500_000))], "Drop flows"),
            leaf("egress", &[field(Value::Number(0, 8_500_000))], "Drop flows"),
        ],
        "Most drop flows",
    )
    .no_effect("a dropped packet leaves no flow behind"),
    container(
        "snmp-trap-thresholds",
        &[
            container("flow", LOW_HIGH, "Flows"),
            container("nat-address-port", LOW_HIGH, "Use of addresses and ports"),
            container("session", LOW_HIGH, "Sessions"),
        ],
        "Thresholds of SNMP traps",
    )
    .no_effect(SNMP),
    refused("hosted-service-identifier", PIC),
    refused("cos-options", "the gateway has no queues"),
    refused("replicate-services", "sessions are not replicated to a peer"),
    refused("allow-multicast", "multicast is never translated"),
    refused("stateful-firewall-rules", FIREWALL),
    refused("stateful-firewall-rule-sets", FIREWALL),
    refused("pcp-rules", "the gateway has no PCP server"),
    refused("pcp-rule-sets", "the gateway has no PCP server"),
    refused("ip-reassembly-rules", "fragments are handled by the translator itself"),
    refused("ids-rules", "the gateway has no intrusion detection"),
    refused("ids-rule-sets", "the gateway has no intrusion detection"),
    refused("service-order", "there is one service"),
    refused("jflow-log", "flow export is not implemented"),
    refused("flow", "there are no trace files"),
    refused("redundancy-set-id", "sessions are not replicated to a peer"),
];

static LOW_HIGH: &[Statement] = &[leaf("low", PERCENT, "Percent"), leaf("high", PERCENT, "Percent")];

static NAT_OPTIONS: &[Statement] = &[
    container("stateful-nat64", STATEFUL_NAT64, "Options of stateful NAT64"),
    leaf(
        "land-attack-check",
        &[field(Value::Word(&["ip-only", "ip-port"]))],
        "Drop packets whose source is their destination",
    )
    .default("no check"),
    leaf("max-sessions-per-subscriber", SUBSCRIBER, "Most sessions of one client").default("no limit"),
    flag("snmp-value-match-msmic", "SNMP values as of another card").no_effect(SNMP),
    refused("nptv6", "only stateful-nat64 and deterministic-napt64 are translated"),
];

static STATEFUL_NAT64: &[Statement] = &[
    flag(
        "clear-dont-fragment-bit",
        "Clear DF in IPv4 packets made from small IPv6 packets",
    )
    .default(
        "`timers profile rfc`: DF is clear up to 1,260 bytes with and without it (RFC 7915); `junos`: without it DF \
         is always set",
    ),
    flag(
        "no-v6-frag-header",
        "No Fragment header for IPv4 packets that come whole: without DF they are treated as with it",
    ),
    leaf(
        "ipv6-mtu",
        &[field(Value::Number(1280, 9192))],
        "Path MTU of the IPv6 network",
    )
    .default("1280"),
    flag("disable-h323-ras", "No H.323 and RAS gateway").no_effect(NO_ALG),
];

static OPTIONS: &[Statement] = &[
    leaf("tcp-non-syn", NON_SYN, "First TCP segment that is no SYN").default("drop-flow"),
    container(
        "header-integrity-check",
        &[flag("enable-all", "All checks")],
        "Check headers",
    )
    .no_effect("headers are always checked"),
    flag(
        "enable-descriptive-session-syslog",
        "Messages about sessions that end have counts of packets and bytes",
    ),
    leaf(
        "inactivity-non-tcp-timeout",
        IDLE,
        "Seconds an idle UDP or ICMP session stays",
    )
    .default("`nat64-nic timers udp` and `icmp`"),
    container(
        "session-limit",
        &[leaf("maximum", COUNT, "Sessions")],
        "Most sessions of this service set",
    ),
    leaf("max-sessions-per-subscriber", SUBSCRIBER, "Most sessions of one client").default("no limit"),
    container("tcp-session", TCP_SESSION, "TCP sessions"),
    refused("session-timeout", "an active session has no end (RFC 6146)"),
    refused("tcp-fast-open", "data in a SYN is translated as it is"),
    refused(
        "bypass-traffic-on-pic-failure",
        "untranslated packets are never let through",
    ),
    refused(
        "bypass-traffic-on-exceeding-flow-limits",
        "untranslated packets are never let through",
    ),
    refused(
        "enable-asymmetric-traffic-processing",
        "both directions must pass the gateway",
    ),
    refused("subscriber-awareness", "the gateway has no subscriber access"),
    refused("static-subscriber-application", "the gateway has no subscriber access"),
    refused("enable-change-on-ams-redistribution", PIC),
    refused("routing-engine-services", PIC),
    refused("enforce-global-timeout", "timers stand under `nat64-nic timers`"),
    refused(
        "unidirectional-session-refreshing",
        "use `secure-nat-mapping mapping-refresh`",
    ),
];

static TCP_SESSION: &[Statement] = &[
    leaf("tcp-mss", MSS, "Largest MSS option in SYN segments").default("unchanged"),
    leaf(
        "tcp-tickles",
        &[field(Value::Number(0, 30))],
        "Probes before an idle session is removed",
    )
    .default("`nat64-nic timers tcp-probes`"),
    leaf(
        "open-timeout",
        &[field(Value::Number(4, 300))],
        "Seconds a session may take to open",
    )
    .default("`nat64-nic timers tcp-transitory`"),
    leaf(
        "close-timeout",
        &[field(Value::Number(2, 300))],
        "Seconds a session may take to close",
    )
    .default("`nat64-nic timers tcp-transitory`"),
    leaf(
        "inactivity-tcp-timeout",
        IDLE,
        "Seconds an idle established session stays",
    )
    .default("`nat64-nic timers tcp-established`"),
    leaf("tcp-non-syn", NON_SYN, "First TCP segment that is no SYN").default("drop-flow"),
    refused("inactivity-asymm-tcp-timeout", "both directions must pass the gateway"),
    refused("ignore-errors", "TCP errors are not ignored"),
    refused("tcp-fast-open", "data in a SYN is translated as it is"),
];

static SYSLOG: &[Statement] = &[
    list(
        "host",
        NAME,
        SYSLOG_HOST,
        "A host that gets messages: an address, a name, or `local`; at most 10",
    ),
    leaf(
        "message-rate-limit",
        &[field(Value::Number(0, 2_147_483_647))],
        "Messages per second; 0: none",
    )
    .default("no limit"),
];

static SYSLOG_HOST: &[Statement] = &[
    list(
        "services",
        &[field(Value::Word(LEVELS))],
        &[],
        "Least level of messages; the same as `contents services`",
    ),
    list(
        "contents",
        &[field(Value::Word(&["services"]))],
        LEVEL_FLAGS,
        "Least level of messages",
    )
    .default("any"),
    leaf("facility-override", &[field(Value::Word(FACILITIES))], "Facility").default("local0"),
    leaf("log-prefix", TEXT, "Text before each message"),
    leaf("port", PORT, "UDP port").default("514"),
    container("class", CLASSES, "Kinds of messages").default("all"),
    leaf("source-address", ADDRESS4, "Source address").default("as the host's routes say"),
    refused("tcp-log", "messages are sent by UDP"),
];

const LEVELS: &[&str] = &[
    "any",
    "emergency",
    "alert",
    "critical",
    "error",
    "warning",
    "notice",
    "info",
    "none",
];

/// Facilities, in an order of no meaning; their numbers are in `model::syslog`.
const FACILITIES: &[&str] = &[
    "authorization",
    "daemon",
    "ftp",
    "kernel",
    "user",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

static LEVEL_FLAGS: &[Statement] = &[
    flag("any", "All levels"),
    flag("emergency", "Panic conditions"),
    flag("alert", "Conditions to be corrected at once"),
    flag("critical", "Critical conditions"),
    flag("error", "Errors"),
    flag("warning", "Warnings"),
    flag("notice", "Conditions to be handled specially"),
    flag("info", "Information"),
    flag("none", "No messages"),
];

const NO_SUCH: &str = "the gateway has no such messages";

static CLASSES: &[Statement] = &[
    presence("session-logs", OPEN_CLOSE, "Sessions that open and close"),
    presence("packet-logs", &[], "Packets that are dropped"),
    presence(
        "nat-logs",
        &[flag("deterministic-nat-configuration-log", "Deterministic NAT")
            .no_effect("deterministic mappings are shown, not logged")],
        "Rules that match, port blocks",
    ),
    presence("stateful-firewall-logs", &[], "Firewall").no_effect(NO_SUCH),
    presence("alg-logs", &[], "Application gateways").no_effect(NO_SUCH),
    presence("ids-logs", &[], "Intrusion detection").no_effect(NO_SUCH),
    presence("pcp-logs", &[flag("map", "PCP"), flag("debug", "PCP")], "PCP").no_effect(NO_SUCH),
    presence(
        "ha-logs",
        &[
            flag("open-synchronized", "Sessions that open"),
            flag("close-synchronized", "Sessions that close"),
        ],
        "High availability",
    )
    .no_effect(NO_SUCH),
];

static OPEN_CLOSE: &[Statement] = &[
    flag("open", "Sessions that open").default("both, when neither is there"),
    flag("close", "Sessions that close").default("both, when neither is there"),
];
