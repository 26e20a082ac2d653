//! The [`Dataplane`] of the software card: [`SoftCard`] does the packet work in threads of its own, this one asks them.
//!
//! Ports are opened with the first configuration. An interface that goes away (a driver that is loaded anew, a `veth` that
//! is made anew) leaves the card running on the other port, its sessions where they are; when one of its name is there
//! again, it is opened for every worker. What is asked of several workers is asked of one after the other, between two
//! rounds of each.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nat64_driver::{Gateway, GatewayStats};
use nat64_layout::{Protocol, PORTS};
use nat64_xlate::{Event, Nat64, ReconfigureReport, Stats, Time};

use super::dataplane::{
    Block, Bounds, CardConfig, Counters, Cursor, Dataplane, DataplaneError, Deterministic, Identity, MappingRow,
    NeighbourRow, Probe, SessionRow, Slice, Walk, Work,
};
use super::filter::{MappingMatch, SessionMatch};
use super::gateway::chain;
use super::{answers, walk};
use crate::config::Link;
use crate::soft::card::{SoftCard, SoftError, SoftOptions};
use crate::soft::core::SoftStats;
use crate::soft::sys::{self, Event as Signal, Interface};

/// Time between two looks at the interfaces.
const LOOK: Duration = Duration::from_secs(1);

/// A port's interface, as it was when the port was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attached {
    index: u32,
    /// It is not there any more.
    gone: bool,
}

/// See the module documentation.
pub struct SoftDataplane {
    options: SoftOptions,
    card: Option<SoftCard>,
    config: Option<Arc<CardConfig>>,
    prepared: Option<Arc<CardConfig>>,
    attached: [Option<Attached>; PORTS],
    next_look: Instant,
    wake: Arc<Signal>,
}

impl From<SoftError> for DataplaneError {
    fn from(error: SoftError) -> Self {
        let text = chain(&error);
        match error {
            // The first needs a right, or an interface; both may come.
            SoftError::Port { .. } | SoftError::Start(_) | SoftError::Stopped { .. } => Self::Fault(text),
            _ => Self::Refused(text),
        }
    }
}

/// What one worker counted.
struct Counted {
    host: GatewayStats,
    soft: SoftStats,
    translator: Stats,
    sessions: u64,
    mappings: [u64; 3],
    stored_syns: u64,
    fragmented: u64,
}

/// A worker and a place in its table, of a cursor.
const fn place(cursor: Cursor) -> (usize, u32) {
    ((cursor >> 32) as usize, cursor as u32)
}

const fn cursor(worker: usize, place: u32) -> Cursor {
    (worker as u64) << 32 | place as u64
}

