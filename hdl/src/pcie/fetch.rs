//! Fetch: DMA reads of the core, as memory read requests, and their completions back in order.
//!
//! ```text
//!  mr_* --> split at Max_Read_Request_Size --> tag --> header --> dw_valid dw_ready dw dw_last
//!                                               |
//!  completions --> buffer of 8 x 512 bytes <----+   in any order, in pieces, pieces of several tags mixed
//!                        |
//!                        +--> in the order of the tags --> md_*
//! ```
//!
//! A request is cut so that no piece is longer than Max_Read_Request_Size (at most 512 bytes here) and each ends at a multiple
//! of that, so that none crosses 4 KiB. Eight pieces may be outstanding. Tags count up to 31: the low three bits are the
//! place in the buffer, the upper two tell a late completion of a piece that timed out from one of its successor.
//!
//! A piece fails when its completion has another status than Successful Completion, is poisoned, or is not whole after
//! 2^`TIMEOUT_LOG2` clocks (completion timeout). A failed piece gives one word with `md_error` in the place of its data;
//! `md_last` comes with the last piece of the core's request in either case. A completion that matches no
//! outstanding piece, or not in its byte count, is counted unexpected and has no effect.
//!
//! Without bus master enable, and during a reset, pieces fail at once and no request is made. One whose first DW has left
//! stays outstanding until it completes or times out, also over a reset: a tag is never free while its data may come.
//!
//! Latency: 3 clocks from `mr` to the first DW; 5 from the end of the last completion to the first word.

use super::types::{CompletionHead, Piece, ReadWord};
use crate::egress::queue::Queue;
use crate::prelude::*;
use crate::prim::{BlockRam, LutRam, Quiet, Reg};
use crate::wide::{bit_cast_wide, bits_narrow, bits_wide, Wide};
use crate::FastBlock;

/// Pieces that may be outstanding.
pub const PIECES: usize = 8;
/// Bytes of the longest piece.
pub const PIECE_BYTES: usize = 512;

