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

/// Key of the test vectors: bytes 00 01 .. 07.
pub const VECTOR_KEY: HashKey = HashKey([0x0302_0100, 0x0706_0504]);

/// Test vectors of HalfSipHash-1-3 with 64-bit output, generated by this project with an independent program that also
/// reproduces the published vectors of HalfSipHash-2-4: `(bytes, hash)` for key [`VECTOR_KEY`] and the message 00 01 .. of
/// so many bytes.
pub const VECTORS_1_3: &[(usize, u64)] = &[
    (0, 0x2af7_2023_21d0_a576),
    (1, 0x9733_d36f_8d74_e887),
    (2, 0x32d7_3c5d_e11f_ee78),
    (3, 0x3e6c_de6b_a339_523e),
    (4, 0x05ae_8c71_a0db_24eb),
    (8, 0x5f7a_ec1d_31a8_cd3d),
    (15, 0x9a72_a226_a6df_5b16),
    (16, 0xc22e_3e3d_b9c5_d756),
    (25, 0xa8e3_f9b6_b67e_566d),
    (26, 0xf3f9_824c_cebf_514a),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// `vectors_hsip64` of the SipHash reference implementation (J.-P. Aumasson and D. J. Bernstein, dedicated to the
    /// public domain under CC0): HalfSipHash-2-4 with 64-bit output, key bytes 00 01 .. 07, message of entry i: 00 01 .. (i - 1).
    const REFERENCE_2_4: [[u8; 8]; 32] = [
        [0x21, 0x8d, 0x1f, 0x59, 0xb9, 0xb8, 0x3c, 0xc8],
        [0xbe, 0x55, 0x24, 0x12, 0xf8, 0x38, 0x73, 0x15],
        [0x06, 0x4f, 0x39, 0xef, 0x7c, 0x50, 0xeb, 0x57],
        [0xce, 0x0f, 0x1a, 0x45, 0xf7, 0x06, 0x06, 0x79],
        [0xd5, 0xe7, 0x8a, 0x17, 0x5b, 0xe5, 0x2e, 0xa1],
        [0xcb, 0x9d, 0x7c, 0x3f, 0x2f, 0x3d, 0xb5, 0x80],
        [0xce, 0x3e, 0x91, 0x35, 0x8a, 0xa2, 0xbc, 0x25],
        [0xff, 0x20, 0x27, 0x28, 0xb0, 0x7b, 0xc6, 0x84],
        [0xed, 0xfe, 0xe8, 0x20, 0xbc, 0xe4, 0x85, 0x8c],
        [0x5b, 0x51, 0xcc, 0xcc, 0x13, 0x88, 0x83, 0x07],
        [0x95, 0xb0, 0x46, 0x9f, 0x06, 0xa6, 0xf2, 0xee],
        [0xae, 0x26, 0x33, 0x39, 0x94, 0xdd, 0xcd, 0x48],
        [0x7b, 0xc7, 0x1f, 0x9f, 0xae, 0xf5, 0xc7, 0x99],
        [0x5a, 0x23, 0x52, 0xd7, 0x5a, 0x0c, 0x37, 0x44],
        [0x3b, 0xb1, 0xa8, 0x70, 0xea, 0xe8, 0xe6, 0x58],
        [0x21, 0x7d, 0x0b, 0xcb, 0x4e, 0x81, 0xc9, 0x02],
        [0x73, 0x36, 0xaa, 0xd2, 0x5f, 0x7b, 0xf3, 0xb5],
        [0x37, 0xad, 0xc0, 0x64, 0x1c, 0x4c, 0x4f, 0x6a],
        [0xc9, 0xb2, 0xdb, 0x2b, 0x9a, 0x3e, 0x42, 0xf9],
        [0xf9, 0x10, 0xe4, 0x80, 0x20, 0xab, 0x36, 0x3c],
        [0x1b, 0xf5, 0x2b, 0x0a, 0x6f, 0xee, 0xa7, 0xdb],
        [0x00, 0x74, 0x1d, 0xc2, 0x69, 0xe8, 0xb3, 0xef],
        [0xe2, 0x01, 0x03, 0xfa, 0x1b, 0xa7, 0x76, 0xef],
        [0x4c, 0x22, 0x10, 0xe5, 0x4b, 0x68, 0x1d, 0x73],
        [0x70, 0x74, 0x10, 0x45, 0xae, 0x3f, 0xa6, 0xf1],
        [0x0c, 0x86, 0x40, 0x37, 0x39, 0x71, 0x40, 0x38],
        [0x0d, 0x89, 0x9e, 0xd8, 0x11, 0x29, 0x23, 0xf0],
        [0x22, 0x6b, 0xf5, 0xfa, 0xb8, 0x1e, 0xe1, 0xb8],
        [0x2d, 0x92, 0x5f, 0xfb, 0x1e, 0x00, 0x16, 0xb5],
        [0x36, 0x19, 0x58, 0xd5, 0x2c, 0xee, 0x10, 0xf1],
        [0x29, 0x1a, 0xaf, 0x86, 0x48, 0x98, 0x17, 0x9d],
        [0x86, 0x3c, 0x7f, 0x15, 0x5c, 0x34, 0x11, 0x7c],
    ];

    #[test]
    fn halfsiphash_2_4_reproduces_the_reference_vectors() {
        let message: Vec<u8> = (0..32).collect();
        for (i, want) in REFERENCE_2_4.iter().enumerate() {
            let got = halfsiphash(2, 4, VECTOR_KEY, &message[..i]);
            assert_eq!(got.to_le_bytes(), *want, "message of {i} bytes");
        }
    }

    #[test]
    fn the_1_3_form_keeps_its_vectors() {
        let message: Vec<u8> = (0..MESSAGE_BYTES as u8).collect();
        for &(bytes, want) in VECTORS_1_3 {
            assert_eq!(
                half_sip_hash_1_3(VECTOR_KEY, &message[..bytes]),
                KeyHash(want),
                "{bytes} bytes"
            );
        }
    }
}
