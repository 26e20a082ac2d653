//! Memory of a file, mapped into this process and used as words: the one place where a raw address becomes a slice.
//!
//! ```text
//!   DmaMemory::shared:  memfd, sealed --mmap--> Mapping     our memory; the file goes to whoever plays the card
//!   DmaMemory::map_file: their memfd  --mmap--> Mapping     their memory, seen by a simulated card
//! ```
//!
//! A file that another process gives us and shortens later ends this process (SIGBUS) at the next access, as real
//! memory that vanishes would; our own files are sealed against that.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{fcntl_add_seals, ftruncate, memfd_create, MemfdFlags, SealFlags};

/// Whole pages of a file.
#[derive(Debug)]
pub(super) struct Mapping {
    map: MmapRaw,
    words: usize,
}

impl Mapping {
    /// Maps the first `bytes` bytes of a file, shared.
    pub(super) fn of(file: &File, bytes: usize) -> io::Result<Self> {
        let length = file.metadata()?.len();
        if bytes == 0 || !bytes.is_multiple_of(super::PAGE) || (bytes as u64) > length {
            let what = format!("cannot map {bytes} bytes of a file that has {length}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let map = MmapOptions::new().len(bytes).map_raw(file)?;
        Ok(Self { map, words: bytes / 8 })
    }

    /// New zeroed memory of `bytes` bytes, a multiple of the page size, and the file that is it.
    pub(super) fn anonymous(bytes: usize) -> io::Result<(Self, OwnedFd)> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(memfd_create(c"nat64-dma", flags)?);
        ftruncate(&file, bytes as u64)?;
        // Whoever plays the card has the file too, and must not be able to take the memory from under us.
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let mapping = Self::of(&file, bytes)?;
        Ok((mapping, file.into()))
    }

    /// The memory as words.
    pub(super) fn slice(&self) -> &[AtomicU64] {
        // SAFETY: the mapping starts at a page, so it is aligned for u64; it is readable and writable and has exactly
        // `words` words (checked when it was made); it lives as long as `self`. Every access of this process goes
        // through atomics, and bytes of any value are a valid AtomicU64, so changes by another process or by a device
        // are never a data race on a plain value.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU64>(), self.words) }
    }
}
