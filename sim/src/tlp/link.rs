//! The pins of the endpoint as a link: TLPs and frames in, TLPs and frames out.
//!
//! [`RtlLink`] has the RustHDL endpoint behind it, [`super::compiled`] its Verilog; both follow the same rules clock by clock:
//! a TLP is offered from the clock after it was queued, without gaps; frames enter only when no TLP waits and the last memory
//! write has had its effect (so register writes come before the frames that were queued behind them); everything sent is taken at once; credits never end. A run stops
//! when its clocks are over, when nothing is left to do, or at the end of a TLP that wants the host to act: a read request or
//! a completion.

use std::collections::VecDeque;

use nat64_hdl::pcie::Endpoint64;
use nat64_hdl::prim::Clocked;
use nat64_hdl::testkit::settle;
use rust_hdl::prelude::*;

use crate::engine::{EngineError, TxFrame, IDLE_CLOCKS};

/// What the link block gives the endpoint beside TLPs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkSetup {
    /// Bus, device and function number.
    pub id: u16,
    /// Code of Max_Payload_Size.
    pub max_payload: u8,
    /// Code of Max_Read_Request_Size.
    pub max_read: u8,
    /// Bus Master Enable.
    pub bus_master: bool,
    /// MSI-X Enable.
    pub msix_enable: bool,
    /// MSI-X Function Mask.
    pub msix_mask: bool,
    /// A function-level reset begins.
    pub reset: bool,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkRan {
    /// Clocks that ran.
    pub clocks: u64,
    /// Nothing is left to do.
    pub idle: bool,
    /// A function-level reset is under way.
    pub resetting: bool,
    /// Transactions Pending.
    pub pending: bool,
    /// TLPs that are queued and not taken yet.
    pub queued: u64,
}

/// A TLP the endpoint sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentTlp {
    /// Clock in which its last beat left.
    pub clock: u64,
    /// Its DWs.
    pub dws: Vec<u32>,
}

/// An endpoint's pins.
pub trait Link: Send {
    /// Sets what the link block gives, from the next clock on.
    ///
    /// # Errors
    /// Only when the engine itself is gone; so with all methods.
    fn set_up(&mut self, setup: &LinkSetup) -> Result<(), EngineError>;
    /// Queues a TLP; `bar` has bit 0 for BAR0, bit 1 for BAR2.
    fn push(&mut self, dws: &[u32], bar: u8) -> Result<(), EngineError>;
    /// Queues a frame, at least 60 bytes.
    fn frame(&mut self, port: u8, bytes: &[u8], error: bool) -> Result<(), EngineError>;
    /// Sets the card's time.
    fn set_time(&mut self, ns: u64) -> Result<(), EngineError>;
    /// Runs clocks; see the module documentation.
    fn run(&mut self, max_clocks: u64) -> Result<LinkRan, EngineError>;
    /// TLPs sent since the last call.
    fn take_tlps(&mut self) -> Vec<SentTlp>;
    /// Frames sent since the last call.
    fn take_tx(&mut self) -> Vec<TxFrame>;
    /// Clocks since power-on.
    fn clocks(&self) -> u64;
}

/// Whether a TLP of the card wants the host to act before clocks go on.
fn wants_host(first: u32) -> bool {
    first >> 24 & 31 == 10 || first >> 30 & 1 == 0
}

/// The endpoint in RustHDL's simulator.
pub struct RtlLink {
    endpoint: Box<Endpoint64>,
    tlps: VecDeque<(Vec<u32>, u8)>,
    at: usize,
    frames: [VecDeque<(Vec<u8>, bool)>; 2],
    frame_at: [usize; 2],
    collecting: [Option<Vec<u8>>; 2],
    /// Clocks until the last memory write has had its effect.
    hold: u64,
    sending: Vec<u32>,
    sent: Vec<SentTlp>,
    tx: Vec<TxFrame>,
    clocks: u64,
}

