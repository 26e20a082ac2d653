//! `show services nat ...`, `show services service-sets ...`, `clear services nat ...`, drain, `test nat64`.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::Arc;

use axum::extract::State;
use nat64_driver::GatewayConfig;
use nat64_layout::Reason;
use nat64_xlate::config::{self, Action};
use nat64_xlate::stats::Traffic as HostTraffic;

use super::extract::{Answer, Body, Failure, Json, Query};
use super::rows;
use crate::api::nat::{
    Counter, DeterministicBlock, DeterministicQuery, Drain, DrainRequest, Mapping, MappingFilter, MappingKind,
    MappingSummary, MappingsCleared, NatStatistics, PacketDrops, Pool, PoolQuery, ServiceSet, Stage, StatisticsCleared,
    TestPacket, TestResult,
};
use crate::api::sessions::Traffic;
use crate::api::{CardQuery, ErrorCode, Page, PageQuery};
use crate::daemon::dataplane::{Bounds, Counters, Cursor, Deterministic, MappingRow, Slice};
use crate::daemon::filter::MappingMatch;
use crate::daemon::probe;
use crate::daemon::samples::{By, Tally};
use crate::daemon::worker::CardHandle;
use crate::daemon::Daemon;

/// Mappings removed in one slice.
const CLEAR_ROWS: usize = 256;
/// Clients whose address pairs one answer may have; a listing with more is refused, because pairs need all mappings at
/// once.
const MAX_PAIRS: usize = 1 << 20;

async fn look(card: &CardHandle) -> Result<(Counters, Option<Arc<GatewayConfig>>), Failure> {
    let asked = card.ask(|dataplane| Ok((dataplane.counters()?, dataplane.config())));
    Ok(asked.await?)
}

/// Pools a service set uses, each once, in the order of its terms, and whether deterministically.
fn pools_of(set: &config::ServiceSet) -> Vec<(usize, bool)> {
    let mut pools: Vec<(usize, bool)> = Vec::new();
    for term in &set.terms {
        if let Action::Translate(translate) = &term.then {
            for pool in [Some(translate.pool), translate.overload_pool].into_iter().flatten() {
                if !pools.iter().any(|(other, _)| *other == pool) {
                    pools.push((pool, translate.deterministic));
                }
            }
        }
    }
    pools
}

fn range<T: std::fmt::Display>(low: T, high: T) -> String {
    format!("{low}-{high}")
}

fn pool(card: &CardHandle, interface: String, set: &str, pool: &config::Pool, deterministic: bool) -> Pool {
    let ranges: Vec<String> = pool.ranges.iter().map(|&(low, high)| range(low, high)).collect();
    let (low, high) = pool.ports;
    let secured = pool.blocks;
    let mut row = Pool {
        card: card.name.to_string(),
        interface_name: interface,
        service_set_name: set.into(),
        pool_name: pool.name.clone(),
        translation_type: if deterministic {
            "DETERMINISTIC-NAPT-64"
        } else {
            "NAPT-64"
        }
        .into(),
        pool_address_range: ranges.join(", "),
        pool_port_range: range(low, high),
        port_allocation: if pool.random { "random-allocation" } else { "sequential" }.into(),
        address_round_robin: pool.round_robin,
        pool_preserve_parity_enabled: pool.preserve_parity,
        pool_preserve_range_enabled: pool.preserve_range,
        limit_ports_per_address: pool.limit_ports_per_address,
        draining: pool.draining.clone(),
        ..Pool::default()
    };
    if let Some(blocks) = secured {
        row.port_block_type = Some("secured".into());
        row.port_block_size = Some(blocks.block_size.into());
        row.max_blocks_per_address = Some(blocks.max_blocks_per_address.into());
        row.active_block_timeout = Some(blocks.active_block_timeout.as_secs());
    } else if let Some(blocks) = pool.deterministic_block {
        row.port_block_type = Some("deterministic".into());
        row.port_block_size = Some(blocks.block_size.into());
    }
    row
}

