//! What the card copies to host memory on request: activity and counters of session records, and the session table itself.
//!
//! `DumpGo` names the kind ([`DumpKind`]), how many entries from `DumpFirst` on, and a sequence number. After the last entry the
//! card writes that number to the completion address. Entries are whole little-endian 64-bit words:
//!
//! | kind | an entry is | words |
//! |---|---|---|
//! | activity | a record's stamps and counters, see below | 4 |
//! | records | a record as it is written ([`crate::Record`]), then zeros | 8 |
//! | tags | a bucket number: bank 0 ways 0 to 3, bank 1 ways 0 to 3, each a 32-bit [`crate::Tag`] word | 4 |
//! | stash | a stash entry's two words ([`crate::StashEntry`]) | 1 |
//!
//! The bits of a tag that is not valid mean nothing. The table is copied in lookups' gaps, word by word, while traffic and writes go on: each tag, stash entry and record is as it was
//! before a write or as it is after. A host that takes a running card over writes nothing meanwhile.
//!
//! An entry of activity:
//!
//! | word | bits | field |
//! |---|---|---|
//! | 0 | 17:0 | stamp, IPv6 to IPv4 |
//! | 0 | 49:32 | stamp, IPv4 to IPv6 |
//! | 1 | 31:0 | packets, IPv6 to IPv4 |
//! | 1 | 63:32 | packets, IPv4 to IPv6 |
//! | 2 | 39:0 | bytes, IPv6 to IPv4 (IP length of the packet that arrived) |
//! | 3 | 39:0 | bytes, IPv4 to IPv6 |
//!
//! A stamp is the time of the last hit in ticks of 2^[`TICK_SHIFT`] ns, cut to
//! [`STAMP_BITS`]. Stamps and counters of a record are set to the present time and zero when the record
//! is written.

use crate::{Geometry, BANKS, STAMP_BITS, TICK_SHIFT, WAYS};

/// Bits of a packet counter of a session.
pub const PACKET_BITS: usize = 32;
/// Bits of a byte counter of a session.
pub const BYTE_BITS: usize = 40;
/// Bytes of one entry of activity.
pub const DUMP_BYTES: usize = 32;
/// 64-bit words of one entry of activity.
pub const DUMP_WORDS: usize = 4;

/// What is copied; the number is `DumpGo.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DumpKind {
    /// Stamps and counters, by record.
    Activity = 0,
    /// Records.
    Records = 1,
    /// Tags, by bucket number: that bucket of both banks.
    Tags = 2,
    /// Stash entries.
    Stash = 3,
}

impl DumpKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Activity, Self::Records, Self::Tags, Self::Stash];

    /// 64-bit words of one entry.
    pub const fn words(self) -> usize {
        match self {
            Self::Activity => DUMP_WORDS,
            Self::Records => 8,
            Self::Tags => BANKS * WAYS / 2,
            Self::Stash => 1,
        }
    }

    /// Entries a card of this geometry has.
    pub const fn entries(self, geometry: Geometry) -> usize {
        match self {
            Self::Activity | Self::Records => 1 << geometry.record_log2,
            Self::Tags => 1 << geometry.bucket_log2,
            Self::Stash => geometry.stash,
        }
    }
}

/// One entry, decoded. Index 0 is IPv6 to IPv4, index 1 IPv4 to IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpEntry {
    /// Ticks of the last hit, modulo 2^18.
    pub stamp: [u32; 2],
    /// Packets translated since the record was written.
    pub packets: [u32; 2],
    /// Bytes translated since the record was written.
    pub bytes: [u64; 2],
}

impl DumpEntry {
    /// Decodes the four words of an entry.
    pub const fn from_words(w: [u64; DUMP_WORDS]) -> Self {
        let stamp = (1 << STAMP_BITS) - 1;
        let bytes = (1 << BYTE_BITS) - 1;
        Self {
            stamp: [w[0] as u32 & stamp, (w[0] >> 32) as u32 & stamp],
            packets: [w[1] as u32, (w[1] >> 32) as u32],
            bytes: [w[2] & bytes, w[3] & bytes],
        }
    }

    /// The reverse of [`DumpEntry::from_words`].
    pub const fn to_words(self) -> [u64; DUMP_WORDS] {
        [
            self.stamp[0] as u64 | (self.stamp[1] as u64) << 32,
            self.packets[0] as u64 | (self.packets[1] as u64) << 32,
            self.bytes[0],
            self.bytes[1],
        ]
    }
}

/// Absolute time, in nanoseconds, of the end of the tick a stamp names: the latest instant at or before
/// the tick of `now_ns` whose low bits are the stamp, rounded up to the end of its tick, so that a session never
/// lives shorter than its timeout. Right while a stamp is at most one wrap (4.9 h) old.
pub const fn stamp_time_ns(stamp: u32, now_ns: u64) -> u64 {
    let mask = (1u64 << STAMP_BITS) - 1;
    let now = now_ns >> TICK_SHIFT;
    let age = now.wrapping_sub(stamp as u64) & mask;
    (now - if age > now { now } else { age } + 1) << TICK_SHIFT
}

/// The stamp the card writes at `now_ns`.
pub const fn stamp_of(now_ns: u64) -> u32 {
    (now_ns >> TICK_SHIFT) as u32 & ((1 << STAMP_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        let entry = DumpEntry {
            stamp: [0x3ffff, 5],
            packets: [u32::MAX, 7],
            bytes: [(1 << 40) - 1, 9],
        };
        assert_eq!(DumpEntry::from_words(entry.to_words()), entry);
    }

    #[test]
    fn stamps_give_their_time_back_rounded_up() {
        for (hit, now) in [
            (0, 0),
            (1, 5_000_000_000),
            (7_440_000_000_000, 14_880_000_000_000),
            (99_999_999_999_999, 100_000_000_000_000),
        ] {
            let back = stamp_time_ns(stamp_of(hit), now);
            assert!(
                back > hit && back <= hit + (1 << TICK_SHIFT),
                "hit {hit} came back as {back}"
            );
        }
    }
}
