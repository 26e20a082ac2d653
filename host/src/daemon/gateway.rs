//! The [`Dataplane`] of one [`Gateway`]: behind a card, or on frames that somebody hands in ([`Frames`]).
//!
//! The card's clock is read every `RESYNC`; between, this machine's clock tells how far it is. Time never goes back:
//! where the card's is behind what was guessed, it stands until the card is there.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nat64_driver::gateway::CardShare as DriverShare;
use nat64_driver::{link, Adopted, Card, Gateway, GatewayConfig, GatewayError};
use nat64_layout::{Protocol, ABI_HASH};
use nat64_xlate::engine::Verdict;
use nat64_xlate::{
    BibInfo, BindingKey, DrainError, Event, Explanation, ReconfigureReport, SessionId, SessionInfo, Time,
};

use super::dataplane::{
    Block, Bounds, CardShare, Counters, Cursor, Dataplane, DataplaneError, Deterministic, HardwareIdentity, Identity,
    MappingRow, NeighbourRow, Probe, SessionRow, Slice, Walk, Work,
};
use super::filter::{MappingMatch, SessionMatch};
use super::state::MemoryFile;

/// Time between two looks at the card's clock.
const RESYNC: Duration = Duration::from_millis(50);
/// Frames taken from a [`Frames`] in one round.
const ROUND: usize = 256;

/// Where a gateway without a card has its frames from; for tests and replays.
pub trait Frames: Send {
    /// The next frame that arrived: port and bytes.
    fn receive(&mut self) -> Option<(usize, Vec<u8>)>;
    /// Sends a frame.
    fn send(&mut self, port: usize, frame: Vec<u8>);
    /// Waits for a frame, at most so long.
    fn wait(&mut self, timeout: Duration);
}

enum Carrier {
    Card,
    Frames(Box<dyn Frames>),
}

/// See the module documentation.
pub struct GatewayDataplane {
    carrier: Carrier,
    /// The card, until there is a gateway.
    card: Option<Card>,
    gateway: Option<Gateway>,
    config: Option<Arc<GatewayConfig>>,
    prepared: Option<Arc<GatewayConfig>>,
    hardware: Option<HardwareIdentity>,
    seed: u64,
    clock: Clock,
    not_kept: u64,
    page: Vec<SessionInfo>,
    bibs: Vec<BibInfo>,
    /// Where what a restart needs is kept.
    memory: Option<MemoryFile>,
    /// A card that runs and may be taken over with its sessions, until the first configuration.
    takeover: Option<Takeover>,
    adopted: bool,
}

struct Clock {
    at: Instant,
    base: Time,
    last: Time,
}

impl Clock {
    fn new(base: Time) -> Self {
        Self {
            at: Instant::now(),
            base,
            last: base,
        }
    }

    fn now(&mut self) -> Time {
        let guess = self.base + self.at.elapsed().as_nanos() as u64;
        self.last = self.last.max(guess);
        self.last
    }

    fn old(&self) -> bool {
        self.at.elapsed() > RESYNC
    }

    fn set(&mut self, base: Time) {
        self.at = Instant::now();
        self.base = base;
    }
}

impl From<GatewayError> for DataplaneError {
    fn from(error: GatewayError) -> Self {
        let text = chain(&error);
        match error {
            GatewayError::Device(_) => Self::Fault(text),
            _ => Self::Refused(text),
        }
    }
}

/// An error with its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// A card that another daemon left running: how it is taken over, and how it is opened when it cannot be.
pub trait TakeOver: Send {
    /// Takes it over; the inner error says why that cannot be and it has to be opened anew.
    ///
    /// # Errors
    /// It cannot be used at all.
    fn adopt(&self, config: &GatewayConfig) -> Result<Result<Adopted, String>, DataplaneError>;

    /// Opens it: reset, tables empty.
    ///
    /// # Errors
    /// It cannot be used at all.
    fn open(&self) -> Result<Card, DataplaneError>;
}

/// See [`TakeOver`].
pub type Takeover = Box<dyn TakeOver>;

fn hardware_of(card: &Card) -> HardwareIdentity {
    HardwareIdentity {
        identity: nat64_layout::regs::MAGIC,
        abi_hash: ABI_HASH,
        geometry: card.geometry(),
        datapath: card.datapath(),
        bitstream: None,
        temperature: None,
    }
}

