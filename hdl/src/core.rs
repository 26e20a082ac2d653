//! The core: everything between the ports, the registers and host memory.
//!
//! See ARCHITECTURE.md ("The card") for the drawing, the pins and the order of events. This file only connects blocks and
//! decides when a frame may enter: the header pipeline never stalls, so a frame is admitted only while the decision FIFO of
//! `Egress` and the payload ring have room for everything that is in flight. Undoing that loses decisions, and with them
//! frames, without a trace.
//!
//! Latency, first beat in to first beat out of a gapless frame: [`latency`] clocks, whatever its length.

use crate::prelude::*;
use nat64_layout::{Geometry, HEADER_BYTES, MAX_FRAME, MIN_FRAME};

use crate::activity::Activity;
use crate::cam::{self, SessionCam};
use crate::capture::Capture;
use crate::classify::{self, Classify};
use crate::counters::Counters;
use crate::csr::Csr;
use crate::dma::DmaMerge;
use crate::egress::Egress;
use crate::hash;
use crate::ingress::Ingress;
use crate::inject::Inject;
use crate::parse::{self, Parse};
use crate::prim::{BlockRam, Quiet, Reg};
use crate::punt::Punt;
use crate::rewrite::{self, Rewrite};
use crate::wide::Wide;
use crate::FastBlock;

/// Frames between ingress and the exit of a decision FIFO of 2^`decisions_log2`, at most: `room` is seen a few clocks late,
/// when up to four more frames may have started. Frames of one beat enter at every clock, so that the FIFO must be deeper
/// than the pipeline is long in frames of 60 bytes: 16 is enough at W = 64, 64 at W = 512.
pub const fn frames_in_flight(decisions_log2: usize) -> usize {
    (1 << decisions_log2) - 4
}
/// Beats of the payload ring kept free beside one longest frame: what is written before `used` shows it.
pub const RING_MARGIN: usize = 16;

/// The core at 64 bits: 8 Gbit/s at 125 MHz, 10 Gbit/s at 156.25 MHz; 2,048 sessions.
pub type Core64 = Core<64, 11, 3, 9, { nat64_layout::RECORD_LOG2 }, { nat64_layout::BUCKET_LOG2 }, 4, 5, 4, 1, 1>;
/// The core at 128 bits.
pub type Core128 = Core<128, 6, 4, 8, { nat64_layout::RECORD_LOG2 }, { nat64_layout::BUCKET_LOG2 }, 5, 6, 4, 2, 2>;
/// The core at 512 bits.
pub type Core512 = Core<512, 2, 6, 7, { nat64_layout::RECORD_LOG2 }, { nat64_layout::BUCKET_LOG2 }, 6, 7, 5, 7, 6>;

/// Clocks from the first beat in at a port to the first beat out, for a core with `header_beats` beats of header window.
pub const fn latency(header_beats: usize) -> usize {
    EDGES + header_beats + parse::LATENCY + classify::LATENCY + cam::LATENCY + rewrite::LATENCY
}

/// The clocks of ingress, capture and egress in [`latency`].
const EDGES: usize = 9;

/// See the module documentation.
///
/// `W` bits of bus; `HB`, `LB`, `RN`: those of [`Capture`]; `RECORD_LOG2`, `BUCKET_LOG2`: the table; `DN`, `EN`: decisions and end
/// records that wait, log2; `RING`, `WORDS`, `FINAL`: places and round units of a lookup, by the distance of headers on this
/// bus ([`hash`]).
#[derive(FastBlock)]
pub struct Core<
    const W: usize,
    const HB: usize,
    const LB: usize,
    const RN: usize,
    const RECORD_LOG2: usize,
    const BUCKET_LOG2: usize,
    const DN: usize,
    const EN: usize,
    const RING: usize,
    const WORDS: usize,
    const FINAL: usize,