/// `GET /v1/nat/pools`.
pub async fn pools(State(daemon): State<Arc<Daemon>>, Query((query,)): Query<(PoolQuery,)>) -> Answer<Vec<Pool>> {
    let names = daemon.names();
    let mut all = Vec::new();
    for card in rows::chosen(&daemon, query.card.as_deref())? {
        let (counters, config, drains) = card
            .ask(|dataplane| Ok((dataplane.counters()?, dataplane.config(), dataplane.drains()?)))
            .await?;
        let Some(config) = config else { continue };
        for set in &config.xlate.service_sets {
            for (number, deterministic) in pools_of(set) {
                let Some(configured) = config.xlate.pools.get(number) else {
                    continue;
                };
                if query.name.as_ref().is_some_and(|name| *name != configured.name) {
                    continue;
                }
                let interface = names.service_interface(&set.name);
                let mut row = pool(&card, interface, &set.name, configured, deterministic);
                for (_, address, _) in drains.iter().filter(|(name, ..)| *name == configured.name) {
                    if !row.draining.contains(address) {
                        row.draining.push(*address);
                    }
                }
                if let Some(usage) = counters.translator.pools.get(number) {
                    row.pool_avail_addresses = usage.addresses;
                    row.pool_addresses_in_use = usage.addresses_in_use;
                    row.pool_ports_in_use = usage.in_use.iter().sum();
                    [row.ports_in_use_tcp, row.ports_in_use_udp, row.ports_in_use_icmp] = usage.in_use;
                    row.ports_quarantined = usage.quarantined;
                    row.pool_max_ports_in_use = usage.peak;
                    row.pool_out_of_port_errors = usage.out_of_ports;
                    row.pool_app_exceed_port_limit_errors = usage.subscriber_limited;
                    row.pool_users = usage.subscribers;
                    row.port_blocks_in_use = usage.blocks;
                }
                all.push(row);
            }
        }
    }
    match query.name {
        Some(name) if all.is_empty() => {
            let text = format!("no service set uses a pool `{name}`");
            Err(Failure::new(ErrorCode::NotFound, text))
        }
        _ => Ok(Json(all)),
    }
}

async fn slice(
    card: CardHandle,
    filter: Arc<MappingMatch>,
    from: Cursor,
    bounds: Bounds,
) -> Result<Slice<MappingRow>, Failure> {
    let asked = card.ask(move |dataplane| dataplane.mappings(from, &filter, bounds));
    Ok(asked.await?)
}

/// `GET /v1/nat/mappings`.
pub async fn mappings(
    State(daemon): State<Arc<Daemon>>,
    Query((filter, page)): Query<(MappingFilter, PageQuery)>,
) -> Answer<Page<Mapping>> {
    let cards = rows::chosen(&daemon, filter.card.as_deref())?;
    let matching = Arc::new(MappingMatch::new(&filter)?);
    let names = daemon.names();
    if filter.kind == MappingKind::AddressPoolingPaired {
        return pairs(&cards, matching, &names, &page).await;
    }
    let page = rows::page(
        &cards,
        &page,
        |card, from, bounds| slice(card, matching.clone(), from, bounds),
        |card, part, row| Some(rows::mapping(card, &names, part, row)),
    );
    Ok(Json(page.await?))
}

