//! A card in this machine, through the kernel's VFIO: its windows mapped, its DMA kept in bounds by the IOMMU.
//!
//! ```text
//!   BAR0, BAR2 --mmap--> Window: volatile words            (posted writes really are)
//!   config space --pread, pwrite--> command register        (the driver makes the card bus master, nobody else)
//!   DmaMemory::shared --vfio_dma_map--> IOMMU at an address of our choice
//!   eventfds --enable_msix--> wait()
//! ```
//!
//! The way to the IOMMU is a type 1 container; with the Cargo feature `iommufd` it is iommufd where the kernel has it.
//!
//! **Order.** Device memory is strongly ordered on x86-64: writes leave in program order, and stores to shared memory made
//! before a doorbell are visible before it. A full fence stands before each write all the same, so that the compiler
//! keeps that order; on other processors a device barrier would be needed, and [`VfioTransport::open`] refuses them.
//!
//! **End.** The windows are unmapped first, then the buffers leave the IOMMU, then the device is closed, then its group:
//! in any other order the group stays busy.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{fence, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use memmap2::{MmapOptions, MmapRaw};
use nat64_layout::pci;
use nat64_layout::regs::{BAR0_BYTES, BAR2_BYTES};
use rustix::event::{PollFd, PollFlags};
use rustix::process::{getrlimit, Resource};
use vfio_ioctls::{VfioContainer, VfioDevice, VfioError, VfioOps};
use vmm_sys_util::eventfd::EventFd;

use super::wire::poll_until;
use super::{check_access, take_event, Bar, DeviceError, OpenError, Transport};
use crate::dma::{DmaBuffer, DmaMemory, IovaAllocator};
use crate::pci::{Address, Sysfs};

/// Index of configuration space (VFIO_PCI_CONFIG_REGION_INDEX).
const CONFIG_REGION: u32 = 7;
/// Index of the MSI-X interrupts (VFIO_PCI_MSIX_IRQ_INDEX).
const MSIX: u32 = 2;
/// Index of the interrupt by which the kernel tells of an unrecoverable error of the device (VFIO_PCI_ERR_IRQ_INDEX).
const ERROR_IRQ: u32 = 3;
/// Index of the interrupt by which the kernel asks for the device back (VFIO_PCI_REQ_IRQ_INDEX).
const REQUEST_IRQ: u32 = 4;
/// VFIO_REGION_INFO_FLAG_MMAP.
const CAN_MAP: u32 = 1 << 2;

/// One BAR, mapped.
struct Window {
    map: MmapRaw,
}

impl Window {
    fn read(&self, offset: u32) -> u32 {
        debug_assert!(offset as usize + 4 <= self.map.len());
        // SAFETY: every caller goes through `check_access`, so the word is aligned and lies in the window, whose length
        // was checked when it was mapped. The kernel answers a read of a device that is gone with all ones, or
        // unmaps nothing under us while we hold the device.
        let value = unsafe { self.map.as_ptr().add(offset as usize).cast::<u32>().read_volatile() };
        u32::from_le(value)
    }

    fn write(&self, offset: u32, value: u32) {
        debug_assert!(offset as usize + 4 <= self.map.len());
        fence(Ordering::SeqCst);
        // SAFETY: as in `read`.
        unsafe {
            let word = self.map.as_mut_ptr().add(offset as usize).cast::<u32>();
            word.write_volatile(value.to_le());
        }
    }
}

/// See the module documentation. Fields are in the order of their end.
pub struct VfioTransport {
    bars: Vec<Window>,
    device: Option<VfioDevice>,
    vectors: Vec<EventFd>,
    alarms: [EventFd; 2],
    ops: Arc<dyn VfioOps>,
    iovas: IovaAllocator,
    buffers: Vec<DmaBuffer>,
    sysfs: PathBuf,
}