impl GatewayDataplane {
    /// Behind a card that was just opened. `seed` decides the translator's random choices.
    ///
    /// # Errors
    /// The card fails already.
    pub fn new(mut card: Card, seed: u64) -> Result<Self, DataplaneError> {
        let base = card.time().map_err(|error| DataplaneError::Fault(chain(&error)))?;
        let hardware = Some(hardware_of(&card));
        Ok(Self {
            card: Some(card),
            hardware,
            ..Self::empty(Carrier::Card, base, seed)
        })
    }

    /// Keeps in `memory` what a restart needs.
    pub fn keep(&mut self, memory: MemoryFile) {
        self.memory = Some(memory);
    }

    /// A card that runs, to be taken over with its sessions when the configuration is known: only then can be told whether
    /// it is the one it was left with. Until then nothing is done to it.
    pub fn running(takeover: Takeover, seed: u64) -> Self {
        Self {
            takeover: Some(takeover),
            ..Self::empty(Carrier::Card, 0, seed)
        }
    }

    /// The first gateway: on a card that was opened, or on one that is taken over with its sessions.
    fn first(&mut self, config: &GatewayConfig) -> Result<Gateway, DataplaneError> {
        let Some(takeover) = self.takeover.take() else {
            return Ok(Gateway::new(config.clone(), self.card.take(), self.seed)?);
        };
        match takeover.adopt(config)? {
            Ok(mut adopted) => {
                let base = adopted
                    .card
                    .time()
                    .map_err(|error| DataplaneError::Fault(chain(&error)))?;
                self.clock = Clock::new(base);
                self.hardware = Some(hardware_of(&adopted.card));
                let (gateway, report) = Gateway::adopt(config.clone(), adopted, self.seed, base)?;
                for (why, count) in &report.refused {
                    tracing::warn!(count, why, "sessions of the card are not taken on");
                }
                tracing::info!(
                    adopted = report.adopted,
                    moved = report.moved,
                    refused = report.refused.iter().map(|(_, count)| count).sum::<u32>(),
                    repairs = ?report.repairs,
                    "the card is taken over with its sessions"
                );
                self.adopted = true;
                Ok(gateway)
            }
            Err(why) => {
                tracing::warn!(
                    why,
                    "the card cannot be taken over with its sessions, it is opened anew"
                );
                let mut card = takeover.open()?;
                let base = card.time().map_err(|error| DataplaneError::Fault(chain(&error)))?;
                self.clock = Clock::new(base);
                self.hardware = Some(hardware_of(&card));
                Ok(Gateway::new(config.clone(), Some(card), self.seed)?)
            }
        }
    }

    fn keep_memory(&mut self) {
        let card = self.gateway.as_ref().and_then(Gateway::card);
        if let (Some(memory), Some(card)) = (&mut self.memory, card) {
            memory.keep(card.memory_version(), || card.memory());
        }
    }

    /// On frames that somebody hands in.
    pub fn on_frames(frames: Box<dyn Frames>, seed: u64) -> Self {
        Self::empty(Carrier::Frames(frames), 0, seed)
    }

    fn empty(carrier: Carrier, base: Time, seed: u64) -> Self {
        Self {
            carrier,
            card: None,
            gateway: None,
            config: None,
            prepared: None,
            hardware: None,
            seed,
            clock: Clock::new(base),
            not_kept: 0,
            page: Vec::new(),
            bibs: Vec::new(),
            memory: None,
            takeover: None,
            adopted: false,
        }
    }

    fn gateway(&mut self) -> Result<&mut Gateway, DataplaneError> {
        let none = || DataplaneError::Refused("the card has no configuration yet".into());
        self.gateway.as_mut().ok_or_else(none)
    }

    fn card_mut(&mut self) -> Option<&mut Card> {
        match &mut self.gateway {
            Some(gateway) => gateway.card_mut(),
            None => self.card.as_mut(),
        }
    }

    fn empty_slice<T>(&mut self) -> Slice<T> {
        Slice {
            rows: Vec::new(),
            next: None,
            config: self.config.clone().unwrap_or_else(|| Arc::new(no_config())),
            now: self.clock.now(),
        }
    }

