//! SerialReceive: octets of a line to TLPs, set-ups of the link and acknowledgments.
//!
//! ```text
//!  octets --> | unescape, sum | --> DWs --> | memory of a frame | --> tlp_rx
//!                    | end                        | first DW --> setup, reset
//!                    +--> heard (acknowledges), accepted / refused (to be acknowledged)
//! ```
//!
//! A frame is taken when its sum and its number are right and the frame before it has left the memory; see `nat64_layout::serial`. One
//! that is not taken is counted and asked for again. Reads of the host wait here until the transaction layer wants them; what
//! comes meanwhile is refused and comes again.
//!
//! Latency: a TLP's first beat is there two clocks behind the octet that ends its frame.

use crate::ingress::with_constants;
use crate::mac::crc::{CrcStep, RESIDUE};
use crate::prelude::*;
use crate::prim::{LutRam, Quiet, Reg};
use crate::wide::{bit_cast_wide, bits_wide, Wide};
use crate::FastBlock;
use nat64_layout::serial::{ESCAPE, ESCAPED, FLAG, MAX_DWS, OVERHEAD, WINDOW};

/// See the module documentation.
#[derive(FastBlock)]
pub struct SerialReceive {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// An octet came.
    pub octet_valid: Signal<In, Bit>,
    /// The octet.
    pub octet: Signal<In, Bits<8>>,
    /// Something came that is no octet.
    pub octet_fault: Signal<In, Bit>,
    /// There is a beat of a TLP.
    pub tlp_valid: Signal<Out, Bit>,
    /// It is taken.
    pub tlp_ready: Signal<In, Bit>,
    /// Two DWs, the first in the low half.
    pub tlp_data: Signal<Out, Wide<64>>,
    /// Which of them there are: 1 the first, 3 both.
    pub tlp_keep: Signal<Out, Bits<2>>,
    /// Last beat of a TLP.
    pub tlp_last: Signal<Out, Bit>,
    /// BAR it hits: bit 0 BAR0, bit 1 BAR2.
    pub tlp_bar: Signal<Out, Bits<2>>,
    /// Non-posted requests may be delivered.
    pub np_ok: Signal<In, Bit>,
    /// The last set-up, a `nat64_layout::serial::LinkSetup`.
    pub setup: Signal<Out, Bits<32>>,
    /// It asks for a function-level reset; one clock.
    pub reset: Signal<Out, Bit>,
    /// A good frame came; one clock.
    pub heard: Signal<Out, Bit>,
    /// With it: the number the host awaits.
    pub heard_awaited: Signal<Out, Bits<3>>,
    /// With it: something of the card did not arrive.
    pub heard_nak: Signal<Out, Bit>,
    /// With it: the host begins anew.
    pub hello: Signal<Out, Bit>,
    /// A frame is to be acknowledged; one clock.
    pub accepted: Signal<Out, Bit>,
    /// A frame is to be asked for again; one clock.
    pub refused: Signal<Out, Bit>,
    /// The number that is awaited.
    pub awaited: Signal<Out, Bits<3>>,
    /// Damaged frames, modulo 32.
    pub damaged: Signal<Out, Bits<5>>,
    /// A TLP waits to be taken.
    pub busy: Signal<Out, Bit>,
    crc: CrcStep,
    even: LutRam<Bits<32>, 5>,
    odd: LutRam<Bits<32>, 5>,
    escaped: Reg<Bit>,
    broken: Reg<Bit>,
    clash: Reg<Bit>,
    count: Reg<Bits<9>>,
    sum: Reg<Bits<32>>,
    head: Reg<Bits<8>>,
    second: Reg<Bits<8>>,
    shift: Reg<Bits<24>>,
    first: Reg<Bits<32>>,
    // the frame that ended, a clock later
    ended: Reg<Bit>,
    fine: Reg<Bit>,
    dws: Reg<Bits<7>>,
    full: Reg<Bit>,
    sending: Reg<Bit>,
    length: Reg<Bits<7>>,
    at: Reg<Bits<5>>,
    bar: Reg<Bits<2>>,
    next: Reg<Bits<3>>,
    asked: Reg<Bit>,
    errors: Reg<Bits<5>>,
    held: Reg<Bits<32>>,
    begin_reset: Reg<Bit>,
    out_heard: Reg<Bit>,
    out_awaited: Reg<Bits<3>>,
    out_nak: Reg<Bit>,
    out_hello: Reg<Bit>,
    out_accepted: Reg<Bit>,
    out_refused: Reg<Bit>,
    plain: Signal<Local, Bits<8>>,
    take: Signal<Local, Bit>,
    place: Signal<Local, Bits<9>>,
    dw: Signal<Local, Bits<32>>,
    whole_dw: Signal<Local, Bit>,
    left: Signal<Local, Bits<9>>,
    kind: Signal<Local, Bits<2>>,
    number: Signal<Local, Bits<3>>,
    behind: Signal<Local, Bits<3>>,
    is_hello: Signal<Local, Bit>,
    numbered: Signal<Local, Bit>,
    no: Signal<Local, Bit>,
    after: Signal<Local, Bits<7>>,
    low: Signal<Local, Wide<64>>,
    high: Signal<Local, Wide<64>>,
    waits: Signal<Local, Bit>,
    offered: Signal<Local, Bit>,
    last: Signal<Local, Bit>,
    flag: Constant<Bits<8>>,
    escape: Constant<Bits<8>>,
    mask: Constant<Bits<8>>,
    ones: Constant<Bits<32>>,
    residue: Constant<Bits<32>>,
    most: Constant<Bits<9>>,
    overhead: Constant<Bits<9>>,
    window: Constant<Bits<3>>,
    _quiet: Quiet,
}

