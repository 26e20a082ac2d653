//! `nat64-nic`: what Junos has no statement for.

use super::{
    container, field, flag, leaf, list, named, naming, presence, Field, Live, Names, Statement, Value, ADDRESS4,
    ADDRESS6, NAME, POOL_NAME, PREFIX6, RULE_NAME, SERVICE_SET_NAME,
};
use crate::config::model::MAX_WORKERS;

pub(super) static STATEMENTS: &[Statement] = &[
    list("card", NAME, CARD, "A card"),
    list(
        "port",
        &[field(Value::Number(0, 1))],
        PORT,
        "A port of the card; with several cards ports stand under `card`",
    ),
    container("api", API, "The control socket"),
    container("metrics", METRICS, "Metrics for Prometheus"),
    container("timers", TIMERS, "Session timers"),
    container("limits", LIMITS, "Limits over all service sets"),
    list(
        "service-set",
        SERVICE_SET_NAME,
        SERVICE_SET,
        "More of a service set of the same name",
    ),
    list("pool", POOL_NAME, POOL, "More of a pool of the same name"),
];

static CARD: &[Statement] = &[
    leaf(
        "vfio",
        &[naming(Value::Pci, Names::Live(Live::PciDevice))],
        "The card is this PCI function, bound to vfio-pci",
    )
    .default("what `nat64d --card` says"),
    leaf(
        "vfio-user",
        &[field(Value::Path)],
        "The card is behind this socket of a vfio-user server",
    ),
    flag("sim", "The card is simulated"),
    flag(
        "soft",
        "No card: packets are translated in software on network interfaces of the host",
    ),
    leaf(
        "workers",
        &[field(Value::Number(1, MAX_WORKERS as u64))],
        "Threads that translate; `soft` cards only",
    )
    .default("what `nat64d --workers` says, or 1"),
    list(
        "service-interface",
        &[field(Value::Interface)],
        &[],
        "Service sets of this services interface run on this card",
    )
    .default("with one card: all of them"),
    list("port", &[field(Value::Number(0, 1))], PORT, "A port of the card"),
];

const API_MEMBERS: &[Statement] = &[
    list(
        "user",
        &[naming(Value::Name, Names::Live(Live::User))],
        &[],
        "A user of the host",
    ),
    list(
        "group",
        &[naming(Value::Name, Names::Live(Live::Group))],
        &[],
        "The users of a group of the host",
    ),
];

static API: &[Statement] = &[list(
    "class",
    &[field(Value::Word(&["read-only", "operator", "super-user"]))],
    API_MEMBERS,
    "Who may look; clear and test too; configure too",
)
.default("root is a super-user; others are what `nat64d` was started with")];

static METRICS: &[Statement] = &[leaf(
    "listen",
    &[field(Value::Address), named("port", Value::Number(1, 65_535))],
    "Address and TCP port metrics are served at",
)
.default("nowhere")];

static ROUTER_ADVERTISEMENT: &[Statement] = &[
    leaf(
        "max-advertisement-interval",
        &[field(Value::Number(4, 1800))],
        "Longest time between two, seconds",
    )
    .default("600"),
    leaf(
        "min-advertisement-interval",
        &[field(Value::Number(3, 1350))],
        "Shortest time between two, seconds",
    )
    .default("a third of max-advertisement-interval"),
    leaf(
        "default-lifetime",
        &[field(Value::Number(0, 9000))],
        "Seconds hosts take us for a router; 0: not at all",
    )
    .default("three times max-advertisement-interval"),
    flag("managed-configuration", "Hosts get their addresses by DHCPv6"),
    flag("other-stateful-configuration", "Hosts get other settings by DHCPv6"),
    list(
        "prefix",
        PREFIX6,
        &[
            flag("no-autonomous", "Hosts make no addresses of it"),
            flag("no-on-link", "Its addresses are not on the link"),
            leaf(
                "valid-lifetime",
                &[field(Value::Number(0, u32::MAX as u64))],
                "Seconds; 4294967295: for ever",
            )
            .default("2592000"),
            leaf(
                "preferred-lifetime",
                &[field(Value::Number(0, u32::MAX as u64))],
                "Seconds; 4294967295: for ever",
            )
            .default("604800"),
        ],
        "A prefix of the link",
    )
    .default("those of the unit's addresses"),
    list(
        "nat-prefix",
        PREFIX6,
        &[leaf(
            "lifetime",
            &[field(Value::Number(0, 65_528))],
            "Seconds; rounded up to a multiple of 8",
        )
        .default("three times max-advertisement-interval")],
        "Translation prefix told to hosts (PREF64, RFC 8781)",
    )
    .default("none"),
];

