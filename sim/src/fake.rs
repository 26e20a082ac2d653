//! A stand-in for the core, for tests of the bench: frames go from port to port through one register, a few
//! registers can be read and written, and one of them starts a DMA read whose sum is written back 0x800 bytes further.
//! `compiled/fake.v` is the same in Verilog.

use crate::pins::{Beat, PinEngine, PinsIn, PinsOut};

/// The stand-in.
#[derive(Default)]
pub struct Fake {
    held: [Option<Beat>; 2],
    done: bool,
    rdata: u32,
    scratch: u32,
    base: u64,
    stuck: bool,
    written: u32,
    len: u16,
    sum: u64,
    state: u8,
    pulse: bool,
}

impl PinEngine for Fake {
    fn clock(&mut self, pins: &PinsIn) -> PinsOut {
        let mut out = PinsOut {
            csr_done: self.done,
            csr_rdata: self.rdata,
            mr_valid: self.state == 1,
            mr_addr: self.base,
            mr_len: self.len,
            md_ready: self.state == 2,
            mw_valid: self.state == 3,
            mw_addr: self.base + 0x800,
            mw_data: self.sum,
            mw_first: true,
            mw_last: true,
            irq: u8::from(self.pulse) << 1,
            idle: self.state == 0 && self.held == [None; 2] && !self.stuck,
            ..PinsOut::default()
        };
        for port in 0..2 {
            let other = 1 - port;
            out.rx_ready[port] = self.held[port].is_none() || pins.tx_ready[other];
            if let Some(beat) = self.held[port] {
                (out.tx_valid[other], out.tx[other]) = (true, beat);
            }
            if out.rx_ready[port] {
                self.held[port] = pins.rx_valid[port].then_some(pins.rx[port]);
            }
        }
        self.done = pins.csr_read && pins.csr_raddr != 0xfff0;
        self.rdata = match pins.csr_raddr {
            0x1c => self.scratch,
            0x110 => pins.time_ns as u32,
            0x200 => self.written,
            _ => 0,
        };
        self.pulse = false;
        match self.state {
            1 if pins.mr_ready => self.state = 2,
            2 if pins.md_valid => {
                self.sum = if pins.md_error {
                    u64::MAX
                } else {
                    self.sum.wrapping_add(pins.md_data)
                };
                if pins.md_last {
                    self.state = 3;
                }
            }
            3 if pins.mw_ready => {
                self.state = 0;
                self.pulse = true;
            }
            _ => {}
        }
        if pins.csr_write {
            self.written += 1;
            match (pins.csr_bar2, pins.csr_addr) {
                (false, 0x1c) => self.scratch = pins.csr_wdata,
                (false, 0x400) => self.base = self.base & !0xffff_ffff | u64::from(pins.csr_wdata),
                (false, 0x404) => self.base = self.base & 0xffff_ffff | u64::from(pins.csr_wdata) << 32,
                (false, 0x408) => self.stuck = pins.csr_wdata & 1 != 0,
                (false, 0x414) => {
                    self.len = pins.csr_wdata as u16 & 0x1fff;
                    self.sum = 0;
                    self.state = 1;
                }
                _ => {}
            }
        }
        out
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}
