//! Registers of BAR0. One block of text gives typed accessors, the table for documents and dumps, and the ABI hash.
//!
//! Blocks start at multiples of 0x100 so that an insertion never moves a neighbour.

use crate::{dump, hash, pcie, record, ring, tables};

/// A memory window of the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bar {
    /// Registers, tables, counters.
    Bar0,
    /// Session records, tags, stash; write only.
    Bar2,
}

/// Bytes of BAR0.
pub const BAR0_BYTES: u32 = 0x1_0000;
/// Bytes of BAR2.
pub const BAR2_BYTES: u32 = 0x80_0000;

/// Who may do what with a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read only.
    Ro,
    /// Read and write.
    Rw,
    /// Write only; reads as 0.
    Wo,
}

/// One field of a register.
#[derive(Debug)]
pub struct FieldInfo {
    /// Name.
    pub name: &'static str,
    /// Highest bit.
    pub msb: u8,
    /// Lowest bit.
    pub lsb: u8,
    /// Explanation.
    pub doc: &'static str,
}

/// One register.
#[derive(Debug)]
pub struct RegInfo {
    /// Name.
    pub name: &'static str,
    /// Byte offset in BAR0.
    pub offset: u32,
    /// Access.
    pub access: Access,
    /// Value after reset.
    pub reset: u32,
    /// Explanation.
    pub doc: &'static str,
    /// Fields, lowest first.
    pub fields: &'static [FieldInfo],
}

