//! What is asked of an open VFIO device and its container by their descriptors alone (linux/vfio.h).
//!
//! `vfio-ioctls` opens groups and devices, and knows a device only if it opened it itself. A device that an earlier process
//! opened comes as a descriptor; so from the opening on both are worked with by the few calls here.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::ioctl::{ioctl, opcode, NoArg, Opcode, Updater};
use vfio_bindings::bindings::vfio::{
    vfio_device_info, vfio_iommu_type1_dma_map, vfio_irq_info, vfio_region_info, VFIO_BASE, VFIO_DEVICE_FLAGS_PCI,
    VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_IRQ_SET_DATA_NONE, VFIO_TYPE,
};

/// Number of a request: VFIO gives none of them a direction or size.
const fn request(number: u8) -> Opcode {
    opcode::none(VFIO_TYPE, VFIO_BASE as u8 + number)
}

const GET_INFO: Opcode = request(7);
const GET_REGION_INFO: Opcode = request(8);
const GET_IRQ_INFO: Opcode = request(9);
const SET_IRQS: Opcode = request(10);
const RESET: Opcode = request(11);
const MAP_DMA: Opcode = request(13);
const UNMAP_DMA: Opcode = request(14);

/// Descriptors that one SET_IRQS carries at most.
const MOST_IRQS: usize = 8;

const fn size_of<T>() -> u32 {
    std::mem::size_of::<T>() as u32
}

/// A window of a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region {
    /// Bytes.
    pub size: u64,
    /// VFIO_REGION_INFO_FLAG_*.
    pub flags: u32,
    /// Where it is in the device's file.
    pub offset: u64,
}

/// An open device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device<'a>(pub BorrowedFd<'a>);

/// `vfio_irq_set` with the descriptors behind it.
#[repr(C)]
struct IrqSet {
    argsz: u32,
    flags: u32,
    index: u32,
    start: u32,
    count: u32,
    fds: [i32; MOST_IRQS],
}