impl SoftDataplane {
    /// Nothing is opened yet.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new(options: SoftOptions) -> Result<Self, DataplaneError> {
        let wake = Signal::new().map_err(|error| DataplaneError::Fault(error.to_string()))?;
        Ok(Self {
            options,
            card: None,
            config: None,
            prepared: None,
            attached: [const { None }; PORTS],
            next_look: Instant::now(),
            wake: Arc::new(wake),
        })
    }

    fn running(&self) -> Result<&SoftCard, DataplaneError> {
        let none = || DataplaneError::Refused("the card has no configuration yet".into());
        self.card.as_ref().ok_or_else(none)
    }

    fn clock(&self) -> Time {
        self.card.as_ref().map_or(0, SoftCard::now)
    }

    fn slice<T>(&self, rows: Vec<T>, next: Option<Cursor>) -> Slice<T> {
        Slice {
            rows,
            next,
            config: self.config().unwrap_or_else(|| Arc::new(answers::no_config())),
            now: self.clock(),
        }
    }

    /// Whether each port has what a configuration asks of it.
    fn check_interfaces(&self, config: &CardConfig) -> Result<(), DataplaneError> {
        let refused = |text: String| Err(DataplaneError::Refused(text));
        self.options.check_ports(&config.gateway)?;
        if let [Some(one), Some(other)] = &self.options.ports {
            if one.name() == other.name() {
                return refused(format!("both ports are `{}`", one.name()));
            }
        }
        for (number, link) in self.options.ports.iter().enumerate() {
            let Some(Link::Interface(name)) = link else { continue };
            let interface = match Interface::find(name) {
                Ok(interface) => interface,
                // One that was there may come back; a new one has to be there.
                Err(_) if self.card.is_some() => continue,
                Err(error) => return refused(format!("port {number}: no interface `{name}`: {error}")),
            };
            let units = config.gateway.units.iter().zip(&config.gateway.xlate.units);
            for (_, unit) in units.filter(|(place, _)| usize::from(place.port) == number) {
                if u32::from(unit.mtu) > interface.mtu {
                    return refused(format!(
                        "the unit {} has an MTU of {}, its interface `{name}` takes {}; see `nat64-nic port {number} unit`",
                        unit.name, unit.mtu, interface.mtu
                    ));
                }
            }
        }
        Ok(())
    }

    fn attach(&mut self) {
        for (attached, link) in self.attached.iter_mut().zip(&self.options.ports) {
            let found = link.as_ref().and_then(|link| Interface::find(link.name()).ok());
            *attached = found.map(|interface| Attached {
                index: interface.index,
                gone: false,
            });
        }
    }

    /// Looks whether the interfaces are those that were opened.
    fn look(&mut self) -> Result<(), DataplaneError> {
        let Some(card) = &self.card else { return Ok(()) };
        card.check()?;
        for (number, link) in self.options.ports.iter().enumerate() {
            // A TAP device lasts as long as the card has it open.
            let Some(Link::Interface(name)) = link else { continue };
            let Some(attached) = &mut self.attached[number] else {
                continue;
            };
            match Interface::find(name) {
                Ok(found) if found.index == attached.index => {}
                Ok(found) => match card.reopen_port(number) {
                    Ok(()) => {
                        tracing::info!(port = number, interface = name, "the interface is there again");
                        *attached = Attached {
                            index: found.index,
                            gone: false,
                        };
                    }
                    Err(error @ SoftError::Stopped { .. }) => return Err(error.into()),
                    // It is tried again with the next look.
                    Err(error) => {
                        tracing::warn!(port = number, error = chain(&error), "the interface cannot be opened")
                    }
                },
                Err(error) => {
                    if !attached.gone {
                        tracing::warn!(port = number, interface = name, %error, "the interface is gone");
                    }
                    attached.gone = true;
                }
            }
        }
        Ok(())
    }

    /// Where a listing goes on: in the same worker, or with the next one.
    fn onward(&self, worker: usize, next: Option<u32>) -> Option<Cursor> {
        let workers = self.card.as_ref().map_or(0, SoftCard::workers);
        match next {
            Some(place) => Some(cursor(worker, place)),
            None => (worker + 1 < workers).then(|| cursor(worker + 1, 0)),
        }
    }

    /// The worker of a cursor, when there is one.
    fn start(&self, from: Cursor) -> Option<(usize, u32)> {
        let (worker, start) = place(from);
        let workers = self.card.as_ref().map_or(0, SoftCard::workers);
        (worker < workers).then_some((worker, start))
    }

    /// Has every worker's translator do something; what worker 0 says counts.
    fn every<T: Send + 'static>(
        &self,
        act: impl Fn(&mut Nat64) -> T + Clone + Send + 'static,
    ) -> Result<T, DataplaneError> {
        let card = self.running()?;
        let now = card.now();
        let mut answers = card.ask_all(move |worker| {
            let (core, tx) = worker.core_mut();
            core.with_translator(now, tx, |nat, _| act(nat))
        })?;
        Ok(answers.swap_remove(0))
    }
}

impl Dataplane for SoftDataplane {
    fn identity(&mut self) -> Result<Identity, DataplaneError> {
        let link_up = self.options.ports.each_ref().map(|link| {
            let link = link.as_ref()?;
            match (Interface::find(link.name()), link) {
                (Ok(interface), _) => Some(interface.up),
                (Err(_), Link::Interface(_)) => Some(false),
                // It was moved to another namespace: nothing here can tell.
                (Err(_), Link::Tap(_)) => None,
            }
        });
        Ok(Identity {
            workers: u32::try_from(self.options.workers).ok(),
            interfaces: self
                .options
                .ports
                .each_ref()
                .map(|link| Some(link.as_ref()?.to_string())),
            // Before a configuration TAP devices are not there.
            link_up: if self.card.is_some() { link_up } else { [None; PORTS] },
            ..Identity::default()
        })
    }

    fn now(&mut self) -> Result<Time, DataplaneError> {
        Ok(self.clock())
    }

