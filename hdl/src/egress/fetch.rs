//! Reads the frames out of the payload ring, moves their payload, puts the new header over it.
//!
//! ```text
//!  clock t    step: ring address out, decides what becomes of the beat
//!  clock t+2  ring data in, moved                                        (stage 2)
//!  clock t+3  header over it, pushed to the sender                       (stage 3)
//! ```
//!
//! A step is made only when the sender has room for its beat, so the way from the ring to the sender never stalls.
//!
//! Whether a step is made, and whether it is a frame's last, decides over every pointer and over the job, so it is told from
//! single registers: what is to be known of a beat (`present`, `more`, `needed`, `at_last`, `last_sent`) is worked out in the step
//! before, for the case that it is made, that it is not, and that the next frame begins. For the same reason the end record
//! goes through a register (`ending`), with its judgement beside it, and beats that have arrived are seen a clock later; neither costs
//! a clock where frames wait.
//!
//! A frame that needs a beat read ahead (`prime`) has that done in the last step of the frame before it where that step reads
//! nothing of its own, so that it too takes no more steps than it has beats.

use super::meta::{Arrival, BeatMeta, FrameEnd, Header, Job, Step, TO_NOWHERE, TO_PUNT};
use super::plan::{is_wide, Plan};
use super::queue::{FallThrough, Queue};
use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::types::Decision;
use crate::wide::*;
use crate::FastBlock;
use nat64_layout::Reason;

