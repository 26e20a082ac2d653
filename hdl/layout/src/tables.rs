//! Table entries of BAR0: units, prefixes, rule terms, pools, next hops, service sets.
//!
//! An entry is written as 32-bit words in rising order; the last word commits the entry in one clock, so the card
//! never acts on half of one. The bit VALID (31 of the last word) 0 switches an entry off.

/// Entries of the unit table.
pub const UNITS: usize = 16;
/// Entries of the prefix table.
pub const PREF64S: usize = 8;
/// Entries of the rule-term table.
pub const TERMS: usize = 8;
/// Entries of the pool-range table.
pub const POOLS: usize = 8;
/// Entries of the next-hop table.
pub const NEXT_HOPS: usize = 64;
/// Entries of the service-set table.
pub const SERVICE_SETS: usize = 8;

/// BAR0 offset of unit 0.
pub const UNIT_BASE: u32 = 0x1000;
/// BAR0 offset of prefix 0.
pub const PREF64_BASE: u32 = 0x2000;
/// BAR0 offset of rule term 0.
pub const TERM_BASE: u32 = 0x3000;
/// BAR0 offset of pool range 0.
pub const POOL_BASE: u32 = 0x4000;
/// BAR0 offset of next hop 0.
pub const NEXT_HOP_BASE: u32 = 0x5000;
/// BAR0 offset of service set 0.
pub const SERVICE_SET_BASE: u32 = 0x6000;
/// Distance of two units, bytes.
pub const UNIT_STRIDE: u32 = 8;
/// Distance of two prefixes, bytes.
pub const PREF64_STRIDE: u32 = 16;
/// Distance of two rule terms, bytes.
pub const TERM_STRIDE: u32 = 32;
/// Distance of two pool ranges, bytes.
pub const POOL_STRIDE: u32 = 16;
/// Distance of two next hops, bytes.
pub const NEXT_HOP_STRIDE: u32 = 16;
/// Distance of two service sets, bytes.
pub const SERVICE_SET_STRIDE: u32 = 8;

const VALID: u32 = 1 << 31;

const fn vids(vlans: [Option<u16>; 2]) -> [u32; 2] {
    let mut ids = [0; 2];
    let mut i = 0;
    while i < 2 {
        if let Some(vid) = vlans[i] {
            ids[i] = vid as u32 & 0xfff;
        }
        i += 1;
    }
    ids
}

/// A place packets arrive at: port and VLAN tags, and the service set that serves it.
///
/// Word 0: port 0, tags 2:1, outer VID 15:4, inner VID 27:16.
/// Word 1: service set 2:0, take IPv6 3, take IPv4 4, valid 31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unit {
    /// Port, 0 or 1.
    pub port: u8,
    /// VLAN ids, outer first; `None` for tags the frame must not have.
    pub vlans: [Option<u16>; 2],
    /// Service set.
    pub service_set: u8,
    /// IPv6 packets here are translated (the unit is on the inside).
    pub ipv6: bool,
    /// IPv4 packets here are translated (the unit is on the outside).
    pub ipv4: bool,
}

impl Unit {
    /// VLAN tags a frame of this unit carries.
    pub const fn tags(&self) -> u32 {
        self.vlans[0].is_some() as u32 + self.vlans[1].is_some() as u32
    }

    /// The entry's words.
    pub const fn to_words(&self) -> [u32; 2] {
        let [outer, inner] = vids(self.vlans);
        [
            self.port as u32 & 1 | self.tags() << 1 | outer << 4 | inner << 16,
            self.service_set as u32 & 7 | (self.ipv6 as u32) << 3 | (self.ipv4 as u32) << 4 | VALID,
        ]
    }
}

/// Prefix lengths RFC 6052 section 2.2 allows, by their code in a prefix entry.
pub const PREFIX_LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];

/// A translation prefix (Pref64, RFC 6052).
///
/// Words 0 to 2: the first 96 bits, most significant word first, bits past the length zero.
/// Word 3: length code 2:0 (index into [`PREFIX_LENGTHS`]), service set 6:4, valid 31.
///
/// The first matching entry whose service set is the packet's wins: the host writes longer prefixes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pref64 {
    /// The first 96 bits of the prefix as a number.
    pub prefix: u128,
    /// Index into [`PREFIX_LENGTHS`].
    pub length_code: u8,
    /// Service set it belongs to.
    pub service_set: u8,
}

impl Pref64 {
    /// The entry's words.
    pub const fn to_words(&self) -> [u32; 4] {
        [
            (self.prefix >> 64) as u32,
            (self.prefix >> 32) as u32,
            self.prefix as u32,
            self.length_code as u32 & 7 | (self.service_set as u32 & 7) << 4 | VALID,
        ]
    }
}

