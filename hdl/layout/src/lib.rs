//! The contract between the card and its host: every offset, width, bit position, reason code and table size of
//! nat64-nic stands here and nowhere else.
//!
//! The gateware takes its numbers from here through `Constant` fields, the driver uses the accessors, and tests
//! compare both with this crate. [`ABI_HASH`] covers all of it: the card shows it in `AbiHash`, and the driver
//! refuses a card that shows another value.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "docs")]
pub mod docs;
pub mod dump;
pub mod hash;
pub mod pci;
pub mod pcie;
pub mod reason;
pub mod record;
pub mod regs;
pub mod ring;
pub mod serial;
pub mod tables;

pub use dump::DumpKind;
pub use hash::{half_sip_hash_1_3, halfsiphash, HashKey, KeyHash};
pub use reason::{Reason, ReasonKind};
pub use record::{Direction, Protocol, Record, StashEntry, Tag};
pub use regs::{Access, Bar, FieldInfo, RegInfo, ABI_HASH, REGISTERS};

/// Bytes in the header window that the card captures: two VLAN tags, an IPv6 header and a TCP header need
/// 14 + 8 + 40 + 20 = 82; rounded up to whole 64-bit words.
pub const HEADER_BYTES: usize = 88;
/// Shortest frame the core takes, FCS not counted (IEEE 802.3).
pub const MIN_FRAME: usize = 60;
/// Longest frame the core takes: 1,514 bytes and two VLAN tags.
pub const MAX_FRAME: usize = 1522;
/// Ports of the card.
pub const PORTS: usize = 2;
/// Ways of a tag bucket.
pub const WAYS: usize = 4;
/// Banks of tags; a key has one bucket in each.
pub const BANKS: usize = 2;
/// Entries of the stash.
pub const STASH: usize = 16;
/// Bits of a tag's fingerprint.
pub const FINGERPRINT_BITS: usize = 13;
/// Bits of a record index in tag words, whatever the card's size.
pub const INDEX_BITS: usize = 17;
/// log2 of the session records of the standard card (2,048).
pub const RECORD_LOG2: usize = 11;
/// log2 of the buckets per bank of the standard card (2 banks x 512 buckets x 4 ways = 4,096 tags, two per session).
pub const BUCKET_LOG2: usize = 9;
/// Nanoseconds per activity tick, as a shift: 2^26 ns = 67.1 ms.
pub const TICK_SHIFT: u32 = 26;
/// Bits of an activity stamp; it wraps after 2^18 ticks = 4.9 hours.
pub const STAMP_BITS: usize = 18;
/// Ethertype of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethertype of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Ethertype of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// Ethertype of an IEEE 802.1Q tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// Ethertype of an IEEE 802.1ad service tag.
pub const ETHERTYPE_QINQ: u16 = 0x88a8;
/// Lowest value of `Reason` that only the host uses.
pub const FIRST_HOST_REASON: u8 = 64;
/// Counters the card keeps per reason: one for each code below [`FIRST_HOST_REASON`].
pub const REASON_COUNTERS: usize = 64;
/// IPv4 total length up to which RFC 7915 section 5.1 clears DF (an IPv6 packet of 1,280 bytes).
pub const RFC7915_DF_CLEAR_MAX: u16 = 1260;

/// Sizes of one card, as its `Geometry` register tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// log2 of the session records.
    pub record_log2: usize,
    /// log2 of the buckets in each of the [`BANKS`] banks.
    pub bucket_log2: usize,
    /// Stash entries.
    pub stash: usize,
}

impl Geometry {
    /// The card that ships: 2,048 records, 2 x 512 buckets of 4 tags, 16 stash entries.
    pub const STANDARD: Self = Self {
        record_log2: RECORD_LOG2,
        bucket_log2: BUCKET_LOG2,
        stash: STASH,
    };

    /// Session records.
    pub const fn records(self) -> usize {
        1 << self.record_log2
    }

    /// Tag slots in both banks, the stash not counted.
    pub const fn tags(self) -> usize {
        (BANKS * WAYS) << self.bucket_log2
    }

    /// RAM bits a two-way session costs: record and its two tags, over the records of the card.
    ///
    /// Stamps and counters are reported by [`Geometry::activity_bits`] and [`Geometry::counter_bits`].
    pub const fn session_bits(self) -> usize {
        let tag = 1 + FINGERPRINT_BITS + self.record_log2;
        record::RECORD_BITS + tag * self.tags() / self.records()
    }

    /// RAM bits of the activity stamps of a two-way session.
    pub const fn activity_bits(self) -> usize {
        2 * STAMP_BITS
    }

    /// RAM bits of the packet and byte counters of a two-way session.
    pub const fn counter_bits(self) -> usize {
        2 * (dump::PACKET_BITS + dump::BYTE_BITS)
    }
}
