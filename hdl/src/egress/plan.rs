//! From a decision to the beats to read and to send.
//!
//! Byte o of the frame sent is, past the header, byte o + d of the frame in the ring, d = `skip` - `header_bytes` (a
//! multiple of 4, either sign). With B bytes a beat, beat j sent is made of the beats j + q - 1 and j + q of the ring,
//! q = ceil(d / B), moved by d modulo B.
//!
//! Where a header is shorter than a beat and the payload moves to the front, the first beat sent has payload of two beats of the
//! ring: the one before the first is read ahead (`prime`), unless the frame has no more than that one (`alone`).

use super::meta::{FrameEnd, Header, Job};
use crate::prelude::*;
use crate::prim::Quiet;
use crate::types::{Decision, KIND_DROP, KIND_PUNT, KIND_TRANSLATE};
use crate::FastBlock;

/// Whether a beat of 2^`lb` bytes is longer than the shortest new header, Ethernet and IPv4. Narrower ones have no `prime` and no
/// `alone`, and must not pay for them.
pub(super) const fn is_wide(lb: usize) -> bool {
    1 << lb > ETHERNET_BYTES + IPV4_BYTES
}

/// Ethernet header without a tag, in bytes.
const ETHERNET_BYTES: usize = 14;
/// IPv4 header without options, in bytes.
const IPV4_BYTES: usize = 20;

/// Combinational.
#[derive(FastBlock)]
pub struct Plan<const LB: usize> {
    /// Decision.
    pub decision: Signal<In, Decision>,
    /// What is to be done.
    pub job: Signal<Out, Job>,
    /// The new header.
    pub header: Signal<Out, Header>,
    /// What is told when it is through.
    pub told: Signal<Out, FrameEnd>,
    delta: Signal<Local, Bits<12>>,
    up: Signal<Local, Bits<12>>,
    first: Signal<Local, Bits<12>>,
    full: Signal<Local, Bits<12>>,
    shift: Signal<Local, Bits<12>>,
    before: Signal<Local, Bits<12>>,
    alone: Signal<Local, Bit>,
    need_last: Signal<Local, Bits<12>>,
    header_bytes: Signal<Local, Bits<12>>,
    out: Signal<Local, Bits<16>>,
    out_before: Signal<Local, Bits<16>>,
    taken: Signal<Local, Bits<16>>,
    delta16: Signal<Local, Bits<16>>,
    translate: Signal<Local, Bit>,
    gate: Signal<Local, Bits<12>>,
    start: Signal<Local, Bits<12>>,

    wide: Constant<Bit>,
    lb: Constant<Bits<4>>,
    round: Constant<Bits<12>>,
    below: Constant<Bits<12>>,
    fill: Constant<Bits<12>>,
    kind_drop: Constant<Bits<2>>,
    kind_translate: Constant<Bits<2>>,
    kind_punt: Constant<Bits<2>>,
    _quiet: Quiet,
}

impl<const LB: usize> Default for Plan<LB> {
    fn default() -> Self {
        let beat = 1u64 << LB;
        Self {
            decision: Default::default(),
            job: Default::default(),
            header: Default::default(),
            delta: Default::default(),
            up: Default::default(),
            first: Default::default(),
            full: Default::default(),
            shift: Default::default(),
            before: Default::default(),
            alone: Default::default(),
            need_last: Default::default(),
            header_bytes: Default::default(),
            out: Default::default(),
            out_before: Default::default(),
            taken: Default::default(),
            delta16: Default::default(),
            translate: Default::default(),
            gate: Default::default(),
            start: Default::default(),
            told: Default::default(),
            wide: Constant::new(is_wide(LB)),
            lb: Constant::new((LB as u64).into()),
            round: Constant::new((beat - 1).into()),
            // shifts are multiples of 4 bytes: the other bits cost no logic
            below: Constant::new(((beat - 1) & !3).into()),
            fill: Constant::new((0xfff & !(0xfff >> LB)).into()),
            kind_drop: Constant::new(KIND_DROP.into()),
            kind_translate: Constant::new(KIND_TRANSLATE.into()),
            kind_punt: Constant::new(KIND_PUNT.into()),
            _quiet: Default::default(),
        }
    }
}

