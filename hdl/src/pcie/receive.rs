//! Receive: what a TLP from the link is, whether it is well-formed, and whose it is.
//!
//! ```text
//!  DWs --> | receive | --> writes (head, payload in a buffer of 256 DWs)   --> Access
//!          |         | --> reads  (also what wants an Unsupported Request) --> Access
//!          |         | --> completions (head, DWs, end)                    --> Fetch
//!          |         | --> malformed, poisoned, unsupported, writes, reads (one clock each, counted)
//! ```
//!
//! A memory write has no effect before its last DW was found in its place: the payload waits in the buffer and is committed
//! or forgotten. One DW per clock; latency from the last DW to the request: 6 clocks.
//!
//! | received | becomes |
//! |---|---|
//! | memory read, write of BAR0 or BAR2 | a request |
//! | memory read that hits no BAR, locked read, I/O, configuration (the link block's), AtomicOp, deferrable write | completion with Unsupported Request |
//! | memory write that hits no BAR, vendor-defined message type 0 | dropped, counted unsupported |
//! | poisoned memory write | dropped, counted poisoned |
//! | other messages (the link block acts on them) | ignored |
//! | completion | to `Fetch`; with `poisoned` |
//! | unknown format or type, TLP prefix, length that is not that of the TLP, payload over Max_Payload_Size, request across a 4 KiB boundary, byte enables that are not allowed | malformed: dropped, counted |
//!
//! # Back-pressure
//!
//! Writes and completions are always accepted in the end: the buffer empties at one DW per clock whatever the link does in
//! the other direction, and completions have their place reserved. Reads are not: `np_ok` tells the link block, at least two
//! requests early, to deliver no more non-posted requests while others may pass them. Without that a host whose own
//! completions we hold up could never be waited for.
//!
//! ECRC, when there is one (TD), is counted as part of the length and not looked at: the link block checks it.

use super::ahead::Ahead;
use super::types::{CompletionHead, ReadRequest, WriteRequest};
use crate::egress::queue::FallThrough;
use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::FastBlock;

