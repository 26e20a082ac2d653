//! The transaction layer as one block: everything of the endpoint but the core.
//!
//! See [`super`] for the drawing and the TLP stream. This file connects blocks; the pins towards the core are the core's, seen
//! from the other side.
//!
//! Latency: a write of one DW is on `csr_write` [`WRITE_CLOCKS`] clocks after its first beat; a read of a register has the
//! first beat of its completion [`READ_CLOCKS`] clocks after its own and the clocks the core takes for the word.
//!
//! The blocks are as fast as a clock allows, each by itself, so registers stand between them: behind `unpack`, between `receive` and
//! `fetch`, in front of `post` ([`super::stage`]), in front of the counters, and in both directions between `access` and the core. What tells that nothing is
//! under way counts those as well.

use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::wide::Wide;
use crate::FastBlock;

use super::access::Access;
use super::clear::Clear;
use super::fetch::Fetch;
use super::msix::Msix;
use super::post::Post;
use super::receive::Receive;
use super::stage::Stage;
use super::state::State;
use super::transmit::Transmit;
use super::types::CompletionHead;
use super::unpack::Unpack;

/// Clocks from the first beat of a write of one DW (three-DW header) to `csr_write`.
pub const WRITE_CLOCKS: usize = 11;
/// Clocks from the first beat of a read of one register (three-DW header) to the first beat of its completion, on a quiet
/// link, without those of the core.
pub const READ_CLOCKS: usize = 20;

