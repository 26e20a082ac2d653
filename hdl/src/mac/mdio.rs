//! Mdio: asks a PHY for its registers (IEEE 802.3, clause 22).
//!
//! ```text
//!  go write phy register wdata --> | mdio | --> mdc, mdio_out, mdio_enable --> PHY
//!  busy rdata answered <---------- |      | <-- mdio_in ----------------------/
//! ```
//!
//! A frame is 32 ones, `01`, the operation (`10` read, `01` write), PHY, register, turnaround, 16 bits: 64 bits of `mdc`. Data change
//! with the falling edge of `mdc` and are looked at just before the rising one, so that both sides have half a bit of time. The period of `mdc`
//! is 2^(`DIVIDE` + 1) clocks: 512 ns with `DIVIDE` = 5 at 125 MHz; 400 ns is the least (22.2.2.11).

use crate::ingress::with_constants;
use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::wide::{bit_cast_wide, bits_literal, bits_wide, Wide};
use crate::FastBlock;

use super::sync::Synchronizer;

/// See the module documentation.
#[derive(FastBlock)]
pub struct Mdio<const DIVIDE: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Begins an access; not looked at while `busy`.
    pub go: Signal<In, Bit>,
    /// It is a write.
    pub write: Signal<In, Bit>,
    /// Address of the PHY.
    pub phy: Signal<In, Bits<5>>,
    /// Number of the register.
    pub register: Signal<In, Bits<5>>,
    /// Word to write.
    pub wdata: Signal<In, Bits<16>>,
    /// An access is under way.
    pub busy: Signal<Out, Bit>,
    /// The word that was read last.
    pub rdata: Signal<Out, Bits<16>>,
    /// The PHY answered the last read: it pulled the turnaround bit low.
    pub answered: Signal<Out, Bit>,
    /// Management data clock.
    pub mdc: Signal<Out, Bit>,
    /// What is driven.
    pub mdio_out: Signal<Out, Bit>,
    /// It is driven; else the pin is released.
    pub mdio_enable: Signal<Out, Bit>,
    /// What the pin has.
    pub mdio_in: Signal<In, Bit>,
    pin: Synchronizer<1>,
    divider: Reg<Bits<DIVIDE>>,
    level: Reg<Bit>,
    running: Reg<Bit>,
    reading: Reg<Bit>,
    frame: Reg<Wide<64>>,
    drive: Reg<Bit>,
    out: Reg<Bit>,
    bit: Reg<Bits<7>>,
    word: Reg<Bits<16>>,
    heard: Reg<Bit>,
    tick: Signal<Local, Bit>,
    first: Signal<Local, Wide<64>>,
    preamble: Constant<Wide<64>>,
    _quiet: Quiet,
}

impl<const DIVIDE: usize> Default for Mdio<DIVIDE> {
    fn default() -> Self {
        with_constants!(
            clock go write phy register wdata busy rdata answered mdc mdio_out mdio_enable mdio_in pin divider level running
            reading frame drive out bit word heard tick first _quiet;
            // ones, start, and the turnaround of a write
            preamble = 0xffff_ffff_4002_0000u64,
        )
    }
}