    /// Sends what a gateway without a card made.
    fn send_output(&mut self) {
        if let (Carrier::Frames(frames), Some(gateway)) = (&mut self.carrier, &mut self.gateway) {
            for (port, frame) in gateway.take_output() {
                frames.send(port, frame);
            }
        }
    }

    /// A page of sessions: those that match, and where it goes on. Rows are cut where `bounds.rows` is reached.
    fn session_rows(&mut self, from: Cursor, filter: &SessionMatch, bounds: Bounds) -> Slice<SessionRow> {
        let mut slice = self.empty_slice();
        let Some(gateway) = &self.gateway else { return slice };
        let bound = filter.bind(gateway.config());
        self.page.clear();
        let Ok(start) = u32::try_from(from) else { return slice };
        let places = u32::try_from(bounds.scan).unwrap_or(u32::MAX);
        let next = gateway.translator().session_page(start, places, &mut self.page);
        slice.next = next.map(Cursor::from);
        for info in &self.page {
            let in_card = gateway.is_installed(info.flow.id);
            if !bound.matches(info, in_card) {
                continue;
            }
            if slice.rows.len() >= bounds.rows {
                // This one comes first next time.
                slice.next = Some(info.flow.id.slot.into());
                break;
            }
            slice.rows.push(SessionRow {
                info: *info,
                worker: 0,
                in_card,
                card: None,
            });
        }
        slice
    }

    fn mapping_rows(&mut self, from: Cursor, filter: &MappingMatch, bounds: Bounds) -> Slice<MappingRow> {
        let mut slice = self.empty_slice();
        let Some(gateway) = &self.gateway else { return slice };
        let bound = filter.bind(gateway.config());
        let Ok(start) = u32::try_from(from) else { return slice };
        // Bindings do not tell their place in the table, so a page has no more places than rows may come of it.
        let places = u32::try_from(bounds.scan.min(bounds.rows)).unwrap_or(u32::MAX);
        self.bibs.clear();
        let next = gateway.translator().bib_page(start, places, &mut self.bibs);
        slice.next = next.map(Cursor::from);
        let rows = self.bibs.iter().filter(|info| bound.matches(info));
        slice.rows.extend(rows.map(|&info| MappingRow { info, worker: 0 }));
        slice
    }
}

/// A configuration with nothing in it, for answers before the first one.
fn no_config() -> GatewayConfig {
    let port = nat64_driver::PortConfig {
        mac: [0; 6],
        policy: nat64_layout::tables::PortPolicy::Drop,
    };
    GatewayConfig {
        link_type: nat64_driver::LinkType::Ethernet,
        ports: [port; nat64_layout::PORTS],
        units: Vec::new(),
        xlate: nat64_xlate::Config::default(),
    }
}

impl Dataplane for GatewayDataplane {
    fn identity(&mut self) -> Result<Identity, DataplaneError> {
        Ok(Identity {
            hardware: self.hardware.clone(),
            adopted: self.adopted,
            ..Identity::default()
        })
    }

    fn now(&mut self) -> Result<Time, DataplaneError> {
        if self.clock.old() {
            if let Some(card) = self.card_mut() {
                let base = card.time().map_err(|error| DataplaneError::Fault(chain(&error)))?;
                self.clock.set(base);
            }
        }
        Ok(self.clock.now())
    }

    fn work(&mut self) -> Result<Work, DataplaneError> {
        let now = self.now()?;
        let Some(gateway) = &mut self.gateway else {
            return Ok(Work::Idle);
        };
        let mut count = match &mut self.carrier {
            Carrier::Card => gateway.poll(now)?,
            Carrier::Frames(frames) => {
                let mut count = 0;
                while count < ROUND {
                    let Some((port, frame)) = frames.receive() else { break };
                    gateway.frame(now, port, &frame)?;
                    count += 1;
                }
                count
            }
        };
        if gateway.next_deadline().is_some_and(|deadline| deadline <= now) {
            gateway.advance(now)?;
            count += 1;
        }
        self.send_output();
        self.keep_memory();
        Ok(if count > 0 { Work::Busy } else { Work::Idle })
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), DataplaneError> {
        let now = self.clock.now();
        let due = self.gateway.as_ref().and_then(Gateway::next_deadline);
        let until_due = due.map_or(timeout, |due| Duration::from_nanos(due.saturating_sub(now)));
        let timeout = timeout.min(until_due);
        match (&mut self.carrier, self.gateway.as_mut().and_then(Gateway::card_mut)) {
            (Carrier::Frames(frames), _) => frames.wait(timeout),
            (Carrier::Card, Some(card)) => {
                card.wait(timeout)
                    .map_err(|error| DataplaneError::Fault(chain(&error)))?;
            }
            // A card without a configuration takes no frames.
            (Carrier::Card, None) => std::thread::sleep(timeout),
        }
        Ok(())
    }