/// See the module documentation. `TIMEOUT_LOG2`: the completion timeout in clocks, log2.
#[derive(FastBlock, Default)]
pub struct Layer<const BUCKET_LOG2: usize, const TIMEOUT_LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a beat of a TLP from the link.
    pub tlp_rx_valid: Signal<In, Bit>,
    /// It is taken.
    pub tlp_rx_ready: Signal<Out, Bit>,
    /// Two DWs, the first in the low half.
    pub tlp_rx_data: Signal<In, Wide<64>>,
    /// Which of them there are: 1 the first, 3 both.
    pub tlp_rx_keep: Signal<In, Bits<2>>,
    /// Last beat of a TLP.
    pub tlp_rx_last: Signal<In, Bit>,
    /// BAR that a memory request hits, with each of its beats: bit 0 BAR0, bit 1 BAR2.
    pub tlp_rx_bar: Signal<In, Bits<2>>,
    /// Non-posted requests may be delivered; when it falls two more are taken.
    pub tlp_rx_np_ok: Signal<Out, Bit>,
    /// There is a beat of a TLP for the link.
    pub tlp_tx_valid: Signal<Out, Bit>,
    /// It is taken.
    pub tlp_tx_ready: Signal<In, Bit>,
    /// Two DWs, the first in the low half.
    pub tlp_tx_data: Signal<Out, Wide<64>>,
    /// Which of them there are: 1 the first, 3 both.
    pub tlp_tx_keep: Signal<Out, Bits<2>>,
    /// Last beat of a TLP.
    pub tlp_tx_last: Signal<Out, Bit>,
    /// The link block has credits for a memory write of 128 bytes.
    pub credit_p: Signal<In, Bit>,
    /// The link block has credits for a read request.
    pub credit_n: Signal<In, Bit>,
    /// The link block has credits for a completion of Max_Payload_Size.
    pub credit_c: Signal<In, Bit>,
    /// Bus (15:8), device (7:3) and function (2:0) number, as the last configuration write had them.
    pub cfg_id: Signal<In, Bits<16>>,
    /// Max_Payload_Size of Device Control: 128 bytes shifted left by this.
    pub cfg_max_payload: Signal<In, Bits<3>>,
    /// Max_Read_Request_Size of Device Control: 128 bytes shifted left by this.
    pub cfg_max_read: Signal<In, Bits<3>>,
    /// Bus Master Enable of the Command register.
    pub cfg_bus_master: Signal<In, Bit>,
    /// MSI-X Enable of Message Control.
    pub cfg_msix_enable: Signal<In, Bit>,
    /// MSI-X Function Mask of Message Control.
    pub cfg_msix_mask: Signal<In, Bit>,
    /// Begins a function-level reset; one clock or longer.
    pub cfg_flr: Signal<In, Bit>,
    /// A function-level reset is under way.
    pub resetting: Signal<Out, Bit>,
    /// Transactions Pending of Device Status.
    pub pending: Signal<Out, Bit>,
    /// Nothing is in flight in the layer.
    pub idle: Signal<Out, Bit>,
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
    /// That word.
    pub csr_rdata: Signal<In, Bits<32>>,
    /// A word for host memory.
    pub mw_valid: Signal<In, Bit>,
    /// It is taken.
    pub mw_ready: Signal<Out, Bit>,
    /// Its address.
    pub mw_addr: Signal<In, Wide<64>>,
    /// The word, byte 0 least significant.
    pub mw_data: Signal<In, Wide<64>>,
    /// Last of a burst.
    pub mw_last: Signal<In, Bit>,
    /// A read request.
    pub mr_valid: Signal<In, Bit>,
    /// It is taken.
    pub mr_ready: Signal<Out, Bit>,
    /// Its address.
    pub mr_addr: Signal<In, Wide<64>>,
    /// Bytes.
    pub mr_len: Signal<In, Bits<13>>,
    /// A word that was read.
    pub md_valid: Signal<Out, Bit>,
    /// The word.
    pub md_data: Signal<Out, Wide<64>>,
    /// Last of its request.
    pub md_last: Signal<Out, Bit>,
    /// The read failed.
    pub md_error: Signal<Out, Bit>,
    /// It is taken.
    pub md_ready: Signal<In, Bit>,
    /// One-clock pulses: exception ring, inject or dump.
    pub irq: Signal<In, Bits<2>>,
    /// Nothing is in flight in the core behind ingress.
    pub core_drained: Signal<In, Bit>,
    /// Sets the core's counters to zero.
    pub core_wipe: Signal<Out, Bit>,
    /// Word of a network port's MAC: bit 4 the port, bits 3:0 its word.
    pub mac_word: Signal<Out, Bits<5>>,
    /// It is written.
    pub mac_write: Signal<Out, Bit>,
    /// What is written.
    pub mac_wdata: Signal<Out, Bits<32>>,
    /// That word, `totals::READ` clocks later at the latest; 0 where there is no MAC.
    pub mac_data: Signal<In, Bits<32>>,
    unpack: Unpack,
    receive: Receive,
    access: Access,
    stage: Stage,
    post: Post,
    fetch: Fetch<TIMEOUT_LOG2>,
    msix: Msix,
    state: State,
    clear: Clear<BUCKET_LOG2>,
    transmit: Transmit,
    calm: Reg<Bit>,
    dw_full: Reg<Bit>,
    dw: Reg<Bits<32>>,
    dw_last: Reg<Bit>,
    dw_bar: Reg<Bits<2>>,
    completion: Reg<Bit>,
    completion_head: Reg<CompletionHead>,
    completion_data: Reg<Bit>,
    completion_dw: Reg<Bits<32>>,
    completion_end: Reg<Bit>,
    completion_poisoned: Reg<Bit>,
    late_data: Reg<Bit>,
    late_dw: Reg<Bits<32>>,
    reset: Reg<Bit>,
    drained: Reg<Bit>,
    counted: Reg<Bits<11>>,
    twice_dropped: Reg<Bit>,
    twice_unsupported: Reg<Bit>,
    write: Reg<Bit>,
    bar2: Reg<Bit>,
    addr: Reg<Bits<24>>,
    wdata: Reg<Bits<32>>,
    read: Reg<Bit>,
    raddr: Reg<Bits<16>>,
    done: Reg<Bit>,
    rdata: Reg<Bits<32>>,
    dw_taken: Signal<Local, Bit>,
    go: Reg<Bit>,
    refuse: Signal<Local, Bit>,
    setup: Signal<Local, Bits<32>>,
    events: Signal<Local, Bits<11>>,
    _quiet: Quiet,
}

