//! Memory that the host and the card share: words of 64 bits, little-endian in memory.
//!
//! ```text
//!   host: DmaMemory::load / store ... by word          card: HostMemory::read_word / write_word ... by iova
//!                  \                                        /
//!                   [AtomicU64], page aligned: on the heap, or a file that is shared
//! ```
//!
//! Every access is an atomic load or store of a whole word, so no interleaving of the two sides is undefined and all
//! of this is safe Rust. Order is made by *release* stores and *acquire* loads on the word that hands ownership over
//! (OWN of a descriptor, a completion word); every other word is relaxed.
//!
//! [`HostMemory`] is what a simulated card sees of the host: the buffers of one transport by their bus addresses. A
//! wrong address is a [`DmaFault`] the card can count, never a panic.

mod mapping;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use mapping::Mapping;

/// Bytes of a page: buffers start at multiples of it, on both sides.
pub const PAGE: usize = 4096;
const WORD: usize = 8;

/// Where the words are.
#[derive(Clone, Debug)]
enum Backing {
    /// In this process only.
    // One page more than asked for, so that a page-aligned part of the wanted size lies in it.
    Heap(Arc<[AtomicU64]>),
    /// In a file that others may have too.
    File(Arc<Mapping>),
}

/// One buffer shared with the card. Clones see the same bytes.
#[derive(Clone, Debug)]
pub struct DmaMemory {
    backing: Backing,
    start: usize,
    len: usize,
}

/// Bytes rounded up to whole pages, at least one.
const fn whole_pages(bytes: usize) -> Option<usize> {
    match bytes {
        0 => Some(PAGE),
        _ => bytes.checked_next_multiple_of(PAGE),
    }
}

impl DmaMemory {
    /// A zeroed buffer of at least `bytes` bytes, rounded up to whole pages, whose host address is page aligned.
    pub fn new(bytes: usize) -> Self {
        let len = bytes.max(1).div_ceil(PAGE) * (PAGE / WORD);
        let words: Arc<[AtomicU64]> = (0..len + PAGE / WORD).map(|_| AtomicU64::new(0)).collect();
        let misaligned = words.as_ptr() as usize % PAGE;
        let start = if misaligned == 0 { 0 } else { (PAGE - misaligned) / WORD };
        Self {
            backing: Backing::Heap(words),
            start,
            len,
        }
    }

