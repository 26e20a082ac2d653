//! Deterministic NAPT64 (RFC 7422): a subscriber's address and ports are computed, and computed back.
//!
//! Subscribers are numbered through the source prefixes of the rule term in their order. The blocks of an address are
//! handed out in order before the next address is begun (assignment algorithm 0, sequential).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::config;

/// Why a term cannot be deterministic with its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeterministicError {
    /// The term has no source prefix, or one longer than a subscriber, or `except`.
    #[error("deterministic NAT needs source prefixes no longer than a subscriber's, without `except`")]
    Sources,
    /// More subscribers than blocks.
    #[error("{subscribers} subscribers need blocks, the pool has {blocks}")]
    TooManySubscribers {
        /// Subscribers the source prefixes hold.
        subscribers: u128,
        /// Blocks the pool holds.
        blocks: u64,
    },
    /// The pool has no `deterministic-port-block-allocation`.
    #[error("the pool has no deterministic-port-block-allocation")]
    NoBlocks,
}

/// The mapping of one term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deterministic {
    /// Source prefixes: first subscriber (shifted down to its number), how many.
    sources: Vec<(u128, u128)>,
    shift: u32,
    ranges: Vec<(Ipv4Addr, Ipv4Addr)>,
    low: u16,
    block: u32,
    per_address: u32,
}

impl Deterministic {
    /// Works the mapping out.
    ///
    /// # Errors
    /// [`DeterministicError`].
    pub fn new(
        sources: &[config::PrefixMatch],
        subscriber_length: u8,
        pool: &config::Pool,
    ) -> Result<Self, DeterministicError> {
        let rules = pool.deterministic_block.ok_or(DeterministicError::NoBlocks)?;
        let shift = 128 - u32::from(subscriber_length.clamp(1, 128));
        let mut numbered = Vec::new();
        let mut subscribers = 0u128;
        for source in sources {
            if source.except || source.length > subscriber_length || source.length == 0 {
                return Err(DeterministicError::Sources);
            }
            let mut first = u128::from(source.address) >> shift;
            // A prefix is not /0, so this does not reach 2^128.
            let mut count = 1u128 << (subscriber_length - source.length);
            if !rules.include_boundary_addresses && count > 2 {
                first += 1;
                count -= 2;
            }
            subscribers = subscribers.saturating_add(count);
            numbered.push((first, count));
        }
        if numbered.is_empty() {
            return Err(DeterministicError::Sources);
        }
        let addresses: u64 = pool
            .ranges
            .iter()
            .map(|&(l, h)| u64::from(u32::from(h) - u32::from(l)) + 1)
            .sum();
        let ports = u32::from(pool.ports.1) - u32::from(pool.ports.0) + 1;
        let block = match u32::from(rules.block_size) {
            0 => {
                let sharing = subscribers.div_ceil(u128::from(addresses).max(1));
                (u128::from(ports) / sharing.max(1)) as u32
            }
            size => size,
        };
        let per_address = ports.checked_div(block).unwrap_or(0);
        let blocks = addresses * u64::from(per_address);
        if subscribers > u128::from(blocks) {
            return Err(DeterministicError::TooManySubscribers { subscribers, blocks });
        }
        Ok(Self {
            sources: numbered,
            shift,
            ranges: pool.ranges.clone(),
            low: pool.ports.0,
            block,
            per_address,
        })
    }

    /// Number of the address in the pool, first and last port of a client; `None` for one outside the source
    /// prefixes.
    pub fn forward(&self, client: Ipv6Addr) -> Option<(u32, u16, u16)> {
        let subscriber = u128::from(client).checked_shr(self.shift).unwrap_or(0);
        let mut before = 0u128;
        for &(first, count) in &self.sources {
            if let Some(index) = subscriber.checked_sub(first).filter(|&index| index < count) {
                let index = before + index;
                let per_address = u128::from(self.per_address);
                let low = u32::from(self.low) + (index % per_address) as u32 * self.block;
                return Some(((index / per_address) as u32, low as u16, (low + self.block - 1) as u16));
            }
            before += count;
        }
        None
    }

