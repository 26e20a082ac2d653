//! A card behind the vfio-user protocol: `nat64-sim serve`, or any other server of our card.
//!
//! ```text
//!   Transport --> region reads and posted writes --\
//!   DmaMemory::shared ---- file --> map ------------+--> UNIX socket --> server --> card
//!   wait() <-- eventfds <------- set interrupts ---/
//! ```
//!
//! The protocol and its dangers are in `wire.rs`. The crate `vfio_user` has a client too; it is not used because it
//! takes a refused mapping for success, waits for ever for the rest of an error answer, and has no timeouts.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nat64_layout::pci;
use nat64_layout::regs::{BAR0_BYTES, BAR2_BYTES};
use rustix::event::{eventfd, EventfdFlags, PollFd, PollFlags};

use super::wire::{poll_until, Command, Connection};
use super::{check_access, Bar, DeviceError, OpenError, Transport};
use crate::dma::{DmaBuffer, DmaMemory, IovaAllocator};

/// Time every message and its answer have, when nothing else is set. A simulated card may be slow.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Index of configuration space (VFIO_PCI_CONFIG_REGION_INDEX).
const CONFIG_REGION: u32 = 7;
/// Index of the MSI-X interrupts (VFIO_PCI_MSIX_IRQ_INDEX).
const MSIX: u32 = 2;
/// VFIO_IRQ_SET_DATA_EVENTFD and VFIO_IRQ_SET_ACTION_TRIGGER.
const EVENTFD_TRIGGER: u32 = 1 << 2 | 1 << 5;
/// VFIO_DEVICE_FLAGS_RESET and VFIO_DEVICE_FLAGS_PCI.
const FLAGS_RESET_PCI: u32 = 1 << 0 | 1 << 1;
/// VFIO_DMA_MAP_FLAG_READ and _WRITE.
const READ_WRITE: u32 = 3;
/// Most bytes of one region write.
const BURST: usize = 2048;

/// See the module documentation.
#[derive(Debug)]
pub struct VfioUserTransport {
    connection: Connection,
    burst: usize,
    iovas: IovaAllocator,
    vectors: Vec<OwnedFd>,
    // The server has the files; our mappings must outlive its last access, which the end of the connection is.
    buffers: Vec<DmaBuffer>,
}

fn u32s<const N: usize>(words: [u32; N]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at + 4)) << 32 | u64::from(u32_at(bytes, at))
}

const fn region(bar: Bar) -> u32 {
    match bar {
        Bar::Bar0 => 0,
        Bar::Bar2 => 2,
    }
}

/// Offset, region and count: what begins a region access.
fn access(region: u32, offset: u64, count: usize) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&offset.to_le_bytes());
    bytes[8..12].copy_from_slice(&region.to_le_bytes());
    bytes[12..].copy_from_slice(&(count as u32).to_le_bytes());
    bytes
}