    fn work(&mut self) -> Result<Work, DataplaneError> {
        let now = Instant::now();
        if now >= self.next_look {
            self.next_look = now + LOOK;
            self.look()?;
        }
        Ok(Work::Idle)
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), DataplaneError> {
        use std::os::fd::AsFd;
        let told = self.card.as_ref().map(|card| card.log().event().clone());
        let mut list = vec![self.wake.as_fd()];
        list.extend(told.as_ref().map(|event| event.as_fd()));
        if sys::wait(&list, Some(timeout)) {
            self.wake.clear();
            told.iter().for_each(|event| event.clear());
        }
        Ok(())
    }

    fn waker(&self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        let wake = self.wake.clone();
        Some(Arc::new(move || wake.set()))
    }

    fn prepare(&mut self, config: Arc<CardConfig>) -> Result<(), DataplaneError> {
        self.prepared = None;
        Gateway::check(&config.gateway, false)?;
        self.check_interfaces(&config)?;
        if let Some(card) = &self.card {
            card.check_change(&config.gateway)?;
        }
        self.prepared = Some(config);
        Ok(())
    }

    fn apply(&mut self) -> Result<ReconfigureReport, DataplaneError> {
        let Some(config) = self.prepared.take() else {
            return Err(DataplaneError::Refused("no configuration is prepared".into()));
        };
        let report = match &mut self.card {
            Some(card) => card.reconfigure(config.gateway.clone())?,
            None => {
                self.card = Some(SoftCard::start(self.options.clone(), config.gateway.clone())?);
                self.attach();
                ReconfigureReport::default()
            }
        };
        self.running()?.advertise(config.advertisements.clone())?;
        self.config = Some(config);
        Ok(report)
    }

    fn abort(&mut self) {
        self.prepared = None;
    }

    fn in_force(&self) -> Option<Arc<CardConfig>> {
        self.config.clone()
    }

    fn sessions(
        &mut self,
        from: Cursor,
        filter: &SessionMatch,
        bounds: Bounds,
    ) -> Result<Slice<SessionRow>, DataplaneError> {
        let Some((worker, start)) = self.start(from) else {
            return Ok(self.slice(Vec::new(), None));
        };
        let filter = filter.clone();
        let (rows, next) = self.running()?.ask(worker, move |asked| {
            let (core, mut scratch) = (asked.core(), Vec::new());
            let (nat, bound) = (core.translator(), filter.bind(core.config()));
            answers::sessions(nat, worker as u16, start, &bound, bounds, |_| false, &mut scratch)
        })?;
        Ok(self.slice(rows, self.onward(worker, next)))
    }

    fn clear_sessions(
        &mut self,
        from: Cursor,
        filter: &SessionMatch,
        bounds: Bounds,
    ) -> Result<Slice<SessionRow>, DataplaneError> {
        let slice = self.sessions(from, filter, bounds)?;
        let ids = answers::session_ids(&slice.rows);
        if let Some(worker) = slice.rows.first().map(|row| usize::from(row.worker)) {
            let now = slice.now;
            self.running()?.ask(worker, move |worker| {
                let (core, tx) = worker.core_mut();
                core.with_translator(now, tx, |nat, effects| nat.close_sessions(&ids, now, effects));
            })?;
        }
        Ok(slice)
    }

    fn mappings(
        &mut self,
        from: Cursor,
        filter: &MappingMatch,
        bounds: Bounds,
    ) -> Result<Slice<MappingRow>, DataplaneError> {
        let Some((worker, start)) = self.start(from) else {
            return Ok(self.slice(Vec::new(), None));
        };
        let filter = filter.clone();
        let (rows, next) = self.running()?.ask(worker, move |asked| {
            let core = asked.core();
            let bound = filter.bind(core.config());
            answers::mappings(core.translator(), worker as u16, start, &bound, bounds)
        })?;
        Ok(self.slice(rows, self.onward(worker, next)))
    }

    fn clear_mappings(
        &mut self,
        from: Cursor,
        filter: &MappingMatch,
        bounds: Bounds,
    ) -> Result<Slice<MappingRow>, DataplaneError> {
        let slice = self.mappings(from, filter, bounds)?;
        let keys = answers::binding_keys(&slice.rows);
        if let Some(worker) = slice.rows.first().map(|row| usize::from(row.worker)) {
            let now = slice.now;
            self.running()?.ask(worker, move |worker| {
                let (core, tx) = worker.core_mut();
                core.with_translator(now, tx, |nat, effects| nat.close_bindings(&keys, now, effects));
            })?;
        }
        Ok(slice)
    }

    fn neighbours(&mut self, from: Cursor, bounds: Bounds) -> Result<Slice<NeighbourRow>, DataplaneError> {
        let Some(card) = &self.card else {
            return Ok(self.slice(Vec::new(), None));
        };
        let (rows, next) = answers::neighbours(&card.neighbours().lock(), from, bounds);
        Ok(self.slice(rows, next))
    }