impl<const DIVIDE: usize> Logic for Mdio<DIVIDE> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, divider, level, running, reading, frame, drive, out, bit, word, heard);
        clock!(self, clock, pin);
        self.pin.d.next = self.mdio_in.val().into();
        self.tick.next = self.divider.q.val().all();
        self.first.next = self.preamble.val()
            | (bit_cast_wide::<64, 5>(bits_wide::<5>(self.phy.val())) << 23)
            | (bit_cast_wide::<64, 5>(bits_wide::<5>(self.register.val())) << 18);
        if self.running.q.val() {
            self.divider.d.next = self.divider.q.val() + 1;
            if self.tick.val() {
                self.level.d.next = !self.level.q.val();
                if self.level.q.val() {
                    // the falling edge: the next bit, or the end
                    self.bit.d.next = self.bit.q.val() + 1;
                    self.frame.d.next = self.frame.q.val() << 1;
                    self.out.d.next = self.frame.q.val().get_bit(62);
                    if self.bit.q.val() == 63 {
                        self.running.d.next = false;
                        self.drive.d.next = false;
                    }
                    // a read releases the pin behind the register's number
                    if self.reading.q.val() & (self.bit.q.val() == 45) {
                        self.drive.d.next = false;
                    }
                } else if self.reading.q.val() {
                    // just before the rising edge
                    if self.bit.q.val() == 47 {
                        self.heard.d.next = !self.pin.q.val().any();
                    }
                    if self.bit.q.val() > 47 {
                        self.word.d.next = (self.word.q.val() << 1) | bit_cast::<16, 1>(self.pin.q.val());
                    }
                }
            }
        } else if self.go.val() {
            self.running.d.next = true;
            self.reading.d.next = !self.write.val();
            self.drive.d.next = true;
            self.out.d.next = true;
            self.level.d.next = false;
            self.divider.d.next = 0.into();
            self.bit.d.next = 0.into();
            self.frame.d.next = self.first.val() | (bits_literal::<64>(2) << 28);
            if self.write.val() {
                self.frame.d.next = self.first.val()
                    | (bits_literal::<64>(1) << 28)
                    | bit_cast_wide::<64, 16>(bits_wide::<16>(self.wdata.val()));
            }
        }
        self.busy.next = self.running.q.val();
        self.rdata.next = self.word.q.val();
        self.answered.next = self.heard.q.val();
        self.mdc.next = self.level.q.val();
        self.mdio_out.next = self.out.q.val();
        self.mdio_enable.next = self.drive.q.val();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Bench;
    use rand::{rngs::StdRng, Rng, SeedableRng};

    /// A PHY at address 7 as clause 22 has it: it looks at the pin at rising edges of `mdc`, and its own bits come behind them.
    #[derive(Default)]
    struct Phy {
        registers: [u16; 32],
        bits: Vec<bool>,
        before: bool,
        drives: Option<bool>,
    }

    impl Phy {
        fn number(&self, from: usize, bits: usize) -> usize {
            self.bits[from..from + bits]
                .iter()
                .fold(0, |n, &b| n << 1 | usize::from(b))
        }

        fn clock(&mut self, mdc: bool, pin: bool) {
            let before = std::mem::replace(&mut self.before, mdc);
            if before || !mdc {
                return;
            }
            self.bits.push(pin);
            let n = self.bits.len();
            if n >= 46 {
                let (operation, phy, register) = (self.number(34, 2), self.number(36, 5), self.number(41, 5));
                assert!(self.bits[..32].iter().all(|&b| b) && self.number(32, 2) == 1);
                self.drives = match n {
                    _ if phy != 7 || operation != 2 => None,
                    46 => None,
                    47 => Some(false),
                    48..64 => Some(self.registers[register] >> (63 - n) & 1 != 0),
                    _ => None,
                };
                if n == 64 && operation == 1 && phy == 7 {
                    assert_eq!(self.number(46, 2), 2, "turnaround of a write");
                    self.registers[register] = self.number(48, 16) as u16;
                }
            }
            if n == 64 {
                self.bits.clear();
            }
        }
    }

    #[test]
    fn a_phy_is_read_and_written() {
        let mut rng = StdRng::seed_from_u64(4);
        let mut bench = Bench::new(Mdio::<2>::default());
        let mut phy = Phy::default();
        rng.fill(&mut phy.registers);
        for _ in 0..12 {
            let (write, address, register) = (
                rng.random::<bool>(),
                rng.random_range(6..9u64),
                rng.random_range(0..32u64),
            );
            let word = rng.random::<u16>();
            let before = phy.registers;
            let uut = &mut bench.uut;
            (uut.go.next, uut.write.next) = (true, write);
            (uut.phy.next, uut.register.next, uut.wdata.next) =
                (address.into(), register.into(), u64::from(word).into());
            let mut clocks = 0;
            loop {
                bench.settle();
                let enable = bench.uut.mdio_enable.val();
                assert!(!(enable && phy.drives.is_some()), "both drive the pin");
                // an idle pin is pulled up
                let pin = if enable {
                    bench.uut.mdio_out.val()
                } else {
                    phy.drives.unwrap_or(true)
                };
                phy.clock(bench.uut.mdc.val(), pin);
                bench.uut.mdio_in.next = pin;
                bench.tick();
                bench.uut.go.next = false;
                clocks += 1;
                if !bench.uut.busy.val() {
                    break;
                }
            }
            assert_eq!(clocks, 64 * 8 + 1);
            if write {
                let mut want = before;
                if address == 7 {
                    want[register as usize] = word;
                }
                assert_eq!(phy.registers, want);
            } else {
                assert_eq!(bench.uut.answered.val(), address == 7);
                let want = if address == 7 {
                    before[register as usize]
                } else {
                    0xffff
                };
                assert_eq!(u64::from(bench.uut.rdata.val()) as u16, want);
            }
        }
        bench.agrees_with_verilog("mdio");
    }
}