impl std::fmt::Debug for VfioTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let buffers = self.buffers.len();
        f.debug_struct("VfioTransport")
            .field("device", &self.sysfs)
            .field("buffers", &buffers)
            .finish()
    }
}

fn failed(operation: &'static str) -> impl Fn(VfioError) -> DeviceError {
    move |error| DeviceError::Backend {
        operation,
        reason: error.to_string(),
    }
}

#[cfg(not(feature = "iommufd"))]
fn iommu() -> Result<Arc<dyn VfioOps>, VfioError> {
    Ok(Arc::new(VfioContainer::new(None)?))
}

/// iommufd where the kernel has it, else the container.
#[cfg(feature = "iommufd")]
fn iommu() -> Result<Arc<dyn VfioOps>, VfioError> {
    match iommufd_ioctls::IommuFd::new() {
        Ok(fd) => Ok(Arc::new(vfio_ioctls::VfioIommufd::new(Arc::new(fd), None, None)?)),
        Err(_) => Ok(Arc::new(VfioContainer::new(None)?)),
    }
}

fn eventfd() -> Result<EventFd, DeviceError> {
    // EFD_NONBLOCK
    EventFd::new(rustix::event::EventfdFlags::NONBLOCK.bits() as i32).map_err(|source| DeviceError::Io {
        operation: "make an eventfd",
        source,
    })
}

fn borrowed(fd: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open for as long as the EventFd lives, which the lifetime of the result is bound to.
    unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) }
}

impl VfioTransport {
    /// Opens the card at an address and makes it bus master.
    ///
    /// # Errors
    /// [`OpenError`], with the remedy.
    pub fn open(address: Address) -> Result<Self, OpenError> {
        let sysfs = Sysfs::default();
        let other = |what: String| OpenError::Vfio { address, what };
        if cfg!(not(target_arch = "x86_64")) {
            return Err(other("the order of writes to a card is only known on x86-64".into()));
        }
        let group = sysfs.ready(address)?;
        let refused = |error: VfioError| match &error {
            VfioError::OpenGroup(source, _) if source.kind() == io::ErrorKind::ResourceBusy => OpenError::InUse {
                path: sysfs.group_file(group),
            },
            VfioError::GroupViable => OpenError::NotViable {
                address,
                group,
                others: "another device".into(),
            },
            _ => other(error.to_string()),
        };
        let ops = iommu().map_err(refused)?;
        let folder = sysfs.device(address);
        let device = VfioDevice::new(&folder, ops.clone(), true).map_err(refused)?;
        let map = |index: u32, bytes: u32| {
            let (size, flags) = (device.get_region_size(index), device.get_region_flags(index));
            if size < u64::from(bytes) || flags & CAN_MAP == 0 {
                return Err(OpenError::WrongDevice {
                    device: address.to_string(),
                    what: format!(
                        "BAR{index} has {size:#x} bytes and flags {flags:#x}, {bytes:#x} that can be mapped are needed"
                    ),
                });
            }
            let offset = device.get_region_offset(index);
            let mut options = MmapOptions::new();
            options.offset(offset).len(bytes as usize);
            let map = options
                .map_raw(&device)
                .map_err(|e| other(format!("cannot map BAR{index}: {e}")))?;
            Ok(Window { map })
        };
        let bars = vec![map(0, BAR0_BYTES)?, map(2, BAR2_BYTES)?];
        let count = device.get_irq_info(MSIX).map_or(0, |info| info.count);
        if (count as usize) < pci::VECTORS {
            return Err(OpenError::WrongDevice {
                device: address.to_string(),
                what: format!("{count} MSI-X vectors, {} are needed", pci::VECTORS),
            });
        }
        let vectors = (0..pci::VECTORS).map(|_| eventfd()).collect::<Result<Vec<_>, _>>()?;
        let mut transport = Self {
            bars,
            device: Some(device),
            vectors,
            alarms: [eventfd()?, eventfd()?],
            ops,
            iovas: IovaAllocator::default(),
            buffers: Vec::new(),
            sysfs: folder,
        };
        transport.set_command()?;
        let device = transport.device()?;
        device
            .enable_msix(transport.vectors.iter().collect())
            .map_err(failed("enable MSI-X"))?;
        for (irq, fd) in [ERROR_IRQ, REQUEST_IRQ].into_iter().zip(&transport.alarms) {
            // Old kernels and simple devices have neither; reads of all ones tell the same later.
            if device.get_irq_info(irq).is_some_and(|info| info.count > 0) {
                device
                    .enable_irq(irq, vec![fd])
                    .map_err(failed("watch for errors of the device"))?;
            }
        }
        Ok(transport)
    }

