//! Tree -> [`GatewayConfig`]: the commit checks and the defaults.
//!
//! Every check runs even when an earlier one failed, so that all problems are told at once. What a profile changes:
//!
//! | | `timers profile rfc` (default) | `timers profile junos` |
//! |---|---|---|
//! | timers | RFC 6146 section 4 | Junos |
//! | mapping without `mapping-type` | endpoint-independent (RFC 6146 needs it) | a port per server |
//! | filtering without `filtering-type` | endpoint-independent (RFC 6146 section 3.5.4) | address and port |
//! | DF | RFC 7915, with and without `clear-dont-fragment-bit` | cleared below 1,280 bytes with it, else set |
//! | unused mappings | go with their last session | stay 300 s |

mod applications;
mod around;
mod limits;
mod memory;
mod pool;
mod rule;
mod service_set;
mod share;
mod syslog;
mod types;
mod wire;

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use nat64_driver::{GatewayConfig, LinkType};
use nat64_layout::{Geometry, TICK_SHIFT};
use nat64_xlate::config::{Limits, Timers};
use nat64_xlate::Config;

use self::memory::Memory;
use self::share::Shares;
use super::place::Place;
use super::problem::{Problem, ProblemKind, Warning, WarningKind, MAX_PROBLEMS};
use super::schema::{Kind, Support};
use super::tree::{Node, Tree};
use super::value::{count, number, prefix4, prefix6};

pub use memory::Checker;
pub use types::{
    AdvertisedPrefix, Api, ApiClass, ApiMember, ApiWho, Card, CardLimits, Device, Link, Model, NatPrefix,
    RouterAdvertisement, ServiceSetExtra, Syslog, SyslogClasses, SyslogHost, SyslogTarget, UnitExtra, MAX_WORKERS,
};

/// What the configuration does not say itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOptions {
    /// What frames look like.
    pub link_type: LinkType,
    /// What a card holds, when `card_limits` does not name it.
    pub limits: CardLimits,
    /// What cards hold, by their names.
    pub card_limits: Vec<(String, CardLimits)>,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            link_type: LinkType::Ethernet,
            limits: CardLimits::card(Geometry::STANDARD),
            card_limits: Vec::new(),
        }
    }
}

/// Checks a configuration as a whole and makes the gateway's, for those who have one card and nothing around it.
///
/// `xlate.activity_tick` is the card's ([`TICK_SHIFT`]), so that a translator without a card ends sessions when one
/// with a card does.
///
/// # Errors
/// As [`model`]; an empty configuration, and one with several cards.
pub fn build(tree: &Tree, options: BuildOptions) -> Result<(GatewayConfig, Vec<Warning>), Vec<Problem>> {
    let (mut model, warnings) = check(tree, &options, &mut Memory::default())?;
    match (model.cards.pop(), model.cards.as_slice()) {
        (Some(card), []) => Ok((card.gateway, warnings)),
        _ => {
            let text = "the configuration has several cards, this program has one";
            Err(vec![Problem::check(text, None)])
        }
    }
}

/// Checks a configuration as a whole and makes the model of it: all cards, and what is around them. A configuration
/// without any statement is a [`Model`] without a card.
///
/// # Errors
/// Everything that is wrong, in one go: names that do not exist, wrong families and ranges, exclusive statements,
/// required ones that are missing, overlapping pools, reserved addresses, and more entries than a card has.
pub fn model(tree: &Tree, options: &BuildOptions) -> Result<(Model, Vec<Warning>), Vec<Problem>> {
    Checker::new().model(tree, options)
}

fn check(tree: &Tree, options: &BuildOptions, memory: &mut Memory) -> Result<(Model, Vec<Warning>), Vec<Problem>> {
    let mut b = Builder::new(tree, std::mem::take(memory));
    let done = b.check(options);
    *memory = std::mem::take(&mut b.memory);
    memory.end();
    done
}

