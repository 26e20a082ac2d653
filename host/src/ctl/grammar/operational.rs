//! The operational commands.

use crate::api::routes::RouteId;
use crate::config::schema::applications::PLAIN;

use super::{alone, choice, keyed, word, Action, Arg, Command, Form, Live, Purpose, Value};

const CARD: Arg = keyed("card", Value::Live(Live::Card), "Only this card");
const PROTOCOLS: Value = Value::Words(&["tcp", "udp", "icmp", "icmp6"]);
const PORT: Value = Value::Number(0, 65_535);

const SERVICE_SET: Arg = keyed("service-set", Value::Live(Live::ServiceSet), "Only this service set");
const INTERFACE: Arg = keyed(
    "interface",
    Value::Live(Live::Interface),
    "Only this service interface, or the clients behind this unit",
);
const SOURCE_PREFIX: Arg = keyed(
    "source-prefix",
    Value::Prefix,
    "Source of either direction within this prefix: the client (IPv6) or the server (IPv4)",
);
const DESTINATION_PREFIX: Arg = keyed(
    "destination-prefix",
    Value::Prefix,
    "Destination of either direction within this prefix: the server as the client sees it (IPv6) or the pool address (IPv4)",
);
const SOURCE_PORT: Arg = keyed("source-port", PORT, "Source port of the initiating direction");
const DESTINATION_PORT: Arg = keyed("destination-port", PORT, "Destination port of the initiating direction");
const PROTOCOL: Arg = keyed("protocol", PROTOCOLS, "Only this protocol");
const APPLICATION_PROTOCOL: Arg = keyed(
    "application-protocol",
    Value::Words(PLAIN),
    "Only what a term matched by an application of this `application-protocol`; `none` for what is of no application",
);

const POOL: Arg = keyed("pool", Value::Live(Live::Pool), "Only what this pool gave");
const OFFLOAD: Arg = keyed(
    "offload",
    Value::Words(&["yes", "no"]),
    "Only sessions that are in the card, or only those that are not",
);

const PRIVATE: Arg = keyed("private", Value::Prefix, "Subscriber within this IPv6 prefix");
const PUBLIC: Arg = keyed("public", Value::Prefix, "Mapped to this IPv4 address or prefix");
const LIMIT: Arg = keyed("limit", Value::Number(1, 10_000_000), "At most so many entries");