    fn device(&self) -> Result<&VfioDevice, DeviceError> {
        self.device.as_ref().ok_or(DeviceError::Disconnected {
            reason: "the device is closed".into(),
        })
    }

    fn fd(&self) -> Result<BorrowedFd<'_>, DeviceError> {
        let raw = self.device()?.as_raw_fd();
        // SAFETY: the descriptor is the device's, which lives in `self` and is closed only when `self` ends.
        Ok(unsafe { BorrowedFd::borrow_raw(raw) })
    }

    /// Memory and bus master enable in the command register. The crate's own accessors only log what goes wrong.
    fn set_command(&mut self) -> Result<(), DeviceError> {
        let at = self.device()?.get_region_offset(CONFIG_REGION) + pci::COMMAND as u64;
        let io = |operation: &'static str| {
            move |error: rustix::io::Errno| DeviceError::Io {
                operation,
                source: error.into(),
            }
        };
        let fd = self.fd()?;
        let mut word = [0; 2];
        let got = rustix::io::pread(fd, &mut word, at).map_err(io("read the command register"))?;
        let command = u16::from_le_bytes(word) | pci::COMMAND_MEMORY | pci::COMMAND_MASTER;
        let put = rustix::io::pwrite(fd, &command.to_le_bytes(), at).map_err(io("write the command register"))?;
        if (got, put) != (2, 2) {
            return Err(DeviceError::Backend {
                operation: "write the command register",
                reason: format!("{got} bytes read, {put} written"),
            });
        }
        Ok(())
    }

    fn window(&self, bar: Bar) -> &Window {
        match bar {
            Bar::Bar0 => &self.bars[0],
            Bar::Bar2 => &self.bars[1],
        }
    }

    fn take_interrupts(&self) -> Result<u32, DeviceError> {
        let mut fired = 0;
        for (vector, fd) in self.vectors.iter().enumerate() {
            if take_event(borrowed(fd))? {
                fired |= 1 << vector;
            }
        }
        Ok(fired)
    }

    fn check_alarms(&self) -> Result<(), DeviceError> {
        for (fd, reason) in self.alarms.iter().zip([
            "the kernel reports an unrecoverable PCI Express error",
            "the kernel asks for the card back (it is being removed or unbound)",
        ]) {
            if take_event(borrowed(fd))? {
                return Err(DeviceError::Disconnected { reason: reason.into() });
            }
        }
        Ok(())
    }
}

/// Present limit of locked memory, for people.
fn memlock() -> String {
    match getrlimit(Resource::Memlock).current {
        Some(bytes) => format!("{} KiB", bytes >> 10),
        None => "unlimited".into(),
    }
}

impl Transport for VfioTransport {
    fn read32(&mut self, bar: Bar, offset: u32) -> Result<u32, DeviceError> {
        check_access(bar, offset, 1)?;
        Ok(self.window(bar).read(offset))
    }

    fn write32(&mut self, bar: Bar, offset: u32, value: u32) -> Result<(), DeviceError> {
        check_access(bar, offset, 1)?;
        self.window(bar).write(offset, value);
        Ok(())
    }