/// See the module documentation.
#[derive(FastBlock)]
pub struct Fetch<const TIMEOUT_LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Requester ID: bus, device, function.
    pub id: Signal<In, Bits<16>>,
    /// Requests may be made.
    pub go: Signal<In, Bit>,
    /// Max_Read_Request_Size: 128 bytes shifted left by this.
    pub max_read: Signal<In, Bits<3>>,
    /// Posted writes accepted so far, modulo 256.
    pub posted: Signal<In, Bits<8>>,
    /// A DMA word is about to be among them: no request begins in this clock.
    pub hold: Signal<In, Bit>,
    /// DMA read request: there is one.
    pub mr_valid: Signal<In, Bit>,
    /// DMA read request: it is taken.
    pub mr_ready: Signal<Out, Bit>,
    /// DMA read request: address, a multiple of 8.
    pub mr_addr: Signal<In, Wide<64>>,
    /// DMA read request: bytes, a multiple of 8, not 0.
    pub mr_len: Signal<In, Bits<13>>,
    /// DMA read data: there is a word.
    pub md_valid: Signal<Out, Bit>,
    /// DMA read data: it is taken.
    pub md_ready: Signal<In, Bit>,
    /// DMA read data: the word, byte 0 least significant.
    pub md_data: Signal<Out, Wide<64>>,
    /// DMA read data: last word of the request.
    pub md_last: Signal<Out, Bit>,
    /// DMA read data: the read failed.
    pub md_error: Signal<Out, Bit>,
    /// A DW of a request.
    pub dw_valid: Signal<Out, Bit>,
    /// It is taken.
    pub dw_ready: Signal<In, Bit>,
    /// The DW.
    pub dw: Signal<Out, Bits<32>>,
    /// Last of the TLP.
    pub dw_last: Signal<Out, Bit>,
    /// Posted writes the TLP comes after.
    pub after: Signal<Out, Bits<8>>,
    /// The head of a completion is there.
    pub completion: Signal<In, Bit>,
    /// That head.
    pub completion_head: Signal<In, CompletionHead>,
    /// A DW of its payload, two clocks behind the head at the earliest.
    pub completion_data: Signal<In, Bit>,
    /// The DW, as on the link.
    pub completion_dw: Signal<In, Bits<32>>,
    /// It ended, well-formed; a clock behind the head at the earliest, and the head still stands.
    pub completion_end: Signal<In, Bit>,
    /// With the end: its payload is poisoned.
    pub completion_poisoned: Signal<In, Bit>,
    /// A request waits for completions (Transactions Pending).
    pub pending: Signal<Out, Bit>,
    /// A request is inside.
    pub busy: Signal<Out, Bit>,
    /// A completion that nobody waits for was dropped.
    pub count_unexpected: Signal<Out, Bit>,
    /// A request timed out.
    pub count_timeout: Signal<Out, Bit>,
    /// A request was answered with an error.
    pub count_error: Signal<Out, Bit>,
    // the request at hand
    asked: Reg<Bit>,
    address: Reg<Wide<64>>,
    bytes_left: Reg<Bits<13>>,
    // the piece that is offered
    offered: Reg<Bit>,
    offer_address: Reg<Wide<64>>,
    /// Its upper half is not zero.
    offer_four: Reg<Bit>,
    offer_bytes: Reg<Bits<10>>,
    offer_after: Reg<Bits<8>>,
    at: Reg<Bits<2>>,
    // outstanding ones: tags head .. next
    next: Reg<Bits<5>>,
    head: Reg<Bits<5>>,
    sent: Reg<Bits<8>>,
    done: Reg<Bits<8>>,
    failed: Reg<Bits<8>>,
    fresh: Reg<Bits<8>>,
    pieces: LutRam<Piece, 3>,
    pieces_head: LutRam<Piece, 3>,
    places: LutRam<Bits<8>, 3>,
    stamps: LutRam<Bits<32>, 3>,
    now: Reg<Bits<32>>,
    // the completion at hand
    good: Reg<Bit>,
    /// The head came a clock ago: `good` is not of it yet.
    checked: Reg<Bit>,
    expected: Reg<Bit>,
    place: Reg<Bits<8>>,
    slot: Reg<Bits<3>>,
    /// DWs of its piece that are still to come, with it.
    rest: Reg<Bits<8>>,
    ram_low: BlockRam<Bits<32>, 9>,
    ram_high: BlockRam<Bits<32>, 9>,
    // words out
    issuing: Reg<Bit>,
    issue_at: Reg<Bits<7>>,
    issued: Reg<Bit>,
    issued_last: Reg<Bit>,
    coming: Reg<Bit>,
    coming_last: Reg<Bit>,
    used: Reg<Bits<5>>,
    words: Queue<ReadWord, 4>,
    outstanding: Signal<Local, Bits<5>>,
    /// Bytes of the longest piece; a register before the sums that cut a request, since it stays as the host set it up.
    limit: Reg<Bits<10>>,
    inside: Signal<Local, Bits<10>>,
    to_edge: Signal<Local, Bits<10>>,
    chunk: Signal<Local, Bits<10>>,
    ends: Signal<Local, Bit>,
    starts: Signal<Local, Bit>,
    four: Signal<Local, Bit>,
    address_low: Signal<Local, Bits<32>>,
    address_high: Signal<Local, Bits<32>>,
    high_half: Signal<Local, Bits<32>>,
    valid: Signal<Local, Bit>,
    last: Signal<Local, Bit>,
    cancel: Signal<Local, Bit>,
    offer_slot: Signal<Local, Bits<3>>,
    next_hot: Signal<Local, Bits<8>>,
    new_piece: Signal<Local, Piece>,
    keep: Signal<Local, Bits<8>>,
    set_sent: Signal<Local, Bits<8>>,
    set_done: Signal<Local, Bits<8>>,
    set_failed: Signal<Local, Bits<8>>,
    unset_fresh: Signal<Local, Bits<8>>,
    offer_hot: Signal<Local, Bits<8>>,
    hot: Signal<Local, Bits<8>>,
    head_hot: Signal<Local, Bits<8>>,
    head_slot: Signal<Local, Bits<3>>,
    came: Signal<Local, CompletionHead>,
    came_tag: Signal<Local, Bits<5>>,
    ahead: Signal<Local, Bits<5>>,
    the_slot: Signal<Local, Bits<3>>,
    the_piece: Signal<Local, Piece>,
    the_place: Signal<Local, Bits<8>>,
    rest_bytes: Signal<Local, Bits<12>>,
    now_expected: Signal<Local, Bit>,
    bytes_in_order: Signal<Local, Bits<32>>,
    after_place: Signal<Local, Bits<8>>,
    finish: Signal<Local, Bit>,
    spoil: Signal<Local, Bit>,
    note_place: Signal<Local, Bit>,
    head_piece: Signal<Local, Piece>,
    age: Signal<Local, Bits<32>>,
    late: Signal<Local, Bit>,
    issue: Signal<Local, Bit>,
    issue_is_last: Signal<Local, Bit>,
    fail_word: Signal<Local, Bit>,
    advance: Signal<Local, Bit>,
    pop: Signal<Local, Bit>,
    push: Signal<Local, Bit>,
    word_in: Signal<Local, ReadWord>,
    word_out: Signal<Local, ReadWord>,
    put: Signal<Local, Bit>,
    patience: Constant<Bits<32>>,
    _quiet: Quiet,
}