/// See the module documentation.
#[derive(FastBlock, Default)]
pub struct Receive {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a DW.
    pub dw_valid: Signal<In, Bit>,
    /// It is taken.
    pub dw_ready: Signal<Out, Bit>,
    /// The DW.
    pub dw: Signal<In, Bits<32>>,
    /// Last of a TLP.
    pub dw_last: Signal<In, Bit>,
    /// BAR the address lies in: bit 0 BAR0, bit 1 BAR2.
    pub dw_bar: Signal<In, Bits<2>>,
    /// Max_Payload_Size: 128 bytes shifted left by this.
    pub max_payload: Signal<In, Bits<3>>,
    /// The link block may deliver non-posted requests.
    pub np_ok: Signal<Out, Bit>,
    /// There is a write.
    pub write_valid: Signal<Out, Bit>,
    /// The oldest write.
    pub write: Signal<Out, WriteRequest>,
    /// It is done: its payload was taken whole.
    pub write_pop: Signal<In, Bit>,
    /// The next DW of the oldest write's payload.
    pub payload: Signal<Out, Bits<32>>,
    /// It is taken.
    pub payload_pop: Signal<In, Bit>,
    /// There is a read.
    pub read_valid: Signal<Out, Bit>,
    /// The oldest read.
    pub read: Signal<Out, ReadRequest>,
    /// It is done.
    pub read_pop: Signal<In, Bit>,
    /// The head of a completion is there.
    pub completion: Signal<Out, Bit>,
    /// That head; stands until the end.
    pub completion_head: Signal<Out, CompletionHead>,
    /// A DW of its payload is on `completion_dw`.
    pub completion_data: Signal<Out, Bit>,
    /// The DW.
    pub completion_dw: Signal<Out, Bits<32>>,
    /// It ended, well-formed.
    pub completion_end: Signal<Out, Bit>,
    /// With the end: its payload is poisoned.
    pub completion_poisoned: Signal<Out, Bit>,
    /// A write to a BAR came.
    pub count_write: Signal<Out, Bit>,
    /// A read of a BAR came.
    pub count_read: Signal<Out, Bit>,
    /// A request came that is not supported.
    pub count_unsupported: Signal<Out, Bit>,
    /// A malformed TLP was dropped.
    pub count_malformed: Signal<Out, Bit>,
    /// Poisoned data was dropped.
    pub count_poisoned: Signal<Out, Bit>,
    /// Something is inside.
    pub busy: Signal<Out, Bit>,
    memory: Ahead<Bits<32>, 8>,
    writes: FallThrough<WriteRequest, 3>,
    reads: FallThrough<ReadRequest, 4>,
    write_at: Reg<Bits<8>>,
    committed: Reg<Bits<8>>,
    waiting_writes: Reg<Bits<4>>,
    waiting_reads: Reg<Bits<5>>,
    pushed: Reg<Bits<8>>,
    /// 0 first DW, 1 to 3 the rest of the header, 4 payload, 5 to the end of a malformed one.
    state: Reg<Bits<3>>,
    /// DWs still to come.
    left: Reg<Bits<12>>,
    /// DWs of payload still to come.
    body: Reg<Bits<11>>,
    bad: Reg<Bit>,
    four: Reg<Bit>,
    /// 0 write, 1 read, 2 unsupported with completion, 3 completion, 4 message, 5 unsupported message.
    kind: Reg<Bits<3>>,
    atomic: Reg<Bit>,
    has_data: Reg<Bit>,
    poisoned: Reg<Bit>,
    length: Reg<Bits<11>>,
    wrong: Reg<Bit>,
    head1: Reg<CompletionHead>,
    read1: Reg<ReadRequest>,
    hit: Reg<Bits<2>>,
    fmt: Signal<Local, Bits<3>>,
    typ: Signal<Local, Bits<5>>,
    raw_length: Signal<Local, Bits<10>>,
    new_length: Signal<Local, Bits<11>>,
    new_kind: Signal<Local, Bits<3>>,
    known: Signal<Local, Bit>,
    limit: Signal<Local, Bits<11>>,
    total: Signal<Local, Bits<12>>,
    take: Signal<Local, Bit>,
    room: Reg<Bit>,
    used: Signal<Local, Bits<8>>,
    store: Signal<Local, Bit>,
    short: Signal<Local, Bit>,
    is_end: Signal<Local, Bit>,
    is_address: Signal<Local, Bit>,
    page_end: Signal<Local, Bits<12>>,
    ended1: Reg<Bit>,
    fault1: Reg<Bit>,
    committed_now: Signal<Local, Bits<8>>,
    push_write: Signal<Local, Bit>,
    push_read: Signal<Local, Bit>,
    memory_kind: Signal<Local, Bit>,
    fault: Signal<Local, Bit>,
    ended: Signal<Local, Bit>,
    the_kind: Signal<Local, Bits<3>>,
    the_read: Signal<Local, ReadRequest>,
    the_write: Signal<Local, WriteRequest>,
    the_wrong: Signal<Local, Bit>,
    first_be: Signal<Local, Bits<4>>,
    last_be: Signal<Local, Bits<4>>,
    new_body: Signal<Local, Bits<11>>,
    _quiet: Quiet,
}

