//! Access: performs the requests of the host on registers, tables and windows, and makes their completions.
//!
//! ```text
//!  writes --> | access | --> csr_write csr_bar2 csr_addr csr_wdata    (core)
//!  reads  --> |        | --> csr_read csr_raddr <- csr_done csr_rdata (core)
//!             |        | --> table, moderation writes; reads of both  (Msix)
//!             |        | --> state_word state_write <- state_data     (State)
//!             |        | --> completions: buffer of 256 DWs --> dw_valid dw_ready dw dw_last after
//! ```
//!
//! One request at a time. Writes go first: they wait for nothing but a read in progress, so they get on whatever the link does
//! with completions. A read is done in chunks, one completion each, and writes that came later may be done between them; a
//! read never starts before the writes that came before it.
//!
//! * A whole DW is written in one clock. A DW of BAR0 with some byte enables is read, changed and written (registers that
//!   read as 0 take 0 in the other bytes); in BAR2, which cannot be read, it is dropped and counted unsupported. A DW
//!   without byte enables is not written.
//! * BAR2 reads as 0. Reads of several registers are not one moment: each DW is read when its turn comes.
//! * A completion ends at a multiple of the smaller of Max_Payload_Size and 512 bytes, which is a multiple of the read
//!   completion boundary of an endpoint (128 bytes), or with the request. A read of length zero (one DW without byte enables)
//!   gets a completion of one DW of zeros and touches nothing, after all writes before it: a flush.
//! * A register that does not answer within 1,024 clocks gives a completion with Completer Abort; it ends the request.
//! * During a reset writes are dropped and reads are unsupported.
//!
//! What is done with a DW is told by registers that were loaded with the DW before it or while the block was idle, and a request
//! leaves its queue a clock after it is done: each clock looks at what it has, not at what it will be. A read of a DW that is not
//! the core's takes as long as one of the layer's registers.
//!
//! Latency: `layer::WRITE_CLOCKS` and `layer::READ_CLOCKS`.

use super::ahead::Ahead;
use super::area::Area;
use super::state::READ;
use super::types::{ReadRequest, TableWrite, WriteRequest};
use crate::egress::queue::Queue;
use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::wide::{bit_cast_wide, bits_narrow, bits_wide, Wide};
use crate::FastBlock;

