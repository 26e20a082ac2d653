//! Help for the words that begin several commands.

/// First words of commands and one line about what they have in common.
pub static GROUPS: &[(&str, &str)] = &[
    ("card", "PCI devices of this machine"),
    ("clear", "End sessions, remove mappings, reset counters"),
    ("clear services", "Sessions and mappings"),
    ("clear services nat", "Mappings and counters"),
    ("clear system", "A commit that waits for its time"),
    ("display", "Show in another form"),
    ("monitor", "Show what happens as it happens"),
    ("replace", "Replace a text"),
    ("request", "Ask for an action"),
    ("request nat64", "Drain addresses of pools"),
    ("request support", "Gather what is needed to see what is wrong"),
    ("set", "Settings of this command line"),
    ("show", "Show what is"),
    ("show chassis", "Cards"),
    ("show nat64", "Addresses that are being drained"),
    ("show services", "Sessions, mappings, pools, service sets"),
    ("show services nat", "Pools, mappings, counters"),
    (
        "show services nat deterministic-nat",
        "Subscribers and ports of deterministic pools",
    ),
    ("show services stateful-firewall", "Flows"),
    ("show services service-sets", "Service sets"),
    ("show services service-sets statistics", "Counters of service sets"),
    ("show system", "Commits, alarms, times"),
    ("test", "Try what would happen"),
    ("test nat64", "Try what would happen to a packet"),
];