> {
    /// The one clock.
    pub clock: Signal<In, Clock>,
    /// Card time, ns.
    pub time_ns: Signal<In, Wide<64>>,
    /// Port 0 offers a beat.
    pub rx0_valid: Signal<In, Bit>,
    /// Bytes, the first most significant.
    pub rx0_data: Signal<In, Wide<W>>,
    /// Valid bytes of the last beat, 0 = all.
    pub rx0_count: Signal<In, Bits<LB>>,
    /// First beat of a frame.
    pub rx0_first: Signal<In, Bit>,
    /// Last beat of a frame.
    pub rx0_last: Signal<In, Bit>,
    /// The frame is damaged; with `last`.
    pub rx0_error: Signal<In, Bit>,
    /// The beat is taken.
    pub rx0_ready: Signal<Out, Bit>,
    /// Port 1 offers a beat.
    pub rx1_valid: Signal<In, Bit>,
    /// Bytes, the first most significant.
    pub rx1_data: Signal<In, Wide<W>>,
    /// Valid bytes of the last beat, 0 = all.
    pub rx1_count: Signal<In, Bits<LB>>,
    /// First beat of a frame.
    pub rx1_first: Signal<In, Bit>,
    /// Last beat of a frame.
    pub rx1_last: Signal<In, Bit>,
    /// The frame is damaged; with `last`.
    pub rx1_error: Signal<In, Bit>,
    /// The beat is taken.
    pub rx1_ready: Signal<Out, Bit>,
    /// A beat leaves by port 0.
    pub tx0_valid: Signal<Out, Bit>,
    /// Bytes, the first most significant.
    pub tx0_data: Signal<Out, Wide<W>>,
    /// Valid bytes of the last beat, 0 = all.
    pub tx0_count: Signal<Out, Bits<LB>>,
    /// First beat of a frame.
    pub tx0_first: Signal<Out, Bit>,
    /// Last beat of a frame.
    pub tx0_last: Signal<Out, Bit>,
    /// The frame must not be taken as good; with `last`.
    pub tx0_error: Signal<Out, Bit>,
    /// The beat is taken.
    pub tx0_ready: Signal<In, Bit>,
    /// A beat leaves by port 1.
    pub tx1_valid: Signal<Out, Bit>,
    /// Bytes, the first most significant.
    pub tx1_data: Signal<Out, Wide<W>>,
    /// Valid bytes of the last beat, 0 = all.
    pub tx1_count: Signal<Out, Bits<LB>>,
    /// First beat of a frame.
    pub tx1_first: Signal<Out, Bit>,
    /// Last beat of a frame.
    pub tx1_last: Signal<Out, Bit>,
    /// The frame must not be taken as good; with `last`.
    pub tx1_error: Signal<Out, Bit>,
    /// The beat is taken.
    pub tx1_ready: Signal<In, Bit>,
    /// A register or window write.
    pub csr_write: Signal<In, Bit>,
    /// It goes to BAR2 (else BAR0).
    pub csr_bar2: Signal<In, Bit>,
    /// Byte address in the BAR.
    pub csr_addr: Signal<In, Bits<24>>,
    /// Word to write.
    pub csr_wdata: Signal<In, Bits<32>>,
    /// A read of BAR0.
    pub csr_read: Signal<In, Bit>,
    /// Its byte address.
    pub csr_raddr: Signal<In, Bits<16>>,
    /// The word that was read is on `csr_rdata`.
    pub csr_done: Signal<Out, Bit>,
    /// That word.
    pub csr_rdata: Signal<Out, Bits<32>>,
    /// A word for host memory.
    pub mw_valid: Signal<Out, Bit>,
    /// It is taken.
    pub mw_ready: Signal<In, Bit>,
    /// Its address.
    pub mw_addr: Signal<Out, Wide<64>>,
    /// The word, byte 0 least significant.
    pub mw_data: Signal<Out, Wide<64>>,
    /// First of a burst.
    pub mw_first: Signal<Out, Bit>,
    /// Last of a burst.
    pub mw_last: Signal<Out, Bit>,
    /// A read request.
    pub mr_valid: Signal<Out, Bit>,
    /// It is taken.
    pub mr_ready: Signal<In, Bit>,
    /// Its address.
    pub mr_addr: Signal<Out, Wide<64>>,
    /// Bytes.
    pub mr_len: Signal<Out, Bits<13>>,
    /// A word that was read.
    pub md_valid: Signal<In, Bit>,
    /// The word.
    pub md_data: Signal<In, Wide<64>>,
    /// Last of its request.
    pub md_last: Signal<In, Bit>,
    /// The read failed.
    pub md_error: Signal<In, Bit>,
    /// It is taken.
    pub md_ready: Signal<Out, Bit>,
    /// One-clock pulses: exception ring, inject or dump.
    pub irq: Signal<Out, Bits<2>>,
    /// Nothing is in flight.
    pub idle: Signal<Out, Bit>,
    /// Nothing is in flight behind ingress: with `Ctrl.enable` at 0 this comes true whatever arrives.
    pub drained: Signal<Out, Bit>,
    /// Sets all counters to zero; to be held for [`crate::counters::WIPE_CLOCKS`], while nothing is in flight.
    pub wipe: Signal<In, Bit>,
    csr: Csr,
    ingress: Ingress<W, LB>,
    capture: Capture<W, HB, LB, RN>,
    ring: BlockRam<Wide<W>, RN>,
    parse: Parse,
    classify: Classify,
    cam: SessionCam<RECORD_LOG2, BUCKET_LOG2, RING, WORDS, FINAL>,
    rewrite: Rewrite,
    egress: Egress<W, LB, RN, DN, EN>,
    punt: Punt<W, LB>,
    inject: Inject<W, LB>,
    counters: Counters,
    activity: Activity<RECORD_LOG2, BUCKET_LOG2>,
    dma: DmaMerge,
    in_flight: Reg<Bits<7>>,
    room: Reg<Bit>,
    used: Reg<Bits<RN>>,
    quiet: Reg<Bit>,
    empty: Reg<Bit>,
    started: Signal<Local, Bit>,
    occupied: Signal<Local, Bits<RN>>,
    ring_limit: Constant<Bits<RN>>,
    frame_limit: Constant<Bits<7>>,
    _quiet: Quiet,
}

