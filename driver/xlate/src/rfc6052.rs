//! IPv4 addresses inside IPv6 addresses (RFC 6052 section 2.2).
//!
//! ```text
//! PL  0-------------32--40--48--56--64--72--80--88--96--104---------128
//! 32      prefix    | v4(32)        | u | suffix                    |
//! 40      prefix        | v4(24)    | u |(8)| suffix                |
//! 48      prefix            |v4(16) | u | (16)  | suffix            |
//! 56      prefix                |(8)| u |  v4(24)   | suffix        |
//! 64      prefix                    | u |   v4(32)      | suffix    |
//! 96      prefix                                    |    v4(32)     |
//! ```
//!
//! Octet u and the suffix are zero in addresses we make and are not looked at in addresses we read.

use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// The well-known prefix 64:ff9b::/96.
pub const WELL_KNOWN: Pref64 = Pref64 {
    address: 0x0064_ff9b << 96,
    mask: u128::MAX << 32,
    length: 96,
};

/// Octet u: bits 64 to 71.
const U_OCTET: u128 = 0xff << 56;

/// A translation prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pref64 {
    address: u128,
    /// The first `length` bits.
    mask: u128,
    length: u8,
}

/// Why an IPv6 prefix is no translation prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Pref64Error {
    /// The length is none of the six.
    #[error("prefix length {length} is not 32, 40, 48, 56, 64 or 96")]
    Length {
        /// The length given.
        length: u8,
    },
    /// Bits behind the prefix are set.
    #[error("{address} has bits set behind its first {length}")]
    HostBits {
        /// The address given.
        address: Ipv6Addr,
        /// The length given.
        length: u8,
    },
    /// Bits 64 to 71 of a /96 are set (RFC 6052 section 2.2).
    #[error("bits 64 to 71 of {address}/96 must be zero")]
    ReservedOctet {
        /// The address given.
        address: Ipv6Addr,
    },
}

impl Pref64 {
    /// Checks a prefix.
    ///
    /// # Errors
    /// See [`Pref64Error`].
    pub fn new(address: Ipv6Addr, length: u8) -> Result<Self, Pref64Error> {
        if !matches!(length, 32 | 40 | 48 | 56 | 64 | 96) {
            return Err(Pref64Error::Length { length });
        }
        let bits = u128::from(address);
        if bits << length != 0 {
            return Err(Pref64Error::HostBits { address, length });
        }
        if bits & U_OCTET != 0 {
            return Err(Pref64Error::ReservedOctet { address });
        }
        Ok(Self {
            address: bits,
            mask: u128::MAX << (128 - u32::from(length)),
            length,
        })
    }

    /// First address of the prefix.
    pub fn address(&self) -> Ipv6Addr {
        Ipv6Addr::from(self.address)
    }

    /// Prefix length.
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Whether this is 64:ff9b::/96.
    pub fn is_well_known(&self) -> bool {
        *self == WELL_KNOWN
    }

    /// Whether an address lies in the prefix.
    #[inline(always)]
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        (u128::from(address) ^ self.address) & self.mask == 0
    }

    /// The IPv6 address that stands for `address`.
    #[inline(always)]
    pub fn embed(&self, address: Ipv4Addr) -> Ipv6Addr {
        let v4 = u128::from(u32::from(address));
        let bits = if self.length == 96 {
            v4
        } else {
            // Bits of the address in front of octet u.
            let front = 64 - u32::from(self.length);
            let high = v4 >> (32 - front);
            let low = v4 & ((1 << (32 - front)) - 1);
            // The rest begins at bit 72 and is 32 - front bits long.
            high << 64 | low << (24 + front)
        };
        Ipv6Addr::from(self.address | bits)
    }

    /// The IPv4 address in an address of the prefix; `None` outside of it.
    #[inline(always)]
    pub fn extract(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        if !self.contains(address) {
            return None;
        }
        let bits = u128::from(address);
        let v4 = if self.length == 96 {
            bits as u32
        } else {
            let front = 64 - u32::from(self.length);
            let high = (bits >> 64) & ((1 << front) - 1);
            let low = (bits >> (24 + front)) & ((1 << (32 - front)) - 1);
            (high << (32 - front) | low) as u32
        };
        Some(Ipv4Addr::from(v4))
    }
}

/// Networks that are not global and so must not appear under the well-known prefix: RFC 6052 section 3.1 names RFC 1918
/// and RFC 5735 section 3; the shared address space of RFC 6598 came later and is of the same kind.
pub const NOT_GLOBAL: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Networks for examples (RFC 5737). They are not global, but in every example they stand for addresses that are.
pub const DOCUMENTATION: [(Ipv4Addr, u8); 3] = [
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
];

fn in_none(networks: &[(Ipv4Addr, u8)], address: Ipv4Addr) -> bool {
    let bits = u32::from(address);
    networks
        .iter()
        .all(|&(network, length)| (bits ^ u32::from(network)) >> (32 - length) != 0)
}

/// Whether an IPv4 address is global, so that it may appear under the well-known prefix by the letter of RFC 6052.
#[inline]
pub fn is_global(address: Ipv4Addr) -> bool {
    // Asked for every packet; most first octets have no network that is not global.
    !matches!(
        address.octets()[0],
        0 | 10 | 100 | 127 | 169 | 172 | 192 | 198 | 203 | 224..=255
    ) || in_none(&NOT_GLOBAL, address)
}