    fn prepare(&mut self, config: Arc<GatewayConfig>) -> Result<(), DataplaneError> {
        self.prepared = None;
        Gateway::check(&config, matches!(self.carrier, Carrier::Card))?;
        self.prepared = Some(config);
        Ok(())
    }

    fn apply(&mut self) -> Result<ReconfigureReport, DataplaneError> {
        let Some(config) = self.prepared.take() else {
            return Err(DataplaneError::Refused("no configuration is prepared".into()));
        };
        let now = self.now()?;
        let report = match &mut self.gateway {
            Some(gateway) => gateway.reconfigure(now, (*config).clone())?,
            None => {
                // Checked in `prepare`: what can fail now is the card, and then it has to be opened anew.
                let gateway = self.first(&config);
                self.gateway = Some(gateway.map_err(|error| DataplaneError::Fault(error.to_string()))?);
                ReconfigureReport::default()
            }
        };
        self.config = Some(config);
        self.keep_memory();
        self.send_output();
        Ok(report)
    }

    fn abort(&mut self) {
        self.prepared = None;
    }

    fn config(&self) -> Option<Arc<GatewayConfig>> {
        self.config.clone()
    }

    fn sessions(
        &mut self,
        from: Cursor,
        filter: &SessionMatch,
        bounds: Bounds,
    ) -> Result<Slice<SessionRow>, DataplaneError> {
        let mut slice = self.session_rows(from, filter, bounds);
        if filter.extensive {
            let ids: Vec<SessionId> = slice
                .rows
                .iter()
                .filter(|row| row.in_card)
                .map(|row| row.info.flow.id)
                .collect();
            let now = slice.now;
            let mut shares = self.gateway()?.shares(now, &ids)?;
            shares.sort_unstable_by_key(|(id, _)| *id);
            for row in &mut slice.rows {
                let found = shares.binary_search_by_key(&row.info.flow.id, |(id, _)| *id);
                row.card = found.ok().map(|at| {
                    let DriverShare { packets, bytes, last } = shares[at].1;
                    CardShare { packets, bytes, last }
                });
            }
        }
        Ok(slice)
    }

    fn clear_sessions(
        &mut self,
        from: Cursor,
        filter: &SessionMatch,
        bounds: Bounds,
    ) -> Result<Slice<SessionRow>, DataplaneError> {
        let slice = self.session_rows(from, filter, bounds);
        let ids: Vec<SessionId> = slice.rows.iter().map(|row| row.info.flow.id).collect();
        if !ids.is_empty() {
            self.gateway()?.close_sessions(slice.now, &ids)?;
            self.send_output();
        }
        Ok(slice)
    }

    fn mappings(
        &mut self,
        from: Cursor,
        filter: &MappingMatch,
        bounds: Bounds,
    ) -> Result<Slice<MappingRow>, DataplaneError> {
        Ok(self.mapping_rows(from, filter, bounds))
    }

    fn clear_mappings(
        &mut self,
        from: Cursor,
        filter: &MappingMatch,
        bounds: Bounds,
    ) -> Result<Slice<MappingRow>, DataplaneError> {
        let slice = self.mapping_rows(from, filter, bounds);
        let keys: Vec<BindingKey> = slice
            .rows
            .iter()
            .map(|row| (row.info.service_set, row.info.protocol, row.info.pool))
            .collect();
        if !keys.is_empty() {
            self.gateway()?.close_bindings(slice.now, &keys)?;
            self.send_output();
        }
        Ok(slice)
    }

