//! CRC-32 of Ethernet, one byte per step, without a register: who uses it keeps the sum.
//!
//! The sum begins with all ones. IEEE 802.3, 3.2.9: the frame check sequence is the complement of the sum, least
//! significant byte first; a sum that has also run over the right check sequence is [`RESIDUE`].

use crate::prelude::*;
use crate::prim::Quiet;
use crate::FastBlock;

/// Where the sum ends when the check sequence that was summed up last is right.
pub const RESIDUE: u32 = 0xdebb_20e3;

/// The sum after one more byte.
pub const fn step(sum: u32, byte: u8) -> u32 {
    let mut sum = sum ^ byte as u32;
    let mut bit = 0;
    while bit < 8 {
        // 0x04c11db7 with its bits reversed: Ethernet sends the least significant bit first
        sum = sum >> 1 ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 };
        bit += 1;
    }
    sum
}

/// The check sequence of a frame, in the order it is sent.
pub fn check_sequence(frame: &[u8]) -> [u8; 4] {
    (!frame.iter().fold(u32::MAX, |sum, &byte| step(sum, byte))).to_le_bytes()
}

/// See the module documentation. Latency: none.
#[derive(FastBlock, Default)]
pub struct CrcStep {
    /// The sum so far.
    pub sum: Signal<In, Bits<32>>,
    /// The next byte.
    pub octet: Signal<In, Bits<8>>,
    /// The sum with it.
    pub then: Signal<Out, Bits<32>>,
    _quiet: Quiet,
}

impl Logic for CrcStep {
    fn update(&mut self) {
        let (sum, byte) = (u64::from(self.sum.val()) as u32, u64::from(self.octet.val()) as u8);
        self.then.next = u64::from(step(sum, byte)).into();
    }
    fn connect(&mut self) {
        self.then.connect();
    }
    /// The step is linear, so that each bit of the result is the parity of some bits of sum and byte.
    fn hdl(&self) -> Verilog {
        let part = |of: &dyn Fn(usize) -> u32, bits: usize, bit: usize| {
            (0..bits).fold(0u32, |mask, i| mask | (of(i) >> bit & 1) << i)
        };
        let lines: String = (0..32)
            .map(|bit| {
                let sum = part(&|i| step(1 << i, 0), 32, bit);
                let byte = part(&|i| step(0, 1 << i), 8, bit);
                format!("  then[{bit}] = (^(sum & 32'h{sum:x})) ^ (^(octet & 8'h{byte:x}));\n")
            })
            .collect();
        Verilog::Custom(format!("always @(*) begin\n{lines}end\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_crc_32_comes_out() {
        // the check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms
        assert_eq!(u32::from_le_bytes(check_sequence(b"123456789")), 0xcbf4_3926);
        let whole = [b"123456789".as_slice(), &check_sequence(b"123456789")].concat();
        let sum = whole.iter().fold(u32::MAX, |sum, &byte| step(sum, byte));
        assert_eq!(sum, RESIDUE);
    }
}