/// Address pairs: made of all port mappings of terms with `address-pooling paired`, in the order of clients.
async fn pairs(
    cards: &[CardHandle],
    matching: Arc<MappingMatch>,
    names: &crate::daemon::Names,
    page: &PageQuery,
) -> Answer<Page<Mapping>> {
    if page.cursor.is_some() {
        return Err(Failure::new(
            ErrorCode::BadRequest,
            "a listing of address pairs has one page",
        ));
    }
    let mut items = Vec::new();
    for card in cards {
        let mut pairs: BTreeMap<(usize, Ipv6Addr, std::net::Ipv4Addr), Mapping> = BTreeMap::new();
        let mut too_many = false;
        rows::walk(
            card,
            |card, from, bounds| slice(card, matching.clone(), from, bounds),
            |part| {
                for row in &part.rows {
                    let info = &row.info;
                    let set = part.config.xlate.service_sets.get(info.service_set);
                    let term = set.and_then(|set| set.terms.get(info.term));
                    let paired = matches!(term.map(|term| &term.then), Some(Action::Translate(t)) if t.paired);
                    if !paired || info.is_static {
                        continue;
                    }
                    let key = (info.service_set, info.client.0, info.pool.0);
                    if pairs.len() >= MAX_PAIRS && !pairs.contains_key(&key) {
                        too_many = true;
                        continue;
                    }
                    let pair = pairs.entry(key).or_insert_with(|| Mapping {
                        kind: MappingKind::AddressPoolingPaired,
                        protocol: None,
                        private_port: None,
                        public_port: None,
                        destination: None,
                        ports_in_use: Some(0),
                        session_count: 0,
                        inbound_count: 0,
                        timeout: None,
                        ..rows::mapping(card, names, part, row)
                    });
                    pair.ports_in_use = pair.ports_in_use.map(|ports| ports + 1);
                    pair.session_count += info.sessions;
                    pair.inbound_count += info.inbound;
                }
            },
        )
        .await?;
        if too_many {
            let text = format!("more than {MAX_PAIRS} address pairs; give a prefix with `private` or `public`");
            return Err(Failure::new(ErrorCode::TooLarge, text));
        }
        items.extend(pairs.into_values());
    }
    Ok(Json(Page { items, cursor: None }))
}

/// `GET /v1/nat/mappings/summary`.
pub async fn summary(
    State(daemon): State<Arc<Daemon>>,
    Query((query,)): Query<(CardQuery,)>,
) -> Answer<Vec<MappingSummary>> {
    let names = daemon.names();
    let mut all = Vec::new();
    for card in rows::chosen(&daemon, query.card.as_deref())? {
        let (counters, _) = look(&card).await?;
        let [tcp, udp, icmp] = counters.mappings;
        all.push(MappingSummary {
            card: card.name.to_string(),
            interface_name: names.all_service_interfaces(),
            address_mappings: counters.translator.pools.iter().map(|pool| pool.subscribers).sum(),
            endpoint_independent_port_mappings: tcp + udp + icmp,
            tcp,
            udp,
            icmp,
        });
    }
    Ok(Json(all))
}

/// `POST /v1/nat/mappings/clear`.
pub async fn clear_mappings(
    State(daemon): State<Arc<Daemon>>,
    Body(filter): Body<MappingFilter>,
) -> Answer<MappingsCleared> {
    let matching = Arc::new(MappingMatch::new(&filter)?);
    let mut cleared = MappingsCleared::default();
    for card in rows::chosen(&daemon, filter.card.as_deref())? {
        let clear = |card: CardHandle, from, bounds: Bounds| {
            let matching = matching.clone();
            let bounds = Bounds {
                rows: bounds.rows.min(CLEAR_ROWS),
                ..bounds
            };
            async move {
                let asked = card.ask(move |dataplane| dataplane.clear_mappings(from, &matching, bounds));
                Ok(asked.await?)
            }
        };
        rows::walk(&card, clear, |part| {
            let gone = part.rows.iter().filter(|row| !row.info.is_static);
            cleared.mappings_removed += gone.count() as u64;
            let sessions = part.rows.iter().map(|row| u64::from(row.info.sessions));
            cleared.sessions_cleared += sessions.sum::<u64>();
        })
        .await?;
    }
    tracing::info!(?cleared, ?filter, "mappings cleared");
    Ok(Json(cleared))
}

