//! Configuration space of the served card: what a board's link block shows to the host.
//!
//! ```text
//!   0x000  type 0 header: BAR0 (registers, MSI-X table and pending bits, 64 KiB), BAR2 (records and tags, 8 MiB)
//!   0x040  power management: D0 and D3hot, no soft reset in between
//!   0x050  MSI-X
//!   0x070  PCI Express endpoint: function-level reset, payload and read request sizes
//!   0x100  device serial number
//! ```
//!
//! Bytes and a mask of what may be written. What a write means for the card comes back as [`Change`]s. The power state
//! must be writable: without it a hypervisor finds the card in D3hot and shows its registers as 0 without a word.

use nat64_layout::pci;
use nat64_layout::pcie::{MAX_PAYLOAD, MSIX_PBA, MSIX_TABLE};
use nat64_layout::regs::{BAR0_BYTES, BAR2_BYTES};

const BAR0: usize = 0x10;
const POWER: usize = 0x40;
const POWER_CONTROL: usize = POWER + 4;
const MSIX: usize = 0x50;
const MSIX_CONTROL: usize = MSIX + 2;
const EXPRESS: usize = 0x70;
const DEVICE_CONTROL: usize = EXPRESS + 8;
const DEVICE_STATUS: usize = EXPRESS + 10;
const SERIAL: usize = 0x100;
/// Device control: start a function-level reset.
const INITIATE_RESET: u16 = 1 << 15;
/// Device control after a reset: relaxed ordering and no snoop allowed, 128-byte payloads, 512-byte read requests.
const DEVICE_CONTROL_RESET: u16 = 0x2810;
/// Max_Payload_Size Supported as Device Capabilities has it: log2 over 128 bytes.
const PAYLOAD_SUPPORTED: u32 = (MAX_PAYLOAD / 128).ilog2();

/// What a write to configuration space means for the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Bus master enable.
    Master(bool),
    /// MSI-X enable and function mask.
    Msix(bool, bool),
    /// Max_Payload_Size and Max_Read_Request_Size in bytes.
    Payload(usize, usize),
    /// A function-level reset was asked for.
    Reset,
}

/// See the module documentation.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: Vec<u8>,
    writable: Vec<u8>,
}

impl Default for ConfigSpace {
    fn default() -> Self {
        Self::new()
    }
}

impl ConfigSpace {
    /// As after power-on.
    pub fn new() -> Self {
        let mut space = Self {
            bytes: vec![0; pci::CONFIG_BYTES],
            writable: vec![0; pci::CONFIG_BYTES],
        };
        space.set16(0x00, pci::VENDOR_ID, 0);
        space.set16(0x02, pci::DEVICE_ID, 0);
        // Memory, bus master; parity and SERR enable are kept and mean nothing here; INTx disable.
        space.set16(pci::COMMAND, 0, 0x0546);
        space.set16(0x06, 1 << 4, 0); // capabilities
        space.set8(0x08, pci::REVISION, 0);
        space.set8(0x0a, pci::SUBCLASS, 0);
        space.set8(0x0b, pci::CLASS, 0);
        space.set8(0x0c, 0, 0xff); // cache line size: kept, as every PCI Express function does
        space.bar(0, BAR0_BYTES);
        space.bar(2, BAR2_BYTES);
        space.set16(0x2c, pci::SUBSYSTEM_VENDOR_ID, 0);
        space.set16(0x2e, pci::SUBSYSTEM_ID, 0);
        space.set8(0x34, POWER as u8, 0);
        space.set8(0x3c, 0, 0xff); // interrupt line: kept

        space.capability(POWER, pci::CAP_POWER, MSIX);
        space.set16(POWER + 2, 3, 0); // version 1.2
        space.set16(POWER_CONTROL, 1 << 3, 3); // no soft reset; power state

        space.capability(MSIX, pci::CAP_MSIX, EXPRESS);
        space.set16(MSIX_CONTROL, pci::VECTORS as u16 - 1, 0xc000); // enable, function mask
        space.set32(MSIX + 4, MSIX_TABLE, 0); // both in BAR0
        space.set32(MSIX + 8, MSIX_PBA, 0);

        space.capability(EXPRESS, pci::CAP_EXPRESS, 0);
        space.set16(EXPRESS + 2, 2, 0); // endpoint, capability version 2
        space.set32(EXPRESS + 4, 1 << 28 | 1 << 15 | PAYLOAD_SUPPORTED, 0); // function-level reset, role-based errors
        space.set16(DEVICE_CONTROL, DEVICE_CONTROL_RESET, 0x7fff);
        space.set32(EXPRESS + 12, 0x0000_0011, 0); // link: 2.5 GT/s, x1
        space.set16(EXPRESS + 18, 0x0011, 0);

        space.set32(SERIAL, 0x0001_0003, 0); // device serial number, version 1, last in the list
        space.set32(SERIAL + 4, 0x0000_0001, 0);
        space.set32(
            SERIAL + 8,
            u32::from(pci::VENDOR_ID) << 16 | u32::from(pci::DEVICE_ID),
            0,
        );
        space
    }

