//! Session records, tags and stash entries as the card's RAMs hold them.
//!
//! A record is [`RECORD_BITS`] bits, written as [`RECORD_WORDS`] little-endian 32-bit words; bit 0 of word 0 is bit 0
//! of the record. One record serves both directions.

use crate::hash::{half_sip_hash_1_3, HashKey, KeyHash};
use crate::{FINGERPRINT_BITS, INDEX_BITS};

/// Direction of a packet through the translator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Direction {
    /// IPv6 to IPv4 (outbound).
    SixToFour = 0,
    /// IPv4 to IPv6 (inbound).
    FourToSix = 1,
}

/// Transport protocol of a session; the number is the record's `protocol` field (0 marks an empty record).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// TCP.
    Tcp = 1,
    /// UDP.
    Udp = 2,
    /// ICMP echo and its identifier.
    Icmp = 3,
}

impl Protocol {
    /// All protocols, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Icmp];

    /// The protocol number in an IPv4 header.
    pub const fn ipv4(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmp => 1,
        }
    }

    /// The next-header number in an IPv6 header.
    pub const fn ipv6(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmp => 58,
        }
    }

    /// From the two bits of a record; `None` for an empty one.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        match bits {
            1 => Some(Self::Tcp),
            2 => Some(Self::Udp),
            3 => Some(Self::Icmp),
            _ => None,
        }
    }
}

/// Width of a field group, lowest bit first: `(name, lowest bit, width)`. The gateware slices records by this table.
pub const RECORD_FIELDS: &[(&str, usize, usize)] = &[
    ("protocol", 0, 2),
    ("pref64", 2, 3),
    ("unit", 5, 4),
    ("hop6", 9, 6),
    ("hop4", 15, 6),
    ("client_port", 21, 16),
    ("remote_port", 37, 16),
    ("pool_port", 53, 16),
    ("remote", 69, 32),
    ("pool", 101, 32),
    ("client", 133, 128),
];
/// Bits of a session record.
pub const RECORD_BITS: usize = 261;
/// 32-bit words written for a record.
pub const RECORD_WORDS: usize = 9;
/// Distance of two records in BAR2, bytes.
pub const RECORD_STRIDE: u32 = 64;
/// BAR2 offset of record 0.
pub const RECORD_BASE: u32 = 0;
/// BAR2 offset of the tags of bank 0.
pub const TAG_BASE: u32 = 0x40_0000;
/// Distance of the banks in BAR2, bytes.
pub const TAG_BANK_STRIDE: u32 = 0x10_0000;
/// Distance of two buckets in BAR2, bytes.
pub const TAG_BUCKET_STRIDE: u32 = 16;
/// BAR2 offset of stash entry 0.
pub const STASH_BASE: u32 = 0x60_0000;
/// Distance of two stash entries, bytes.
pub const STASH_STRIDE: u32 = 8;

/// One session, both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Index of the prefix that embeds the server's address (`tables::Pref64`).
    pub pref64: u8,
    /// Unit the IPv6 client is behind; also gives the service set.
    pub unit: u8,
    /// Next hop of packets to the client.
    pub hop6: u8,
    /// Next hop of packets to the server.
    pub hop4: u8,
    /// The client's source port, or its echo identifier.
    pub client_port: u16,
    /// The server's port; 0 for ICMP.
    pub remote_port: u16,
    /// The port (or echo identifier) in the pool.
    pub pool_port: u16,
    /// The server's IPv4 address, as a number.
    pub remote: u32,
    /// The pool address, as a number.
    pub pool: u32,
    /// The client's IPv6 address, as a number.
    pub client: u128,
}

