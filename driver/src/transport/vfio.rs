//! A card in this machine, through the kernel's VFIO: its windows mapped, its DMA kept in bounds by the IOMMU.
//!
//! ```text
//!   BAR0, BAR2 --mmap--> Window: volatile words            (posted writes really are)
//!   config space --pread, pwrite--> command register        (bus master from the first memory that is shared on)
//!   DmaMemory::shared --vfio_dma_map--> IOMMU at an address of our choice
//!   eventfds --enable_msix--> wait()
//! ```
//!
//! The way to the IOMMU is a type 1 container; with the Cargo feature `iommufd` it is iommufd where the kernel has it.
//! `vfio-ioctls` opens both; afterwards the device is worked with by its descriptor (`kernel.rs`), so that one which an
//! earlier process opened ([`Held`]) is no different.
//!
//! **Order.** Device memory is strongly ordered on x86-64: writes leave in program order, and stores to shared memory made
//! before a doorbell are visible before it. A full fence stands before each write all the same, so that the compiler
//! keeps that order; on other processors a device barrier would be needed, and [`VfioTransport::open`] refuses them.
//!
//! **End.** The windows are unmapped first, then the buffers leave the IOMMU, then the device is closed, then its group:
//! in any other order the group stays busy. A card that somebody holds is left as it is.
#![allow(unsafe_code)]

mod held;
mod kernel;

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{fence, AtomicBool, Ordering};
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
pub use held::Held;
use kernel::{Container, Device};

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

/// How memory is shown to the card.
enum Iommu {
    /// As the crate opened it.
    Opened(Arc<dyn VfioOps>),
    /// A container of an earlier process.
    Held(Container),
}

/// The device, open.
enum DeviceFile {
    /// As the crate opened it, found in this folder of sysfs.
    Opened(ManuallyDrop<VfioDevice>, PathBuf),
    /// A descriptor of an earlier process.
    Held(OwnedFd),
}

impl DeviceFile {
    fn device(&self) -> Device<'_> {
        Device(match self {
            Self::Opened(device, _) => borrowed(&**device),
            Self::Held(device) => device.as_fd(),
        })
    }
}

impl Drop for DeviceFile {
    fn drop(&mut self) {
        if let Self::Opened(device, folder) = self {
            // The crate looks the group up once more and panics when the device is not there any more.
            if folder.join("iommu_group").exists() {
                // SAFETY: this is the end of `self`, and nothing after it looks at the field.
                unsafe { ManuallyDrop::drop(device) };
            }
        }
    }
}

/// See the module documentation. Fields are in the order of their end.
pub struct VfioTransport {
    address: Address,
    bars: Vec<Window>,
    file: DeviceFile,
    vectors: Vec<EventFd>,
    alarms: [EventFd; 2],
    iommu: Iommu,
    iovas: IovaAllocator,
    buffers: Vec<DmaBuffer>,
    /// Where the command register is in the device's file.
    command: u64,
    /// Somebody holds the card; what it is told with when the kernel wants it back.
    held: Option<Arc<AtomicBool>>,
}

impl std::fmt::Debug for VfioTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let buffers = self.buffers.len();
        f.debug_struct("VfioTransport")
            .field("device", &self.address)
            .field("buffers", &buffers)
            .finish()
    }
}

fn io(operation: &'static str) -> impl Fn(io::Error) -> DeviceError {
    move |source| DeviceError::Io { operation, source }
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
    EventFd::new(rustix::event::EventfdFlags::NONBLOCK.bits() as i32).map_err(io("make an eventfd"))
}

/// The descriptor of something that lives as long as the result is used.
fn borrowed(owner: &impl AsRawFd) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open for as long as its owner lives, which the lifetime of the result is bound to.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

/// A descriptor of our own for the same file.
fn copy(owner: &impl AsRawFd) -> Result<OwnedFd, DeviceError> {
    borrowed(owner).try_clone_to_owned().map_err(io("copy a descriptor"))
}

