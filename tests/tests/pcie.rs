//! The driver on a card behind its PCI Express link, in both engines, and again after a function-level reset.

use std::sync::{Arc, Mutex};

use nat64_driver::card::{Card, CardOptions};
use nat64_driver::gateway::Gateway;
use nat64_driver::HostMemory;
use nat64_layout::regs::*;
use nat64_layout::Bar;
use nat64_sim::engine::TxFrame;
use nat64_sim::tlp::{PciCard, PciEngine};
use nat64_tests::pci::{run_until_idle, with, PciTransport, SharedCard};
use nat64_tests::rig::{client_udp, example, server_arp, server_udp, SERVER};

struct Bench {
    card: SharedCard,
    memory: HostMemory,
    gateway: Gateway,
    now: u64,
}

fn options() -> CardOptions {
    CardOptions {
        clear: false,
        ..CardOptions::default()
    }
}

impl Bench {
    fn new(engine: PciEngine) -> Self {
        let memory = HostMemory::new();
        let mut card = PciCard::start(engine, Box::new(memory.clone())).unwrap_or_else(|e| panic!("{e}"));
        card.set_log(true).expect("it lives");
        Self::on(Arc::new(Mutex::new(card)), memory)
    }

    /// A gateway on a card that is as after power-on.
    fn on(card: SharedCard, memory: HostMemory) -> Self {
        let now = 1_000_000_000;
        with(&card, |c| c.set_time(now)).expect("it lives");
        let transport = PciTransport::new(card.clone(), memory.clone()).expect("it lives");
        let opened = Card::open(Box::new(transport), options()).unwrap_or_else(|e| panic!("{e}"));
        let gateway = Gateway::new(example("seed.conf"), Some(opened), 1).unwrap_or_else(|e| panic!("{e}"));
        Self {
            card,
            memory,
            gateway,
            now,
        }
    }

    fn run(&mut self) -> Vec<TxFrame> {
        let mut sent = Vec::new();
        loop {
            run_until_idle(&self.card).unwrap_or_else(|e| panic!("{e}"));
            sent.append(&mut with(&self.card, PciCard::take_tx).expect("it lives"));
            if self.gateway.poll(self.now).unwrap_or_else(|e| panic!("{e}")) == 0 {
                run_until_idle(&self.card).unwrap_or_else(|e| panic!("{e}"));
                sent.append(&mut with(&self.card, PciCard::take_tx).expect("it lives"));
                return sent;
            }
        }
    }

    fn send(&mut self, port: u8, frame: &[u8]) -> Vec<TxFrame> {
        with(&self.card, |c| c.rx(port, frame, false)).expect("it lives");
        self.run()
    }

    fn register(&self, offset: u32) -> u32 {
        let mut bytes = [0; 4];
        with(&self.card, |c| c.bar_read(Bar::Bar0, offset.into(), &mut bytes)).expect("it answers");
        u32::from_le_bytes(bytes)
    }
}

/// A session made by the host through the rings, then packets of it by the card alone.
fn traffic(bench: &mut Bench) -> Vec<TxFrame> {
    let mut sent = bench.send(0, &client_udp(1, 4000, 200));
    // the server's address is asked for first
    let pool = [203, 0, 113, 1];
    sent.extend(bench.send(1, &server_arp(pool)));
    for length in [62, 200, 1400] {
        sent.extend(bench.send(0, &client_udp(1, 4000, length)));
    }
    let last = sent
        .iter()
        .rev()
        .find(|f| f.port == 1 && f.bytes[12..14] == [8, 0])
        .expect("translated");
    assert_eq!(last.bytes[30..34], SERVER);
    let port = u16::from_be_bytes([last.bytes[34], last.bytes[35]]);
    let from = [last.bytes[26], last.bytes[27], last.bytes[28], last.bytes[29]];
    let back = bench.send(1, &server_udp(from, port, 300));
    assert_eq!(back.len(), 1, "the way back");
    assert_eq!((back[0].port, &back[0].bytes[12..14]), (0, &[0x86, 0xdd][..]));
    sent.extend(back);
    sent
}

#[test]
fn the_driver_runs_over_tlps_and_both_engines_send_the_same_at_the_same_clock() {
    let outcome = |engine| {
        let mut bench = Bench::new(engine);
        let sent = traffic(&mut bench);
        let log = with(&bench.card, PciCard::take_log).expect("it lives");
        let clocks = with(&bench.card, PciCard::clocks).expect("it lives");
        assert_eq!(with(&bench.card, PciCard::dma_faults).expect("it lives"), 0);
        for counter in [
            PcieUnsupported::OFFSET,
            PcieMalformed::OFFSET,
            PcieUnexpected::OFFSET,
            PcieErrors::OFFSET,
        ] {
            assert_eq!(bench.register(counter), 0, "{counter:#x}");
        }
        (sent, log, clocks)
    };
    let rtl = outcome(PciEngine::Rtl);
    assert!(rtl.1.iter().any(|l| l.contains("< MRd")) && rtl.1.iter().any(|l| l.contains("< MWr")));
    let compiled = outcome(PciEngine::Compiled);
    assert_eq!(rtl.0, compiled.0);
    for (a, b) in rtl.1.iter().zip(&compiled.1) {
        assert_eq!(a, b);
    }
    assert_eq!(rtl.1.len(), compiled.1.len());
    assert_eq!(rtl.2, compiled.2, "clocks");
}

#[test]
fn the_driver_begins_again_after_a_function_level_reset() {
    let mut bench = Bench::new(PciEngine::Compiled);
    traffic(&mut bench);
    with(&bench.card, PciCard::function_reset).expect("it ends");
    let mut bench = Bench::on(bench.card.clone(), bench.memory.clone());
    traffic(&mut bench);
}
