//! What the card's PCI Express function has in its BARs beside the core's registers, and its limits. (Identity and
//! configuration space: [`crate::pci`].)
//!
//! | BAR | bytes | what |
//! |---|---|---|
//! | 0 | [`BAR0_BYTES`] | registers, tables, counters; MSI-X table and pending bits; memory, 32 or 64 bits, not prefetchable |
//! | 2 | [`BAR2_BYTES`] | records, tags, stash; written only, reads as 0; memory, not prefetchable |

use crate::regs::{BAR0_BYTES, BAR2_BYTES};

/// BAR0 offset of the MSI-X table, 16 bytes a vector ([`crate::pci::VECTORS`] of them); alone in its page, so that a hypervisor
/// can keep it from a guest.
pub const MSIX_TABLE: u32 = 0xc000;
/// BAR0 offset of the pending bit array, 8 bytes.
pub const MSIX_PBA: u32 = 0xd000;
/// First BAR0 offset of the transaction layer's registers.
pub const STATE_BASE: u32 = 0x0500;
/// First BAR0 offset behind them.
pub const STATE_END: u32 = 0x0600;
/// Bytes of the registers of a port's MAC, which are words of the port and not of the transaction layer; those of port 0 begin this
/// far behind [`STATE_BASE`], those of port 1 at three times as much.
pub const MAC_BYTES: u32 = 0x40;
/// Largest payload of a TLP that the card sends or takes, bytes (Max_Payload_Size Supported).
pub const MAX_PAYLOAD: usize = 512;
/// Largest memory read request of the card, bytes; it makes smaller ones when Max_Read_Request_Size says so.
pub const MAX_READ_REQUEST: usize = 512;
/// Clocks until a read request without completion is given up (completion timeout), log2: 16.8 ms at 125 MHz.
pub const COMPLETION_TIMEOUT_LOG2: usize = 21;

const _: () = assert!(MSIX_TABLE < BAR0_BYTES && MSIX_PBA < BAR0_BYTES && BAR0_BYTES < BAR2_BYTES);

/// Words of a port's MAC, in their order: the names of their registers without `Mac0` or `Mac1`. The first is its status, the others
/// count frames; behind them is [`crate::regs::Mac0Mdio`].
pub const MAC_WORDS: [&str; 14] = [
    "Status",
    "RxGood",
    "RxRunt",
    "RxOversize",
    "RxSymbol",
    "RxFcs",
    "RxPause",
    "RxControl",
    "RxNoStart",
    "RxOverrun",
    "RxNoRoom",
    "TxGood",
    "TxPoisoned",
    "TxUnderrun",
];

/// First BAR0 offset of the registers of a port's MAC.
pub const fn mac_base(port: usize) -> u32 {
    STATE_BASE + MAC_BYTES * (1 + 2 * port as u32)
}
const _: () = assert!(mac_base(0) == crate::regs::Mac0Status::OFFSET && mac_base(1) == crate::regs::Mac1Status::OFFSET);
const _: () = assert!(mac_base(1) + MAC_BYTES == STATE_END);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regs::REGISTERS;

    #[test]
    fn words_of_a_mac_are_registers() {
        for port in 0..crate::PORTS {
            let at = |offset: u32| REGISTERS.iter().find(|register| register.offset == offset);
            for (offset, word) in (mac_base(port)..).step_by(4).zip(MAC_WORDS.into_iter().chain(["Mdio"])) {
                assert_eq!(
                    at(offset).map(|register| register.name),
                    Some(format!("Mac{port}{word}").as_str())
                );
            }
        }
    }
}