static PORT: &[Statement] = &[
    leaf(
        "interface",
        &[naming(Value::Name, Names::Live(Live::Interface))],
        "Network interface of the host that is this port; `soft` cards only",
    ),
    leaf(
        "tap",
        &[field(Value::Name)],
        "TAP device that is made for this port; `soft` cards only, excludes `interface`",
    ),
    leaf("mac", &[field(Value::Mac)], "Our Ethernet address").default("02:4e:36:34:00:00 and 02:4e:36:34:00:01"),
    leaf(
        "unmatched",
        &[field(Value::Word(&["drop", "forward", "punt"]))],
        "Packets that no unit or rule matches",
    )
    .default("drop"),
    list(
        "unit",
        &[field(Value::Number(0, 16_384))],
        UNIT,
        "A VLAN of the port, or its untagged frames",
    ),
];

const VLAN: Value = Value::Number(1, 4094);
/// The card takes packets of 1,500 bytes; IPv6 needs links of 1,280.
const MTU: Value = Value::Number(1280, 1500);

static UNIT: &[Statement] = &[
    leaf("vlan-id", &[field(VLAN)], "VLAN of its frames; excludes `vlan-tags`").default("untagged"),
    leaf(
        "vlan-tags",
        &[named("outer", VLAN), named("inner", VLAN)],
        "Both VLANs of its frames",
    )
    .default("untagged"),
    leaf(
        "side",
        &[field(Value::Word(&["inside", "outside", "both"]))],
        "Where its IPv6 or IPv4 packets come from",
    )
    .default("inside on port 0, outside on port 1"),
    leaf("service-set", SERVICE_SET_NAME, "Service set of its packets").default("the only one there is"),
    leaf("mtu", &[field(MTU)], "Largest IP packet, bytes").default("1500"),
    presence(
        "router-advertisement",
        ROUTER_ADVERTISEMENT,
        "Tell hosts of an inside unit about us (RFC 4861)",
    ),
    flag(
        "no-auto-last-hop",
        "Answer by route, not to the Ethernet address the request came from",
    ),
    container(
        "family",
        &[
            container(
                "inet6",
                &[
                    list(
                        "address",
                        &[field(Value::Host6)],
                        &[],
                        "Our address and the length of the prefix on the link",
                    ),
                    leaf("gateway", ADDRESS6, "Next hop of all other destinations"),
                ],
                "IPv6",
            ),
            container(
                "inet",
                &[
                    list(
                        "address",
                        &[field(Value::Host4)],
                        &[],
                        "Our address and the length of the prefix on the link",
                    ),
                    leaf("gateway", ADDRESS4, "Next hop of all other destinations"),
                ],
                "IPv4",
            ),
        ],
        "Addresses",
    )
    .default("none: every destination is on the link"),
];

const SECONDS: &[Field] = &[field(Value::Number(1, 86_400))];

const fn seconds(name: &'static str, help: &'static str, default: &'static str) -> Statement {
    leaf(name, SECONDS, help).default(default)
}

static TIMERS: &[Statement] = &[
    leaf(
        "profile",
        &[field(Value::Word(&["rfc", "junos"]))],
        "Defaults of timers, mapping, filtering and DF",
    )
    .default("rfc"),
    seconds("udp", "Idle UDP session", "rfc 300, junos 30"),
    seconds("tcp-established", "Idle established TCP session", "rfc 7440, junos 30"),
    seconds(
        "tcp-transitory",
        "TCP session that opens or closes",
        "rfc 240, junos 30",
    ),
    seconds("tcp-incoming-syn", "Stored SYN from outside", "rfc 6, junos 6"),
    seconds("icmp", "Idle ICMP session", "rfc 60, junos 30"),
    seconds("fragment", "Fragment waiting for the others", "rfc 2, junos 4"),
    leaf(
        "tcp-probes",
        &[field(Value::Number(0, 30))],
        "Probes before an idle TCP session is removed",
    )
    .default("rfc 1, junos 4"),
];

const LIMIT: &[Field] = &[field(Value::Count(1, u32::MAX as u64))];

