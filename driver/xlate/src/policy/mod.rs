//! The configuration, checked and made quick to ask: which prefix, which rule term, whose pool address, who may come in.

mod check;
mod plain;

use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::{Direction, Protocol, Reason};

use crate::config::{Action, Config, Match, PrefixMatch, ServiceSet, Translate, WellKnownPrefix};
use crate::effect::Time;
use crate::pool::deterministic::Deterministic;
use crate::rfc6052::{is_documentation, is_global, Pref64};
use check::check_pool;
pub use check::ConfigError;
use plain::servers;
pub(crate) use plain::{PlainServer, UnitPolicy, Way};

/// A rule term, worked out.
#[derive(Clone, Debug)]
pub struct TermPolicy {
    /// Prefix, as an index into [`Policy::prefixes`]; `None` for `no-translation`.
    pub prefix: Option<u16>,
    /// Computed ports.
    pub deterministic: Option<Deterministic>,
    /// `mapping-refresh`: whether packets refresh a session, by direction.
    refresh: [bool; 2],
    /// The end of a session is nothing to anybody but itself and its binding, as far as the configuration tells.
    plain_end: bool,
}

/// A service set, worked out.
#[derive(Clone, Debug)]
pub struct SetPolicy {
    /// Prefixes of its terms, as indices, longest first.
    pub prefixes: Vec<u16>,
    /// Its terms.
    pub terms: Vec<TermPolicy>,
    /// Pool addresses: first and last of each range, by rising address.
    ranges: Vec<(u32, u32)>,
    /// Where errors of ours come from when the unit has no address.
    pub first_address: Option<Ipv4Addr>,
    /// Bits of a client's address that name its subscriber.
    subscriber_mask: u128,
}

/// See the module documentation.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What it was made from.
    pub config: Config,
    /// Service set by unit: the one that serves it, or else the one whose outside unit it is.
    unit_sets: Vec<Option<u16>>,
    /// By service set.
    pub sets: Vec<SetPolicy>,
    /// All different prefixes.
    pub prefixes: Vec<Pref64>,
    /// By unit and by service set: what every packet asks for, side by side.
    units: Vec<UnitPolicy>,
    ways: Vec<Way>,
    /// Whether a pool gives ports in blocks.
    blocks: bool,
    /// No address of ours is below the first or above the second.
    bounds: (u32, u32),
}

/// What a rule says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    /// Term.
    pub term: u16,
    /// `inactivity-timeout` of the application that matched, in seconds; 0: none.
    pub inactivity: u32,
}

/// Why no rule translates a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// The first term that matches says `no-translation`.
    Excepted(u16),
    /// No term matches.
    NoTerm,
}

impl Unmatched {
    /// The reason a packet is dropped for.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Excepted(_) => Reason::NoTranslation,
            Self::NoTerm => Reason::NoRule,
        }
    }
}

