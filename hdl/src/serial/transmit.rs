//! SerialTransmit: TLPs and acknowledgments to octets of a line; keeps what is not acknowledged yet.
//!
//! ```text
//!  tlp_tx --> | ring of 128 beats: acked .. send .. write | --> frame, sum, escape --> octets
//!                      ^            ^
//!      heard (awaited) +            +-- back to acked: heard a Nak, or 2^RESEND clocks of silence
//! ```
//!
//! A TLP is a frame; the places at which frames begin are kept by number. Acknowledgments go before TLPs, in frames of their own; TLPs
//! carry the awaited number too. A ring without room, or with four frames that nobody acknowledged, holds the transaction
//! layer up, which may wait for that as long as it takes: the host acknowledges whatever else it waits for.
//!
//! An octet is chosen in one clock and offered in the next, which the line has time for.
//!
//! Latency: a TLP's flag is offered three clocks behind its last beat.

use crate::ingress::with_constants;
use crate::mac::crc::CrcStep;
use crate::prelude::*;
use crate::prim::{BlockRam, LutRam, Quiet, Reg};
use crate::wide::{bit_cast_wide, bits_narrow, bits_wide, Wide};
use crate::FastBlock;
use nat64_layout::serial::{ESCAPE, ESCAPED, FLAG, WINDOW};

/// See the module documentation. `RESEND`: clocks until frames are sent again, log2.
#[derive(FastBlock)]
pub struct SerialTransmit<const RESEND: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a beat of a TLP.
    pub tlp_valid: Signal<In, Bit>,
    /// It is taken.
    pub tlp_ready: Signal<Out, Bit>,
    /// Two DWs, the first in the low half.
    pub tlp_data: Signal<In, Wide<64>>,
    /// Which of them there are: 1 the first, 3 both.
    pub tlp_keep: Signal<In, Bits<2>>,
    /// Last beat of a TLP.
    pub tlp_last: Signal<In, Bit>,
    /// A good frame came; see `SerialReceive` for this and what follows.
    pub heard: Signal<In, Bit>,
    /// The number the host awaits.
    pub heard_awaited: Signal<In, Bits<3>>,
    /// Something did not arrive.
    pub heard_nak: Signal<In, Bit>,
    /// The host begins anew.
    pub hello: Signal<In, Bit>,
    /// A frame is to be acknowledged.
    pub accepted: Signal<In, Bit>,
    /// A frame is to be asked for again.
    pub refused: Signal<In, Bit>,
    /// The number this side awaits.
    pub awaited: Signal<In, Bits<3>>,
    /// Second byte of every frame, a `nat64_layout::serial::Status`.
    pub status: Signal<In, Bits<8>>,
    /// There is an octet.
    pub octet_valid: Signal<Out, Bit>,
    /// The octet.
    pub octet: Signal<Out, Bits<8>>,
    /// It is taken.
    pub octet_ready: Signal<In, Bit>,
    /// A TLP is to be sent, or is not acknowledged.
    pub busy: Signal<Out, Bit>,
    memory: BlockRam<Wide<66>, 7>,
    starts: LutRam<Bits<7>, 3>,
    crc: CrcStep,
    write_at: Reg<Bits<7>>,
    write_number: Reg<Bits<3>>,
    within: Reg<Bit>,
    acked_at: Reg<Bits<7>>,
    acked_number: Reg<Bits<3>>,
    send_at: Reg<Bits<7>>,
    send_number: Reg<Bits<3>>,
    /// What `heard` said, a clock later.
    told: Reg<Bit>,
    told_number: Reg<Bits<3>>,
    told_nak: Reg<Bit>,
    told_accepted: Reg<Bit>,
    ack_due: Reg<Bit>,
    nak_due: Reg<Bit>,
    back: Reg<Bit>,
    silence: Reg<Bits<RESEND>>,
    /// 0 idle, 1 flag, 2 head, 3 second byte, 4 the ring is read, 5 DWs, 6 sum, 7 flag.
    state: Reg<Bits<3>>,
    tlp: Reg<Bit>,
    head: Reg<Bits<8>>,
    second: Reg<Bits<8>>,
    pause: Reg<Bits<2>>,
    beat: Reg<Wide<64>>,
    octets: Reg<Bits<3>>,
    final_beat: Reg<Bit>,
    sum: Reg<Bits<32>>,
    escaped: Reg<Bit>,
    /// The octet that is next, whether it must be escaped, and that both are of the state as it is.
    chosen: Reg<Bits<8>>,
    escape_chosen: Reg<Bit>,
    is_chosen: Reg<Bit>,
    used: Signal<Local, Bits<7>>,
    waiting: Signal<Local, Bits<3>>,
    /// No room for a beat: a register, since all that sends TLPs waits for it. One beat may have been added since, for which a place is
    /// kept.
    full: Reg<Bit>,
    waiting_then: Signal<Local, Bits<3>>,
    push: Signal<Local, Bit>,
    next_at: Signal<Local, Bits<7>>,
    next_number: Signal<Local, Bits<3>>,
    gone: Signal<Local, Bits<3>>,
    sent: Signal<Local, Bits<3>>,
    word: Signal<Local, Wide<66>>,
    keep: Signal<Local, Wide<66>>,
    out: Signal<Local, Wide<66>>,
    low: Signal<Local, Wide<64>>,
    plain: Signal<Local, Bits<8>>,
    raw: Signal<Local, Bit>,
    escape_it: Signal<Local, Bit>,
    offered: Signal<Local, Bit>,
    fire: Signal<Local, Bit>,
    number: Signal<Local, Bits<3>>,
    kind: Signal<Local, Bits<2>>,
    flag: Constant<Bits<8>>,
    escape: Constant<Bits<8>>,
    mask: Constant<Bits<8>>,
    ones: Constant<Bits<32>>,
    window: Constant<Bits<3>>,
    most: Constant<Bits<7>>,
    _quiet: Quiet,
}

