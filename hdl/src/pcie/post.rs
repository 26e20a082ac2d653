//! Post: DMA writes of the core and interrupt messages, as posted memory writes.
//!
//! ```text
//!  mw_* --------> buffer of 64 words --\
//!                 heads (address, words) --> header, payload --> dw_valid dw_ready dw dw_last
//!  message_* ----/
//! ```
//!
//! A burst of the core becomes one TLP. It is cut, whatever the core says, after 128 bytes (the smallest Max_Payload_Size there
//! is) and at a 4 KiB boundary, so that no TLP can be malformed. An interrupt message enters the same queue behind all words
//! taken before it: data first, then the interrupt. It waits for the end of a burst under way.
//!
//! Without bus master enable, or during a reset, TLPs are thrown away when their turn comes (`dropped`), a word a clock: the
//! core never stalls. A TLP whose first DW has left is always finished, and so is one that is being thrown away.
//!
//! Words are in block RAM that is read ahead of time. The first word of a TLP is there when its header has left, since a header has
//! no fewer DWs than the RAM takes clocks.
//!
//! A TLP does not leave its page, so its words have one page number: it is kept once, and beside it the places of the first
//! and of the next word in the page.
//!
//! Latency: 2 clocks from the last word of a burst to the first DW. One DW per clock.

use super::ahead::Ahead;
use super::types::PostHead;
use crate::egress::queue::Queue;
use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::wide::{bit_cast_wide, bits_narrow, bits_wide, Wide};
use crate::FastBlock;

/// Words of the largest TLP: 128 bytes.
pub const POST_WORDS: usize = 16;

/// See the module documentation.
#[derive(FastBlock, Default)]
pub struct Post {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Requester ID: bus, device, function.
    pub id: Signal<In, Bits<16>>,
    /// Requests may be made.
    pub go: Signal<In, Bit>,
    /// DMA write: there is a word.
    pub mw_valid: Signal<In, Bit>,
    /// DMA write: it is taken.
    pub mw_ready: Signal<Out, Bit>,
    /// DMA write: its address, a multiple of 8.
    pub mw_addr: Signal<In, Wide<64>>,
    /// DMA write: the word, byte 0 least significant.
    pub mw_data: Signal<In, Wide<64>>,
    /// DMA write: last of a burst.
    pub mw_last: Signal<In, Bit>,
    /// DMA write: the word goes on in the TLP under way, compared by whoever holds it, from the three outputs that follow.
    pub mw_fits: Signal<In, Bit>,
    /// Page of the last word.
    pub mw_page: Signal<Out, Wide<52>>,
    /// Place in the page behind the last word; 0 where the page ends.
    pub mw_next: Signal<Out, Bits<12>>,
    /// The TLP under way has room for another word.
    pub mw_longer: Signal<Out, Bit>,
    /// An interrupt message is to be sent.
    pub message_valid: Signal<In, Bit>,
    /// It is taken.
    pub message_ready: Signal<Out, Bit>,
    /// Its address, a multiple of 4.
    pub message_addr: Signal<In, Wide<64>>,
    /// Its data.
    pub message_data: Signal<In, Bits<32>>,
    /// A DW of a TLP.
    pub dw_valid: Signal<Out, Bit>,
    /// It is taken.
    pub dw_ready: Signal<In, Bit>,
    /// The DW.
    pub dw: Signal<Out, Bits<32>>,
    /// Last of the TLP.
    pub dw_last: Signal<Out, Bit>,
    /// TLPs accepted so far, modulo 256.
    pub accepted: Signal<Out, Bits<8>>,
    /// TLPs sent or dropped so far, modulo 256.
    pub sent: Signal<Out, Bits<8>>,
    /// A TLP was thrown away.
    pub dropped: Signal<Out, Bit>,
    /// Room for two words more than one, with a message and a cut beside them: see [`super::stage`].
    pub spare: Signal<Out, Bit>,
    /// Something is on its way.
    pub busy: Signal<Out, Bit>,
    memory: Ahead<Wide<64>, 6>,
    heads: Queue<PostHead, 4>,
    write_at: Reg<Bits<6>>,
    level: Reg<Bits<7>>,
    waiting: Reg<Bits<4>>,
    open: Reg<Bit>,
    page: Reg<Wide<52>>,
    start: Reg<Bits<12>>,
    next: Reg<Bits<12>>,
    words: Reg<Bits<5>>,
    accepted1: Reg<Bits<8>>,
    sent1: Reg<Bits<8>>,
    /// DWs of the TLP that have left.
    at: Reg<Bits<3>>,
    left: Reg<Bits<5>>,
    /// The TLP is being thrown away.
    discarding: Reg<Bit>,
    high: Reg<Bit>,
    /// Room for a word and a TLP, a clock ago; one was added since at most.
    room: Reg<Bit>,
    new_page: Signal<Local, Wide<52>>,
    mw_place: Signal<Local, Bits<12>>,
    opened: Signal<Local, Wide<64>>,
    cut: Signal<Local, Bit>,
    take: Signal<Local, Bit>,
    message: Signal<Local, Bit>,
    close: Signal<Local, Bit>,
    now: Signal<Local, Bits<5>>,
    head: Signal<Local, PostHead>,
    new_head: Signal<Local, PostHead>,
    new_address: Signal<Local, Wide<64>>,
    new_high: Signal<Local, Bits<32>>,
    address: Signal<Local, Wide<64>>,
    address_low: Signal<Local, Bits<32>>,
    address_high: Signal<Local, Bits<32>>,
    four: Signal<Local, Bit>,
    length: Signal<Local, Bits<32>>,
    plain: Signal<Local, Bits<32>>,
    valid: Signal<Local, Bit>,
    last: Signal<Local, Bit>,
    pop_word: Signal<Local, Bit>,
    added: Signal<Local, Bit>,
    discard: Signal<Local, Bit>,
    done: Signal<Local, Bit>,
    final_word: Signal<Local, Bit>,
    words_left: Signal<Local, Bits<5>>,
    word: Signal<Local, Wide<64>>,
    out: Signal<Local, Bits<32>>,
    _quiet: Quiet,
}