    /// As [`DmaMemory::new`], in memory that another process can map from the file that comes with it. The file's size
    /// is sealed.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn shared(bytes: usize) -> io::Result<(Self, OwnedFd)> {
        let bytes = whole_pages(bytes).ok_or(io::ErrorKind::OutOfMemory)?;
        let (mapping, file) = Mapping::anonymous(bytes)?;
        let backing = Backing::File(Arc::new(mapping));
        let (start, len) = (0, bytes / WORD);
        Ok((Self { backing, start, len }, file))
    }

    /// The first `bytes` bytes (a multiple of [`PAGE`]) of a file that another process gave us.
    ///
    /// # Errors
    /// What the operating system says, or that the file is shorter.
    pub fn map_file(file: &File, bytes: usize) -> io::Result<Self> {
        let backing = Backing::File(Arc::new(Mapping::of(file, bytes)?));
        let (start, len) = (0, bytes / WORD);
        Ok(Self { backing, start, len })
    }

    /// A part of the buffer, from byte `offset` on: it sees the same bytes. Both must be multiples of 8; `None` when
    /// they are not, or the part does not lie in the buffer.
    pub fn part(&self, offset: usize, bytes: usize) -> Option<Self> {
        let whole = offset.is_multiple_of(WORD) && bytes.is_multiple_of(WORD);
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= self.bytes());
        (whole && inside).then(|| Self {
            backing: self.backing.clone(),
            start: self.start + offset / WORD,
            len: bytes / WORD,
        })
    }

    fn slice(&self) -> &[AtomicU64] {
        let words = match &self.backing {
            Backing::Heap(words) => words,
            Backing::File(mapping) => mapping.slice(),
        };
        &words[self.start..self.start + self.len]
    }

    /// Bytes.
    pub fn bytes(&self) -> usize {
        self.len * WORD
    }

    /// 64-bit words.
    pub fn words(&self) -> usize {
        self.len
    }

    /// Address of the first byte in this process, for mapping the buffer into an IOMMU.
    pub fn host_address(&self) -> usize {
        self.slice().as_ptr() as usize
    }

    /// Word `index`; what was written before a *release* store on the other side is visible after this load saw it.
    ///
    /// # Panics
    /// When `index` is not below [`DmaMemory::words`], as a slice would; so do all accesses by index of this type.
    /// Indices come from the driver's own ring arithmetic, never from the card.
    pub fn load_acquire(&self, index: usize) -> u64 {
        u64::from_le(self.slice()[index].load(Ordering::Acquire))
    }

    /// Writes word `index` after everything written before.
    pub fn store_release(&self, index: usize, value: u64) {
        self.slice()[index].store(value.to_le(), Ordering::Release);
    }

    /// Word `index`, without order.
    pub fn load(&self, index: usize) -> u64 {
        u64::from_le(self.slice()[index].load(Ordering::Relaxed))
    }

    /// Writes word `index`, without order.
    pub fn store(&self, index: usize, value: u64) {
        self.slice()[index].store(value.to_le(), Ordering::Relaxed);
    }

    /// Copies bytes out, starting at byte `offset`.
    pub fn read_bytes(&self, offset: usize, out: &mut [u8]) {
        let mut at = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let within = at % WORD;
            let n = (WORD - within).min(rest.len());
            let word = self.load(at / WORD).to_le_bytes();
            let (head, tail) = rest.split_at_mut(n);
            head.copy_from_slice(&word[within..within + n]);
            rest = tail;
            at += n;
        }
    }

    /// Appends `length` bytes from byte `offset` on to `out`.
    pub fn append_to(&self, offset: usize, length: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + length, 0);
        self.read_bytes(offset, &mut out[start..]);
    }

    /// Copies bytes in, starting at byte `offset`. Words that are covered in part are read and written back, so the
    /// caller must own them whole.
    pub fn write_bytes(&self, offset: usize, bytes: &[u8]) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = at % WORD;
            let n = (WORD - within).min(rest.len());
            let mut word = if n == WORD {
                [0; WORD]
            } else {
                self.load(at / WORD).to_le_bytes()
            };
            word[within..within + n].copy_from_slice(&rest[..n]);
            self.store(at / WORD, u64::from_le_bytes(word));
            rest = &rest[n..];
            at += n;
        }
    }
}

/// A buffer and where the card sees it.
#[derive(Clone, Debug)]
pub struct DmaBuffer {
    /// Bus address of the first byte, a multiple of [`PAGE`].
    pub iova: u64,
    /// The memory.
    pub memory: DmaMemory,
}

/// The card touched memory it was never given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("DMA access to {bytes} bytes at bus address {iova:#x} is outside every buffer")]
pub struct DmaFault {
    /// First bus address of the access.
    pub iova: u64,
    /// Its bytes.
    pub bytes: usize,
}

/// Hands out bus addresses to the buffers of one transport: page aligned, with room between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IovaAllocator {
    next: u64,
    left: usize,
}

/// Bus address of the first buffer: above 4 GiB, so that the high halves of address registers are used and the
/// interrupt window below 4 GiB (0xfee0_0000 on x86), which no IOMMU maps, is out of reach.
const FIRST_IOVA: u64 = 0x1_2340_0000;
/// Bytes left free after each buffer: a card that runs past an end faults instead of writing into the next.
const GUARD: u64 = PAGE as u64;
/// Bytes all buffers of one transport may have.
const LIMIT: usize = 1 << 30;

impl Default for IovaAllocator {
    fn default() -> Self {
        Self {
            next: FIRST_IOVA,
            left: LIMIT,
        }
    }
}

impl IovaAllocator {
    /// Where all buffers of a transport are: first bus address and bytes.
    pub(crate) const WINDOW: (u64, u64) = (FIRST_IOVA, 2 * LIMIT as u64);