    fn neighbours(&mut self, from: Cursor, bounds: Bounds) -> Result<Slice<NeighbourRow>, DataplaneError> {
        let mut slice = self.empty_slice();
        let Some(gateway) = &self.gateway else { return Ok(slice) };
        let skip = usize::try_from(from).unwrap_or(usize::MAX);
        let found = gateway.neighbours().page(skip, bounds.rows);
        let end = skip.saturating_add(found.len());
        slice.next = (end < gateway.neighbours().len() && !found.is_empty()).then_some(end as Cursor);
        slice.rows = found
            .into_iter()
            .map(|info| NeighbourRow {
                unit: info.key.0,
                address: info.key.1,
                mac: info.mac,
                learned: info.learned,
                fixed: info.fixed,
                users: info.pins,
                waiting: info.waiting as u32,
                expires: info.expires,
            })
            .collect();
        Ok(slice)
    }

    fn counters(&mut self) -> Result<Counters, DataplaneError> {
        let now = self.now()?;
        let Some(gateway) = &mut self.gateway else {
            return Err(DataplaneError::Refused("the card has no configuration yet".into()));
        };
        let card = gateway.card_counters()?;
        let nat = gateway.translator();
        Ok(Counters {
            host: gateway.stats(),
            sessions: nat.session_count() as u64,
            mappings: [Protocol::Tcp, Protocol::Udp, Protocol::Icmp].map(|p| nat.bib_count_of(p) as u64),
            stored_syns: nat.stored_syns() as u64,
            fragmented: nat.fragmented_packets() as u64,
            translator: nat.stats(),
            card,
            now,
        })
    }

    fn registers(&mut self) -> Result<Vec<(u32, u32)>, DataplaneError> {
        let Some(card) = self.card_mut() else {
            return Err(DataplaneError::Unsupported("the software card has no registers"));
        };
        card.registers().map_err(|error| DataplaneError::Fault(chain(&error)))
    }

    fn drain(&mut self, pool: &str, address: Ipv4Addr, on: bool) -> Result<(), DataplaneError> {
        let gateway = self.gateway()?;
        let missing = |what, name: String| DataplaneError::NotFound { what, name };
        let pools = &gateway.config().xlate.pools;
        let Some(found) = pools.iter().find(|p| p.name == pool) else {
            return Err(missing("pool", pool.to_owned()));
        };
        if !found.ranges.iter().any(|&(low, high)| (low..=high).contains(&address)) {
            return Err(missing("pool address", format!("{address} of {pool}")));
        }
        let done = if on {
            gateway.drain(address)
        } else {
            gateway.undrain(address)
        };
        match done {
            Ok(_) => Ok(()),
            Err(DrainError::NotOurs(_)) => Err(missing("pool address", address.to_string())),
            Err(error) => Err(DataplaneError::Refused(error.to_string())),
        }
    }

    fn drains(&mut self) -> Result<Vec<(String, Ipv4Addr, u32)>, DataplaneError> {
        let Some(gateway) = &self.gateway else {
            return Ok(Vec::new());
        };
        let pools = &gateway.config().xlate.pools;
        let pool_of = |address: Ipv4Addr| {
            let has = |&(low, high): &(Ipv4Addr, Ipv4Addr)| (low..=high).contains(&address);
            let found = pools.iter().find(|pool| pool.ranges.iter().any(has));
            found.map_or(String::new(), |pool| pool.name.clone())
        };
        let drained = gateway.translator().draining();
        Ok(drained
            .into_iter()
            .map(|drain| (pool_of(drain.address), drain.address, drain.ports_in_use))
            .collect())
    }

    fn explain(&mut self, probe: &Probe) -> Result<Walk, DataplaneError> {
        let now = self.now()?;
        explain(self.gateway()?, now, probe)
    }

    fn deterministic(&mut self, of: Deterministic) -> Result<Vec<Block>, DataplaneError> {
        let Some(gateway) = &self.gateway else {
            return Ok(Vec::new());
        };
        let nat = gateway.translator();
        let blocks = match of {
            Deterministic::Host(host) => nat.deterministic_of(host),
            Deterministic::Port(address, port) => nat.deterministic_at((address, port)),
        };
        Ok(blocks
            .into_iter()
            .map(|block| Block {
                service_set: block.service_set,
                pool: block.pool,
                subscriber: block.subscriber,
                address: block.address,
                ports: block.ports,
            })
            .collect())
    }

