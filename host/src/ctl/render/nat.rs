//! `show services nat ...`, `show services service-sets ...`, `test nat64`, drain.

use std::fmt::Write;

use crate::api::nat::{
    DeterministicBlock, Drain, Mapping, MappingKind, MappingSummary, NatStatistics, PacketDrops, Pool, ServiceSet,
    TestResult,
};

use super::{duration, heading, plural, several, table};

/// Pools, a table or all of each.
pub fn pools(pools: &[Pool], detail: bool) -> String {
    if pools.is_empty() {
        return "No NAT pool is in use by a service set.\n".into();
    }
    let show_card = several(pools.iter().map(|pool| pool.card.as_str()));
    let key = |pool: &Pool| {
        (
            pool.card.clone(),
            pool.interface_name.clone(),
            pool.service_set_name.clone(),
        )
    };
    let mut out = String::new();
    for group in pools.chunk_by(|a, b| key(a) == key(b)) {
        let first = &group[0];
        if !out.is_empty() {
            out.push('\n');
        }
        out += &heading(
            show_card.then_some(&first.card),
            &first.interface_name,
            &first.service_set_name,
        );
        if detail {
            for pool in group {
                pool_detail(&mut out, pool);
            }
            continue;
        }
        let mut rows = Vec::new();
        for pool in group {
            // Ranges of a pool stand below each other.
            for (i, range) in pool.pool_address_range.split(',').enumerate() {
                let first = i == 0;
                let only = |text: &str| if first { text.to_string() } else { String::new() };
                rows.push(vec![
                    only(&pool.pool_name),
                    only(&pool.translation_type),
                    range.trim().to_string(),
                    only(&pool.pool_port_range),
                    only(&pool.pool_ports_in_use.to_string()),
                ]);
            }
        }
        out += &table(&["NAT pool", "Type", "Address", "Port", "Ports used"], &rows);
    }
    out
}

fn pool_detail(out: &mut String, pool: &Pool) {
    let _ = writeln!(
        out,
        " NAT pool: {}, Translation type: {}",
        pool.pool_name, pool.translation_type
    );
    let _ = writeln!(out, "   Address range: {}", pool.pool_address_range);
    let _ = writeln!(
        out,
        "   Port range: {}, Ports in use: {}, Out of port errors: {}, Max ports used: {}",
        pool.pool_port_range, pool.pool_ports_in_use, pool.pool_out_of_port_errors, pool.pool_max_ports_in_use
    );
    let _ = writeln!(
        out,
        "   Addresses: {}, Addresses in use: {}, Users: {}",
        pool.pool_avail_addresses, pool.pool_addresses_in_use, pool.pool_users
    );
    let _ = writeln!(
        out,
        "   TCP ports in use: {}, UDP ports in use: {}, ICMP identifiers in use: {}, Resting: {}",
        pool.ports_in_use_tcp, pool.ports_in_use_udp, pool.ports_in_use_icmp, pool.ports_quarantined
    );
    let yes = |on: bool| if on { "yes" } else { "no" };
    let _ = writeln!(
        out,
        "   Port allocation: {}, Address allocation: {}",
        pool.port_allocation,
        if pool.address_round_robin {
            "round-robin"
        } else {
            "sequential"
        }
    );
    let _ = writeln!(
        out,
        "   Preserve range: {}, Preserve parity: {}",
        yes(pool.pool_preserve_range_enabled),
        yes(pool.pool_preserve_parity_enabled)
    );
    let limit = pool
        .limit_ports_per_address
        .map_or_else(|| "none".into(), |limit| limit.to_string());
    let _ = writeln!(
        out,
        "   Limit of ports per subscriber: {limit}, Exceeded: {}",
        pool.pool_app_exceed_port_limit_errors
    );
    if let Some(kind) = &pool.port_block_type {
        let number = |n: Option<u32>| n.map_or_else(|| "-".into(), |n| n.to_string());
        let timeout = match pool.active_block_timeout {
            None => "-".into(),
            Some(0) => "never".into(),
            Some(seconds) => format!("{seconds} s"),
        };
        let _ = writeln!(
            out,
            "   Port block type: {kind}, Block size: {}, Max blocks per address: {}, Active block timeout: {timeout}",
            number(pool.port_block_size),
            number(pool.max_blocks_per_address),
        );
        let _ = writeln!(out, "   Port blocks in use: {}", pool.port_blocks_in_use);
    }
    if !pool.draining.is_empty() {
        let addresses: Vec<String> = pool.draining.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "   Draining: {}", addresses.join(", "));
    }
}

/// How much of each mapping is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingView {
    /// Addresses, ports, sessions, state.
    Brief,
    /// Protocol, rule and inbound sessions too.
    Detail,
}

/// What the heading above the last mapping said, so that a page goes on where the one before ended.
pub type Above = Option<(String, String, String, String)>;

