//! `interfaces`: options of services interfaces. Ports and units of the card stand under `nat64-nic`.

use super::{container, field, flag, leaf, list, presence, refused, Field, Statement, Value};

const UNITS: &str = "units stand under `nat64-nic port`";
const NO_FILES: &str = "there are no trace files";
const LOG_TIME: &str = "log messages have the time in UTC";
const PIC: &str = "the card is no services PIC";

const IDLE: &[Field] = &[field(Value::Number(4, 86_400))];
const COUNT: &[Field] = &[field(Value::Count(1, u32::MAX as u64))];

pub(super) static STATEMENTS: &[Statement] = &[list(
    "",
    &[field(Value::Interface)],
    INTERFACE,
    "A services interface, such as ms-0/1/0",
)];

static INTERFACE: &[Statement] = &[
    leaf("description", &[field(Value::Text)], "Text for people"),
    container(
        "services-options",
        OPTIONS,
        "Options of all service sets of this services interface",
    ),
    list(
        "unit",
        &[field(Value::Number(0, 16_384))],
        UNIT,
        "A unit of the services interface",
    )
    .no_effect(UNITS),
    refused("gigether-options", UNITS),
    refused("mtu", UNITS),
    refused("vlan-tagging", UNITS),
    refused("flexible-vlan-tagging", UNITS),
    refused("encapsulation", UNITS),
];

static UNIT: &[Statement] = &[
    leaf("description", &[field(Value::Text)], "Text for people"),
    leaf(
        "service-domain",
        &[field(Value::Word(&["inside", "outside"]))],
        "Side of a next-hop style service set",
    ),
    container("family", FAMILY, "Families"),
    refused("vlan-id", UNITS),
    refused("vlan-tags", UNITS),
];

static FAMILY: &[Statement] = &[
    presence("inet", ADDRESSES, "IPv4"),
    presence("inet6", ADDRESSES, "IPv6"),
];

static ADDRESSES: &[Statement] = &[
    refused("address", "addresses stand under `nat64-nic port N unit M family`"),
    refused(
        "service",
        "units have their service set under `nat64-nic port N unit M`",
    ),
    refused("filter", "the gateway has no packet filters"),
    refused("mtu", UNITS),
];