/// See the module documentation.
#[derive(FastBlock)]
pub struct Access {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Completer ID: bus, device, function.
    pub id: Signal<In, Bits<16>>,
    /// Max_Payload_Size: 128 bytes shifted left by this.
    pub max_payload: Signal<In, Bits<3>>,
    /// A reset is under way: nothing is touched.
    pub refuse: Signal<In, Bit>,
    /// Posted writes accepted so far, modulo 256.
    pub posted: Signal<In, Bits<8>>,
    /// There is a write.
    pub write_valid: Signal<In, Bit>,
    /// The oldest write.
    pub write: Signal<In, WriteRequest>,
    /// It is done.
    pub write_pop: Signal<Out, Bit>,
    /// The next DW of its payload.
    pub payload: Signal<In, Bits<32>>,
    /// It is taken.
    pub payload_pop: Signal<Out, Bit>,
    /// There is a read.
    pub read_valid: Signal<In, Bit>,
    /// The oldest read.
    pub read: Signal<In, ReadRequest>,
    /// It is done.
    pub read_pop: Signal<Out, Bit>,
    /// A register or window write.
    pub csr_write: Signal<Out, Bit>,
    /// It goes to BAR2 (else BAR0).
    pub csr_bar2: Signal<Out, Bit>,
    /// Byte address in the BAR.
    pub csr_addr: Signal<Out, Bits<24>>,
    /// Word to write.
    pub csr_wdata: Signal<Out, Bits<32>>,
    /// A read of BAR0.
    pub csr_read: Signal<Out, Bit>,
    /// Its byte address.
    pub csr_raddr: Signal<Out, Bits<16>>,
    /// The word that was read is on `csr_rdata`.
    pub csr_done: Signal<In, Bit>,
    /// That word; it stands until the next.
    pub csr_rdata: Signal<In, Bits<32>>,
    /// A word of the MSI-X table is written.
    pub entry: Signal<Out, TableWrite>,
    /// A moderation time is written.
    pub moderate: Signal<Out, TableWrite>,
    /// Vector of either.
    pub vector: Signal<Out, Bit>,
    /// MSI-X table word to read.
    pub table_word: Signal<Out, Bits<3>>,
    /// That word.
    pub table_data: Signal<In, Bits<32>>,
    /// Moderation time of the vector in `table_word`.
    pub moderation: Signal<In, Bits<16>>,
    /// Pending bit array.
    pub pending: Signal<In, Bits<2>>,
    /// Word of the transaction layer's own registers.
    pub state_word: Signal<Out, Bits<6>>,
    /// It is written.
    pub state_write: Signal<Out, Bit>,
    /// What is written, 0 in bytes that are not enabled.
    pub state_wdata: Signal<Out, Bits<32>>,
    /// That word, `state::READ` clocks later.
    pub state_data: Signal<In, Bits<32>>,
    /// A DW of a completion.
    pub dw_valid: Signal<Out, Bit>,
    /// It is taken.
    pub dw_ready: Signal<In, Bit>,
    /// The DW.
    pub dw: Signal<Out, Bits<32>>,
    /// Last of the TLP.
    pub dw_last: Signal<Out, Bit>,
    /// Posted writes the completion comes after.
    pub after: Signal<Out, Bits<8>>,
    /// Nothing is being done to the core.
    pub quiet: Signal<Out, Bit>,
    /// A completion waits or is made.
    pub busy: Signal<Out, Bit>,
    /// A write with some byte enables to BAR2 was dropped.
    pub count_unsupported: Signal<Out, Bit>,
    /// A Completer Abort was answered.
    pub count_aborted: Signal<Out, Bit>,
    /// A write was dropped because of a reset.
    pub count_dropped: Signal<Out, Bit>,
    /// Bit 0 not idle, and with it one of: 1 write DWs, 2 read for a partial write, 3 header of a completion, 4 ask for a word, 5 wait
    /// for it, 6 put it into the completion. Bit 7 with the header: an error completion.
    state: Reg<Bits<8>>,
    write_offset: Reg<Bits<24>>,
    /// Where `write_offset` lies: bit 0 in the MSI-X table, 1 in its pending bits, 2 in the layer's registers, 3 in the moderation times.
    write_area: Reg<Bits<4>>,
    read_area: Reg<Bits<4>>,
    write_left: Reg<Bits<11>>,
    /// Byte enables of the DW to write.
    enables: Reg<Bits<4>>,
    /// They are all set, and one is.
    every: Reg<Bit>,
    some: Reg<Bit>,
    new_enables: Signal<Local, Bits<4>>,
    /// It is the last one.
    last_dw: Reg<Bit>,
    /// The write leaves the queue: what the queue shows is still that one.
    write_done: Reg<Bit>,
    /// The read leaves the queue.
    read_done: Reg<Bit>,
    /// The oldest read may begin as far as writes go.
    due: Reg<Bit>,
    /// Room for a completion, a clock ago.
    room: Reg<Bit>,
    /// Bytes the oldest read leaves out in front, and in all; it is of length zero.
    skip: Reg<Bits<2>>,
    cut: Reg<Bits<13>>,
    empty_read: Reg<Bit>,
    /// DWs of the next completion.
    size: Reg<Bits<8>>,
    /// The word at hand is the last of its completion, of its read.
    chunk_end: Reg<Bit>,
    read_end: Reg<Bit>,
    done_writes: Reg<Bits<8>>,
    reading: Reg<Bit>,
    read_offset: Reg<Bits<24>>,
    read_left: Reg<Bits<11>>,
    bytes: Reg<Bits<13>>,
    low: Reg<Bits<7>>,
    head_at: Reg<Bits<2>>,
    chunk: Reg<Bits<8>>,
    chunk_left: Reg<Bits<8>>,
    chunk_at: Reg<Bits<8>>,
    abort: Reg<Bit>,
    waited: Reg<Bits<11>>,
    memory: Ahead<Wide<33>, 8>,
    marks: Queue<Bits<8>, 4>,
    push_at: Reg<Bits<8>>,
    /// Words before this one belong to completions that are whole.
    whole_at: Reg<Bits<8>>,
    whole: Reg<Bits<4>>,
    w: Signal<Local, WriteRequest>,
    r: Signal<Local, ReadRequest>,
    here: Signal<Local, Bits<24>>,
    after_write: Signal<Local, Bits<24>>,
    after_read: Signal<Local, Bits<24>>,
    /// Areas of a new write, of the next DW of a write, of a new read, and of its next DW.
    areas: [Area; 4],
    mask: Signal<Local, Bits<32>>,
    value: Signal<Local, Bits<32>>,
    /// A DW may be written, and lies in BAR2 or belongs to the core.
    act: Signal<Local, Bit>,
    plain: Signal<Local, Bit>,
    /// The word to read is not the core's.
    apart: Signal<Local, Bit>,
    level: Signal<Local, Bits<8>>,
    behind: Signal<Local, Bits<8>>,
    next_dw: Signal<Local, Bit>,
    skipped: Signal<Local, Bits<2>>,
    trail: Signal<Local, Bits<13>>,
    all_bytes: Signal<Local, Bits<13>>,
    end_be: Signal<Local, Bits<4>>,
    limit: Signal<Local, Bits<11>>,
    within: Signal<Local, Bits<11>>,
    to_edge: Signal<Local, Bits<11>>,
    common: Signal<Local, Bits<32>>,
    odd_bytes: Signal<Local, Bits<13>>,
    chunk_bytes: Signal<Local, Bits<13>>,
    answer: Signal<Local, Bits<32>>,
    asked: Signal<Local, Bit>,
    merged: Signal<Local, Bit>,
    push: Signal<Local, Bit>,
    push_last: Signal<Local, Bit>,
    push_dw: Signal<Local, Bits<32>>,
    pop: Signal<Local, Bit>,
    out: Signal<Local, Wide<33>>,
    word_in: Signal<Local, Wide<33>>,
    _quiet: Quiet,
}