/// The commands of the operational mode, in the order of the manual.
pub static OPERATIONAL: &[Command] = &[
    Command::new(
        "show services nat pool",
        Action::ShowNatPool,
        "Pools: addresses, ports, how much of them is in use",
    )
    .route(RouteId::Pools)
    .args(&[
        alone("pool", Value::Live(Live::Pool), "Only this pool"),
        choice(
            "level",
            &[
                ("brief", "One line for each pool (default)"),
                ("detail", "All counters and limits of each pool"),
            ],
        ),
    ]),
    Command::new(
        "show services nat mappings",
        Action::ShowNatMappings,
        "Mappings of subscribers to public addresses and ports",
    )
    .route(RouteId::Mappings)
    .args(&[
        choice(
            "view",
            &[
                ("brief", "Addresses, ports, number of sessions, state (default)"),
                ("detail", "Type, protocol, rule and inbound sessions too"),
                ("summary", "Numbers only"),
                ("endpoint-independent", "Only mappings of an address and port"),
                ("address-pooling-paired", "Only mappings of whole addresses"),
            ],
        ),
        alone("pool", Value::Live(Live::Pool), "Only this pool"),
        PRIVATE,
        PUBLIC,
        PROTOCOL,
        SERVICE_SET,
        CARD,
        LIMIT,
    ])
    .about(
        "A mapping whose sessions have all ended stays for its timeout and is shown with the seconds that are left: \
         `Timeout (256s)`.",
    ),
    Command::new(
        "show services nat statistics",
        Action::ShowNatStatistics,
        "Counters of the translation",
    )
    .route(RouteId::Statistics)
    .args(&[CARD]),
    Command::new(
        "show services nat deterministic-nat internal-host",
        Action::ShowDetNatHost,
        "The subscriber behind a public address and port",
    )
    .route(RouteId::Deterministic)
    .args(&[
        alone("address", Value::Address4, "Public address").required(),
        keyed("nat-port", Value::Number(0, 65_535), "Public port").required(),
    ])
    .about(
        "Computed from the configuration: it answers for subscribers that send nothing, and \
         for any time in the past in which the configuration was the same.",
    ),
    Command::new(
        "show services nat deterministic-nat nat-port-block",
        Action::ShowDetNatBlock,
        "The public address and ports of a subscriber",
    )
    .route(RouteId::Deterministic)
    .args(&[alone("host", Value::Address6, "Address of the subscriber").required()]),
    Command::new(
        "show services sessions",
        Action::ShowSessions,
        "Sessions, both directions of each",
    )
    .route(RouteId::Sessions)
    .args(&[
        choice(
            "view",
            &[
                ("brief", "Both flows of each session (default)"),
                ("extensive", "Translation, bytes, roles and timeouts too"),
                ("terse", "One line for each session"),
                ("count", "How many sessions each service set has"),
                ("utilization", "How full the table is, and rates"),
            ],
        ),
        SERVICE_SET,
        INTERFACE,
        SOURCE_PREFIX,
        DESTINATION_PREFIX,
        SOURCE_PORT,
        DESTINATION_PORT,
        PROTOCOL,
        APPLICATION_PROTOCOL,
        POOL,
        OFFLOAD,
        CARD,
        LIMIT,
    ])
    .about(
        "Filters are evaluated in the daemon. The answer is fetched a page at a time while the gateway works on, so \
         a session that is made or ends meanwhile may or may not be in it.",
    ),
    Command::new(
        "show services stateful-firewall flows",
        Action::ShowFlows,
        "Flows: each direction of each session for itself",
    )
    .route(RouteId::Sessions)
    .args(&[
        choice(
            "view",
            &[
                ("brief", "One line for each flow (default)"),
                ("extensive", "Translation, bytes, role and timeout too"),
                ("count", "How many flows each service set has"),
            ],
        ),
        SERVICE_SET,
        INTERFACE,
        SOURCE_PREFIX,
        DESTINATION_PREFIX,
        SOURCE_PORT,
        DESTINATION_PORT,
        PROTOCOL,
        APPLICATION_PROTOCOL,
        POOL,
        OFFLOAD,
        CARD,
        keyed("limit", Value::Number(1, 10_000_000), "At most so many flows"),
    ])
    .about(
        "What `show services sessions` shows, by flow: a filter selects sessions, and both flows of each are shown. There are \
         no rules of `stateful-firewall` beside those of `nat`, and a packet that no rule matches makes no flow, so all are in \
         the state `Forward`; `show drops` has the others.",
    ),
    Command::new(
        "show services service-sets summary",
        Action::ShowServiceSets,
        "Service sets: sessions, limits, packets, pools",
    )
    .route(RouteId::ServiceSets)
    .args(&[CARD]),
    Command::new(
        "show services service-sets statistics packet-drops",
        Action::ShowServiceSetDrops,
        "Packets that each service set dropped, by cause",
    )
    .route(RouteId::PacketDrops)
    .args(&[CARD]),
    Command::new(
        "show chassis card",
        Action::ShowCard,
        "Cards: identity, link, capacity, fill, share of packets translated in hardware",
    )
    .route(RouteId::Cards)
    .args(&[alone("card", Value::Live(Live::Card), "Only this card")]),
    Command::new(
        "show drops",
        Action::ShowDrops,
        "Each reason for which packets were dropped: count, rate, what it means",
    )
    .route(RouteId::Drops)
    .args(&[
        word("all", "Reasons that were never met too"),
        word("punts", "Reasons for which the card gave packets to the host, too"),
        CARD,
    ])
    .about("`by` tells who counted: the card, or the host that had the packet after it."),
    Command::new("show registers", Action::ShowRegisters, "Registers of a card, decoded")
        .route(RouteId::Registers)
        .args(&[
            alone(
                "register",
                Value::Live(Live::Register),
                "Only this register, or those that begin so",
            ),
            CARD,
        ]),
    Command::new(
        "show neighbours",
        Action::ShowNeighbours,
        "Neighbours of each unit: addresses, Ethernet addresses, state",
    )
    .route(RouteId::Neighbours)
    .args(&[CARD]),
    Command::new(
        "show nat64 drain",
        Action::ShowDrain,
        "Pool addresses that are being drained and what still uses them",
    )
    .route(RouteId::Drains),
    Command::new(
        "show configuration",
        Action::ShowActiveConfiguration,
        "The active configuration",
    )
    .route(RouteId::Active)
    .args(&[Arg::new(
        "statement",
        Form::Statement(Purpose::Existing),
        "Only what stands below this statement",
    )])
    .about(
        "`| display set` and `| display json` show it in the other forms; `| compare rollback \
         N` shows what changed since.",
    ),
    Command::new(
        "show system commit",
        Action::ShowCommitLog,
        "Log of commits: number, time, user, comment; and what is scheduled",
    )
    .route(RouteId::Commits),
    Command::new(
        "show system rollback",
        Action::ShowRollback,
        "An earlier configuration, or how two differ",
    )
    .route(RouteId::RollbackText)
    .args(&[
        alone(
            "number",
            Value::Number(0, 49),
            "Number of the configuration, 0 is the active one",
        )
        .required(),
        keyed("compare", Value::Number(0, 49), "Show how it differs from this one"),
    ]),
    Command::new(
        "show system uptime",
        Action::ShowUptime,
        "Since when the daemon runs and the configuration is active",
    )
    .route(RouteId::System),
    Command::new(
        "show version",
        Action::ShowVersion,
        "Versions of command line, daemon and contract with the card",
    )
    .route(RouteId::System),
    Command::new(
        "show system alarms",
        Action::ShowAlarms,
        "What an operator should know of now",
    )
    .route(RouteId::System),
    Command::new("show log", Action::ShowLog, "Log of the daemon, newest last")
        .route(RouteId::Log)
        .args(&[
            keyed(
                "severity",
                Value::Words(&["error", "warning", "info", "debug"]),
                "Only this severity and worse, info when not given",
            ),
            keyed("limit", Value::Number(1, 10_000_000), "Only the newest lines, so many"),
        ]),
    Command::new("show cli", Action::ShowCli, "Settings of this command line"),
    Command::new(
        "monitor drops",
        Action::MonitorDrops,
        "Show drops as they happen, until Ctrl-C",
    )
    .route(RouteId::MonitorDrops)
    .args(&[
        keyed(
            "interval",
            Value::Number(1, 3600),
            "Seconds between two reports, 1 when not given",
        ),
        keyed("count", Value::Number(1, 1_000_000), "End after so many reports"),
        CARD,
    ]),
    Command::new(
        "monitor sessions",
        Action::MonitorSessions,
        "Show sessions and port blocks as they come and go, until Ctrl-C",
    )
    .route(RouteId::MonitorSessions)
    .args(&[
        SERVICE_SET,
        SOURCE_PREFIX,
        DESTINATION_PREFIX,
        PROTOCOL,
        keyed("count", Value::Number(1, 1_000_000), "End after so many events"),
    ]),
    Command::new("clear services sessions", Action::ClearSessions, "End sessions")
        .route(RouteId::SessionsClear)
        .args(&[
            SERVICE_SET,
            INTERFACE,
            SOURCE_PREFIX,
            DESTINATION_PREFIX,
            SOURCE_PORT,
            DESTINATION_PORT,
            PROTOCOL,
            APPLICATION_PROTOCOL,
            POOL,
            OFFLOAD,
            CARD,
        ])
        .about(
            "Without a filter all sessions end. The number of those that went is told for each \
         service set.",
        ),
    Command::new(
        "clear services nat mappings",
        Action::ClearMappings,
        "Remove mappings and end their sessions",
    )
    .route(RouteId::MappingsClear)
    .args(&[
        choice(
            "kind",
            &[
                ("app", "Only mappings of whole addresses (address pooling paired)"),
                ("eim", "Only endpoint-independent mappings"),
            ],
        ),
        keyed("subscriber", Value::Prefix, "Of subscribers within this IPv6 prefix"),
        keyed("port", PORT, "Of this port of the subscriber"),
        keyed("public", Value::Prefix, "To this public address or prefix"),
        POOL,
        SERVICE_SET,
        CARD,
    ]),
    Command::new(
        "clear services nat statistics",
        Action::ClearStatistics,
        "Set the counters of the translation to zero",
    )
    .route(RouteId::StatisticsClear)
    .args(&[CARD]),
    Command::new(
        "clear system commit",
        Action::ClearCommit,
        "Drop a commit that waits for its time",
    )
    .route(RouteId::CommitCancel),
    Command::new(
        "test nat64 packet",
        Action::TestPacket,
        "Walk one described packet through rules and tables, without sending it",
    )
    .route(RouteId::TestPacket)
    .args(&[
        keyed("source", Value::Address, "Source address").required(),
        keyed("destination", Value::Address, "Destination address").required(),
        keyed("protocol", PROTOCOLS, "Protocol").required(),
        keyed("source-port", PORT, "Source port, or identifier of an echo").required(),
        keyed("destination-port", PORT, "Destination port"),
        keyed("interface", Value::Live(Live::Interface), "Unit it comes in on"),
        keyed(
            "length",
            Value::Number(0, 9192),
            "Bytes of payload, none when not given",
        ),
        keyed(
            "hop-limit",
            Value::Number(0, 255),
            "Hop limit or TTL, 64 when not given",
        ),
        keyed("flags", Value::Text, "TCP flags: syn, ack, fin, rst, joined by commas"),
        CARD,
    ])
    .about("Says for each stage what it decided and why. Nothing is sent and no table changes."),
    Command::new(
        "request nat64 drain",
        Action::Drain,
        "Make no more mappings with a pool address, so that it can be taken away",
    )
    .route(RouteId::Drain)
    .args(&[
        keyed("pool", Value::Live(Live::Pool), "Pool of the address").required(),
        keyed("address", Value::Address4, "Address").required(),
        CARD,
    ])
    .about(
        "Lasts until `request nat64 undrain` or a restart of the daemon; `show nat64 drain` \
         says how many ports are still in use.",
    ),
    Command::new("request nat64 undrain", Action::Undrain, "Use a pool address again")
        .route(RouteId::Drain)
        .args(&[
            keyed("pool", Value::Live(Live::Pool), "Pool of the address").required(),
            keyed("address", Value::Live(Live::Draining), "Address").required(),
            CARD,
        ]),
    Command::new(
        "request support information",
        Action::SupportInformation,
        "All that is needed to see what is wrong: versions, cards, drops, statistics, \
         configuration, commits",
    )
    .route(RouteId::Support)
    .about("`| save FILE` writes it to a file."),
    Command::new("card list", Action::CardList, "PCI devices that are or could be cards")
        .about("Looks at this machine itself, without the daemon."),
    Command::new(
        "card bind",
        Action::CardBind,
        "Give a PCI device to the vfio-pci driver, so that the daemon can use it",
    )
    .args(&[alone("device", Value::Live(Live::Device), "PCI address, DDDD:BB:DD.F").required()]),
    Command::new(
        "card unbind",
        Action::CardUnbind,
        "Give a PCI device back to the driver it would have",
    )
    .args(&[alone("device", Value::Live(Live::Device), "PCI address, DDDD:BB:DD.F").required()]),
    Command::new("configure", Action::Configure, "Enter configuration mode")
        .route(RouteId::EditBegin)
        .args(&[choice(
            "mode",
            &[
                ("exclusive", "Nobody else may change anything meanwhile"),
                ("private", "A candidate of one's own"),
            ],
        )])
        .about(
            "Without an argument everyone edits one candidate. What is not committed when an exclusive or private edit \
             ends is dropped. A private commit makes only one's own changes, on top of what others committed meanwhile; \
             a statement that both changed refuses it, and `update` settles that.",
        ),
    Command::new("set cli", Action::SetCli, "Change a setting of this command line").args(&[
        keyed(
            "screen-length",
            Value::Number(0, 100_000),
            "Lines of a screen; 0 does not stop at screens",
        ),
        keyed(
            "complete-on-space",
            Value::Words(&["on", "off"]),
            "Whether a space completes the word before it",
        ),
    ]),
    Command::new("help", Action::Help, "Explain a command").args(&[Arg::new(
        "command",
        Form::Command,
        "Its first words; all commands when not given",
    )]),
    Command::new("exit", Action::Exit, "Leave"),
    Command::new("quit", Action::Quit, "Leave"),
];