impl<const BUCKET_LOG2: usize, const TIMEOUT_LOG2: usize> Logic for Layer<BUCKET_LOG2, TIMEOUT_LOG2> {
    #[hdl_gen]
    fn update(&mut self) {
        clock!(self, clock, unpack, receive, access, stage, post, fetch, msix, state, clear, transmit);
        dff_setup!(
            self,
            clock,
            calm,
            go,
            dw_full,
            dw,
            dw_last,
            dw_bar,
            completion,
            completion_head,
            completion_data
        );
        dff_setup!(
            self,
            clock,
            completion_dw,
            completion_end,
            completion_poisoned,
            late_data,
            late_dw,
            reset,
            drained,
            counted,
            twice_dropped,
            twice_unsupported,
            write,
            bar2,
            addr,
            wdata,
            read,
            raddr,
            done,
            rdata
        );
        // a reset holds both directions
        self.refuse.next = self.clear.refuse.val();
        self.go.d.next = self.cfg_bus_master.val() & (!self.refuse.val());
        // from the link
        self.unpack.rx_valid.next = self.tlp_rx_valid.val();
        self.unpack.rx_data.next = self.tlp_rx_data.val();
        self.unpack.rx_keep.next = self.tlp_rx_keep.val();
        self.unpack.rx_last.next = self.tlp_rx_last.val();
        self.unpack.rx_bar.next = self.tlp_rx_bar.val();
        self.tlp_rx_ready.next = self.unpack.rx_ready.val();
        self.dw_taken.next = (!self.dw_full.q.val()) | self.receive.dw_ready.val();
        self.unpack.dw_ready.next = self.dw_taken.val();
        if self.dw_taken.val() {
            self.dw_full.d.next = self.unpack.dw_valid.val();
            self.dw.d.next = self.unpack.dw.val();
            self.dw_last.d.next = self.unpack.dw_last.val();
            self.dw_bar.d.next = self.unpack.dw_bar.val();
        }
        self.receive.dw_valid.next = self.dw_full.q.val();
        self.receive.dw_last.next = self.dw_last.q.val();
        self.receive.dw_bar.next = self.dw_bar.q.val();
        self.receive.dw.next = self.dw.q.val();
        self.receive.max_payload.next = self.cfg_max_payload.val();
        self.tlp_rx_np_ok.next = self.receive.np_ok.val();
        self.access.write_valid.next = self.receive.write_valid.val();
        self.access.write.next = self.receive.write.val();
        self.access.payload.next = self.receive.payload.val();
        self.access.read_valid.next = self.receive.read_valid.val();
        self.access.read.next = self.receive.read.val();
        self.receive.write_pop.next = self.access.write_pop.val();
        self.receive.payload_pop.next = self.access.payload_pop.val();
        self.receive.read_pop.next = self.access.read_pop.val();
        self.completion.d.next = self.receive.completion.val();
        self.completion_head.d.next = self.receive.completion_head.val();
        self.completion_data.d.next = self.receive.completion_data.val();
        self.completion_dw.d.next = self.receive.completion_dw.val();
        self.completion_end.d.next = self.receive.completion_end.val();
        self.completion_poisoned.d.next = self.receive.completion_poisoned.val();
        self.fetch.completion.next = self.completion.q.val();
        self.fetch.completion_head.next = self.completion_head.q.val();
        // a clock later, as the end is already: what waits for the completion is looked up meanwhile
        self.late_data.d.next = self.completion_data.q.val();
        self.late_dw.d.next = self.completion_dw.q.val();
        self.fetch.completion_data.next = self.late_data.q.val();
        self.fetch.completion_dw.next = self.late_dw.q.val();
        self.fetch.completion_end.next = self.completion_end.q.val();
        self.fetch.completion_poisoned.next = self.completion_poisoned.q.val();
        // requests of the host
        self.access.id.next = self.cfg_id.val();
        self.access.max_payload.next = self.cfg_max_payload.val();
        self.access.refuse.next = self.refuse.val();
        self.access.posted.next = self.post.accepted.val();
        self.write.d.next = self.access.csr_write.val();
        self.bar2.d.next = self.access.csr_bar2.val();
        self.addr.d.next = self.access.csr_addr.val();
        self.wdata.d.next = self.access.csr_wdata.val();
        if self.clear.own.val() {
            self.write.d.next = self.clear.csr_write.val();
            self.bar2.d.next = self.clear.csr_bar2.val();
            self.addr.d.next = self.clear.csr_addr.val();
            self.wdata.d.next = 0.into();
        }
        self.csr_write.next = self.write.q.val();
        self.csr_bar2.next = self.bar2.q.val();
        self.csr_addr.next = self.addr.q.val();
        self.csr_wdata.next = self.wdata.q.val();
        self.read.d.next = self.access.csr_read.val();
        self.raddr.d.next = self.access.csr_raddr.val();
        self.csr_read.next = self.read.q.val();
        self.csr_raddr.next = self.raddr.q.val();
        self.done.d.next = self.csr_done.val();
        // stands until the next: `access` puts it into a completion a clock after it has come
        if self.csr_done.val() {
            self.rdata.d.next = self.csr_rdata.val();
        }
        self.access.csr_done.next = self.done.q.val();
        self.access.csr_rdata.next = self.rdata.q.val();
        self.access.table_data.next = self.msix.read_data.val();
        self.access.moderation.next = self.msix.moderation.val();
        self.access.pending.next = self.msix.pending.val();
        self.access.state_data.next = self.state.data.val();
        self.state.word.next = self.access.state_word.val();
        self.state.write.next = self.access.state_write.val();
        self.state.wdata.next = self.access.state_wdata.val();
        self.mac_word.next = self.state.mac_word.val();
        self.mac_write.next = self.state.mac_write.val();
        self.mac_wdata.next = self.state.mac_wdata.val();
        self.state.mac_data.next = self.mac_data.val();
        // interrupts
        // a clock late, as no message is sent meanwhile: it reaches every bit of both vectors
        self.reset.d.next = self.refuse.val();
        self.msix.reset.next = self.reset.q.val();
        self.msix.irq.next = self.irq.val();
        self.msix.enable.next = self.cfg_msix_enable.val();
        self.msix.function_mask.next = self.cfg_msix_mask.val();
        // not a clock late: an event that is still pending is not lost, and a message that Post throws away is
        self.msix.go.next = self.cfg_bus_master.val() & (!self.refuse.val());
        self.msix.write.next = self.access.entry.val();
        self.msix.vector.next = self.access.vector.val();
        self.msix.moderate.next = self.access.moderate.val();
        self.msix.read_word.next = self.access.table_word.val();
        self.post.message_valid.next = self.msix.message_valid.val();
        self.post.message_addr.next = self.msix.message_addr.val();
        self.post.message_data.next = self.msix.message_data.val();
        self.msix.message_ready.next = self.post.message_ready.val();
        // DMA
        self.post.id.next = self.cfg_id.val();
        self.post.go.next = self.go.q.val();
        self.stage.mw_valid.next = self.mw_valid.val();
        self.stage.mw_addr.next = self.mw_addr.val();
        self.stage.mw_data.next = self.mw_data.val();
        self.stage.mw_last.next = self.mw_last.val();
        self.stage.room.next = self.post.spare.val();
        self.mw_ready.next = self.stage.mw_ready.val();
        self.post.mw_valid.next = self.stage.out_valid.val();
        self.post.mw_addr.next = self.stage.out_addr.val();
        self.post.mw_data.next = self.stage.out_data.val();
        self.post.mw_last.next = self.stage.out_last.val();
        self.post.mw_fits.next = self.stage.out_fits.val();
        self.stage.page.next = self.post.mw_page.val();
        self.stage.place.next = self.post.mw_next.val();
        self.stage.longer.next = self.post.mw_longer.val();
        self.stage.out_ready.next = self.post.mw_ready.val();
        self.fetch.id.next = self.cfg_id.val();
        self.fetch.go.next = self.go.q.val();
        self.fetch.max_read.next = self.cfg_max_read.val();
        self.fetch.posted.next = self.post.accepted.val();
        self.fetch.hold.next = self.stage.out_valid.val();
        self.fetch.mr_valid.next = self.mr_valid.val();
        self.fetch.mr_addr.next = self.mr_addr.val();
        self.fetch.mr_len.next = self.mr_len.val();
        self.mr_ready.next = self.fetch.mr_ready.val();
        self.md_valid.next = self.fetch.md_valid.val();
        self.md_data.next = self.fetch.md_data.val();
        self.md_last.next = self.fetch.md_last.val();
        self.md_error.next = self.fetch.md_error.val();
        self.fetch.md_ready.next = self.md_ready.val();
        // to the link
        self.transmit.p_valid.next = self.post.dw_valid.val();
        self.transmit.p_dw.next = self.post.dw.val();
        self.transmit.p_last.next = self.post.dw_last.val();
        self.post.dw_ready.next = self.transmit.p_ready.val();
        self.transmit.credit_p.next = self.credit_p.val();
        self.transmit.n_valid.next = self.fetch.dw_valid.val();
        self.transmit.n_dw.next = self.fetch.dw.val();
        self.transmit.n_last.next = self.fetch.dw_last.val();
        self.fetch.dw_ready.next = self.transmit.n_ready.val();
        self.transmit.n_after.next = self.fetch.after.val();
        self.transmit.credit_n.next = self.credit_n.val();
        self.transmit.c_valid.next = self.access.dw_valid.val();
        self.transmit.c_dw.next = self.access.dw.val();
        self.transmit.c_last.next = self.access.dw_last.val();
        self.access.dw_ready.next = self.transmit.c_ready.val();
        self.transmit.c_after.next = self.access.after.val();
        self.transmit.credit_c.next = self.credit_c.val();
        self.transmit.posted_sent.next = self.post.sent.val();
        self.transmit.tx_ready.next = self.tlp_tx_ready.val();
        self.tlp_tx_valid.next = self.transmit.tx_valid.val();
        self.tlp_tx_data.next = self.transmit.tx_data.val();
        self.tlp_tx_keep.next = self.transmit.tx_keep.val();
        self.tlp_tx_last.next = self.transmit.tx_last.val();
        // reset
        self.clear.start.next = self.cfg_flr.val();
        self.clear.access_quiet.next = self.access.quiet.val();
        self.drained.d.next = self.core_drained.val()
            & (!self.post.busy.val())
            & (!self.fetch.busy.val())
            & (!self.stage.out_valid.val());
        self.clear.drained.next = self.drained.q.val();
        self.core_wipe.next = self.clear.wipe.val();
        // registers
        self.setup.next = (bit_cast::<32, 16>(self.cfg_id.val()) << 16)
            | (bit_cast::<32, 3>(self.cfg_max_read.val()) << 8)
            | (bit_cast::<32, 3>(self.cfg_max_payload.val()) << 4);
        self.setup.next = self.setup.val().replace_bit(0, self.cfg_bus_master.val());
        self.setup.next = self.setup.val().replace_bit(1, self.cfg_msix_enable.val());
        self.setup.next = self.setup.val().replace_bit(2, self.cfg_msix_mask.val());
        self.setup.next = self.setup.val().replace_bit(3, self.refuse.val());
        self.state.setup.next = self.setup.val();
        self.events.next = 0.into();
        self.events.next = self.events.val().replace_bit(0, self.receive.count_write.val());
        self.events.next = self.events.val().replace_bit(1, self.receive.count_read.val());
        self.events.next = self.events.val().replace_bit(2, self.receive.count_unsupported.val());
        self.events.next = self.events.val().replace_bit(3, self.access.count_aborted.val());
        self.events.next = self.events.val().replace_bit(4, self.receive.count_malformed.val());
        self.events.next = self.events.val().replace_bit(5, self.receive.count_poisoned.val());
        self.events.next = self.events.val().replace_bit(6, self.fetch.count_unexpected.val());
        self.events.next = self.events.val().replace_bit(7, self.fetch.count_timeout.val());
        self.events.next = self.events.val().replace_bit(8, self.fetch.count_error.val());
        self.events.next = self.events.val().replace_bit(9, self.post.dropped.val());
        self.events.next = self.events.val().replace_bit(10, self.clear.done.val());
        self.counted.d.next = self.events.val();
        self.twice_dropped.d.next = self.access.count_dropped.val();
        self.twice_unsupported.d.next = self.access.count_unsupported.val();
        self.state.events.next = self.counted.q.val();
        self.state.dropped.next = self.twice_dropped.q.val();
        self.state.unsupported.next = self.twice_unsupported.q.val();
        self.resetting.next = self.refuse.val();
        self.pending.next = self.fetch.pending.val();
        self.calm.d.next = (!self.receive.busy.val())
            & (!self.stage.out_valid.val())
            & (!self.write.q.val())
            & (!self.completion_end.q.val())
            & (!self.unpack.dw_valid.val())
            & (!self.access.busy.val())
            & (!self.post.busy.val())
            & (!self.fetch.busy.val())
            & (!self.msix.busy.val())
            & (!self.transmit.busy.val())
            & (!self.refuse.val());
        self.idle.next = self.calm.q.val();
    }
}