/// Maps a BAR.
fn window(device: Device<'_>, address: Address, index: u32, bytes: u32) -> Result<Window, OpenError> {
    let other = |what: String| OpenError::Vfio { address, what };
    let region = device
        .region(index)
        .map_err(|error| other(format!("cannot ask for BAR{index}: {error}")))?;
    let kernel::Region { size, flags, offset } = region;
    if size < u64::from(bytes) || flags & CAN_MAP == 0 {
        return Err(OpenError::WrongDevice {
            device: address.to_string(),
            what: format!(
                "BAR{index} has {size:#x} bytes and flags {flags:#x}, {bytes:#x} that can be mapped are needed"
            ),
        });
    }
    let mut options = MmapOptions::new();
    options.offset(offset).len(bytes as usize);
    let map = options
        .map_raw(&device.0)
        .map_err(|error| other(format!("cannot map BAR{index}: {error}")))?;
    Ok(Window { map })
}

impl VfioTransport {
    /// Opens the card at an address.
    ///
    /// # Errors
    /// [`OpenError`], with the remedy.
    pub fn open(address: Address) -> Result<Self, OpenError> {
        let sysfs = Sysfs::default();
        let other = |what: String| OpenError::Vfio { address, what };
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
        let opened = VfioDevice::new(&folder, ops.clone(), true).map_err(refused)?;
        let file = DeviceFile::Opened(ManuallyDrop::new(opened), folder);
        Self::with(address, file, Iommu::Opened(ops))
    }

    /// Takes up a card that runs and that somebody holds: it is not reset, and goes on translating meanwhile. What it was
    /// shown of memory before is taken away from it, and it is no bus master before it is given some. It stays held.
    ///
    /// # Errors
    /// [`OpenError`]: the device is gone, or is no card.
    pub fn resume(held: &Held) -> Result<Self, OpenError> {
        let address = held.address;
        let held = held.try_clone().map_err(io("copy a descriptor"))?;
        let function = Sysfs::default()
            .function(address)
            .map_err(|_| OpenError::NoDevice { address })?;
        if !function.is_card() {
            return Err(OpenError::WrongDevice {
                device: address.to_string(),
                what: format!("it is {}", function.name()),
            });
        }
        let iommu = Iommu::Held(Container(held.container));
        let mut transport = Self::with(address, DeviceFile::Held(held.device), iommu)?;
        transport.held = Some(held.wanted);
        Ok(transport)
    }

    fn with(address: Address, file: DeviceFile, iommu: Iommu) -> Result<Self, OpenError> {
        if cfg!(not(target_arch = "x86_64")) {
            let what = "the order of writes to a card is only known on x86-64".into();
            return Err(OpenError::Vfio { address, what });
        }
        let device = file.device();
        let config = device
            .region(CONFIG_REGION)
            .map_err(io("ask for configuration space"))?;
        let command = config.offset + pci::COMMAND as u64;
        if let Iommu::Held(container) = &iommu {
            let quiet = device.set_command(command, pci::COMMAND_MEMORY);
            // What reads back has reached the card, and all it had sent before is in memory.
            quiet
                .and_then(|()| device.command(command))
                .map_err(io("stop the card's access to memory"))?;
            device.signal(MSIX, &[]).map_err(io("disable MSI-X"))?;
            let (iova, bytes) = IovaAllocator::WINDOW;
            container
                .unmap(iova, bytes)
                .map_err(io("take memory away from the card"))?;
        }
        let bars = vec![
            window(device, address, 0, BAR0_BYTES)?,
            window(device, address, 2, BAR2_BYTES)?,
        ];
        let count = device.irqs(MSIX);
        if (count as usize) < pci::VECTORS {
            return Err(OpenError::WrongDevice {
                device: address.to_string(),
                what: format!("{count} MSI-X vectors, {} are needed", pci::VECTORS),
            });
        }
        let vectors = (0..pci::VECTORS).map(|_| eventfd()).collect::<Result<Vec<_>, _>>()?;
        let transport = Self {
            address,
            bars,
            file,
            vectors,
            alarms: [eventfd()?, eventfd()?],
            iommu,
            iovas: IovaAllocator::default(),
            buffers: Vec::new(),
            command,
            held: None,
        };
        transport.set_command()?;
        let device = transport.file.device();
        let vectors: Vec<_> = transport.vectors.iter().map(borrowed).collect();
        device.signal(MSIX, &vectors).map_err(io("enable MSI-X"))?;
        for (irq, fd) in [ERROR_IRQ, REQUEST_IRQ].into_iter().zip(&transport.alarms) {
            // Old kernels and simple devices have neither; reads of all ones tell the same later.
            if device.irqs(irq) > 0 {
                let watched = device.signal(irq, &[borrowed(fd)]);
                watched.map_err(io("watch for errors of the device"))?;
            }
        }
        Ok(transport)
    }

