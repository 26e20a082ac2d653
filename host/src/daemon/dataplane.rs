//! What the daemon wants of whatever carries packets: a [`Gateway`](nat64_driver::Gateway) behind a card, or the
//! software card on network interfaces.
//!
//! One thread owns a dataplane and calls it; none of the calls blocks for longer than its documentation says. The loop
//! of that thread is
//!
//! ```text
//!   loop: work() until it is idle --> a message? handle it, in slices --> wait()
//! ```
//!
//! Queries that walk a table are done in slices: each call looks at no more than [`Bounds::scan`] entries and says
//! where to go on. Between two slices the thread does packet work and may even take a new configuration; rows therefore
//! come with the configuration their numbers belong to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use nat64_driver::{CardCounters, GatewayConfig, GatewayStats, Phy};
use nat64_layout::regs::Datapath;
use nat64_layout::Geometry;
use nat64_xlate::{BibInfo, Event, ReconfigureReport, SessionInfo, Stats, Time};

use super::filter::{MappingMatch, SessionMatch};
use crate::config::RouterAdvertisement;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// The configuration or request is refused; nothing changed.
    #[error("{0}")]
    Refused(String),
    /// What was asked for is not there: a pool, an address, a unit.
    #[error("there is no {what} `{name}`")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// This dataplane cannot do it.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The card failed: it must be opened anew, and every later call fails too.
    #[error("the card failed: {0}")]
    Fault(String),
}

/// What a dataplane is to do. Clones share the gateway's part.
#[derive(Clone, Debug, PartialEq)]
pub struct CardConfig {
    /// The gateway.
    pub gateway: Arc<GatewayConfig>,
    /// What is advertised to the hosts of each unit; the index is that of `gateway.units`.
    pub advertisements: Vec<Option<RouterAdvertisement>>,
}

impl CardConfig {
    /// A gateway that advertises nothing.
    pub fn silent(gateway: GatewayConfig) -> Self {
        Self {
            gateway: Arc::new(gateway),
            advertisements: Vec::new(),
        }
    }
}

/// What a call of [`Dataplane::work`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// There was something to do, and there may be more: call again soon.
    Busy,
    /// There was nothing to do.
    Idle,
}

/// Where a listing goes on. Opaque; zero is the beginning. It stays good across packet work and configurations: an
/// entry that lives all the while is seen once.
pub type Cursor = u64;

/// Limits of one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Entries returned at most.
    pub rows: usize,
    /// Entries looked at, at most.
    pub scan: usize,
}

/// Part of a listing.
#[derive(Clone, Debug)]
pub struct Slice<T> {
    /// The entries.
    pub rows: Vec<T>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
    /// The configuration that unit, service-set, term and pool numbers of the rows refer to.
    pub config: Arc<GatewayConfig>,
    /// The time of the slice, on the dataplane's clock.
    pub now: Time,
}

/// A session of a listing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SessionRow {
    /// The session as the translator has it. With several workers `info.flow.id` is unique within its worker only.
    pub info: SessionInfo,
    /// Worker that has it; 0 where there is one.
    pub worker: u16,
    /// It is in the card now.
    pub in_card: bool,
    /// What the card counted, when it was asked for ([`SessionMatch::extensive`]) and the session is there.
    pub card: Option<CardShare>,
}

/// What a card counted of a session; index is `nat64_layout::Direction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CardShare {
    /// Packets.
    pub packets: [u64; 2],
    /// Bytes.
    pub bytes: [u64; 2],
    /// Last packet, on the dataplane's clock; `None`: no packet.
    pub last: [Option<Time>; 2],
}

/// A mapping of a listing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MappingRow {
    /// The binding as the translator has it.
    pub info: BibInfo,
    /// Worker that has it.
    pub worker: u16,
}

/// A neighbour of a listing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NeighbourRow {
    /// Unit.
    pub unit: usize,
    /// Address.
    pub address: IpAddr,
    /// MAC address; `None` while it is looked for.
    pub mac: Option<[u8; 6]>,
    /// From auto last hop, not from an answer.
    pub learned: bool,
    /// Never ages.
    pub fixed: bool,
    /// Sessions in the card that use it.
    pub users: u32,
    /// Packets that wait for it.
    pub waiting: u32,
    /// When it is asked again or forgotten.
    pub expires: Option<Time>,
}