impl<
        const W: usize,
        const HB: usize,
        const LB: usize,
        const RN: usize,
        const RECORD_LOG2: usize,
        const BUCKET_LOG2: usize,
        const DN: usize,
        const EN: usize,
        const RING: usize,
        const WORDS: usize,
        const FINAL: usize,
    > Default for Core<W, HB, LB, RN, RECORD_LOG2, BUCKET_LOG2, DN, EN, RING, WORDS, FINAL>
{
    fn default() -> Self {
        let beats = W / 8;
        assert_eq!(1 << LB, beats, "LB is log2 of the bytes of a beat");
        assert_eq!(HB, HEADER_BYTES.div_ceil(beats), "HB is the beats of the header window");
        let longest = MAX_FRAME.div_ceil(beats);
        assert!(
            1usize << RN >= 2 * longest + RING_MARGIN,
            "the payload ring holds two frames"
        );
        assert!(DN <= 6, "frames in flight are counted in seven bits");
        assert!(EN > DN, "end records of frames in flight, and of the one that leaves");
        assert!(
            hash::distance(WORDS, FINAL) <= MIN_FRAME.div_ceil(beats),
            "the hasher takes keys as near as ingress lets frames start"
        );
        let geometry = Geometry {
            record_log2: RECORD_LOG2,
            bucket_log2: BUCKET_LOG2,
            stash: nat64_layout::STASH,
        };
        Self {
            clock: Default::default(),
            time_ns: Default::default(),
            rx0_valid: Default::default(),
            rx0_data: Default::default(),
            rx0_count: Default::default(),
            rx0_first: Default::default(),
            rx0_last: Default::default(),
            rx0_error: Default::default(),
            rx0_ready: Default::default(),
            rx1_valid: Default::default(),
            rx1_data: Default::default(),
            rx1_count: Default::default(),
            rx1_first: Default::default(),
            rx1_last: Default::default(),
            rx1_error: Default::default(),
            rx1_ready: Default::default(),
            tx0_valid: Default::default(),
            tx0_data: Default::default(),
            tx0_count: Default::default(),
            tx0_first: Default::default(),
            tx0_last: Default::default(),
            tx0_error: Default::default(),
            tx0_ready: Default::default(),
            tx1_valid: Default::default(),
            tx1_data: Default::default(),
            tx1_count: Default::default(),
            tx1_first: Default::default(),
            tx1_last: Default::default(),
            tx1_error: Default::default(),
            tx1_ready: Default::default(),
            csr_write: Default::default(),
            csr_bar2: Default::default(),
            csr_addr: Default::default(),
            csr_wdata: Default::default(),
            csr_read: Default::default(),
            csr_raddr: Default::default(),
            csr_done: Default::default(),
            csr_rdata: Default::default(),
            mw_valid: Default::default(),
            mw_ready: Default::default(),
            mw_addr: Default::default(),
            mw_data: Default::default(),
            mw_first: Default::default(),
            mw_last: Default::default(),
            mr_valid: Default::default(),
            mr_ready: Default::default(),
            mr_addr: Default::default(),
            mr_len: Default::default(),
            md_valid: Default::default(),
            md_data: Default::default(),
            md_last: Default::default(),
            md_error: Default::default(),
            md_ready: Default::default(),
            irq: Default::default(),
            idle: Default::default(),
            drained: Default::default(),
            wipe: Default::default(),
            csr: Csr::new(geometry, beats, latency(HB)),
            ingress: Default::default(),
            capture: Default::default(),
            ring: Default::default(),
            parse: Default::default(),
            classify: Default::default(),
            cam: Default::default(),
            rewrite: Default::default(),
            egress: Default::default(),
            punt: Default::default(),
            inject: Default::default(),
            counters: Default::default(),
            activity: Default::default(),
            dma: Default::default(),
            in_flight: Default::default(),
            room: Default::default(),
            used: Default::default(),
            quiet: Default::default(),
            empty: Default::default(),
            started: Default::default(),
            occupied: Default::default(),
            ring_limit: Constant::new((((1usize << RN) - longest - RING_MARGIN) as u64).into()),
            frame_limit: Constant::new((frames_in_flight(DN) as u64).into()),
            _quiet: Default::default(),
        }
    }
}