    /// Descriptors that keep the card as it is when this transport ends. From here on its end leaves the card alone: it
    /// goes on until the last copy of the descriptors is closed.
    ///
    /// # Errors
    /// The way to the IOMMU is iommufd, or there are no descriptors to be had.
    pub fn hold(&mut self) -> Result<Held, DeviceError> {
        let container = match &self.iommu {
            Iommu::Held(container) => copy(&container.0)?,
            Iommu::Opened(ops) => match ops.as_any().downcast_ref::<VfioContainer>() {
                Some(container) => copy(container)?,
                None => {
                    return Err(DeviceError::Backend {
                        operation: "hold the card",
                        reason: "with iommufd a card cannot outlive its driver".into(),
                    })
                }
            },
        };
        let device = copy(&self.file.device().0)?;
        let wanted = self.held.get_or_insert_with(Arc::default).clone();
        Ok(Held {
            address: self.address,
            device,
            container,
            wanted,
        })
    }

    /// Memory enable in the command register, and bus master once there is memory to reach: a card that runs writes to what
    /// its last driver gave it until its rings are switched off. The crate's own accessors only log what goes wrong.
    fn set_command(&self) -> Result<(), DeviceError> {
        let device = self.file.device();
        let command = device.command(self.command).map_err(io("read the command register"))?;
        let mut command = command | pci::COMMAND_MEMORY;
        if !self.buffers.is_empty() {
            command |= pci::COMMAND_MASTER;
        }
        device
            .set_command(self.command, command)
            .map_err(io("write the command register"))
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
        let [error, request] = &self.alarms;
        let lost = |reason: &str| Err(DeviceError::Disconnected { reason: reason.into() });
        if take_event(borrowed(request))? {
            if let Some(wanted) = &self.held {
                wanted.store(true, Ordering::Relaxed);
            }
            return lost("the kernel asks for the card back (it is being removed or unbound)");
        }
        if take_event(borrowed(error))? {
            return lost("the kernel reports an unrecoverable PCI Express error");
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
        let address = memory.host_address();
        // What is mapped is `bytes` bytes of a mapping that `self.buffers` keeps until it is unmapped in `drop`, after which
        // the IOMMU lets no access through; of a card that is held the kernel keeps the pages. This process touches it
        // through atomics only.
        let mapped = match &self.iommu {
            // SAFETY: as above.
            Iommu::Held(container) => unsafe { container.map(iova, bytes, address) },
            // SAFETY: as above.
            Iommu::Opened(ops) => match unsafe { ops.vfio_dma_map(iova, bytes, address as *mut u8) } {
                Err(VfioError::IommuDmaMap(error)) => Err(io::Error::from_raw_os_error(error.errno())),
                other => other.map_err(io::Error::other),
            },
        };
        mapped.map_err(|source| {
            if source.raw_os_error() == Some(rustix::io::Errno::NOMEM.raw_os_error()) {
                let limit = memlock();
                return DeviceError::Memlock { bytes, limit };
            }
            io("map memory into the IOMMU")(source)
        })?;
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
        self.file.device().reset().map_err(io("reset the card"))?;
        // The kernel restores configuration space as it was; what fired before belongs to the past.
        self.take_interrupts()?;
        self.set_command()
    }
}

impl Drop for VfioTransport {
    fn drop(&mut self) {
        if self.held.is_none() {
            // No interrupts and no DMA from here on; a card that is gone has neither.
            let device = self.file.device();
            let _ = device.signal(MSIX, &[]);
            let _ = device.set_command(self.command, pci::COMMAND_MEMORY);
            if let Iommu::Opened(ops) = &self.iommu {
                for buffer in &self.buffers {
                    let _ = ops.vfio_dma_unmap(buffer.iova, buffer.memory.bytes());
                }
            }
        }
        self.bars.clear();
    }
}