/// The counters of `show services nat statistics`: Junos' leaf, its text, value. Leaves that Junos has and that nothing
/// here could count are left out; `host/docs` says which.
fn counters(counters: &Counters, tally: &Tally) -> Vec<Counter> {
    let host = |reasons: &[Reason]| -> u64 { reasons.iter().map(|&reason| tally.of(By::Host, reason)).sum() };
    let sets = &counters.translator.service_sets;
    let pools = &counters.translator.pools;
    let hosted: [u64; 2] = counters.host.translated;
    let card: [u64; 2] = counters.card.as_ref().map_or([0; 2], |card| card.translated());
    let translated = hosted[0] + card[0];
    let restored = hosted[1] + card[1];
    let discarded = tally.drops();
    let answered = tally.ended() - discarded;
    let failures = pools
        .iter()
        .map(|pool| pool.out_of_ports + pool.subscriber_limited)
        .sum();
    let rows: &[(&str, &str, u64)] = &[
        (
            "nat-total-pkts-processed",
            "NAT - Total packets processed",
            translated + restored + discarded + answered,
        ),
        (
            "nat-total-pkts-forwarded",
            "NAT - Total packets forwarded",
            translated + restored,
        ),
        (
            "nat-total-pkts-translated",
            "NAT - Total packets translated",
            translated,
        ),
        ("nat-total-pkts-restored", "NAT - Total packets restored", restored),
        ("nat-total-pkts-discarded", "NAT - Total packets discarded", discarded),
        (
            "nat-total-session-opens",
            "NAT - Sessions opened",
            sets.iter().map(|set| set.opened).sum(),
        ),
        (
            "nat-total-session-close",
            "NAT - Sessions closed",
            sets.iter().map(|set| set.closed).sum(),
        ),
        ("nat-map-allocation-failures", "NAT - Map allocation failures", failures),
        (
            "nat-rule-lookup-failures",
            "NAT - Rule lookup failures",
            host(&[Reason::NoRule]),
        ),
        (
            "nat-no-mapping",
            "NAT - No mapping for inbound packet",
            host(&[Reason::NoMapping, Reason::Unreachable]),
        ),
        (
            "nat-filtering-drop",
            "NAT - Endpoint filter drop",
            host(&[Reason::Filtered, Reason::EifFlowLimit]),
        ),
        (
            "nat-eim-mapping-duplicate",
            "NAT - EIM mapping duplicate",
            host(&[Reason::EimConflict]),
        ),
        (
            "nat-unsupported-layer-4-napt",
            "NAT - Unsupported layer 4",
            host(&[Reason::UnsupportedProtocol]),
        ),
        (
            "nat64-mtu-exceed",
            "NAT64 - MTU exceeded",
            host(&[Reason::PacketTooBig]),
        ),
        (
            "nat64-ipoptions-drop",
            "NAT64 - IP options drop",
            host(&[Reason::SourceRoute]),
        ),
        (
            "nat64-udp-cksum-zero-drop",
            "NAT64 - UDP checksum zero drop",
            host(&[Reason::FragmentZeroChecksum]),
        ),
        (
            "nat64-unsupp-icmp-type-drop",
            "NAT64 - Unsupported ICMP type drop",
            host(&[Reason::IcmpNotTranslated]),
        ),
        (
            "nat64-unsupp-hdr-drop",
            "NAT64 - Unsupported Header drop",
            tally.of(By::Card, Reason::BadHeader) + host(&[Reason::BadHeader]),
        ),
        (
            "nat64-unsupp-l4-drop",
            "NAT64 - Unsupported L4 drop",
            host(&[Reason::UnsupportedProtocol]),
        ),
        (
            "nat64-ttl-exceed",
            "NAT64 - TTL exceeded",
            host(&[Reason::TimeExceeded]),
        ),
        (
            "nat64-unsupp-icmp-error",
            "NAT64 - Unsupported ICMP error",
            host(&[Reason::IcmpErrorNoSession, Reason::IcmpErrorMalformed]),
        ),
        (
            "nat64-err-map-src",
            "NAT64 error - mapping ipv4 source",
            host(&[Reason::PoolExhausted, Reason::SubscriberLimit]),
        ),
        (
            "nat64-err-map-dst",
            "NAT64 error - mapping ipv6 destination",
            host(&[Reason::NotGlobal, Reason::BadAddress]),
        ),
        (
            "nat64-err-ttl-exceed-send",
            "NAT64 error - TTL exceed send",
            host(&[Reason::NotAnswered, Reason::ErrorRateLimited]),
        ),
        // What follows Junos does not have: where packets are that were neither forwarded nor discarded.
        (
            "nat64-held",
            "NAT64 - Fragments and SYNs held",
            counters.translator.held,
        ),
        (
            "nat64-fragments-joined",
            "NAT64 - Fragments put together",
            counters.translator.joined,
        ),
        (
            "nat64-fragments-made",
            "NAT64 - Fragments made",
            counters.translator.split,
        ),
        (
            "nat64-stored-syns-met",
            "NAT64 - Stored SYNs met by the client's",
            counters.translator.stored_syns_met,
        ),
        (
            "nat64-answers-sent",
            "NAT64 - ICMP errors and resets sent",
            counters.translator.answers,
        ),
        (
            "nat64-probes-sent",
            "NAT64 - TCP probes sent",
            counters.translator.probes,
        ),
        (
            "nat64-discovery-received",
            "NAT64 - ARP and discovery messages taken",
            counters.host.discovery.taken,
        ),
        (
            "nat64-discovery-sent",
            "NAT64 - ARP and discovery messages sent",
            counters.host.discovery.requests + counters.host.discovery.answers,
        ),
    ];
    rows.iter()
        .map(|&(name, text, value)| Counter {
            name: name.into(),
            text: text.into(),
            value,
        })
        .collect()
}