    fn write_burst(&mut self, bar: Bar, offset: u32, values: &[u32]) -> Result<(), DeviceError> {
        check_access(bar, offset, values.len())?;
        let window = self.window(bar);
        for (at, &value) in (offset..).step_by(4).zip(values) {
            window.write(at, value);
        }
        Ok(())
    }

    fn dma_alloc(&mut self, bytes: usize) -> Result<DmaBuffer, DeviceError> {
        let (bytes, iova) = self.iovas.take(bytes).ok_or(DeviceError::DmaAlloc { bytes })?;
        // The file is not needed further: the mapping keeps the memory.
        let (memory, _file) = DmaMemory::shared(bytes).map_err(|source| DeviceError::Io {
            operation: "make memory that is shared with the card",
            source,
        })?;
        let address = memory.host_address() as *mut u8;
        // SAFETY: the range is `bytes` bytes of a mapping that `self.buffers` keeps until it is unmapped in `drop`, after
        // which the IOMMU lets no access through. This process touches it through atomics only.
        let mapped = unsafe { self.ops.vfio_dma_map(iova, bytes, address) };
        match mapped {
            Ok(()) => {}
            Err(VfioError::IommuDmaMap(error)) if error.errno() == rustix::io::Errno::NOMEM.raw_os_error() => {
                return Err(DeviceError::Memlock {
                    bytes,
                    limit: memlock(),
                })
            }
            Err(error) => return Err(failed("map memory into the IOMMU")(error)),
        }
        let buffer = DmaBuffer { iova, memory };
        self.buffers.push(buffer.clone());
        Ok(buffer)
    }

    fn wait(&mut self, timeout: Duration) -> Result<u32, DeviceError> {
        let fired = self.take_interrupts()?;
        if fired != 0 || timeout.is_zero() {
            return Ok(fired);
        }
        let deadline = Instant::now() + timeout;
        let fds: Vec<BorrowedFd<'_>> = self.vectors.iter().chain(&self.alarms).map(borrowed).collect();
        let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let ready = poll_until(&mut polled, deadline).map_err(|source| DeviceError::Io {
            operation: "wait for interrupts",
            source,
        })?;
        if !ready {
            return Ok(0);
        }
        let fired = self.take_interrupts()?;
        if fired == 0 {
            self.check_alarms()?;
        }
        Ok(fired)
    }

    fn reset(&mut self) -> Result<(), DeviceError> {
        type Reset = rustix::ioctl::NoArg<{ rustix::ioctl::opcode::none(b';', 111) }>;
        // SAFETY: VFIO_DEVICE_RESET (linux/vfio.h: VFIO_BASE + 11, no argument) on the descriptor of a VFIO device touches
        // no memory of this process.
        let done = unsafe { rustix::ioctl::ioctl(self.fd()?, Reset::new()) };
        done.map_err(|error| DeviceError::Io {
            operation: "reset the card",
            source: error.into(),
        })?;
        // The kernel restores configuration space as it was; what fired before belongs to the past.
        self.take_interrupts()?;
        self.set_command()
    }
}

impl Drop for VfioTransport {
    fn drop(&mut self) {
        if let Some(device) = self.device.take() {
            // No interrupts and no DMA from here on; a card that is gone has neither.
            let _ = device.disable_msix();
            let at = device.get_region_offset(CONFIG_REGION) + pci::COMMAND as u64;
            // SAFETY: the descriptor is open until `device` ends, below.
            let fd = unsafe { BorrowedFd::borrow_raw(device.as_raw_fd()) };
            let _ = rustix::io::pwrite(fd, &pci::COMMAND_MEMORY.to_le_bytes(), at);
            for buffer in &self.buffers {
                let _ = self.ops.vfio_dma_unmap(buffer.iova, buffer.memory.bytes());
            }
            self.bars.clear();
            // The crate looks the group up once more and panics when the device is not there any more.
            if self.sysfs.join("iommu_group").exists() {
                drop(device);
            } else {
                std::mem::forget(device);
            }
        }
    }
}
