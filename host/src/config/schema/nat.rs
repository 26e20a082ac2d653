//! `services nat`: pools, rules, rule sets.

use super::applications::{FROM_APPLICATIONS, FROM_APPLICATION_SETS};
use super::{
    container, field, flag, leaf, list, named, presence, refused, Field, Statement, Value, NAME, PERCENT, POOL_NAME,
    PORT, PREFIX4, PREFIX6, PREFIX_LIST_NAME, RULE_NAME,
};

const SNMP: &str = "the gateway sends no SNMP traps";
const NAT44: &str = "only stateful-nat64 and deterministic-napt64 are translated";

pub(super) static STATEMENTS: &[Statement] = &[
    list("pool", NAME, POOL, "IPv4 addresses and ports given to clients"),
    list("rule", NAME, RULE, "Terms tried in order"),
    list("rule-set", NAME, RULE_SET, "Rules under one name, in order"),
    flag(
        "allow-overlapping-nat-pools",
        "Pools of several service sets may share addresses",
    ),
    refused("port-forwarding", "static bindings stand under `nat64-nic service-set`"),
    refused("ipv6-multicast-interfaces", "multicast is never translated"),
];

const ADDRESS_RANGE4: &[Field] = &[named("low", Value::Address4), named("high", Value::Address4)];
const ADDRESS_RANGE6: &[Field] = &[named("low", Value::Address6), named("high", Value::Address6)];

static POOL: &[Statement] = &[
    list(
        "address",
        PREFIX4,
        &[],
        "Prefix; its network and broadcast addresses are left out (not of /31 and /32)",
    ),
    list(
        "address-range",
        ADDRESS_RANGE4,
        &[],
        "First and last address, both used",
    ),
    container("port", POOL_PORT, "Ports of each address").default("automatic"),
    container(
        "address-allocation",
        &[flag("round-robin", "Take a port of each address in turn")],
        "Order of addresses",
    )
    .default("the next address when the current one has no free port"),
    leaf(
        "mapping-timeout",
        TIMEOUT,
        "Seconds a mapping stays after its last session",
    )
    .default("0 with `timers profile rfc` (RFC 6146), 300 with `junos`"),
    leaf(
        "ei-mapping-timeout",
        TIMEOUT,
        "The same for endpoint-independent mappings",
    )
    .default("mapping-timeout"),
    leaf(
        "limit-ports-per-address",
        &[field(Value::Number(2, 65_435))],
        "Most ports of one client address",
    )
    .default("no limit"),
    container(
        "snmp-trap-thresholds",
        &[container(
            "address-port",
            &[leaf("low", PERCENT, "Percent"), leaf("high", PERCENT, "Percent")],
            "Use of addresses and ports",
        )],
        "Thresholds of SNMP traps",
    )
    .no_effect(SNMP),
    refused("interface", "a pool has its own addresses"),
    refused("address-overload", "a pool has its own addresses"),
    refused("flow-timeout", "timers stand under `nat64-nic timers`"),
    refused(
        "app-mapping-timeout",
        "a pairing ends with the last mapping of its client",
    ),
];

const TIMEOUT: &[Field] = &[field(Value::Number(120, 86_400))];

static POOL_PORT: &[Statement] = &[
    presence("automatic", AUTOMATIC, "Ports 1024 to 65535"),
    container("range", PORT_RANGE, "Own range of ports; excludes `automatic`").inline(),
    presence(
        "secured-port-block-allocation",
        PORT_BLOCKS,
        "Ports in blocks per client",
    ),
    presence(
        "deterministic-port-block-allocation",
        DETERMINISTIC,
        "Ports computed from the client address (RFC 7422)",
    ),
    flag("preserve-parity", "Even ports stay even, odd stay odd"),
    flag("preserve-range", "Ports below 1024 stay there, others stay above"),
];

static AUTOMATIC: &[Statement] = &[
    flag("sequential", "In rising order").default("this one"),
    flag("auto", "In rising order, as `sequential`").deprecated("sequential"),
    flag("random-allocation", "In random order; excludes `sequential`"),
];

static PORT_RANGE: &[Statement] = &[
    leaf("low", PORT, "First port"),
    leaf("high", PORT, "Last port"),
    flag("random-allocation", "In random order"),
];

static PORT_BLOCKS: &[Statement] = &[
    leaf("block-size", &[field(Value::Number(1, 64_512))], "Ports of a block").default("128"),
    leaf(
        "max-blocks-per-address",
        &[field(Value::Number(1, 512))],
        "Blocks of one client",
    )
    .default("8"),
    leaf(
        "active-block-timeout",
        &[field(Value::Number(0, 86_400))],
        "Seconds a block serves new ports; 0: for ever",
    )
    .default("120"),
];

static DETERMINISTIC: &[Statement] = &[
    leaf(
        "block-size",
        &[field(Value::Number(0, 64_512))],
        "Ports of a client; 0: as many as fit",
    )
    .default("512"),
    flag(
        "include-boundary-addresses",
        "First and last client address of a prefix count too",
    ),
];

static RULE: &[Statement] = &[
    leaf(
        "match-direction",
        &[field(Value::Word(&["input", "output", "input-output"]))],
        "Required. `input`: packets that come in on an inside unit",
    ),
    list("term", NAME, TERM, "One condition and what follows"),
];

static RULE_SET: &[Statement] = &[list("rule", RULE_NAME, &[], "A rule of the set")];

static TERM: &[Statement] = &[
    container("from", FROM, "All of these must match").default("every packet"),
    container("then", THEN, "What happens"),
    refused("nat-type", "use `mapping-type` and `filtering-type`"),
];