    fn set8(&mut self, at: usize, value: u8, writable: u8) {
        self.bytes[at] = value;
        self.writable[at] = writable;
    }

    fn set16(&mut self, at: usize, value: u16, writable: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        self.writable[at..at + 2].copy_from_slice(&writable.to_le_bytes());
    }

    fn set32(&mut self, at: usize, value: u32, writable: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        self.writable[at..at + 4].copy_from_slice(&writable.to_le_bytes());
    }

    /// A 64-bit memory BAR, not prefetchable; its size shows in the bits that cannot be written.
    fn bar(&mut self, index: usize, bytes: u32) {
        let at = BAR0 + 4 * index;
        self.set32(at, 1 << 2, !(bytes - 1));
        self.set32(at + 4, 0, u32::MAX);
    }

    fn capability(&mut self, at: usize, id: u8, next: usize) {
        self.set8(at, id, 0);
        self.set8(at + 1, next as u8, 0);
    }

    fn get16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    /// Reads bytes; false when they are not all in configuration space.
    #[must_use]
    pub fn read(&self, offset: u64, out: &mut [u8]) -> bool {
        let range = usize::try_from(offset)
            .ok()
            .and_then(|at| self.bytes.get(at..at.checked_add(out.len())?));
        range.inspect(|bytes| out.copy_from_slice(bytes)).is_some()
    }