impl Default for Access {
    fn default() -> Self {
        const { assert!(READ == 6, "the clock of asking, five of waiting, and the word is there") };
        Self {
            clock: Default::default(),
            id: Default::default(),
            max_payload: Default::default(),
            refuse: Default::default(),
            posted: Default::default(),
            write_valid: Default::default(),
            write: Default::default(),
            write_pop: Default::default(),
            payload: Default::default(),
            payload_pop: Default::default(),
            read_valid: Default::default(),
            read: Default::default(),
            read_pop: Default::default(),
            csr_write: Default::default(),
            csr_bar2: Default::default(),
            csr_addr: Default::default(),
            csr_wdata: Default::default(),
            csr_read: Default::default(),
            csr_raddr: Default::default(),
            csr_done: Default::default(),
            csr_rdata: Default::default(),
            entry: Default::default(),
            moderate: Default::default(),
            vector: Default::default(),
            table_word: Default::default(),
            table_data: Default::default(),
            moderation: Default::default(),
            pending: Default::default(),
            state_word: Default::default(),
            state_write: Default::default(),
            state_wdata: Default::default(),
            state_data: Default::default(),
            dw_valid: Default::default(),
            dw_ready: Default::default(),
            dw: Default::default(),
            dw_last: Default::default(),
            after: Default::default(),
            quiet: Default::default(),
            busy: Default::default(),
            count_unsupported: Default::default(),
            count_aborted: Default::default(),
            count_dropped: Default::default(),
            state: Default::default(),
            write_offset: Default::default(),
            write_area: Default::default(),
            read_area: Default::default(),
            write_left: Default::default(),
            write_done: Default::default(),
            read_done: Default::default(),
            due: Default::default(),
            chunk_end: Default::default(),
            cut: Default::default(),
            read_end: Default::default(),
            act: Default::default(),
            plain: Default::default(),
            apart: Default::default(),
            merged: Default::default(),
            done_writes: Default::default(),
            reading: Default::default(),
            read_offset: Default::default(),
            read_left: Default::default(),
            bytes: Default::default(),
            low: Default::default(),
            head_at: Default::default(),
            chunk: Default::default(),
            chunk_left: Default::default(),
            chunk_at: Default::default(),
            abort: Default::default(),
            waited: Default::default(),
            memory: Default::default(),
            marks: Default::default(),
            push_at: Default::default(),
            whole_at: Default::default(),
            whole: Default::default(),
            w: Default::default(),
            r: Default::default(),
            here: Default::default(),
            after_write: Default::default(),
            after_read: Default::default(),
            areas: Default::default(),
            enables: Default::default(),
            every: Default::default(),
            some: Default::default(),
            new_enables: Default::default(),
            mask: Default::default(),
            value: Default::default(),
            level: Default::default(),
            room: Default::default(),
            behind: Default::default(),
            last_dw: Default::default(),
            next_dw: Default::default(),
            skip: Default::default(),
            skipped: Default::default(),
            trail: Default::default(),
            all_bytes: Default::default(),
            end_be: Default::default(),
            empty_read: Default::default(),
            limit: Default::default(),
            within: Default::default(),
            to_edge: Default::default(),
            size: Default::default(),
            common: Default::default(),
            odd_bytes: Default::default(),
            chunk_bytes: Default::default(),
            answer: Default::default(),
            asked: Default::default(),
            push: Default::default(),
            push_last: Default::default(),
            push_dw: Default::default(),
            pop: Default::default(),
            out: Default::default(),
            word_in: Default::default(),
            _quiet: Default::default(),
        }
    }
}