/// A page of mappings.
pub fn mappings(page: &[Mapping], view: MappingView, show_card: bool, above: &mut Above) -> String {
    let mut out = String::new();
    for mapping in page {
        let key = (
            mapping.card.clone(),
            mapping.interface_name.clone(),
            mapping.service_set_name.clone(),
            mapping.pool_name.clone(),
        );
        if above.as_ref() != Some(&key) {
            if above.is_some() {
                out.push('\n');
            }
            let set = |key: &(String, String, String, String)| (key.0.clone(), key.1.clone(), key.2.clone());
            if above.as_ref().map(set) != Some(set(&key)) {
                let card = show_card.then_some(mapping.card.as_str());
                out += &heading(card, &mapping.interface_name, &mapping.service_set_name);
                out.push('\n');
            }
            let _ = writeln!(out, "NAT pool: {}", mapping.pool_name);
            *above = Some(key);
        }
        out.push('\n');
        one_mapping(&mut out, mapping, view);
    }
    out
}

fn one_mapping(out: &mut String, mapping: &Mapping, view: MappingView) {
    match (mapping.private_port, mapping.public_port) {
        (Some(private), Some(public)) => {
            let _ = writeln!(
                out,
                "Mapping          : {:<15} : {private:>5}  --> {:<13} : {public:>5}",
                mapping.private_address.to_string(),
                mapping.public_address.to_string(),
            );
        }
        _ => {
            let _ = writeln!(
                out,
                "Mapping          : {:<15}  --> {}",
                mapping.private_address.to_string(),
                mapping.public_address
            );
        }
    }
    if let Some(ports) = mapping.ports_in_use {
        let _ = writeln!(out, "Ports In Use     : {ports:>5}");
    }
    let _ = writeln!(out, "Session Count    : {:>5}", mapping.session_count);
    let state = match mapping.timeout {
        _ if mapping.is_static => "Static".into(),
        None => "Active".into(),
        Some(seconds) => format!("Timeout ({seconds}s)"),
    };
    let _ = writeln!(out, "Mapping State    : {state}");
    if view == MappingView::Brief {
        return;
    }
    let kind = match mapping.kind {
        MappingKind::AddressPoolingPaired => "address-pooling paired",
        MappingKind::EndpointIndependent => "endpoint-independent",
        MappingKind::Port if mapping.destination.is_some() => "one destination",
        MappingKind::Port => "endpoint-independent",
    };
    let _ = writeln!(out, "Mapping Type     : {kind}");
    if let Some(protocol) = &mapping.protocol {
        let _ = writeln!(out, "Protocol         : {protocol}");
    }
    if let Some((address, port)) = mapping.destination {
        let _ = writeln!(out, "Destination      : {address}:{port}");
    }
    if !mapping.rule.is_empty() {
        let _ = writeln!(out, "Rule             : {}, term {}", mapping.rule, mapping.term);
    }
    let _ = writeln!(out, "Inbound Sessions : {:>5}", mapping.inbound_count);
}

/// Numbers of mappings.
pub fn mapping_summary(summaries: &[MappingSummary]) -> String {
    let show_card = several(summaries.iter().map(|one| one.card.as_str()));
    let mut out = String::new();
    for one in summaries {
        let mut line = |label: &str, value: &str| {
            let _ = writeln!(out, "{label:<60}{value}");
        };
        if show_card {
            line("Card:", &one.card);
        }
        line("Service Interface:", &one.interface_name);
        line("Total number of address mappings:", &one.address_mappings.to_string());
        line(
            "Total number of endpoint independent port mappings:",
            &one.endpoint_independent_port_mappings.to_string(),
        );
        line("  TCP:", &one.tcp.to_string());
        line("  UDP:", &one.udp.to_string());
        line("  ICMP:", &one.icmp.to_string());
    }
    out
}

/// Counters of the translation.
pub fn statistics(cards: &[NatStatistics]) -> String {
    let show_card = several(cards.iter().map(|one| one.card.as_str()));
    let mut out = String::new();
    for one in cards {
        if !out.is_empty() {
            out.push('\n');
        }
        if show_card {
            let _ = writeln!(out, "Card: {}", one.card);
        }
        let _ = writeln!(out, "Interface: {}", one.interface_name);
        let _ = writeln!(out, "NAT statistics of the last {}:", duration(one.since));
        let width = one.counters.iter().map(|c| c.text.chars().count()).max().unwrap_or(0);
        for counter in &one.counters {
            let _ = writeln!(out, "  {:<width$} : {}", counter.text, counter.value);
        }
    }
    out
}