impl RtlLink {
    /// An endpoint in its state after power-on. To be called on a thread with [`nat64_hdl::export::STACK_BYTES`].
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let mut endpoint = Box::<Endpoint64>::default();
        endpoint.connect_all();
        endpoint.tx0_ready.next = true;
        endpoint.tx1_ready.next = true;
        endpoint.tlp_tx_ready.next = true;
        endpoint.credit_p.next = true;
        endpoint.credit_n.next = true;
        endpoint.credit_c.next = true;
        settle(endpoint.as_mut());
        Self {
            endpoint,
            tlps: VecDeque::new(),
            at: 0,
            frames: Default::default(),
            frame_at: [0; 2],
            collecting: Default::default(),
            hold: 0,
            sending: Vec::new(),
            sent: Vec::new(),
            tx: Vec::new(),
            clocks: 0,
        }
    }

    /// One clock; whether a TLP ended that wants the host to act.
    fn clock(&mut self) -> bool {
        let e = self.endpoint.as_mut();
        let tlp = self.tlps.front();
        // a non-posted request waits in the link block while the endpoint wants none
        let may =
            tlp.is_some_and(|(t, _)| self.at > 0 || e.tlp_rx_np_ok.val() || !wants_host(t[0]) || t[0] >> 24 & 31 == 10);
        e.tlp_rx_valid.next = may;
        let mut last = false;
        if let (true, Some((dws, bar))) = (may, tlp) {
            let high = dws.get(self.at + 1).copied();
            last = self.at + 2 >= dws.len();
            e.tlp_rx_data.next = (u64::from(dws[self.at]) | u64::from(high.unwrap_or(0)) << 32).into();
            e.tlp_rx_keep.next = if high.is_some() { 3u64 } else { 1 }.into();
            e.tlp_rx_last.next = last;
            e.tlp_rx_bar.next = u64::from(*bar).into();
        }
        let hold = tlp.is_some() || self.hold > 0;
        self.hold = self.hold.saturating_sub(1);
        macro_rules! feed {
            ($port:literal, $valid:ident $data:ident $count:ident $first:ident $last:ident $error:ident) => {
                e.$valid.next = false;
                if let (false, Some((bytes, error))) = (hold && self.frame_at[$port] == 0, self.frames[$port].front()) {
                    let at = self.frame_at[$port];
                    let end = (at + 8).min(bytes.len());
                    let mut word = [0; 8];
                    word[..end - at].copy_from_slice(&bytes[at..end]);
                    let last = end == bytes.len();
                    e.$valid.next = true;
                    e.$data.next = u64::from_be_bytes(word).into();
                    e.$count.next = if last { ((end - at) % 8) as u64 } else { 0 }.into();
                    e.$first.next = at == 0;
                    e.$last.next = last;
                    e.$error.next = last && *error;
                }
            };
        }
        feed!(0, rx0_valid rx0_data rx0_count rx0_first rx0_last rx0_error);
        feed!(1, rx1_valid rx1_data rx1_count rx1_first rx1_last rx1_error);
        settle(e);
        self.clocks += 1;
        if may && e.tlp_rx_ready.val() {
            self.at += 2;
            if last {
                let first = self.tlps.pop_front().map_or(0, |(dws, _)| dws[0]);
                self.at = 0;
                if first >> 24 & 0x5f == 0x40 {
                    self.hold = WRITE_CLOCKS + u64::from(first & 0x3ff);
                }
            }
        }
        let mut stop = false;
        if e.tlp_tx_valid.val() {
            let data = e.tlp_tx_data.val().low();
            self.sending.push(data as u32);
            if e.tlp_tx_keep.val().get_bit(1) {
                self.sending.push((data >> 32) as u32);
            }
            if e.tlp_tx_last.val() {
                stop = wants_host(self.sending[0]);
                self.sent.push(SentTlp {
                    clock: self.clocks,
                    dws: std::mem::take(&mut self.sending),
                });
            }
        }
        macro_rules! collect {
            ($port:literal, $rvalid:ident $rready:ident $rlast:ident $valid:ident $data:ident $count:ident $first:ident $last:ident $error:ident) => {
                if e.$rvalid.val() && e.$rready.val() {
                    self.frame_at[$port] += 8;
                    if e.$rlast.val() {
                        self.frames[$port].pop_front();
                        self.frame_at[$port] = 0;
                    }
                }
                if e.$valid.val() {
                    let frame = self.collecting[$port].get_or_insert_with(Vec::new);
                    if e.$first.val() {
                        frame.clear();
                    }
                    let count = e.$count.val().index();
                    let n = if e.$last.val() && count != 0 { count } else { 8 };
                    if frame.len() < MAX_TX {
                        frame.extend_from_slice(&e.$data.val().low().to_be_bytes()[..n]);
                    }
                    if e.$last.val() {
                        self.tx.push(TxFrame {
                            port: $port,
                            bytes: self.collecting[$port].take().unwrap_or_default(),
                            error: e.$error.val(),
                            clock: self.clocks,
                        });
                    }
                }
            };
        }
        collect!(0, rx0_valid rx0_ready rx0_last tx0_valid tx0_data tx0_count tx0_first tx0_last tx0_error);
        collect!(1, rx1_valid rx1_ready rx1_last tx1_valid tx1_data tx1_count tx1_first tx1_last tx1_error);
        e.toggle_clock();
        settle(e);
        stop
    }
}

