//! Transaction layer packets: what is in them, as DWs on the link and as a line to read.
//!
//! A DW is a number whose most significant byte comes first on the link, as in `hdl/src/pcie`.

use std::fmt;

/// Completion status (PCI Express Base Specification, "Completion Status Field Values").
pub mod status {
    /// Successful Completion.
    pub const SUCCESS: u8 = 0;
    /// Unsupported Request.
    pub const UNSUPPORTED: u8 = 1;
    /// Completer Abort.
    pub const ABORT: u8 = 4;
}

/// Where the interrupts of a card go: message writes to `INTERRUPT_BASE .. INTERRUPT_BASE + 1 MiB` are taken by the root complex and
/// never reach memory, as on an x86 machine.
pub const INTERRUPT_BASE: u64 = 0xfee0_0000;
/// Whether a write to this address is an interrupt message.
pub const fn is_interrupt(address: u64) -> bool {
    address & !0xf_ffff == INTERRUPT_BASE
}

/// Read completion boundary of a root complex, bytes (PCI Express Base Specification, "Read Completion Boundary").
pub const BOUNDARY: usize = 64;

/// The completions of a read of `data` from `address` on: each ends at a multiple of [`BOUNDARY`] or with the data, and has at most
/// what `most` says for the next one, bytes, which is asked before each and must be a multiple of [`BOUNDARY`].
pub fn completions(
    [completer, requester]: [u16; 2],
    tag: u8,
    address: u64,
    data: &[u8],
    mut most: impl FnMut() -> usize,
) -> Vec<Packet> {
    let mut packets = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let here = address + at as u64;
        let mut n = most().max(BOUNDARY).min(data.len() - at);
        if at + n < data.len() {
            n -= (here as usize + n) % BOUNDARY;
        }
        packets.push(Packet::Completion {
            completer,
            requester,
            tag,
            status: status::SUCCESS,
            count: data.len() - at,
            lower: here as u8 & 0x7f,
            data: data[at..at + n].to_vec(),
            poisoned: false,
        });
        at += n;
    }
    packets
}

/// The completion of a read of `bytes` bytes that is refused.
pub const fn refusal([completer, requester]: [u16; 2], tag: u8, bytes: usize) -> Packet {
    Packet::Completion {
        completer,
        requester,
        tag,
        status: status::UNSUPPORTED,
        count: bytes,
        lower: 0,
        data: Vec::new(),
        poisoned: false,
    }
}

/// A TLP, as far as a root complex and this card send them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Memory read request.
    Read {
        /// Requester ID.
        requester: u16,
        /// Tag.
        tag: u8,
        /// Address of the first DW.
        address: u64,
        /// DWs, 1 to 1,024.
        length: usize,
        /// Byte enables of the first and last DW.
        enables: [u8; 2],
    },
    /// Memory write request.
    Write {
        /// Requester ID.
        requester: u16,
        /// Address of the first DW.
        address: u64,
        /// Byte enables of the first and last DW.
        enables: [u8; 2],
        /// Payload, a multiple of 4 bytes.
        data: Vec<u8>,
        /// The payload is poisoned.
        poisoned: bool,
    },
    /// Completion.
    Completion {
        /// Completer ID.
        completer: u16,
        /// Requester ID.
        requester: u16,
        /// Tag of the request.
        tag: u8,
        /// See [`status`].
        status: u8,
        /// Bytes that are still to come, with these; 1 to 4,096.
        count: usize,
        /// Lower address.
        lower: u8,
        /// Payload, a multiple of 4 bytes; empty without data.
        data: Vec<u8>,
        /// The payload is poisoned.
        poisoned: bool,
    },
    /// Any other.
    Other {
        /// Fmt and Type.
        kind: u8,
        /// DWs.
        length: usize,
    },
}

fn put_data(dws: &mut Vec<u32>, data: &[u8]) {
    dws.extend(data.chunks(4).map(|b| {
        b.iter()
            .enumerate()
            .fold(0, |dw, (i, &byte)| dw | u32::from(byte) << (24 - 8 * i))
    }));
}