/// See the module documentation.
#[derive(FastBlock)]
pub struct Fetch<const W: usize, const LB: usize, const RN: usize, const DN: usize, const EN: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a decision.
    pub push: Signal<In, Bit>,
    /// The decision.
    pub decision: Signal<In, Decision>,
    /// A frame has ended in the ring.
    pub end_valid: Signal<In, Bit>,
    /// Its bytes.
    pub end_bytes: Signal<In, Bits<16>>,
    /// 0 none, 1 `RxError`, 2 `Oversize`.
    pub end_fault: Signal<In, Bits<2>>,
    /// Beats written to the ring so far, modulo 2^RN.
    pub written: Signal<In, Bits<RN>>,
    /// Ring read address.
    pub ring_address: Signal<Out, Bits<RN>>,
    /// Beat of the address two clocks ago.
    pub ring_data: Signal<In, Wide<W>>,
    /// Beats given back.
    pub freed: Signal<Out, Bits<RN>>,
    /// A decision has been carried out, and its place in the queue is free.
    pub credit: Signal<Out, Bit>,
    /// The sender has taken a beat.
    pub taken: Signal<In, Bit>,
    /// There is a beat for the sender.
    pub beat_push: Signal<Out, Bit>,
    /// Its bytes.
    pub beat_data: Signal<Out, Wide<W>>,
    /// What it is.
    pub beat: Signal<Out, BeatMeta>,
    /// The last step of a frame was made; its beat comes later.
    pub frame_push: Signal<Out, Bit>,
    /// What is to be told of that frame.
    pub frame: Signal<Out, FrameEnd>,
    /// Something is queued or under way, here or at the sender.
    pub busy: Signal<Out, Bit>,

    plan: Plan<LB>,
    jobs: FallThrough<Job, DN>,
    headers: Queue<Header, DN>,
    /// What is to be told of a frame; like the header it stays here until the frame is through.
    tells: Queue<FrameEnd, DN>,
    ends: FallThrough<Arrival, EN>,
    arrival: Signal<Local, Arrival>,

    // the frame at hand
    active: Reg<Bit>,
    job: Reg<Job>,
    /// Its header, one clock behind `job`.
    header: Reg<Header>,
    started: Reg<Bit>,
    prime: Reg<Bit>,
    sent: Reg<Bits<12>>,
    index: Reg<Bits<12>>,
    /// `index` + 1.
    following: Reg<Bits<12>>,
    /// `index` + 2.
    after: Reg<Bits<12>>,
    /// The beat at `index` is in the ring.
    present: Reg<Bit>,
    /// So is the one at `following`.
    more: Reg<Bit>,
    /// The beat at `index` is needed (translate).
    needed: Reg<Bit>,
    /// The beat at `index` is the frame's last, once that is known, and it goes as it came.
    at_last: Reg<Bit>,
    /// The beat to be sent is the last (translate).
    last_sent: Reg<Bit>,
    /// And it is not to be read ahead before.
    last_out: Reg<Bit>,
    /// How the frame ended is known.
    end_known: Reg<Bit>,
    /// And it is not to be believed.
    end_bad: Reg<Bit>,
    /// How it ended.
    ending: Reg<Arrival>,
    read_at: Reg<Bits<RN>>,
    base: Reg<Bits<RN>>,
    // Beats present from the first of the frame on; may exceed the ring, since beats are given back on the way.
    have: Reg<Bits<12>>,
    seen: Reg<Bits<RN>>,
    arrived: Reg<Bits<RN>>,
    free: Reg<Bits<RN>>,
    used: Reg<Bits<4>>,

    before: Signal<Local, Bits<16>>,
    rounded: Signal<Local, Bits<16>>,
    ended: Signal<Local, Bit>,
    bad: Signal<Local, Bit>,
    has_beat: Signal<Local, Bit>,
    take_end: Signal<Local, Bit>,
    bad_here: Signal<Local, Bit>,
    bad_ahead: Signal<Local, Bit>,
    last_of: Signal<Local, Bits<12>>,
    sent_next: Signal<Local, Bits<12>>,
    first: Signal<Local, Bits<12>>,
    second: Signal<Local, Bits<12>>,
    third: Signal<Local, Bits<12>>,
    left_over: Signal<Local, Bits<12>>,
    ahead_last: Signal<Local, Bits<12>>,
    ahead_out: Signal<Local, Bits<12>>,
    last_moved: Signal<Local, Bit>,
    last_whole: Signal<Local, Bit>,
    through: Signal<Local, Bit>,
    over: Signal<Local, Bit>,
    turn: Signal<Local, Bit>,
    /// The sender has room.
    room: Reg<Bit>,
    ready: Signal<Local, Bit>,
    go: Signal<Local, Bit>,
    finish: Signal<Local, Bit>,
    load: Signal<Local, Bit>,
    spare: Signal<Local, Bit>,
    primed: Signal<Local, Bit>,
    emit: Signal<Local, Bit>,
    next_base: Signal<Local, Bits<RN>>,
    new_base: Signal<Local, Bits<RN>>,
    jump: Signal<Local, Bits<RN>>,
    grown: Signal<Local, Bits<12>>,
    beat1: Signal<Local, BeatMeta>,
    told: Signal<Local, FrameEnd>,
    ahead: Signal<Local, Job>,

    // the way from the ring
    step1: Reg<Step>,
    step2: Reg<Step>,
    step3: Reg<Step>,
    chunk2: Reg<Wide<W>>,
    chunk3: Reg<Wide<W>>,
    previous: Reg<Wide<W>>,
    data3: Reg<Wide<W>>,
    mask3: Reg<Wide<W>>,
    left: Signal<Local, Bits<12>>,
    shift1: Signal<Local, Bits<LB>>,
    back: Signal<Local, Bits<LB>>,
    left2: Reg<Bits<12>>,
    right2: Reg<Bits<12>>,
    /// The beat has bytes of the one before it.
    both2: Reg<Bit>,
    part: Signal<Local, Bits<12>>,
    rest: Signal<Local, Wide<W>>,
    ahead_at: Signal<Local, Bits<RN>>,
    header_by: Signal<Local, Bits<12>>,
    chosen: Signal<Local, Header>,

    wide: Constant<Bit>,
    lb: Constant<Bits<4>>,
    round: Constant<Bits<16>>,
    beat_log2: Constant<Bits<4>>,
    top: Constant<Bits<12>>,
    most: Constant<Bits<4>>,
    ones: Constant<Wide<W>>,
    to_punt: Constant<Bits<2>>,
    to_nowhere: Constant<Bits<2>>,
    rx_error: Constant<Bits<6>>,
    oversize: Constant<Bits<6>>,
    truncated: Constant<Bits<6>>,
    _quiet: Quiet,
}