impl Logic for Post {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, write_at, level, waiting, open, page, start, next, words, accepted1, sent1);
        dff_setup!(self, clock, room, at, left, high, discarding);
        clock!(self, clock, memory, heads);

        // words in
        self.room.d.next = (self.level.q.val() < 61) & (self.waiting.q.val() < 13);
        self.spare.next = (self.level.q.val() < 58) & (self.waiting.q.val() < 9);
        self.new_page.next = self.mw_addr.val().get_bits::<52>(12);
        self.mw_page.next = self.page.q.val();
        self.mw_next.next = self.next.q.val();
        self.mw_longer.next = self.words.q.val() < 16;
        self.mw_place.next = bits_narrow::<12>(self.mw_addr.val().get_bits::<12>(0));
        self.cut.next = self.open.q.val() & self.mw_valid.val() & (!self.mw_fits.val());
        self.take.next = self.mw_valid.val() & self.room.q.val() & (!self.cut.val());
        self.message.next =
            self.message_valid.val() & self.room.q.val() & (!self.open.q.val()) & (!self.mw_valid.val());
        self.mw_ready.next = self.room.q.val() & (!self.cut.val());
        self.message_ready.next = self.message.val();
        self.memory.write.next = self.take.val() | self.message.val();
        self.memory.write_address.next = self.write_at.q.val();
        // a message is taken only while there is no word, and that is known long before
        self.memory.write_data.next = self.mw_data.val();
        if !self.mw_valid.val() {
            self.memory.write_data.next = bit_cast_wide::<64, 32>(bits_wide::<32>(self.message_data.val()));
        }
        self.opened.next = (bit_cast_wide::<64, 52>(self.page.q.val()) << 12)
            | bit_cast_wide::<64, 12>(bits_wide::<12>(self.start.q.val()));
        self.now.next = 1.into();
        self.new_address.next = self.message_addr.val();
        if self.mw_valid.val() {
            self.new_address.next = self.mw_addr.val();
        }
        if self.open.q.val() {
            self.now.next = self.words.q.val() + 1;
            self.new_address.next = self.opened.val();
        }
        self.new_high.next = bits_narrow::<32>(self.new_address.val().get_bits::<32>(32));
        self.new_head.next.address = self.new_address.val();
        self.new_head.next.message = !self.mw_valid.val();
        self.new_head.next.four = self.new_high.val().any();
        self.new_head.next.words = self.now.val();
        self.close.next = (self.take.val() & self.mw_last.val()) | self.message.val();
        if self.cut.val() & self.room.q.val() {
            // the burst goes on where this TLP may not
            self.close.next = true;
            self.new_head.next.words = self.words.q.val();
        }
        if self.take.val() {
            self.next.d.next = self.mw_place.val() + 8;
            self.page.d.next = self.new_page.val();
            self.words.d.next = self.now.val();
            self.open.d.next = !self.mw_last.val();
            if !self.open.q.val() {
                self.start.d.next = self.mw_place.val();
            }
        } else if self.close.val() {
            self.open.d.next = false;
        }
        if self.take.val() | self.message.val() {
            self.write_at.d.next = self.write_at.q.val() + 1;
        }
        if self.close.val() {
            self.accepted1.d.next = self.accepted1.q.val() + 1;
        }
        self.heads.push.next = self.close.val();
        self.heads.data_in.next = self.new_head.val();

        // TLPs out
        self.head.next = self.heads.data.val();
        self.address.next = self.head.val().address;
        self.address_low.next = bits_narrow::<32>(self.address.val().get_bits::<32>(0));
        self.address_high.next = bits_narrow::<32>(self.address.val().get_bits::<32>(32));
        self.four.next = self.head.val().four;
        self.length.next = bit_cast::<32, 5>(self.head.val().words) << 1;
        if self.head.val().message {
            self.length.next = 1.into();
        }
        self.memory.limit.next = self.write_at.q.val();
        self.word.next = self.memory.data.val();
        self.plain.next = bits_narrow::<32>(self.word.val().get_bits::<32>(0));
        if self.high.q.val() {
            self.plain.next = bits_narrow::<32>(self.word.val().get_bits::<32>(32));
        }
        // bytes in the order of the link
        self.out.next = (self.plain.val() >> 24)
            | ((self.plain.val() >> 8) & 0xff00)
            | ((self.plain.val() << 8) & 0xff0000)
            | (self.plain.val() << 24);
        if self.at.q.val() == 0 {
            self.out.next = self.length.val() | 0x40000000;
            if self.four.val() {
                self.out.next = self.length.val() | 0x60000000;
            }
        }
        if self.at.q.val() == 1 {
            self.out.next = (bit_cast::<32, 16>(self.id.val()) << 16) | 0xff;
            if self.head.val().message {
                self.out.next = (bit_cast::<32, 16>(self.id.val()) << 16) | 0xf;
            }
        }
        if self.at.q.val() == 2 {
            self.out.next = self.address_low.val();
            if self.four.val() {
                self.out.next = self.address_high.val();
            }
        }
        if self.at.q.val() == 3 {
            self.out.next = self.address_low.val();
        }
        self.valid.next = self.heads.valid.val() & (!self.discarding.q.val()) & (self.go.val() | self.at.q.val().any());
        self.discard.next = self.heads.valid.val() & (!self.valid.val());
        self.last.next =
            (self.at.q.val() == 4) & (self.left.q.val() == 1) & (self.high.q.val() | self.head.val().message);
        self.pop_word.next = false;
        self.done.next = false;
        self.words_left.next = self.head.val().words;
        if self.discarding.q.val() {
            self.words_left.next = self.left.q.val();
        }
        self.final_word.next = self.words_left.val() == 1;
        if self.discard.val() & self.memory.valid.val() {
            self.pop_word.next = true;
            self.left.d.next = self.words_left.val() - 1;
            self.discarding.d.next = !self.final_word.val();
            self.done.next = self.final_word.val();
        }
        if self.valid.val() & self.dw_ready.val() {
            self.left.d.next = self.head.val().words;
            self.high.d.next = false;
            if self.at.q.val() != 4 {
                self.at.d.next = self.at.q.val() + 1;
                if (self.at.q.val() == 2) & (!self.four.val()) {
                    self.at.d.next = 4.into();
                }
            } else {
                self.left.d.next = self.left.q.val();
                self.high.d.next = !self.high.q.val();
                if self.high.q.val() | self.head.val().message {
                    self.pop_word.next = true;
                    self.high.d.next = false;
                    self.left.d.next = self.left.q.val() - 1;
                }
                if self.last.val() {
                    self.at.d.next = 0.into();
                    self.done.next = true;
                }
            }
        }
        self.heads.pop.next = self.done.val();
        if self.done.val() {
            self.sent1.d.next = self.sent1.q.val() + 1;
        }
        self.memory.pop.next = self.pop_word.val();
        self.added.next = self.take.val() | self.message.val();
        if self.added.val() & (!self.pop_word.val()) {
            self.level.d.next = self.level.q.val() + 1;
        }
        if self.pop_word.val() & (!self.added.val()) {
            self.level.d.next = self.level.q.val() - 1;
        }
        if self.close.val() & (!self.done.val()) {
            self.waiting.d.next = self.waiting.q.val() + 1;
        }
        if self.done.val() & (!self.close.val()) {
            self.waiting.d.next = self.waiting.q.val() - 1;
        }
        self.dw_valid.next = self.valid.val();
        self.dw.next = self.out.val();
        self.dw_last.next = self.last.val();
        self.accepted.next = self.accepted1.q.val();
        self.sent.next = self.sent1.q.val();
        self.dropped.next = self.discard.val() & self.done.val();
        self.busy.next = self.heads.valid.val() | self.open.q.val();
    }
}