    /// Bytes rounded up to whole pages, and where they go; `None` when all buffers together would pass 1 GiB.
    pub(crate) fn take(&mut self, bytes: usize) -> Option<(usize, u64)> {
        let bytes = whole_pages(bytes).filter(|&bytes| bytes <= self.left)?;
        let iova = self.next;
        self.left -= bytes;
        self.next += bytes as u64 + GUARD;
        Some((bytes, iova))
    }
}

/// A window of bus addresses that is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Another window has some of these addresses.
    #[error("bus addresses from {iova:#x} on are mapped already")]
    Overlap {
        /// First address of the window that is in the way.
        iova: u64,
    },
    /// Not a multiple of 8, empty, or past the end of the address space.
    #[error("{bytes:#x} bytes at bus address {iova:#x} cannot be mapped")]
    Shape {
        /// First address.
        iova: u64,
        /// Bytes.
        bytes: u64,
    },
}

#[derive(Clone, Debug)]
struct Window {
    memory: DmaMemory,
    writable: bool,
}

#[derive(Debug, Default)]
struct Space {
    windows: BTreeMap<u64, Window>,
    iovas: IovaAllocator,
    barred: bool,
}

/// What a card in this process sees of host memory: buffers by bus address, as an IOMMU would show them. Clones share
/// the same map. An access may run over windows that touch; outside of all windows, or a write to one that is read
/// only, or any while bus mastering is off, is a fault.
#[derive(Clone, Debug, Default)]
pub struct HostMemory {
    space: Arc<RwLock<Space>>,
}