fn deterministic(blocks: &[DeterministicBlock], nothing: &str) -> String {
    if blocks.is_empty() {
        return format!("{nothing}\n");
    }
    let show_card = several(blocks.iter().map(|one| one.card.as_str()));
    let mut out = String::new();
    for (i, block) in blocks.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        out += &heading(
            show_card.then_some(&block.card),
            &block.interface_name,
            &block.service_set_name,
        );
        let host = if block.internal_length == 128 {
            block.internal_host.to_string()
        } else {
            format!("{}/{}", block.internal_host, block.internal_length)
        };
        let _ = writeln!(out, "NAT pool: {}", block.pool_name);
        let _ = writeln!(out, "Internal Host    : {host}");
        let _ = writeln!(out, "NAT IP address   : {}", block.nat_address);
        let _ = writeln!(
            out,
            "NAT Port Block   : {}-{}",
            block.nat_port_start, block.nat_port_end
        );
    }
    out
}

/// Whose address and port it is.
pub fn det_host(blocks: &[DeterministicBlock]) -> String {
    deterministic(
        blocks,
        "No deterministic pool gives this address and port to a subscriber.",
    )
}

/// What a subscriber has.
pub fn det_block(blocks: &[DeterministicBlock]) -> String {
    deterministic(blocks, "No deterministic pool serves this subscriber.")
}

/// Service sets.
pub fn service_sets(sets: &[ServiceSet]) -> String {
    if sets.is_empty() {
        return "No service set is configured.\n".into();
    }
    let show_card = several(sets.iter().map(|set| set.card.as_str()));
    let mut titles = vec![
        "Service set",
        "Interface",
        ">Sessions",
        ">Limit",
        ">Opened",
        ">Closed",
        ">Packets 6>4",
        ">Packets 4>6",
        "Pools",
    ];
    if show_card {
        titles.insert(0, "Card");
    }
    let rows: Vec<Vec<String>> = sets
        .iter()
        .map(|set| {
            let limit = set.max_sessions.map_or_else(|| "-".into(), |limit| limit.to_string());
            let mut row = vec![
                set.service_set_name.clone(),
                set.interface_name.clone(),
                set.sessions.to_string(),
                limit,
                set.opened.to_string(),
                set.closed.to_string(),
                set.six_to_four.packets.to_string(),
                set.four_to_six.packets.to_string(),
                set.pools.join(", "),
            ];
            if show_card {
                row.insert(0, set.card.clone());
            }
            row
        })
        .collect();
    format!("Service sets configured: {}\n\n{}", sets.len(), table(&titles, &rows))
}

/// Drops of service sets by cause.
pub fn packet_drops(cards: &[PacketDrops]) -> String {
    let show_card = several(cards.iter().map(|one| one.card.as_str()));
    let mut titles = vec![
        "Interface",
        ">CPU limit",
        ">Memory limit",
        ">Flow limit",
        ">TCP",
        ">Other",
    ];
    if show_card {
        titles.insert(0, "Card");
    }
    let rows: Vec<Vec<String>> = cards
        .iter()
        .map(|one| {
            let mut row = vec![one.interface_name.clone()];
            let drops = [
                one.cpulimit_drops,
                one.memlimit_drops,
                one.flowlimit_drops,
                one.tcp_drops,
                one.other_drops,
            ];
            row.extend(drops.iter().map(u64::to_string));
            if show_card {
                row.insert(0, one.card.clone());
            }
            row
        })
        .collect();
    table(&titles, &rows)
}

/// Addresses that are drained.
pub fn drains(drains: &[Drain]) -> String {
    if drains.is_empty() {
        return "No address is being drained.\n".into();
    }
    let rows: Vec<Vec<String>> = drains
        .iter()
        .map(|drain| {
            let state = match (drain.draining, drain.ports_in_use) {
                (false, _) => "in use again".into(),
                (true, 0) => "drained".to_string(),
                (true, left) => format!("draining, {} left", plural(u64::from(left), "port")),
            };
            vec![drain.card.clone(), drain.pool.clone(), drain.address.to_string(), state]
        })
        .collect();
    table(&["Card", "NAT pool", "Address", "State"], &rows)
}

/// What became of a tested packet.
pub fn test_result(result: &TestResult) -> String {
    let mut out = format!("Card: {}\n", result.card);
    let width = result.stages.iter().map(|s| s.stage.chars().count()).max().unwrap_or(0);
    for stage in &result.stages {
        let _ = writeln!(out, "  {:<width$} : {}", stage.stage, stage.decision);
    }
    let reason = result
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(" ({reason})"));
    let _ = writeln!(out, "Verdict: {}{reason}", result.verdict);
    if let Some(output) = &result.output {
        let _ = writeln!(out, "Output: {output}");
    }
    let by = if result.offloaded {
        "the card by itself"
    } else {
        "the host"
    };
    if result.verdict == "translated" {
        let _ = writeln!(out, "Translated by: {by}");
    }
    out
}