/// What a rule term does with an IPv6 packet whose source it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TermAction {
    /// Translate: look the session up.
    Translate = 1,
    /// Hand to the host, which evaluates the term (ports, applications, ranges).
    Punt = 2,
    /// Treat as not matched by any rule: the port's policy.
    Policy = 3,
}

/// One rule term, cut to what the card decides by itself: the source prefix.
///
/// Words 0 to 3: source prefix, most significant word first. Word 4: length 7:0 (0 to 128), service set 10:8,
/// prefixes it applies to (bit i = prefix i) 19:12, action 21:20, valid 31. First match wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    /// Source prefix, bits past the length zero.
    pub source: u128,
    /// Its length, 0 to 128.
    pub length: u8,
    /// Service set it belongs to.
    pub service_set: u8,
    /// Prefix table entries it applies to, bit i = entry i.
    pub pref64s: u8,
    /// What happens on a match.
    pub action: TermAction,
}

impl Term {
    /// The entry's words.
    pub const fn to_words(&self) -> [u32; 5] {
        [
            (self.source >> 96) as u32,
            (self.source >> 64) as u32,
            (self.source >> 32) as u32,
            self.source as u32,
            self.length as u32
                | (self.service_set as u32 & 7) << 8
                | (self.pref64s as u32) << 12
                | (self.action as u32) << 20
                | VALID,
        ]
    }
}

/// A range of pool addresses, first to last.
///
/// Word 0: low, word 1: high, word 2: service set 2:0, valid 31. IPv4 packets to such an address (in the
/// unit's service set) are looked up; an IPv6 packet whose embedded address is in any range is a hairpin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolRange {
    /// First address.
    pub low: u32,
    /// Last address.
    pub high: u32,
    /// Service set it belongs to.
    pub service_set: u8,
}

impl PoolRange {
    /// The entry's words.
    pub const fn to_words(&self) -> [u32; 3] {
        [self.low, self.high, self.service_set as u32 & 7 | VALID]
    }
}

/// Where a translated packet goes.
///
/// Word 0: destination MAC 47:16. Word 1: destination MAC 15:0 in 31:16, source MAC 47:32 in 15:0. Word 2:
/// source MAC 31:0. Word 3: port 0, tags 2:1, outer VID 15:4, inner VID 27:16, outer TPID is 0x88a8 30, valid 31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// Destination MAC address.
    pub destination: [u8; 6],
    /// Source MAC address.
    pub source: [u8; 6],
    /// Port to send on.
    pub port: u8,
    /// VLAN ids to push, outer first.
    pub vlans: [Option<u16>; 2],
    /// The outer tag has TPID 0x88a8 in place of 0x8100.
    pub qinq: bool,
}

impl NextHop {
    /// The entry's words.
    pub const fn to_words(&self) -> [u32; 4] {
        let d = self.destination;
        let s = self.source;
        let [outer, inner] = vids(self.vlans);
        let tags = self.vlans[0].is_some() as u32 + self.vlans[1].is_some() as u32;
        [
            u32::from_be_bytes([d[0], d[1], d[2], d[3]]),
            u32::from_be_bytes([d[4], d[5], s[0], s[1]]),
            u32::from_be_bytes([s[2], s[3], s[4], s[5]]),
            self.port as u32 & 1 | tags << 1 | outer << 4 | inner << 16 | (self.qinq as u32) << 30 | VALID,
        ]
    }
}

/// What packets of a service set are translated with.
///
/// Word 0: IPv4 MTU 13:0, IPv6 MTU 29:16 (largest IP packet the card sends on that side). Word 1: largest IPv4
/// total length sent with DF clear 15:0 (0: DF is always set), largest IPv6 packet made from an IPv4 packet without DF
/// 29:16 (larger ones are fragmented by the host, RFC 7915 section 4.1), valid 31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceSet {
    /// Largest IPv4 packet out, bytes.
    pub mtu4: u16,
    /// Largest IPv6 packet out, bytes.
    pub mtu6: u16,
    /// Largest IPv6 packet made from an IPv4 packet without DF, bytes.
    pub fragment6: u16,
    /// IPv4 total length up to which DF is clear; 0 keeps DF set on all.
    pub df_clear_max: u16,
}

impl ServiceSet {
    /// The entry's words.
    pub const fn to_words(&self) -> [u32; 2] {
        [
            self.mtu4 as u32 & 0x3fff | (self.mtu6 as u32 & 0x3fff) << 16,
            self.df_clear_max as u32 | (self.fragment6 as u32 & 0x3fff) << 16 | VALID,
        ]
    }
}

/// What becomes of a packet that no unit, prefix, rule or pool matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PortPolicy {
    /// Drop, counted `PolicyDrop`.
    Drop = 0,
    /// Send unchanged out of the other port.
    Forward = 1,
    /// Hand to the host, `PolicyPunt`.
    Punt = 2,
}