/// `GET /v1/nat/statistics`.
pub async fn statistics(
    State(daemon): State<Arc<Daemon>>,
    Query((query,)): Query<(CardQuery,)>,
) -> Answer<Vec<NatStatistics>> {
    let names = daemon.names();
    let mut all = Vec::new();
    for card in rows::chosen(&daemon, query.card.as_deref())? {
        let (now, _) = look(&card).await?;
        let mut shown = counters(&now, &Tally::new(&now));
        let taken = card.status().since.elapsed().unwrap_or_default();
        let mut since = taken;
        if let Some((base, at)) = daemon.baselines.get(&card.name) {
            for (counter, before) in shown.iter_mut().zip(counters(&base, &Tally::new(&base))) {
                // A card that was opened anew counts from zero.
                counter.value = counter.value.checked_sub(before.value).unwrap_or(counter.value);
            }
            since = at.elapsed().min(taken);
        }
        all.push(NatStatistics {
            card: card.name.to_string(),
            interface_name: names.all_service_interfaces(),
            counters: shown,
            since: since.as_secs(),
        });
    }
    Ok(Json(all))
}

/// `POST /v1/nat/statistics/clear`.
pub async fn clear_statistics(
    State(daemon): State<Arc<Daemon>>,
    Body(query): Body<CardQuery>,
) -> Answer<StatisticsCleared> {
    let mut cleared = StatisticsCleared::default();
    for card in rows::chosen(&daemon, query.card.as_deref())? {
        let (now, _) = look(&card).await?;
        daemon.baselines.set(&card.name, now);
        cleared.cards.push(card.name.to_string());
    }
    Ok(Json(cleared))
}

/// `GET /v1/nat/deterministic`.
pub async fn deterministic(
    State(daemon): State<Arc<Daemon>>,
    Query((query,)): Query<(DeterministicQuery,)>,
) -> Answer<Vec<DeterministicBlock>> {
    let asked = match (query.host, query.address, query.port) {
        (Some(host), None, None) => Deterministic::Host(host),
        (None, Some(address), Some(port)) => Deterministic::Port(address, port),
        _ => {
            let text = "either `host`, or `address` and `port`";
            return Err(Failure::new(ErrorCode::BadRequest, text));
        }
    };
    let names = daemon.names();
    let mut all = Vec::new();
    for card in daemon.cards() {
        let (blocks, config) = card
            .ask(move |dataplane| Ok((dataplane.deterministic(asked)?, dataplane.config())))
            .await?;
        let Some(config) = config else { continue };
        for block in blocks {
            let set = config.xlate.service_sets.get(block.service_set);
            let set = set.map_or(String::new(), |set| set.name.clone());
            let pool = config.xlate.pools.get(block.pool);
            all.push(DeterministicBlock {
                card: card.name.to_string(),
                interface_name: names.service_interface(&set),
                service_set_name: set,
                pool_name: pool.map_or(String::new(), |pool| pool.name.clone()),
                internal_host: block.subscriber.0,
                internal_length: block.subscriber.1,
                nat_address: block.address,
                nat_port_start: block.ports.0,
                nat_port_end: block.ports.1,
            });
        }
    }
    Ok(Json(all))
}