/// Everything that is counted.
#[derive(Clone, Debug)]
pub struct Counters {
    /// The host's side; workers summed.
    pub host: GatewayStats,
    /// The translator's; workers summed, `pools` as the pools are.
    pub translator: Stats,
    /// The card's; `None` without one.
    pub card: Option<CardCounters>,
    /// Bytes of frames in and out, by port, where the host counts them.
    pub bytes: Option<[[u64; 2]; nat64_layout::PORTS]>,
    /// Sessions now.
    pub sessions: u64,
    /// Mappings now, by protocol (index: protocol number - 1).
    pub mappings: [u64; 3],
    /// Stored SYNs now.
    pub stored_syns: u64,
    /// Packets in pieces that wait for the rest.
    pub fragmented: u64,
    /// The time of the look, on the dataplane's clock.
    pub now: Time,
}

/// What the dataplane is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// Identity, ABI hash, sizes; `None` without a card.
    pub hardware: Option<HardwareIdentity>,
    /// How it was taken: its sessions were kept.
    pub adopted: bool,
    /// Worker threads, for the software card.
    pub workers: Option<u32>,
    /// Interface names of the ports, for the software card.
    pub interfaces: [Option<String>; nat64_layout::PORTS],
    /// Whether each port has a link, when that can be told.
    pub link_up: [Option<bool>; nat64_layout::PORTS],
}

/// What a card says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct HardwareIdentity {
    /// `Ident`.
    pub identity: u32,
    /// `AbiHash`.
    pub abi_hash: u32,
    /// Table sizes.
    pub geometry: Geometry,
    /// Bus width, ports, latency.
    pub datapath: Datapath,
    /// Version of the bitstream, when the board tells it.
    pub bitstream: Option<String>,
    /// Degrees Celsius, when the board has a sensor.
    pub temperature: Option<i32>,
}

/// A packet to walk through rules and tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Unit it arrives on, by name; `None`: the first that takes its family.
    pub unit: Option<String>,
    /// The IP packet, complete with checksums.
    pub packet: Vec<u8>,
}

/// What became of a [`Probe`], in the words of [`crate::api::nat::TestResult`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Stage and decision, in order.
    pub stages: Vec<(&'static str, String)>,
    /// `translated`, `dropped`, `answered`, `held`.
    pub verdict: &'static str,
    /// Why it was dropped or answered.
    pub reason: Option<nat64_layout::Reason>,
    /// The card would translate it by itself.
    pub offloaded: bool,
    /// What leaves, one line.
    pub output: Option<String>,
}

/// One subscriber's block of deterministic NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Service set.
    pub service_set: usize,
    /// Pool.
    pub pool: usize,
    /// Subscriber: network and length.
    pub subscriber: (Ipv6Addr, u8),
    /// Pool address.
    pub address: Ipv4Addr,
    /// First and last port.
    pub ports: (u16, u16),
}

/// See the module documentation. All calls come from one thread.
pub trait Dataplane: Send {
    /// What it is.
    fn identity(&mut self) -> Result<Identity, DataplaneError>;

    /// Its clock, nanoseconds: the card's where there is one.
    fn now(&mut self) -> Result<Time, DataplaneError>;

    /// Does packet work and timers that are due, for at most about a millisecond.
    fn work(&mut self) -> Result<Work, DataplaneError>;

    /// Sleeps until there may be work (an interrupt, a timer that is due), [`Dataplane::waker`] is called, or `timeout`
    /// has passed. A zero timeout polls.
    fn wait(&mut self, timeout: Duration) -> Result<(), DataplaneError>;

    /// Ends a [`Dataplane::wait`] from another thread. `None`: it cannot be ended, and is called with short timeouts.
    fn waker(&self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        None
    }

    /// Checks a configuration against what this dataplane can hold, and keeps it for [`Dataplane::apply`]. Packets are
    /// still treated as before. A second call replaces what the first kept.
    ///
    /// # Errors
    /// [`DataplaneError::Refused`]: nothing is kept.
    fn prepare(&mut self, config: Arc<CardConfig>) -> Result<(), DataplaneError>;

