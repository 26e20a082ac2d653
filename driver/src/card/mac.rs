//! MACs and PHYs of the network ports, for cards that have their own.
//!
//! ```text
//!  MacPStatus, MacPRxGood .. MacPTxUnderrun --> MacCounters
//!  MacPMdio <--> registers of the port's PHY (IEEE 802.3, clause 22)
//! ```
//!
//! All of this is for people who look: no packet waits for it.

use nat64_layout::pcie::{mac_base, MAC_WORDS};
use nat64_layout::regs::{Mac0Mdio, Mac0Status};
use nat64_layout::PORTS;

use super::{Bus, Card};
use crate::transport::DeviceError;
use std::time::{Duration, Instant};

/// What a MAC counts, in the order of its registers behind the status.
pub const fn counted() -> [&'static str; MAC_WORDS.len() - 1] {
    let [_, counted @ ..] = MAC_WORDS;
    counted
}

/// An access to a PHY takes 64 bits of some 0.5 us; longer than this and nothing answers at the card's end.
const ACCESS: Duration = Duration::from_millis(100);
/// Addresses a PHY can have (22.2.4.5.5).
const ADDRESSES: u8 = 32;
/// Registers of clause 22 that say what a PHY is and how its link is: 22.2.4.2, 22.2.4.3.1.
const STATUS: u8 = 1;
const IDENTIFIER: u8 = 2;

/// A port's MAC: its link, and its counters since power-on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MacCounters {
    /// The link is up at the rate the MAC works at, and its clock runs.
    pub link_up: bool,
    /// Rate by what the PHY says, Mbit/s.
    pub mbits: u32,
    /// Full duplex.
    pub full_duplex: bool,
    /// Frames, in the order of [`counted`]; 32 bits, which wrap.
    pub frames: [u32; MAC_WORDS.len() - 1],
}

/// A port's PHY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phy {
    /// Its address on the management bus.
    pub address: u8,
    /// Registers 2 and 3: maker, model and revision.
    pub identifier: u32,
    /// It has a link.
    pub link_up: bool,
}

impl Card {
    /// The PHY of a port: the first that answers on the port's management bus; `None` where there is no MAC, or no PHY answers.
    ///
    /// # Errors
    /// The way to the card failed, or an access did not end.
    pub fn phy(&mut self, port: usize) -> Result<Option<Phy>, DeviceError> {
        if port >= PORTS || status(&mut self.bus, port)?.is_none() {
            return Ok(None);
        }
        for address in 0..ADDRESSES {
            let Some(high) = self.phy_read(port, address, IDENTIFIER)? else {
                continue;
            };
            let low = self.phy_read(port, address, IDENTIFIER + 1)?.unwrap_or(0);
            // a link that was lost is told once (22.2.4.2.13): what counts is the second time
            self.phy_read(port, address, STATUS)?;
            let status = self.phy_read(port, address, STATUS)?.unwrap_or(0);
            return Ok(Some(Phy {
                address,
                identifier: u32::from(high) << 16 | u32::from(low),
                link_up: status >> 2 & 1 == 1,
            }));
        }
        Ok(None)
    }

    /// Reads a register (0 to 31) of the PHY with this address (0 to 31); `None`: nothing answers there.
    ///
    /// # Errors
    /// As [`Card::phy`].
    pub fn phy_read(&mut self, port: usize, address: u8, register: u8) -> Result<Option<u16>, DeviceError> {
        let found = self.mdio(port, address, register, None)?;
        Ok((found.answered() == 1).then_some(found.data() as u16))
    }

    /// Writes a register of a PHY. Whether one took it cannot be told.
    ///
    /// # Errors
    /// As [`Card::phy`].
    pub fn phy_write(&mut self, port: usize, address: u8, register: u8, value: u16) -> Result<(), DeviceError> {
        self.mdio(port, address, register, Some(value)).map(|_| ())
    }

