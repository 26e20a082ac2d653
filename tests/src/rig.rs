//! A gateway whose card is the RTL in RustHDL's simulator, with every clock of its pins recorded, or a compiled core.

use std::sync::{Arc, Mutex, PoisonError};

use nat64_driver::card::{Card, CardOptions};
use nat64_driver::gateway::Gateway;
use nat64_driver::{GatewayConfig, LinkType};
use nat64_host::config::{build, parse, BuildOptions, CardLimits};
use nat64_sim::card::{EngineFactory, SimCard, Wire};
use nat64_sim::engine::TxFrame;
use nat64_sim::gateway::compiled_factory;
use nat64_sim::pins::{Bench, PinEngine, PinsIn, PinsOut};
use nat64_sim::rtl::Rtl;

/// One clock: inputs, and outputs just before the rising edge.
pub type Clock = (PinsIn, PinsOut);

/// What was recorded so far.
#[derive(Clone, Default)]
pub struct Record(Arc<Mutex<Vec<Clock>>>);

impl Record {
    /// Takes what was recorded.
    pub fn take(&self) -> Vec<Clock> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Recorder {
    rtl: Rtl,
    record: Record,
}

impl PinEngine for Recorder {
    fn clock(&mut self, pins: &PinsIn) -> PinsOut {
        let out = self.rtl.clock(pins);
        self.record
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((*pins, out));
        out
    }

    fn reset(&mut self) {
        self.rtl.reset();
        self.record.take();
    }
}

/// The configuration of a file in `examples/`.
pub fn example(name: &str) -> GatewayConfig {
    let path = crate::program::workspace().join("examples").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    configuration(&text)
}

/// A configuration from text in any form, for Ethernet and a card.
pub fn configuration(text: &str) -> GatewayConfig {
    configuration_for(text, false)
}

/// The same for a card or for software, which have limits of their own.
pub fn configuration_for(text: &str, soft: bool) -> GatewayConfig {
    let tree = parse(text, "test").unwrap_or_else(|e| panic!("{e}"));
    let mut options = BuildOptions {
        link_type: LinkType::Ethernet,
        ..BuildOptions::default()
    };
    if soft {
        options.limits = CardLimits::SOFT;
    }
    match build(&tree, options) {
        Ok((config, _)) => config,
        Err(problems) => panic!("{problems:?}"),
    }
}

/// The card and its gateway, in virtual time.
pub struct Rig {
    /// The gateway.
    pub gateway: Gateway,
    /// The cables.
    pub wire: Wire,
    /// The pins.
    pub record: Record,
    /// Virtual time, ns.
    pub now: u64,
}

impl Rig {
    /// A gateway with this configuration.
    pub fn new(config: GatewayConfig) -> Self {
        Self::with_options(
            config,
            CardOptions {
                clear: false,
                ..CardOptions::default()
            },
        )
    }

    /// The same with other rings.
    pub fn with_options(config: GatewayConfig, options: CardOptions) -> Self {
        let record = Record::default();
        let inner = record.clone();
        let engine: EngineFactory = Box::new(move |memory| {
            Ok(Box::new(Bench::new(
                Recorder {
                    rtl: Rtl::new(),
                    record: inner,
                },
                memory,
            )))
        });
        Self::around(engine, record, config, options)
    }

    /// A gateway with this configuration on the compiled core of `width` bits, whose pins nobody records.
    pub fn compiled(width: usize, config: GatewayConfig) -> Self {
        let options = CardOptions {
            clear: false,
            ..CardOptions::default()
        };
        Self::around(compiled_factory(width), Record::default(), config, options)
    }

    fn around(engine: EngineFactory, record: Record, config: GatewayConfig, options: CardOptions) -> Self {
        let sim = SimCard::start(engine).unwrap_or_else(|e| panic!("{e}"));
        let card = Card::open(Box::new(sim.transport()), options).unwrap_or_else(|e| panic!("{e}"));
        let gateway = Gateway::new(config, Some(card), 1).unwrap_or_else(|e| panic!("{e}"));
        let wire = sim.wire();
        let now = 1_000_000_000;
        wire.set_time(now);
        Self {
            gateway,
            wire,
            record,
            now,
        }
    }

    /// Runs card and slow path until neither has anything to do; gives what left.
    pub fn run(&mut self) -> Vec<TxFrame> {
        let mut sent = Vec::new();
        loop {
            self.wire.run_until_idle().unwrap_or_else(|e| panic!("{e}"));
            sent.append(&mut self.wire.take_tx());
            if self.gateway.poll(self.now).unwrap_or_else(|e| panic!("{e}")) == 0 {
                self.wire.run_until_idle().unwrap_or_else(|e| panic!("{e}"));
                sent.append(&mut self.wire.take_tx());
                return sent;
            }
        }
    }

    /// One frame in, everything it causes out.
    pub fn send(&mut self, port: u8, frame: &[u8]) -> Vec<TxFrame> {
        self.wire.rx(port, frame, false);
        self.run()
    }
}

/// MAC address of the gateway's port, as examples and defaults have it.
pub const PORT_MACS: [[u8; 6]; 2] = [[0x02, 0x4e, 0x36, 0x34, 0, 0], [0x02, 0x4e, 0x36, 0x34, 0, 1]];
/// MAC address of the server in frames of [`server_udp`].
pub const SERVER_MAC: [u8; 6] = [0x02, 0, 0, 0, 2, 9];
/// A server with a global address, as the well-known prefix wants it.
pub const SERVER: [u8; 4] = [9, 9, 9, 9];

/// A UDP packet of client `2001:db8::client` to [`SERVER`]; `length` is that of the frame, at least 62.
pub fn client_udp(client: u8, port: u16, length: usize) -> Vec<u8> {
    let mut source = [0u8; 16];
    source[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    source[15] = client;
    let mut destination = [0u8; 16];
    destination[..4].copy_from_slice(&[0, 0x64, 0xff, 0x9b]);
    destination[12..].copy_from_slice(&SERVER);
    let payload: Vec<u8> = (0..length - 62).map(|i| i as u8).collect();
    let mut out = Vec::new();
    etherparse::PacketBuilder::ethernet2([0x02, 0, 0, 0, 1, client], PORT_MACS[0])
        .ipv6(source, destination, 64)
        .udp(port, 53)
        .write(&mut out, &payload)
        .expect("a Vec takes every byte");
    out
}

/// A UDP packet of [`SERVER`] to a pool address; `length` is that of the frame, at least 42.
pub fn server_udp(pool: [u8; 4], port: u16, length: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..length - 42).map(|i| i as u8).collect();
    let mut out = Vec::new();
    etherparse::PacketBuilder::ethernet2(SERVER_MAC, PORT_MACS[1])
        .ipv4(SERVER, pool, 64)
        .udp(53, port)
        .write(&mut out, &payload)
        .expect("a Vec takes every byte");
    out
}

/// An ARP request of [`SERVER`] for a pool address, from which the gateway learns the server's MAC address.
pub fn server_arp(pool: [u8; 4]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend([0xff; 6]);
    out.extend(SERVER_MAC);
    out.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    out.extend(SERVER_MAC);
    out.extend(SERVER);
    out.extend([0; 6]);
    out.extend(pool);
    out
}
