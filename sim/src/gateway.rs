//! A driver's gateway as a [`Device`]: without a card, or behind a simulated one.
//!
//! ```text
//!   soft:  packet --> Gateway::frame ----------------------------------------> packets sent
//!   card:  packet --> Wire::rx, run --> Gateway::poll, run, poll ... (quiet) --> packets sent
//! ```
//!
//! A packet that left no trace behind a card (nothing sent, nothing punted) was dropped by it or is held; the card's drop
//! counters, read only then, tell which.

mod related;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nat64_driver::gateway::{Gateway, GatewayError};
use nat64_driver::{link, Card, CardOptions, LinkType};
use nat64_host::config::{self, Applied, BuildOptions, Tree};
use nat64_host::daemon::filter::SessionMatch;
use nat64_layout::regs::COUNTER_BASE;
use nat64_layout::{HashKey, Reason, ReasonKind, MAX_FRAME, MIN_FRAME};
use nat64_xlate::SessionInfo;

use crate::card::{EngineFactory, SimCard, Wire};
use crate::compare::Compare;
use crate::compiled::Compiled;
use crate::device::{Device, DeviceFailure, Exception, Output, Sent, Totals};
use crate::engine::MAX_RX;
use crate::rtl;
use crate::waves::{Watched, Waves};

/// Bytes before a bare packet on a card's wire.
const ETHERNET_HEADER: usize = 14;
/// Rounds of card and driver after which a packet that is still busy is given up.
const ROUNDS: usize = 10_000;

/// What carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// No card.
    Soft,
    /// The RustHDL core.
    Rtl,
    /// The exported Verilog, compiled.
    Compiled,
    /// No card and the RustHDL core, compared.
    BothRtl,
    /// No card and the compiled Verilog, compared.
    BothCompiled,
}

impl Carrier {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Rtl => "rtl",
            Self::Compiled => "rtl-compiled",
            Self::BothRtl => "both, soft and rtl",
            Self::BothCompiled => "both, soft and rtl-compiled",
        }
    }
}

/// Choices that stay over resets.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What packets look like.
    pub link: LinkType,
    /// What carries them.
    pub carrier: Carrier,
    /// Bus width of a compiled core, in bits; one of [`nat64_hdl::export::WIDTHS`].
    pub width: usize,
    /// Waves that are wanted of the RustHDL core.
    pub waves: Option<Arc<Waves>>,
}

/// The RustHDL core, for [`SimCard::start`].
pub fn rtl_factory() -> EngineFactory {
    Box::new(|memory| Ok(rtl::engine(memory)))
}

/// The RustHDL core, its clocks shown to whoever wants waves.
fn rtl_with(waves: Option<Arc<Waves>>) -> EngineFactory {
    match waves {
        Some(waves) => Box::new(move |memory| Ok(rtl::engine_with_waves(memory, waves))),
        None => rtl_factory(),
    }
}

/// The compiled core of `width` bits, for [`SimCard::start`].
pub fn compiled_factory(width: usize) -> EngineFactory {
    Box::new(move |memory| Ok(Box::new(Compiled::start_width(width, memory)?)))
}

/// Reads a configuration file and makes the device of a setup from it; its time begins at `start`, in nanoseconds.
///
/// # Errors
/// A file that cannot be read, a configuration that is refused, an engine that cannot be started.
pub fn open(setup: &Setup, path: &Path, seed: u64, start: u64) -> Result<Box<dyn Device>, DeviceFailure> {
    let tree = read_config(path)?;
    let make = |factory: Option<EngineFactory>, exact| -> Result<Box<dyn Device>, DeviceFailure> {
        Ok(Box::new(GatewayDevice::new(
            tree.clone(),
            setup.link,
            seed,
            start,
            factory,
            exact,
        )?))
    };
    let both = |factory| -> Result<Box<dyn Device>, DeviceFailure> {
        let (soft, card) = (make(None, false)?, make(Some(factory), false)?);
        Ok(Box::new(Compare::new(
            ("soft".into(), soft),
            ("card".into(), card),
            setup.link,
        )))
    };
    let device = match setup.carrier {
        Carrier::Soft => make(None, true),
        Carrier::Rtl => make(Some(rtl_with(setup.waves.clone())), false),
        Carrier::Compiled => make(Some(compiled_factory(setup.width)), false),
        Carrier::BothRtl => both(rtl_with(setup.waves.clone())),
        Carrier::BothCompiled => both(compiled_factory(setup.width)),
    }?;
    Ok(match &setup.waves {
        Some(waves) => Box::new(Watched::new(device, waves.clone())),
        None => device,
    })
}