impl<const W: usize, const LB: usize, const RN: usize, const DN: usize, const EN: usize> Default
    for Fetch<W, LB, RN, DN, EN>
{
    fn default() -> Self {
        assert_eq!(W, 8 << LB, "LB is log2 of the bytes of a beat");
        assert!(RN <= 11, "beat indexes have 12 bits, one of them the sign");
        Self {
            clock: Default::default(),
            push: Default::default(),
            decision: Default::default(),
            end_valid: Default::default(),
            end_bytes: Default::default(),
            end_fault: Default::default(),
            written: Default::default(),
            ring_address: Default::default(),
            ring_data: Default::default(),
            freed: Default::default(),
            credit: Default::default(),
            taken: Default::default(),
            beat_push: Default::default(),
            beat_data: Default::default(),
            beat: Default::default(),
            frame_push: Default::default(),
            frame: Default::default(),
            busy: Default::default(),
            plan: Default::default(),
            jobs: Default::default(),
            headers: Default::default(),
            tells: Default::default(),
            ends: Default::default(),
            arrival: Default::default(),
            active: Default::default(),
            job: Default::default(),
            header: Default::default(),
            started: Default::default(),
            prime: Default::default(),
            sent: Default::default(),
            index: Default::default(),
            read_at: Default::default(),
            base: Default::default(),
            have: Default::default(),
            seen: Default::default(),
            free: Default::default(),
            used: Default::default(),
            before: Default::default(),
            rounded: Default::default(),
            ended: Default::default(),
            bad: Default::default(),
            following: Default::default(),
            after: Default::default(),
            present: Default::default(),
            more: Default::default(),
            needed: Default::default(),
            at_last: Default::default(),
            last_sent: Default::default(),
            end_known: Default::default(),
            end_bad: Default::default(),
            ending: Default::default(),
            has_beat: Default::default(),
            take_end: Default::default(),
            bad_here: Default::default(),
            bad_ahead: Default::default(),
            last_of: Default::default(),
            sent_next: Default::default(),
            first: Default::default(),
            second: Default::default(),
            third: Default::default(),
            left_over: Default::default(),
            ahead_last: Default::default(),
            ahead_out: Default::default(),
            last_moved: Default::default(),
            last_whole: Default::default(),
            over: Default::default(),
            turn: Default::default(),
            last_out: Default::default(),
            left2: Default::default(),
            right2: Default::default(),
            both2: Default::default(),
            shift1: Default::default(),
            back: Default::default(),
            through: Default::default(),
            room: Default::default(),
            ready: Default::default(),
            go: Default::default(),
            finish: Default::default(),
            load: Default::default(),
            spare: Default::default(),
            primed: Default::default(),
            emit: Default::default(),
            next_base: Default::default(),
            new_base: Default::default(),
            jump: Default::default(),
            arrived: Default::default(),
            grown: Default::default(),
            beat1: Default::default(),
            told: Default::default(),
            ahead: Default::default(),
            step1: Default::default(),
            step2: Default::default(),
            step3: Default::default(),
            chunk2: Default::default(),
            chunk3: Default::default(),
            previous: Default::default(),
            data3: Default::default(),
            mask3: Default::default(),
            left: Default::default(),
            part: Default::default(),
            rest: Default::default(),
            ahead_at: Default::default(),
            header_by: Default::default(),
            chosen: Default::default(),
            wide: Constant::new(is_wide(LB)),
            lb: Constant::new((LB as u64).into()),
            round: Constant::new((W as u64 / 8 - 1).into()),
            beat_log2: Constant::new((LB as u64 + 3).into()),
            top: Constant::new(((crate::types::HEADER_BITS - W) as u64).into()),
            // of 15 that are counted, as one more may have been sent since
            most: Constant::new(14u64.into()),
            ones: Constant::new(!Wide::default()),
            to_punt: Constant::new(TO_PUNT.into()),
            to_nowhere: Constant::new(TO_NOWHERE.into()),
            rx_error: Constant::new((Reason::RxError as u64).into()),
            oversize: Constant::new((Reason::Oversize as u64).into()),
            truncated: Constant::new((Reason::Truncated as u64).into()),
            _quiet: Default::default(),
        }
    }
}