impl<'t> Builder<'t> {
    fn check(&mut self, options: &BuildOptions) -> Result<(Model, Vec<Warning>), Vec<Problem>> {
        let b = self;
        b.inert(b.root);
        let pools = b.pools();
        let applications = b.applications();
        let rules = b.rules(&pools, &applications);
        let mut sets = b.service_sets(&rules, &pools);
        let specs = b.cards(&mut sets);
        let (api, metrics) = (b.api(), b.metrics());
        let mut parts = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let wire = b.wire(spec, index, &mut sets);
            let around = b.around(spec, index, &sets);
            let timers = b.timers(&around);
            let limits = b.limits(&around);
            parts.push((wire, timers, limits));
        }
        if b.problems.is_empty() {
            let mut cards = Vec::new();
            let several = specs.len() > 1;
            let mut shares = Shares::new(sets, pools, several);
            for (index, (spec, (wire, timers, limits))) in specs.into_iter().zip(parts).enumerate() {
                let share = shares.take(index);
                let xlate = Config {
                    units: wire.units.into_iter().map(|unit| share.unit(unit)).collect(),
                    service_sets: share.service_sets,
                    pools: share.pools,
                    timers,
                    limits,
                    activity_tick: Duration::from_nanos(1 << TICK_SHIFT),
                };
                let gateway = GatewayConfig {
                    link_type: options.link_type,
                    ports: wire.ports,
                    units: wire.links,
                    xlate,
                };
                let known = options.card_limits.iter().find(|(name, _)| *name == spec.name);
                let mut limits = known.map_or(options.limits, |(_, limits)| *limits);
                if spec.device == Some(Device::Soft) {
                    limits = CardLimits::SOFT;
                }
                let places = limits::Places {
                    units: wire.nodes,
                    service_sets: share.nodes,
                };
                let card = if several { spec.name.as_str() } else { "" };
                b.problems.extend(limits::check(&gateway, &limits, &places, card));
                cards.push(Card {
                    name: spec.name,
                    device: spec.device,
                    links: wire.host_links,
                    workers: spec.workers,
                    units: wire.extras,
                    service_sets: share.extras,
                    gateway,
                });
            }
            if b.problems.is_empty() {
                let warnings = std::mem::take(&mut b.warnings);
                return Ok((Model { cards, api, metrics }, warnings));
            }
        }
        if b.problems.len() > MAX_PROBLEMS {
            b.problems.truncate(MAX_PROBLEMS);
            b.problems
                .push(Problem::new(ProblemKind::TooMany { limit: MAX_PROBLEMS }, None));
        }
        Err(std::mem::take(&mut b.problems))
    }
}

/// What all checks share.
struct Builder<'t> {
    root: &'t Node,
    /// Defaults are those of Junos.
    junos: bool,
    prefix_lists: HashMap<&'t str, &'t Arc<Node>>,
    memory: Memory,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

/// Where a statement stands, for a problem.
fn place(node: &Node) -> Option<Place> {
    node.place().cloned()
}

/// The number of a leaf below `node`. Values were checked when they were read, so what is no number is not there.
fn number_of(node: Option<&Node>, name: &str) -> Option<u64> {
    let leaf = node?.child(name)?;
    number(leaf.value()).or_else(|| count(leaf.value()))
}