static EXCEPT: &[Statement] = &[flag("except", "Do not match these")];
const PREFIX6_OR_ANY: &[Field] = &[field(Value::Prefix6OrAny)];

static FROM: &[Statement] = &[
    list(
        "source-address",
        PREFIX6_OR_ANY,
        EXCEPT,
        "Client prefix; the longest match decides",
    )
    .grouped(),
    list(
        "source-address-range",
        ADDRESS_RANGE6,
        EXCEPT,
        "Client addresses, first to last",
    )
    .grouped(),
    list(
        "source-prefix-list",
        PREFIX_LIST_NAME,
        EXCEPT,
        "Client prefixes of a prefix list",
    )
    .grouped(),
    list(
        "destination-address",
        PREFIX6_OR_ANY,
        EXCEPT,
        "Destination prefix; the longest match decides",
    )
    .grouped(),
    list(
        "destination-address-range",
        ADDRESS_RANGE6,
        EXCEPT,
        "Destination addresses, first to last",
    )
    .grouped(),
    list(
        "destination-prefix-list",
        PREFIX_LIST_NAME,
        EXCEPT,
        "Destination prefixes of a prefix list",
    )
    .grouped(),
    container(
        "destination-port",
        &[container(
            "range",
            &[leaf("low", PORT, "First port"), leaf("high", PORT, "Last port")],
            "Ports",
        )
        .inline()],
        "Destination port",
    ),
    FROM_APPLICATIONS,
    FROM_APPLICATION_SETS,
    refused("application", "applications stand under `applications`"),
];

static THEN: &[Statement] = &[
    flag(
        "no-translation",
        "Leave matching packets to the port's `unmatched`; excludes `translated`",
    ),
    container("translated", TRANSLATED, "Translate matching packets"),
    flag("syslog", "Log sessions of the service set"),
    refused(
        "port-forwarding-mappings",
        "static bindings stand under `nat64-nic service-set`",
    ),
];

static TRANSLATED: &[Statement] = &[
    leaf("source-pool", POOL_NAME, "Required. Pool of the public addresses"),
    leaf(
        "overload-pool",
        POOL_NAME,
        "Pool used when the source pool has no free port",
    )
    .default("none"),
    leaf(
        "destination-prefix",
        PREFIX6,
        "Required. Pref64 (RFC 6052), length 32, 40, 48, 56, 64 or 96",
    ),
    container("translation-type", TRANSLATION_TYPE, "Required"),
    leaf(
        "mapping-type",
        ENDPOINT_INDEPENDENT,
        "One public port per client address and port, whatever the server",
    )
    .default("on with `timers profile rfc` (RFC 6146), off with `junos`"),
    container(
        "filtering-type",
        &[presence(
            "endpoint-independent",
            &[list(
                "prefix-list",
                PREFIX_LIST_NAME,
                EXCEPT,
                "Only servers of this prefix list",
            )
            .grouped()],
            "Any server may send to a mapping",
        )],
        "Who may send to a mapping",
    )
    .default("endpoint-independent with `timers profile rfc`, the server asked with `junos`"),
    container("secure-nat-mapping", SECURE_MAPPING, "Limits of mappings"),
    leaf(
        "address-pooling",
        &[field(Value::Word(&["paired"]))],
        "All ports of a client come from one public address",
    )
    .default("not paired"),
    refused("source-prefix", "ports are given from a `source-pool`"),
    refused("overload-prefix", "ports are given from an `overload-pool`"),
    refused("clat-prefix", NAT44),
    refused("clat-ipv6-prefix-length", NAT44),
    refused(
        "destination-pool",
        "NAT64 takes the destination from `destination-prefix`",
    ),
    refused("dns-alg-pool", "the gateway has no DNS gateway"),
    refused("dns-alg-prefix", "the gateway has no DNS gateway"),
    refused(
        "use-dns-map-for-destination-translation",
        "the gateway has no DNS gateway",
    ),
    refused("flow-type", "use `mapping-type` and `filtering-type`"),
    refused("ignore-dst-nat-1to1-limitation", NAT44),
];

const ENDPOINT_INDEPENDENT: &[Field] = &[field(Value::Word(&["endpoint-independent"]))];

static TRANSLATION_TYPE: &[Statement] = &[
    flag("stateful-nat64", "RFC 6146"),
    flag("deterministic-napt64", "RFC 6146 with computed ports (RFC 7422)"),
    refused("source", NAT44),
    refused("destination", NAT44),
    refused("basic-nat44", NAT44),
    refused("dynamic-nat44", NAT44),
    refused("napt-44", NAT44),
    refused("dnat-44", NAT44),
    refused("stateful-nat464", NAT44),
    refused("basic-nat-pt", NAT44),
    refused("napt-pt", NAT44),
    refused("basic-nat66", NAT44),
    refused("nptv6", NAT44),
    refused("napt-66", NAT44),
    refused("twice-napt-44", NAT44),
    refused("twice-basic-nat-44", NAT44),
    refused("twice-dynamic-nat-44", NAT44),
    refused("deterministic-napt44", NAT44),
];

static SECURE_MAPPING: &[Statement] = &[
    leaf(
        "eif-flow-limit",
        &[field(Value::Number(0, 65_534))],
        "Inbound sessions of one mapping",
    )
    .default("no limit"),
    leaf(
        "mapping-refresh",
        &[field(Value::Word(&["inbound", "outbound", "inbound-outbound"]))],
        "Direction whose packets keep a mapping alive",
    )
    .default("inbound-outbound (RFC 6146)"),
    refused("flow-refresh", "sessions are refreshed as RFC 6146 says"),
];