impl Packet {
    /// The DWs of the TLP. Requests have a header of four DWs when their address needs it, as the specification demands.
    pub fn encode(&self) -> Vec<u32> {
        let memory = |write: bool, length: usize, extra: u32, requester: u16, tag: u8, address: u64, be: [u8; 2]| {
            let four = address >> 32 != 0;
            let fmt = u32::from(four) | u32::from(write) << 1;
            let mut dws = vec![
                fmt << 29 | extra | length as u32 & 0x3ff,
                u32::from(requester) << 16 | u32::from(tag) << 8 | u32::from(be[1]) << 4 | u32::from(be[0]),
            ];
            if four {
                dws.push((address >> 32) as u32);
            }
            dws.push(address as u32 & !3);
            dws
        };
        let poison = |poisoned: bool| u32::from(poisoned) << 14;
        match self {
            Self::Read {
                requester,
                tag,
                address,
                length,
                enables,
            } => memory(false, *length, 0, *requester, *tag, *address, *enables),
            Self::Write {
                requester,
                address,
                enables,
                data,
                poisoned,
            } => {
                let mut dws = memory(
                    true,
                    data.len() / 4,
                    poison(*poisoned),
                    *requester,
                    0,
                    *address,
                    *enables,
                );
                put_data(&mut dws, data);
                dws
            }
            Self::Completion {
                completer,
                requester,
                tag,
                status,
                count,
                lower,
                data,
                poisoned,
            } => {
                let fmt = if data.is_empty() { 0 } else { 2 };
                let mut dws = vec![
                    fmt << 29 | 0x0a << 24 | poison(*poisoned) | (data.len() / 4) as u32 & 0x3ff,
                    u32::from(*completer) << 16 | u32::from(*status) << 13 | *count as u32 & 0xfff,
                    u32::from(*requester) << 16 | u32::from(*tag) << 8 | u32::from(*lower) & 0x7f,
                ];
                put_data(&mut dws, data);
                dws
            }
            Self::Other { kind, length } => {
                let mut dws = vec![0; (*length).max(1)];
                dws[0] = u32::from(*kind) << 24;
                dws
            }
        }
    }

    /// What the DWs of a TLP say; `None` when they are fewer or more than its header says. A digest is left out.
    pub fn decode(dws: &[u32]) -> Option<Self> {
        let first = *dws.first()?;
        let (fmt, kind) = (first >> 29, first >> 24 & 31);
        let header = if fmt & 1 == 1 { 4 } else { 3 };
        let length = match first & 0x3ff {
            0 => 1024,
            n => n as usize,
        };
        let payload = if fmt & 2 == 0 { 0 } else { length };
        let digest = (first >> 15 & 1) as usize;
        if fmt < 4 && dws.len() != header + payload + digest {
            return None;
        }
        let poisoned = first >> 14 & 1 == 1;
        let data: Vec<u8> = dws
            .get(header..header + payload)?
            .iter()
            .flat_map(|dw| dw.to_be_bytes())
            .collect();
        let address = if header == 4 {
            u64::from(dws[2]) << 32 | u64::from(dws[3])
        } else {
            u64::from(*dws.get(2)?)
        };
        let requester = (dws[1] >> 16) as u16;
        let enables = [dws[1] as u8 & 15, dws[1] as u8 >> 4];
        Some(match (fmt, kind) {
            (0 | 1, 0) => Self::Read {
                requester,
                tag: (dws[1] >> 8) as u8,
                address,
                length,
                enables,
            },
            (2 | 3, 0) => Self::Write {
                requester,
                address,
                enables,
                data,
                poisoned,
            },
            (0 | 2, 10) => Self::Completion {
                completer: requester,
                requester: (dws[2] >> 16) as u16,
                tag: (dws[2] >> 8) as u8,
                status: (dws[1] >> 13) as u8 & 7,
                count: match dws[1] & 0xfff {
                    0 => 4096,
                    n => n as usize,
                },
                lower: dws[2] as u8 & 0x7f,
                data,
                poisoned,
            },
            _ => Self::Other {
                kind: (first >> 24) as u8,
                length: dws.len(),
            },
        })
    }
}

fn hex(f: &mut fmt::Formatter<'_>, data: &[u8]) -> fmt::Result {
    // a line stays a line: the first bytes tell what it is about
    for byte in data.iter().take(32) {
        write!(f, "{byte:02x}")?;
    }
    if data.len() > 32 {
        write!(f, "...")?;
    }
    Ok(())
}