static OPTIONS: &[Statement] = &[
    leaf(
        "open-timeout",
        &[field(Value::Number(4, 300))],
        "Seconds a TCP session may take to open",
    )
    .default("`nat64-nic timers tcp-transitory`"),
    leaf(
        "close-timeout",
        &[field(Value::Number(2, 300))],
        "Seconds a TCP session may take to close",
    )
    .default("`nat64-nic timers tcp-transitory`"),
    leaf("inactivity-timeout", IDLE, "Seconds an idle established session stays").default("`nat64-nic timers`"),
    leaf(
        "inactivity-tcp-timeout",
        IDLE,
        "Seconds an idle established TCP session stays",
    )
    .default("inactivity-timeout"),
    leaf(
        "inactivity-non-tcp-timeout",
        IDLE,
        "Seconds an idle UDP or ICMP session stays",
    )
    .default("inactivity-timeout"),
    leaf(
        "tcp-tickles",
        &[field(Value::Number(0, 30))],
        "Probes before an idle TCP session is removed",
    )
    .default("`nat64-nic timers tcp-probes`"),
    leaf(
        "fragment-limit",
        &[field(Value::Number(1, 250))],
        "Most fragments of one packet",
    )
    .default("`nat64-nic limits fragments-per-packet`"),
    leaf(
        "reassembly-timeout",
        &[field(Value::Number(1, 60))],
        "Seconds a fragment waits for the others",
    )
    .default("`nat64-nic timers fragment`"),
    container(
        "session-limit",
        &[
            leaf("maximum", COUNT, "Sessions"),
            refused("rate", "the rate has a limit per service set, `max-session-setup-rate`"),
            refused("cpu-load-threshold", "the rate does not follow the load of a processor"),
        ],
        "Most sessions of all service sets",
    )
    .default("`nat64-nic limits sessions`"),
    container(
        "deterministic-nat-configuration-log-interval",
        &[leaf("interval", &[field(Value::Number(1800, 86_400))], "Seconds")],
        "Time between messages about deterministic NAT",
    )
    .no_effect("deterministic mappings are shown, not logged"),
    leaf(
        "pba-interim-logging-interval",
        &[field(Value::Number(0, 86_400))],
        "Seconds between messages about port blocks in use",
    )
    .no_effect("port blocks are logged when they are given and taken back"),
    container(
        "trio-flow-offload",
        &[leaf(
            "minimum-bytes",
            &[field(Value::Number(0, u32::MAX as u64))],
            "Bytes",
        )],
        "Offload of sessions to hardware",
    )
    .no_effect("sessions are in the card from their first packet on"),
    container(
        "jflow-log",
        &[leaf(
            "message-rate-limit",
            &[field(Value::Number(1, 2_147_483_647))],
            "Messages per second",
        )],
        "Flow export",
    )
    .no_effect("flows are not exported"),
    container("capture", CAPTURE, "Packet capture on the services PIC").no_effect("packets are not captured here"),
    flag("cgn-pic", "The PIC is used for NAT alone").no_effect(PIC),
    flag("enable-subscriber-analysis", "Subscriber analysis").no_effect(PIC),
    flag("disable-subscriber-analysis", "No subscriber analysis").no_effect(PIC),
    flag("disable-usp-tracing", "No tracing").no_effect(NO_FILES),
    flag("disable-drop-flows", "No drop flows").no_effect("a dropped packet leaves no flow behind"),
    flag("fpc-pic-information", "Slots of the PIC in log messages").no_effect(PIC),
    flag("utc-timestamp", "UTC in log messages").no_effect(LOG_TIME),
    flag("syslog-local-system-timestamp", "Local time in log messages").no_effect(LOG_TIME),
    refused("inactivity-asymm-tcp-timeout", "both directions must pass the gateway"),
    refused("session-timeout", "an active session has no end (RFC 6146)"),
    refused("disable-global-timeout-override", "timers of applications count"),
    refused("ignore-errors", "TCP errors are not ignored"),
    refused("flow", NO_FILES),
    refused("syslog", "log messages stand under `services service-set NAME syslog`"),
];

static CAPTURE: &[Statement] = &[
    leaf("capture-size", &[field(Value::Number(1, 344_000))], "Packets"),
    leaf("pkt-size", &[field(Value::Number(64, 15_000))], "Bytes of each"),
    leaf("logs-per-packet", &[field(Value::Number(0, 500))], "Messages of each"),
    leaf("max-log-line-size", &[field(Value::Number(0, 255))], "Characters"),
    container("filter", CAPTURE_FILTER, "Which packets"),
];

const PORT: &[Field] = &[field(Value::Number(0, 65_535))];
static LOW_HIGH: &[Statement] = &[leaf("low", PORT, "First port"), leaf("high", PORT, "Last port")];
static ADDRESS: &[Statement] = &[
    leaf("ip", &[field(Value::Address)], "Address"),
    leaf("wildcard", &[field(Value::Address)], "Bits of it that do not matter"),
];

static CAPTURE_FILTER: &[Statement] = &[
    container("source-ip", ADDRESS, "Source"),
    container("dest-ip", ADDRESS, "Destination"),
    container("sw-sip", ADDRESS, "Source of the softwire"),
    container("sw-dip", ADDRESS, "Destination of the softwire"),
    container("sport-range", LOW_HIGH, "Source ports"),
    container("dport-range", LOW_HIGH, "Destination ports"),
    leaf("proto", &[field(Value::Word(&["icmp", "tcp", "udp"]))], "Protocol"),
];

/// The statement at the top.
pub(super) const TOP: Statement = container("interfaces", STATEMENTS, "Services interfaces");
