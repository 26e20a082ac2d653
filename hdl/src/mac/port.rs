//! Port: a network port of 1 Gbit/s, from the double data rate registers of RGMII to the core's streams.
//!
//! ```text
//!  rise, fall --> | RgmiiReceive  | --> | Receive  | --> |        | --> rx stream
//!                    receive clock                       | Bridge |     core's clock
//!  rise, fall <-- | RgmiiTransmit | <-- | Transmit | <-- |        | <-- tx stream
//!                    transmit clock                      word of the state --\
//!  mdc, mdio <--> | Mdio |                                                    +--> word_data
//!                    core's clock                                 word 14 --/
//! ```
//!
//! Words 0 to 13 are those of [`nat64_layout::pcie::MAC_WORDS`], word 14 is the PHY's (`Mac0Mdio` of the layout). Bit 31 of word 0 says that
//! there is a MAC.
//!
//! The store has 16 KiB, so that it holds the longest frame and more than half of another.

use crate::prelude::*;
use crate::prim::{Domains, Edge, Quiet};
use crate::wide::Wide;
use crate::FastBlock;

use super::bridge::Bridge;
use super::mdio::Mdio;
use super::receive::Receive;
use super::rgmii::{RgmiiReceive, RgmiiTransmit};
use super::transmit::Transmit;

/// See the module documentation.
#[derive(FastBlock, Default)]
pub struct RgmiiPort {
    /// Clock of the core.
    pub core_clock: Signal<In, Clock>,
    /// Receive clock, from the PHY.
    pub rx_clock: Signal<In, Clock>,
    /// Transmit clock, 125 MHz.
    pub tx_clock: Signal<In, Clock>,
    /// Receive clock: data at the rising edge.
    pub rxd_rise: Signal<In, Bits<4>>,
    /// Receive clock: data at the falling edge behind it.
    pub rxd_fall: Signal<In, Bits<4>>,
    /// Receive clock: control at the rising edge.
    pub rx_ctl_rise: Signal<In, Bit>,
    /// Receive clock: control at the falling edge behind it.
    pub rx_ctl_fall: Signal<In, Bit>,
    /// Transmit clock: data for the rising edge.
    pub txd_rise: Signal<Out, Bits<4>>,
    /// Transmit clock: data for the falling edge behind it.
    pub txd_fall: Signal<Out, Bits<4>>,
    /// Transmit clock: control for the rising edge.
    pub tx_ctl_rise: Signal<Out, Bit>,
    /// Transmit clock: control for the falling edge behind it.
    pub tx_ctl_fall: Signal<Out, Bit>,
    /// There is a beat for the core.
    pub rx_valid: Signal<Out, Bit>,
    /// It is taken.
    pub rx_ready: Signal<In, Bit>,
    /// Its bytes.
    pub rx_data: Signal<Out, Wide<64>>,
    /// Valid bytes of the last beat, 0 for all.
    pub rx_count: Signal<Out, Bits<3>>,
    /// First beat of a frame.
    pub rx_first: Signal<Out, Bit>,
    /// Last beat of a frame.
    pub rx_last: Signal<Out, Bit>,
    /// There is a beat of the core.
    pub tx_valid: Signal<In, Bit>,
    /// It is taken.
    pub tx_ready: Signal<Out, Bit>,
    /// Its bytes.
    pub tx_data: Signal<In, Wide<64>>,
    /// Valid bytes of the last beat, 0 for all.
    pub tx_count: Signal<In, Bits<3>>,
    /// Last beat of a frame.
    pub tx_last: Signal<In, Bit>,
    /// With `tx_last`: the frame is damaged.
    pub tx_error: Signal<In, Bit>,
    /// Word to read or write.
    pub word: Signal<In, Bits<4>>,
    /// That word, `state::READ` clocks later.
    pub word_data: Signal<Out, Bits<32>>,
    /// It is written; only word 14 can be.
    pub word_write: Signal<In, Bit>,
    /// What is written.
    pub word_wdata: Signal<In, Bits<32>>,
    /// Management data clock of the PHY.
    pub mdc: Signal<Out, Bit>,
    /// What is driven to the PHY's management pin.
    pub mdio_out: Signal<Out, Bit>,
    /// It is driven; else the pin is released.
    pub mdio_enable: Signal<Out, Bit>,
    /// What the pin has.
    pub mdio_in: Signal<In, Bit>,
    /// The link is up at 1000 Mbit/s.
    pub up: Signal<Out, Bit>,
    rgmii_receive: RgmiiReceive,
    receive: Receive,
    bridge: Bridge<64, 3, 11, 12>,
    transmit: Transmit,
    rgmii_transmit: RgmiiTransmit,
    mdio: Mdio<5>,
    phy_word: Signal<Local, Bits<32>>,
    sent: Signal<Local, Bits<3>>,
    _quiet: Quiet,
}

impl RgmiiPort {
    /// Lets synchronizers be unsure about changes beside an edge; see [`super::sync::Synchronizer::unsure`].
    pub fn unsure(&mut self, seed: u64) {
        self.bridge.unsure(seed);
    }
}