impl<const RESEND: usize> Default for SerialTransmit<RESEND> {
    fn default() -> Self {
        with_constants!(
            clock tlp_valid tlp_ready tlp_data tlp_keep tlp_last heard heard_awaited heard_nak hello accepted refused awaited status
            octet_valid octet octet_ready busy memory starts crc write_at write_number within acked_at acked_number send_at
            send_number told told_number told_nak told_accepted ack_due nak_due back silence state tlp head second pause beat octets final_beat sum
            escaped chosen escape_chosen is_chosen used waiting full waiting_then push next_at next_number gone sent word keep out low plain raw escape_it offered fire number
            kind _quiet;
            flag = u64::from(FLAG),
            escape = u64::from(ESCAPE),
            mask = u64::from(ESCAPED),
            ones = u64::from(u32::MAX),
            window = u64::from(WINDOW),
            most = 125u64,
        )
    }
}

impl<const RESEND: usize> Logic for SerialTransmit<RESEND> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            write_at,
            write_number,
            within,
            acked_at,
            acked_number,
            send_at,
            send_number,
            told,
            told_number,
            full
        );
        dff_setup!(
            self, clock, told_nak, ack_due, nak_due, back, silence, state, tlp, head, second, pause, beat, octets
        );
        dff_setup!(
            self,
            clock,
            final_beat,
            sum,
            escaped,
            told_accepted,
            chosen,
            escape_chosen,
            is_chosen
        );
        clock!(self, clock, memory, starts);
        // TLPs into the ring; a frame begins only while less than a window waits
        self.used.next = self.write_at.q.val() - self.acked_at.q.val();
        self.waiting.next = self.write_number.q.val() - self.acked_number.q.val();
        self.push.next = (!self.full.q.val()) & self.tlp_valid.val();
        self.next_at.next = self.write_at.q.val() + 1;
        self.next_number.next = self.write_number.q.val() + 1;
        // with a beat of this clock; what is acknowledged in it is seen in the next
        self.waiting_then.next = self.next_number.val() - self.acked_number.q.val();
        self.full.d.next = (!self.within.q.val()) & (self.waiting.val() >= self.window.val());
        if self.push.val() {
            self.full.d.next = self.tlp_last.val() & (self.waiting_then.val() >= self.window.val());
        }
        if self.used.val() >= self.most.val() {
            self.full.d.next = true;
        }
        self.keep.next = bit_cast_wide::<66, 1>(bits_wide::<1>(self.tlp_keep.val().get_bits::<1>(1))) << 64;
        self.word.next = bit_cast_wide::<66, 64>(self.tlp_data.val()) | self.keep.val();
        self.word.next = self.word.val().replace_bit(65, self.tlp_last.val());
        self.memory.write.next = self.push.val();
        self.memory.write_address.next = self.write_at.q.val();
        self.memory.write_data.next = self.word.val();
        self.starts.write.next = self.push.val() & self.tlp_last.val();
        self.starts.write_address.next = self.next_number.val();
        self.starts.write_data.next = self.next_at.val();
        if self.push.val() {
            self.write_at.d.next = self.next_at.val();
            self.within.d.next = true;
            if self.tlp_last.val() {
                self.write_number.d.next = self.next_number.val();
                self.within.d.next = false;
            }
        }
        // what the host awaits; a hello forgets all whole frames
        self.told.d.next = self.heard.val();
        self.told_nak.d.next = self.heard_nak.val() & (!self.hello.val());
        self.told_number.d.next = self.heard_awaited.val();
        if self.hello.val() {
            self.told_number.d.next = self.write_number.q.val();
        }
        self.starts.read_address.next = self.told_number.q.val();
        self.gone.next = self.told_number.q.val() - self.acked_number.q.val();
        self.silence.d.next = self.silence.q.val() + 1;
        if self.told.q.val() & (self.gone.val() <= self.waiting.val()) {
            self.acked_number.d.next = self.told_number.q.val();
            self.acked_at.d.next = self.starts.read_data.val();
            if self.gone.val() != 0 {
                self.silence.d.next = 0.into();
            }
            if self.told_nak.q.val() {
                self.back.d.next = true;
            }
        }
        // so that the answer to a hello has the number that is right after it
        self.told_accepted.d.next = self.accepted.val();
        if self.told_accepted.q.val() {
            self.ack_due.d.next = true;
        }
        if self.refused.val() {
            self.nak_due.d.next = true;
        }
        // what the line gets next
        self.sent.next = self.send_number.q.val() - self.acked_number.q.val();
        if (self.sent.val() == 0) | (self.state.q.val() != 0) {
            // nothing is on its way, or something still goes out
            self.silence.d.next = 0.into();
        }
        if self.silence.q.val().all() {
            self.back.d.next = true;
            self.silence.d.next = 0.into();
        }
        self.number.next = self.acked_number.q.val();
        self.kind.next = 0.into();
        if self.nak_due.q.val() {
            self.kind.next = 1.into();
        } else if !self.ack_due.q.val() {
            self.kind.next = 2.into();
            self.number.next = self.send_number.q.val();
        }
        if self.state.q.val() == 0 {
            if self.back.q.val() | (self.sent.val() > self.waiting.val()) {
                // again from the first one that was not acknowledged; or what was to be sent is acknowledged
                self.send_number.d.next = self.acked_number.q.val();
                self.send_at.d.next = self.acked_at.q.val();
                self.back.d.next = false;
            } else if self.nak_due.q.val()
                | self.ack_due.q.val()
                | (self.send_number.q.val() != self.write_number.q.val())
            {
                self.state.d.next = 1.into();
                self.tlp.d.next = (!self.nak_due.q.val()) & (!self.ack_due.q.val());
                self.head.d.next = (bit_cast::<8, 2>(self.kind.val()) << 6)
                    | (bit_cast::<8, 3>(self.number.val()) << 3)
                    | bit_cast::<8, 3>(self.awaited.val());
                self.second.d.next = self.status.val();
                self.ack_due.d.next = self.told_accepted.q.val();
                self.nak_due.d.next = self.refused.val();
                self.sum.d.next = self.ones.val();
            }
        }
        // the ring: two clocks to read, and one more because the address is a register
        self.memory.read_address.next = self.send_at.q.val();
        self.out.next = self.memory.read_data.val();
        self.low.next = bit_cast_wide::<64, 66>(self.out.val());
        if self.state.q.val() == 4 {
            self.pause.d.next = self.pause.q.val() + 1;
            if self.pause.q.val() == 3 {
                self.beat.d.next = (self.low.val() << 32) | (self.low.val() >> 32);
                self.final_beat.d.next = self.out.val().get_bit(65);
                self.octets.d.next = 3.into();
                if self.out.val().get_bit(64) {
                    self.octets.d.next = 7.into();
                }
                self.state.d.next = 5.into();
            }
        }
        // octets
        self.plain.next = self.head.q.val();
        self.raw.next = (self.state.q.val() == 1) | (self.state.q.val() == 7);
        if self.state.q.val() == 3 {
            self.plain.next = self.second.q.val();
        }
        if self.state.q.val() == 5 {
            self.plain.next = bits_narrow::<8>(self.beat.q.val().get_bits::<8>(56));
        }
        if self.state.q.val() == 6 {
            self.plain.next = bit_cast::<8, 32>(self.sum.q.val()) ^ 0xff;
        }
        self.escape_it.next =
            (!self.raw.val()) & ((self.plain.val() == self.flag.val()) | (self.plain.val() == self.escape.val()));
        self.offered.next = self.is_chosen.q.val();
        self.fire.next = self.offered.val() & self.octet_ready.val();
        self.is_chosen.d.next = (self.state.q.val() != 0) & (self.state.q.val() != 4) & (!self.fire.val());
        self.chosen.d.next = self.plain.val();
        if self.raw.val() {
            self.chosen.d.next = self.flag.val();
        }
        self.escape_chosen.d.next = self.escape_it.val();
        self.octet.next = self.chosen.q.val();
        if self.escape_chosen.q.val() {
            self.octet.next = self.escape.val();
            if self.escaped.q.val() {
                self.octet.next = self.chosen.q.val() ^ self.mask.val();
            }
        }
        self.octet_valid.next = self.offered.val();
        self.crc.sum.next = self.sum.q.val();
        self.crc.octet.next = self.chosen.q.val();
        if self.fire.val() {
            if self.escape_chosen.q.val() & (!self.escaped.q.val()) {
                self.escaped.d.next = true;
            } else {
                self.escaped.d.next = false;
                if (self.state.q.val() == 2) | (self.state.q.val() == 3) | (self.state.q.val() == 5) {
                    self.sum.d.next = self.crc.then.val();
                }
                if self.state.q.val() == 1 {
                    self.state.d.next = 2.into();
                }
                if self.state.q.val() == 2 {
                    self.state.d.next = 3.into();
                }
                if self.state.q.val() == 3 {
                    self.octets.d.next = 3.into();
                    self.pause.d.next = 0.into();
                    self.state.d.next = 6.into();
                    if self.tlp.q.val() {
                        self.state.d.next = 4.into();
                    }
                }
                if self.state.q.val() == 5 {
                    self.octets.d.next = self.octets.q.val() - 1;
                    self.beat.d.next = self.beat.q.val() << 8;
                    if self.octets.q.val() == 0 {
                        self.send_at.d.next = self.send_at.q.val() + 1;
                        self.state.d.next = 4.into();
                        self.pause.d.next = 0.into();
                        if self.final_beat.q.val() {
                            self.send_number.d.next = self.send_number.q.val() + 1;
                            self.octets.d.next = 3.into();
                            self.state.d.next = 6.into();
                        }
                    }
                }
                if self.state.q.val() == 6 {
                    self.octets.d.next = self.octets.q.val() - 1;
                    self.sum.d.next = self.sum.q.val() >> 8;
                    if self.octets.q.val() == 0 {
                        self.state.d.next = 7.into();
                    }
                }
                if self.state.q.val() == 7 {
                    self.state.d.next = 0.into();
                }
            }
        }
        self.tlp_ready.next = !self.full.q.val();
        self.busy.next = self.within.q.val() | self.waiting.val().any();
    }
}
