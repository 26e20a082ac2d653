//! MSI-X: table, pending bits, masks and moderation of the card's two vectors.
//!
//! ```text
//!  irq pulses --> vector 0, vector 1 --> message_valid message_addr message_data (message_ready) --> Post
//!  table writes and reads (from Access) --/
//! ```
//!
//! A pulse sets the vector's pending bit. Its message is sent, and the bit cleared, as soon as MSI-X and bus master are enabled,
//! neither function nor vector is masked, and the moderation time since its last message is over; pulses meanwhile are one
//! message. The pending bits read as the PBA. Vector 0 goes first.

use super::types::TableWrite;
use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::wide::{bit_cast_wide, bits_wide, Wide};
use crate::FastBlock;

/// Clocks in a unit of the moderation time, log2: 32 clocks, 256 ns at 125 MHz.
pub const MODERATION_SHIFT: usize = 5;

/// One vector.
#[derive(FastBlock, Default)]
pub struct Vector {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Back to the state after power-on: masked, nothing pending.
    pub reset: Signal<In, Bit>,
    /// The event: one clock.
    pub irq: Signal<In, Bit>,
    /// A table word is written.
    pub write: Signal<In, TableWrite>,
    /// The moderation time is written.
    pub moderate: Signal<In, TableWrite>,
    /// A unit of moderation time has passed.
    pub tick: Signal<In, Bit>,
    /// Messages may be sent.
    pub enable: Signal<In, Bit>,
    /// Which table word to read.
    pub read_word: Signal<In, Bits<2>>,
    /// That word.
    pub read_data: Signal<Out, Bits<32>>,
    /// Moderation time, units of 32 clocks.
    pub moderation: Signal<Out, Bits<16>>,
    /// Pending bit.
    pub pending: Signal<Out, Bit>,
    /// The moderation time runs.
    pub pausing: Signal<Out, Bit>,
    /// A message is to be sent, now or when the moderation time is over.
    pub due: Signal<Out, Bit>,
    /// A message is to be sent.
    pub message_valid: Signal<Out, Bit>,
    /// It is taken.
    pub message_ready: Signal<In, Bit>,
    /// Its address.
    pub message_addr: Signal<Out, Wide<64>>,
    /// Its data.
    pub message_data: Signal<Out, Bits<32>>,
    address_low: Reg<Bits<32>>,
    address_high: Reg<Bits<32>>,
    data: Reg<Bits<32>>,
    /// Inverted Mask bit: vectors are masked at power-on, when registers are zero.
    unmasked: Reg<Bit>,
    waiting: Reg<Bit>,
    pause: Reg<Bits<16>>,
    left: Reg<Bits<16>>,
    /// `left` is 0; told a clock late when it has come to that.
    rested: Reg<Bit>,
    value: Signal<Local, Bits<32>>,
    keep: Signal<Local, Bits<32>>,
    fresh: Signal<Local, Bits<32>>,
    send: Signal<Local, Bit>,
    _quiet: Quiet,
}

impl Logic for Vector {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            address_low,
            address_high,
            data,
            unmasked,
            waiting,
            pause,
            left,
            rested
        );
        self.value.next = 0.into();
        self.keep.next = !self.write.val().mask;
        self.fresh.next = self.write.val().data & self.write.val().mask;
        if self.write.val().valid {
            if self.write.val().word == 0 {
                self.value.next = (self.address_low.q.val() & self.keep.val()) | self.fresh.val();
                // the lowest two bits of a message address are zero
                self.address_low.d.next = (self.value.val() >> 2) << 2;
            }
            if self.write.val().word == 1 {
                self.address_high.d.next = (self.address_high.q.val() & self.keep.val()) | self.fresh.val();
            }
            if self.write.val().word == 2 {
                self.data.d.next = (self.data.q.val() & self.keep.val()) | self.fresh.val();
            }
            if (self.write.val().word == 3) & ((self.write.val().mask & 1) == 1) {
                self.unmasked.d.next = (self.fresh.val() & 1) == 0;
            }
        }
        if self.moderate.val().valid {
            self.value.next = bit_cast::<32, 16>(self.pause.q.val());
            self.keep.next = !self.moderate.val().mask;
            self.value.next =
                (self.value.val() & self.keep.val()) | (self.moderate.val().data & self.moderate.val().mask);
            self.pause.d.next = bit_cast::<16, 32>(self.value.val());
        }
        self.read_data.next = self.address_low.q.val();
        if self.read_word.val() == 1 {
            self.read_data.next = self.address_high.q.val();
        }
        if self.read_word.val() == 2 {
            self.read_data.next = self.data.q.val();
        }
        if self.read_word.val() == 3 {
            self.read_data.next = 1.into();
            if self.unmasked.q.val() {
                self.read_data.next = 0.into();
            }
        }
        if self.tick.val() & self.left.q.val().any() {
            self.left.d.next = self.left.q.val() - 1;
        }
        self.send.next = self.waiting.q.val() & self.enable.val() & self.unmasked.q.val() & self.rested.q.val();
        self.rested.d.next = !self.left.q.val().any();
        if self.send.val() & self.message_ready.val() {
            self.waiting.d.next = false;
            self.left.d.next = self.pause.q.val();
            self.rested.d.next = !self.pause.q.val().any();
        }
        // an event in the clock of the message comes after it
        if self.irq.val() {
            self.waiting.d.next = true;
        }
        if self.reset.val() {
            self.unmasked.d.next = false;
            self.waiting.d.next = false;
            self.pause.d.next = 0.into();
            self.left.d.next = 0.into();
            self.address_low.d.next = 0.into();
            self.address_high.d.next = 0.into();
            self.data.d.next = 0.into();
        }
        self.moderation.next = self.pause.q.val();
        self.pending.next = self.waiting.q.val();
        self.pausing.next = self.left.q.val().any();
        self.due.next = self.waiting.q.val() & self.enable.val() & self.unmasked.q.val();
        self.message_valid.next = self.send.val();
        self.message_addr.next = bit_cast_wide::<64, 32>(bits_wide::<32>(self.address_low.q.val()))
            | (bit_cast_wide::<64, 32>(bits_wide::<32>(self.address_high.q.val())) << 32);
        self.message_data.next = self.data.q.val();
    }
}