impl<const TIMEOUT_LOG2: usize> Default for Fetch<TIMEOUT_LOG2> {
    fn default() -> Self {
        assert!(TIMEOUT_LOG2 < 32, "ages have 32 bits");
        Self {
            clock: Default::default(),
            id: Default::default(),
            go: Default::default(),
            max_read: Default::default(),
            posted: Default::default(),
            hold: Default::default(),
            mr_valid: Default::default(),
            mr_ready: Default::default(),
            mr_addr: Default::default(),
            mr_len: Default::default(),
            md_valid: Default::default(),
            md_ready: Default::default(),
            md_data: Default::default(),
            md_last: Default::default(),
            md_error: Default::default(),
            dw_valid: Default::default(),
            dw_ready: Default::default(),
            dw: Default::default(),
            dw_last: Default::default(),
            after: Default::default(),
            completion: Default::default(),
            completion_head: Default::default(),
            completion_data: Default::default(),
            completion_dw: Default::default(),
            completion_end: Default::default(),
            completion_poisoned: Default::default(),
            pending: Default::default(),
            busy: Default::default(),
            count_unexpected: Default::default(),
            count_timeout: Default::default(),
            count_error: Default::default(),
            asked: Default::default(),
            address: Default::default(),
            bytes_left: Default::default(),
            offered: Default::default(),
            offer_address: Default::default(),
            offer_four: Default::default(),
            checked: Default::default(),
            offer_bytes: Default::default(),
            offer_after: Default::default(),
            at: Default::default(),
            next: Default::default(),
            head: Default::default(),
            sent: Default::default(),
            done: Default::default(),
            failed: Default::default(),
            fresh: Default::default(),
            pieces: Default::default(),
            pieces_head: Default::default(),
            places: Default::default(),
            stamps: Default::default(),
            now: Default::default(),
            good: Default::default(),
            expected: Default::default(),
            place: Default::default(),
            slot: Default::default(),
            ram_low: Default::default(),
            ram_high: Default::default(),
            issuing: Default::default(),
            issue_at: Default::default(),
            issued: Default::default(),
            issued_last: Default::default(),
            coming: Default::default(),
            coming_last: Default::default(),
            used: Default::default(),
            words: Default::default(),
            outstanding: Default::default(),
            limit: Default::default(),
            inside: Default::default(),
            to_edge: Default::default(),
            chunk: Default::default(),
            ends: Default::default(),
            starts: Default::default(),
            four: Default::default(),
            address_low: Default::default(),
            address_high: Default::default(),
            high_half: Default::default(),
            valid: Default::default(),
            last: Default::default(),
            cancel: Default::default(),
            offer_slot: Default::default(),
            next_hot: Default::default(),
            new_piece: Default::default(),
            keep: Default::default(),
            set_sent: Default::default(),
            set_done: Default::default(),
            set_failed: Default::default(),
            unset_fresh: Default::default(),
            offer_hot: Default::default(),
            hot: Default::default(),
            head_hot: Default::default(),
            head_slot: Default::default(),
            came: Default::default(),
            came_tag: Default::default(),
            ahead: Default::default(),
            the_slot: Default::default(),
            the_piece: Default::default(),
            the_place: Default::default(),
            rest: Default::default(),
            rest_bytes: Default::default(),
            now_expected: Default::default(),
            bytes_in_order: Default::default(),
            after_place: Default::default(),
            finish: Default::default(),
            spoil: Default::default(),
            note_place: Default::default(),
            head_piece: Default::default(),
            age: Default::default(),
            late: Default::default(),
            issue: Default::default(),
            issue_is_last: Default::default(),
            fail_word: Default::default(),
            advance: Default::default(),
            pop: Default::default(),
            push: Default::default(),
            word_in: Default::default(),
            word_out: Default::default(),
            put: Default::default(),
            patience: Constant::new((1u64 << TIMEOUT_LOG2).into()),
            _quiet: Default::default(),
        }
    }
}

