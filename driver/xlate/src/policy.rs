//! The configuration, checked and made quick to ask: which prefix, which rule term, whose pool address, who may come in.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use nat64_layout::{Direction, Protocol, Reason};

use crate::config::{Action, Config, Match, Pool, PrefixMatch, Refresh, ServiceSet, Term, Translate, WellKnownPrefix};
use crate::effect::Time;
use crate::pool::deterministic::{Deterministic, DeterministicError};
use crate::pool::MAX_ADDRESSES;
use crate::rfc6052::{is_documentation, is_global, Pref64, Pref64Error, NOT_GLOBAL};

/// Addresses that are never used for NAT (reserved, loopback, multicast).
const RESERVED: [(Ipv4Addr, u8); 9] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(128, 0, 0, 0), 16),
    (Ipv4Addr::new(191, 255, 0, 0), 16),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(223, 255, 255, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    (Ipv4Addr::new(255, 255, 255, 255), 32),
];

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A unit names a service set that is not there.
    #[error("unit {unit}: there is no service set {index}")]
    UnitServiceSet {
        /// Unit.
        unit: String,
        /// Index given.
        index: usize,
    },
    /// A service set names an outside unit that is not there.
    #[error("service set {service_set}: there is no unit {index}")]
    OutsideUnit {
        /// Service set.
        service_set: String,
        /// Index given.
        index: usize,
    },
    /// The outside unit of a service set is served by another one: nothing could come back.
    #[error("service set {service_set}: its outside unit {unit} is served by another service set")]
    ForeignOutsideUnit {
        /// Service set.
        service_set: String,
        /// Unit.
        unit: String,
    },
    /// Too many units, service sets or terms.
    #[error("more than 65535 {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
    },
    /// `ipv6-mtu` is not 1280 to 9192.
    #[error("service set {service_set}: ipv6-mtu {mtu} is not in 1280..9192")]
    Ipv6Mtu {
        /// Service set.
        service_set: String,
        /// Value given.
        mtu: u16,
    },
    /// A subscriber prefix is 128, 64, 56 or 48 bits long.
    #[error("service set {service_set}: subscriber length {length} is not 128, 64, 56 or 48")]
    SubscriberLength {
        /// Service set.
        service_set: String,
        /// Value given.
        length: u8,
    },
    /// The prefix of a term cannot be a Pref64.
    #[error("term {term}: {source}")]
    Pref64 {
        /// Term.
        term: String,
        /// What is wrong.
        source: Pref64Error,
    },
    /// A term names a pool that is not there.
    #[error("term {term}: there is no pool {index}")]
    TermPool {
        /// Term.
        term: String,
        /// Index given.
        index: usize,
    },
    /// A prefix or range of a term is malformed.
    #[error("term {term}: a prefix length or an address or port range cannot be right")]
    Match {
        /// Term.
        term: String,
    },
    /// A deterministic term and its pool do not fit.
    #[error("term {term}: {source}")]
    Deterministic {
        /// Term.
        term: String,
        /// What is wrong.
        source: DeterministicError,
    },
    /// A pool without addresses.
    #[error("pool {pool} has no address")]
    EmptyPool {
        /// Pool.
        pool: String,
    },
    /// A range of addresses or ports whose end is before its beginning, or port 0.
    #[error("pool {pool}: range {low}..{high} cannot be right")]
    PoolRange {
        /// Pool.
        pool: String,
        /// First.
        low: String,
        /// Last.
        high: String,
    },
    /// A pool larger than 2^20 addresses.
    #[error("pool {pool} has {addresses} addresses, more than {MAX_ADDRESSES}")]
    PoolTooLarge {
        /// Pool.
        pool: String,
        /// Addresses.
        addresses: u64,
    },
    /// A pool with addresses that must not be used.
    #[error("pool {pool}: {network}/{length} is reserved")]
    ReservedAddress {
        /// Pool.
        pool: String,
        /// Reserved network.
        network: Ipv4Addr,
        /// Its length.
        length: u8,
    },
    /// An address twice: within a pool, or in two pools of a service set.
    #[error("pools {first} and {second} overlap at {address}")]
    Overlap {
        /// Pool.
        first: String,
        /// The same or another pool.
        second: String,
        /// An address in both.
        address: Ipv4Addr,
    },
    /// Port blocks that do not fit.
    #[error("pool {pool}: no block of {block_size} ports fits, or no block per subscriber is allowed")]
    Blocks {
        /// Pool.
        pool: String,
        /// Ports per block.
        block_size: u16,
    },
    /// A static binding whose term does not translate, or that exists already.
    #[error("service set {service_set}: static binding {index} has no translating term or is there twice")]
    StaticBinding {
        /// Service set.
        service_set: String,
        /// Which one.
        index: usize,
    },
}

