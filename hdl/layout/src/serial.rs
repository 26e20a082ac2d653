//! The serial link: TLPs between a host and a card over an asynchronous serial line, for a board whose PCI Express link is not
//! up (or not there yet).
//!
//! A line carries bytes, 8 bits without parity, least significant bit first, one stop bit. Frames stand between [`FLAG`]s as in HDLC
//! (RFC 1662, 4.2): a byte that is [`FLAG`] or [`ESCAPE`] goes as [`ESCAPE`] and the byte with [`ESCAPED`] exclusive-ored. A frame:
//!
//! | byte | what |
//! |---|---|
//! | 0 | bits 7:6 [`Kind`], 5:3 its number, 2:0 the number of the next frame that is awaited |
//! | 1 | from the host: bit 0 the TLP hits BAR0, bit 1 BAR2. From the card: [`Status`] |
//! | 2.. | DWs, the most significant byte of each first: a TLP as on a PCI Express link, or one DW [`LinkSetup`] |
//! | last 4 | CRC-32 of Ethernet over all before, as Ethernet sends it |
//!
//! Frames with a TLP or a set-up are numbered modulo [`NUMBERS`], by each side for itself; at most [`WINDOW`] of them are sent before
//! the first is acknowledged. A frame with a wrong sum, a wrong length, or another number than the awaited one is not taken, and
//! answered with one [`Kind::Nak`] until the right one comes; whoever gets it sends again from the awaited frame on, as whoever
//! waits longer than [`RESEND_LOG2`] clocks does. A number that was taken before is acknowledged again. So a TLP arrives
//! once, in order, whatever the line loses, as behind the data link layer of PCI Express.
//!
//! A host begins with a set-up that says [`LinkSetup::hello`], with any number: the card forgets what it had not sent, awaits the number
//! behind it, and the [`Kind::Ack`] it answers with has the number of the card's own next frame. The host sends nothing else before
//! that has come: a hello that was sent again would let the card take once more what followed the first.

/// Bits a second of the line, each way.
pub const BAUD: u32 = 3_000_000;
/// Stands between frames.
pub const FLAG: u8 = 0x7e;
/// Announces a byte that would otherwise mean something.
pub const ESCAPE: u8 = 0x7d;
/// What such a byte is exclusive-ored with.
pub const ESCAPED: u8 = 0x20;
/// Numbers of frames: 0 .. 8.
pub const NUMBERS: u8 = 8;
/// Frames on their way without acknowledgment, at most. Less than half of [`NUMBERS`] and one more, so that an old frame is not taken
/// for a new one.
pub const WINDOW: u8 = 4;
/// Most DWs of a frame: a header of four and 128 bytes of payload, with room for as much again.
pub const MAX_DWS: usize = 64;
/// Payload of a TLP on the line at most, bytes: what the host sets as Max_Payload_Size and Max_Read_Request_Size.
pub const MAX_PAYLOAD: usize = 128;
/// Bytes of a frame beside its DWs: head, second byte and sum.
pub const OVERHEAD: usize = 6;
/// Clocks until a card sends frames again that nobody acknowledged, log2: 33.6 ms at 125 MHz. Adapters to USB keep octets
/// for up to 16 ms in each direction until a packet is full; a full window takes another 2.8 ms.
pub const RESEND_LOG2: usize = 22;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Says what is awaited. From the card it has the number of the oldest frame that is not acknowledged, or of its next.
    Ack = 0,
    /// The same; and something that came was not taken.
    Nak = 1,
    /// A TLP.
    Tlp = 2,
    /// From the host only: one DW [`LinkSetup`].
    Setup = 3,
}

impl Kind {
    /// The kind in the head of a frame.
    pub const fn of(head: u8) -> Self {
        match head >> 6 {
            0 => Self::Ack,
            1 => Self::Nak,
            2 => Self::Tlp,
            _ => Self::Setup,
        }
    }
}

/// The head of a frame.
pub const fn head(kind: Kind, number: u8, awaited: u8) -> u8 {
    (kind as u8) << 6 | (number % NUMBERS) << 3 | (awaited % NUMBERS)
}

bitfield::bitfield! {
    /// What a link block tells the transaction layer, as one DW.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub struct LinkSetup(pub u32);
    impl Debug;
    /// Bus Master Enable of the Command register.
    pub bus_master, set_bus_master: 0;
    /// MSI-X Enable of Message Control.
    pub msix_enable, set_msix_enable: 1;
    /// MSI-X Function Mask of Message Control.
    pub msix_mask, set_msix_mask: 2;
    /// Begins a function-level reset.
    pub reset, set_reset: 3;
    /// The host begins anew: see the module documentation.
    pub hello, set_hello: 7;
    /// Max_Payload_Size: 128 bytes shifted left by this.
    pub max_payload, set_max_payload: 10, 8;
    /// Max_Read_Request_Size: 128 bytes shifted left by this.
    pub max_read, set_max_read: 13, 11;
    /// Bus, device and function number.
    pub id, set_id: 31, 16;
}

bitfield::bitfield! {
    /// Second byte of a card's frame.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub struct Status(pub u8);
    impl Debug;
    /// A function-level reset is under way.
    pub resetting, set_resetting: 0;
    /// Transactions Pending.
    pub pending, set_pending: 1;
    /// Nothing is in flight anywhere.
    pub idle, set_idle: 2;
    /// Frames the card did not take because they were damaged, modulo 32.
    pub damaged, set_damaged: 7, 3;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_three_fields() {
        assert_eq!(head(Kind::Tlp, 5, 3), 0b10_101_011);
        assert_eq!(head(Kind::Ack, 8, 9), 0b00_000_001);
        for kind in [Kind::Ack, Kind::Nak, Kind::Tlp, Kind::Setup] {
            assert_eq!(Kind::of(head(kind, 7, 7)), kind);
        }
    }

    #[test]
    fn an_old_number_is_never_the_awaited_one() {
        const { assert!(2 * WINDOW <= NUMBERS) };
    }
}