    /// Puts the prepared configuration in force. Sessions it still allows live on. The first configuration starts
    /// packet work.
    ///
    /// # Errors
    /// [`DataplaneError::Refused`]: nothing is prepared, or what could only be seen now forbids it; the old
    /// configuration is in force.
    fn apply(&mut self) -> Result<ReconfigureReport, DataplaneError>;

    /// Forgets what was prepared.
    fn abort(&mut self);

    /// The configuration in force.
    fn in_force(&self) -> Option<Arc<CardConfig>>;

    /// The gateway of the configuration in force.
    fn config(&self) -> Option<Arc<GatewayConfig>> {
        Some(self.in_force()?.gateway.clone())
    }

    /// Sessions that match. Before the first configuration there are none.
    fn sessions(
        &mut self,
        from: Cursor,
        filter: &SessionMatch,
        bounds: Bounds,
    ) -> Result<Slice<SessionRow>, DataplaneError>;

    /// Ends the sessions that match; the rows are what they were.
    fn clear_sessions(
        &mut self,
        from: Cursor,
        filter: &SessionMatch,
        bounds: Bounds,
    ) -> Result<Slice<SessionRow>, DataplaneError>;

    /// Mappings that match.
    fn mappings(
        &mut self,
        from: Cursor,
        filter: &MappingMatch,
        bounds: Bounds,
    ) -> Result<Slice<MappingRow>, DataplaneError>;

    /// Removes the mappings that match, with their sessions; static ones stay. The rows are what they were.
    fn clear_mappings(
        &mut self,
        from: Cursor,
        filter: &MappingMatch,
        bounds: Bounds,
    ) -> Result<Slice<MappingRow>, DataplaneError>;

    /// Neighbours, in the order of unit and address. There are few thousands at most: the cursor is a rank, and one that
    /// lives may be missed when others come and go between two slices.
    fn neighbours(&mut self, from: Cursor, bounds: Bounds) -> Result<Slice<NeighbourRow>, DataplaneError>;

    /// All counters.
    fn counters(&mut self) -> Result<Counters, DataplaneError>;

    /// The PHY of each port, where the card reaches one.
    fn phys(&mut self) -> Result<[Option<Phy>; nat64_layout::PORTS], DataplaneError> {
        Ok([None; nat64_layout::PORTS])
    }

    /// Registers that can be read without an effect: offset in BAR0 and value.
    fn registers(&mut self) -> Result<Vec<(u32, u32)>, DataplaneError> {
        Err(DataplaneError::Unsupported("the software card has no registers"))
    }

    /// Takes an address out of use for new mappings (or, with `on` false, puts it back). Lasts until the daemon ends, over
    /// configurations that keep the pool.
    fn drain(&mut self, pool: &str, address: Ipv4Addr, on: bool) -> Result<(), DataplaneError>;

    /// Addresses that are drained, by pool name, with the ports still in use.
    fn drains(&mut self) -> Result<Vec<(String, Ipv4Addr, u32)>, DataplaneError>;

    /// Walks a packet through; changes nothing.
    fn explain(&mut self, probe: &Probe) -> Result<Walk, DataplaneError>;

    /// The blocks a host has, or that a pool address and port belong to.
    fn deterministic(&mut self, of: Deterministic) -> Result<Vec<Block>, DataplaneError>;

    /// What is wrong while it goes on: its card failed, holds sessions, and is opened again. `None`: nothing.
    fn trouble(&self) -> Option<Arc<str>> {
        None
    }

    /// Events since the last call, at most some 65,536, and how many were lost.
    fn take_events(&mut self, into: &mut Vec<Event>) -> u64;

    /// Stops cleanly: what waits to be sent is sent, what has to be kept for a restart is kept. A card goes on
    /// translating the sessions it knows.
    fn shut_down(&mut self) -> Result<(), DataplaneError>;
}

/// What [`Dataplane::deterministic`] is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deterministic {
    /// The blocks of a host.
    Host(Ipv6Addr),
    /// Whose block a pool address and port is in.
    Port(Ipv4Addr, u16),
}
