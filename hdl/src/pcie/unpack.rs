//! Unpack: beats of the received TLP stream to DWs, one per clock.
//!
//! ```text
//!  rx_valid rx_ready rx_data rx_keep rx_last rx_bar --> | unpack | --> dw_valid dw_ready dw dw_last dw_bar
//! ```
//!
//! Latency: none. Half the stream's rate: the receiver works DW by DW, because headers of three DWs leave payloads on odd
//! places. Nothing is checked here.

use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::wide::{bits_narrow, Wide};
use crate::FastBlock;

/// See the module documentation.
#[derive(FastBlock, Default)]
pub struct Unpack {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a beat.
    pub rx_valid: Signal<In, Bit>,
    /// It is taken.
    pub rx_ready: Signal<Out, Bit>,
    /// Two DWs, the first in the low half.
    pub rx_data: Signal<In, Wide<64>>,
    /// Which DWs of the last beat there are: 1 the first, 3 both.
    pub rx_keep: Signal<In, Bits<2>>,
    /// Last beat of a TLP.
    pub rx_last: Signal<In, Bit>,
    /// BAR the address lies in, with every beat of a TLP: bit 0 BAR0, bit 1 BAR2.
    pub rx_bar: Signal<In, Bits<2>>,
    /// There is a DW.
    pub dw_valid: Signal<Out, Bit>,
    /// It is taken.
    pub dw_ready: Signal<In, Bit>,
    /// The DW, its first byte on the link most significant.
    pub dw: Signal<Out, Bits<32>>,
    /// Last of a TLP.
    pub dw_last: Signal<Out, Bit>,
    /// BAR the address lies in.
    pub dw_bar: Signal<Out, Bits<2>>,
    /// The second DW of the beat is next.
    second: Reg<Bit>,
    both: Signal<Local, Bit>,
    over: Signal<Local, Bit>,
    _quiet: Quiet,
}

impl Logic for Unpack {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, second);
        self.both.next = (!self.rx_last.val()) | self.rx_keep.val().get_bit(1);
        self.over.next = self.second.q.val() | (!self.both.val());
        self.dw_valid.next = self.rx_valid.val();
        self.dw.next = bits_narrow::<32>(self.rx_data.val().get_bits::<32>(0));
        if self.second.q.val() {
            self.dw.next = bits_narrow::<32>(self.rx_data.val().get_bits::<32>(32));
        }
        self.dw_last.next = self.rx_last.val() & self.over.val();
        self.dw_bar.next = self.rx_bar.val();
        self.rx_ready.next = self.dw_ready.val() & self.over.val();
        if self.rx_valid.val() & self.dw_ready.val() {
            self.second.d.next = !self.over.val();
        }
    }
}