impl Record {
    /// The words to write at [`Record::offset`], in order; the last one commits.
    pub fn to_words(&self) -> [u32; RECORD_WORDS] {
        let mut bits = BitPacker::default();
        bits.put(self.protocol as u128, 2);
        bits.put(u128::from(self.pref64), 3);
        bits.put(u128::from(self.unit), 4);
        bits.put(u128::from(self.hop6), 6);
        bits.put(u128::from(self.hop4), 6);
        bits.put(u128::from(self.client_port), 16);
        bits.put(u128::from(self.remote_port), 16);
        bits.put(u128::from(self.pool_port), 16);
        bits.put(u128::from(self.remote), 32);
        bits.put(u128::from(self.pool), 32);
        bits.put(self.client, 128);
        debug_assert_eq!(bits.at, RECORD_BITS);
        bits.words
    }

    /// The reverse of [`Record::to_words`]; `None` for an empty record.
    pub fn from_words(words: &[u32; RECORD_WORDS]) -> Option<Self> {
        let mut at = 0;
        let mut take = |width: usize| {
            let (mut value, mut got) = (0u128, 0);
            while got < width {
                let part = (width - got).min(32 - at % 32);
                let word = words[at / 32] >> (at % 32);
                value |= u128::from(word & u32::MAX >> (32 - part)) << got;
                (at, got) = (at + part, got + part);
            }
            value
        };
        let protocol = Protocol::from_bits(take(2) as u32)?;
        Some(Self {
            protocol,
            pref64: take(3) as u8,
            unit: take(4) as u8,
            hop6: take(6) as u8,
            hop4: take(6) as u8,
            client_port: take(16) as u16,
            remote_port: take(16) as u16,
            pool_port: take(16) as u16,
            remote: take(32) as u32,
            pool: take(32) as u32,
            client: take(128),
        })
    }

    /// What clears a record.
    pub const EMPTY: [u32; RECORD_WORDS] = [0; RECORD_WORDS];

    /// BAR2 offset of record `index`.
    pub const fn offset(index: u32) -> u32 {
        RECORD_BASE + index * RECORD_STRIDE
    }

    /// Hash of the key that packets from the client carry.
    pub fn hash_six_to_four(&self, key: HashKey) -> KeyHash {
        half_sip_hash_1_3(
            key,
            &crate::hash::message_six(
                self.protocol,
                self.client,
                self.remote,
                self.client_port,
                self.remote_port,
                self.pref64,
                self.unit,
            ),
        )
    }

    /// Hash of the key that packets from the server carry; `service_set` is that of [`Record::unit`].
    pub fn hash_four_to_six(&self, key: HashKey, service_set: u8) -> KeyHash {
        half_sip_hash_1_3(
            key,
            &crate::hash::message_four(
                self.protocol,
                self.pool,
                self.remote,
                self.pool_port,
                self.remote_port,
                service_set,
            ),
        )
    }
}

#[derive(Default)]
struct BitPacker {
    words: [u32; RECORD_WORDS],
    at: usize,
}

impl BitPacker {
    fn put(&mut self, value: u128, width: usize) {
        debug_assert!(width == 128 || value >> width == 0, "field does not fit {width} bits");
        let mut put = 0;
        while put < width {
            // What still fits into this word; a field may go on in the next.
            let part = (width - put).min(32 - self.at % 32);
            self.words[self.at / 32] |= ((value >> put) as u32 & u32::MAX >> (32 - part)) << (self.at % 32);
            (self.at, put) = (self.at + part, put + part);
        }
    }
}

/// One tag of a bucket: points a fingerprint at a record.
///
/// Word: fingerprint in bits 12:0, index in bits 29:13, valid in bit 31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// Bits 44:32 of the key's hash.
    pub fingerprint: u16,
    /// Record index.
    pub index: u32,
}

/// Bit of a tag or stash word that marks it used.
pub const TAG_VALID_BIT: usize = 31;
/// Lowest bit of the record index in a tag or stash word.
pub const TAG_INDEX_LSB: usize = FINGERPRINT_BITS;

impl Tag {
    /// What clears a tag.
    pub const EMPTY: u32 = 0;

