//! The header in front of every frame of a packet socket or TAP device: what the kernel left undone.
//!
//! ```text
//!   | flags 1 | gso_type 1 | hdr_len 2 | gso_size 2 | csum_start 2 | csum_offset 2 |     (host byte order)
//! ```
//!
//! `struct virtio_net_hdr` of the VIRTIO specification, section 5.1.6, in its shortest form. A frame with a `gso_type`
//! is a super-segment: up to 64 KiB that stand for several packets of `gso_size` bytes of payload each. A frame with
//! `NEEDS_CSUM` has only the sum of its pseudo header where its transport checksum belongs.

/// Bytes of the header.
pub const VNET_HEADER: usize = 10;

/// The transport checksum is still to be made.
const NEEDS_CSUM: u8 = 1;
/// Flag in `gso_type`: the first segment has CWR set (RFC 3168), the others must not.
const ECN: u8 = 0x80;

/// What a super-segment is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gso {
    /// One packet, no super-segment.
    #[default]
    None,
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP datagrams of one size, over either family.
    Udp,
}

impl Gso {
    const fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Tcp4 => 1,
            Self::Tcp6 => 4,
            Self::Udp => 5,
        }
    }
}

/// The header, read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vnet {
    /// Where a checksum is to be summed from and where it is to be put, from the start of the frame and from there;
    /// `None`: nothing to do.
    pub checksum: Option<(u16, u16)>,
    /// What kind of super-segment it is.
    pub gso: Gso,
    /// CWR belongs to the first segment only.
    pub ecn: bool,
    /// Bytes of all headers of the frame; a hint.
    pub header: u16,
    /// Payload bytes of each packet but the last.
    pub size: u16,
}

impl Vnet {
    /// Reads a header; `None` for a kind of super-segment that is not known here.
    pub fn read(bytes: &[u8; VNET_HEADER]) -> Option<Self> {
        let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let gso = match bytes[1] & !ECN {
            0 => Gso::None,
            1 => Gso::Tcp4,
            4 => Gso::Tcp6,
            5 => Gso::Udp,
            _ => return None,
        };
        Some(Self {
            checksum: (bytes[0] & NEEDS_CSUM != 0).then(|| (half(6), half(8))),
            gso,
            ecn: bytes[1] & ECN != 0,
            header: half(2),
            size: half(4),
        })
    }

    /// The header's bytes.
    pub fn write(&self) -> [u8; VNET_HEADER] {
        let mut bytes = [0; VNET_HEADER];
        bytes[1] = self.gso.code() | if self.ecn { ECN } else { 0 };
        bytes[2..4].copy_from_slice(&self.header.to_ne_bytes());
        bytes[4..6].copy_from_slice(&self.size.to_ne_bytes());
        if let Some((start, offset)) = self.checksum {
            bytes[0] = NEEDS_CSUM;
            bytes[6..8].copy_from_slice(&start.to_ne_bytes());
            bytes[8..10].copy_from_slice(&offset.to_ne_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip() {
        for gso in [Gso::None, Gso::Tcp4, Gso::Tcp6, Gso::Udp] {
            for (checksum, ecn) in [(None, false), (Some((54, 16)), true), (Some((34, 6)), false)] {
                let vnet = Vnet {
                    checksum,
                    gso,
                    ecn,
                    header: 74,
                    size: 1440,
                };
                assert_eq!(Vnet::read(&vnet.write()), Some(vnet));
            }
        }
        assert_eq!(Vnet::read(&[0; VNET_HEADER]), Some(Vnet::default()));
        // UFO, gone from Linux; whatever comes after.
        assert_eq!(Vnet::read(&[0, 3, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Vnet::read(&[0, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