impl VfioUserTransport {
    /// Connects to a server with the usual [`TIMEOUT`].
    ///
    /// # Errors
    /// As [`VfioUserTransport::open_with`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, TIMEOUT)
    }

    /// Connects to the server at `path` and checks that it serves our card. The card is bus master from the first memory
    /// that is shared with it on: one that runs writes to what its last driver gave it until its rings are switched off.
    ///
    /// # Errors
    /// [`OpenError::Socket`] when nobody listens there, [`OpenError::WrongDevice`] when it is no card of ours, else
    /// what the server said.
    pub fn open_with(path: &Path, timeout: Duration) -> Result<Self, OpenError> {
        let socket = |source: io::Error| OpenError::Socket {
            path: PathBuf::from(path),
            source,
        };
        let mut connection = Connection::open(path, timeout).map_err(socket)?;
        let burst = version(&mut connection)?;
        let info = connection.ask(Command::GetInfo, &[&u32s([16, 0, 0, 0])], None, 16)?;
        let (flags, regions, irqs) = (u32_at(&info, 4), u32_at(&info, 8), u32_at(&info, 12));
        let wrong = |what: String| OpenError::WrongDevice {
            device: path.display().to_string(),
            what,
        };
        if flags & FLAGS_RESET_PCI != FLAGS_RESET_PCI || regions <= CONFIG_REGION || irqs <= MSIX {
            return Err(wrong(format!(
                "no PCI device with a reset, or one without MSI-X (flags {flags:#x}, {regions} regions, {irqs} interrupts)"
            )));
        }
        for (index, least) in [
            (0, u64::from(BAR0_BYTES)),
            (2, u64::from(BAR2_BYTES)),
            (CONFIG_REGION, 256),
        ] {
            // argsz, flags, index, cap_offset, size, offset
            let request = [&u32s([32, 0, index, 0])[..], &[0; 16]].concat();
            let info = connection.ask(Command::GetRegionInfo, &[&request], None, 32)?;
            let (got, size) = (u32_at(&info, 8), u64_at(&info, 16));
            if got != index || size < least {
                return Err(wrong(format!(
                    "region {index} has {size:#x} bytes, {least:#x} are needed"
                )));
            }
        }
        let info = connection.ask(Command::GetIrqInfo, &[&u32s([16, 0, MSIX, 0])], None, 16)?;
        let count = u32_at(&info, 12);
        if (count as usize) < pci::VECTORS {
            let needed = pci::VECTORS;
            return Err(wrong(format!("{count} MSI-X vectors, {needed} are needed")));
        }
        let mut transport = Self {
            connection,
            burst,
            iovas: IovaAllocator::default(),
            vectors: Vec::new(),
            buffers: Vec::new(),
        };
        let id = transport.config_read(0, 4)?;
        let (vendor, device) = (u32_at(&id, 0) as u16, (u32_at(&id, 0) >> 16) as u16);
        if (vendor, device) != (pci::VENDOR_ID, pci::DEVICE_ID) {
            return Err(wrong(format!(
                "it is {vendor:04x}:{device:04x}, our card is {:04x}:{:04x}",
                pci::VENDOR_ID,
                pci::DEVICE_ID
            )));
        }
        for _ in 0..pci::VECTORS {
            let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| DeviceError::Io {
                operation: "make an eventfd",
                source: e.into(),
            })?;
            transport.vectors.push(fd);
        }
        transport.arm()?;
        Ok(transport)
    }

    fn config_read(&mut self, offset: usize, count: usize) -> Result<Vec<u8>, DeviceError> {
        let request = access(CONFIG_REGION, offset as u64, count);
        let answer = self
            .connection
            .ask(Command::RegionRead, &[&request], None, 16 + count)?;
        Ok(answer[16..16 + count].to_vec())
    }

    /// Memory enable, and bus master enable once there is memory to reach.
    fn set_command(&mut self) -> Result<(), DeviceError> {
        let command = u32_at(&[&self.config_read(pci::COMMAND, 2)?[..], &[0; 2]].concat(), 0) as u16;
        let mut command = command | pci::COMMAND_MEMORY;
        if !self.buffers.is_empty() {
            command |= pci::COMMAND_MASTER;
        }
        let request = access(CONFIG_REGION, pci::COMMAND as u64, 2);
        self.connection
            .ask(Command::RegionWrite, &[&request, &command.to_le_bytes()], None, 0)?;
        Ok(())
    }

    /// The command register and the interrupts: what a reset takes away.
    fn arm(&mut self) -> Result<(), DeviceError> {
        self.set_command()?;
        for (vector, fd) in self.vectors.iter().enumerate() {
            // One at a time: a server need not take more than one file descriptor with a message.
            let request = u32s([20, EVENTFD_TRIGGER, MSIX, vector as u32, 1]);
            self.connection
                .ask(Command::SetIrqs, &[&request], Some(fd.as_fd()), 0)?;
        }
        Ok(())
    }

    fn take_interrupts(&self) -> Result<u32, DeviceError> {
        let mut fired = 0;
        for (vector, fd) in self.vectors.iter().enumerate() {
            if super::take_event(fd.as_fd())? {
                fired |= 1 << vector;
            }
        }
        Ok(fired)
    }
}