impl Policy {
    /// Checks a configuration.
    ///
    /// # Errors
    /// See [`ConfigError`]; the first mistake found is reported.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        for (what, count) in [
            ("units", config.units.len()),
            ("service sets", config.service_sets.len()),
        ] {
            if count > usize::from(u16::MAX) {
                return Err(ConfigError::TooMany { what });
            }
        }
        config.pools.iter().try_for_each(check_pool)?;
        let mut prefixes = Vec::new();
        let mut sets = Vec::new();
        for set in &config.service_sets {
            sets.push(SetPolicy::new(&config, set, &mut prefixes)?);
        }
        let mut unit_sets = Vec::new();
        for (index, unit) in config.units.iter().enumerate() {
            if let Some(set) = unit.service_set.filter(|&set| set >= sets.len()) {
                return Err(ConfigError::UnitServiceSet {
                    unit: unit.name.clone(),
                    index: set,
                });
            }
            let outside = config.service_sets.iter().position(|set| set.outside_unit == index);
            unit_sets.push(unit.service_set.or(outside).map(|set| set as u16));
        }
        for (index, set) in config.service_sets.iter().enumerate() {
            let unit = &config.units[set.outside_unit];
            if unit.service_set.is_some_and(|other| other != index) {
                return Err(ConfigError::ForeignOutsideUnit {
                    service_set: set.name.clone(),
                    unit: unit.name.clone(),
                });
            }
        }
        let ranges = || sets.iter().flat_map(|set| &set.ranges);
        let bounds = (
            ranges().map(|range| range.0).min().unwrap_or(u32::MAX),
            ranges().map(|range| range.1).max().unwrap_or(0),
        );
        let only_of = |set: u16| {
            let &[index] = &sets[usize::from(set)].prefixes[..] else {
                return None;
            };
            let prefix = prefixes[usize::from(index)];
            // What is sent to a group asks for more.
            (!prefix.address().is_multicast()).then_some((prefix, index))
        };
        let units = config.units.iter().zip(&unit_sets).map(|(unit, set)| UnitPolicy {
            // Nothing is asked of a set that is not there.
            set: set.unwrap_or(0),
            inside: unit.inside && set.is_some(),
            outside: unit.outside && set.is_some(),
            mtu: unit.mtu,
            only: set.and_then(only_of),
            whole: set
                .and_then(only_of)
                .filter(|(prefix, _)| prefix.length() == 96)
                .map(|(prefix, index)| {
                    let address = u128::from_ne_bytes(prefix.address().octets());
                    (address, (u128::MAX << 32).to_be(), index)
                }),
            servers: servers(bounds),
        });
        let ways = config.service_sets.iter().zip(&sets).map(|(set, policy)| Way {
            always_refresh: [0, 1].map(|direction| policy.terms.iter().all(|term| term.refresh[direction])),
            usual_term: policy.terms.iter().position(|term| term.prefix.is_some()).unwrap_or(0) as u16,
            outside_unit: set.outside_unit,
            mtu4: config.units[set.outside_unit].mtu,
            df_clear_max: set.df.clear_max(),
            tos_override: set.tos_override,
            lowest_mtu6: set.ipv6_mtu,
            keep_whole: set.no_v6_frag_header,
        });
        Ok(Self {
            units: units.collect(),
            ways: ways.collect(),
            blocks: config.pools.iter().any(|pool| pool.blocks.is_some()),
            bounds,
            config,
            unit_sets,
            sets,
            prefixes,
        })
    }

    /// Whether a pool gives ports in blocks, and so has something to log.
    #[inline]
    pub(crate) const fn has_blocks(&self) -> bool {
        self.blocks
    }

    /// What packets of a unit ask for; `None`: no such unit.
    #[inline]
    pub(crate) fn unit(&self, unit: usize) -> Option<&UnitPolicy> {
        self.units.get(unit)
    }

    /// Prefix and server of a plain packet of a client. `None` for what needs more questions: a source in a prefix of the
    /// set, no prefix, an address that is no host's, that may be one of ours, or that may not stand under the prefix.
    #[inline(always)]
    pub(crate) fn plain_destination(&self, unit: &UnitPolicy, src: Ipv6Addr, dst: Ipv6Addr) -> Option<(u16, Ipv4Addr)> {
        if let Some((prefix, index)) = unit.only {
            let remote = prefix.extract(dst)?;
            if prefix.contains(src) {
                return None;
            }
            let octet = usize::from(remote.octets()[0]);
            if unit.servers[octet / 64] >> (octet % 64) & 1 != 0 {
                return Some((index, remote));
            }
        }
        self.plain_destination_in_full(unit, src, dst)
    }

    #[inline(never)]
    fn plain_destination_in_full(&self, unit: &UnitPolicy, src: Ipv6Addr, dst: Ipv6Addr) -> Option<(u16, Ipv4Addr)> {
        if self.in_prefix(unit.set, src) {
            return None;
        }
        if dst.is_multicast() {
            return None;
        }
        let (prefix, remote) = self.destination(unit.set, dst)?;
        let plain = is_host4(remote) && !self.within_bounds(remote) && self.may_embed(unit.set, prefix, remote);
        plain.then_some((prefix, remote))
    }

    /// What packets through a service set ask for.
    #[inline]
    pub(crate) fn way(&self, set: u16) -> Option<&Way> {
        self.ways.get(usize::from(set))
    }

    /// Whether packets of a direction refresh the sessions of a term.
    #[inline]
    pub(crate) fn refreshes(&self, set: u16, term: u16, direction: Direction) -> bool {
        self.sets
            .get(usize::from(set))
            .and_then(|set| set.terms.get(usize::from(term)))
            .is_none_or(|term| term.refresh[direction as usize])
    }

    /// Whether the end of a session whose binding a term made is nothing to anybody but the two: it is not logged, its
    /// subscriber is not counted, the binding goes at once, and so does its port.
    #[inline]
    pub(crate) fn ends_plainly(&self, set: u16, term: u16) -> bool {
        let term = self
            .sets
            .get(usize::from(set))
            .and_then(|set| set.terms.get(usize::from(term)));
        term.is_some_and(|term| term.plain_end)
    }

    /// Whether an address lies between the lowest and the highest of all pools: outside of these nobody owns it.
    #[inline]
    pub(crate) fn within_bounds(&self, address: Ipv4Addr) -> bool {
        (self.bounds.0..=self.bounds.1).contains(&u32::from(address))
    }

    /// Service set that serves packets of a unit.
    #[inline]
    pub fn set_of_unit(&self, unit: usize) -> Option<u16> {
        self.unit_sets.get(unit).copied().flatten()
    }

    /// Configuration of a service set.
    #[inline]
    pub fn set(&self, set: u16) -> &ServiceSet {
        &self.config.service_sets[usize::from(set)]
    }

    /// What a term translates with; `None` for `no-translation` or no such term.
    #[inline]
    pub fn translate(&self, set: u16, term: u16) -> Option<&Translate> {
        match &self.set(set).terms.get(usize::from(term))?.then {
            Action::Translate(translate) => Some(translate),
            Action::NoTranslation => None,
        }
    }

    /// Prefix and embedded IPv4 address of a destination: the longest prefix of the set decides.
    #[inline]
    pub fn destination(&self, set: u16, address: Ipv6Addr) -> Option<(u16, Ipv4Addr)> {
        let prefixes = &self.sets[usize::from(set)].prefixes;
        prefixes
            .iter()
            .find_map(|&index| Some((index, self.prefixes[usize::from(index)].extract(address)?)))
    }

    /// Whether an address lies in a prefix of the set.
    #[inline]
    pub fn in_prefix(&self, set: u16, address: Ipv6Addr) -> bool {
        let prefixes = &self.sets[usize::from(set)].prefixes;
        prefixes
            .iter()
            .any(|&index| self.prefixes[usize::from(index)].contains(address))
    }

    /// Whether RFC 6052 section 3.1 lets the prefix represent the address in this set.
    #[inline]
    pub fn may_embed(&self, set: u16, prefix: u16, address: Ipv4Addr) -> bool {
        let allowed = match self.set(set).well_known_prefix {
            WellKnownPrefix::Any => return true,
            _ if !self.prefixes[usize::from(prefix)].is_well_known() => return true,
            WellKnownPrefix::Documentation => is_global(address) || is_documentation(address),
            WellKnownPrefix::Strict => is_global(address),
        };
        // Our own addresses stand under it when one client talks to another.
        allowed || self.sets[usize::from(set)].owns(address)
    }

    /// The service set a pool address belongs to, `first` if it is one of its own.
    #[inline]
    pub fn pool_owner(&self, first: u16, address: Ipv4Addr) -> Option<u16> {
        if !self.within_bounds(address) {
            return None;
        }
        if self.sets[usize::from(first)].owns(address) {
            return Some(first);
        }
        self.sets.iter().position(|set| set.owns(address)).map(|set| set as u16)
    }

    /// The first term that matches a packet of a client.
    ///
    /// # Errors
    /// [`Unmatched`].
    pub fn find_term(
        &self,
        set: u16,
        prefix: Option<u16>,
        protocol: Protocol,
        src: (Ipv6Addr, u16),
        dst: (Ipv6Addr, u16),
    ) -> Result<Matched, Unmatched> {
        let policy = &self.sets[usize::from(set)];
        for (index, (term, worked)) in self.set(set).terms.iter().zip(&policy.terms).enumerate() {
            if worked.prefix.is_some() && worked.prefix != prefix {
                continue;
            }
            if let Some(inactivity) = matches(&term.from, protocol, src, dst) {
                return match term.then {
                    Action::NoTranslation => Err(Unmatched::Excepted(index as u16)),
                    Action::Translate(_) => Ok(Matched {
                        term: index as u16,
                        inactivity,
                    }),
                };
            }
        }
        Err(Unmatched::NoTerm)
    }

    /// A client's subscriber: its address with the bits past the subscriber's length zero.
    #[inline]
    pub fn subscriber(&self, set: u16, client: Ipv6Addr) -> u128 {
        u128::from(client) & self.sets[usize::from(set)].subscriber_mask
    }
}