/// Whether an IPv4 address is one for examples.
pub fn is_documentation(address: Ipv4Addr) -> bool {
    !in_none(&DOCUMENTATION, address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str, length: u8) -> Pref64 {
        Pref64::new(text.parse().unwrap(), length).unwrap()
    }

    /// The table of RFC 6052 section 2.4.
    const TABLE: [(&str, u8, &str); 7] = [
        ("2001:db8::", 32, "2001:db8:c000:221::"),
        ("2001:db8:100::", 40, "2001:db8:1c0:2:21::"),
        ("2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::", 96, "2001:db8:122:344::192.0.2.33"),
        ("64:ff9b::", 96, "64:ff9b::192.0.2.33"),
    ];

    #[test]
    fn table_of_rfc_6052_section_2_4() {
        let server = Ipv4Addr::new(192, 0, 2, 33);
        for (address, length, embedded) in TABLE {
            let prefix = prefix(address, length);
            let embedded: Ipv6Addr = embedded.parse().unwrap();
            assert_eq!(prefix.embed(server), embedded, "/{length}");
            assert_eq!(prefix.extract(embedded), Some(server), "/{length}");
        }
        assert!(prefix("64:ff9b::", 96).is_well_known());
    }

    #[test]
    fn every_bit_goes_there_and_back() {
        for (address, length, _) in TABLE {
            let prefix = prefix(address, length);
            for bit in 0..32 {
                for v4 in [1u32 << bit, !(1 << bit), 0, u32::MAX] {
                    let v4 = Ipv4Addr::from(v4);
                    let v6 = prefix.embed(v4);
                    assert!(prefix.contains(v6));
                    assert_eq!(u128::from(v6) & U_OCTET, 0, "octet u is zero on send");
                    assert_eq!(prefix.extract(v6), Some(v4), "/{length} {v4}");
                }
            }
        }
    }

    #[test]
    fn reserved_octet_and_suffix_are_ignored_on_receive() {
        let server = Ipv4Addr::new(198, 51, 100, 7);
        for (address, length, _) in TABLE.into_iter().filter(|row| row.1 != 96) {
            let prefix = prefix(address, length);
            let embedded = u128::from(prefix.embed(server));
            let used = u32::from(length) + 32 + 8;
            for noise in [U_OCTET, U_OCTET & 1 << 60, u128::MAX >> used, 1] {
                assert_eq!(
                    prefix.extract(Ipv6Addr::from(embedded | noise)),
                    Some(server),
                    "/{length}"
                );
            }
            // The bit in front of the suffix, or of octet u for /32, belongs to the address.
            let last = if length == 32 { 64 } else { used };
            let other = Ipv6Addr::from(embedded ^ 1 << (128 - last));
            assert_eq!(
                prefix.extract(other),
                Some(Ipv4Addr::from(u32::from(server) ^ 1)),
                "/{length}"
            );
        }
    }

    #[test]
    fn addresses_outside_are_not_read() {
        for (address, length, embedded) in TABLE {
            let prefix = prefix(address, length);
            let embedded = u128::from(embedded.parse::<Ipv6Addr>().unwrap());
            for bit in 0..length {
                let outside = Ipv6Addr::from(embedded ^ 1 << (127 - bit));
                assert!(!prefix.contains(outside));
                assert_eq!(prefix.extract(outside), None, "/{length} bit {bit}");
            }
        }
    }

    #[test]
    fn wrong_prefixes_are_refused() {
        let address: Ipv6Addr = "2001:db8::".parse().unwrap();
        for length in 0..=u8::MAX {
            let allowed = [32, 40, 48, 56, 64, 96].contains(&length);
            assert_eq!(Pref64::new(address, length).is_ok(), allowed, "/{length}");
        }
        let bits: Ipv6Addr = "2001:db8:0:1::".parse().unwrap();
        assert_eq!(
            Pref64::new(bits, 56),
            Err(Pref64Error::HostBits {
                address: bits,
                length: 56
            })
        );
        let octet: Ipv6Addr = "2001:db8::1:100:0:0:0".parse().unwrap();
        let octet = Ipv6Addr::from(u128::from(octet) | 1 << 56 & !0xffff_ffff_u128);
        assert!(matches!(Pref64::new(octet, 96), Err(Pref64Error::ReservedOctet { .. })));
        assert!(Pref64::new("64:ff9b:1::".parse().unwrap(), 48).is_ok(), "RFC 8215");
    }

    #[test]
    fn not_global_networks_end_where_they_should() {
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "255.255.255.255"),
        ] {
            let (first, last): (Ipv4Addr, Ipv4Addr) = (first.parse().unwrap(), last.parse().unwrap());
            assert!(!is_global(first) && !is_global(last), "{first} to {last}");
            for neighbour in [u32::from(first).checked_sub(1), u32::from(last).checked_add(1)] {
                let Some(neighbour) = neighbour.map(Ipv4Addr::from) else {
                    continue;
                };
                assert!(is_global(neighbour), "{neighbour}");
            }
        }
        assert!(is_global(Ipv4Addr::new(8, 8, 8, 8)));
        for first in 0..=255u32 {
            for rest in [0, 0x00_0002, 0x40_0000, 0x00_0200, 0x33_6401, 0xa8_0001, 0xff_ffff] {
                let address = Ipv4Addr::from(first << 24 | rest);
                assert_eq!(is_global(address), in_none(&NOT_GLOBAL, address), "{address}");
            }
        }
    }

    #[test]
    fn documentation_networks_end_where_they_should() {
        for (network, length) in DOCUMENTATION {
            assert_eq!(length, 24);
            assert!(NOT_GLOBAL.contains(&(network, length)));
            let first = u32::from(network);
            for (address, inside) in [
                (first - 1, false),
                (first, true),
                (first + 255, true),
                (first + 256, false),
            ] {
                assert_eq!(is_documentation(Ipv4Addr::from(address)), inside);
            }
        }
    }
}