const fn limit(name: &'static str, help: &'static str, default: &'static str) -> Statement {
    leaf(name, LIMIT, help).default(default)
}

static LIMITS: &[Statement] = &[
    limit("sessions", "Sessions", "1048576"),
    limit("bibs", "BIB entries", "1048576"),
    limit("stored-syns", "Stored SYNs from outside", "1024"),
    limit("embryonic", "TCP sessions that are not established", "no limit"),
    leaf(
        "icmp-errors-per-second",
        &[field(Value::Count(0, u32::MAX as u64))],
        "ICMP errors sent, with a burst of the same size; 0: none",
    )
    .default("1000"),
    leaf(
        "fragment-bytes",
        &[field(Value::Count(65_536, 1 << 30))],
        "Bytes of fragments that wait for others",
    )
    .default("4194304"),
    leaf(
        "fragments-per-packet",
        &[field(Value::Number(2, 8192))],
        "Fragments a packet may come in",
    )
    .default("64"),
    leaf(
        "fragmented-packets-per-source",
        &[field(Value::Number(1, 65_535))],
        "Packets of one source that wait for fragments",
    )
    .default("16"),
];

const PORT_NUMBER: Value = Value::Number(0, 65_535);

const BINDING: &[Field] = &[
    field(Value::Word(&["tcp", "udp", "icmp"])),
    named("inside", Value::Address6),
    named("port", PORT_NUMBER),
    named("outside", Value::Address4),
    named("port", PORT_NUMBER),
];

static SERVICE_SET: &[Statement] = &[
    leaf(
        "eim-scope",
        &[field(Value::Word(&["service-set", "rule-term"]))],
        "How far one mapping of a client reaches",
    )
    .default("rule-term"),
    leaf(
        "on-conflict",
        &[field(Value::Word(&["drop", "reallocate"]))],
        "Second session with the same server and port",
    )
    .default("reallocate"),
    leaf(
        "mapping",
        &[field(Value::Word(&[
            "endpoint-independent",
            "address-and-port-dependent",
        ]))],
        "Mapping of terms without `mapping-type`",
    )
    .default(
        "endpoint-independent with `timers profile rfc`; address-and-port-dependent with `junos`, and with \
         `eim-scope service-set` and `on-conflict drop` together, which reproduce Junos",
    ),
    leaf(
        "filtering",
        &[field(Value::Word(&[
            "endpoint-independent",
            "address-dependent",
            "address-and-port-dependent",
        ]))],
        "Filtering of terms without `filtering-type`",
    )
    .default("endpoint-independent with `timers profile rfc`, address-and-port-dependent with `junos`"),
    flag(
        "strict-well-known-prefix",
        "Refuse all non-global IPv4 addresses under 64:ff9b::/96, the letter of RFC 6052",
    )
    .default("refused but for the documentation networks 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24"),
    flag(
        "no-strict-well-known-prefix",
        "Translate non-global IPv4 addresses under 64:ff9b::/96 too",
    ),
    flag("no-outside-tcp-open", "TCP sessions are opened from inside only"),
    leaf(
        "tos-override",
        &[field(Value::Number(0, 255))],
        "ToS and traffic class of every translated packet; the card leaves such packets to the host",
    )
    .default("copied (RFC 7915)"),
    leaf(
        "udp-zero-checksum",
        &[field(Value::Word(&["calculate", "drop"]))],
        "IPv4 UDP packets without checksum, which IPv6 does not allow",
    )
    .default("calculate"),
    flag(
        "icmp-source-extension",
        "ICMPv4 errors made from those of IPv6 routers tell the router's address (RFC 6791, RFC 5837)",
    )
    .default("not told: it shows addresses of the inside"),
    leaf(
        "subscriber-prefix-length",
        &[field(Value::Word(&["48", "56", "64", "128"]))],
        "What counts as one client",
    )
    .default("128"),
    list(
        "static-binding",
        BINDING,
        &[leaf("rule", RULE_NAME, "Rule"), leaf("term", NAME, "Term")],
        "A mapping that always exists; `port` is the identifier for icmp",
    )
    .inline(),
];

static POOL: &[Statement] = &[
    leaf(
        "quarantine",
        &[field(Value::Number(0, 86_400))],
        "Seconds a freed port rests (RFC 6888 asks for 120)",
    )
    .default("0"),
    list("drain", ADDRESS4, &[], "Address that gets no new mappings"),
];
