//! The card on the PCI bus: identity, configuration space, interrupt vectors. The driver looks for it, the simulator
//! shows it, a board's link block is given it.
//!
//! The project has no vendor ID of its own (PCI-SIG assigns them to members), so a card shows that of the maker of its
//! FPGA. What it really is, `Ident` and `AbiHash` in BAR0 tell; nothing is touched before they are read.

/// Vendor ID: Lattice Semiconductor, maker of the first board's FPGA.
pub const VENDOR_ID: u16 = 0x1204;
/// Device ID: "N6".
pub const DEVICE_ID: u16 = 0x4e36;
/// Subsystem vendor ID.
pub const SUBSYSTEM_VENDOR_ID: u16 = VENDOR_ID;
/// Subsystem ID: "N64" has no more room; the second half of `MAGIC`.
pub const SUBSYSTEM_ID: u16 = 0x3400;
/// Base class: network controller.
pub const CLASS: u8 = 0x02;
/// Sub-class: Ethernet controller.
pub const SUBCLASS: u8 = 0x00;
/// Revision.
pub const REVISION: u8 = 1;
/// Bytes of configuration space (PCI Express).
pub const CONFIG_BYTES: usize = 4096;
/// MSI-X vectors: exception ring, progress.
pub const VECTORS: usize = 2;

/// Offset of the command register, 16 bits (PCI Local Bus 3.0 section 6.2.2).
pub const COMMAND: usize = 0x04;
/// Command: answer accesses to the BARs.
pub const COMMAND_MEMORY: u16 = 1 << 1;
/// Command: be bus master, which is to access host memory and to raise MSI-X.
pub const COMMAND_MASTER: u16 = 1 << 2;
/// Capability: PCI Express, as the ID in its first byte.
pub const CAP_EXPRESS: u8 = 0x10;
/// Capability: MSI-X.
pub const CAP_MSIX: u8 = 0x11;
/// Capability: power management.
pub const CAP_POWER: u8 = 0x01;
