//! The keyed hash of the session table: HalfSipHash-1-3 with 64-bit output.
//!
//! HalfSipHash is the 32-bit variant of SipHash by Aumasson and Bernstein; the 1-3 form is what Linux uses for its
//! in-kernel hash tables on 32-bit machines (`hsiphash`). The 64-bit secret is set at start, so a client cannot aim
//! at buckets. The message is 26 bytes: six full words and one last word of two bytes and the length.
//!
//! | bytes | IPv6-side key | IPv4-side key |
//! |---|---|---|
//! | 0..16 | client address | pool address, then twelve zero bytes |
//! | 16..20 | server address | server address |
//! | 20..22 | client port or echo identifier | pool port or echo identifier |
//! | 22..24 | server port, 0 for ICMP | server port, 0 for ICMP |
//! | 24..26 | little-endian: protocol, pref64 << 2, unit << 5 | protocol, service set << 2, bit 15 |
//!
//! Addresses and ports are in network byte order.

use crate::record::Protocol;
use crate::FINGERPRINT_BITS;

/// The 64-bit secret, as the two little-endian words of registers `HashKey0` and `HashKey1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct HashKey(pub [u32; 2]);

/// Bytes of the message that is hashed.
pub const MESSAGE_BYTES: usize = 26;
/// Compression rounds per message word.
pub const C_ROUNDS: usize = 1;
/// Finalization rounds per output word.
pub const D_ROUNDS: usize = 3;
/// Rounds a pipelined implementation takes: seven words, two outputs.
pub const TOTAL_ROUNDS: usize = 7 * C_ROUNDS + 2 * D_ROUNDS;
/// Bit of the last two message bytes that tells an IPv4-side key from an IPv6-side key.
pub const MESSAGE_FOUR_BIT: u16 = 1 << 15;

/// The hash of a session key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// Bucket in `bank`: bits 15:0 for bank 0, 31:16 for bank 1, cut to `bucket_log2`.
    pub const fn bucket(self, bank: usize, bucket_log2: usize) -> u32 {
        (self.0 >> (16 * bank)) as u32 & ((1 << bucket_log2) - 1)
    }

    /// Fingerprint: bits 44:32.
    pub const fn fingerprint(self) -> u16 {
        (self.0 >> 32) as u16 & ((1 << FINGERPRINT_BITS) - 1)
    }

    /// What the stash compares: bits 44:0.
    pub const fn signature(self) -> u64 {
        self.0 & ((1 << (32 + FINGERPRINT_BITS)) - 1)
    }

    /// The card adds these bits (63:48) to its packet counter to make the Identification of packets with DF clear.
    pub const fn ident_offset(self) -> u16 {
        (self.0 >> 48) as u16
    }
}

/// Message of a packet from the client.
pub fn message_six(
    protocol: Protocol,
    client: u128,
    remote: u32,
    client_port: u16,
    remote_port: u16,
    pref64: u8,
    unit: u8,
) -> [u8; MESSAGE_BYTES] {
    let mut m = [0; MESSAGE_BYTES];
    m[..16].copy_from_slice(&client.to_be_bytes());
    m[16..20].copy_from_slice(&remote.to_be_bytes());
    m[20..22].copy_from_slice(&client_port.to_be_bytes());
    m[22..24].copy_from_slice(&remote_port.to_be_bytes());
    let scope = protocol as u16 | u16::from(pref64) << 2 | u16::from(unit) << 5;
    m[24..].copy_from_slice(&scope.to_le_bytes());
    m
}

/// Message of a packet from the server.
pub fn message_four(
    protocol: Protocol,
    pool: u32,
    remote: u32,
    pool_port: u16,
    remote_port: u16,
    service_set: u8,
) -> [u8; MESSAGE_BYTES] {
    let mut m = [0; MESSAGE_BYTES];
    m[..4].copy_from_slice(&pool.to_be_bytes());
    m[16..20].copy_from_slice(&remote.to_be_bytes());
    m[20..22].copy_from_slice(&pool_port.to_be_bytes());
    m[22..24].copy_from_slice(&remote_port.to_be_bytes());
    let scope = MESSAGE_FOUR_BIT | protocol as u16 | u16::from(service_set) << 2;
    m[24..].copy_from_slice(&scope.to_le_bytes());
    m
}

/// The card's hash function: HalfSipHash-1-3 with 64-bit output.
pub fn half_sip_hash_1_3(key: HashKey, message: &[u8]) -> KeyHash {
    KeyHash(halfsiphash(C_ROUNDS, D_ROUNDS, key, message))
}

/// HalfSipHash-`c`-`d` with 64-bit output; the first output word is the low half.
pub fn halfsiphash(c: usize, d: usize, key: HashKey, message: &[u8]) -> u64 {
    let [k0, k1] = key.0;
    // 0xee: the constant of the 64-bit output
    let mut v = [k0, k1 ^ 0xee, 0x6c79_6765 ^ k0, 0x7465_6462 ^ k1];
    let mut words = message.chunks_exact(4);
    for word in words.by_ref() {
        let m = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        compress(&mut v, c, m);
    }
    let mut last = (message.len() as u32) << 24;
    for (i, &byte) in words.remainder().iter().enumerate() {
        last |= u32::from(byte) << (8 * i);
    }
    compress(&mut v, c, last);
    v[2] ^= 0xee;
    (0..d).for_each(|_| round(&mut v));
    let low = v[1] ^ v[3];
    v[1] ^= 0xdd;
    (0..d).for_each(|_| round(&mut v));
    u64::from(v[1] ^ v[3]) << 32 | u64::from(low)
}

fn compress(v: &mut [u32; 4], rounds: usize, m: u32) {
    v[3] ^= m;
    (0..rounds).for_each(|_| round(v));
    v[0] ^= m;
}

/// One SipRound on 32-bit words; the gateware has the same steps in the same order.
pub fn round(v: &mut [u32; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(5) ^ v[0];
    v[0] = v[0].rotate_left(16);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(8) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(7) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[2];
    v[2] = v[2].rotate_left(16);
}