/// Bus, device and function number.
fn id(id: u16) -> String {
    format!("{:02x}:{:02x}.{}", id >> 8, id >> 3 & 31, id & 7)
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read {
                requester,
                tag,
                address,
                length,
                enables: [first, last],
            } => write!(
                f,
                "MRd {} tag {tag:#04x} addr {address:#x} len {length} be {last:04b} {first:04b}",
                id(*requester)
            ),
            Self::Write {
                requester,
                address,
                enables: [first, last],
                data,
                poisoned,
            } => {
                write!(
                    f,
                    "MWr {} addr {address:#x} len {} be {last:04b} {first:04b}{} ",
                    id(*requester),
                    data.len() / 4,
                    if *poisoned { " poisoned" } else { "" },
                )?;
                hex(f, data)
            }
            Self::Completion {
                completer,
                requester,
                tag,
                status,
                count,
                lower,
                data,
                poisoned,
            } => {
                let name = match *status {
                    status::SUCCESS => "SC",
                    status::UNSUPPORTED => "UR",
                    status::ABORT => "CA",
                    _ => "reserved status",
                };
                write!(
                    f,
                    "{} {} for {} tag {tag:#04x} {name} count {count} lower {lower:#04x}{} ",
                    if data.is_empty() { "Cpl" } else { "CplD" },
                    id(*completer),
                    id(*requester),
                    if *poisoned { " poisoned" } else { "" },
                )?;
                hex(f, data)
            }
            Self::Other { kind, length } => write!(f, "TLP of fmt/type {kind:#04x}, {length} DWs"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_round_trip() {
        let completion = |data: Vec<u8>, status| Packet::Completion {
            completer: 0x308,
            requester: 0x10,
            tag: 0x1f,
            status,
            count: 4096,
            lower: 0x41,
            data,
            poisoned: false,
        };
        for packet in [
            Packet::Read {
                requester: 0x308,
                tag: 3,
                address: 0x1000,
                length: 1024,
                enables: [15, 15],
            },
            Packet::Read {
                requester: 0x308,
                tag: 3,
                address: 0x12_0000_1000,
                length: 1,
                enables: [1, 0],
            },
            Packet::Write {
                requester: 0x10,
                address: 0xffff_fff0,
                enables: [15, 1],
                data: (0..8).collect(),
                poisoned: true,
            },
            completion(vec![1, 2, 3, 4], 0),
            completion(Vec::new(), 1),
            Packet::Other { kind: 0x34, length: 4 },
        ] {
            assert_eq!(Packet::decode(&packet.encode()), Some(packet.clone()), "{packet}");
        }
        assert_eq!(Packet::decode(&[]), None);
        assert_eq!(Packet::decode(&[0x4000_0001, 0, 0]), None, "its payload is missing");
    }

    #[test]
    fn completions_end_at_boundaries_and_have_it_all() {
        use rand::{rngs::StdRng, Rng, SeedableRng};
        let mut rng = StdRng::seed_from_u64(6);
        for round in 0..10_000 {
            let whole: Vec<u8> = (0..4 * rng.random_range(1..=256)).map(|_| rng.random()).collect();
            let address = 4 * rng.random_range(0..0x1000u64);
            let most = BOUNDARY * rng.random_range(1..=4);
            let mut got = Vec::new();
            for packet in completions([0, 0x100], 9, address, &whole, || most) {
                let Packet::Completion {
                    completer: 0,
                    requester: 0x100,
                    tag: 9,
                    status: status::SUCCESS,
                    count,
                    lower,
                    data,
                    poisoned: false,
                } = packet
                else {
                    panic!("round {round}: {packet}");
                };
                let here = address + got.len() as u64;
                assert_eq!((count, u64::from(lower)), (whole.len() - got.len(), here % 128));
                assert!((1..=most).contains(&data.len()), "round {round}");
                got.extend(data);
                let end = (address as usize + got.len()) % BOUNDARY;
                assert!(end == 0 || got.len() == whole.len(), "round {round}");
            }
            assert_eq!(got, whole, "round {round}");
        }
    }

    #[test]
    fn lines_say_what_a_packet_is() {
        let write = Packet::Write {
            requester: 0x0308,
            address: 0x1_2340_0020,
            enables: [15, 15],
            data: vec![0xab; 40],
            poisoned: false,
        };
        assert_eq!(
            write.to_string(),
            format!(
                "MWr 03:01.0 addr 0x123400020 len 10 be 1111 1111 {}...",
                "ab".repeat(32)
            )
        );
    }

    #[test]
    fn whatever_comes_decodes_or_not_but_never_panics() {
        use rand::{rngs::StdRng, Rng, SeedableRng};
        let mut rng = StdRng::seed_from_u64(5);
        for _ in 0..100_000 {
            let n = rng.random_range(0..8);
            let dws: Vec<u32> = (0..n).map(|_| rng.random::<u32>() & 0xff00_f003).collect();
            if let Some(packet) = Packet::decode(&dws) {
                assert!(!packet.to_string().is_empty());
            }
        }
    }
}