impl<
        const W: usize,
        const HB: usize,
        const LB: usize,
        const RN: usize,
        const RECORD_LOG2: usize,
        const BUCKET_LOG2: usize,
        const DN: usize,
        const EN: usize,
        const RING: usize,
        const WORDS: usize,
        const FINAL: usize,
    > Logic for Core<W, HB, LB, RN, RECORD_LOG2, BUCKET_LOG2, DN, EN, RING, WORDS, FINAL>
{
    #[hdl_gen]
    fn update(&mut self) {
        clock!(
            self, clock, csr, ingress, capture, ring, parse, classify, cam, rewrite, egress, punt, inject, counters,
            activity, dma
        );
        dff_setup!(self, clock, in_flight, room, used, quiet, empty);
        // control
        self.csr.csr_write.next = self.csr_write.val();
        self.csr.csr_bar2.next = self.csr_bar2.val();
        self.csr.csr_addr.next = self.csr_addr.val();
        self.csr.csr_wdata.next = self.csr_wdata.val();
        self.csr.csr_read.next = self.csr_read.val();
        self.csr.csr_raddr.next = self.csr_raddr.val();
        self.csr_done.next = self.csr.csr_done.val();
        self.csr_rdata.next = self.csr.csr_rdata.val();
        self.csr.time_ns.next = self.time_ns.val();
        self.csr.exc_head.next = self.punt.head.val();
        self.csr.inj_head.next = self.inject.head.val();
        self.ingress.write.next = self.csr.write.val();
        self.classify.write.next = self.csr.write.val();
        self.cam.write.next = self.csr.write.val();
        self.rewrite.write.next = self.csr.write.val();
        self.punt.write.next = self.csr.write.val();
        self.inject.write.next = self.csr.write.val();
        self.activity.write.next = self.csr.write.val();
        self.cam.window.next = self.csr.window.val();
        // in
        self.ingress.rx0_valid.next = self.rx0_valid.val();
        self.ingress.rx0_data.next = self.rx0_data.val();
        self.ingress.rx0_count.next = self.rx0_count.val();
        self.ingress.rx0_first.next = self.rx0_first.val();
        self.ingress.rx0_last.next = self.rx0_last.val();
        self.ingress.rx0_error.next = self.rx0_error.val();
        self.rx0_ready.next = self.ingress.rx0_ready.val();
        self.ingress.rx1_valid.next = self.rx1_valid.val();
        self.ingress.rx1_data.next = self.rx1_data.val();
        self.ingress.rx1_count.next = self.rx1_count.val();
        self.ingress.rx1_first.next = self.rx1_first.val();
        self.ingress.rx1_last.next = self.rx1_last.val();
        self.ingress.rx1_error.next = self.rx1_error.val();
        self.rx1_ready.next = self.ingress.rx1_ready.val();
        self.ingress.room.next = self.room.q.val();
        self.capture.valid.next = self.ingress.valid.val();
        self.capture.data.next = self.ingress.data.val();
        self.capture.count.next = self.ingress.count.val();
        self.capture.first.next = self.ingress.first.val();
        self.capture.last.next = self.ingress.last.val();
        self.capture.port.next = self.ingress.port.val();
        self.capture.fault.next = self.ingress.fault.val();
        self.ring.write.next = self.capture.ring_write.val();
        self.ring.write_address.next = self.capture.ring_address.val();
        self.ring.write_data.next = self.capture.ring_data.val();
        self.ring.read_address.next = self.egress.ring_address.val();
        self.egress.ring_data.next = self.ring.read_data.val();
        // header pipeline
        self.parse.valid.next = self.capture.header_valid.val();
        self.parse.port.next = self.capture.header_port.val();
        self.parse.header.next = self.capture.header.val();
        self.classify.valid.next = self.parse.out_valid.val();
        self.classify.phv.next = self.parse.out_phv.val();
        self.cam.valid.next = self.classify.out_valid.val();
        self.cam.phv.next = self.classify.out_phv.val();
        self.cam.key.next = self.classify.out_key.val();
        self.rewrite.valid.next = self.cam.out_valid.val();
        self.rewrite.phv.next = self.cam.out_phv.val();
        self.rewrite.found.next = self.cam.found.val();
        self.egress.push.next = self.rewrite.out_valid.val();
        self.egress.decision.next = self.rewrite.decision.val();
        self.egress.end_valid.next = self.capture.end_valid.val();
        self.egress.end_bytes.next = self.capture.end_bytes.val();
        self.egress.end_fault.next = self.capture.end_fault.val();
        self.egress.written.next = self.capture.written.val();
        // out
        self.tx0_valid.next = self.egress.tx0_valid.val();
        self.tx0_data.next = self.egress.tx0_data.val();
        self.tx0_count.next = self.egress.tx0_count.val();
        self.tx0_first.next = self.egress.tx0_first.val();
        self.tx0_last.next = self.egress.tx0_last.val();
        self.tx0_error.next = self.egress.tx0_error.val();
        self.egress.tx0_ready.next = self.tx0_ready.val();
        self.tx1_valid.next = self.egress.tx1_valid.val();
        self.tx1_data.next = self.egress.tx1_data.val();
        self.tx1_count.next = self.egress.tx1_count.val();
        self.tx1_first.next = self.egress.tx1_first.val();
        self.tx1_last.next = self.egress.tx1_last.val();
        self.tx1_error.next = self.egress.tx1_error.val();
        self.egress.tx1_ready.next = self.tx1_ready.val();
        self.punt.punt_valid.next = self.egress.punt_valid.val();
        self.punt.punt_data.next = self.egress.punt_data.val();
        self.punt.punt_count.next = self.egress.punt_count.val();
        self.punt.punt_first.next = self.egress.punt_first.val();
        self.punt.punt_last.next = self.egress.punt_last.val();
        self.punt.punt_abort.next = self.egress.punt_abort.val();
        self.punt.punt_meta.next = self.egress.punt_meta.val();
        self.egress.inj_valid.next = self.inject.inj_valid.val();
        self.egress.inj_data.next = self.inject.inj_data.val();
        self.egress.inj_count.next = self.inject.inj_count.val();
        self.egress.inj_first.next = self.inject.inj_first.val();
        self.egress.inj_last.next = self.inject.inj_last.val();
        self.egress.inj_port.next = self.inject.inj_port.val();
        self.inject.inj_ready.next = self.egress.inj_ready.val();
        self.punt.time_ns.next = self.time_ns.val();
        // host memory
        self.dma.a_valid.next = self.punt.mw_valid.val();
        self.dma.a_addr.next = self.punt.mw_addr.val();
        self.dma.a_data.next = self.punt.mw_data.val();
        self.dma.a_first.next = self.punt.mw_first.val();
        self.dma.a_last.next = self.punt.mw_last.val();
        self.punt.mw_ready.next = self.dma.a_ready.val();
        self.dma.b_valid.next = self.inject.mw_valid.val();
        self.dma.b_addr.next = self.inject.mw_addr.val();
        self.dma.b_data.next = self.inject.mw_data.val();
        self.dma.b_first.next = self.inject.mw_first.val();
        self.dma.b_last.next = self.inject.mw_last.val();
        self.inject.mw_ready.next = self.dma.b_ready.val();
        self.dma.c_valid.next = self.activity.mw_valid.val();
        self.dma.c_addr.next = self.activity.mw_addr.val();
        self.dma.c_data.next = self.activity.mw_data.val();
        self.dma.c_first.next = self.activity.mw_first.val();
        self.dma.c_last.next = self.activity.mw_last.val();
        self.activity.mw_ready.next = self.dma.c_ready.val();
        self.mw_valid.next = self.dma.mw_valid.val();
        self.mw_addr.next = self.dma.mw_addr.val();
        self.mw_data.next = self.dma.mw_data.val();
        self.mw_first.next = self.dma.mw_first.val();
        self.mw_last.next = self.dma.mw_last.val();
        self.dma.mw_ready.next = self.mw_ready.val();
        self.mr_valid.next = self.inject.mr_valid.val();
        self.mr_addr.next = self.inject.mr_addr.val();
        self.mr_len.next = self.inject.mr_len.val();
        self.inject.mr_ready.next = self.mr_ready.val();
        self.inject.md_valid.next = self.md_valid.val();
        self.inject.md_data.next = self.md_data.val();
        self.inject.md_last.next = self.md_last.val();
        self.inject.md_error.next = self.md_error.val();
        self.md_ready.next = self.inject.md_ready.val();
        // counters and activity
        self.counters.tally0.next = self.egress.tally.val();
        self.counters.tally1.next = self.ingress.tally.val();
        self.counters.tally2.next = self.punt.tally.val();
        self.counters.tally3.next = self.inject.tally.val();
        self.counters.translated.next = self.egress.done.val();
        self.counters.in_valid.next = self.ingress.frame_valid.val();
        self.counters.in_port.next = self.ingress.frame_port.val();
        self.counters.in_bytes.next = self.ingress.frame_bytes.val();
        self.counters.out_valid0.next = self.egress.sent0_valid.val();
        self.counters.out_bytes0.next = self.egress.sent0_bytes.val();
        self.counters.out_valid1.next = self.egress.sent1_valid.val();
        self.counters.out_bytes1.next = self.egress.sent1_bytes.val();
        self.counters.read.next = self.csr.counter_read.val();
        self.counters.address.next = self.csr.counter_address.val();
        self.csr.counter_done.next = self.counters.read_done.val();
        self.csr.counter_data.next = self.counters.read_data.val();
        self.activity.time_ns.next = self.time_ns.val();
        self.activity.translated.next = self.egress.done.val();
        self.activity.commit.next = self.cam.commit.val();
        self.cam.peek.next = self.activity.peek.val();
        self.activity.peek_taken.next = self.cam.peek_taken.val();
        self.activity.peek_done.next = self.cam.peek_done.val();
        self.activity.peek_words.next = self.cam.peek_words.val();
        // admission: frames in flight are bounded by the decision FIFO, their beats by the payload ring
        self.started.next = self.ingress.valid.val() & self.ingress.first.val();
        if self.started.val() & !self.egress.credit.val() {
            self.in_flight.d.next = self.in_flight.q.val() + 1;
        }
        if !self.started.val() & self.egress.credit.val() {
            self.in_flight.d.next = self.in_flight.q.val() - 1;
        }
        self.occupied.next = self.capture.written.val() - self.egress.freed.val();
        self.used.d.next = self.occupied.val();
        self.room.d.next =
            (self.used.q.val() < self.ring_limit.val()) & (self.in_flight.q.val() < self.frame_limit.val());
        // the state of the whole
        self.irq.next = bit_cast::<2, 1>(self.punt.irq.val().into())
            | (bit_cast::<2, 1>((self.inject.irq.val() | self.activity.irq.val()).into()) << 1);
        self.empty.d.next = (self.in_flight.q.val() == 0)
            & self.capture.idle.val()
            & !self.egress.busy.val()
            & !self.punt.busy.val()
            & !self.inject.busy.val()
            & !self.activity.busy.val()
            & !self.dma.busy.val();
        self.quiet.d.next = self.ingress.idle.val();
        self.idle.next = self.quiet.q.val() & self.empty.q.val();
        self.drained.next = self.empty.q.val();
        self.counters.wipe.next = self.wipe.val();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::STACK_BYTES;
    use crate::hash::tests::hash_of;
    use crate::testkit::Bench;
    use nat64_layout::dump::DumpKind;
    use nat64_layout::hash::HashKey;
    use nat64_layout::regs::{Ctrl, DumpGo, HashKey0, HashKey1};
    use rand::{rngs::StdRng, Rng, SeedableRng};
    use std::collections::VecDeque;

    /// A frame of UDP from anywhere to anywhere, or its beginning.
    fn datagram(rng: &mut StdRng, six: bool, length: usize) -> Vec<u8> {
        let mut frame: Vec<u8> = (0..62.max(length)).map(|_| rng.random()).collect();
        if six {
            frame[12..16].copy_from_slice(&[0x86, 0xdd, 0x60, 0]);
            frame[18..22].copy_from_slice(&[0, 8, 17, 64]);
        } else {
            frame[12..16].copy_from_slice(&[0x08, 0x00, 0x45, 0]);
            frame[16..24].copy_from_slice(&[0, 46, 0, 0, 0, 0, 64, 17]);
        }
        frame.truncate(length);
        frame
    }

    /// Frames on both ports, the host writing the table in every clock and reading it back all the time: every lookup gets the hash
    /// of its key, and none comes earlier than the hasher takes it. `random`: lengths from 1 to 90 bytes, and beats that come late;
    /// else frames of 60 bytes back to back, which enter as fast as the bus takes them.
    fn lookups_under_load<
        const W: usize,
        const HB: usize,
        const LB: usize,
        const RN: usize,
        const R: usize,
        const B: usize,
        const DN: usize,
        const EN: usize,
        const RING: usize,
        const WORDS: usize,
        const FINAL: usize,
    >(
        core: Box<Core<W, HB, LB, RN, R, B, DN, EN, RING, WORDS, FINAL>>,
        random: bool,
    ) {
        let mut rng = StdRng::seed_from_u64(61);
        let mut bench = Bench::from_box(core).without_record();
        let secret = HashKey([0x0123_4567, 0x89ab_cdef]);
        let (beat, apart) = (W / 8, MIN_FRAME.div_ceil(W / 8) as u64);
        for (offset, word) in [
            (HashKey0::OFFSET, secret.0[0]),
            (HashKey1::OFFSET, secret.0[1]),
            (Ctrl::OFFSET, 1),
        ] {
            let uut = &mut bench.uut;
            (uut.csr_write.next, uut.csr_addr.next) = (true, u64::from(offset).into());
            uut.csr_wdata.next = u64::from(word).into();
            bench.tick();
        }
        let kinds = [DumpKind::Records, DumpKind::Tags];
        let mut frames: [(Vec<u8>, usize); 2] = Default::default();
        let mut offered = [false; 2];
        let (mut lookups, mut seen, mut idents, mut words) = (VecDeque::new(), Vec::new(), Vec::new(), 0);
        while idents.len() < 400 {
            assert!(bench.clocks < 400 * 40, "{} lookups only", idents.len());
            let uut = &mut bench.uut;
            let dumps = bench.clocks.is_multiple_of(32);
            uut.csr_bar2.next = !dumps;
            uut.csr_addr.next = if dumps {
                u64::from(DumpGo::OFFSET).into()
            } else {
                rng.random_range(0..0x60_0080u64 / 4).wrapping_mul(4).into()
            };
            uut.csr_wdata.next = if dumps {
                (16 | (kinds[rng.random_range(0..2)] as u64) << 17).into()
            } else {
                u64::from(rng.random::<u32>()).into()
            };
            (uut.mw_ready.next, uut.tx0_ready.next, uut.tx1_ready.next) = (true, true, true);
            for port in 0..2 {
                let (frame, at) = &mut frames[port];
                if *at >= frame.len() {
                    let length = if random { rng.random_range(1..=90) } else { MIN_FRAME };
                    (*frame, *at) = (datagram(&mut rng, port == 0 && length > 40, length), 0);
                }
                offered[port] |= !random || rng.random_ratio(2, 3);
                let end = frame.len().min(*at + beat);
                let mut bytes = frame[*at..end].to_vec();
                let (first, last) = (*at == 0, end == frame.len());
                let count = ((bytes.len() % beat) as u64).into();
                bytes.resize(beat, 0);
                let data = Wide::from_frame(&bytes);
                if port == 0 {
                    (uut.rx0_valid.next, uut.rx0_first.next, uut.rx0_last.next) = (offered[0], first, last);
                    (uut.rx0_count.next, uut.rx0_data.next) = (count, data);
                } else {
                    (uut.rx1_valid.next, uut.rx1_first.next, uut.rx1_last.next) = (offered[1], first, last);
                    (uut.rx1_count.next, uut.rx1_data.next) = (count, data);
                }
            }
            bench.settle();
            let uut = &bench.uut;
            for (port, ready) in [uut.rx0_ready.val(), uut.rx1_ready.val()].into_iter().enumerate() {
                if offered[port] && ready {
                    frames[port].1 += beat;
                    offered[port] = false;
                }
            }
            words += u64::from(uut.mw_valid.val());
            if uut.cam.valid.val() {
                lookups.push_back(hash_of(&uut.cam.key.val(), secret));
                seen.push(bench.clocks);
            }
            if uut.cam.out_valid.val() {
                let ident = lookups.pop_front().expect("a lookup began") >> 48;
                assert_eq!(
                    uut.cam.found.val().ident.index() as u64,
                    ident,
                    "lookup {}",
                    idents.len()
                );
                idents.push(ident);
            }
            bench.edge();
        }
        let gaps: Vec<u64> = seen.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let nearest = gaps.iter().copied().min().expect("lookups");
        assert_eq!(nearest, apart, "W = {W}");
        assert!(nearest >= hash::distance(WORDS, FINAL) as u64);
        if !random {
            assert!(gaps.iter().all(|&gap| gap == apart), "W = {W}: {gaps:?}");
        }
        // a lookup in every clock leaves none for reads
        assert!(words > 400 || apart == 1, "{words} words read back");
        idents.sort_unstable();
        idents.dedup();
        // what is shorter than its headers has no key of its own
        let keys = if random { 200 } else { 380 };
        assert!(idents.len() > keys, "{} keys only", idents.len());
    }

    fn on_a_large_stack(test: impl FnOnce() + Send + 'static) {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(test);
        thread.expect("a thread").join().expect("the test passes");
    }

    #[test]
    fn minimum_frames_on_both_ports_and_table_accesses_at_64() {
        on_a_large_stack(|| {
            lookups_under_load(Box::<Core64>::default(), false);
            lookups_under_load(Box::<Core64>::default(), true);
        });
    }

    #[test]
    fn minimum_frames_on_both_ports_and_table_accesses_at_128() {
        on_a_large_stack(|| {
            lookups_under_load(Box::<Core128>::default(), false);
            lookups_under_load(Box::<Core128>::default(), true);
        });
    }

    #[test]
    fn minimum_frames_on_both_ports_and_table_accesses_at_512() {
        on_a_large_stack(|| {
            lookups_under_load(Box::<Core512>::default(), false);
            lookups_under_load(Box::<Core512>::default(), true);
        });
    }

    #[test]
    #[should_panic(expected = "the test passes")]
    fn a_hasher_too_small_for_the_bus_is_refused() {
        on_a_large_stack(|| {
            let _ = Box::<Core<128, 6, 4, 8, 4, 2, 5, 6, 4, 1, 1>>::default();
        });
    }

    #[test]
    fn readme_has_the_latencies_of_the_constants() {
        let readme = include_str!("../README.md");
        let rows = [
            ("parse", parse::LATENCY),
            ("classify", classify::LATENCY),
            ("hash", hash::LATENCY),
            ("session table", cam::LATENCY),
            ("rewrite", rewrite::LATENCY),
            ("counter read", crate::counters::LATENCY),
            ("port to port, W = 64", latency(HEADER_BYTES.div_ceil(8))),
            ("port to port, W = 128", latency(HEADER_BYTES.div_ceil(16))),
            ("port to port, W = 512", latency(HEADER_BYTES.div_ceil(64))),
        ];
        for (block, clocks) in rows {
            assert!(
                readme.contains(&format!("\n| {block} | {clocks} | ")),
                "README.md: {block} takes {clocks} clocks"
            );
            assert!(clocks <= 64, "{block}");
        }
    }

    #[test]
    fn decisions_in_flight_cover_the_pipeline_in_shortest_frames() {
        for (beats, decisions_log2) in [(8, 4), (16, 5), (64, 6)] {
            // from the start of a frame to the exit of its decision from the FIFO
            let clocks = latency(HEADER_BYTES.div_ceil(beats)) - 2;
            let apart = 60usize.div_ceil(beats);
            assert!(
                frames_in_flight(decisions_log2) >= clocks.div_ceil(apart),
                "{beats} bytes"
            );
        }
    }
}