impl HostMemory {
    /// No buffers yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn change<T>(&self, f: impl FnOnce(&mut Space) -> T) -> T {
        f(&mut self.space.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new zeroed buffer of at least `bytes` bytes; `None` when all buffers together would pass 1 GiB. It lives as
    /// long as the map.
    pub fn alloc(&self, bytes: usize) -> Option<DmaBuffer> {
        self.change(|space| {
            let (bytes, iova) = space.iovas.take(bytes)?;
            let memory = DmaMemory::new(bytes);
            let window = Window {
                memory: memory.clone(),
                writable: true,
            };
            space.windows.insert(iova, window);
            Some(DmaBuffer { iova, memory })
        })
    }

    /// Shows memory to the card at a bus address of the caller's choice.
    ///
    /// # Errors
    /// [`MapError`]; nothing is changed then.
    pub fn map(&self, iova: u64, memory: DmaMemory, writable: bool) -> Result<(), MapError> {
        let bytes = memory.bytes() as u64;
        let last = iova.checked_add(bytes.wrapping_sub(1)).filter(|_| bytes > 0);
        let last = last.filter(|_| iova.is_multiple_of(WORD as u64));
        let last = last.ok_or(MapError::Shape { iova, bytes })?;
        self.change(|space| {
            if let Some((&iova, _)) = space.windows.range(..=last).next_back().filter(|(&at, window)| {
                let end = at + (window.memory.bytes() as u64 - 1);
                end >= iova
            }) {
                return Err(MapError::Overlap { iova });
            }
            space.windows.insert(iova, Window { memory, writable });
            Ok(())
        })
    }

    /// Takes every window away that begins between `iova` and `last`, both included; returns how many.
    pub fn unmap(&self, iova: u64, last: u64) -> usize {
        self.change(|space| {
            let before = space.windows.len();
            space.windows.retain(|&at, _| at < iova || at > last);
            before - space.windows.len()
        })
    }

    /// Windows there are.
    pub fn windows(&self) -> usize {
        self.change(|space| space.windows.len())
    }

    /// Whether the card may access memory at all: bus master enable of its command register. On at first.
    pub fn set_bus_master(&self, on: bool) {
        self.change(|space| space.barred = !on);
    }

    /// Runs `access` on each piece of memory that holds these bytes, with the offset in it, its length, and how many
    /// bytes came before.
    fn with(
        &self,
        iova: u64,
        bytes: usize,
        write: bool,
        mut access: impl FnMut(&DmaMemory, usize, usize, usize),
    ) -> Result<(), DmaFault> {
        let fault = DmaFault { iova, bytes };
        let space = self.space.read().unwrap_or_else(PoisonError::into_inner);
        // Twice: nothing is touched unless all of it can be.
        for real in [false, true] {
            let mut done = 0;
            while done < bytes {
                let at = iova.checked_add(done as u64).ok_or(fault)?;
                let (&base, window) = space.windows.range(..=at).next_back().ok_or(fault)?;
                let offset = usize::try_from(at - base).map_err(|_| fault)?;
                let here = window.memory.bytes().saturating_sub(offset).min(bytes - done);
                if here == 0 || space.barred || (write && !window.writable) {
                    return Err(fault);
                }
                if real {
                    access(&window.memory, offset, here, done);
                }
                done += here;
            }
        }
        Ok(())
    }

    /// The word at `iova`, with *acquire* order. The address must be a multiple of 8.
    pub fn read_word(&self, iova: u64) -> Result<u64, DmaFault> {
        if !iova.is_multiple_of(WORD as u64) {
            return Err(DmaFault { iova, bytes: WORD });
        }
        let mut word = 0;
        self.with(iova, WORD, false, |memory, offset, _, _| {
            word = memory.load_acquire(offset / WORD);
        })?;
        Ok(word)
    }

    /// Writes the word at `iova`, with *release* order: posted writes of a card arrive in order. The address must be
    /// a multiple of 8.
    pub fn write_word(&self, iova: u64, value: u64) -> Result<(), DmaFault> {
        if !iova.is_multiple_of(WORD as u64) {
            return Err(DmaFault { iova, bytes: WORD });
        }
        self.with(iova, WORD, true, |memory, offset, _, _| {
            memory.store_release(offset / WORD, value);
        })
    }

    /// Copies bytes from `iova` on.
    pub fn read(&self, iova: u64, out: &mut [u8]) -> Result<(), DmaFault> {
        self.with(iova, out.len(), false, |memory, offset, here, done| {
            memory.read_bytes(offset, &mut out[done..done + here]);
        })
    }

    /// Writes bytes from `iova` on as a card's posted write: nothing of it when any of it is refused, and words of eight bytes in their
    /// order, each with *release* order, where it is made of such. Owner bits of rings rely on it.
    pub fn write_in_order(&self, iova: u64, bytes: &[u8]) -> Result<(), DmaFault> {
        if !iova.is_multiple_of(WORD as u64) || !bytes.len().is_multiple_of(WORD) {
            return self.write(iova, bytes);
        }
        self.with(iova, bytes.len(), true, |memory, offset, here, done| {
            for at in (0..here).step_by(WORD) {
                if let Some(word) = bytes.get(done + at..).and_then(|bytes| bytes.first_chunk()) {
                    memory.store_release((offset + at) / WORD, u64::from_le_bytes(*word));
                }
            }
        })
    }

    /// Copies bytes to `iova` on.
    pub fn write(&self, iova: u64, bytes: &[u8]) -> Result<(), DmaFault> {
        self.with(iova, bytes.len(), true, |memory, offset, here, done| {
            memory.write_bytes(offset, &bytes[done..done + here]);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_page_aligned_zeroed_and_little_endian() {
        let memory = DmaMemory::new(5000);
        assert_eq!(memory.bytes(), 8192);
        assert_eq!(memory.host_address() % PAGE, 0);
        assert!((0..memory.words()).all(|i| memory.load(i) == 0));
        memory.store_release(1, 0x0807_0605_0403_0201);
        let mut bytes = [0; 8];
        memory.read_bytes(8, &mut bytes);
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn byte_copies_work_at_every_offset_and_length() {
        let memory = DmaMemory::new(64);
        for offset in 0..17 {
            for length in 0..33 {
                (0..memory.words()).for_each(|i| memory.store(i, u64::MAX));
                let bytes: Vec<u8> = (0..length as u8).collect();
                memory.write_bytes(offset, &bytes);
                let mut all = Vec::new();
                memory.append_to(0, 64, &mut all);
                let mut want = vec![0xff; 64];
                want[offset..offset + length].copy_from_slice(&bytes);
                assert_eq!(all, want, "offset {offset}, length {length}");
            }
        }
    }

    #[test]
    fn a_card_reaches_its_buffers_and_nothing_else() {
        let host = HostMemory::new();
        let first = host.alloc(1).expect("room");
        let second = host.alloc(PAGE * 2).expect("room");
        assert!(first.iova > u64::from(u32::MAX) && second.iova.is_multiple_of(PAGE as u64));
        host.write_word(second.iova + 8, 7).expect("inside");
        assert_eq!(second.memory.load_acquire(1), 7);
        first.memory.store(511, 9);
        assert_eq!(host.read_word(first.iova + 4088), Ok(9));
        for iova in [
            0,
            first.iova - 8,
            first.iova + 4096,
            first.iova + 4,
            second.iova + 8192,
            u64::MAX - 7,
            u64::MAX,
        ] {
            assert_eq!(host.read_word(iova), Err(DmaFault { iova, bytes: 8 }), "{iova:#x}");
            assert!(host.write_word(iova, 1).is_err(), "{iova:#x}");
        }
        assert!(host.read(first.iova + 4090, &mut [0; 7]).is_err(), "runs past the end");
        assert!(host.write(first.iova + 4090, &[0; 6]).is_ok());
        assert!(host.alloc(2 << 30).is_none() && host.alloc(usize::MAX).is_none());
    }

    #[test]
    fn memory_of_a_file_is_the_same_on_both_sides_and_cannot_be_shortened() {
        let (ours, file) = DmaMemory::shared(5000).expect("memory");
        assert_eq!((ours.bytes(), ours.host_address() % PAGE), (8192, 0));
        let file = File::from(file);
        assert!(file.set_len(4096).is_err(), "sealed");
        let theirs = DmaMemory::map_file(&file, 8192).expect("mapped");
        ours.store_release(513, 77);
        assert_eq!(theirs.load_acquire(513), 77);
        let part = theirs.part(4096, 4096).expect("inside");
        assert_eq!(part.load(1), 77);
        part.store(0, 5);
        assert_eq!(ours.load(512), 5);
        assert!(
            theirs.part(4096, 4104).is_none() && theirs.part(4, 8).is_none() && theirs.part(usize::MAX, 8).is_none()
        );
        assert!(DmaMemory::map_file(&file, 12288).is_err(), "longer than the file");
        assert!(DmaMemory::map_file(&file, 100).is_err(), "no whole pages");
    }

    #[test]
    fn windows_are_mapped_and_unmapped_as_by_an_iommu() {
        let host = HostMemory::new();
        let memory = DmaMemory::new(4 * PAGE);
        let page = |n: usize| memory.part(n * PAGE, PAGE).expect("inside");
        host.map(0x10_000, page(0), true).expect("free");
        host.map(0x11_000, page(2), true).expect("free");
        host.map(0x20_000, page(1), false).expect("free");
        // The last page there is.
        host.map(u64::MAX - 4095, page(3), true).expect("free");
        assert_eq!(
            host.map(0x10_ff8, page(3), true),
            Err(MapError::Overlap { iova: 0x11_000 })
        );
        assert!(matches!(
            host.map(u64::MAX - 7, page(3), true),
            Err(MapError::Shape { .. })
        ));
        // An access may run over windows that touch.
        host.write(0x10_ffc, &[1, 2, 3, 4, 5, 6, 7, 8]).expect("mapped");
        let mut back = [0; 8];
        host.read(0x10_ffc, &mut back).expect("mapped");
        assert_eq!(back, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(memory.load(2 * PAGE / 8) & 0xffff_ffff, 0x0807_0605);
        assert!(host.write_word(0x20_000, 1).is_err(), "read only");
        assert_eq!(host.read_word(0x20_000), Ok(0));
        // Nothing is written unless all of it can be.
        assert!(host.write(0x11_ffc, &[9; 8]).is_err());
        host.read(0x11_ffc, &mut back[..4]).expect("mapped");
        assert_eq!(back[..4], [0; 4]);
        host.set_bus_master(false);
        assert!(host.read_word(0x10_000).is_err(), "no bus mastering");
        host.set_bus_master(true);
        assert!(host.read_word(u64::MAX - 7).is_ok());
        assert_eq!(host.unmap(0x11_000, u64::MAX), 3);
        assert!(host.read_word(0x11_000).is_err() && host.read_word(0x10_000).is_ok());
    }
}