/// See the module documentation.
#[derive(FastBlock, Default)]
pub struct Msix {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Back to the state after power-on.
    pub reset: Signal<In, Bit>,
    /// Events of the vectors, one clock each.
    pub irq: Signal<In, Bits<2>>,
    /// MSI-X Enable.
    pub enable: Signal<In, Bit>,
    /// Function Mask.
    pub function_mask: Signal<In, Bit>,
    /// Requests may be made.
    pub go: Signal<In, Bit>,
    /// A table word is written.
    pub write: Signal<In, TableWrite>,
    /// Vector of that write, or of the moderation time that is written.
    pub vector: Signal<In, Bit>,
    /// A moderation time is written.
    pub moderate: Signal<In, TableWrite>,
    /// Which table word to read: vector, then word.
    pub read_word: Signal<In, Bits<3>>,
    /// That word.
    pub read_data: Signal<Out, Bits<32>>,
    /// Pending bit array.
    pub pending: Signal<Out, Bits<2>>,
    /// Moderation time of the vector in `read_word`.
    pub moderation: Signal<Out, Bits<16>>,
    /// A message can be sent or will be when its moderation time is over.
    pub busy: Signal<Out, Bit>,
    /// A message is to be sent.
    pub message_valid: Signal<Out, Bit>,
    /// It is taken.
    pub message_ready: Signal<In, Bit>,
    /// Its address.
    pub message_addr: Signal<Out, Wide<64>>,
    /// Its data.
    pub message_data: Signal<Out, Bits<32>>,
    vector0: Vector,
    vector1: Vector,
    count: Reg<Bits<5>>,
    may: Signal<Local, Bit>,
    write0: Signal<Local, TableWrite>,
    write1: Signal<Local, TableWrite>,
    moderate0: Signal<Local, TableWrite>,
    moderate1: Signal<Local, TableWrite>,
    _quiet: Quiet,
}

impl Logic for Msix {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, count);
        clock!(self, clock, vector0, vector1);
        self.may.next = self.enable.val() & (!self.function_mask.val()) & self.go.val();
        self.vector0.reset.next = self.reset.val();
        self.vector1.reset.next = self.reset.val();
        self.vector0.irq.next = self.irq.val().get_bit(0);
        self.vector1.irq.next = self.irq.val().get_bit(1);
        self.vector0.enable.next = self.may.val();
        self.vector1.enable.next = self.may.val();
        self.vector0.tick.next = self.count.q.val().all();
        self.vector1.tick.next = self.count.q.val().all();
        self.write0.next = self.write.val();
        self.write1.next = self.write.val();
        self.moderate0.next = self.moderate.val();
        self.moderate1.next = self.moderate.val();
        if self.vector.val() {
            self.write0.next.valid = false;
            self.moderate0.next.valid = false;
        } else {
            self.write1.next.valid = false;
            self.moderate1.next.valid = false;
        }
        self.vector0.write.next = self.write0.val();
        self.vector1.write.next = self.write1.val();
        self.vector0.moderate.next = self.moderate0.val();
        self.vector1.moderate.next = self.moderate1.val();
        self.vector0.read_word.next = self.read_word.val().get_bits::<2>(0);
        self.vector1.read_word.next = self.read_word.val().get_bits::<2>(0);
        self.read_data.next = self.vector0.read_data.val();
        self.moderation.next = self.vector0.moderation.val();
        if self.read_word.val().get_bit(2) {
            self.read_data.next = self.vector1.read_data.val();
            self.moderation.next = self.vector1.moderation.val();
        }
        self.pending.next = bit_cast::<2, 1>(self.vector0.pending.val().into())
            | (bit_cast::<2, 1>(self.vector1.pending.val().into()) << 1);
        self.message_valid.next = self.vector0.message_valid.val() | self.vector1.message_valid.val();
        self.message_addr.next = self.vector1.message_addr.val();
        self.message_data.next = self.vector1.message_data.val();
        self.vector0.message_ready.next = self.message_ready.val();
        self.vector1.message_ready.next = self.message_ready.val() & (!self.vector0.message_valid.val());
        if self.vector0.message_valid.val() {
            self.message_addr.next = self.vector0.message_addr.val();
            self.message_data.next = self.vector0.message_data.val();
        }
        if self.vector0.pausing.val() | self.vector1.pausing.val() {
            self.count.d.next = self.count.q.val() + 1;
        }
        self.busy.next = self.vector0.due.val() | self.vector1.due.val();
    }
}
