//! `services nat pool` and `nat64-nic pool`.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use nat64_xlate::config::{DeterministicBlocks, Pool, PortBlocks};
use nat64_xlate::pool::MAX_ADDRESSES;

use super::{has, number_of, place, seconds_of, u16_of, u32_of, Builder};
use crate::config::problem::Problem;
use crate::config::tree::Node;

/// Addresses that no pool may have: first, last. The list is that of Junos, with all of 0/8 (RFC 1122).
pub(super) const RESERVED: [(Ipv4Addr, Ipv4Addr); 8] = [
    (Ipv4Addr::new(0, 0, 0, 0), Ipv4Addr::new(0, 255, 255, 255)),
    (Ipv4Addr::new(127, 0, 0, 0), Ipv4Addr::new(127, 255, 255, 255)),
    (Ipv4Addr::new(128, 0, 0, 0), Ipv4Addr::new(128, 0, 255, 255)),
    (Ipv4Addr::new(191, 255, 0, 0), Ipv4Addr::new(191, 255, 255, 255)),
    (Ipv4Addr::new(192, 0, 0, 0), Ipv4Addr::new(192, 0, 0, 255)),
    (Ipv4Addr::new(223, 255, 255, 0), Ipv4Addr::new(223, 255, 255, 255)),
    (Ipv4Addr::new(224, 0, 0, 0), Ipv4Addr::new(239, 255, 255, 255)),
    (Ipv4Addr::new(240, 0, 0, 0), Ipv4Addr::new(255, 255, 255, 255)),
];

/// What allows pools to overlap.
pub(super) const ALLOW: &str = "`services nat allow-overlapping-nat-pools` allows it";

/// Addresses of one entry from which on it is refused: a /16.
const TOO_LARGE: u64 = 1 << 16;

/// First automatic port.
const FIRST_PORT: u16 = 1024;

/// A pool and where it stands.
pub(super) struct Built<'t> {
    pub(super) node: &'t Node,
    pub(super) config: Pool,
}

