//! SerialLink: a link block on two wires. See [`super`] for the drawing.
//!
//! `tlp_rx_*` and `tlp_tx_*` are named as at the transaction layer they lead to: `rx` is what the card receives.

use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::wide::Wide;
use crate::FastBlock;

use super::receive::SerialReceive;
use super::transmit::SerialTransmit;
use super::uart::{UartReceive, UartTransmit};

/// See the module documentation. `DIV`: clocks of a bit; `RESEND`: clocks until frames are sent again, log2.
#[derive(FastBlock, Default)]
pub struct SerialLink<const DIV: usize, const RESEND: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// The line from the host.
    pub rx: Signal<In, Bit>,
    /// The line to the host.
    pub tx: Signal<Out, Bit>,
    /// There is a beat of a TLP for the card.
    pub tlp_rx_valid: Signal<Out, Bit>,
    /// It is taken.
    pub tlp_rx_ready: Signal<In, Bit>,
    /// Two DWs, the first in the low half.
    pub tlp_rx_data: Signal<Out, Wide<64>>,
    /// Which of them there are: 1 the first, 3 both.
    pub tlp_rx_keep: Signal<Out, Bits<2>>,
    /// Last beat of a TLP.
    pub tlp_rx_last: Signal<Out, Bit>,
    /// BAR that a memory request hits: bit 0 BAR0, bit 1 BAR2.
    pub tlp_rx_bar: Signal<Out, Bits<2>>,
    /// Non-posted requests may be delivered.
    pub tlp_rx_np_ok: Signal<In, Bit>,
    /// There is a beat of a TLP of the card.
    pub tlp_tx_valid: Signal<In, Bit>,
    /// It is taken.
    pub tlp_tx_ready: Signal<Out, Bit>,
    /// Two DWs, the first in the low half.
    pub tlp_tx_data: Signal<In, Wide<64>>,
    /// Which of them there are: 1 the first, 3 both.
    pub tlp_tx_keep: Signal<In, Bits<2>>,
    /// Last beat of a TLP.
    pub tlp_tx_last: Signal<In, Bit>,
    /// Bus, device and function number.
    pub cfg_id: Signal<Out, Bits<16>>,
    /// Max_Payload_Size: 128 bytes shifted left by this.
    pub cfg_max_payload: Signal<Out, Bits<3>>,
    /// Max_Read_Request_Size: 128 bytes shifted left by this.
    pub cfg_max_read: Signal<Out, Bits<3>>,
    /// Bus Master Enable.
    pub cfg_bus_master: Signal<Out, Bit>,
    /// MSI-X Enable.
    pub cfg_msix_enable: Signal<Out, Bit>,
    /// MSI-X Function Mask.
    pub cfg_msix_mask: Signal<Out, Bit>,
    /// Begins a function-level reset.
    pub cfg_flr: Signal<Out, Bit>,
    /// A function-level reset is under way.
    pub resetting: Signal<In, Bit>,
    /// Transactions Pending.
    pub pending: Signal<In, Bit>,
    /// Nothing is in flight in the card.
    pub idle: Signal<In, Bit>,
    /// A TLP waits for the card, or to be sent and acknowledged.
    pub busy: Signal<Out, Bit>,
    uart_receive: UartReceive<DIV>,
    receive: SerialReceive,
    transmit: SerialTransmit<RESEND>,
    uart_transmit: UartTransmit<DIV>,
    /// A reset was asked for a few clocks ago: the frame that acknowledges it says so, even if `resetting` follows a little later.
    begun: Reg<Bits<4>>,
    status: Signal<Local, Bits<8>>,
    setup: Signal<Local, Bits<32>>,
    working: Signal<Local, Bit>,
    calm: Signal<Local, Bit>,
    _quiet: Quiet,
}

impl<const DIV: usize, const RESEND: usize> Logic for SerialLink<DIV, RESEND> {
    #[hdl_gen]
    fn update(&mut self) {
        clock!(self, clock, uart_receive, receive, transmit, uart_transmit);
        dff_setup!(self, clock, begun);
        self.uart_receive.pin.next = self.rx.val();
        self.receive.octet_valid.next = self.uart_receive.valid.val();
        self.receive.octet.next = self.uart_receive.octet.val();
        self.receive.octet_fault.next = self.uart_receive.fault.val();
        self.tlp_rx_valid.next = self.receive.tlp_valid.val();
        self.receive.tlp_ready.next = self.tlp_rx_ready.val();
        self.tlp_rx_data.next = self.receive.tlp_data.val();
        self.tlp_rx_keep.next = self.receive.tlp_keep.val();
        self.tlp_rx_last.next = self.receive.tlp_last.val();
        self.tlp_rx_bar.next = self.receive.tlp_bar.val();
        self.receive.np_ok.next = self.tlp_rx_np_ok.val();
        self.transmit.tlp_valid.next = self.tlp_tx_valid.val();
        self.tlp_tx_ready.next = self.transmit.tlp_ready.val();
        self.transmit.tlp_data.next = self.tlp_tx_data.val();
        self.transmit.tlp_keep.next = self.tlp_tx_keep.val();
        self.transmit.tlp_last.next = self.tlp_tx_last.val();
        self.transmit.heard.next = self.receive.heard.val();
        self.transmit.heard_awaited.next = self.receive.heard_awaited.val();
        self.transmit.heard_nak.next = self.receive.heard_nak.val();
        self.transmit.hello.next = self.receive.hello.val();
        self.transmit.accepted.next = self.receive.accepted.val();
        self.transmit.refused.next = self.receive.refused.val();
        self.transmit.awaited.next = self.receive.awaited.val();
        self.uart_transmit.valid.next = self.transmit.octet_valid.val();
        self.uart_transmit.octet.next = self.transmit.octet.val();
        self.transmit.octet_ready.next = self.uart_transmit.ready.val();
        self.tx.next = self.uart_transmit.pin.val();
        self.begun.d.next = self.begun.q.val() << 1;
        if self.receive.reset.val() {
            self.begun.d.next = (self.begun.q.val() << 1) | 1;
        }
        self.working.next = self.receive.busy.val() | self.transmit.busy.val();
        self.busy.next = self.working.val();
        self.calm.next = self.idle.val() & (!self.working.val());
        self.status.next = bit_cast::<8, 5>(self.receive.damaged.val()) << 3;
        self.status.next = self.status.val().replace_bit(
            0,
            self.resetting.val() | self.begun.q.val().any() | self.receive.reset.val(),
        );
        self.status.next = self.status.val().replace_bit(1, self.pending.val());
        self.status.next = self.status.val().replace_bit(2, self.calm.val());
        self.transmit.status.next = self.status.val();
        self.setup.next = self.receive.setup.val();
        self.cfg_bus_master.next = self.setup.val().get_bit(0);
        self.cfg_msix_enable.next = self.setup.val().get_bit(1);
        self.cfg_msix_mask.next = self.setup.val().get_bit(2);
        self.cfg_max_payload.next = self.setup.val().get_bits::<3>(8);
        self.cfg_max_read.next = self.setup.val().get_bits::<3>(11);
        self.cfg_id.next = self.setup.val().get_bits::<16>(16);
        self.cfg_flr.next = self.receive.reset.val();
    }
}