/// What a configuration file says that has no effect here, or not the one expected: one text each.
///
/// # Errors
/// As [`open`].
pub fn warnings(path: &Path, link: LinkType) -> Result<Vec<String>, DeviceFailure> {
    let (_, warnings) = build(&read_config(path)?, link, false)?;
    Ok(warnings.iter().map(ToString::to_string).collect())
}

fn read_config(path: &Path) -> Result<Tree, DeviceFailure> {
    let fail = |source| DeviceFailure::ConfigFile {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    // One byte more than is read shows that there is more; the parser says so.
    let limit = config::MAX_TEXT as u64 + 1;
    std::fs::File::open(path)
        .and_then(|f| f.take(limit).read_to_string(&mut text))
        .map_err(fail)?;
    config::parse(&text, &path.display().to_string()).map_err(|e| DeviceFailure::Config(e.to_string()))
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn failure(error: GatewayError) -> DeviceFailure {
    match error {
        GatewayError::Device(e) => DeviceFailure::Driver(chain(&e)),
        refused => DeviceFailure::Config(chain(&refused)),
    }
}

/// Numbers from a seed that look random (SplitMix64).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// See the module documentation.
pub struct GatewayDevice {
    gateway: Gateway,
    wire: Option<Wire>,
    tree: Tree,
    link: LinkType,
    exact: bool,
    now: u64,
    drops: Vec<(Reason, u32)>,
    // Packets that never reached gateway or card.
    refused: Vec<(Reason, u64)>,
}

impl GatewayDevice {
    /// A gateway with a configuration, behind the card whose engine `factory` makes, or without one. `exact` counts
    /// activity to the nanosecond in place of the card's ticks, and takes longer packets than a frame holds; a card cannot.
    ///
    /// # Errors
    /// A configuration that is refused, an engine that cannot be started.
    pub fn new(
        tree: Tree,
        link: LinkType,
        seed: u64,
        start: u64,
        factory: Option<EngineFactory>,
        exact: bool,
    ) -> Result<Self, DeviceFailure> {
        let (config, _) = build(&tree, link, exact)?;
        let (card, wire) = match factory {
            None => (None, None),
            Some(factory) => {
                let sim = SimCard::start(factory)?;
                let wire = sim.wire();
                wire.set_time(start);
                let secret = mix(seed);
                let options = CardOptions {
                    hash_key: HashKey([secret as u32, (secret >> 32) as u32]),
                    // A simulated card starts empty.
                    clear: false,
                    ..CardOptions::default()
                };
                let card =
                    Card::open(Box::new(sim.transport()), options).map_err(|e| DeviceFailure::Driver(chain(&e)))?;
                // The reset of the card took its time with it.
                wire.set_time(start);
                (Some(card), Some(wire))
            }
        };
        let mut gateway = Gateway::new(config, card, seed).map_err(failure)?;
        gateway.record_exceptions(true);
        let drops = Reason::ALL
            .iter()
            .filter(|&&r| r.kind() == ReasonKind::Drop && (r as u8) < nat64_layout::FIRST_HOST_REASON)
            .map(|&r| (r, 0))
            .collect();
        let mut device = Self {
            gateway,
            wire,
            tree,
            link,
            exact,
            now: start,
            drops,
            refused: Vec::new(),
        };
        device.settle(start, &mut Output::default())?;
        Ok(device)
    }

    /// The gateway.
    pub fn gateway(&mut self) -> &mut Gateway {
        &mut self.gateway
    }

    /// The cables of the card, when there is one.
    pub fn wire(&self) -> Option<&Wire> {
        self.wire.as_ref()
    }

    /// Lets card and driver work until both are quiet, and collects what they did.
    fn settle(&mut self, now: u64, out: &mut Output) -> Result<(), DeviceFailure> {
        match &self.wire {
            None => {
                let sent = self.gateway.take_output();
                out.sent.extend(sent.into_iter().map(|(port, bytes)| Sent {
                    port: port as u8,
                    t_ns: now,
                    bytes,
                }));
            }
            Some(wire) => {
                let mut rounds = 0;
                loop {
                    wire.run_until_idle()?;
                    if self.gateway.poll(now).map_err(failure)? == 0 {
                        break;
                    }
                    rounds += 1;
                    if rounds == ROUNDS {
                        return Err(DeviceFailure::Driver(format!(
                            "card and driver are not quiet after {ROUNDS} rounds"
                        )));
                    }
                }
                for frame in wire.take_tx().into_iter().filter(|frame| !frame.error) {
                    let bytes = match self.link {
                        LinkType::Ethernet => frame.bytes,
                        LinkType::Raw => link::raw_unwrap(&frame.bytes).unwrap_or(&frame.bytes).to_vec(),
                    };
                    out.sent.push(Sent {
                        port: frame.port,
                        t_ns: now,
                        bytes,
                    });
                }
            }
        }
        for exception in self.gateway.take_exceptions() {
            let mut reasons: Vec<Reason> = exception.punted.into_iter().collect();
            if reasons.last() != Some(&exception.reason) {
                reasons.push(exception.reason);
            }
            let port = exception.port as u8;
            out.exceptions.push(Exception {
                port,
                t_ns: now,
                bytes: exception.frame,
                reasons,
            });
        }
        Ok(())
    }

    /// Reasons whose drop counter in the card has moved since the last look.
    fn card_drops(&mut self) -> Result<Vec<Reason>, DeviceFailure> {
        let Some(wire) = &self.wire else { return Ok(Vec::new()) };
        let mut moved = Vec::new();
        for (reason, last) in &mut self.drops {
            // The low word changes with every count; the high one matters to sums only.
            let count = wire.read_register(COUNTER_BASE + 8 * *reason as u32)?;
            if count != *last {
                moved.push(*reason);
            }
            *last = count;
        }
        Ok(moved)
    }

    fn refuse(&mut self, now: u64, port: u8, bytes: &[u8], reason: Reason, out: &mut Output) {
        match self.refused.iter_mut().find(|(r, _)| *r == reason) {
            Some((_, count)) => *count += 1,
            None => self.refused.push((reason, 1)),
        }
        out.exceptions.push(Exception {
            port,
            t_ns: now,
            bytes: bytes.to_vec(),
            reasons: vec![reason],
        });
    }

    /// The packet as it goes on the wire of a card; a reason when it cannot.
    fn to_wire(&self, port: u8, bytes: &[u8]) -> Result<Vec<u8>, Reason> {
        if self.link == LinkType::Ethernet {
            return Ok(bytes.to_vec());
        }
        let mac = self.gateway.config().ports[usize::from(port)].mac;
        let frame = link::raw_wrap(usize::from(port), mac, bytes).ok_or(Reason::UnknownEthertype)?;
        // A bare link has no shortest frame; zeros that fill an Ethernet frame would pass for the missing bytes.
        let field = |at: usize| Some(usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
        let told = if bytes[0] >> 4 == 4 {
            field(2)
        } else {
            field(4).map(|n| n + 40)
        };
        if frame.len() < MIN_FRAME && told.is_none_or(|n| n > bytes.len()) {
            return Err(Reason::Truncated);
        }
        Ok(frame)
    }
}

fn build(
    tree: &Tree,
    link: LinkType,
    exact: bool,
) -> Result<(nat64_driver::GatewayConfig, Vec<config::Warning>), DeviceFailure> {
    let options = BuildOptions {
        link_type: link,
        ..BuildOptions::default()
    };
    let (mut config, warnings) = config::build(tree, options).map_err(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        DeviceFailure::Config(texts.join("\n\n"))
    })?;
    if exact {
        config.xlate.activity_tick = Duration::from_nanos(1);
    }
    Ok((config, warnings))
}

impl Device for GatewayDevice {
    fn packet(&mut self, now: u64, port: u8, bytes: &[u8], out: &mut Output) -> Result<(), DeviceFailure> {
        // Software alone takes longer packets than a frame holds; beside a card it takes what the card takes.
        let header = if self.link == LinkType::Raw { ETHERNET_HEADER } else { 0 };
        let too_long = self.wire.is_none() && !self.exact && bytes.len() + header > MAX_FRAME;
        if bytes.is_empty() || bytes.len() > MAX_RX || too_long {
            let reason = if bytes.is_empty() {
                Reason::ShortFrame
            } else {
                Reason::Oversize
            };
            self.refuse(now, port, bytes, reason, out);
            return Ok(());
        }
        let (sent, exceptions) = (out.sent.len(), out.exceptions.len());
        let Some(wire) = &self.wire else {
            let padded;
            let frame = if self.link == LinkType::Ethernet && bytes.len() < MIN_FRAME {
                // As the MAC in front of a card does.
                padded = [bytes, &[0; MIN_FRAME][bytes.len()..]].concat();
                &padded
            } else {
                bytes
            };
            self.gateway.frame(now, usize::from(port), frame).map_err(failure)?;
            return self.settle(now, out);
        };
        match self.to_wire(port, bytes) {
            Ok(frame) => {
                wire.set_time(now);
                wire.rx(port, &frame, false);
            }
            Err(reason) => {
                self.refuse(now, port, bytes, reason, out);
                return Ok(());
            }
        }
        self.settle(now, out)?;
        if out.sent.len() == sent && out.exceptions.len() == exceptions {
            let reasons = self.card_drops()?;
            if !reasons.is_empty() {
                out.exceptions.push(Exception {
                    port,
                    t_ns: now,
                    bytes: bytes.to_vec(),
                    reasons,
                });
            }
        }
        Ok(())
    }

    fn advance(&mut self, to: u64, out: &mut Output) -> Result<(), DeviceFailure> {
        let mut last = None;
        while let Some(deadline) = self.gateway.next_deadline().filter(|&d| d <= to) {
            // A deadline may be a lower bound that is found again; time goes on all the same.
            let at = match last {
                Some(last) if deadline <= last => last + 1,
                _ => deadline.max(self.now),
            };
            if at > to {
                break;
            }
            last = Some(at);
            self.now = at;
            if let Some(wire) = &self.wire {
                wire.set_time(at);
            }
            self.gateway.advance(at).map_err(failure)?;
            self.settle(at, out)?;
        }
        self.now = self.now.max(to);
        if let Some(wire) = &self.wire {
            wire.set_time(self.now);
        }
        Ok(())
    }

    fn configure(&mut self, now: u64, commands: &[String], out: &mut Output) -> Result<(), DeviceFailure> {
        let mut tree = self.tree.clone();
        let mut changed = false;
        let mut filters = Vec::new();
        for command in commands {
            match config::apply_command(&mut tree, command).map_err(|e| DeviceFailure::Config(e.to_string()))? {
                Applied::Changed => changed = true,
                Applied::ClearSessions(filter) => filters.push(filter),
                Applied::Nothing => {}
            }
        }
        if changed {
            let (config, _) = build(&tree, self.link, self.exact)?;
            self.gateway.reconfigure(now, config).map_err(failure)?;
            self.tree = tree;
        }
        for filter in filters {
            // As the daemon selects; what is in the card is not asked for.
            let filter = SessionMatch::new(&filter).map_err(|e| DeviceFailure::Config(e.message))?;
            let config = self.gateway.config().clone();
            let filter = filter.bind(&config);
            let matches = |info: &SessionInfo| filter.matches(info, false);
            self.gateway.clear_sessions(now, matches).map_err(failure)?;
        }
        self.settle(now, out)
    }

    fn totals(&mut self) -> Result<Totals, DeviceFailure> {
        let stats = self.gateway.stats();
        let counters = self.gateway.card_counters().map_err(failure)?.unwrap_or_default();
        let translator = self.gateway.translator();
        let sum = |reason: Reason| {
            let refused = self.refused.iter().find(|(r, _)| *r == reason).map_or(0, |(_, n)| *n);
            stats.reason(reason) + counters.reason(reason) + refused
        };
        Ok(Totals {
            sessions_made: translator.stats().service_sets.iter().map(|set| set.opened).sum(),
            sessions: translator.session_count() as u64,
            bibs: translator.bib_count() as u64,
            card_packets: counters.translated(),
            host_packets: stats.translated,
            reasons: Reason::ALL
                .iter()
                .map(|&r| (r, sum(r)))
                .filter(|(_, n)| *n > 0)
                .collect(),
            clocks: self.wire.as_ref().map_or(0, Wire::clocks),
        })
    }

    fn describe(&mut self, port: u8, bytes: &[u8]) -> String {
        let packet = match self.link {
            LinkType::Raw => bytes,
            LinkType::Ethernet => link::raw_unwrap(bytes).unwrap_or_default(),
        };
        let matches = related::sessions_of(packet);
        let sessions = self
            .gateway
            .translator()
            .sessions()
            .filter(|info| matches(info))
            .take(4);
        let texts: Vec<String> = sessions
            .map(|info| {
                let id = info.flow.id;
                let record = self
                    .gateway
                    .card()
                    .and_then(|card| card.table().get(id))
                    .map(|i| (i.index, i.record));
                let record = record.map_or_else(
                    || "not in the card".into(),
                    |(index, record)| format!("record {index} {:08x?}", record.to_words()),
                );
                format!("port {port}: {info:?}; {record}")
            })
            .collect();
        texts.join("\n    ")
    }
}