impl SetPolicy {
    /// Whether an address is one of the set's pools.
    #[inline]
    pub fn owns(&self, address: Ipv4Addr) -> bool {
        let address = u32::from(address);
        let after = self.ranges.partition_point(|range| range.0 <= address);
        after > 0 && address <= self.ranges[after - 1].1
    }
}

impl Translate {
    /// Whether `filter_prefixes` lets an IPv4 source in: the longest matching prefix decides, an empty list lets all in.
    pub fn lets_in(&self, source: Ipv4Addr) -> bool {
        if self.filter_prefixes.is_empty() {
            return true;
        }
        let matching = self
            .filter_prefixes
            .iter()
            .filter(|(network, length, _)| in_network(source, *network, *length));
        matching
            .max_by_key(|(_, length, except)| (*length, *except))
            .is_some_and(|(_, _, except)| !except)
    }
}

/// Whether an IPv4 address can be a host's: not 0/8, 127/8, multicast, class E or broadcast.
#[inline]
pub(crate) fn is_host4(address: Ipv4Addr) -> bool {
    !matches!(address.octets()[0], 0 | 127 | 224..=255)
}

fn in_network(address: Ipv4Addr, network: Ipv4Addr, length: u8) -> bool {
    (u32::from(address) ^ u32::from(network))
        .checked_shr(32 - u32::from(length))
        .unwrap_or(0)
        == 0
}