    /// The subscriber that an address and port belong to: its prefix, bits past its length zero.
    pub fn reverse(&self, address: Ipv4Addr, port: u16) -> Option<Ipv6Addr> {
        let mut number = 0u128;
        let mut found = false;
        for &(low, high) in &self.ranges {
            if (low..=high).contains(&address) {
                number += u128::from(u32::from(address) - u32::from(low));
                found = true;
                break;
            }
            number += u128::from(u32::from(high) - u32::from(low)) + 1;
        }
        let block = u32::from(port.checked_sub(self.low)?) / self.block;
        if !found || block >= self.per_address {
            return None;
        }
        let mut index = number * u128::from(self.per_address) + u128::from(block);
        for &(first, count) in &self.sources {
            if index < count {
                return Some(Ipv6Addr::from((first + index).checked_shl(self.shift).unwrap_or(0)));
            }
            index -= count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(addresses: u32, block_size: u16, include: bool) -> config::Pool {
        let first = Ipv4Addr::new(203, 0, 113, 1);
        config::Pool {
            name: "p".into(),
            ranges: vec![(first, Ipv4Addr::from(u32::from(first) + addresses - 1))],
            ports: (1024, 65535),
            random: false,
            round_robin: false,
            preserve_parity: false,
            preserve_range: false,
            limit_ports_per_address: None,
            blocks: None,
            deterministic_block: Some(config::DeterministicBlocks {
                block_size,
                include_boundary_addresses: include,
            }),
            mapping_timeout: None,
            quarantine: std::time::Duration::ZERO,
            draining: vec![],
        }
    }

    fn prefix(text: &str, length: u8) -> config::PrefixMatch {
        config::PrefixMatch {
            address: text.parse().unwrap(),
            length,
            except: false,
        }
    }

    #[test]
    fn the_example_of_rfc_7422_without_a_dynamic_pool() {
        // Section 2.3 has 14 subscribers and 4,032 ports for each, counted from port 1024.
        let map = Deterministic::new(&[prefix("2001:db8::", 124)], 128, &pool(1, 4032, false)).unwrap();
        assert_eq!(map.forward("2001:db8::1".parse().unwrap()), Some((0, 1024, 5055)));
        assert_eq!(map.forward("2001:db8::2".parse().unwrap()), Some((0, 5056, 9087)));
        assert_eq!(map.forward("2001:db8::".parse().unwrap()), None);
        assert_eq!(map.forward("2001:db8::f".parse().unwrap()), None);
        assert_eq!(
            map.reverse(Ipv4Addr::new(203, 0, 113, 1), 9087),
            Some("2001:db8::2".parse().unwrap())
        );
        assert_eq!(map.reverse(Ipv4Addr::new(203, 0, 113, 1), 65535), None);
    }

    #[test]
    fn there_and_back_for_every_subscriber() {
        let sources = [prefix("2001:db8:1::", 58), prefix("2001:db8:2:100::", 56)];
        for block in [0, 512, 1000] {
            let map = Deterministic::new(&sources, 64, &pool(7, block, true)).unwrap();
            let mut seen = std::collections::BTreeSet::new();
            for source in &sources {
                for i in 0..1u128 << (64 - source.length) {
                    let subscriber = Ipv6Addr::from(u128::from(source.address) | i << 64);
                    let client = Ipv6Addr::from(u128::from(subscriber) | 0xabc);
                    let (number, low, high) = map.forward(client).unwrap();
                    assert!(seen.insert((number, low)), "two subscribers share a block");
                    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(203, 0, 113, 1)) + number);
                    for port in [low, high] {
                        assert_eq!(map.reverse(address, port), Some(subscriber));
                    }
                }
            }
            assert_eq!(seen.len(), 64 + 256);
        }
    }

    #[test]
    fn too_many_subscribers_are_refused() {
        let error = Deterministic::new(&[prefix("2001:db8::", 112)], 128, &pool(1, 512, true)).unwrap_err();
        assert_eq!(
            error,
            DeterministicError::TooManySubscribers {
                subscribers: 65536,
                blocks: 126
            }
        );
        let none = Deterministic::new(&[], 128, &pool(1, 512, true)).unwrap_err();
        assert_eq!(none, DeterministicError::Sources);
        let all = Deterministic::new(&[prefix("::", 1)], 128, &pool(1, 0, true)).unwrap_err();
        assert_eq!(
            all,
            DeterministicError::TooManySubscribers {
                subscribers: 1 << 127,
                blocks: 0
            }
        );
    }
}