/// A rule term, worked out.
#[derive(Clone, Debug)]
pub struct TermPolicy {
    /// Prefix, as an index into [`Policy::prefixes`]; `None` for `no-translation`.
    pub prefix: Option<u16>,
    /// Computed ports.
    pub deterministic: Option<Deterministic>,
    /// `mapping-refresh`: whether packets refresh a session, by direction.
    refresh: [bool; 2],
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

/// What every packet that arrives on a unit asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnitPolicy {
    /// Service set that serves the unit.
    pub set: u16,
    /// [`crate::config::Unit::inside`].
    pub inside: bool,
    /// [`crate::config::Unit::outside`].
    pub outside: bool,
    /// [`crate::config::Unit::mtu`].
    pub mtu: u16,
    /// The prefix of the set if it has only one, and its index.
    only: Option<(Pref64, u16)>,
    /// Bit n: every address whose first octet is n is a server's, no pool's, and may stand under `only`.
    servers: [u64; 4],
}

/// What every packet through a service set asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// Unit that IPv4 packets leave by.
    pub outside_unit: usize,
    /// Its MTU.
    pub mtu4: u16,
    /// [`crate::config::DfPolicy::clear_max`].
    pub df_clear_max: u16,
    /// [`ServiceSet::tos_override`].
    pub tos_override: Option<u8>,
    /// [`ServiceSet::ipv6_mtu`].
    pub lowest_mtu6: u16,
    /// [`ServiceSet::no_v6_frag_header`].
    pub keep_whole: bool,
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
        let units = config.units.iter().zip(&unit_sets).map(|(unit, set)| UnitPolicy {
            // Nothing is asked of a set that is not there.
            set: set.unwrap_or(0),
            inside: unit.inside && set.is_some(),
            outside: unit.outside && set.is_some(),
            mtu: unit.mtu,
            only: set.and_then(|set| {
                let &[index] = &sets[usize::from(set)].prefixes[..] else {
                    return None;
                };
                Some((prefixes[usize::from(index)], index))
            }),
            servers: servers(bounds),
        });
        let ways = config.service_sets.iter().map(|set| Way {
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

    fn plain_destination_in_full(&self, unit: &UnitPolicy, src: Ipv6Addr, dst: Ipv6Addr) -> Option<(u16, Ipv4Addr)> {
        if self.in_prefix(unit.set, src) {
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
    fn new(config: &Config, set: &ServiceSet, all: &mut Vec<Pref64>) -> Result<Self, ConfigError> {
        let name = || set.name.clone();
        if set.outside_unit >= config.units.len() {
            return Err(ConfigError::OutsideUnit {
                service_set: name(),
                index: set.outside_unit,
            });
        }
        if set.terms.len() > usize::from(u16::MAX) {
            return Err(ConfigError::TooMany { what: "terms" });
        }
        if !(1280..=9192).contains(&set.ipv6_mtu) {
            return Err(ConfigError::Ipv6Mtu {
                service_set: name(),
                mtu: set.ipv6_mtu,
            });
        }
        if !matches!(set.subscriber_length, 128 | 64 | 56 | 48) {
            return Err(ConfigError::SubscriberLength {
                service_set: name(),
                length: set.subscriber_length,
            });
        }
        let mut policy = Self {
            prefixes: Vec::new(),
            terms: Vec::new(),
            ranges: Vec::new(),
            first_address: None,
            subscriber_mask: u128::MAX << (128 - u32::from(set.subscriber_length)),
        };
        let mut pools: Vec<usize> = Vec::new();
        for term in &set.terms {
            check_match(term)?;
            let worked = policy.add_term(config, set, term, all, &mut pools)?;
            policy.terms.push(worked);
        }
        policy
            .prefixes
            .sort_by_key(|&prefix| std::cmp::Reverse(all[usize::from(prefix)].length()));
        policy.first_address = pools
            .first()
            .and_then(|&pool| config.pools[pool].ranges.first())
            .map(|range| range.0);
        let mut ranges = Vec::new();
        for &pool in &pools {
            ranges.extend(
                config.pools[pool]
                    .ranges
                    .iter()
                    .map(|r| (u32::from(r.0), u32::from(r.1), pool)),
            );
        }
        ranges.sort_unstable();
        if let Some(pair) = ranges.windows(2).find(|pair| pair[1].0 <= pair[0].1) {
            return Err(ConfigError::Overlap {
                first: config.pools[pair[0].2].name.clone(),
                second: config.pools[pair[1].2].name.clone(),
                address: Ipv4Addr::from(pair[1].0),
            });
        }
        policy.ranges = ranges.iter().map(|r| (r.0, r.1)).collect();
        for (index, binding) in set.static_bindings.iter().enumerate() {
            let translates = policy.terms.get(binding.term).is_some_and(|term| term.prefix.is_some());
            let twice = set.static_bindings[..index].iter().any(|other| {
                other.protocol == binding.protocol
                    && (other.inside == binding.inside || other.outside == binding.outside)
            });
            if !translates || twice {
                return Err(ConfigError::StaticBinding {
                    service_set: name(),
                    index,
                });
            }
            // Addresses only static bindings use are ours as well.
            let address = u32::from(binding.outside.0);
            if !policy.owns(binding.outside.0) {
                let at = policy.ranges.partition_point(|range| range.0 < address);
                policy.ranges.insert(at, (address, address));
            }
        }
        Ok(policy)
    }

    fn add_term(
        &mut self,
        config: &Config,
        set: &ServiceSet,
        term: &Term,
        all: &mut Vec<Pref64>,
        pools: &mut Vec<usize>,
    ) -> Result<TermPolicy, ConfigError> {
        let Action::Translate(translate) = &term.then else {
            return Ok(TermPolicy {
                prefix: None,
                deterministic: None,
                refresh: [true; 2],
            });
        };
        let pref64 = Pref64::new(translate.pref64, translate.pref64_length).map_err(|source| ConfigError::Pref64 {
            term: term.name.clone(),
            source,
        })?;
        for pool in std::iter::once(translate.pool).chain(translate.overload_pool) {
            if pool >= config.pools.len() {
                return Err(ConfigError::TermPool {
                    term: term.name.clone(),
                    index: pool,
                });
            }
            if !pools.contains(&pool) {
                pools.push(pool);
            }
        }
        let known = all.iter().position(|&other| other == pref64);
        let prefix = known.unwrap_or_else(|| {
            all.push(pref64);
            all.len() - 1
        });
        let prefix = u16::try_from(prefix).map_err(|_| ConfigError::TooMany { what: "prefixes" })?;
        if !self.prefixes.contains(&prefix) {
            self.prefixes.push(prefix);
        }
        let deterministic = if translate.deterministic {
            let worked = Deterministic::new(&term.from.source, set.subscriber_length, &config.pools[translate.pool]);
            Some(worked.map_err(|source| ConfigError::Deterministic {
                term: term.name.clone(),
                source,
            })?)
        } else {
            None
        };
        Ok(TermPolicy {
            prefix: Some(prefix),
            deterministic,
            refresh: match translate.mapping_refresh {
                Refresh::Inbound => [false, true],
                Refresh::Outbound => [true, false],
                Refresh::Both => [true; 2],
            },
        })
    }

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

/// Octets no address of which is private or reserved. Worked out once: there can be thousands of units.
static GLOBAL_OCTETS: LazyLock<[u64; 4]> = LazyLock::new(|| {
    let mut bits = [0; 4];
    for octet in 0..=255u8 {
        let networks = NOT_GLOBAL.iter().any(|(network, length)| {
            let shorter = (*length).min(8);
            in_network(
                Ipv4Addr::new(octet, 0, 0, 0),
                Ipv4Addr::new(network.octets()[0], 0, 0, 0),
                shorter,
            )
        });
        if !networks {
            bits[usize::from(octet) / 64] |= 1 << (octet % 64);
        }
    }
    bits
});

/// [`UnitPolicy::servers`] under any prefix: octets of which no address is private or reserved, outside `bounds`.
fn servers(bounds: (u32, u32)) -> [u64; 4] {
    let mut bits = *GLOBAL_OCTETS;
    for octet in bounds.0 >> 24..=bounds.1 >> 24 {
        bits[octet as usize / 64] &= !(1 << (octet % 64));
    }
    bits
}

fn in_network(address: Ipv4Addr, network: Ipv4Addr, length: u8) -> bool {
    (u32::from(address) ^ u32::from(network))
        .checked_shr(32 - u32::from(length))
        .unwrap_or(0)
        == 0
}

fn check_match(term: &Term) -> Result<(), ConfigError> {
    let from = &term.from;
    let prefixes = from
        .source
        .iter()
        .chain(&from.destination)
        .all(|prefix| prefix.length <= 128);
    let ranges = from
        .source_ranges
        .iter()
        .chain(&from.destination_ranges)
        .all(|range| range.0 <= range.1);
    let named = from
        .applications
        .iter()
        .flat_map(|app| [app.destination_ports, app.source_ports]);
    let ports = named
        .chain([from.destination_ports])
        .flatten()
        .all(|range| range.0 <= range.1);
    let filters = match &term.then {
        Action::Translate(translate) => translate.filter_prefixes.iter().all(|filter| filter.1 <= 32),
        Action::NoTranslation => true,
    };
    if prefixes && ranges && ports && filters {
        Ok(())
    } else {
        Err(ConfigError::Match {
            term: term.name.clone(),
        })
    }
}

fn check_pool(pool: &Pool) -> Result<(), ConfigError> {
    let name = || pool.name.clone();
    let mut addresses = 0u64;
    for &(low, high) in &pool.ranges {
        if low > high {
            return Err(ConfigError::PoolRange {
                pool: name(),
                low: low.to_string(),
                high: high.to_string(),
            });
        }
        addresses += u64::from(u32::from(high) - u32::from(low)) + 1;
        for (network, length) in RESERVED {
            let first = u32::from(network);
            let last = first | u32::MAX.checked_shr(u32::from(length)).unwrap_or(0);
            if u32::from(low) <= last && first <= u32::from(high) {
                return Err(ConfigError::ReservedAddress {
                    pool: name(),
                    network,
                    length,
                });
            }
        }
    }
    if addresses == 0 {
        return Err(ConfigError::EmptyPool { pool: name() });
    }
    if addresses > MAX_ADDRESSES {
        return Err(ConfigError::PoolTooLarge {
            pool: name(),
            addresses,
        });
    }
    let mut sorted = pool.ranges.clone();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[1].0 <= pair[0].1) {
        return Err(ConfigError::Overlap {
            first: name(),
            second: name(),
            address: pair[1].0,
        });
    }
    let (low, high) = pool.ports;
    if low == 0 || low > high {
        return Err(ConfigError::PoolRange {
            pool: name(),
            low: low.to_string(),
            high: high.to_string(),
        });
    }
    if let Some(blocks) = pool.blocks {
        let ports = u32::from(high) - u32::from(low) + 1;
        if blocks.block_size == 0 || u32::from(blocks.block_size) > ports || blocks.max_blocks_per_address == 0 {
            return Err(ConfigError::Blocks {
                pool: name(),
                block_size: blocks.block_size,
            });
        }
    }
    Ok(())
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
    let in_range = |range: Option<(u16, u16)>, port: u16| {
        range.is_none_or(|(low, high)| protocol != Protocol::Icmp && (low..=high).contains(&port))
    };
    if !in_range(from.destination_ports, dst.1) {
        return None;
    }
    if from.applications.is_empty() {
        return Some(0);
    }
    let application = from.applications.iter().find(|application| {
        application.protocol.is_none_or(|wanted| wanted == protocol)
            && in_range(application.destination_ports, dst.1)
            && in_range(application.source_ports, src.1)
    })?;
    let seconds = application.inactivity_timeout.map_or(0, |timeout| timeout.as_secs());
    Some(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// Nanoseconds of a configured time.
pub(crate) fn nanoseconds(duration: std::time::Duration) -> Time {
    Time::try_from(duration.as_nanos()).unwrap_or(Time::MAX)
}
