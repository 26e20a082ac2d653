//! Frames on a serial line: bytes to octets and back. `nat64_layout::serial` has the format.

use nat64_layout::serial::{ESCAPE, ESCAPED, FLAG, MAX_DWS, OVERHEAD};

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Kind and numbers.
    pub head: u8,
    /// BARs from the host, status from the card.
    pub second: u8,
    /// DWs.
    pub dws: Vec<u32>,
}

impl Frame {
    /// Appends the octets of the frame, with a flag on both sides.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = vec![self.head, self.second];
        bytes.extend(self.dws.iter().flat_map(|dw| dw.to_be_bytes()));
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        out.push(FLAG);
        for byte in bytes {
            match byte {
                FLAG | ESCAPE => out.extend([ESCAPE, byte ^ ESCAPED]),
                _ => out.push(byte),
            }
        }
        out.push(FLAG);
    }

    /// The frame in what stood between two flags, unescaped; `None`: it is damaged.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, check) = bytes.split_last_chunk::<4>()?;
        let (&[head, second], data) = body.split_first_chunk::<2>()?;
        if crc32fast::hash(body).to_le_bytes() != *check || !data.len().is_multiple_of(4) {
            return None;
        }
        let dws = data
            .chunks_exact(4)
            .map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        Some(Self { head, second, dws })
    }
}

/// A damaged frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// Finds the frames in the octets of a line.
#[derive(Debug, Default)]
pub(super) struct Deframer {
    bytes: Vec<u8>,
    escaped: bool,
    /// More than a frame has: nothing is kept until the next flag.
    long: bool,
}

impl Deframer {
    /// The next octet; at a flag, the frame that ends there.
    pub fn take(&mut self, octet: u8) -> Option<Result<Frame, Damaged>> {
        match octet {
            FLAG => {
                let cut = std::mem::take(&mut self.escaped) | std::mem::take(&mut self.long);
                let frame = Frame::decode(&self.bytes);
                let empty = self.bytes.is_empty() && !cut;
                self.bytes.clear();
                if empty {
                    return None;
                }
                Some(frame.filter(|_| !cut).ok_or(Damaged))
            }
            ESCAPE => {
                self.escaped = true;
                None
            }
            octet => {
                let octet = if std::mem::take(&mut self.escaped) {
                    octet ^ ESCAPED
                } else {
                    octet
                };
                if self.bytes.len() == 4 * MAX_DWS + OVERHEAD {
                    self.long = true;
                } else {
                    self.bytes.push(octet);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{rngs::StdRng, Rng, SeedableRng};

    #[test]
    fn the_check_value_of_crc_32_comes_out() {
        // the check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn frames_pass_and_damaged_ones_do_not() {
        let mut rng = StdRng::seed_from_u64(1);
        for round in 0..2000 {
            let length = rng.random_range(0..=MAX_DWS);
            let frame = Frame {
                head: rng.random(),
                second: [0x7e, 0x7d, 0][round % 3],
                dws: (0..length).map(|_| [0x7d7e_5d5e, rng.random()][round % 2]).collect(),
            };
            let mut octets = Vec::new();
            frame.encode(&mut octets);
            let whole: Vec<_> = {
                let mut deframer = Deframer::default();
                octets.iter().filter_map(|&octet| deframer.take(octet)).collect()
            };
            assert_eq!(whole, [Ok(frame.clone())]);
            let at = rng.random_range(0..octets.len());
            octets[at] ^= 1 << rng.random_range(0..8);
            let mut deframer = Deframer::default();
            let seen = octets.iter().filter_map(|&octet| deframer.take(octet));
            assert!(seen.into_iter().all(|seen| seen.is_err()), "round {round}, octet {at}");
        }
    }

    #[test]
    fn noise_is_bounded_and_ends_at_a_flag() {
        let mut deframer = Deframer::default();
        assert!((0..100_000).all(|_| deframer.take(7).is_none()));
        assert!(deframer.bytes.len() <= 4 * MAX_DWS + OVERHEAD);
        assert_eq!(deframer.take(FLAG), Some(Err(Damaged)));
        assert_eq!(deframer.take(FLAG), None);
        deframer.take(ESCAPE);
        assert_eq!(
            deframer.take(FLAG),
            Some(Err(Damaged)),
            "an escape that escapes nothing"
        );
    }
}