impl Default for SerialReceive {
    fn default() -> Self {
        const { assert!(MAX_DWS == 64, "the memory has two halves of 32 DWs") };
        with_constants!(
            clock octet_valid octet octet_fault tlp_valid tlp_ready tlp_data tlp_keep tlp_last tlp_bar np_ok setup reset heard
            heard_awaited heard_nak hello accepted refused awaited damaged busy crc even odd escaped broken clash count sum head
            second shift first ended fine dws full sending length at bar next asked errors held begin_reset out_heard out_awaited
            out_nak out_hello out_accepted out_refused plain take place dw whole_dw left kind number behind is_hello numbered no
            after low high waits offered last _quiet;
            flag = u64::from(FLAG),
            escape = u64::from(ESCAPE),
            mask = u64::from(ESCAPED),
            ones = u64::from(u32::MAX),
            residue = u64::from(RESIDUE),
            most = (MAX_DWS * 4 + OVERHEAD) as u64,
            overhead = OVERHEAD as u64,
            window = u64::from(WINDOW),
        )
    }
}

impl Logic for SerialReceive {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, escaped, broken, clash, count, sum, head, second, shift, first, ended, fine, dws, full);
        dff_setup!(
            self,
            clock,
            sending,
            length,
            at,
            bar,
            next,
            asked,
            errors,
            held,
            begin_reset
        );
        dff_setup!(
            self,
            clock,
            out_heard,
            out_awaited,
            out_nak,
            out_hello,
            out_accepted,
            out_refused
        );
        clock!(self, clock, even, odd);
        // octets of a frame
        self.plain.next = self.octet.val();
        if self.escaped.q.val() {
            self.plain.next = self.octet.val() ^ self.mask.val();
        }
        self.take.next =
            self.octet_valid.val() & (self.octet.val() != self.flag.val()) & (self.octet.val() != self.escape.val());
        self.crc.sum.next = self.sum.q.val();
        self.crc.octet.next = self.plain.val();
        self.place.next = self.count.q.val() - 2;
        self.dw.next = (bit_cast::<32, 24>(self.shift.q.val()) << 8) | bit_cast::<32, 8>(self.plain.val());
        self.whole_dw.next = self.take.val() & (self.count.q.val() > 2) & (self.place.val().get_bits::<2>(0) == 3);
        if self.octet_fault.val() {
            self.broken.d.next = true;
        }
        if self.octet_valid.val() {
            self.escaped.d.next = self.octet.val() == self.escape.val();
        }
        if self.take.val() {
            self.sum.d.next = self.crc.then.val();
            self.count.d.next = self.count.q.val() + 1;
            if self.count.q.val() == self.most.val() {
                // longer than any frame: what comes until the next flag is not looked at
                self.count.d.next = self.count.q.val();
                self.broken.d.next = true;
            }
            self.shift.d.next = bit_cast::<24, 32>(self.dw.val());
            if self.count.q.val() == 0 {
                self.head.d.next = self.plain.val();
            }
            if self.count.q.val() == 1 {
                self.second.d.next = self.plain.val();
            }
            if self.whole_dw.val() & (self.count.q.val() == 5) & (!self.sending.q.val()) {
                self.first.d.next = self.dw.val();
            }
            if self.whole_dw.val() & self.sending.q.val() {
                self.clash.d.next = true;
            }
        }
        self.even.write.next = self.whole_dw.val() & (!self.sending.q.val()) & (!self.place.val().get_bit(2));
        self.even.write_address.next = self.place.val().get_bits::<5>(3);
        self.even.write_data.next = self.dw.val();
        self.odd.write.next = self.whole_dw.val() & (!self.sending.q.val()) & self.place.val().get_bit(2);
        self.odd.write_address.next = self.place.val().get_bits::<5>(3);
        self.odd.write_data.next = self.dw.val();
        // the end of a frame, in two steps
        self.left.next = self.count.q.val() - self.overhead.val();
        self.ended.d.next = false;
        if self.octet_valid.val() & (self.octet.val() == self.flag.val()) {
            self.ended.d.next = self.count.q.val().any();
            self.fine.d.next = (self.sum.q.val() == self.residue.val())
                & (self.count.q.val() >= self.overhead.val())
                & (!self.left.val().get_bits::<2>(0).any())
                & (!self.broken.q.val())
                & (!self.escaped.q.val());
            self.dws.d.next = self.left.val().get_bits::<7>(2);
            self.full.d.next = self.clash.q.val();
            self.count.d.next = 0.into();
            self.sum.d.next = self.ones.val();
            self.broken.d.next = false;
            self.clash.d.next = false;
        }
        // the first frame begins with the sum of one that never was
        if self.count.q.val() == 0 {
            if !self.take.val() {
                self.sum.d.next = self.ones.val();
            }
        }
        self.kind.next = self.head.q.val().get_bits::<2>(6);
        self.number.next = self.head.q.val().get_bits::<3>(3);
        self.behind.next = self.next.q.val() - self.number.val();
        self.numbered.next = self.kind.val().get_bit(1);
        self.is_hello.next =
            (self.kind.val() == 3) & (self.dws.q.val() == 1) & self.first.q.val().get_bit(7) & (!self.full.q.val());
        self.no.next = false;
        self.out_heard.d.next = false;
        self.out_hello.d.next = false;
        self.out_accepted.d.next = false;
        self.begin_reset.d.next = false;
        self.out_awaited.d.next = self.head.q.val().get_bits::<3>(0);
        self.out_nak.d.next = self.kind.val() == 1;
        if self.ended.q.val() {
            if self.fine.q.val() {
                self.out_heard.d.next = true;
                if self.numbered.val() {
                    if self.is_hello.val() {
                        self.out_hello.d.next = true;
                        self.out_accepted.d.next = true;
                        self.next.d.next = self.number.val() + 1;
                        self.asked.d.next = false;
                        self.held.d.next = self.first.q.val();
                        self.begin_reset.d.next = self.first.q.val().get_bit(3);
                    } else if (self.behind.val() == 0) & (!self.full.q.val()) {
                        self.out_accepted.d.next = true;
                        self.next.d.next = self.next.q.val() + 1;
                        self.asked.d.next = false;
                        if self.dws.q.val().any() {
                            if self.kind.val() == 2 {
                                self.sending.d.next = true;
                                self.length.d.next = self.dws.q.val();
                                self.at.d.next = 0.into();
                                self.bar.d.next = self.second.q.val().get_bits::<2>(0);
                            } else {
                                self.held.d.next = self.first.q.val();
                                self.begin_reset.d.next = self.first.q.val().get_bit(3);
                            }
                        }
                    } else if (self.behind.val() != 0) & (self.behind.val() <= self.window.val()) {
                        self.out_accepted.d.next = true;
                    } else {
                        self.no.next = true;
                    }
                }
            } else {
                self.errors.d.next = self.errors.q.val() + 1;
                self.no.next = true;
            }
        }
        self.out_refused.d.next = self.no.val() & (!self.asked.q.val());
        if self.no.val() {
            self.asked.d.next = true;
        }
        // the TLP in the memory
        self.even.read_address.next = self.at.q.val();
        self.odd.read_address.next = self.at.q.val();
        self.low.next = bit_cast_wide::<64, 32>(bits_wide::<32>(self.even.read_data.val()));
        self.high.next = bit_cast_wide::<64, 32>(bits_wide::<32>(self.odd.read_data.val()));
        self.after.next = (bit_cast::<7, 5>(self.at.q.val()) << 1) + 2;
        self.last.next = self.after.val() >= self.length.q.val();
        // a request that wants an answer: no data with it, and no completion
        self.waits.next = (!self.first.q.val().get_bit(30))
            & (self.first.q.val().get_bits::<5>(24) != 10)
            & (!self.at.q.val().any())
            & (!self.np_ok.val());
        self.offered.next = self.sending.q.val() & (!self.waits.val());
        if self.offered.val() & self.tlp_ready.val() {
            self.at.d.next = self.at.q.val() + 1;
            if self.last.val() {
                self.sending.d.next = false;
            }
        }
        self.tlp_valid.next = self.offered.val();
        self.tlp_data.next = self.low.val() | (self.high.val() << 32);
        self.tlp_keep.next = 3.into();
        if self.last.val() & self.length.q.val().get_bit(0) {
            self.tlp_keep.next = 1.into();
        }
        self.tlp_last.next = self.last.val();
        self.tlp_bar.next = self.bar.q.val();
        self.setup.next = self.held.q.val();
        self.reset.next = self.begin_reset.q.val();
        self.heard.next = self.out_heard.q.val();
        self.heard_awaited.next = self.out_awaited.q.val();
        self.heard_nak.next = self.out_nak.q.val();
        self.hello.next = self.out_hello.q.val();
        self.accepted.next = self.out_accepted.q.val();
        self.refused.next = self.out_refused.q.val();
        self.awaited.next = self.next.q.val();
        self.damaged.next = self.errors.q.val();
        self.busy.next = self.sending.q.val();
    }
}