async fn drains_of(cards: &[CardHandle]) -> Result<Vec<Drain>, Failure> {
    let mut all = Vec::new();
    for card in cards {
        let drains = card.ask(|dataplane| dataplane.drains()).await?;
        all.extend(drains.into_iter().map(|(pool, address, ports_in_use)| Drain {
            card: card.name.to_string(),
            pool,
            address,
            draining: true,
            ports_in_use,
        }));
    }
    Ok(all)
}

/// `GET /v1/nat/drain`.
pub async fn drains(State(daemon): State<Arc<Daemon>>, Query((query,)): Query<(CardQuery,)>) -> Answer<Vec<Drain>> {
    let cards = rows::chosen(&daemon, query.card.as_deref())?;
    Ok(Json(drains_of(&cards).await?))
}

/// `POST /v1/nat/drain`.
pub async fn drain(State(daemon): State<Arc<Daemon>>, Body(request): Body<DrainRequest>) -> Answer<Vec<Drain>> {
    let cards = rows::chosen(&daemon, request.card.as_deref())?;
    let mut found = Vec::new();
    for card in cards {
        let (pool, address, on) = (request.pool.clone(), request.address, !request.stop);
        match card.ask(move |dataplane| dataplane.drain(&pool, address, on)).await {
            Ok(()) => found.push(card),
            // Other cards may have the pool.
            Err(crate::daemon::dataplane::DataplaneError::NotFound { .. }) if request.card.is_none() => {}
            Err(error) => return Err(error.into()),
        }
    }
    if found.is_empty() {
        let text = format!(
            "no card has an address {} in a pool `{}`",
            request.address, request.pool
        );
        return Err(Failure::new(ErrorCode::NotFound, text));
    }
    tracing::info!(pool = request.pool, address = %request.address, stop = request.stop, "drain");
    let drains = drains_of(&found).await?;
    let ours = |drain: &Drain| drain.address == request.address && drain.pool == request.pool;
    let mut answer: Vec<Drain> = drains.into_iter().filter(ours).collect();
    if request.stop {
        answer.extend(found.iter().map(|card| Drain {
            card: card.name.to_string(),
            pool: request.pool.clone(),
            address: request.address,
            draining: false,
            ports_in_use: 0,
        }));
    }
    Ok(Json(answer))
}

fn add(host: HostTraffic, card: Option<(u64, u64)>) -> Traffic {
    let (packets, bytes) = card.unwrap_or((0, 0));
    Traffic {
        packets: host.packets + packets,
        bytes: host.bytes + bytes,
    }
}

