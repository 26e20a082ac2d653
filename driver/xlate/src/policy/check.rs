//! What a configuration may not be, and what is worked out of a service set while it is checked.

use std::net::Ipv4Addr;

use super::{SetPolicy, TermPolicy};
use crate::config::{Action, Config, Pool, Refresh, ServiceSet, Term};
use crate::pool::deterministic::{Deterministic, DeterministicError};
use crate::pool::MAX_ADDRESSES;
use crate::rfc6052::{Pref64, Pref64Error};

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

impl SetPolicy {
    pub(super) fn new(config: &Config, set: &ServiceSet, all: &mut Vec<Pref64>) -> Result<Self, ConfigError> {
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
                plain_end: false,
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
            plain_end: !set.log_sessions
                && set.max_sessions_per_subscriber.is_none()
                && std::iter::once(translate.pool)
                    .chain(translate.overload_pool)
                    .map(|pool| &config.pools[pool])
                    .all(|pool| pool.blocks.is_none() && pool.mapping_timeout.is_none_or(|timeout| timeout.is_zero())),
        })
    }
}

pub(super) fn check_match(term: &Term) -> Result<(), ConfigError> {
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

pub(super) fn check_pool(pool: &Pool) -> Result<(), ConfigError> {
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