impl<const LB: usize> Logic for Plan<LB> {
    #[hdl_gen]
    fn update(&mut self) {
        self.translate.next = self.decision.val().kind == self.kind_translate.val();
        self.header_bytes.next = bit_cast::<12, 7>(self.decision.val().header_bytes);
        self.delta.next = bit_cast::<12, 7>(self.decision.val().skip) - self.header_bytes.val();
        self.up.next = self.delta.val() + self.round.val();
        self.first.next = self.up.val() >> self.lb.val();
        if self.up.val().get_bit(11) {
            self.first.next = self.first.val() | self.fill.val();
        }
        self.full.next = self.header_bytes.val() >> self.lb.val();
        self.shift.next = self.delta.val() & self.below.val();
        self.delta16.next = bit_cast::<16, 12>(self.delta.val());
        if self.delta.val().get_bit(11) {
            self.delta16.next = self.delta16.val() | 0xf000;
        }
        self.out.next = self.decision.val().length;
        self.out_before.next = self.out.val() - 1;
        self.taken.next = self.out_before.val() + self.delta16.val();
        self.need_last.next = bit_cast::<12, 16>(self.taken.val() >> self.lb.val());
        self.before.next = 0.into();
        if self.wide.val() & (!self.delta.val().get_bit(11)) & self.shift.val().any() & (self.full.val() == 0) {
            self.before.next = 1.into();
        }
        self.alone.next = self.before.val().any() & (self.need_last.val() == 0);

        self.told.next.tally = self.decision.val().kind == self.kind_drop.val();
        self.told.next.done = self.translate.val();
        self.told.next.reason = bit_cast::<6, 8>(self.decision.val().reason);
        self.told.next.port = self.decision.val().port_in;
        self.told.next.unit = self.decision.val().unit;
        self.told.next.unit_valid = self.decision.val().unit_valid;
        self.told.next.index = self.decision.val().index;
        self.told.next.direction = self.decision.val().direction;
        self.told.next.set = self.decision.val().set;
        self.told.next.bytes = self.decision.val().ip_bytes;

        self.job.next.drop = self.decision.val().kind == self.kind_drop.val();
        self.job.next.translate = self.translate.val();
        self.job.next.whole = (!self.translate.val()) & (self.decision.val().kind != self.kind_drop.val());
        self.job.next.punt = self.decision.val().kind == self.kind_punt.val();
        self.job.next.need_last = self.need_last.val();
        self.job.next.out_last = bit_cast::<12, 16>(self.out_before.val() >> self.lb.val());
        self.job.next.out_count = bit_cast::<6, LB>(bit_cast::<LB, 16>(self.out.val()));
        self.job.next.full = self.full.val();
        self.job.next.part = bit_cast::<6, LB>(bit_cast::<LB, 12>(self.header_bytes.val()));
        self.job.next.need = self.decision.val().need;
        self.job.next.port = self.decision.val().port;
        // masked, not chosen: of a choice with a constant synthesis makes the reset of a register, and who loads it is late enough
        self.gate.next = 0.into();
        if self.translate.val() {
            self.gate.next = 0xfff.into();
        }
        self.start.next = self.first.val() - self.before.val();
        self.job.next.prime = self.translate.val() & self.before.val().any() & (!self.alone.val());
        self.job.next.alone = self.translate.val() & self.alone.val();
        self.job.next.start = self.start.val() & self.gate.val();
        self.job.next.shift = bit_cast::<6, 12>(self.shift.val() & self.gate.val());
        self.header.next = self.decision.val().header;
    }
}