/// `GET /v1/service-sets`.
pub async fn service_sets(
    State(daemon): State<Arc<Daemon>>,
    Query((query,)): Query<(CardQuery,)>,
) -> Answer<Vec<ServiceSet>> {
    let names = daemon.names();
    let mut all = Vec::new();
    for card in rows::chosen(&daemon, query.card.as_deref())? {
        let (counters, config) = look(&card).await?;
        let Some(config) = config else { continue };
        for (number, set) in config.xlate.service_sets.iter().enumerate() {
            let stats = counters
                .translator
                .service_sets
                .get(number)
                .copied()
                .unwrap_or_default();
            let share = counters.card.as_ref().and_then(|card| card.sets.get(number));
            let of_card = |direction: usize| share.map(|set| (set.packets[direction], set.bytes[direction]));
            let pools = pools_of(set)
                .into_iter()
                .filter_map(|(pool, _)| config.xlate.pools.get(pool));
            all.push(ServiceSet {
                card: card.name.to_string(),
                interface_name: names.service_interface(&set.name),
                service_set_name: set.name.clone(),
                sessions: stats.sessions.into(),
                max_sessions: set.max_sessions,
                opened: stats.opened,
                closed: stats.closed,
                six_to_four: add(stats.translated[0], of_card(0)),
                four_to_six: add(stats.translated[1], of_card(1)),
                rules: set
                    .terms
                    .iter()
                    .map(|term| format!("{} {}", term.rule, term.name))
                    .collect(),
                pools: pools.map(|pool| pool.name.clone()).collect(),
                offloaded: counters.card.is_some() && set.tos_override.is_none(),
            });
        }
    }
    Ok(Json(all))
}

/// `GET /v1/service-sets/packet-drops`.
pub async fn packet_drops(
    State(daemon): State<Arc<Daemon>>,
    Query((query,)): Query<(CardQuery,)>,
) -> Answer<Vec<PacketDrops>> {
    use Reason::{
        BibLimit, EifFlowLimit, EmbryonicLimit, ErrorRateLimited, ExceptionRingFull, FragmentLimit, InjectRingFull,
        NeighbourQueueFull, PoolExhausted, PuntOverflow, SessionLimit, SetupRate, SubscriberLimit, SynStoreFull,
        SynTimeout, TcpNotSyn,
    };
    let names = daemon.names();
    let mut all = Vec::new();
    for card in rows::chosen(&daemon, query.card.as_deref())? {
        let (counters, _) = look(&card).await?;
        let tally = Tally::new(&counters).since(daemon.baseline(&card.name).as_deref());
        let sum = |reasons: &[Reason]| -> u64 {
            let both = reasons
                .iter()
                .flat_map(|&reason| [(By::Card, reason), (By::Host, reason)]);
            both.map(|(by, reason)| tally.of(by, reason)).sum()
        };
        let cpulimit_drops = sum(&[ExceptionRingFull, PuntOverflow, InjectRingFull, ErrorRateLimited]);
        let memlimit_drops = sum(&[FragmentLimit, SynStoreFull, NeighbourQueueFull]);
        let flowlimit_drops = sum(&[
            SessionLimit,
            BibLimit,
            SubscriberLimit,
            EmbryonicLimit,
            SetupRate,
            EifFlowLimit,
            PoolExhausted,
        ]);
        let tcp_drops = sum(&[TcpNotSyn, SynTimeout]);
        let known = cpulimit_drops + memlimit_drops + flowlimit_drops + tcp_drops;
        all.push(PacketDrops {
            card: card.name.to_string(),
            interface_name: names.all_service_interfaces(),
            cpulimit_drops,
            memlimit_drops,
            flowlimit_drops,
            tcp_drops,
            other_drops: tally.drops().saturating_sub(known),
        });
    }
    Ok(Json(all))
}

/// `POST /v1/test/nat64`.
pub async fn test_packet(State(daemon): State<Arc<Daemon>>, Body(asked): Body<TestPacket>) -> Answer<TestResult> {
    let cards = rows::chosen(&daemon, asked.card.as_deref())?;
    let [card] = &cards[..] else {
        let text = format!("`card` is needed: there are {} cards", cards.len());
        return Err(Failure::new(ErrorCode::BadRequest, text));
    };
    let probe = probe::build(&asked)?;
    let walk = card.ask(move |dataplane| dataplane.explain(&probe)).await?;
    Ok(Json(TestResult {
        card: card.name.to_string(),
        stages: walk
            .stages
            .into_iter()
            .map(|(stage, decision)| Stage {
                stage: stage.into(),
                decision,
            })
            .collect(),
        verdict: walk.verdict.into(),
        reason: walk.reason.map(|reason| reason.name().into()),
        offloaded: walk.offloaded,
        output: walk.output,
    }))
}
