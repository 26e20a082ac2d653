//! RGMII behind the double data rate pins: a byte per clock, as GMII has it.
//!
//! ```text
//!  pins --> delay, IDDR --> rise, fall --> | RgmiiReceive  | --> valid error data,  status
//!  pins <------- ODDR <--- rise, fall <--- | RgmiiTransmit | <-- valid error data
//! ```
//!
//! RGMII 2.0, section 3: the low four bits of a byte go with the rising edge, the high four with the falling one; control is
//! `valid` on the rising edge and `valid ^ error` on the falling one. Between frames, while both are 0, the receive data have
//! the link's status: bit 0 link up, bits 2:1 speed (0: 10, 1: 100, 2: 1000 Mbit/s), bit 3 full duplex.
//!
//! The pins are in [`super::pads`]. At 10 and 100 Mbit/s a PHY sends half a byte per clock, which never has a start frame
//! delimiter here: such frames are counted `NoStart`, and the status says why.

use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::FastBlock;

/// From the pins. Latency: one clock.
#[derive(FastBlock, Default)]
pub struct RgmiiReceive {
    /// Receive clock.
    pub clock: Signal<In, Clock>,
    /// Data at the rising edge.
    pub data_rise: Signal<In, Bits<4>>,
    /// Data at the falling edge behind it.
    pub data_fall: Signal<In, Bits<4>>,
    /// Control at the rising edge.
    pub control_rise: Signal<In, Bit>,
    /// Control at the falling edge behind it.
    pub control_fall: Signal<In, Bit>,
    /// There is a byte.
    pub valid: Signal<Out, Bit>,
    /// The PHY signals an error.
    pub error: Signal<Out, Bit>,
    /// The byte.
    pub data: Signal<Out, Bits<8>>,
    /// `data` is the link's status, in its low four bits.
    pub status: Signal<Out, Bit>,
    out_valid: Reg<Bit>,
    out_error: Reg<Bit>,
    out_data: Reg<Bits<8>>,
    _quiet: Quiet,
}

impl Logic for RgmiiReceive {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, out_valid, out_error, out_data);
        self.out_valid.d.next = self.control_rise.val();
        self.out_error.d.next = self.control_rise.val() ^ self.control_fall.val();
        self.out_data.d.next = (bit_cast::<8, 4>(self.data_fall.val()) << 4) | bit_cast::<8, 4>(self.data_rise.val());
        self.valid.next = self.out_valid.q.val();
        self.error.next = self.out_error.q.val();
        self.data.next = self.out_data.q.val();
        self.status.next = (!self.out_valid.q.val()) & (!self.out_error.q.val());
    }
}

/// To the pins. Latency: one clock.
#[derive(FastBlock, Default)]
pub struct RgmiiTransmit {
    /// Transmit clock.
    pub clock: Signal<In, Clock>,
    /// There is a byte.
    pub valid: Signal<In, Bit>,
    /// The other side is to take the frame for damaged.
    pub error: Signal<In, Bit>,
    /// The byte.
    pub data: Signal<In, Bits<8>>,
    /// Data at the rising edge.
    pub data_rise: Signal<Out, Bits<4>>,
    /// Data at the falling edge behind it.
    pub data_fall: Signal<Out, Bits<4>>,
    /// Control at the rising edge.
    pub control_rise: Signal<Out, Bit>,
    /// Control at the falling edge behind it.
    pub control_fall: Signal<Out, Bit>,
    out_valid: Reg<Bit>,
    out_error: Reg<Bit>,
    out_data: Reg<Bits<8>>,
    _quiet: Quiet,
}

impl Logic for RgmiiTransmit {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, out_valid, out_error, out_data);
        self.out_valid.d.next = self.valid.val();
        self.out_error.d.next = self.error.val();
        self.out_data.d.next = self.data.val();
        self.control_rise.next = self.out_valid.q.val();
        self.control_fall.next = self.out_valid.q.val() ^ self.out_error.q.val();
        self.data_rise.next = self.out_data.q.val().get_bits::<4>(0);
        self.data_fall.next = self.out_data.q.val().get_bits::<4>(4);
    }
}
