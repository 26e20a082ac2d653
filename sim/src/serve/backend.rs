//! What the vfio-user server asks of the card: regions, memory, interrupts, reset.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Error, ErrorKind};
use std::os::unix::fs::MetadataExt;

use nat64_driver::{DmaMemory, HostMemory};
use nat64_layout::regs::AbiHash;
use nat64_layout::{pci, Bar};
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_NONE, VFIO_PCI_BAR0_REGION_INDEX,
    VFIO_PCI_BAR2_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSIX_IRQ_INDEX,
};
use vfio_user::{DmaMapFlags, DmaUnmapFlags, ServerBackend};

use super::pump::{Event, Inlet};
use super::space::{Change, ConfigSpace};
use crate::engine::EngineError;

/// Longest read of a region: no processor reads more at once.
const MAX_READ: usize = 4096;

/// A request that makes no sense; the crate passes the text to its log and a bare error to the client.
fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, what)
}

fn failed(error: EngineError) -> Error {
    Error::other(error)
}

/// One file of the client, mapped once however many pieces of it are shown to the card.
struct Mapped {
    memory: DmaMemory,
    pieces: usize,
}

/// One connection's view of the card.
pub(super) struct Backend {
    inlet: Inlet,
    memory: HostMemory,
    // What the card says its ABI hash is, in place of what it is.
    abi_hash: Option<u32>,
    space: ConfigSpace,
    files: HashMap<(u64, u64), Mapped>,
    // By first bus address: the file a piece is of.
    pieces: BTreeMap<u64, (u64, u64)>,
}

impl Backend {
    pub(super) fn new(inlet: Inlet, memory: HostMemory, abi_hash: Option<u32>) -> Self {
        Self {
            inlet,
            memory,
            abi_hash,
            space: ConfigSpace::new(),
            files: HashMap::new(),
            pieces: BTreeMap::new(),
        }
    }

    /// The client is gone: its memory is out of reach before it is unmapped, and nobody hears interrupts. The card
    /// goes on with the sessions it has, so that the next client may find them.
    pub(super) fn end(&mut self) {
        // A card that has failed writes nothing either.
        let _ = self.inlet.ask(|answer| Event::Change(Change::Master(false), answer));
        for vector in 0..pci::VECTORS {
            self.inlet.send(Event::Vector(vector as u16, None));
        }
        self.forget_all();
    }

    fn forget_all(&mut self) {
        self.memory.unmap(0, u64::MAX);
        self.pieces.clear();
        self.files.clear();
    }

    fn forget(&mut self, first: u64) {
        let Some(file) = self.pieces.remove(&first) else {
            return;
        };
        self.memory.unmap(first, first);
        if let Some(mapped) = self.files.get_mut(&file) {
            mapped.pieces -= 1;
            if mapped.pieces == 0 {
                self.files.remove(&file);
            }
        }
    }

    /// The memory of a file up to `end`, mapped once.
    fn file(&mut self, file: &File, end: u64) -> io::Result<((u64, u64), DmaMemory)> {
        let metadata = file.metadata()?;
        let key = (metadata.dev(), metadata.ino());
        let known = self.files.get(&key).filter(|m| m.memory.bytes() as u64 >= end);
        let memory = match known {
            Some(mapped) => mapped.memory.clone(),
            None => {
                let whole = metadata.len() / 4096 * 4096;
                if end > whole {
                    return Err(invalid("longer than the file"));
                }
                let bytes = usize::try_from(whole).map_err(|_| invalid("too long"))?;
                DmaMemory::map_file(file, bytes)?
            }
        };
        Ok((key, memory))
    }

    fn changes(&mut self, changes: Vec<Change>) -> io::Result<()> {
        for change in changes {
            match change {
                Change::Reset => self.inlet.ask(Event::Reset).map_err(failed)?,
                // Answered when it is done: who takes memory away after it must not find the card still writing there.
                change => self.inlet.ask(|answer| Event::Change(change, answer)).map_err(failed)?,
            }
        }
        Ok(())
    }
}

const fn bar(region: u32) -> Option<(Bar, u64)> {
    match region {
        VFIO_PCI_BAR0_REGION_INDEX => Some((Bar::Bar0, nat64_layout::regs::BAR0_BYTES as u64)),
        VFIO_PCI_BAR2_REGION_INDEX => Some((Bar::Bar2, nat64_layout::regs::BAR2_BYTES as u64)),
        _ => None,
    }
}

/// Checks that the bytes `offset .. offset + count` are all in a region of `size` bytes.
fn inside(offset: u64, count: usize, size: u64) -> io::Result<()> {
    match offset.checked_add(count as u64) {
        Some(end) if end <= size => Ok(()),
        _ => Err(invalid("outside of the region")),
    }
}

impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), Error> {
        if data.len() > MAX_READ {
            return Err(invalid("a read of more bytes than any"));
        }
        if region == VFIO_PCI_CONFIG_REGION_INDEX {
            return if self.space.read(offset, data) {
                Ok(())
            } else {
                Err(invalid("outside of configuration space"))
            };
        }
        let (bar, size) = bar(region).ok_or_else(|| invalid("no such region"))?;
        inside(offset, data.len(), size)?;
        if !self.space.answers() {
            // Nobody claims the access.
            data.fill(0xff);
            return Ok(());
        }
        let count = data.len();
        let bytes = self
            .inlet
            .ask(|answer| Event::Read(bar, offset, count, answer))
            .map_err(failed)?;
        data.copy_from_slice(&bytes);
        if let (Some(hash), 4, true) = (
            self.abi_hash,
            count,
            bar == Bar::Bar0 && offset == u64::from(AbiHash::OFFSET),
        ) {
            data.copy_from_slice(&hash.to_le_bytes());
        }
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), Error> {
        if region == VFIO_PCI_CONFIG_REGION_INDEX {
            let changes = self.space.write(offset, data);
            return self.changes(changes.ok_or_else(|| invalid("outside of configuration space"))?);
        }
        let (bar, size) = bar(region).ok_or_else(|| invalid("no such region"))?;
        inside(offset, data.len(), size)?;
        if self.space.answers() && !self.inlet.send(Event::Write(bar, offset, data.to_vec())) {
            return Err(Error::other("the card has ended"));
        }
        Ok(())
    }

    fn dma_map(
        &mut self,
        flags: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        fd: Option<File>,
    ) -> Result<(), Error> {
        if size == 0 || address.checked_add(size - 1).is_none() {
            return Err(invalid("no such range"));
        }
        // Memory without a file (a ROM of a guest) cannot be shown to the card; an access to it is refused like any other
        // to nothing.
        let Some(fd) = fd else { return Ok(()) };
        let end = offset.checked_add(size).ok_or_else(|| invalid("no such range"))?;
        let (key, memory) = self.file(&fd, end)?;
        let (start, bytes) = (offset as usize, size as usize);
        let piece = memory.part(start, bytes).ok_or_else(|| invalid("no whole words"))?;
        let writable = flags.contains(DmaMapFlags::WRITE);
        self.memory
            .map(address, piece, writable)
            .map_err(|_| invalid("mapped already"))?;
        let mapped = self.files.entry(key).or_insert(Mapped {
            memory: memory.clone(),
            pieces: 0,
        });
        // The longer one is the one to hand out from now on.
        if mapped.memory.bytes() < memory.bytes() {
            mapped.memory = memory;
        }
        mapped.pieces += 1;
        self.pieces.insert(address, key);
        Ok(())
    }

    fn dma_unmap(&mut self, flags: DmaUnmapFlags, address: u64, size: u64) -> Result<(), Error> {
        if flags.contains(DmaUnmapFlags::UNMAP_ALL) {
            self.forget_all();
            return Ok(());
        }
        if size == 0 {
            return Err(invalid("no such range"));
        }
        // Up to the very end of the address space: one more would be 0.
        let last = address.saturating_add(size - 1);
        let inside: Vec<u64> = self.pieces.range(address..=last).map(|(&first, _)| first).collect();
        inside.into_iter().for_each(|first| self.forget(first));
        Ok(())
    }

    fn reset(&mut self) -> Result<(), Error> {
        self.space.reset();
        self.changes(vec![Change::Reset])
    }

    fn set_irqs(&mut self, index: u32, flags: u32, start: u32, count: u32, fds: Vec<File>) -> Result<(), Error> {
        if index != VFIO_PCI_MSIX_IRQ_INDEX || flags & VFIO_IRQ_SET_ACTION_TRIGGER == 0 {
            // Masking of vectors is the client's own business; the others have no lines.
            return Ok(());
        }
        let end = start.checked_add(count).filter(|&end| end as usize <= pci::VECTORS);
        let end = end.ok_or_else(|| invalid("no such vector"))?;
        let mut sent = true;
        if flags & VFIO_IRQ_SET_DATA_EVENTFD != 0 {
            let mut fds = fds.into_iter();
            for vector in start..end {
                // A vector without a descriptor is switched off.
                sent &= self.inlet.send(Event::Vector(vector as u16, fds.next()));
            }
        } else if flags & VFIO_IRQ_SET_DATA_NONE != 0 && count == 0 {
            for vector in 0..pci::VECTORS {
                sent &= self.inlet.send(Event::Vector(vector as u16, None));
            }
        } else {
            for vector in start..end {
                sent &= self.inlet.send(Event::Trigger(vector as u16));
            }
        }
        if sent {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::BrokenPipe, "the card has ended"))
        }
    }
}
