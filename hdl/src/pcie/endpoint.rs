//! The endpoint: the core and the transaction layer.
//!
//! See [`super`] for the drawing and the TLP stream.

use crate::core::Core;
use crate::prelude::*;
use crate::prim::Quiet;
use crate::wide::Wide;
use crate::FastBlock;
use nat64_layout::pcie::COMPLETION_TIMEOUT_LOG2;

use super::layer::Layer;

/// The endpoint with the core at 64 bits.
pub type Endpoint64 = Endpoint<
    64,
    11,
    3,
    9,
    { nat64_layout::RECORD_LOG2 },
    { nat64_layout::BUCKET_LOG2 },
    4,
    5,
    4,
    1,
    1,
    COMPLETION_TIMEOUT_LOG2,
>;

/// The endpoint with the core at 512 bits.
pub type Endpoint512 = Endpoint<
    512,
    2,
    6,
    7,
    { nat64_layout::RECORD_LOG2 },
    { nat64_layout::BUCKET_LOG2 },
    6,
    7,
    5,
    7,
    6,
    COMPLETION_TIMEOUT_LOG2,
>;

/// See the module documentation. Parameters are those of [`Core`], and the completion timeout in clocks, log2.
#[derive(FastBlock, Default)]
pub struct Endpoint<
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
    const TIMEOUT_LOG2: usize,
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
    /// Nothing is in flight anywhere.
    pub idle: Signal<Out, Bit>,
    /// Word of a network port's MAC: bit 4 the port, bits 3:0 its word.
    pub mac_word: Signal<Out, Bits<5>>,
    /// It is written.
    pub mac_write: Signal<Out, Bit>,
    /// What is written.
    pub mac_wdata: Signal<Out, Bits<32>>,
    /// That word, `totals::READ` clocks later at the latest; 0 where there is no MAC.
    pub mac_data: Signal<In, Bits<32>>,
    core: Core<W, HB, LB, RN, RECORD_LOG2, BUCKET_LOG2, DN, EN, RING, WORDS, FINAL>,
    layer: Layer<BUCKET_LOG2, TIMEOUT_LOG2>,
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
        const TIMEOUT_LOG2: usize,
    > Logic for Endpoint<W, HB, LB, RN, RECORD_LOG2, BUCKET_LOG2, DN, EN, RING, WORDS, FINAL, TIMEOUT_LOG2>
{
    #[hdl_gen]
    fn update(&mut self) {
        clock!(self, clock, core, layer);
        // ports
        self.core.time_ns.next = self.time_ns.val();
        self.core.rx0_valid.next = self.rx0_valid.val();
        self.core.rx0_data.next = self.rx0_data.val();
        self.core.rx0_count.next = self.rx0_count.val();
        self.core.rx0_first.next = self.rx0_first.val();
        self.core.rx0_last.next = self.rx0_last.val();
        self.core.rx0_error.next = self.rx0_error.val();
        self.rx0_ready.next = self.core.rx0_ready.val();
        self.core.rx1_valid.next = self.rx1_valid.val();
        self.core.rx1_data.next = self.rx1_data.val();
        self.core.rx1_count.next = self.rx1_count.val();
        self.core.rx1_first.next = self.rx1_first.val();
        self.core.rx1_last.next = self.rx1_last.val();
        self.core.rx1_error.next = self.rx1_error.val();
        self.rx1_ready.next = self.core.rx1_ready.val();
        self.tx0_valid.next = self.core.tx0_valid.val();
        self.tx0_data.next = self.core.tx0_data.val();
        self.tx0_count.next = self.core.tx0_count.val();
        self.tx0_first.next = self.core.tx0_first.val();
        self.tx0_last.next = self.core.tx0_last.val();
        self.tx0_error.next = self.core.tx0_error.val();
        self.core.tx0_ready.next = self.tx0_ready.val();
        self.tx1_valid.next = self.core.tx1_valid.val();
        self.tx1_data.next = self.core.tx1_data.val();
        self.tx1_count.next = self.core.tx1_count.val();
        self.tx1_first.next = self.core.tx1_first.val();
        self.tx1_last.next = self.core.tx1_last.val();
        self.tx1_error.next = self.core.tx1_error.val();
        self.core.tx1_ready.next = self.tx1_ready.val();
        // link block
        self.layer.tlp_rx_valid.next = self.tlp_rx_valid.val();
        self.tlp_rx_ready.next = self.layer.tlp_rx_ready.val();
        self.layer.tlp_rx_data.next = self.tlp_rx_data.val();
        self.layer.tlp_rx_keep.next = self.tlp_rx_keep.val();
        self.layer.tlp_rx_last.next = self.tlp_rx_last.val();
        self.layer.tlp_rx_bar.next = self.tlp_rx_bar.val();
        self.tlp_rx_np_ok.next = self.layer.tlp_rx_np_ok.val();
        self.tlp_tx_valid.next = self.layer.tlp_tx_valid.val();
        self.layer.tlp_tx_ready.next = self.tlp_tx_ready.val();
        self.tlp_tx_data.next = self.layer.tlp_tx_data.val();
        self.tlp_tx_keep.next = self.layer.tlp_tx_keep.val();
        self.tlp_tx_last.next = self.layer.tlp_tx_last.val();
        self.layer.credit_p.next = self.credit_p.val();
        self.layer.credit_n.next = self.credit_n.val();
        self.layer.credit_c.next = self.credit_c.val();
        self.layer.cfg_id.next = self.cfg_id.val();
        self.layer.cfg_max_payload.next = self.cfg_max_payload.val();
        self.layer.cfg_max_read.next = self.cfg_max_read.val();
        self.layer.cfg_bus_master.next = self.cfg_bus_master.val();
        self.layer.cfg_msix_enable.next = self.cfg_msix_enable.val();
        self.layer.cfg_msix_mask.next = self.cfg_msix_mask.val();
        self.layer.cfg_flr.next = self.cfg_flr.val();
        self.resetting.next = self.layer.resetting.val();
        self.pending.next = self.layer.pending.val();
        // core and layer
        self.core.csr_write.next = self.layer.csr_write.val();
        self.core.csr_bar2.next = self.layer.csr_bar2.val();
        self.core.csr_addr.next = self.layer.csr_addr.val();
        self.core.csr_wdata.next = self.layer.csr_wdata.val();
        self.core.csr_read.next = self.layer.csr_read.val();
        self.core.csr_raddr.next = self.layer.csr_raddr.val();
        self.layer.csr_done.next = self.core.csr_done.val();
        self.layer.csr_rdata.next = self.core.csr_rdata.val();
        self.layer.mw_valid.next = self.core.mw_valid.val();
        self.core.mw_ready.next = self.layer.mw_ready.val();
        self.layer.mw_addr.next = self.core.mw_addr.val();
        self.layer.mw_data.next = self.core.mw_data.val();
        self.layer.mw_last.next = self.core.mw_last.val();
        self.layer.mr_valid.next = self.core.mr_valid.val();
        self.core.mr_ready.next = self.layer.mr_ready.val();
        self.layer.mr_addr.next = self.core.mr_addr.val();
        self.layer.mr_len.next = self.core.mr_len.val();
        self.core.md_valid.next = self.layer.md_valid.val();
        self.core.md_data.next = self.layer.md_data.val();
        self.core.md_last.next = self.layer.md_last.val();
        self.core.md_error.next = self.layer.md_error.val();
        self.layer.md_ready.next = self.core.md_ready.val();
        self.layer.irq.next = self.core.irq.val();
        self.layer.core_drained.next = self.core.drained.val();
        self.core.wipe.next = self.layer.core_wipe.val();
        // MACs
        self.mac_word.next = self.layer.mac_word.val();
        self.mac_write.next = self.layer.mac_write.val();
        self.mac_wdata.next = self.layer.mac_wdata.val();
        self.layer.mac_data.next = self.mac_data.val();
        self.idle.next = self.layer.idle.val() & self.core.idle.val();
    }
}