    /// Writes bytes as far as they may be written; `None` when they are not all in configuration space.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Option<Vec<Change>> {
        let at = usize::try_from(offset).ok()?;
        let end = at.checked_add(data.len()).filter(|&end| end <= self.bytes.len())?;
        let before = self.state();
        let mut reset = false;
        for (i, &byte) in data.iter().enumerate() {
            let mask = self.writable[at + i];
            self.bytes[at + i] = self.bytes[at + i] & !mask | byte & mask;
            // The bit reads as 0 always.
            reset |= at + i == DEVICE_CONTROL + 1 && byte & (INITIATE_RESET >> 8) as u8 != 0;
        }
        debug_assert!(end <= self.bytes.len());
        if reset {
            self.reset();
            return Some(vec![Change::Reset]);
        }
        let now = self.state();
        Some(
            now.into_iter()
                .zip(before)
                .filter(|(n, b)| n != b)
                .map(|(n, _)| n)
                .collect(),
        )
    }

    /// Puts everything that a function-level reset puts back into its state after power-on; BARs and interrupt line too,
    /// which the host restores (PCI Express 3.0 section 6.6.2).
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// What the card has to know.
    pub fn state(&self) -> [Change; 3] {
        let msix = self.get16(MSIX_CONTROL);
        let control = self.get16(DEVICE_CONTROL);
        let bytes = |log2: u16| 128usize << log2.min(5);
        [
            Change::Master(self.get16(pci::COMMAND) & pci::COMMAND_MASTER != 0),
            Change::Msix(msix >> 15 == 1, msix >> 14 & 1 == 1),
            Change::Payload(bytes(control >> 5 & 7), bytes(control >> 12 & 7)),
        ]
    }

    /// Whether the BARs answer: memory enable, and not in D3hot.
    pub fn answers(&self) -> bool {
        self.get16(pci::COMMAND) & pci::COMMAND_MEMORY != 0 && self.get16(POWER_CONTROL) & 3 == 0
    }

    /// Shows in Device Status whether a read request waits for its completion.
    pub fn set_pending(&mut self, pending: bool) {
        self.bytes[DEVICE_STATUS] = self.bytes[DEVICE_STATUS] & !(1 << 5) | u8::from(pending) << 5;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read32(space: &ConfigSpace, at: u64) -> u32 {
        let mut bytes = [0; 4];
        assert!(space.read(at, &mut bytes));
        u32::from_le_bytes(bytes)
    }

    #[test]
    fn capabilities_are_a_list_that_ends() {
        let space = ConfigSpace::new();
        let mut at = read32(&space, 0x34) & 0xff;
        let mut ids = Vec::new();
        while at != 0 {
            let word = read32(&space, at.into());
            ids.push(word as u8);
            at = word >> 8 & 0xff;
            assert!(ids.len() < 8, "a loop");
        }
        assert_eq!(ids, [pci::CAP_POWER, pci::CAP_MSIX, pci::CAP_EXPRESS]);
        assert_eq!(read32(&space, 0) as u16, pci::VENDOR_ID);
    }

    #[test]
    fn bars_show_their_sizes() {
        let mut space = ConfigSpace::new();
        for (at, bytes) in [(0x10, BAR0_BYTES), (0x18, BAR2_BYTES)] {
            assert_eq!(space.write(at, &[0xff; 8]), Some(vec![]));
            assert_eq!(!(read32(&space, at) & !0xf) + 1, bytes);
            assert_eq!(read32(&space, at + 4), u32::MAX);
            assert_eq!(read32(&space, at) & 7, 4, "64-bit memory");
        }
    }

    #[test]
    fn writes_tell_what_they_change_and_read_only_bits_stay() {
        let mut space = ConfigSpace::new();
        assert!(!space.answers());
        assert_eq!(space.write(4, &6u16.to_le_bytes()), Some(vec![Change::Master(true)]));
        assert!(space.answers());
        assert_eq!(space.write(0, &[0xff; 4]), Some(vec![]));
        assert_eq!(read32(&space, 0) as u16, pci::VENDOR_ID);
        assert_eq!(
            space.write(0x52, &0xc000u16.to_le_bytes()),
            Some(vec![Change::Msix(true, true)])
        );
        assert_eq!(read32(&space, 0x50) >> 16, 0xc000 | (pci::VECTORS as u32 - 1));
        let control = 1u16 << 5 | 1 << 12;
        assert_eq!(
            space.write(0x78, &control.to_le_bytes()),
            Some(vec![Change::Payload(256, 256)])
        );
        // D3hot: silence, and back.
        assert_eq!(space.write(0x44, &3u16.to_le_bytes()), Some(vec![]));
        assert!(!space.answers());
        assert_eq!(space.write(0x44, &[0]), Some(vec![]));
        assert!(space.answers());
        assert_eq!(space.write(0x79, &[0x80]), Some(vec![Change::Reset]));
        assert!(!space.answers(), "reset clears the command register");
        assert_eq!(space.state()[0], Change::Master(false));
        assert_eq!(space.write(4094, &[0; 4]), None);
        assert_eq!(space.write(u64::MAX, &[0; 4]), None);
        assert!(!space.read(4093, &mut [0; 4]) && !space.read(u64::MAX, &mut [0; 1]));
    }
}