impl Logic for Receive {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            write_at,
            committed,
            waiting_writes,
            waiting_reads,
            pushed,
            state,
            left,
            body
        );
        dff_setup!(self, clock, ended1, fault1);
        dff_setup!(self, clock, room, bad, four, kind, atomic, has_data, poisoned, length, wrong, head1, read1, hit);
        clock!(self, clock, memory, writes, reads);

        // room for a whole TLP, looked at before its first DW, a clock late: its last DW, and that it waits, may be missing of the TLP before
        self.used.next = self.write_at.q.val() - self.memory.at.val();
        self.room.d.next =
            (self.used.val() < 120) & (self.waiting_writes.q.val() < 7) & (self.waiting_reads.q.val() < 15);
        self.dw_ready.next = self.room.q.val() | self.state.q.val().any();
        self.take.next = self.dw_valid.val() & (self.room.q.val() | self.state.q.val().any());
        self.np_ok.next = self.waiting_reads.q.val() < 8;

        // what the TLP that ended a clock ago is, and what is to stay of its payload
        self.push_write.next =
            self.ended1.q.val() & (self.kind.q.val() == 0) & (!self.poisoned.q.val()) & self.hit.q.val().any();
        self.push_read.next = self.ended1.q.val() & ((self.kind.q.val() == 1) | (self.kind.q.val() == 2));
        self.committed_now.next = self.committed.q.val();
        if self.push_write.val() {
            self.committed_now.next = self.write_at.q.val();
        }
        self.committed.d.next = self.committed_now.val();
        if self.ended1.q.val() {
            self.write_at.d.next = self.committed_now.val();
        }

        // the first DW
        self.fmt.next = self.dw.val().get_bits::<3>(29);
        self.typ.next = self.dw.val().get_bits::<5>(24);
        self.raw_length.next = self.dw.val().get_bits::<10>(0);
        self.new_length.next = bit_cast::<11, 10>(self.raw_length.val());
        if !self.raw_length.val().any() {
            self.new_length.next = 1024.into();
        }
        self.limit.next = 128.into();
        if self.max_payload.val() == 0 {
            self.limit.next = 32.into();
        }
        if self.max_payload.val() == 1 {
            self.limit.next = 64.into();
        }
        self.new_kind.next = 2.into();
        self.known.next = false;
        if self.typ.val() == 0 {
            self.known.next = true;
            self.new_kind.next = 1.into();
            if self.fmt.val().get_bit(1) {
                self.new_kind.next = 0.into();
            }
        }
        if self.typ.val() == 1 {
            self.known.next = !self.fmt.val().get_bit(1);
        }
        if (self.typ.val() == 2) | (self.typ.val() == 4) | (self.typ.val() == 5) {
            self.known.next = (!self.fmt.val().get_bit(0)) & (self.new_length.val() == 1);
        }
        if self.typ.val() == 27 {
            self.known.next = self.fmt.val().get_bit(1);
        }
        if (self.typ.val() == 12) | (self.typ.val() == 13) | (self.typ.val() == 14) {
            self.known.next = self.fmt.val().get_bit(1);
        }
        if (self.typ.val() == 10) | (self.typ.val() == 11) {
            self.known.next = !self.fmt.val().get_bit(0);
            self.new_kind.next = 3.into();
        }
        if (self.typ.val() >> 3) == 2 {
            self.known.next = self.fmt.val().get_bit(0);
            self.new_kind.next = 4.into();
        }
        if self.fmt.val().get_bit(2) {
            self.known.next = false;
        }
        self.new_body.next = 0.into();
        if self.fmt.val().get_bit(1) {
            self.new_body.next = self.new_length.val();
            if self.new_length.val() > self.limit.val() {
                self.known.next = false;
            }
        }
        self.total.next = bit_cast::<12, 11>(self.new_body.val()) + 2;
        if self.fmt.val().get_bit(0) {
            self.total.next = self.total.val() + 1;
        }
        if self.dw.val().get_bit(15) {
            self.total.next = self.total.val() + 1;
        }

        // what this DW adds
        self.is_end.next = self.left.q.val() == 1;
        self.short.next = self.dw_last.val() != self.is_end.val();
        self.memory_kind.next = (self.kind.q.val() < 3) & (!self.atomic.q.val());
        self.the_kind.next = self.kind.q.val();
        self.the_wrong.next = self.wrong.q.val();
        self.the_read.next = self.read1.q.val();
        self.first_be.next = self.dw.val().get_bits::<4>(0);
        self.last_be.next = self.dw.val().get_bits::<4>(4);
        self.is_address.next = ((self.state.q.val() == 2) & (!self.four.q.val())) | (self.state.q.val() == 3);
        self.page_end.next =
            bit_cast::<12, 10>(self.dw.val().get_bits::<10>(2)) + bit_cast::<12, 11>(self.length.q.val());
        self.completion.next = false;
        self.completion_data.next = false;
        self.store.next = false;
        self.memory.write_address.next = self.write_at.q.val();
        self.memory.write_data.next = self.dw.val();
        self.fault.next = false;
        self.ended.next = false;
        if self.take.val() {
            if self.state.q.val() == 0 {
                self.wrong.d.next = false;
                self.left.d.next = self.total.val();
                self.body.d.next = self.new_body.val();
                self.four.d.next = self.fmt.val().get_bit(0);
                self.has_data.d.next = self.fmt.val().get_bit(1);
                self.kind.d.next = self.new_kind.val();
                self.atomic.d.next = self.typ.val() > 1;
                self.poisoned.d.next = self.dw.val().get_bit(14) & self.fmt.val().get_bit(1);
                self.length.d.next = self.new_length.val();
                self.hit.d.next = self.dw_bar.val();
                self.write_at.d.next = self.committed_now.val();
                self.read1.d.next.class = self.dw.val().get_bits::<3>(20);
                self.read1.d.next.attributes = bit_cast::<3, 2>(self.dw.val().get_bits::<2>(12))
                    | (bit_cast::<3, 1>(self.dw.val().get_bits::<1>(18)) << 2);
                self.read1.d.next.locked = self.typ.val() == 1;
                self.read1.d.next.length = self.new_length.val();
                self.head1.d.next.length = self.new_body.val();
                self.head1.d.next.data = self.fmt.val().get_bit(1);
                self.state.d.next = 1.into();
                if (!self.known.val()) | self.dw_last.val() {
                    self.fault.next = true;
                }
            } else if self.state.q.val() != 5 {
                self.left.d.next = self.left.q.val() - 1;
                if self.state.q.val() == 1 {
                    self.read1.d.next.requester = self.dw.val().get_bits::<16>(16);
                    self.read1.d.next.tag = self.dw.val().get_bits::<8>(8);
                    self.read1.d.next.first_be = self.first_be.val();
                    self.read1.d.next.last_be = self.last_be.val();
                    self.head1.d.next.status = self.dw.val().get_bits::<3>(13);
                    self.head1.d.next.count = self.dw.val().get_bits::<12>(0);
                    self.state.d.next = 2.into();
                    // byte enables: none in a last DW that is the first, some in both otherwise
                    if self.memory_kind.val() {
                        if self.length.q.val() == 1 {
                            self.the_wrong.next = self.last_be.val().any();
                        } else {
                            self.the_wrong.next = (!self.last_be.val().any()) | (!self.first_be.val().any());
                        }
                    }
                    if (self.kind.q.val() == 4) & (self.dw.val().get_bits::<8>(0) == 0x7e) {
                        self.the_kind.next = 5.into();
                    }
                }
                if self.state.q.val() == 2 {
                    self.head1.d.next.requester = self.dw.val().get_bits::<16>(16);
                    self.head1.d.next.tag = self.dw.val().get_bits::<8>(8);
                    self.state.d.next = 3.into();
                    if !self.four.q.val() {
                        self.state.d.next = 4.into();
                    }
                }
                if self.state.q.val() == 3 {
                    self.state.d.next = 4.into();
                }
                if self.is_address.val() {
                    self.the_read.next.offset = bit_cast::<24, 22>(self.dw.val().get_bits::<22>(2)) << 2;
                    self.the_read.next.bar2 = self.hit.q.val().get_bit(1);
                    if self.memory_kind.val() & (self.page_end.val() > 1024) {
                        self.the_wrong.next = true;
                    }
                    if (self.kind.q.val() == 1) & (!self.hit.q.val().any()) {
                        self.the_kind.next = 2.into();
                    }
                }
                if (self.state.q.val() == 4) & self.body.q.val().any() {
                    self.body.d.next = self.body.q.val() - 1;
                    if self.kind.q.val() == 0 {
                        self.store.next = true;
                        self.write_at.d.next = self.write_at.q.val() + 1;
                    }
                    self.completion_data.next = self.kind.q.val() == 3;
                }
                self.completion.next = (self.kind.q.val() == 3) & self.is_address.val();
                self.wrong.d.next = self.the_wrong.val();
                self.kind.d.next = self.the_kind.val();
                if self.state.q.val() != 1 {
                    self.read1.d.next = self.the_read.val();
                }
                self.fault.next = self.short.val() | (self.is_end.val() & self.the_wrong.val());
                self.ended.next = self.is_end.val() & (!self.fault.val());
                if self.is_end.val() {
                    self.state.d.next = 0.into();
                }
            } else if self.dw_last.val() {
                self.state.d.next = 0.into();
            }
            if self.fault.val() {
                self.state.d.next = 5.into();
                self.write_at.d.next = self.committed_now.val();
                if self.dw_last.val() {
                    self.state.d.next = 0.into();
                }
            }
        }

        self.memory.write.next = self.store.val();

        // a well-formed one ended a clock ago, of which the registers still tell: the next one has changed nothing yet
        self.ended1.d.next = self.ended.val();
        self.fault1.d.next = self.fault.val();
        self.the_read.next = self.read1.q.val();
        self.the_read.next.unsupported = self.kind.q.val() == 2;
        self.the_read.next.after = self.pushed.q.val();
        if self.atomic.q.val() {
            // byte count 4 and lower address 0: the completion of whatever is no memory read
            self.the_read.next.offset = 0.into();
            self.the_read.next.length = 1.into();
            self.the_read.next.first_be = 15.into();
            self.the_read.next.last_be = 0.into();
        }
        self.the_write.next.bar2 = self.the_read.val().bar2;
        self.the_write.next.offset = self.the_read.val().offset;
        self.the_write.next.length = self.length.q.val();
        self.the_write.next.first_be = self.the_read.val().first_be;
        self.the_write.next.last_be = self.the_read.val().last_be;
        self.writes.push.next = self.push_write.val();
        self.writes.data_in.next = self.the_write.val();
        self.reads.push.next = self.push_read.val();
        self.reads.data_in.next = self.the_read.val();
        if self.push_write.val() {
            self.pushed.d.next = self.pushed.q.val() + 1;
        }
        self.count_write.next = self.push_write.val();
        self.count_read.next = self.push_read.val() & (self.kind.q.val() == 1);
        self.count_unsupported.next = self.ended1.q.val()
            & ((self.kind.q.val() == 2)
                | (self.kind.q.val() == 5)
                | ((self.kind.q.val() == 0) & (!self.poisoned.q.val()) & (!self.hit.q.val().any())));
        self.count_malformed.next = self.fault1.q.val();
        self.count_poisoned.next =
            self.ended1.q.val() & self.poisoned.q.val() & ((self.kind.q.val() == 0) | (self.kind.q.val() == 3));
        self.completion_end.next = self.ended1.q.val() & (self.kind.q.val() == 3);
        self.completion_poisoned.next = self.poisoned.q.val();
        self.completion_dw.next = self.dw.val();

        // to the others
        self.writes.pop.next = self.write_pop.val();
        self.reads.pop.next = self.read_pop.val();
        // with the first DW of its payload; the others are there in time
        self.write_valid.next = self.writes.valid.val() & self.memory.valid.val();
        self.write.next = self.writes.data.val();
        self.read_valid.next = self.reads.valid.val();
        self.read.next = self.reads.data.val();
        self.memory.limit.next = self.committed.q.val();
        self.payload.next = self.memory.data.val();
        self.memory.pop.next = self.payload_pop.val();
        if self.push_write.val() & (!self.write_pop.val()) {
            self.waiting_writes.d.next = self.waiting_writes.q.val() + 1;
        }
        if self.write_pop.val() & (!self.push_write.val()) {
            self.waiting_writes.d.next = self.waiting_writes.q.val() - 1;
        }
        if self.push_read.val() & (!self.read_pop.val()) {
            self.waiting_reads.d.next = self.waiting_reads.q.val() + 1;
        }
        if self.read_pop.val() & (!self.push_read.val()) {
            self.waiting_reads.d.next = self.waiting_reads.q.val() - 1;
        }
        self.busy.next = self.state.q.val().any()
            | self.ended1.q.val()
            | self.fault1.q.val()
            | self.waiting_writes.q.val().any()
            | self.waiting_reads.q.val().any()
            | self.dw_valid.val();
        self.completion_head.next = self.head1.q.val();
        if (self.state.q.val() == 2) & (!self.four.q.val()) {
            self.completion_head.next.requester = self.dw.val().get_bits::<16>(16);
            self.completion_head.next.tag = self.dw.val().get_bits::<8>(8);
        }
    }
}