impl<const TIMEOUT_LOG2: usize> Logic for Fetch<TIMEOUT_LOG2> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            asked,
            address,
            bytes_left,
            offered,
            offer_address,
            offer_four,
            offer_bytes,
            offer_after,
            at
        );
        dff_setup!(
            self, clock, next, head, sent, done, failed, fresh, now, limit, good, checked, expected, place, slot, rest
        );
        dff_setup!(
            self,
            clock,
            issuing,
            issue_at,
            issued,
            issued_last,
            coming,
            coming_last,
            used
        );
        clock!(
            self,
            clock,
            pieces,
            pieces_head,
            places,
            stamps,
            ram_low,
            ram_high,
            words
        );
        self.outstanding.next = self.next.q.val() - self.head.q.val();
        if self.outstanding.val().any() {
            self.now.d.next = self.now.q.val() + 1;
        }

        // the core's request, cut into pieces
        self.mr_ready.next = !self.asked.q.val();
        if self.mr_valid.val() & (!self.asked.q.val()) {
            self.asked.d.next = true;
            self.address.d.next = self.mr_addr.val();
            self.bytes_left.d.next = self.mr_len.val();
        }
        self.limit.d.next = 512.into();
        if self.max_read.val() == 0 {
            self.limit.d.next = 128.into();
        }
        if self.max_read.val() == 1 {
            self.limit.d.next = 256.into();
        }
        self.inside.next = self.limit.q.val() - 1;
        self.inside.next = bits_narrow::<10>(self.address.q.val().get_bits::<10>(0)) & self.inside.val();
        self.to_edge.next = self.limit.q.val() - self.inside.val();
        self.ends.next = self.bytes_left.q.val() <= bit_cast::<13, 10>(self.to_edge.val());
        self.chunk.next = self.to_edge.val();
        if self.ends.val() {
            self.chunk.next = bit_cast::<10, 13>(self.bytes_left.q.val());
        }
        self.starts.next =
            self.asked.q.val() & (!self.offered.q.val()) & (!self.hold.val()) & (self.outstanding.val() < 8);
        self.high_half.next = bits_narrow::<32>(self.address.q.val().get_bits::<32>(32));
        self.next_hot.next = 1.into();
        self.next_hot.next = self.next_hot.val() << bit_cast::<3, 5>(self.next.q.val());
        self.keep.next = 0xff.into();
        self.set_sent.next = 0.into();
        self.set_done.next = 0.into();
        self.set_failed.next = 0.into();
        self.unset_fresh.next = 0.into();
        self.new_piece.next.length = bit_cast::<8, 10>(self.chunk.val() >> 2);
        self.new_piece.next.last = self.ends.val();
        self.pieces.write.next = self.starts.val();
        self.pieces.write_address.next = bit_cast::<3, 5>(self.next.q.val());
        self.pieces.write_data.next = self.new_piece.val();
        self.pieces_head.write.next = self.starts.val();
        self.pieces_head.write_address.next = bit_cast::<3, 5>(self.next.q.val());
        self.pieces_head.write_data.next = self.new_piece.val();
        if self.starts.val() {
            self.offered.d.next = true;
            self.offer_address.d.next = self.address.q.val();
            self.offer_four.d.next = self.high_half.val().any();
            self.offer_bytes.d.next = self.chunk.val();
            self.offer_after.d.next = self.posted.val();
            self.next.d.next = self.next.q.val() + 1;
            self.address.d.next = self.address.q.val() + bit_cast_wide::<64, 10>(bits_wide::<10>(self.chunk.val()));
            self.bytes_left.d.next = self.bytes_left.q.val() - bit_cast::<13, 10>(self.chunk.val());
            self.asked.d.next = !self.ends.val();
            self.keep.next = self.next_hot.val() ^ 0xff;
        }

        // its header
        self.offer_slot.next = bit_cast::<3, 5>(self.next.q.val()) - 1;
        self.address_low.next = bits_narrow::<32>(self.offer_address.q.val().get_bits::<32>(0));
        self.address_high.next = bits_narrow::<32>(self.offer_address.q.val().get_bits::<32>(32));
        self.four.next = self.offer_four.q.val();
        self.dw.next = bit_cast::<32, 10>(self.offer_bytes.q.val() >> 2);
        if self.four.val() {
            self.dw.next = bit_cast::<32, 10>(self.offer_bytes.q.val() >> 2) | 0x20000000;
        }
        if self.at.q.val() == 1 {
            self.ahead.next = self.next.q.val() - 1;
            self.dw.next =
                (bit_cast::<32, 16>(self.id.val()) << 16) | (bit_cast::<32, 5>(self.ahead.val()) << 8) | 0xff;
        }
        if self.at.q.val() == 2 {
            self.dw.next = self.address_low.val();
            if self.four.val() {
                self.dw.next = self.address_high.val();
            }
        }
        if self.at.q.val() == 3 {
            self.dw.next = self.address_low.val();
        }
        self.valid.next = self.offered.q.val() & (self.go.val() | self.at.q.val().any());
        self.cancel.next = self.offered.q.val() & (!self.valid.val());
        self.last.next = (self.at.q.val() == 3) | ((self.at.q.val() == 2) & (!self.four.val()));
        self.dw_valid.next = self.valid.val();
        self.dw_last.next = self.last.val();
        self.after.next = self.offer_after.q.val();
        self.offer_hot.next = 1.into();
        self.offer_hot.next = self.offer_hot.val() << self.offer_slot.val();
        self.stamps.write.next = false;
        self.stamps.write_address.next = self.offer_slot.val();
        self.stamps.write_data.next = self.now.q.val();
        if self.valid.val() & self.dw_ready.val() {
            self.at.d.next = self.at.q.val() + 1;
            if self.last.val() {
                self.at.d.next = 0.into();
                self.offered.d.next = false;
                self.stamps.write.next = true;
                self.set_sent.next = self.offer_hot.val();
            }
        }
        if self.cancel.val() {
            self.offered.d.next = false;
            self.set_done.next = self.offer_hot.val();
            self.set_failed.next = self.offer_hot.val();
        }

        // completions: the head
        self.came.next = self.completion_head.val();
        self.came_tag.next = bit_cast::<5, 8>(self.came.val().tag);
        self.ahead.next = self.came_tag.val() - self.head.q.val();
        self.the_slot.next = bit_cast::<3, 8>(self.came.val().tag);
        self.pieces.read_address.next = self.the_slot.val();
        self.the_piece.next = self.pieces.read_data.val();
        self.places.read_address.next = self.the_slot.val();
        self.hot.next = 1.into();
        self.hot.next = self.hot.val() << self.the_slot.val();
        self.the_place.next = self.places.read_data.val();
        if (self.fresh.q.val() & self.hot.val()).any() {
            self.the_place.next = 0.into();
        }
        self.now_expected.next = (self.came.val().requester == self.id.val())
            & (self.came.val().tag < 32)
            & (self.ahead.val() < self.outstanding.val())
            & (self.sent.q.val() & self.hot.val()).any()
            & (!(self.done.q.val() & self.hot.val()).any());
        self.checked.d.next = self.completion.val();
        if self.completion.val() {
            self.slot.d.next = self.the_slot.val();
            self.place.d.next = self.the_place.val();
            self.rest.d.next = self.the_piece.val().length - self.the_place.val();
            self.expected.d.next = self.now_expected.val();
        }
        self.rest_bytes.next = bit_cast::<12, 8>(self.rest.q.val()) << 2;
        if self.checked.q.val() {
            // the last of them ends the request, so a wrong count must not pass
            self.good.d.next = self.expected.q.val()
                & self.came.val().data
                & (self.came.val().status == 0)
                & (self.came.val().count == self.rest_bytes.val())
                & (self.came.val().length <= bit_cast::<11, 8>(self.rest.q.val()));
        }
        // its payload
        self.bytes_in_order.next = (self.completion_dw.val() >> 24)
            | ((self.completion_dw.val() >> 8) & 0xff00)
            | ((self.completion_dw.val() << 8) & 0xff0000)
            | (self.completion_dw.val() << 24);
        self.after_place.next = self.place.q.val() + 1;
        self.put.next = self.completion_data.val() & self.good.q.val();
        if self.put.val() {
            self.place.d.next = self.after_place.val();
        }
        self.ram_low.write.next = self.put.val() & (!self.place.q.val().get_bit(0));
        self.ram_high.write.next = self.put.val() & self.place.q.val().get_bit(0);
        self.ram_low.write_address.next =
            (bit_cast::<9, 3>(self.slot.q.val()) << 6) | (bit_cast::<9, 6>(self.place.q.val().get_bits::<6>(1)));
        self.ram_high.write_address.next =
            (bit_cast::<9, 3>(self.slot.q.val()) << 6) | (bit_cast::<9, 6>(self.place.q.val().get_bits::<6>(1)));
        self.ram_low.write_data.next = self.bytes_in_order.val();
        self.ram_high.write_data.next = self.bytes_in_order.val();
        // its end
        self.count_unexpected.next = false;
        self.count_error.next = false;
        self.finish.next = false;
        self.spoil.next = false;
        self.note_place.next = false;
        if self.completion_end.val() {
            if !self.expected.q.val() {
                self.count_unexpected.next = true;
            } else if self.came.val().status != 0 {
                self.count_error.next = true;
                self.finish.next = true;
                self.spoil.next = true;
            } else if (!self.good.q.val()) | self.checked.q.val() {
                // whatever ends in that clock has no data
                self.count_unexpected.next = true;
            } else {
                self.note_place.next = true;
                self.spoil.next = self.completion_poisoned.val();
                self.finish.next = self.came.val().length == bit_cast::<11, 8>(self.rest.q.val());
            }
        }
        self.places.write.next = self.note_place.val();
        self.places.write_address.next = self.the_slot.val();
        // an ECRC behind the payload is no DW of it
        self.places.write_data.next = self.place.q.val();
        if self.put.val() {
            self.places.write_data.next = self.after_place.val();
        }
        if self.note_place.val() {
            self.unset_fresh.next = self.hot.val();
        }
        if self.finish.val() {
            self.set_done.next = self.set_done.val() | self.hot.val();
        }
        if self.spoil.val() {
            self.set_failed.next = self.set_failed.val() | self.hot.val();
        }

        // the oldest piece
        self.head_slot.next = bit_cast::<3, 5>(self.head.q.val());
        self.head_hot.next = 1.into();
        self.head_hot.next = self.head_hot.val() << self.head_slot.val();
        self.pieces_head.read_address.next = self.head_slot.val();
        self.head_piece.next = self.pieces_head.read_data.val();
        self.stamps.read_address.next = self.head_slot.val();
        self.age.next = self.now.q.val() - self.stamps.read_data.val();
        self.late.next = self.outstanding.val().any()
            & (self.sent.q.val() & self.head_hot.val()).any()
            & (!(self.done.q.val() & self.head_hot.val()).any())
            & (!self.finish.val())
            & (self.age.val() > self.patience.val());
        self.count_timeout.next = self.late.val();

        // words of the oldest piece, two clocks after their address
        self.advance.next = false;
        self.fail_word.next = false;
        self.issue.next = false;
        self.issue_is_last.next = bit_cast::<8, 7>(self.issue_at.q.val()) == ((self.head_piece.val().length >> 1) - 1);
        if self.outstanding.val().any() & (self.done.q.val() & self.head_hot.val()).any() {
            if (self.failed.q.val() & self.head_hot.val()).any() {
                self.fail_word.next = (!self.issued.q.val()) & (!self.coming.q.val()) & (self.used.q.val() < 14);
                self.advance.next = self.fail_word.val();
            } else {
                self.issue.next = self.used.q.val() < 14;
                self.advance.next = self.issue.val() & self.issue_is_last.val();
            }
        }
        self.ram_low.read_address.next =
            (bit_cast::<9, 3>(self.head_slot.val()) << 6) | (bit_cast::<9, 7>(self.issue_at.q.val()));
        self.ram_high.read_address.next =
            (bit_cast::<9, 3>(self.head_slot.val()) << 6) | (bit_cast::<9, 7>(self.issue_at.q.val()));
        if self.issue.val() {
            self.issue_at.d.next = self.issue_at.q.val() + 1;
        }
        if self.advance.val() {
            self.issue_at.d.next = 0.into();
            self.head.d.next = self.head.q.val() + 1;
        }
        self.issued.d.next = self.issue.val();
        self.issued_last.d.next = self.issue_is_last.val() & self.head_piece.val().last;
        self.coming.d.next = self.issued.q.val();
        self.coming_last.d.next = self.issued_last.q.val();
        self.push.next = self.coming.q.val() | self.fail_word.val();
        self.word_in.next.data = bit_cast_wide::<64, 32>(bits_wide::<32>(self.ram_low.read_data.val()))
            | (bit_cast_wide::<64, 32>(bits_wide::<32>(self.ram_high.read_data.val())) << 32);
        self.word_in.next.last = self.coming_last.q.val();
        self.word_in.next.error = self.fail_word.val();
        if self.fail_word.val() {
            self.word_in.next.last = self.head_piece.val().last;
        }
        self.words.push.next = self.push.val();
        self.words.data_in.next = self.word_in.val();
        self.pop.next = self.words.valid.val() & self.md_ready.val();
        self.words.pop.next = self.pop.val();
        if (self.issue.val() | self.fail_word.val()) & (!self.pop.val()) {
            self.used.d.next = self.used.q.val() + 1;
        }
        if self.pop.val() & (!(self.issue.val() | self.fail_word.val())) {
            self.used.d.next = self.used.q.val() - 1;
        }
        self.word_out.next = self.words.data.val();
        self.md_valid.next = self.words.valid.val();
        self.md_data.next = self.word_out.val().data;
        self.md_last.next = self.word_out.val().last;
        self.md_error.next = self.word_out.val().error;
        if self.late.val() {
            self.set_done.next = self.set_done.val() | self.head_hot.val();
            self.set_failed.next = self.set_failed.val() | self.head_hot.val();
        }
        // the piece that begins is none of those something happens to
        self.sent.d.next = (self.sent.q.val() & self.keep.val()) | self.set_sent.val();
        self.done.d.next = (self.done.q.val() & self.keep.val()) | self.set_done.val();
        self.failed.d.next = (self.failed.q.val() & self.keep.val()) | self.set_failed.val();
        self.fresh.d.next = (self.fresh.q.val() & (self.unset_fresh.val() ^ 0xff)) | (self.keep.val() ^ 0xff);
        self.pending.next = self.outstanding.val().any() & (self.sent.q.val() & (self.done.q.val() ^ 0xff)).any();
        self.busy.next = self.asked.q.val()
            | self.outstanding.val().any()
            | self.words.valid.val()
            | self.issued.q.val()
            | self.coming.q.val();
    }
}
