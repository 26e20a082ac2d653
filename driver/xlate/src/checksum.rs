//! The Internet checksum, in full (RFC 1071) and incrementally (RFC 1624 equation 3).
//!
//! Sums are kept as `u64` of 16-bit words: they cannot overflow for any packet, and are folded once at the end.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Sum of the 16-bit words of `bytes`; an odd last byte is padded with zero.
#[inline]
pub fn sum(bytes: &[u8]) -> u64 {
    let mut total = 0u64;
    let mut chunks = bytes.chunks_exact(4);
    for chunk in &mut chunks {
        // Two words at a time; 2^16 = 1 modulo 0xffff, so folding makes the halves equal.
        total += u64::from(u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]));
    }
    let last = match *chunks.remainder() {
        [a, b, c] => [a, b, c, 0],
        [a, b] => [a, b, 0, 0],
        [a] => [a, 0, 0, 0],
        _ => return total,
    };
    total + u64::from(u32::from_be_bytes(last))
}

/// Sum of the words of an IPv4 address.
#[inline]
pub fn sum4(address: Ipv4Addr) -> u64 {
    u64::from(u32::from(address))
}

/// Sum of the words of an IPv6 address.
#[inline]
pub fn sum6(address: Ipv6Addr) -> u64 {
    let value = u128::from(address);
    u64::from(value as u32)
        + u64::from((value >> 32) as u32)
        + u64::from((value >> 64) as u32)
        + u64::from((value >> 96) as u32)
}

/// Folds a sum to 16 bits. Zero only if every word was zero.
#[inline]
pub const fn fold(mut total: u64) -> u16 {
    // At most 33 bits, then 18, then 0x1_0001, then 16.
    total = (total >> 32) + (total & 0xffff_ffff);
    total = (total >> 16) + (total & 0xffff);
    total = (total >> 16) + (total & 0xffff);
    total = (total >> 16) + (total & 0xffff);
    total as u16
}

/// The checksum of `total`.
#[inline]
pub const fn finish(total: u64) -> u16 {
    !fold(total)
}

/// RFC 1624 equation 3: the checksum after words that summed to `old` were replaced by words that sum to `new`.
///
/// A checksum that was wrong stays wrong by the same amount. Where every new word is zero the message may now be all
/// zero, and only 0xffff is right for that; it is right for any other message, too, whose checksum comes out as 0.
#[inline]
pub const fn update(checksum: u16, old: u64, new: u64) -> u16 {
    let result = !fold(!checksum as u64 + !fold(old) as u64 + new);
    if result == 0 && new == 0 {
        0xffff
    } else {
        result
    }
}

/// As [`update`], for sums below 2^40 of which the new one is not 0.
///
/// Which byte of a word is the first makes no difference as long as all words agree (RFC 1071 section 2 (B)), so this works
/// on words as they lie in memory, too.
#[inline]
pub const fn exchange(checksum: u16, old: u64, new: u64) -> u16 {
    // A multiple of 0xffff that no sum exceeds makes the difference positive, and folds to nothing.
    !fold(!checksum as u64 + (0xffff << 40) - old + new)
}

/// Sum of the words of 16 bytes as they lie in memory, on a machine with the low byte first.
#[inline]
pub fn sum6_raw(address: [u8; 16]) -> u64 {
    let bits = u128::from_le_bytes(address);
    let (low, high) = (bits as u64, (bits >> 64) as u64);
    (low & 0xffff_ffff) + (low >> 32) + (high & 0xffff_ffff) + (high >> 32)
}

/// Sum of the words of four bytes, as [`sum6_raw`].
#[inline]
pub fn sum4_raw(address: [u8; 4]) -> u64 {
    u64::from(u32::from_le_bytes(address))
}

/// Sum of the IPv6 pseudo header (RFC 8200 section 8.1).
#[inline]
pub fn pseudo6(src: Ipv6Addr, dst: Ipv6Addr, length: u32, protocol: u8) -> u64 {
    sum6(src) + sum6(dst) + u64::from(length) + u64::from(protocol)
}

/// Sum of the IPv4 pseudo header (RFC 793 section 3.1).
#[inline]
pub fn pseudo4(src: Ipv4Addr, dst: Ipv4Addr, length: u16, protocol: u8) -> u64 {
    sum4(src) + sum4(dst) + u64::from(length) + u64::from(protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_known_bytes() {
        // RFC 1071 section 3.
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
        assert_eq!(fold(sum(&[0x12])), 0x1200, "an odd byte is the high one");
        assert_eq!(fold(sum(&[1, 2, 3, 4, 5])), 0x0102 + 0x0304 + 0x0500);
        assert_eq!(fold(sum(&[0xff; 64])), 0xffff);
        assert_eq!(fold(0), 0);
        assert_eq!(fold(u64::MAX), 0xffff);
        let address: Ipv6Addr = "2001:db8::1:ffff".parse().unwrap();
        assert_eq!(fold(sum6(address)), fold(sum(&address.octets())));
        assert_eq!(fold(sum4(Ipv4Addr::new(192, 0, 2, 1))), 0xc000 + 0x0201);
    }

    /// RFC 1624 section 4: the example where equation 2 gives the other zero.
    #[test]
    fn the_example_of_rfc_1624() {
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn update_is_the_same_as_anew() {
        let mut message = *b"\x12\x34\x00\x00\xff\xff\x00\x00\x80\x01\xfe\xdc";
        for words in [[0u8, 0, 0, 0], [0xff; 4], [0, 1, 0xff, 0xfe], [0x5a, 0xa5, 0, 0]] {
            let before = finish(sum(&message));
            let old = sum(&message[4..8]);
            message[4..8].copy_from_slice(&words);
            assert_eq!(update(before, old, sum(&words)), finish(sum(&message)), "{words:?}");
        }
    }

    #[test]
    fn exchange_is_update() {
        let sums = [0, 1, 0xfffe, 0xffff, 0x1_0000, 0x1_fffe, 0xffff_ffff, 0xff_ffff_ffff];
        for checksum in [0, 1, 0x1234, 0xfffe, 0xffff] {
            for old in sums {
                for new in sums.into_iter().filter(|&new| new > 0) {
                    let both = (exchange(checksum, old, new), update(checksum, old, new));
                    assert_eq!(both.0, both.1, "{checksum:#x} {old:#x} {new:#x}");
                }
            }
        }
    }

    #[test]
    fn the_order_of_bytes_makes_no_difference() {
        let address: Ipv6Addr = "2001:db8::1:ffff".parse().unwrap();
        assert_eq!(fold(sum6(address)).swap_bytes(), fold(sum6_raw(address.octets())));
        let address = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(fold(sum4(address)).swap_bytes(), fold(sum4_raw(address.octets())));
        let swapped = exchange(0x1234, fold(sum4_raw(address.octets())).into(), 0x0203);
        assert_eq!(swapped.swap_bytes(), update(0x3412, sum4(address), 0x0302));
    }

    #[test]
    fn a_message_of_zeros_has_a_checksum_that_verifies() {
        // One word 0x8100 with its checksum becomes zero: 0 would not verify.
        let checksum = update(!0x8100, 0x8100, 0);
        assert_eq!(checksum, 0xffff);
        assert_eq!(fold(u64::from(checksum)), 0xffff);
    }
}