impl<'t> Builder<'t> {
    pub(super) fn pools(&mut self) -> Vec<Built<'t>> {
        let nat = self.root.at(&["services", "nat"]);
        let mut pools = Vec::new();
        for node in nat.into_iter().flat_map(|nat| nat.all("pool")) {
            let config = self.pool(node);
            pools.push(Built { node, config });
        }
        if pools.is_empty() {
            self.problems
                .push(Problem::check("the configuration has no `services nat pool`", None));
        }
        self.more_of_pools(&mut pools);
        let all: Vec<&Built<'t>> = pools.iter().collect();
        // Within a pool nothing allows it; between pools of one service set neither, see `shared_pools`.
        if has(nat, "allow-overlapping-nat-pools") {
            all.chunks(1).for_each(|one| self.overlaps(one, "", true));
        } else {
            self.overlaps(&all, ALLOW, true);
        }
        pools
    }

    fn pool(&mut self, node: &'t Node) -> Pool {
        let mut ranges = Vec::new();
        for entry in node.children().iter().filter(|child| !child.is_inactive()) {
            let range = match entry.name() {
                "address" => self.pool_prefix(entry),
                "address-range" => self.pool_range(entry),
                _ => None,
            };
            if let Some((low, high)) = range {
                if let Some((from, to)) = RESERVED.iter().find(|(from, to)| low <= *to && *from <= high) {
                    self.problem(
                        format!("the addresses {from} to {to} can never be used for translation"),
                        entry,
                    );
                } else {
                    ranges.push((low, high));
                }
            }
        }
        let size = |(low, high): &(Ipv4Addr, Ipv4Addr)| u64::from(u32::from(*high) - u32::from(*low)) + 1;
        let addresses: u64 = ranges.iter().map(size).sum();
        if addresses > MAX_ADDRESSES {
            let text = format!(
                "the pool `{}` has {addresses} addresses, more than {MAX_ADDRESSES}",
                node.value()
            );
            self.problem(text, node);
        }
        if node.all("address").chain(node.all("address-range")).next().is_none() {
            self.problem(format!("the pool `{}` has no address", node.value()), node);
        }
        let port = node.child("port");
        let ((ports, random), blocks, deterministic_block) = match port {
            Some(port) => (self.pool_ports(port), self.port_blocks(port), self.deterministic(port)),
            None => {
                let text = format!("the pool `{}` has no `port`; `port automatic` is used", node.value());
                self.note(text, node);
                (((FIRST_PORT, u16::MAX), false), None, None)
            }
        };
        let count = u32::from(ports.1) - u32::from(ports.0) + 1;
        let stated = [blocks.map(|b| b.block_size), deterministic_block.map(|b| b.block_size)];
        for size in stated.into_iter().flatten().filter(|size| u32::from(*size) > count) {
            self.problem(
                format!("a block of {size} ports does not fit in the {count} of an address"),
                node,
            );
        }
        if let (Some(port), true) = (port, blocks.is_some() || deterministic_block.is_some()) {
            for name in ["preserve-parity", "preserve-range"] {
                if let Some(flag) = port.child(name) {
                    self.problem(format!("`{name}` and port blocks exclude each other"), flag);
                }
            }
        }
        let timeout = seconds_of(Some(node), "ei-mapping-timeout").or(seconds_of(Some(node), "mapping-timeout"));
        Pool {
            name: node.value().to_string(),
            ranges,
            ports,
            random,
            round_robin: has(node.child("address-allocation"), "round-robin"),
            preserve_parity: has(port, "preserve-parity"),
            preserve_range: has(port, "preserve-range"),
            limit_ports_per_address: u32_of(Some(node), "limit-ports-per-address"),
            blocks,
            deterministic_block,
            mapping_timeout: timeout.or(self.junos.then_some(Duration::from_secs(300))),
            quarantine: Duration::ZERO,
            draining: Vec::new(),
        }
    }

    /// `address PREFIX` without network and broadcast address, which a /31 and a /32 do not have.
    fn pool_prefix(&mut self, entry: &Node) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let (network, length) = self.masked4(entry)?;
        if length <= 16 {
            self.problem(format!("a pool prefix is longer than /16, this is a /{length}"), entry);
            return None;
        }
        let low = u32::from(network);
        let high = low + ((1u32 << (32 - length)) - 1);
        let (low, high) = if length >= 31 { (low, high) } else { (low + 1, high - 1) };
        Some((low.into(), high.into()))
    }

    fn pool_range(&mut self, entry: &Node) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let [low, high] = entry.values() else { return None };
        let (low, high): (Ipv4Addr, Ipv4Addr) = (low.parse().ok()?, high.parse().ok()?);
        if low > high {
            self.problem(format!("the range begins at {low}, behind its end {high}"), entry);
            return None;
        }
        let count = u64::from(u32::from(high) - u32::from(low)) + 1;
        if count >= TOO_LARGE {
            self.problem(
                format!("a pool range has less than {TOO_LARGE} addresses, this has {count}"),
                entry,
            );
            return None;
        }
        Some((low, high))
    }

    /// First and last port, and whether they are given in random order.
    fn pool_ports(&mut self, port: &Node) -> ((u16, u16), bool) {
        self.exclusive(port, "automatic", "range");
        if let Some(automatic) = port.child("automatic") {
            self.exclusive(automatic, "sequential", "random-allocation");
            self.exclusive(automatic, "auto", "random-allocation");
            return ((FIRST_PORT, u16::MAX), has(Some(automatic), "random-allocation"));
        }
        let Some(range) = port.child("range") else {
            return ((FIRST_PORT, u16::MAX), false);
        };
        let random = has(Some(range), "random-allocation");
        match (u16_of(Some(range), "low"), u16_of(Some(range), "high")) {
            (Some(low), Some(high)) if low <= high => ((low, high), random),
            (Some(low), Some(high)) => {
                self.problem(format!("the port range begins at {low}, behind its end {high}"), range);
                ((FIRST_PORT, u16::MAX), random)
            }
            _ => {
                self.problem("a port range needs `low` and `high`", range);
                ((FIRST_PORT, u16::MAX), random)
            }
        }
    }

    fn port_blocks(&mut self, port: &Node) -> Option<PortBlocks> {
        self.exclusive(
            port,
            "secured-port-block-allocation",
            "deterministic-port-block-allocation",
        );
        let node = port.child("secured-port-block-allocation")?;
        Some(PortBlocks {
            block_size: u16_of(Some(node), "block-size").unwrap_or(128),
            max_blocks_per_address: u16_of(Some(node), "max-blocks-per-address").unwrap_or(8),
            active_block_timeout: Duration::from_secs(number_of(Some(node), "active-block-timeout").unwrap_or(120)),
        })
    }

    fn deterministic(&mut self, port: &Node) -> Option<DeterministicBlocks> {
        let node = port.child("deterministic-port-block-allocation")?;
        Some(DeterministicBlocks {
            block_size: u16_of(Some(node), "block-size").unwrap_or(512),
            include_boundary_addresses: has(Some(node), "include-boundary-addresses"),
        })
    }

    fn more_of_pools(&mut self, pools: &mut [Built<'t>]) {
        let by_node: HashMap<*const Node, usize> = pools
            .iter()
            .zip(0..)
            .map(|(p, i)| (std::ptr::from_ref(p.node), i))
            .collect();
        for node in self.own().into_iter().flat_map(|own| own.all("pool")) {
            let found = self
                .root
                .at(&["services", "nat"])
                .and_then(|nat| nat.entry("pool", node.value()));
            let by_node = found.and_then(|found| by_node.get(&std::ptr::from_ref(found)));
            let Some(pool) = by_node.and_then(|at| pools.get_mut(*at)) else {
                self.problem(format!("there is no `services nat pool {}`", node.value()), node);
                continue;
            };
            pool.config.quarantine = seconds_of(Some(node), "quarantine").unwrap_or_default();
            for drain in node.all("drain") {
                let Ok(address) = drain.value().parse::<Ipv4Addr>() else {
                    continue;
                };
                if pool
                    .config
                    .ranges
                    .iter()
                    .any(|(low, high)| (low..=high).contains(&&address))
                {
                    pool.config.draining.push(address);
                } else {
                    self.problem(format!("{address} is no address of the pool `{}`", node.value()), drain);
                }
            }
        }
    }

    /// Ranges of one pool (only if `within`) or of two that share an address.
    pub(super) fn overlaps(&mut self, pools: &[&Built<'t>], help: &str, within: bool) {
        let mut all: Vec<(Ipv4Addr, Ipv4Addr, usize)> = Vec::new();
        for (index, pool) in pools.iter().enumerate() {
            all.extend(pool.config.ranges.iter().map(|(low, high)| (*low, *high, index)));
        }
        all.sort_unstable();
        let mut furthest: Option<(Ipv4Addr, usize)> = None;
        for (low, high, index) in all {
            if let Some((end, other)) = furthest.filter(|(end, other)| low <= *end && (within || *other != index)) {
                let (a, b) = (&pools[other].config.name, &pools[index].config.name);
                let text = match a == b {
                    true => format!("the pool `{a}` has the addresses {low} to {} twice", end.min(high)),
                    false => format!(
                        "the pools `{a}` and `{b}` share addresses from {low} to {}",
                        end.min(high)
                    ),
                };
                let problem = Problem::check(text, place(pools[index].node));
                self.problems
                    .push(if help.is_empty() { problem } else { problem.help(help) });
            }
            if furthest.is_none_or(|(end, _)| high > end) {
                furthest = Some((high, index));
            }
        }
    }
}