/// Clocks from the end of a memory write to its effect everywhere, beside one for each of its DWs.
const WRITE_CLOCKS: u64 = 24;
/// Largest frame collected from a port.
const MAX_TX: usize = 64 << 10;

impl Link for RtlLink {
    fn set_up(&mut self, setup: &LinkSetup) -> Result<(), EngineError> {
        let e = self.endpoint.as_mut();
        e.cfg_id.next = u64::from(setup.id).into();
        e.cfg_max_payload.next = u64::from(setup.max_payload).into();
        e.cfg_max_read.next = u64::from(setup.max_read).into();
        e.cfg_bus_master.next = setup.bus_master;
        e.cfg_msix_enable.next = setup.msix_enable;
        e.cfg_msix_mask.next = setup.msix_mask;
        e.cfg_flr.next = setup.reset;
        Ok(())
    }

    fn push(&mut self, dws: &[u32], bar: u8) -> Result<(), EngineError> {
        self.tlps.push_back((dws.to_vec(), bar));
        Ok(())
    }

    fn frame(&mut self, port: u8, bytes: &[u8], error: bool) -> Result<(), EngineError> {
        self.frames[usize::from(port & 1)].push_back((bytes.to_vec(), error));
        Ok(())
    }

    fn set_time(&mut self, ns: u64) -> Result<(), EngineError> {
        self.endpoint.time_ns.next = ns.into();
        Ok(())
    }

    fn run(&mut self, max_clocks: u64) -> Result<LinkRan, EngineError> {
        let (mut clocks, mut quiet, mut stop) = (0, 0, false);
        while clocks < max_clocks && quiet < IDLE_CLOCKS && !stop {
            stop = self.clock();
            clocks += 1;
            let still = self.endpoint.idle.val()
                && self.tlps.is_empty()
                && self.frames.iter().all(VecDeque::is_empty)
                && self.collecting.iter().all(Option::is_none);
            quiet = if still { quiet + 1 } else { 0 };
        }
        Ok(LinkRan {
            clocks,
            idle: quiet >= IDLE_CLOCKS,
            resetting: self.endpoint.resetting.val(),
            pending: self.endpoint.pending.val(),
            queued: self.tlps.len() as u64,
        })
    }

    fn take_tlps(&mut self) -> Vec<SentTlp> {
        std::mem::take(&mut self.sent)
    }

    fn take_tx(&mut self) -> Vec<TxFrame> {
        std::mem::take(&mut self.tx)
    }

    fn clocks(&self) -> u64 {
        self.clocks
    }
}