impl<const W: usize, const LB: usize, const RN: usize, const DN: usize, const EN: usize> Logic
    for Fetch<W, LB, RN, DN, EN>
{
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self, clock, active, job, header, started, prime, sent, index, following, read_at, base, have, seen,
            arrived, free, used
        );
        dff_setup!(
            self, clock, after, present, more, needed, at_last, last_sent, last_out, room, end_known, end_bad, ending
        );
        dff_setup!(self, clock, step1, step2, step3, left2, right2, both2, chunk2, chunk3, previous, data3, mask3);
        clock!(self, clock, jobs, headers, tells, ends);

        self.plan.decision.next = self.decision.val();
        self.jobs.push.next = self.push.val();
        self.jobs.data_in.next = self.plan.job.val();
        self.headers.push.next = self.push.val();
        self.tells.push.next = self.push.val();
        self.tells.data_in.next = self.plan.told.val();
        self.headers.data_in.next = self.plan.header.val();
        self.before.next = self.end_bytes.val() - 1;
        self.rounded.next = self.end_bytes.val() + self.round.val();
        self.arrival.next.bytes = self.end_bytes.val();
        self.arrival.next.fault = self.end_fault.val();
        self.arrival.next.last = bit_cast::<12, 16>(self.before.val() >> self.lb.val());
        self.arrival.next.beats = bit_cast::<12, 16>(self.rounded.val() >> self.lb.val());
        self.ends.push.next = self.end_valid.val();
        self.ends.data_in.next = self.arrival.val();

        // How the frame at hand ended, if it is known. A beat that is present belongs to it while that is not known: the
        // next frame's first beat shows after the end record.
        self.ended.next = self.end_known.q.val();
        self.bad.next = self.end_bad.q.val();
        self.next_base.next = self.base.q.val() + bit_cast::<RN, 12>(self.ending.q.val().beats);

        // the step
        // seen a clock late, and so a beat before there is none
        self.room.d.next = self.used.q.val() < self.most.val();
        self.has_beat.next = (!self.needed.q.val()) | self.present.q.val();
        self.last_moved.next = self.has_beat.val() & self.last_out.q.val();
        self.last_whole.next = self.job.q.val().drop | (self.present.q.val() & self.at_last.q.val());
        // `through` is `ready` of the last beat, said so that it waits for nothing else
        self.through.next = self.ended.val() & (self.last_moved.val() | self.last_whole.val());
        if self.job.q.val().translate {
            self.ready.next = self.has_beat.val() & ((!self.last_out.q.val()) | self.ended.val());
        } else if self.job.q.val().drop {
            self.ready.next = self.ended.val();
        } else {
            self.ready.next = self.present.q.val() & (self.ended.val() | self.more.q.val());
        }
        self.go.next = self.active.q.val() & (self.bad.val() | self.ready.val()) & self.room.q.val();
        self.over.next = (self.bad.val() | self.through.val()) & self.room.q.val();
        self.finish.next = self.active.q.val() & self.over.val();
        // the next frame's turn, whether there is one or not: what is known of a frame is of no account until there is one
        self.turn.next = (!self.active.q.val()) | self.over.val();
        self.emit.next = self.go.val() & (self.bad.val() | (!self.prime.q.val()));

        self.used.d.next =
            self.used.q.val() + bit_cast::<4, 1>(self.emit.val().into()) - bit_cast::<4, 1>(self.taken.val().into());

        // pointers
        self.base.d.next = self.base.q.val();
        self.new_base.next = self.base.q.val();
        if self.active.q.val() {
            self.new_base.next = self.next_base.val();
        }
        self.seen.d.next = self.written.val();
        self.arrived.d.next = self.written.val() - self.seen.q.val();
        self.grown.next = self.have.q.val() + bit_cast::<12, RN>(self.arrived.q.val());
        self.have.d.next = self.grown.val();
        if self.finish.val() {
            self.base.d.next = self.next_base.val();
            self.have.d.next = self.grown.val() - self.ending.q.val().beats;
            self.free.d.next = self.next_base.val();
        } else if self.go.val() & self.present.q.val() & (self.needed.q.val() | (!self.job.q.val().translate)) {
            self.free.d.next = self.read_at.q.val() + 1;
        }
        if self.go.val() {
            self.read_at.d.next = self.read_at.q.val() + 1;
            self.index.d.next = self.following.q.val();
            self.following.d.next = self.after.q.val();
            self.after.d.next = self.after.q.val() + 1;
            self.prime.d.next = false;
        }
        if self.emit.val() {
            self.started.d.next = true;
            self.sent.d.next = self.sent.q.val() + 1;
        }

        // the next frame
        self.load.next = self.jobs.valid.val() & self.turn.val();
        self.jobs.pop.next = self.load.val();
        // a header stays in its queue while its job is at hand, so that it can be read into its register at every clock
        self.headers.pop.next = self.finish.val();
        self.tells.pop.next = self.finish.val();
        self.header.d.next = self.headers.data.val();
        self.credit.next = self.finish.val();
        self.active.d.next = self.jobs.valid.val() | (!self.turn.val());
        self.ahead.next = self.jobs.data.val();
        self.jump.next = bit_cast::<RN, 12>(self.ahead.val().start);
        self.ahead_at.next = self.new_base.val() + self.jump.val();
        self.first.next = self.ahead.val().start;
        self.second.next = self.ahead.val().start + 1;
        self.third.next = self.ahead.val().start + 2;
        // a step without a beat of its own reads the first of the next frame, which may be there already
        self.spare.next = self.wide.val() & self.active.q.val() & self.job.q.val().translate & (!self.needed.q.val());
        // looked at with `turn` only, which beside a frame at hand means that this step is its last
        self.primed.next = self.spare.val() & self.ahead.val().prime & (self.ending.q.val().beats < self.have.q.val());
        if self.turn.val() {
            self.job.d.next = self.ahead.val();
            self.started.d.next = false;
            self.prime.d.next = self.ahead.val().prime & (!self.primed.val());
            self.sent.d.next = 0.into();
            self.index.d.next = self.first.val();
            self.following.d.next = self.second.val();
            self.after.d.next = self.third.val();
            self.read_at.d.next = self.ahead_at.val();
            if self.primed.val() {
                self.index.d.next = self.second.val();
                self.following.d.next = self.third.val();
                self.after.d.next = self.ahead.val().start + 3;
                self.read_at.d.next = self.ahead_at.val() + 1;
            }
        }

        // The end record: taken when it is known whose it is, in the clock its frame comes to hand or later.
        self.take_end.next = self.ends.valid.val() & (!self.end_known.q.val());
        if self.turn.val() {
            self.take_end.next = self.ends.valid.val() & self.jobs.valid.val();
        }
        self.ends.pop.next = self.take_end.val();
        self.bad_here.next = self.ends.data.val().fault.any() | (self.ends.data.val().bytes < self.job.q.val().need);
        self.bad_ahead.next = self.ends.data.val().fault.any() | (self.ends.data.val().bytes < self.ahead.val().need);
        self.end_known.d.next = self.take_end.val() | (self.end_known.q.val() & (!self.finish.val()));
        self.end_bad.d.next = self.end_bad.q.val() & (!self.finish.val());
        if self.take_end.val() {
            self.ending.d.next = self.ends.data.val();
            self.end_bad.d.next = self.bad_here.val();
            if self.load.val() {
                self.end_bad.d.next = self.bad_ahead.val();
            }
        }

        // what the next step has to know of its beat
        self.ahead_last.next = self.ends.data.val().last;
        self.ahead_out.next = self.ahead.val().out_last;
        self.last_of.next = self.ends.data.val().last;
        if self.end_known.q.val() {
            self.last_of.next = self.ending.q.val().last;
        }
        self.present.d.next = (!self.index.q.val().get_bit(11)) & (self.index.q.val() < self.have.q.val());
        self.more.d.next = self.following.q.val() < self.have.q.val();
        self.at_last.d.next = self.job.q.val().whole & (self.index.q.val() == self.last_of.val());
        if self.go.val() {
            self.present.d.next = (!self.following.q.val().get_bit(11)) & (self.following.q.val() < self.have.q.val());
            self.more.d.next = self.after.q.val() < self.have.q.val();
            self.at_last.d.next = self.job.q.val().whole & (self.following.q.val() == self.last_of.val());
            self.needed.d.next =
                (!self.following.q.val().get_bit(11)) & (self.following.q.val() <= self.job.q.val().need_last);
        }
        self.sent_next.next = self.sent.q.val() + 1;
        if self.emit.val() {
            self.last_sent.d.next = self.sent_next.val() == self.job.q.val().out_last;
            self.last_out.d.next = self.job.q.val().translate & (self.sent_next.val() == self.job.q.val().out_last);
        } else if self.go.val() {
            self.last_out.d.next = self.job.q.val().translate & self.last_sent.q.val();
        }
        self.left_over.next = self.have.q.val();
        if self.active.q.val() {
            self.left_over.next = self.have.q.val() - self.ending.q.val().beats;
        }
        if self.turn.val() {
            self.present.d.next = (!self.first.val().get_bit(11)) & (self.first.val() < self.left_over.val());
            self.more.d.next = self.second.val() < self.left_over.val();
            self.at_last.d.next = self.ahead.val().whole & (!self.ahead_last.val().any());
            self.needed.d.next = (!self.first.val().get_bit(11)) & (self.first.val() <= self.ahead.val().need_last);
            self.last_sent.d.next = !self.ahead_out.val().any();
            self.last_out.d.next = self.ahead.val().translate
                & (!self.ahead_out.val().any())
                & ((!self.ahead.val().prime) | self.primed.val());
            if self.primed.val() {
                self.present.d.next = self.second.val() < self.left_over.val();
                self.needed.d.next = self.second.val() <= self.ahead.val().need_last;
            }
        }

        // what is told when the frame is through
        self.told.next = self.tells.data.val();
        if self.bad.val() {
            self.told.next.tally = true;
            self.told.next.done = false;
            self.told.next.reason = self.truncated.val();
            if self.ending.q.val().fault == 1 {
                self.told.next.reason = self.rx_error.val();
            }
            if self.ending.q.val().fault == 2 {
                self.told.next.reason = self.oversize.val();
            }
        }
        self.frame.next = self.told.val();
        self.frame_push.next = self.finish.val();

        self.beat1.next.to = bit_cast::<2, 1>(self.job.q.val().port.into());
        if self.job.q.val().punt {
            self.beat1.next.to = self.to_punt.val();
        }
        if self.job.q.val().drop | (self.bad.val() & (!self.started.q.val())) {
            self.beat1.next.to = self.to_nowhere.val();
        }
        self.beat1.next.first = !self.started.q.val();
        self.beat1.next.last = self.finish.val();
        self.beat1.next.error = self.bad.val();
        self.beat1.next.count = bit_cast::<6, LB>(bit_cast::<LB, 16>(self.ending.q.val().bytes));
        if self.job.q.val().translate {
            self.beat1.next.count = self.job.q.val().out_count;
        }
        if !self.finish.val() {
            self.beat1.next.count = 0.into();
        }
        self.step1.d.next.read = self.go.val();
        self.step1.d.next.send = self.emit.val();
        if self.go.val() {
            self.step1.d.next.full = self.job.q.val().translate & (self.sent.q.val() < self.job.q.val().full);
            self.step1.d.next.mixed = self.job.q.val().translate & (self.sent.q.val() == self.job.q.val().full);
            self.step1.d.next.alone = self.job.q.val().alone;
            self.step1.d.next.part = self.job.q.val().part;
            self.step1.d.next.shift = self.job.q.val().shift;
            self.step1.d.next.beat = self.beat1.val();
            self.step1.d.next.chunk = bit_cast::<4, 12>(self.sent.q.val());
        }
        self.ring_address.next = self.read_at.q.val();
        if self.spare.val() {
            self.ring_address.next = self.ahead_at.val();
        }

        // stage 2
        self.step2.d.next = self.step1.q.val();
        self.header_by.next = bit_cast::<12, 4>(self.step1.q.val().chunk) << self.beat_log2.val();
        self.chosen.next = self.header.q.val() << self.header_by.val();
        self.chunk2.d.next = self.chosen.val().get_bits::<W>(self.top.val().index());
        // how far, told a clock ahead, and modulo a beat, since a shifter is as deep as its amount has bits
        self.shift1.next = bit_cast::<LB, 6>(self.step1.q.val().shift);
        self.left.next = bit_cast::<12, LB>(self.shift1.val()) << 3;
        self.back.next = 0.into();
        self.back.next = self.back.val() - self.shift1.val();
        self.left2.d.next = self.left.val();
        self.right2.d.next = bit_cast::<12, LB>(self.back.val()) << 3;
        self.both2.d.next = self.shift1.val().any() & (!self.step1.q.val().alone);
        self.part.next = bit_cast::<12, 6>(self.step2.q.val().part) << 3;
        self.rest.next = self.ones.val() >> self.part.val();
        self.step3.d.next = self.step2.q.val();
        if self.step2.q.val().read {
            self.previous.d.next = self.ring_data.val();
            self.data3.d.next = self.ring_data.val() >> self.right2.q.val();
            if self.both2.q.val() {
                self.data3.d.next =
                    (self.previous.q.val() << self.left2.q.val()) | (self.ring_data.val() >> self.right2.q.val());
            }
            if self.step2.q.val().alone {
                self.data3.d.next = self.ring_data.val() << self.left2.q.val();
            }
            self.mask3.d.next = self.rest.val();
            self.chunk3.d.next = self.chunk2.q.val();
        }

        // stage 3
        self.beat_data.next = self.data3.q.val();
        if self.step3.q.val().mixed {
            self.beat_data.next =
                (self.data3.q.val() & self.mask3.q.val()) | (self.chunk3.q.val() & (!self.mask3.q.val()));
        }
        if self.step3.q.val().full {
            self.beat_data.next = self.chunk3.q.val();
        }
        self.beat.next = self.step3.q.val().beat;
        self.beat_push.next = self.step3.q.val().send;

        self.freed.next = self.free.q.val();
        self.busy.next = self.push.val() | self.jobs.valid.val() | self.active.q.val() | self.used.q.val().any();
    }
}