/// Whether the longest prefix that holds `address` includes it; `None` when none holds it.
fn decide(prefixes: &[PrefixMatch], address: Ipv6Addr) -> Option<bool> {
    let bits = u128::from(address);
    let holding = prefixes.iter().filter(|prefix| {
        (bits ^ u128::from(prefix.address))
            .checked_shr(128 - u32::from(prefix.length))
            .unwrap_or(0)
            == 0
    });
    // Of two entries with one prefix the refusal counts.
    holding
        .max_by_key(|prefix| (prefix.length, prefix.except))
        .map(|prefix| !prefix.except)
}

/// Whether an address meets a criterion given by prefixes and ranges.
fn meets(prefixes: &[PrefixMatch], ranges: &[(Ipv6Addr, Ipv6Addr, bool)], address: Ipv6Addr) -> bool {
    if prefixes.is_empty() && ranges.is_empty() {
        return true;
    }
    let holding = || ranges.iter().filter(|(low, high, _)| (low..=high).contains(&&address));
    if holding().any(|range| range.2) {
        return false;
    }
    match decide(prefixes, address) {
        Some(decision) => decision,
        None => holding().next().is_some(),
    }
}

/// Whether a packet meets all criteria: the seconds of the application's `inactivity-timeout`, 0 for none.
fn matches(from: &Match, protocol: Protocol, src: (Ipv6Addr, u16), dst: (Ipv6Addr, u16)) -> Option<u32> {
    if !meets(&from.source, &from.source_ranges, src.0) || !meets(&from.destination, &from.destination_ranges, dst.0) {
        return None;
    }
    // ICMP has no ports, so it meets no criterion about them.
    let port_meets = |(low, high): (u16, u16)| protocol != Protocol::Icmp && (low..=high).contains(&dst.1);
    if !from.destination_ports.is_none_or(port_meets) {
        return None;
    }
    if from.applications.is_empty() {
        return Some(0);
    }
    let application = from.application(protocol, src.1, dst.1)?;
    let seconds = application.inactivity_timeout.map_or(0, |timeout| timeout.as_secs());
    Some(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// Nanoseconds of a configured time.
pub(crate) fn nanoseconds(duration: std::time::Duration) -> Time {
    Time::try_from(duration.as_nanos()).unwrap_or(Time::MAX)
}
