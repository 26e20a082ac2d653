//! `applications`: what `from applications` matches.

use super::{container, entries, field, leaf, list, refused, Field, Statement, Value, NAME};

const NO_ALG: &str = "the gateway has no application gateways";
const NOT_MATCHED: &str = "applications match protocols and ports";

/// Values of `application-protocol` that only say what an application is. The others are application gateways.
pub(crate) const PLAIN: &[&str] = &[
    "none", "ignore", "ip", "icmp", "icmpv6", "http", "https", "imap", "imaps", "smtp", "smtps", "ssh", "telnet",
    "twamp", "pop3", "pop3s",
];

/// What a session that is of no application has for its `application-protocol`.
pub(crate) const NO_PROTOCOL: &str = "none";
/// ... and a session of ICMP, whatever its term says.
pub(crate) const ICMP_PROTOCOL: &str = "icmpv6";

/// An `application-protocol` that only says what an application is, by the one name it has in listings: `icmp` and
/// `icmpv6` are one here. `None`: it is an application gateway of Junos, or nothing.
pub(crate) fn plain(name: &str) -> Option<&'static str> {
    match PLAIN.iter().find(|known| **known == name)? {
        &"icmp" => Some(ICMP_PROTOCOL),
        known => Some(known),
    }
}

/// Every value of `application-protocol`.
pub(crate) const PROTOCOLS: &[&str] = &[
    "none",
    "ignore",
    "ip",
    "icmp",
    "icmpv6",
    "http",
    "https",
    "imap",
    "imaps",
    "smtp",
    "smtps",
    "ssh",
    "telnet",
    "twamp",
    "pop3",
    "pop3s",
    "bootp",
    "dce-rpc",
    "dce-rpc-portmap",
    "dns",
    "exec",
    "ftp",
    "ftp-data",
    "gprs-gtp-c",
    "gprs-gtp-u",
    "gprs-gtp-v0",
    "gprs-sctp",
    "h323",
    "iiop",
    "ike-esp-nat",
    "login",
    "mgcp-ca",
    "mgcp-ua",
    "ms-rpc",
    "netbios",
    "netshow",
    "pptp",
    "q931",
    "ras",
    "realaudio",
    "rpc",
    "rpc-portmap",
    "rsh",
    "rtsp",
    "sccp",
    "sip",
    "shell",
    "snmp",
    "sqlnet",
    "sqlnet-v2",
    "sun-rpc",
    "talk",
    "tftp",
    "traceroute",
    "winframe",
];

const APPLICATION_NAME: &[Field] = &[entries(&["applications", "application"])];
const APPLICATION_SET_NAME: &[Field] = &[entries(&["applications", "application-set"])];
const DESCRIPTION: &[Field] = &[field(Value::Text)];
const PORTS: &[Field] = &[field(Value::Ports)];

pub(super) static STATEMENTS: &[Statement] = &[
    list("application", NAME, APPLICATION, "A protocol and its ports"),
    list("application-set", NAME, APPLICATION_SET, "Applications under one name"),
];

static APPLICATION: &[Statement] = &[
    leaf("description", DESCRIPTION, "Text for people"),
    leaf(
        "application-protocol",
        &[field(Value::Word(PROTOCOLS))],
        "What it is; one that Junos has an application gateway for is refused at commit",
    ),
    leaf(
        "protocol",
        &[field(Value::Word(&[
            "tcp", "udp", "icmp", "icmp6", "6", "17", "1", "58",
        ]))],
        "Protocol; `icmp` and `icmp6` are one here",
    )
    .default("any"),
    leaf("source-port", PORTS, "Source port or ports").default("any"),
    leaf("destination-port", PORTS, "Destination port or ports").default("any"),
    leaf(
        "inactivity-timeout",
        &[field(Value::Number(4, 86_400))],
        "Seconds an idle session of it stays, in place of the timer of its protocol",
    )
    .default("the timer of its protocol"),
    leaf(
        "gate-timeout",
        &[field(Value::Number(5, 21_600))],
        "Gates of application gateways",
    )
    .no_effect(NO_ALG),
    leaf(
        "child-inactivity-timeout",
        &[field(Value::Number(4, 86_400))],
        "Sessions of application gateways",
    )
    .no_effect(NO_ALG),
    refused(
        "term",
        "an application has one protocol; several stand in an `application-set`",
    ),
    refused("ether-type", NOT_MATCHED),
    refused("snmp-command", NOT_MATCHED),
    refused("icmp-type", NOT_MATCHED),
    refused("icmp6-type", NOT_MATCHED),
    refused("icmp-code", NOT_MATCHED),
    refused("icmp6-code", NOT_MATCHED),
    refused("ttl-threshold", NOT_MATCHED),
    refused("rpc-program-number", NOT_MATCHED),
    refused("uuid", NOT_MATCHED),
    refused(
        "do-not-translate-AAAA-query-to-A-query",
        "the gateway has no DNS gateway",
    ),
    refused(
        "do-not-translate-A-query-to-AAAA-query",
        "the gateway has no DNS gateway",
    ),
];

static APPLICATION_SET: &[Statement] = &[
    leaf("description", DESCRIPTION, "Text for people"),
    list("application", APPLICATION_NAME, &[], "An application of the set"),
    list(
        "application-set",
        APPLICATION_SET_NAME,
        &[],
        "Another set, whose applications are of this one too",
    ),
];

/// `applications` and `application-sets` of a term.
pub(super) const FROM_APPLICATIONS: Statement = list(
    "applications",
    APPLICATION_NAME,
    &[],
    "An application; one of all that are named must match. Some names of Junos are known without a definition",
);
/// See [`FROM_APPLICATIONS`].
pub(super) const FROM_APPLICATION_SETS: Statement = list(
    "application-sets",
    APPLICATION_SET_NAME,
    &[],
    "The applications of a set",
);

/// The statement at the top.
pub(super) const TOP: Statement = container("applications", STATEMENTS, "Protocols and ports under names");