/// The same as a `u32`, cut to the largest there is.
fn u32_of(node: Option<&Node>, name: &str) -> Option<u32> {
    number_of(node, name).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

/// The same as a `u16`, cut to the largest there is.
fn u16_of(node: Option<&Node>, name: &str) -> Option<u16> {
    number_of(node, name).map(|n| u16::try_from(n).unwrap_or(u16::MAX))
}

fn seconds_of(node: Option<&Node>, name: &str) -> Option<Duration> {
    number_of(node, name).map(Duration::from_secs)
}

fn has(node: Option<&Node>, name: &str) -> bool {
    node.is_some_and(|node| node.child(name).is_some())
}

/// Network address of an IPv4 prefix.
fn network4(address: Ipv4Addr, length: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    Ipv4Addr::from(u32::from(address) & mask)
}

/// Network address of an IPv6 prefix.
fn network6(address: Ipv6Addr, length: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    Ipv6Addr::from(u128::from(address) & mask)
}

impl<'t> Builder<'t> {
    fn new(tree: &'t Tree, memory: Memory) -> Self {
        let root = tree.root();
        let profile = root.at(&["nat64-nic", "timers", "profile"]);
        let lists = root
            .child("policy-options")
            .into_iter()
            .flat_map(Node::children)
            .filter(|list| !list.is_inactive() && list.name() == "prefix-list");
        Self {
            root,
            junos: profile.is_some_and(|profile| profile.value() == "junos"),
            prefix_lists: lists.map(|list| (list.value(), list)).collect(),
            memory,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn problem(&mut self, text: impl Into<String>, at: &Node) {
        self.problems.push(Problem::check(text, place(at)));
    }

    fn note(&mut self, text: impl Into<String>, at: &Node) {
        self.warnings.push(Warning::note(text, place(at)));
    }

    fn own(&self) -> Option<&'t Node> {
        self.root.child("nat64-nic")
    }

    /// Two statements that exclude each other; the problem stands at the second.
    fn exclusive(&mut self, node: &Node, a: &str, b: &str) -> bool {
        match (node.child(a), node.child(b)) {
            (Some(_), Some(second)) => {
                self.problem(format!("`{a}` and `{b}` exclude each other"), second);
                true
            }
            _ => false,
        }
    }

    /// Warns of statements that are accepted and do nothing, and of old spellings.
    fn inert(&mut self, node: &Node) {
        for child in node.children().iter().filter(|child| !child.is_inactive()) {
            if let Support::NoEffect(why) = child.schema().support {
                let kind = WarningKind::NoEffect {
                    name: child.words(),
                    why,
                };
                self.warnings.push(Warning::new(kind, place(child)));
                continue;
            }
            if let Support::Deprecated(new) = child.schema().support {
                let old = child.schema().name;
                self.warnings
                    .push(Warning::new(WarningKind::Deprecated { old, new }, place(child)));
            }
            if child.children().is_empty() {
                continue;
            }
            // Entries of lists are many and change one at a time.
            let entry = child.schema().kind == Kind::List;
            if entry && self.memory.is_quiet(child) {
                continue;
            }
            let before = self.warnings.len();
            self.inert(child);
            if entry && self.warnings.len() == before {
                self.memory.keep_quiet(child);
            }
        }
    }

    /// An IPv4 prefix cut to its network; warns when it had host bits.
    fn masked4(&mut self, node: &Node) -> Option<(Ipv4Addr, u8)> {
        let (address, length) = prefix4(node.value())?;
        let network = network4(address, length);
        if network != address {
            self.note(
                format!(
                    "`{}` has bits past its length; {network}/{length} is used",
                    node.value()
                ),
                node,
            );
        }
        Some((network, length))
    }

    /// An IPv6 prefix cut to its network; warns when it had host bits.
    fn masked6(&mut self, node: &Node) -> Option<(Ipv6Addr, u8)> {
        let (address, length) = prefix6(node.value())?;
        let network = network6(address, length);
        if network != address {
            self.note(
                format!(
                    "`{}` has bits past its length; {network}/{length} is used",
                    node.value()
                ),
                node,
            );
        }
        Some((network, length))
    }

    /// Session timers: profile, then services interfaces, then service sets, then `nat64-nic timers`.
    fn timers(&mut self, around: &around::Around<'t>) -> Timers {
        let mut timers = if self.junos { Timers::JUNOS } else { Timers::RFC };
        let mut of_sets = Vec::new();
        for set in &around.service_sets {
            let options = set.child("service-set-options");
            let tcp = options.and_then(|o| o.child("tcp-session"));
            let leaf = |name| tcp.and_then(|t| t.child(name));
            of_sets.extend(options.and_then(|o| o.child("inactivity-non-tcp-timeout")));
            let names = ["open-timeout", "close-timeout", "inactivity-tcp-timeout", "tcp-tickles"];
            of_sets.extend(names.into_iter().filter_map(leaf));
        }
        let mut of_interfaces = Vec::new();
        let names = [
            "open-timeout",
            "close-timeout",
            "inactivity-timeout",
            "inactivity-tcp-timeout",
            "inactivity-non-tcp-timeout",
            "tcp-tickles",
            "reassembly-timeout",
        ];
        for options in &around.interfaces {
            of_interfaces.extend(names.into_iter().filter_map(|name| options.child(name)));
        }
        let wide = self.stated(&of_interfaces, "services interfaces");
        let narrow = self.stated(&of_sets, "service sets");
        let node = |name: &str| narrow.get(name).or_else(|| wide.get(name)).copied();
        let value = |name: &str| node(name).and_then(|node| number(node.value()));
        if let Some(seconds) = value("inactivity-non-tcp-timeout").or(value("inactivity-timeout")) {
            timers.udp = Duration::from_secs(seconds);
            timers.icmp = timers.udp;
        }
        if let Some(seconds) = value("inactivity-tcp-timeout").or(value("inactivity-timeout")) {
            timers.tcp_established = Duration::from_secs(seconds);
        }
        if let Some(seconds) = value("reassembly-timeout") {
            timers.fragment = Duration::from_secs(seconds);
        }
        let (open, close) = (value("open-timeout"), value("close-timeout"));
        if let Some(seconds) = open.max(close) {
            timers.tcp_transitory = Duration::from_secs(seconds);
            if let (Some(node), true) = (node("close-timeout"), open.is_some() && open != close) {
                let text = format!("opening and closing TCP sessions share one timer (RFC 6146); {seconds} s is used");
                self.note(text, node);
            }
        }
        if let Some(probes) = value("tcp-tickles") {
            timers.tcp_probes = u8::try_from(probes).unwrap_or(u8::MAX);
        }
        let own = self.own().and_then(|own| own.child("timers"));
        // RFC 6146 section 4: name, place of the value, least value.
        let table: [(&str, &mut Duration, u64); 6] = [
            ("udp", &mut timers.udp, 120),
            ("tcp-established", &mut timers.tcp_established, 7440),
            ("tcp-transitory", &mut timers.tcp_transitory, 240),
            ("tcp-incoming-syn", &mut timers.tcp_incoming_syn, 6),
            ("icmp", &mut timers.icmp, 60),
            ("fragment", &mut timers.fragment, 2),
        ];
        let mut low = Vec::new();
        for (name, timer, least) in table {
            if let Some(node) = own.and_then(|own| own.child(name)) {
                if let Some(seconds) = number(node.value()) {
                    *timer = Duration::from_secs(seconds);
                    if seconds < least && !self.junos {
                        low.push((
                            format!("`{name} {seconds}` is less than the {least} s of RFC 6146"),
                            node,
                        ));
                    }
                }
            }
        }
        for (text, node) in low {
            self.note(text, node);
        }
        if let Some(probes) = number_of(own, "tcp-probes") {
            timers.tcp_probes = u8::try_from(probes).unwrap_or(u8::MAX);
        }
        timers
    }

    /// Statements by name; two with different values are a problem, since there is one set of timers for all.
    fn stated(&mut self, leaves: &[&'t Node], all: &str) -> HashMap<&'static str, &'t Node> {
        let mut stated: HashMap<&'static str, &'t Node> = HashMap::new();
        for node in leaves {
            match stated.insert(node.name(), node) {
                Some(other) if other.value() != node.value() => self.problem(
                    format!(
                        "one set of timers serves all {all}, and another one says `{} {}`",
                        node.name(),
                        other.value()
                    ),
                    node,
                ),
                _ => {}
            }
        }
        stated
    }

    fn limits(&mut self, around: &around::Around<'t>) -> Limits {
        let own = self.own().and_then(|own| own.child("limits"));
        let mut limits = Limits::default();
        for options in &around.interfaces {
            let maximum = u32_of(options.child("session-limit"), "maximum");
            limits.sessions = maximum.map_or(limits.sessions, |most| limits.sessions.min(most));
            let fragments = u16_of(Some(options), "fragment-limit");
            limits.fragments_per_packet = fragments.unwrap_or(limits.fragments_per_packet);
        }
        let set = |to: &mut u32, name| *to = u32_of(own, name).unwrap_or(*to);
        set(&mut limits.sessions, "sessions");
        set(&mut limits.bibs, "bibs");
        set(&mut limits.stored_syns, "stored-syns");
        set(&mut limits.icmp_errors_per_second, "icmp-errors-per-second");
        limits.embryonic = u32_of(own, "embryonic");
        let set = |to: &mut u16, name| *to = u16_of(own, name).unwrap_or(*to);
        set(&mut limits.fragments_per_packet, "fragments-per-packet");
        set(
            &mut limits.fragmented_packets_per_source,
            "fragmented-packets-per-source",
        );
        if let Some(bytes) = u32_of(own, "fragment-bytes") {
            limits.fragment_bytes = bytes as usize;
        }
        limits
    }
}