    /// The word to write.
    pub const fn to_word(self) -> u32 {
        1 << TAG_VALID_BIT | self.index << TAG_INDEX_LSB | self.fingerprint as u32
    }

    /// The reverse of [`Tag::to_word`]; `None` when the word is not valid.
    pub const fn from_word(word: u32) -> Option<Self> {
        if word >> TAG_VALID_BIT == 0 {
            return None;
        }
        Some(Self {
            fingerprint: (word & ((1 << FINGERPRINT_BITS) - 1)) as u16,
            index: word >> TAG_INDEX_LSB & ((1 << INDEX_BITS) - 1),
        })
    }

    /// BAR2 offset of a tag.
    pub const fn offset(bank: usize, bucket: u32, way: usize) -> u32 {
        TAG_BASE + bank as u32 * TAG_BANK_STRIDE + bucket * TAG_BUCKET_STRIDE + way as u32 * 4
    }
}

/// One entry of the stash: a whole signature and the record it points at.
///
/// Word 0: hash bits 31:0. Word 1 (commits): as a tag word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StashEntry {
    /// Bits 44:0 of the key's hash.
    pub signature: u64,
    /// Record index.
    pub index: u32,
}

impl StashEntry {
    /// What clears a stash entry.
    pub const EMPTY: [u32; 2] = [0; 2];

    /// The two words to write, in order.
    pub const fn to_words(self) -> [u32; 2] {
        [
            self.signature as u32,
            Tag {
                fingerprint: (self.signature >> 32) as u16 & ((1 << FINGERPRINT_BITS) - 1),
                index: self.index,
            }
            .to_word(),
        ]
    }

    /// BAR2 offset of stash entry `entry`.
    pub const fn offset(entry: usize) -> u32 {
        STASH_BASE + entry as u32 * STASH_STRIDE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        Record {
            protocol: Protocol::Udp,
            pref64: 5,
            unit: 9,
            hop6: 33,
            hop4: 62,
            client_port: 0x1234,
            remote_port: 53,
            pool_port: 0xfedc,
            remote: 0xc000_0221,
            pool: 0xcb00_7101,
            client: 0x2001_0db8_0000_0000_0000_0000_dead_beef,
        }
    }

    #[test]
    fn record_words_round_trip() {
        let record = sample();
        assert_eq!(Record::from_words(&record.to_words()), Some(record));
        assert_eq!(Record::from_words(&Record::EMPTY), None);
    }

    #[test]
    fn field_table_matches_the_packing() {
        let mut next = 0;
        for &(name, low, width) in RECORD_FIELDS {
            assert_eq!(low, next, "{name} is not where the field before it ends");
            next = low + width;
        }
        assert_eq!(next, RECORD_BITS);
        assert_eq!(RECORD_WORDS, RECORD_BITS.div_ceil(32));
        // `remote` at its tabled place
        let words = sample().to_words();
        let wide = words
            .iter()
            .take(4)
            .rev()
            .fold(0u128, |acc, &w| acc << 32 | u128::from(w));
        assert_eq!((wide >> 69) as u32 & 0x7ff_ffff, 0xc000_0221 & 0x7ff_ffff);
    }

    #[test]
    fn tag_and_stash_words_round_trip() {
        let tag = Tag {
            fingerprint: 0x1abc,
            index: 0x1_5555,
        };
        assert_eq!(Tag::from_word(tag.to_word()), Some(tag));
        assert_eq!(Tag::from_word(Tag::EMPTY), None);
        let stash = StashEntry {
            signature: 0x1abc_dead_beef,
            index: 7,
        };
        let [low, high] = stash.to_words();
        assert_eq!(low, 0xdead_beef);
        assert_eq!(
            Tag::from_word(high),
            Some(Tag {
                fingerprint: 0x1abc,
                index: 7
            })
        );
    }

    #[test]
    fn a_session_stays_within_its_ram_budget() {
        assert!(crate::Geometry::STANDARD.session_bits() <= 320);
    }
}