macro_rules! registers {
    ($(
        $(#[doc = $rdoc:literal])*
        $name:ident @ $off:literal $acc:ident reset $rst:literal {
            $( $(#[doc = $fdoc:literal])* $f:ident : $msb:literal , $lsb:literal ; )*
        }
    )*) => { pastey::paste! {
        $(
            bitfield::bitfield! {
                $(#[doc = $rdoc])*
                #[derive(Clone, Copy, PartialEq, Eq)]
                pub struct $name(pub u32);
                impl Debug;
                $( $(#[doc = $fdoc])* pub u32, $f, [<set_ $f>]: $msb, $lsb; )*
            }
            impl $name {
                /// Byte offset in BAR0.
                pub const OFFSET: u32 = $off;
                /// Value after reset.
                pub const RESET: u32 = $rst;
            }
        )*
        /// Every register, by rising offset.
        pub static REGISTERS: &[RegInfo] = &[ $( RegInfo {
            name: stringify!($name), offset: $off, access: Access::$acc, reset: $rst,
            doc: concat!($($rdoc),*),
            fields: &[ $( FieldInfo { name: stringify!($f), msb: $msb, lsb: $lsb, doc: concat!("", $($fdoc),*) } ),* ],
        } ),* ];
        const REGISTER_HASH: u32 = {
            let mut h = 0x811c_9dc5u32;
            $(
                h = fnv(h, stringify!($name).as_bytes());
                h = mix(h, $off);
                h = mix(h, $rst);
                h = mix(h, Access::$acc as u32);
                $( h = fnv(h, stringify!($f).as_bytes()); h = mix(h, ($msb << 8) | $lsb); )*
            )*
            h
        };
    }};
}

const fn fnv(mut h: u32, bytes: &[u8]) -> u32 {
    let mut i = 0;
    while i < bytes.len() {
        h = (h ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    h
}

const fn mix(h: u32, v: u32) -> u32 {
    fnv(h, &v.to_le_bytes())
}

/// Changes whenever a register, field, table, record, descriptor, reason code or hash parameter changes.
pub const ABI_HASH: u32 = {
    let mut h = REGISTER_HASH;
    let mut i = 0;
    while i < record::RECORD_FIELDS.len() {
        let (name, low, width) = record::RECORD_FIELDS[i];
        h = fnv(h, name.as_bytes());
        h = mix(h, (low << 16 | width) as u32);
        i += 1;
    }
    i = 0;
    while i < crate::Reason::ALL.len() {
        h = fnv(h, crate::Reason::ALL[i].name().as_bytes());
        h = mix(h, crate::Reason::ALL[i] as u32);
        i += 1;
    }
    let numbers = [
        record::RECORD_BASE,
        record::RECORD_STRIDE,
        record::TAG_BASE,
        record::TAG_BANK_STRIDE,
        record::TAG_BUCKET_STRIDE,
        record::STASH_BASE,
        record::STASH_STRIDE,
        record::TAG_INDEX_LSB as u32,
        crate::FINGERPRINT_BITS as u32,
        crate::INDEX_BITS as u32,
        crate::TICK_SHIFT,
        crate::STAMP_BITS as u32,
        crate::WAYS as u32,
        crate::BANKS as u32,
        hash::C_ROUNDS as u32,
        hash::D_ROUNDS as u32,
        hash::MESSAGE_BYTES as u32,
        hash::MESSAGE_FOUR_BIT as u32,
        ring::SLOT_BYTES as u32,
        ring::DESCRIPTOR_BYTES as u32,
        ring::BURST_BYTES as u32,
        dump::DUMP_BYTES as u32,
        dump::DumpKind::Records.words() as u32,
        dump::DumpKind::Tags.words() as u32,
        dump::DumpKind::Stash.words() as u32,
        dump::PACKET_BITS as u32,
        dump::BYTE_BITS as u32,
        tables::UNITS as u32,
        tables::PREF64S as u32,
        tables::TERMS as u32,
        tables::POOLS as u32,
        tables::NEXT_HOPS as u32,
        tables::SERVICE_SETS as u32,
        tables::UNIT_BASE,
        tables::PREF64_BASE,
        tables::TERM_BASE,
        tables::POOL_BASE,
        tables::NEXT_HOP_BASE,
        tables::SERVICE_SET_BASE,
        tables::UNIT_STRIDE,
        tables::PREF64_STRIDE,
        tables::TERM_STRIDE,
        tables::POOL_STRIDE,
        tables::NEXT_HOP_STRIDE,
        tables::SERVICE_SET_STRIDE,
        COUNTER_BASE,
        PORT_COUNTER_BASE,
        SET_COUNTER_BASE,
        pcie::MSIX_TABLE,
        pcie::MSIX_PBA,
        crate::pci::VECTORS as u32,
    ];
    i = 0;
    while i < numbers.len() {
        h = mix(h, numbers[i]);
        i += 1;
    }
    h
};

/// BAR0 offset of the reason counters: 64-bit, low word first, at `COUNTER_BASE + 8 * code`. Reading a low word
/// holds the high word until it is read.
pub const COUNTER_BASE: u32 = 0x8000;
/// BAR0 offset of the port counters, 32 bytes a port: packets in, bytes in, packets out, bytes out (64-bit each).
pub const PORT_COUNTER_BASE: u32 = 0x8400;
/// BAR0 offset of the service-set counters, 32 bytes a set: packets and bytes IPv6 to IPv4, packets and bytes IPv4 to
/// IPv6, translated by the card (64-bit each).
pub const SET_COUNTER_BASE: u32 = 0x8600;
/// Bits a counter has before it wraps; the rest reads as 0.
pub const COUNTER_BITS: usize = 48;

/// What `Ident` reads as: "N64" and a zero byte.
pub const MAGIC: u32 = 0x4e36_3400;

registers! {
    /// Identity: "N64" and a zero byte, most significant first.
    Ident @ 0x0000 Ro reset 0x4e36_3400 {
        /// 0x4e363400.
        magic: 31, 0;
    }
    /// Hash over the contract; the driver refuses a card that shows another value than its own.
    AbiHash @ 0x0004 Ro reset 0 {
        /// ABI hash (value at reset is the hash itself).
        value: 31, 0;
    }
    /// Table sizes.
    Geometry @ 0x0008 Ro reset 0 {
        /// log2 of the session records.
        record_log2: 4, 0;
        /// log2 of the buckets per bank.
        bucket_log2: 12, 8;
        /// Stash entries.
        stash: 23, 16;
        /// Ways of a bucket.
        ways: 27, 24;
    }
    /// Datapath.
    Datapath @ 0x000c Ro reset 0 {
        /// Bytes of a bus word.
        bus_bytes: 7, 0;
        /// Ports.
        ports: 11, 8;
        /// Clocks from the first word in to the first word out.
        latency: 23, 16;
    }
    /// Free for the host; a write and read back proves the way to the card.
    Scratch @ 0x001c Rw reset 0 {
        /// Any value.
        value: 31, 0;
    }
    /// Control.
    Ctrl @ 0x0100 Rw reset 0 {
        /// Take frames; when clear every frame that arrives is dropped and counted `Disabled`.
        enable: 0, 0;
    }
    /// First word of the hash secret. Write before the first record; changing it empties the meaning of all tags.
    HashKey0 @ 0x0104 Wo reset 0 {
        /// Key bytes 3..0.
        key: 31, 0;
    }
    /// Second word of the hash secret.
    HashKey1 @ 0x0108 Wo reset 0 {
        /// Key bytes 7..4.
        key: 31, 0;
    }
    /// What happens to packets that nothing matches (`tables::PortPolicy`).
    Policy @ 0x010c Rw reset 0 {
        /// For frames of port 0: 0 drop, 1 forward, 2 punt.
        port0: 1, 0;
        /// For frames of port 1.
        port1: 5, 4;
    }
    /// Card time, low word; reading it holds the high word.
    TimeLow @ 0x0110 Ro reset 0 {
        /// Nanoseconds, bits 31:0.
        value: 31, 0;
    }
    /// Card time, high word.
    TimeHigh @ 0x0114 Ro reset 0 {
        /// Nanoseconds, bits 63:32, as of the last read of `TimeLow`.
        value: 31, 0;
    }
    /// Address of the exception ring in host memory, low word. Write while the ring is disabled.
    ExcBaseLow @ 0x0200 Rw reset 0 {
        /// Bits 31:0, multiple of 4,096.
        value: 31, 0;
    }
    /// Address of the exception ring, high word.
    ExcBaseHigh @ 0x0204 Rw reset 0 {
        /// Bits 63:32.
        value: 31, 0;
    }
    /// Exception ring control. Enabling sets head and tail to 0.
    ExcCtrl @ 0x0208 Rw reset 0 {
        /// Fill slots; while clear, punts are dropped and counted `ExceptionRingFull`.
        enable: 0, 0;
        /// log2 of the slots, 1 to 12.
        log2: 11, 8;
    }
    /// Slots the host has given back, free running.
    ExcTail @ 0x020c Rw reset 0 {
        /// Index.
        index: 31, 0;
    }
    /// Slots the card has filled, free running (for diagnosis; the owner bit tells the same without a read).
    ExcHead @ 0x0210 Ro reset 0 {
        /// Index.
        index: 31, 0;
    }
    /// Address of the inject ring in host memory, low word. Write while the ring is disabled.
    InjBaseLow @ 0x0300 Rw reset 0 {
        /// Bits 31:0, multiple of 4,096.
        value: 31, 0;
    }
    /// Address of the inject ring, high word.
    InjBaseHigh @ 0x0304 Rw reset 0 {
        /// Bits 63:32.
        value: 31, 0;
    }
    /// Inject ring control. Enabling sets head and tail to 0.
    InjCtrl @ 0x0308 Rw reset 0 {
        /// Read slots.
        enable: 0, 0;
        /// log2 of the slots, 1 to 12.
        log2: 11, 8;
    }
    /// Slots the host has filled, free running: the doorbell.
    InjTail @ 0x030c Rw reset 0 {
        /// Index.
        index: 31, 0;
    }
    /// Slots the card has sent, free running (for diagnosis; see `InjWbLow`).
    InjHead @ 0x0310 Ro reset 0 {
        /// Index.
        index: 31, 0;
    }
    /// Where the card writes `InjHead` after each slot, low word; multiple of 8.
    InjWbLow @ 0x0314 Rw reset 0 {
        /// Bits 31:0.
        value: 31, 0;
    }
    /// Where the card writes `InjHead`, high word.
    InjWbHigh @ 0x0318 Rw reset 0 {
        /// Bits 63:32.
        value: 31, 0;
    }
    /// Where entries are copied to, low word; multiple of 4,096.
    DumpAddrLow @ 0x0400 Rw reset 0 {
        /// Bits 31:0.
        value: 31, 0;
    }
    /// Where entries are copied to, high word.
    DumpAddrHigh @ 0x0404 Rw reset 0 {
        /// Bits 63:32.
        value: 31, 0;
    }
    /// Where `sequence` is written after the last entry, low word; multiple of 8.
    DumpDoneLow @ 0x0408 Rw reset 0 {
        /// Bits 31:0.
        value: 31, 0;
    }
    /// Where `sequence` is written, high word.
    DumpDoneHigh @ 0x040c Rw reset 0 {
        /// Bits 63:32.
        value: 31, 0;
    }
    /// First entry to copy.
    DumpFirst @ 0x0410 Rw reset 0 {
        /// Record index, bucket number or stash entry.
        index: 16, 0;
    }
    /// Starts a copy; ignored while one runs.
    DumpGo @ 0x0414 Wo reset 0 {
        /// Entries to copy, 1 to 2^17 - 1.
        count: 16, 0;
        /// What is copied (`dump::DumpKind`).
        kind: 18, 17;
        /// Written to the completion address (as a 64-bit word) after the last entry.
        sequence: 31, 24;
    }
    /// The PCI Express function as its link block has it set up.
    PcieState @ 0x0500 Ro reset 0 {
        /// Bus Master Enable.
        bus_master: 0, 0;
        /// MSI-X Enable.
        msix_enable: 1, 1;
        /// MSI-X Function Mask.
        msix_mask: 2, 2;
        /// A function-level reset is under way.
        resetting: 3, 3;
        /// Max_Payload_Size: 128 bytes shifted left by this.
        max_payload: 6, 4;
        /// Max_Read_Request_Size: 128 bytes shifted left by this.
        max_read: 10, 8;
        /// Bus, device and function number.
        id: 31, 16;
    }
    /// Memory writes to the BARs that were taken. These counters wrap, and a function-level reset leaves them as they are.
    PcieWrites @ 0x0510 Ro reset 0 {
        /// Requests.
        count: 31, 0;
    }
    /// Memory reads of the BARs.
    PcieReads @ 0x0514 Ro reset 0 {
        /// Requests.
        count: 31, 0;
    }
    /// Requests that are not supported: answered so when they want a completion, dropped otherwise.
    PcieUnsupported @ 0x0518 Ro reset 0 {
        /// Requests.
        count: 31, 0;
    }
    /// Completer Aborts answered: a register did not answer.
    PcieAborted @ 0x051c Ro reset 0 {
        /// Completions.
        count: 31, 0;
    }
    /// Malformed TLPs dropped.
    PcieMalformed @ 0x0520 Ro reset 0 {
        /// TLPs.
        count: 31, 0;
    }
    /// Poisoned writes and completions; their data was not used.
    PciePoisoned @ 0x0524 Ro reset 0 {
        /// TLPs.
        count: 31, 0;
    }
    /// Completions nobody waits for, or with a byte count that is not what is missing.
    PcieUnexpected @ 0x0528 Ro reset 0 {
        /// Completions.
        count: 31, 0;
    }
    /// Read requests of the card that were given up after the completion timeout.
    PcieTimeouts @ 0x052c Ro reset 0 {
        /// Requests.
        count: 31, 0;
    }
    /// Read requests of the card that were answered with an error (as an IOMMU fault is).
    PcieErrors @ 0x0530 Ro reset 0 {
        /// Completions.
        count: 31, 0;
    }
    /// DMA writes and interrupt messages thrown away because bus master was disabled or a reset under way, and writes of the
    /// host that came during a reset.
    PcieDropped @ 0x0534 Ro reset 0 {
        /// TLPs.
        count: 31, 0;
    }
    /// Function-level resets done.
    PcieResets @ 0x0538 Ro reset 0 {
        /// Resets.
        count: 31, 0;
    }
    /// Network port 0's MAC, when the card has one of its own; everything of the port reads as 0 otherwise.
    Mac0Status @ 0x0540 Ro reset 0 {
        /// The link is up, by what the PHY says in band.
        link: 0, 0;
        /// Rate: 0 10, 1 100, 2 1000 Mbit/s. The MAC works at 1000.
        speed: 2, 1;
        /// Full duplex.
        full_duplex: 3, 3;
        /// The receive clock runs.
        clock: 4, 4;
        /// There is a MAC.
        present: 31, 31;
    }
    /// Good frames received by port 0. These counters wrap, and a function-level reset leaves them as they are.
    Mac0RxGood @ 0x0544 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Frames shorter than 64 bytes, dropped.
    Mac0RxRunt @ 0x0548 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Frames longer than the card takes, dropped.
    Mac0RxOversize @ 0x054c Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Frames in which the PHY signalled an error, dropped.
    Mac0RxSymbol @ 0x0550 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Frames with a wrong frame check sequence, dropped.
    Mac0RxFcs @ 0x0554 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// PAUSE frames, ignored.
    Mac0RxPause @ 0x0558 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Other MAC control frames, ignored.
    Mac0RxControl @ 0x055c Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Carrier without a start frame delimiter.
    Mac0RxNoStart @ 0x0560 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Frames dropped because the core's clock did not keep up.
    Mac0RxOverrun @ 0x0564 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Frames dropped because the core had not taken those before them.
    Mac0RxNoRoom @ 0x0568 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Good frames sent.
    Mac0TxGood @ 0x056c Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Damaged frames sent so that nobody takes them for good ones.
    Mac0TxPoisoned @ 0x0570 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Frames broken off because their words came too late.
    Mac0TxUnderrun @ 0x0574 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Registers of port 0's PHY, by MDIO (IEEE 802.3, clause 22). One access at a time; a write while `busy` is set is ignored.
    Mac0Mdio @ 0x0578 Rw reset 0 {
        /// Word to write; reads as the word that was read last.
        data: 15, 0;
        /// Register of the PHY; reads as 0.
        register: 20, 16;
        /// Address of the PHY; reads as 0.
        phy: 25, 21;
        /// The PHY answered the last read.
        answered: 28, 28;
        /// An access is under way.
        busy: 29, 29;
        /// Write, else read; reads as 0.
        write: 30, 30;
        /// Begins the access; reads as 0.
        go: 31, 31;
    }
    /// Moderation of vector 0: least time between two of its messages.
    MsixModeration0 @ 0x0580 Rw reset 0 {
        /// Units of 32 clocks (256 ns at 125 MHz); 0 sends each event at once.
        time: 15, 0;
    }
    /// Moderation of vector 1.
    MsixModeration1 @ 0x0584 Rw reset 0 {
        /// Units of 32 clocks.
        time: 15, 0;
    }
    /// Network port 1's MAC, when the card has one of its own; everything of the port reads as 0 otherwise.
    Mac1Status @ 0x05c0 Ro reset 0 {
        /// The link is up, by what the PHY says in band.
        link: 0, 0;
        /// Rate: 0 10, 1 100, 2 1000 Mbit/s. The MAC works at 1000.
        speed: 2, 1;
        /// Full duplex.
        full_duplex: 3, 3;
        /// The receive clock runs.
        clock: 4, 4;
        /// There is a MAC.
        present: 31, 31;
    }
    /// Good frames received by port 1. These counters wrap, and a function-level reset leaves them as they are.
    Mac1RxGood @ 0x05c4 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Frames shorter than 64 bytes, dropped.
    Mac1RxRunt @ 0x05c8 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Frames longer than the card takes, dropped.
    Mac1RxOversize @ 0x05cc Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Frames in which the PHY signalled an error, dropped.
    Mac1RxSymbol @ 0x05d0 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Frames with a wrong frame check sequence, dropped.
    Mac1RxFcs @ 0x05d4 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// PAUSE frames, ignored.
    Mac1RxPause @ 0x05d8 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Other MAC control frames, ignored.
    Mac1RxControl @ 0x05dc Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Carrier without a start frame delimiter.
    Mac1RxNoStart @ 0x05e0 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Frames dropped because the core's clock did not keep up.
    Mac1RxOverrun @ 0x05e4 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Frames dropped because the core had not taken those before them.
    Mac1RxNoRoom @ 0x05e8 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Good frames sent.
    Mac1TxGood @ 0x05ec Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Damaged frames sent so that nobody takes them for good ones.
    Mac1TxPoisoned @ 0x05f0 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Frames broken off because their words came too late.
    Mac1TxUnderrun @ 0x05f4 Ro reset 0 {
        /// Frames.
        count: 31, 0;
    }
    /// Registers of port 1's PHY, by MDIO (IEEE 802.3, clause 22). One access at a time; a write while `busy` is set is ignored.
    Mac1Mdio @ 0x05f8 Rw reset 0 {
        /// Word to write; reads as the word that was read last.
        data: 15, 0;
        /// Register of the PHY; reads as 0.
        register: 20, 16;
        /// Address of the PHY; reads as 0.
        phy: 25, 21;
        /// The PHY answered the last read.
        answered: 28, 28;
        /// An access is under way.
        busy: 29, 29;
        /// Write, else read; reads as 0.
        write: 30, 30;
        /// Begins the access; reads as 0.
        go: 31, 31;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_sorted_aligned_and_apart() {
        for pair in REGISTERS.windows(2) {
            assert!(pair[0].offset < pair[1].offset, "{} and {}", pair[0].name, pair[1].name);
        }
        for reg in REGISTERS {
            assert_eq!(reg.offset % 4, 0, "{}", reg.name);
            assert!(reg.offset < tables::UNIT_BASE, "{} lies in the tables", reg.name);
            let mut used = 0u64;
            for field in reg.fields {
                let mask = ((1u64 << (field.msb - field.lsb + 1)) - 1) << field.lsb;
                assert_eq!(used & mask, 0, "{}.{} overlaps", reg.name, field.name);
                used |= mask;
            }
        }
    }

    #[test]
    fn accessors_follow_the_text() {
        let mut ctrl = ExcCtrl(0);
        ctrl.set_enable(1);
        ctrl.set_log2(9);
        assert_eq!(ctrl.0, 0x901);
        assert_eq!(ExcCtrl::OFFSET, 0x208);
    }
}