impl Device<'_> {
    /// Whether the descriptor is that of a PCI device, and not something else that was passed in its place.
    pub fn is_pci(&self) -> io::Result<bool> {
        let mut info = vfio_device_info {
            argsz: size_of::<vfio_device_info>(),
            ..Default::default()
        };
        // SAFETY: VFIO_DEVICE_GET_INFO takes and fills a vfio_device_info of `argsz` bytes.
        unsafe { ioctl(self.0, Updater::<GET_INFO, _>::new(&mut info)) }?;
        Ok(info.flags & VFIO_DEVICE_FLAGS_PCI != 0)
    }

    /// A region; one the device does not have is an error.
    pub fn region(&self, index: u32) -> io::Result<Region> {
        let mut info = vfio_region_info {
            argsz: size_of::<vfio_region_info>(),
            index,
            ..Default::default()
        };
        // SAFETY: VFIO_DEVICE_GET_REGION_INFO takes and fills a vfio_region_info of `argsz` bytes; capabilities that have
        // no room in it are not written.
        unsafe { ioctl(self.0, Updater::<GET_REGION_INFO, _>::new(&mut info)) }?;
        Ok(Region {
            size: info.size,
            flags: info.flags,
            offset: info.offset,
        })
    }

    /// How many interrupts of a kind there are; none of a kind the device does not have.
    pub fn irqs(&self, index: u32) -> u32 {
        let mut info = vfio_irq_info {
            argsz: size_of::<vfio_irq_info>(),
            index,
            ..Default::default()
        };
        // SAFETY: VFIO_DEVICE_GET_IRQ_INFO takes and fills a vfio_irq_info of `argsz` bytes.
        let asked = unsafe { ioctl(self.0, Updater::<GET_IRQ_INFO, _>::new(&mut info)) };
        asked.map_or(0, |()| info.count)
    }

    /// Has the first interrupts of a kind signalled to these eventfds; switches the kind off when there are none.
    pub fn signal(&self, index: u32, eventfds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if eventfds.len() > MOST_IRQS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let data = if eventfds.is_empty() {
            VFIO_IRQ_SET_DATA_NONE
        } else {
            VFIO_IRQ_SET_DATA_EVENTFD
        };
        let mut fds = [-1; MOST_IRQS];
        for (to, fd) in fds.iter_mut().zip(eventfds) {
            *to = fd.as_raw_fd();
        }
        let unused = size_of::<i32>() * (MOST_IRQS - eventfds.len()) as u32;
        let mut set = IrqSet {
            argsz: size_of::<IrqSet>() - unused,
            flags: data | VFIO_IRQ_SET_ACTION_TRIGGER,
            index,
            start: 0,
            count: eventfds.len() as u32,
            fds,
        };
        // SAFETY: VFIO_DEVICE_SET_IRQS reads `argsz` bytes: the five words of vfio_irq_set and `count` descriptors behind
        // them, which is how IrqSet lies in memory. The kernel keeps references of its own to the eventfds.
        unsafe { ioctl(self.0, Updater::<SET_IRQS, _>::new(&mut set)) }?;
        Ok(())
    }

    /// A function-level reset; the kernel saves configuration space and restores it.
    pub fn reset(&self) -> io::Result<()> {
        // SAFETY: VFIO_DEVICE_RESET has no argument and touches no memory of this process.
        unsafe { ioctl(self.0, NoArg::<RESET>::new()) }?;
        Ok(())
    }

    /// The command register, found in configuration space at `at`.
    pub fn command(&self, at: u64) -> io::Result<u16> {
        let mut word = [0; 2];
        match rustix::io::pread(self.0, &mut word, at)? {
            2 => Ok(u16::from_le_bytes(word)),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Writes the command register.
    pub fn set_command(&self, at: u64, command: u16) -> io::Result<()> {
        match rustix::io::pwrite(self.0, &command.to_le_bytes(), at)? {
            2 => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }
}

/// A type 1 container: the IOMMU's table of the devices in it.
#[derive(Debug)]
pub(super) struct Container(pub OwnedFd);

/// `vfio_iommu_type1_dma_unmap` without the bitmap that no flag of ours asks for.
#[repr(C)]
struct Unmap {
    argsz: u32,
    flags: u32,
    iova: u64,
    size: u64,
}

impl Container {
    /// Shows memory to the devices, for reading and writing.
    ///
    /// # Safety
    /// `address .. address + bytes` must be mapped in this process, be touched by atomic or volatile accesses only, and
    /// stay so until it is unmapped from the container.
    pub unsafe fn map(&self, iova: u64, bytes: usize, address: usize) -> io::Result<()> {
        let mut map = vfio_iommu_type1_dma_map {
            argsz: size_of::<vfio_iommu_type1_dma_map>(),
            flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
            vaddr: address as u64,
            iova,
            size: bytes as u64,
        };
        // SAFETY: VFIO_IOMMU_MAP_DMA reads a vfio_iommu_type1_dma_map of `argsz` bytes; the memory is the caller's matter.
        unsafe { ioctl(&self.0, Updater::<MAP_DMA, _>::new(&mut map)) }?;
        Ok(())
    }

    /// Takes everything in a range of bus addresses away from the devices; how many bytes that were.
    pub fn unmap(&self, iova: u64, bytes: u64) -> io::Result<u64> {
        let mut unmap = Unmap {
            argsz: size_of::<Unmap>(),
            flags: 0,
            iova,
            size: bytes,
        };
        // SAFETY: VFIO_IOMMU_UNMAP_DMA takes the first 24 bytes of vfio_iommu_type1_dma_unmap, which is what `argsz` says,
        // and writes `size`.
        unsafe { ioctl(&self.0, Updater::<UNMAP_DMA, _>::new(&mut unmap)) }?;
        Ok(unmap.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_those_of_the_kernel() {
        use std::mem::offset_of;
        use vfio_bindings::bindings::vfio::{vfio_iommu_type1_dma_unmap, vfio_irq_set};
        assert_eq!(size_of::<Unmap>(), size_of::<vfio_iommu_type1_dma_unmap>());
        assert_eq!(offset_of!(Unmap, iova), offset_of!(vfio_iommu_type1_dma_unmap, iova));
        assert_eq!(offset_of!(Unmap, size), offset_of!(vfio_iommu_type1_dma_unmap, size));
        assert_eq!(offset_of!(IrqSet, fds), offset_of!(vfio_irq_set, data));
        assert_eq!(offset_of!(IrqSet, count), offset_of!(vfio_irq_set, count));
        assert_eq!((GET_INFO, UNMAP_DMA), (0x3b6b, 0x3b72));
    }

    #[test]
    fn a_descriptor_of_something_else_is_found_out() {
        use std::os::fd::AsFd;
        let file = std::fs::File::open("/dev/null").expect("a file");
        let device = Device(file.as_fd());
        assert!(device.is_pci().is_err() && device.region(0).is_err() && device.irqs(2) == 0);
        assert!(device.signal(2, &[]).is_err() && device.reset().is_err());
        let nine = [file.as_fd(); MOST_IRQS + 1];
        let error = device.signal(2, &nine).expect_err("too many");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(Container(file.into()).unmap(0, 4096).is_err());
    }
}
