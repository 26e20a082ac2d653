//! Memory that the host and the card share: words of 64 bits, little-endian in memory.
//!
//! ```text
//!   host: DmaMemory::load / store ... by word          card: HostMemory::read_word / write_word ... by iova
//!                  \                                        /
//!                   Arc<[AtomicU64]>, page aligned, zeroed
//! ```
//!
//! Every access is an atomic load or store of a whole word, so no interleaving of the two sides is undefined and all
//! of this is safe Rust. Order is made by *release* stores and *acquire* loads on the word that hands ownership over
//! (OWN of a descriptor, a completion word); every other word is relaxed.
//!
//! [`HostMemory`] is what a simulated card sees of the host: the buffers of one transport by their bus addresses. A
//! wrong address is a [`DmaFault`] the card can count, never a panic.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Bytes of a page: buffers start at multiples of it, on both sides.
pub const PAGE: usize = 4096;
const WORD: usize = 8;

/// One buffer shared with the card. Clones see the same bytes.
#[derive(Clone, Debug)]
pub struct DmaMemory {
    // One page more than asked for, so that a page-aligned part of the wanted size lies in it.
    words: Arc<[AtomicU64]>,
    start: usize,
    len: usize,
}

impl DmaMemory {
    /// A zeroed buffer of at least `bytes` bytes, rounded up to whole pages, whose host address is page aligned.
    pub fn new(bytes: usize) -> Self {
        let len = bytes.max(1).div_ceil(PAGE) * (PAGE / WORD);
        let words: Arc<[AtomicU64]> = (0..len + PAGE / WORD).map(|_| AtomicU64::new(0)).collect();
        let misaligned = words.as_ptr() as usize % PAGE;
        let start = if misaligned == 0 { 0 } else { (PAGE - misaligned) / WORD };
        Self { words, start, len }
    }

    fn slice(&self) -> &[AtomicU64] {
        &self.words[self.start..self.start + self.len]
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

/// What a card in this process sees of host memory: all buffers of one transport by bus address. Clones share the
/// same map. An access must lie in one buffer; buffers never touch, so a run past an end is always a fault.
#[derive(Clone, Debug, Default)]
pub struct HostMemory {
    buffers: Arc<RwLock<Vec<DmaBuffer>>>,
}

/// Bus address of the first buffer: above 4 GiB, so that the high halves of address registers are used.
const FIRST_IOVA: u64 = 0x1_2340_0000;
/// Bytes left free after each buffer.
const GUARD: u64 = PAGE as u64;
/// Bytes all buffers of one transport may have.
const LIMIT: usize = 1 << 30;

impl HostMemory {
    /// No buffers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new zeroed buffer of at least `bytes` bytes; `None` when all buffers together would pass 1 GiB. It lives as
    /// long as the map.
    pub fn alloc(&self, bytes: usize) -> Option<DmaBuffer> {
        let mut buffers = self.buffers.write().unwrap_or_else(PoisonError::into_inner);
        let used: usize = buffers.iter().map(|b| b.memory.bytes()).sum();
        if bytes > LIMIT - used {
            return None;
        }
        let iova = buffers
            .last()
            .map_or(FIRST_IOVA, |b| b.iova + b.memory.bytes() as u64 + GUARD);
        let buffer = DmaBuffer {
            iova,
            memory: DmaMemory::new(bytes),
        };
        buffers.push(buffer.clone());
        Some(buffer)
    }

    /// Runs `access` on the buffer that holds all of these bytes, with the offset of the first in it.
    fn with<T>(&self, iova: u64, bytes: usize, access: impl FnOnce(&DmaMemory, usize) -> T) -> Result<T, DmaFault> {
        let fault = DmaFault { iova, bytes };
        let buffers = self.buffers.read().unwrap_or_else(PoisonError::into_inner);
        let after = buffers.partition_point(|b| b.iova <= iova);
        let buffer = after.checked_sub(1).map(|i| &buffers[i]).ok_or(fault)?;
        let offset = usize::try_from(iova - buffer.iova).map_err(|_| fault)?;
        match offset.checked_add(bytes) {
            Some(end) if end <= buffer.memory.bytes() => Ok(access(&buffer.memory, offset)),
            _ => Err(fault),
        }
    }

    /// The word at `iova`, with *acquire* order. The address must be a multiple of 8.
    pub fn read_word(&self, iova: u64) -> Result<u64, DmaFault> {
        if !iova.is_multiple_of(WORD as u64) {
            return Err(DmaFault { iova, bytes: WORD });
        }
        self.with(iova, WORD, |memory, offset| memory.load_acquire(offset / WORD))
    }

    /// Writes the word at `iova`, with *release* order: posted writes of a card arrive in order. The address must be
    /// a multiple of 8.
    pub fn write_word(&self, iova: u64, value: u64) -> Result<(), DmaFault> {
        if !iova.is_multiple_of(WORD as u64) {
            return Err(DmaFault { iova, bytes: WORD });
        }
        self.with(iova, WORD, |memory, offset| memory.store_release(offset / WORD, value))
    }

    /// Copies bytes from `iova` on.
    pub fn read(&self, iova: u64, out: &mut [u8]) -> Result<(), DmaFault> {
        self.with(iova, out.len(), |memory, offset| memory.read_bytes(offset, out))
    }

    /// Copies bytes to `iova` on.
    pub fn write(&self, iova: u64, bytes: &[u8]) -> Result<(), DmaFault> {
        self.with(iova, bytes.len(), |memory, offset| memory.write_bytes(offset, bytes))
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
}