    fn take_events(&mut self, into: &mut Vec<Event>) -> u64 {
        let Some(gateway) = &mut self.gateway else { return 0 };
        into.append(&mut gateway.take_events());
        let not_kept = gateway.not_kept();
        let lost = not_kept - self.not_kept;
        self.not_kept = not_kept;
        lost
    }

    fn session(&mut self, id: SessionId) -> Option<SessionInfo> {
        self.gateway.as_ref()?.translator().session(id)
    }

    fn shut_down(&mut self) -> Result<(), DataplaneError> {
        // The card goes on with what it knows; frames in the inject ring are its already.
        self.send_output();
        self.keep_memory();
        Ok(())
    }
}

/// The translator's walk, with what comes before and after it.
fn explain(gateway: &Gateway, now: Time, probe: &Probe) -> Result<Walk, DataplaneError> {
    let config = gateway.config();
    let six = link::ethertype_of(&probe.packet) == Some(nat64_layout::ETHERTYPE_IPV6);
    let units = &config.xlate.units;
    let unit = match &probe.unit {
        Some(name) => units.iter().position(|unit| unit.name == *name),
        None => units
            .iter()
            .position(|unit| if six { unit.inside } else { unit.outside }),
    };
    let Some(unit) = unit else {
        let name = probe
            .unit
            .clone()
            .unwrap_or_else(|| if six { "inside" } else { "outside" }.into());
        return Err(DataplaneError::NotFound { what: "unit", name });
    };
    let told: Explanation = gateway.translator().explain(now, unit, &probe.packet);
    let mut walk = Walk {
        stages: told
            .stages
            .iter()
            .map(|stage| (stage.name.name(), stage.says.clone()))
            .collect(),
        ..Walk::default()
    };
    match told.verdict {
        Verdict::Sent { unit, opens, .. } => {
            walk.verdict = "translated";
            let name = units.get(unit).map_or("?", |unit| unit.name.as_str());
            if let Some(packet) = told.packets.first() {
                let (source, destination) = (address_of(packet, false), address_of(packet, true));
                if let (Some(source), Some(destination)) = (source, destination) {
                    let pieces = match told.packets.len() {
                        1 => String::new(),
                        n => format!(" in {n} fragments"),
                    };
                    walk.output = Some(format!("{source} -> {destination} on {name}{pieces}"));
                    walk.stages
                        .push(("neighbour", neighbour_says(gateway, unit, destination)));
                }
            }
            if gateway.card().is_some() {
                let installed = told.session.filter(|info| gateway.is_installed(info.flow.id));
                walk.offloaded = installed.is_some();
                let says = match (&told.session, installed.is_some(), opens) {
                    (_, true, _) => "the session is in the card: later packets like this one are translated there",
                    (Some(_), false, _) => "the session is on the host: the card hands its packets over",
                    (None, _, true) => "the card hands the packet over (NoSession); the host opens the session",
                    (None, _, false) => "the card hands the packet over",
                };
                walk.stages.push(("card", says.into()));
            }
        }
        Verdict::Held => walk.verdict = "held",
        Verdict::Dropped { reason, answered } => {
            walk.verdict = if answered { "answered" } else { "dropped" };
            walk.reason = Some(reason);
        }
    }
    if !told.exact {
        walk.stages.push((
            "note",
            "some of this had to be guessed: the port is chosen when the packet comes".into(),
        ));
    }
    Ok(walk)
}

fn address_of(packet: &[u8], destination: bool) -> Option<IpAddr> {
    if destination {
        nat64_driver::neigh::destination_of(packet)
    } else {
        nat64_driver::neigh::source_of(packet)
    }
}

fn neighbour_says(gateway: &Gateway, unit: usize, destination: IpAddr) -> String {
    let neighbours = gateway.neighbours();
    match neighbours.next_hop(unit, destination) {
        None => "there is no next hop".into(),
        Some(key) => match neighbours.mac(key) {
            Some(mac) => {
                let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
                format!("next hop {} is at {mac}", key.1)
            }
            None => format!("next hop {} has to be asked for", key.1),
        },
    }
}