impl Logic for Access {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            state,
            write_offset,
            write_area,
            read_area,
            write_left,
            enables,
            every,
            some,
            last_dw,
            done_writes,
            reading,
            read_offset,
            read_left
        );
        dff_setup!(
            self, clock, bytes, low, head_at, chunk, chunk_left, chunk_at, abort, waited, push_at, whole_at, whole
        );
        dff_setup!(self, clock, write_done, read_done, due, room, skip, cut, empty_read, size, chunk_end, read_end);
        clock!(self, clock, memory, marks);
        self.w.next = self.write.val();
        self.r.next = self.read.val();
        self.write_pop.next = self.write_done.q.val();
        self.write_done.d.next = false;
        self.payload_pop.next = false;
        self.read_pop.next = self.read_done.q.val();
        self.read_done.d.next = false;
        self.count_unsupported.next = false;
        self.count_aborted.next = false;
        self.count_dropped.next = false;
        self.push.next = false;
        self.push_last.next = false;
        self.push_dw.next = 0.into();

        // the word at hand
        self.here.next = self.read_offset.q.val();
        if self.state.q.val().get_bit(1) | self.state.q.val().get_bit(2) {
            self.here.next = self.write_offset.q.val();
        }
        // told a clock ahead, because all that is done with a DW depends on it
        self.after_write.next = self.write_offset.q.val() + 4;
        self.after_read.next = self.read_offset.q.val() + 4;
        self.areas[0].offset.next = self.w.val().offset;
        self.areas[1].offset.next = self.after_write.val();
        self.areas[2].offset.next = self.r.val().offset;
        self.areas[3].offset.next = self.after_read.val();

        // the word to write, byte 0 least significant
        self.value.next = (self.payload.val() >> 24)
            | ((self.payload.val() >> 8) & 0xff00)
            | ((self.payload.val() << 8) & 0xff0000)
            | (self.payload.val() << 24);
        self.mask.next = 0.into();
        if self.enables.q.val().get_bit(0) {
            self.mask.next = self.mask.val() | 0xff;
        }
        if self.enables.q.val().get_bit(1) {
            self.mask.next = self.mask.val() | 0xff00;
        }
        if self.enables.q.val().get_bit(2) {
            self.mask.next = self.mask.val() | 0xff0000;
        }
        if self.enables.q.val().get_bit(3) {
            self.mask.next = self.mask.val() | (bits::<32>(0xff) << 24);
        }
        self.csr_bar2.next = self.w.val().bar2;
        self.csr_addr.next = self.write_offset.q.val();
        self.csr_wdata.next = self.value.val();
        if self.state.q.val().get_bit(2) {
            self.csr_wdata.next = (self.value.val() & self.mask.val()) | (self.csr_rdata.val() & (!self.mask.val()));
        }
        self.asked.next = false;
        self.csr_raddr.next = bit_cast::<16, 24>(self.here.val());
        self.entry.next.word = self.write_offset.q.val().get_bits::<2>(2);
        self.entry.next.data = self.value.val();
        self.entry.next.mask = self.mask.val();
        self.moderate.next.word = 0.into();
        self.moderate.next.data = self.value.val();
        self.moderate.next.mask = self.mask.val();
        // table entries are 16 bytes apart, moderation times 4
        self.vector.next = self.write_offset.q.val().get_bit(4);
        if self.write_area.q.val().get_bit(3) {
            self.vector.next = self.write_offset.q.val().get_bit(2);
        }
        self.table_word.next = self.read_offset.q.val().get_bits::<3>(2);
        if self.read_area.q.val().get_bit(3) {
            self.table_word.next = bit_cast::<3, 1>(self.read_offset.q.val().get_bits::<1>(2)) << 2;
        }
        self.state_word.next = self.here.val().get_bits::<6>(2);
        self.state_wdata.next = self.value.val() & self.mask.val();

        // byte count and lower address of a new read
        self.skipped.next = 0.into();
        if self.r.val().first_be == 8 {
            self.skipped.next = 3.into();
        } else if (self.r.val().first_be & 7) == 4 {
            self.skipped.next = 2.into();
        } else if (self.r.val().first_be & 3) == 2 {
            self.skipped.next = 1.into();
        }
        self.end_be.next = self.r.val().last_be;
        if self.r.val().length == 1 {
            self.end_be.next = self.r.val().first_be;
        }
        self.trail.next = 0.into();
        if (self.end_be.val() >> 1) == 0 {
            // one byte; a read of length zero counts one too
            self.trail.next = 3.into();
        } else if (self.end_be.val() >> 2) == 0 {
            self.trail.next = 2.into();
        } else if (self.end_be.val() >> 3) == 0 {
            self.trail.next = 1.into();
        }
        self.all_bytes.next = bit_cast::<13, 11>(self.r.val().length) << 2;
        self.skip.d.next = self.skipped.val();
        self.cut.d.next = bit_cast::<13, 2>(self.skipped.val()) + self.trail.val();
        self.empty_read.d.next = (self.r.val().length == 1) & (self.r.val().first_be == 0);

        // the next chunk of it, to a multiple of the largest payload
        self.limit.next = 128.into();
        if self.max_payload.val() == 0 {
            self.limit.next = 32.into();
        }
        if self.max_payload.val() == 1 {
            self.limit.next = 64.into();
        }
        self.within.next = self.limit.val() - 1;
        self.within.next = bit_cast::<11, 10>(self.read_offset.q.val().get_bits::<10>(2)) & self.within.val();
        self.to_edge.next = self.limit.val() - self.within.val();
        self.size.d.next = bit_cast::<8, 11>(self.read_left.q.val());
        if self.read_left.q.val() > self.to_edge.val() {
            self.size.d.next = bit_cast::<8, 11>(self.to_edge.val());
        }
        self.common.next = (bit_cast::<32, 3>(self.r.val().class) << 20)
            | ((bit_cast::<32, 3>(self.r.val().attributes) & 3) << 12)
            | ((bit_cast::<32, 3>(self.r.val().attributes) >> 2) << 18);
        self.chunk_bytes.next = bit_cast::<13, 8>(self.chunk.q.val()) << 2;
        self.odd_bytes.next = bit_cast::<13, 7>(self.low.q.val()) & 3;

        // a clock late: of a completion that has just ended its last two DWs may be missing in the level
        self.level.next = self.push_at.q.val() - self.memory.at.val();
        self.room.d.next = (self.level.val() < 120) & (self.whole.q.val() < 12);
        self.behind.next = self.done_writes.q.val() - self.r.val().after;
        self.due.d.next = self.read_valid.val() & (!self.read_done.q.val()) & (!self.behind.val().get_bit(7));
        self.chunk_end.d.next = self.chunk_left.q.val() == 1;
        self.read_end.d.next = self.read_left.q.val() == 1;
        self.next_dw.next = false;
        self.new_enables.next = self.enables.q.val();
        self.waited.d.next = self.waited.q.val() + 1;
        if !self.reading.q.val() {
            // of the oldest read, long before it begins
            self.abort.d.next = false;
            self.read_offset.d.next = self.r.val().offset;
            self.read_area.d.next = self.areas[2].area.val();
            self.read_left.d.next = self.r.val().length;
            self.bytes.d.next = self.all_bytes.val() - self.cut.q.val();
            self.low.d.next = (bit_cast::<7, 24>(self.r.val().offset) & 0x7c) | bit_cast::<7, 2>(self.skip.q.val());
        }
        if !self.state.q.val().get_bit(0) {
            self.head_at.d.next = 0.into();
            self.chunk_at.d.next = self.push_at.q.val();
            self.waited.d.next = 0.into();
            self.write_offset.d.next = self.w.val().offset;
            self.write_area.d.next = self.areas[0].area.val();
            if self.w.val().bar2 {
                self.write_area.d.next = 0.into();
            }
            self.write_left.d.next = self.w.val().length;
            self.new_enables.next = self.w.val().first_be;
            self.last_dw.d.next = self.w.val().length == 1;
            if self.write_valid.val() & (!self.write_done.q.val()) {
                self.state.d.next = 0x03.into();
            } else if self.reading.q.val() {
                if self.room.q.val() {
                    self.state.d.next = 0x09.into();
                }
            } else if self.due.q.val() & self.room.q.val() & (!self.read_done.q.val()) {
                self.reading.d.next = true;
                self.state.d.next = 0x09.into();
                if self.r.val().unsupported | self.refuse.val() {
                    self.state.d.next = 0x89.into();
                }
            }
        }
        // writes, a DW per clock
        self.act.next = self.state.q.val().get_bit(1) & (!self.refuse.val()) & self.some.q.val();
        self.plain.next = !self.write_area.q.val().any();
        self.merged.next = self.state.q.val().get_bit(2) & self.csr_done.val();
        self.csr_write.next = (self.act.val() & self.plain.val() & self.every.q.val()) | self.merged.val();
        self.count_unsupported.next = self.act.val() & self.w.val().bar2 & (!self.every.q.val());
        self.entry.next.valid = self.act.val() & self.write_area.q.val().get_bit(0);
        self.moderate.next.valid = self.act.val() & self.write_area.q.val().get_bit(3);
        self.state_write.next =
            self.act.val() & self.write_area.q.val().get_bit(2) & (!self.write_area.q.val().get_bit(3));
        if self.state.q.val().get_bit(1) {
            self.waited.d.next = 0.into();
            self.next_dw.next = true;
            self.count_dropped.next = self.refuse.val() & self.last_dw.q.val();
            if self.act.val() & self.plain.val() & (!self.w.val().bar2) & (!self.every.q.val()) {
                self.asked.next = true;
                self.next_dw.next = false;
                self.state.d.next = 0x05.into();
            }
        }
        if self.state.q.val().get_bit(2) {
            self.next_dw.next = self.csr_done.val() | self.waited.q.val().get_bit(10);
            self.count_aborted.next = self.waited.q.val().get_bit(10) & (!self.csr_done.val());
        }
        if self.next_dw.val() {
            self.state.d.next = 0x03.into();
            self.payload_pop.next = true;
            self.write_offset.d.next = self.after_write.val();
            self.write_area.d.next = self.areas[1].area.val();
            if self.w.val().bar2 {
                self.write_area.d.next = 0.into();
            }
            self.write_left.d.next = self.write_left.q.val() - 1;
            self.new_enables.next = 15.into();
            self.last_dw.d.next = false;
            if self.write_left.q.val() == 2 {
                self.new_enables.next = self.w.val().last_be;
                self.last_dw.d.next = true;
            }
            if self.last_dw.q.val() {
                self.write_done.d.next = true;
                self.done_writes.d.next = self.done_writes.q.val() + 1;
                self.state.d.next = 0.into();
            }
        }
        self.enables.d.next = self.new_enables.val();
        self.every.d.next = self.new_enables.val().all();
        self.some.d.next = self.new_enables.val().any();
        // the header of a completion
        if self.state.q.val().get_bit(3) {
            self.waited.d.next = 0.into();
            self.push.next = true;
            self.head_at.d.next = self.head_at.q.val() + 1;
            self.push_dw.next = self.common.val() | bit_cast::<32, 8>(self.size.q.val()) | 0x4a000000;
            if self.state.q.val().get_bit(7) {
                self.push_dw.next = self.common.val() | 0x0a000000;
                if self.r.val().locked {
                    self.push_dw.next = self.common.val() | 0x0b000000;
                }
            }
            if self.head_at.q.val() == 1 {
                self.push_dw.next =
                    (bit_cast::<32, 16>(self.id.val()) << 16) | (bit_cast::<32, 13>(self.bytes.q.val()) & 0xfff);
                if self.state.q.val().get_bit(7) {
                    // Unsupported Request is status 1, Completer Abort 4
                    self.push_dw.next = (bit_cast::<32, 16>(self.id.val()) << 16)
                        | (bit_cast::<32, 13>(self.bytes.q.val()) & 0xfff)
                        | 0x2000;
                    if self.abort.q.val() {
                        self.push_dw.next = (bit_cast::<32, 16>(self.id.val()) << 16)
                            | (bit_cast::<32, 13>(self.bytes.q.val()) & 0xfff)
                            | 0x8000;
                    }
                }
            }
            if self.head_at.q.val() == 2 {
                self.push_dw.next = (bit_cast::<32, 16>(self.r.val().requester) << 16)
                    | (bit_cast::<32, 8>(self.r.val().tag) << 8)
                    | bit_cast::<32, 7>(self.low.q.val());
                self.chunk.d.next = self.size.q.val();
                self.chunk_left.d.next = self.size.q.val();
                self.state.d.next = 0x11.into();
                if self.state.q.val().get_bit(7) {
                    self.push_last.next = true;
                    self.read_done.d.next = true;
                    self.reading.d.next = false;
                    self.count_aborted.next = self.abort.q.val();
                    self.state.d.next = 0.into();
                }
            }
        }
        // its words
        self.apart.next = self.r.val().bar2 | self.empty_read.q.val() | self.read_area.q.val().any();
        if self.state.q.val().get_bit(4) {
            self.waited.d.next = 0.into();
            self.asked.next = !self.apart.val();
            self.state.d.next = 0x21.into();
        }
        if self.state.q.val().get_bit(5) {
            if self.apart.val() {
                // a word of the state is on its way for so long
                if self.waited.q.val().get_bit(2) {
                    self.state.d.next = 0x41.into();
                }
            } else if self.csr_done.val() {
                self.state.d.next = 0x41.into();
            } else if self.waited.q.val().get_bit(10) {
                // what was made of this completion is taken back
                self.abort.d.next = true;
                self.push_at.d.next = self.chunk_at.q.val();
                self.head_at.d.next = 0.into();
                self.state.d.next = 0x89.into();
            }
        }
        self.answer.next = self.csr_rdata.val();
        if self.r.val().bar2 | self.empty_read.q.val() {
            self.answer.next = 0.into();
        } else if self.read_area.q.val().get_bit(0) {
            self.answer.next = self.table_data.val();
        } else if self.read_area.q.val().get_bit(1) {
            self.answer.next = bit_cast::<32, 2>(self.pending.val());
            if self.read_offset.q.val().get_bit(2) {
                self.answer.next = 0.into();
            }
        } else if self.read_area.q.val().get_bit(3) {
            self.answer.next = bit_cast::<32, 16>(self.moderation.val());
        } else if self.read_area.q.val().get_bit(2) {
            self.answer.next = self.state_data.val();
        }
        if self.state.q.val().get_bit(6) {
            self.push.next = true;
            self.push_dw.next = (self.answer.val() >> 24)
                | ((self.answer.val() >> 8) & 0xff00)
                | ((self.answer.val() << 8) & 0xff0000)
                | (self.answer.val() << 24);
            self.read_offset.d.next = self.after_read.val();
            self.read_area.d.next = self.areas[3].area.val();
            self.read_left.d.next = self.read_left.q.val() - 1;
            self.chunk_left.d.next = self.chunk_left.q.val() - 1;
            self.state.d.next = 0x11.into();
            if self.chunk_end.q.val() {
                self.push_last.next = true;
                self.bytes.d.next = self.bytes.q.val() - self.chunk_bytes.val() + self.odd_bytes.val();
                self.low.d.next = 0.into();
                self.state.d.next = 0.into();
                if self.read_end.q.val() {
                    self.read_done.d.next = true;
                    self.reading.d.next = false;
                }
            }
        }
        self.csr_read.next = self.asked.val();

        // completions wait here until they are whole
        self.word_in.next = bit_cast_wide::<33, 32>(bits_wide::<32>(self.push_dw.val()));
        self.memory.write.next = self.push.val();
        self.memory.write_address.next = self.push_at.q.val();
        self.memory.write_data.next = self.word_in.val().replace_bit(32, self.push_last.val());
        if self.push.val() {
            self.push_at.d.next = self.push_at.q.val() + 1;
        }
        self.marks.push.next = self.push_last.val();
        self.marks.data_in.next = self.posted.val();
        if self.push_last.val() {
            self.whole_at.d.next = self.push_at.q.val() + 1;
        }
        self.memory.limit.next = self.whole_at.q.val();
        self.out.next = self.memory.data.val();
        self.pop.next = self.memory.valid.val() & self.dw_ready.val();
        self.memory.pop.next = self.pop.val();
        self.marks.pop.next = self.pop.val() & self.out.val().get_bit(32);
        if self.push_last.val() & (!(self.pop.val() & self.out.val().get_bit(32))) {
            self.whole.d.next = self.whole.q.val() + 1;
        }
        if (self.pop.val() & self.out.val().get_bit(32)) & (!self.push_last.val()) {
            self.whole.d.next = self.whole.q.val() - 1;
        }
        self.dw_valid.next = self.memory.valid.val();
        self.dw.next = bits_narrow::<32>(self.out.val().get_bits::<32>(0));
        self.dw_last.next = self.out.val().get_bit(32);
        self.after.next = self.marks.data.val();
        self.quiet.next = !self.state.q.val().get_bit(0);
        self.busy.next = self.state.q.val().get_bit(0) | self.whole.q.val().any() | self.reading.q.val();
    }
}