    fn counters(&mut self) -> Result<Counters, DataplaneError> {
        let card = self.running()?;
        let counted = card.ask_all(|worker| {
            worker.count_lost();
            let core = worker.core();
            let nat = core.translator();
            Counted {
                host: core.stats().clone(),
                soft: *core.soft_stats(),
                translator: nat.stats(),
                sessions: nat.session_count() as u64,
                mappings: [Protocol::Tcp, Protocol::Udp, Protocol::Icmp].map(|p| nat.bib_count_of(p) as u64),
                stored_syns: nat.stored_syns() as u64,
                fragmented: (nat.fragmented_packets() + core.waiting_fragments()) as u64,
            }
        })?;
        let mut all = counted.into_iter();
        let Some(mut sum) = all.next() else {
            return Err(DataplaneError::Fault("the card has no worker".into()));
        };
        for other in all {
            for (mine, theirs) in sum.host.reasons.iter_mut().zip(other.host.reasons) {
                *mine += theirs;
            }
            for (mine, theirs) in sum.host.translated.iter_mut().zip(other.host.translated) {
                *mine += theirs;
            }
            sum.host.not_kept += other.host.not_kept;
            sum.soft.add(&other.soft);
            sum.translator.add(&other.translator);
            sum.sessions += other.sessions;
            for (mine, theirs) in sum.mappings.iter_mut().zip(other.mappings) {
                *mine += theirs;
            }
            sum.stored_syns += other.stored_syns;
            sum.fragmented += other.fragmented;
        }
        // Packets, whatever frames they came in: what a super-segment stands for is translated and dropped as packets.
        (sum.host.frames_in, sum.host.frames_out) = (sum.soft.packets_in, sum.soft.packets_out);
        let neighbours = card.neighbours().lock();
        (sum.host.neighbours, sum.host.waiting) = (neighbours.len(), neighbours.waiting());
        sum.host.discovery = neighbours.stats();
        drop(neighbours);
        let soft = &sum.soft;
        Ok(Counters {
            bytes: Some(std::array::from_fn(|port| [soft.bytes_in[port], soft.bytes_out[port]])),
            host: sum.host,
            translator: sum.translator,
            card: None,
            sessions: sum.sessions,
            mappings: sum.mappings,
            stored_syns: sum.stored_syns,
            fragmented: sum.fragmented,
            now: self.clock(),
        })
    }

    fn drain(&mut self, pool: &str, address: Ipv4Addr, on: bool) -> Result<(), DataplaneError> {
        let card = self.running()?;
        answers::has_address(card.config(), pool, address)?;
        answers::drained(self.every(move |nat| if on { nat.drain(address) } else { nat.undrain(address) })?)
    }

    fn drains(&mut self) -> Result<Vec<(String, Ipv4Addr, u32)>, DataplaneError> {
        let Some(card) = &self.card else {
            return Ok(Vec::new());
        };
        // Pools are shared: what remains on an address is the same for whoever is asked.
        let drained = card.ask(0, |worker| worker.core().translator().draining())?;
        Ok(answers::drains(card.config(), &drained))
    }

    fn explain(&mut self, probe: &Probe) -> Result<Walk, DataplaneError> {
        let card = self.running()?;
        let (config, unit) = (card.config().clone(), walk::unit_of(card.config(), probe)?);
        let packet = probe.packet.clone();
        let worker = card.ask(0, move |worker| worker.core().worker_of(&packet))?;
        let packet = probe.packet.clone();
        let told = card.ask(usize::from(worker), move |worker| {
            worker.core().translator().explain(worker.now(), unit, &packet)
        })?;
        Ok(walk::of(&config, &card.neighbours().lock(), None, &told))
    }

    fn deterministic(&mut self, of: Deterministic) -> Result<Vec<Block>, DataplaneError> {
        match &self.card {
            Some(card) => Ok(card.ask(0, move |worker| answers::blocks(worker.core().translator(), of))?),
            None => Ok(Vec::new()),
        }
    }

    fn take_events(&mut self, into: &mut Vec<Event>) -> u64 {
        self.card.as_ref().map_or(0, |card| card.log().take(into))
    }

    fn shut_down(&mut self) -> Result<(), DataplaneError> {
        if let Some(mut card) = self.card.take() {
            card.stop();
        }
        Ok(())
    }
}
