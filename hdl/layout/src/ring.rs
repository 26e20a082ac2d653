//! Slots of the exception ring (card to host) and of the inject ring (host to card).
//!
//! A slot is [`SLOT_BYTES`] bytes: [`DESCRIPTOR_BYTES`] of descriptor, then the frame. Four little-endian words:
//!
//! | word | bits | exception | inject |
//! |---|---|---|---|
//! | 0 | 63:0 | time of arrival, ns | 0 |
//! | 1 | 31:0 | sequence number of the slot | 0 |
//! | 2 | | 0 | 0 |
//! | 3 | 7:0 | reason | 0 |
//! | 3 | 8 | port it arrived on | port to send on |
//! | 3 | 15:12 | unit | 0 |
//! | 3 | 16 | unit is valid | 0 |
//! | 3 | 17 | the frame was cut to the slot | 0 |
//! | 3 | 47:32 | frame bytes | frame bytes |
//! | 3 | 63 | OWN | OWN |
//!
//! OWN toggles each lap and is 1 on the first: the consumer of slot index i (free running) owns the slot when OWN
//! equals [`own_phase`]. The producer writes word 3 last.

/// Bytes of a slot.
pub const SLOT_BYTES: usize = 2048;
/// Bytes of the descriptor at the start of a slot.
pub const DESCRIPTOR_BYTES: usize = 32;
/// Largest frame in a slot.
pub const SLOT_FRAME: usize = SLOT_BYTES - DESCRIPTOR_BYTES;
/// Longest ring, log2 of its slots.
pub const RING_LOG2_MAX: usize = 12;
/// Longest burst of DMA writes, bytes.
pub const BURST_BYTES: usize = 128;

/// The OWN value of a filled slot with free-running index `index` in a ring of `2^log2` slots.
pub const fn own_phase(index: u32, log2: usize) -> bool {
    index >> log2 & 1 == 0
}

/// Descriptor of a punted frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ExceptionDescriptor {
    /// Time of arrival, card time in ns.
    pub time_ns: u64,
    /// Running number of the slot.
    pub sequence: u32,
    /// Reason code; see [`Reason`](crate::Reason). Never trusted: may name no reason.
    pub reason: u8,
    /// Port the frame arrived on.
    pub port: u8,
    /// Unit, when one matched.
    pub unit: Option<u8>,
    /// The frame was longer than the slot and is cut.
    pub cut: bool,
    /// Bytes of the frame in the slot. Never trusted: may exceed the slot.
    pub length: u16,
    /// Owner bit as found.
    pub own: bool,
}

impl ExceptionDescriptor {
    /// The four words of the descriptor.
    pub const fn to_words(self) -> [u64; 4] {
        let unit = match self.unit {
            Some(unit) => (unit as u64 & 15) << 12 | 1 << 16,
            None => 0,
        };
        [
            self.time_ns,
            self.sequence as u64,
            0,
            self.reason as u64
                | (self.port as u64 & 1) << 8
                | unit
                | (self.cut as u64) << 17
                | (self.length as u64) << 32
                | (self.own as u64) << 63,
        ]
    }

    /// The reverse of [`ExceptionDescriptor::to_words`]; every bit pattern decodes.
    pub const fn from_words(w: [u64; 4]) -> Self {
        Self {
            time_ns: w[0],
            sequence: w[1] as u32,
            reason: w[3] as u8,
            port: (w[3] >> 8) as u8 & 1,
            unit: if w[3] >> 16 & 1 != 0 {
                Some((w[3] >> 12) as u8 & 15)
            } else {
                None
            },
            cut: w[3] >> 17 & 1 != 0,
            length: (w[3] >> 32) as u16,
            own: w[3] >> 63 != 0,
        }
    }
}

/// Descriptor of a frame to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct InjectDescriptor {
    /// Port to send on.
    pub port: u8,
    /// Bytes of the frame, [`MIN_INJECT`] to [`SLOT_FRAME`]; the card counts `BadInject` for any other.
    pub length: u16,
    /// Owner bit.
    pub own: bool,
}

/// Shortest frame the card takes from the inject ring: an Ethernet header.
pub const MIN_INJECT: u16 = 14;

impl InjectDescriptor {
    /// The four words of the descriptor.
    pub const fn to_words(self) -> [u64; 4] {
        [
            0,
            0,
            0,
            (self.port as u64 & 1) << 8 | (self.length as u64) << 32 | (self.own as u64) << 63,
        ]
    }

    /// The reverse of [`InjectDescriptor::to_words`].
    pub const fn from_words(w: [u64; 4]) -> Self {
        Self {
            port: (w[3] >> 8) as u8 & 1,
            length: (w[3] >> 32) as u16,
            own: w[3] >> 63 != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_round_trip() {
        let e = ExceptionDescriptor {
            time_ns: 77,
            sequence: 3,
            reason: 12,
            port: 1,
            unit: Some(13),
            cut: true,
            length: 1514,
            own: true,
        };
        assert_eq!(ExceptionDescriptor::from_words(e.to_words()), e);
        let i = InjectDescriptor {
            port: 1,
            length: 60,
            own: true,
        };
        assert_eq!(InjectDescriptor::from_words(i.to_words()), i);
    }

    #[test]
    fn own_toggles_each_lap() {
        assert!(own_phase(0, 3) && own_phase(7, 3) && !own_phase(8, 3) && own_phase(16, 3));
    }
}