    fn mdio(&mut self, port: usize, address: u8, register: u8, value: Option<u16>) -> Result<Mac0Mdio, DeviceError> {
        let at = mac_base(port) + (Mac0Mdio::OFFSET - Mac0Status::OFFSET);
        let mut access = Mac0Mdio(0);
        access.set_go(1);
        access.set_phy(u32::from(address));
        access.set_register(u32::from(register));
        access.set_write(u32::from(value.is_some()));
        access.set_data(u32::from(value.unwrap_or(0)));
        self.bus.write(at, access.0)?;
        let begun = Instant::now();
        loop {
            let found = Mac0Mdio(self.bus.read(at)?);
            if found.busy() == 0 {
                return Ok(found);
            }
            let waited = begun.elapsed();
            if waited > ACCESS {
                return Err(DeviceError::Timeout {
                    what: "an access to a PHY",
                    waited,
                });
            }
        }
    }
}

/// The status of a port's MAC; `None` where there is none.
fn status(bus: &mut Bus, port: usize) -> Result<Option<Mac0Status>, DeviceError> {
    let status = Mac0Status(bus.read(mac_base(port))?);
    Ok((status.present() == 1).then_some(status))
}

/// Reads the MAC of a port; `None` where there is none.
pub(super) fn counters(bus: &mut Bus, port: usize) -> Result<Option<MacCounters>, DeviceError> {
    let Some(status) = status(bus, port)? else {
        return Ok(None);
    };
    let mbits = [10, 100, 1000, 0][status.speed() as usize];
    let mut found = MacCounters {
        link_up: status.link() == 1 && status.clock() == 1 && mbits == 1000,
        mbits,
        full_duplex: status.full_duplex() == 1,
        ..MacCounters::default()
    };
    for (offset, frames) in (mac_base(port) + 4..).step_by(4).zip(&mut found.frames) {
        *frames = bus.read(offset)?;
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::CardOptions;
    use crate::testing::FakeTransport;
    use nat64_layout::Geometry;

    fn open() -> (FakeTransport, Card) {
        let transport = FakeTransport::new(Geometry {
            record_log2: 4,
            bucket_log2: 3,
            stash: 4,
        });
        let card = Card::open(Box::new(transport.clone()), CardOptions::default()).expect("a card");
        (transport, card)
    }

    #[test]
    fn a_card_without_macs_has_none() {
        let (_, mut card) = open();
        assert_eq!(card.counters().expect("counters").macs, [None; PORTS]);
        assert_eq!(
            (card.phy(0).unwrap(), card.phy(1).unwrap(), card.phy(2).unwrap()),
            (None, None, None)
        );
    }

    #[test]
    fn macs_and_phys_are_told() {
        let (transport, mut card) = open();
        {
            let mut card = transport.card();
            card.bar0.insert(mac_base(1), 0x8000_001d);
            for i in 1..=13 {
                card.bar0.insert(mac_base(1) + 4 * i, 100 + i);
            }
            // address 3 on the bus of port 1: identifier, and a link that was lost and is back
            card.phys.insert((1, 3, 2), 0x0141);
            card.phys.insert((1, 3, 3), 0x0dd1);
            card.phys.insert((1, 3, 1), 0x796d);
        }
        let macs = card.counters().expect("counters").macs;
        let mac = macs[1].expect("a MAC");
        assert_eq!(
            (macs[0], mac.link_up, mac.mbits, mac.full_duplex),
            (None, true, 1000, true)
        );
        assert_eq!((mac.frames[0], mac.frames[12]), (101, 113));
        let phy = card.phy(1).unwrap().expect("a PHY");
        assert_eq!((phy.address, phy.identifier, phy.link_up), (3, 0x0141_0dd1, true));
        assert_eq!(card.phy(0).unwrap(), None);
        card.phy_write(1, 3, 0, 0x1200).unwrap();
        assert_eq!(card.phy_read(1, 3, 0).unwrap(), Some(0x1200));
        assert_eq!(card.phy_read(1, 4, 0).unwrap(), None, "nobody there");
        // a clock that stopped, or another rate: no link
        for status in [0x8000_000d, 0x8000_001b, 0x8000_001c] {
            transport.card().bar0.insert(mac_base(1), status);
            assert!(!card.counters().unwrap().macs[1].unwrap().link_up, "{status:x}");
        }
        // an access that does not end
        transport.card().faults.mdio = true;
        let error = card.phy(1).unwrap_err().to_string();
        assert!(error.contains("PHY"), "{error}");
    }
}