impl Domains for RgmiiPort {
    const CLOCKS: &'static [&'static str] = &["core_clock", "rx_clock", "tx_clock"];
    fn edge_of(&mut self, clock: usize) {
        let moved = match clock {
            0 => self.bridge.core_edge() | self.mdio.edge(),
            1 => self.rgmii_receive.edge() | self.receive.edge() | self.bridge.rx_edge(),
            _ => self.rgmii_transmit.edge() | self.transmit.edge() | self.bridge.tx_edge(),
        };
        self._quiet.after_edge(moved);
    }
}

impl Logic for RgmiiPort {
    #[hdl_gen]
    fn update(&mut self) {
        clock!(self, rx_clock, rgmii_receive, receive);
        clock!(self, tx_clock, rgmii_transmit, transmit);
        self.bridge.core_clock.next = self.core_clock.val();
        self.bridge.rx_clock.next = self.rx_clock.val();
        self.bridge.tx_clock.next = self.tx_clock.val();
        // receive
        self.rgmii_receive.data_rise.next = self.rxd_rise.val();
        self.rgmii_receive.data_fall.next = self.rxd_fall.val();
        self.rgmii_receive.control_rise.next = self.rx_ctl_rise.val();
        self.rgmii_receive.control_fall.next = self.rx_ctl_fall.val();
        self.receive.valid.next = self.rgmii_receive.valid.val();
        self.receive.error.next = self.rgmii_receive.error.val();
        self.receive.data.next = self.rgmii_receive.data.val();
        self.receive.status.next = self.rgmii_receive.status.val();
        self.receive.room.next = self.bridge.rx_room.val();
        self.bridge.rx_push.next = self.receive.push.val();
        self.bridge.rx_word.next = self.receive.word.val();
        self.bridge.rx_meta.next = self.receive.meta.val();
        self.rx_valid.next = self.bridge.rx_valid.val();
        self.bridge.rx_ready.next = self.rx_ready.val();
        self.rx_data.next = self.bridge.rx_data.val();
        self.rx_count.next = self.bridge.rx_count.val();
        self.rx_first.next = self.bridge.rx_first.val();
        self.rx_last.next = self.bridge.rx_last.val();
        // transmit
        self.bridge.tx_valid.next = self.tx_valid.val();
        self.tx_ready.next = self.bridge.tx_ready.val();
        self.bridge.tx_data.next = self.tx_data.val();
        self.bridge.tx_count.next = self.tx_count.val();
        self.bridge.tx_last.next = self.tx_last.val();
        self.bridge.tx_error.next = self.tx_error.val();
        self.transmit.word_valid.next = self.bridge.tx_word_valid.val();
        self.transmit.word.next = self.bridge.tx_word.val();
        self.transmit.meta.next = self.bridge.tx_meta.val();
        self.bridge.tx_pop.next = self.transmit.pop.val();
        self.rgmii_transmit.valid.next = self.transmit.valid.val();
        self.rgmii_transmit.error.next = self.transmit.error.val();
        self.rgmii_transmit.data.next = self.transmit.data.val();
        self.txd_rise.next = self.rgmii_transmit.data_rise.val();
        self.txd_fall.next = self.rgmii_transmit.data_fall.val();
        self.tx_ctl_rise.next = self.rgmii_transmit.control_rise.val();
        self.tx_ctl_fall.next = self.rgmii_transmit.control_fall.val();
        // what is known
        self.sent.next = bit_cast::<3, 1>(self.transmit.good.val().into())
            | (bit_cast::<3, 1>(self.transmit.poisoned.val().into()) << 1)
            | (bit_cast::<3, 1>(self.transmit.underrun.val().into()) << 2);
        self.bridge.sent.next = self.sent.val();
        self.bridge.word.next = self.word.val();
        self.word_data.next = self.bridge.word_data.val();
        if self.word.val() == 0 {
            self.word_data.next = self.bridge.word_data.val().replace_bit(31, true);
        }
        // the PHY
        self.mdio.clock.next = self.core_clock.val();
        self.mdio.go.next = self.word_write.val() & (self.word.val() == 14) & self.word_wdata.val().get_bit(31);
        self.mdio.write.next = self.word_wdata.val().get_bit(30);
        self.mdio.phy.next = self.word_wdata.val().get_bits::<5>(21);
        self.mdio.register.next = self.word_wdata.val().get_bits::<5>(16);
        self.mdio.wdata.next = self.word_wdata.val().get_bits::<16>(0);
        self.phy_word.next = bit_cast::<32, 16>(self.mdio.rdata.val());
        self.phy_word.next = self.phy_word.val().replace_bit(28, self.mdio.answered.val());
        self.phy_word.next = self.phy_word.val().replace_bit(29, self.mdio.busy.val());
        if self.word.val() == 14 {
            self.word_data.next = self.phy_word.val();
        }
        self.mdc.next = self.mdio.mdc.val();
        self.mdio_out.next = self.mdio.mdio_out.val();
        self.mdio_enable.next = self.mdio.mdio_enable.val();
        self.mdio.mdio_in.next = self.mdio_in.val();
        self.up.next = self.bridge.up.val();
    }
}