/// Agrees on version 0.x; returns how many bytes a region write may have.
fn version(connection: &mut Connection) -> Result<usize, OpenError> {
    // "max_msg_fds" 1: what we send needs no more.
    let capabilities = concat!(r#"{"capabilities":{"max_msg_fds":1,"max_data_xfer_size":65536}}"#, "\0");
    let answer = connection.ask(Command::Version, &[&[0; 4], capabilities.as_bytes()], None, 4)?;
    let (major, minor) = (u32_at(&answer, 0) as u16, (u32_at(&answer, 0) >> 16) as u16);
    if major != 0 {
        return Err(OpenError::Protocol { major, minor });
    }
    Ok(max_transfer(&answer[4..]).clamp(4, BURST) & !3)
}

/// `max_data_xfer_size` of a version answer; what the protocol says it is when not told, or not told well.
fn max_transfer(json: &[u8]) -> usize {
    let text = String::from_utf8_lossy(json);
    let number = text.split_once("\"max_data_xfer_size\"").and_then(|(_, rest)| {
        let rest = rest.trim_start().strip_prefix(':')?.trim_start();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    number.unwrap_or(1 << 20)
}

impl Transport for VfioUserTransport {
    fn read32(&mut self, bar: Bar, offset: u32) -> Result<u32, DeviceError> {
        check_access(bar, offset, 1)?;
        let request = access(region(bar), offset.into(), 4);
        let answer = self.connection.ask(Command::RegionRead, &[&request], None, 20)?;
        Ok(u32_at(&answer, 16))
    }

    fn write32(&mut self, bar: Bar, offset: u32, value: u32) -> Result<(), DeviceError> {
        self.write_burst(bar, offset, &[value])
    }

    fn write_burst(&mut self, bar: Bar, offset: u32, values: &[u32]) -> Result<(), DeviceError> {
        check_access(bar, offset, values.len())?;
        let mut at = u64::from(offset);
        for chunk in values.chunks(self.burst / 4) {
            let data: Vec<u8> = chunk.iter().flat_map(|value| value.to_le_bytes()).collect();
            let request = access(region(bar), at, data.len());
            self.connection.post(Command::RegionWrite, &[&request, &data])?;
            at += data.len() as u64;
        }
        Ok(())
    }

    fn dma_alloc(&mut self, bytes: usize) -> Result<DmaBuffer, DeviceError> {
        let (bytes, iova) = self.iovas.take(bytes).ok_or(DeviceError::DmaAlloc { bytes })?;
        let (memory, file) = DmaMemory::shared(bytes).map_err(|source| DeviceError::Io {
            operation: "make memory that is shared with the card",
            source,
        })?;
        let mut request = u32s([32, READ_WRITE]);
        for value in [0, iova, bytes as u64] {
            request.extend_from_slice(&value.to_le_bytes());
        }
        self.connection
            .ask(Command::DmaMap, &[&request], Some(file.as_fd()), 0)?;
        let buffer = DmaBuffer { iova, memory };
        self.buffers.push(buffer.clone());
        if self.buffers.len() == 1 {
            self.set_command()?;
        }
        Ok(buffer)
    }

    fn wait(&mut self, timeout: Duration) -> Result<u32, DeviceError> {
        let fired = self.take_interrupts()?;
        if fired != 0 || timeout.is_zero() {
            return Ok(fired);
        }
        let deadline = Instant::now() + timeout;
        let socket = self.connection.fd();
        let mut fds: Vec<PollFd<'_>> = self.vectors.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        // Only its end: answers to posted writes may wait.
        fds.push(PollFd::new(&socket, PollFlags::RDHUP));
        let ready = poll_until(&mut fds, deadline).map_err(|source| DeviceError::Io {
            operation: "wait for interrupts",
            source,
        })?;
        let gone = fds.last().is_some_and(|fd| !fd.revents().is_empty());
        if !ready {
            return Ok(0);
        }
        let fired = self.take_interrupts()?;
        if fired == 0 && gone {
            let reason = "the server closed the connection";
            self.connection.fail("wait for interrupts", reason);
            return Err(DeviceError::Disconnected { reason: reason.into() });
        }
        Ok(fired)
    }

    fn reset(&mut self) -> Result<(), DeviceError> {
        self.connection.ask(Command::Reset, &[], None, 0)?;
        // What fired before belongs to the past.
        self.take_interrupts()?;
        self.arm()
    }
}

impl Drop for VfioUserTransport {
    fn drop(&mut self) {
        // The card must not write into memory that is about to be something else's; a server that is gone cannot. It is no
        // bus master first: what it would write to memory that is gone is an error, what it drops is none.
        let command = access(CONFIG_REGION, pci::COMMAND as u64, 2);
        let memory_only = pci::COMMAND_MEMORY.to_le_bytes();
        let quiet = self
            .connection
            .ask(Command::RegionWrite, &[&command, &memory_only], None, 0);
        if quiet.is_err() {
            return;
        }
        for buffer in &self.buffers {
            let mut request = u32s([24, 0]);
            request.extend_from_slice(&buffer.iova.to_le_bytes());
            request.extend_from_slice(&(buffer.memory.bytes() as u64).to_le_bytes());
            if self.connection.ask(Command::DmaUnmap, &[&request], None, 0).is_err() {
                break;
            }
        }
    }
}

#[cfg(test)]
#[path = "vfio_user_tests.rs"]
mod tests;
