//! A card that stays open when its driver ends.
//!
//! The kernel resets a card when the last descriptor of it is closed. Whoever keeps a [`Held`], or copies of its
//! descriptors in another process, keeps the card as it is: it goes on translating the sessions it has, its interrupts
//! are signalled to nobody, and what it writes goes to memory that the IOMMU keeps pinned. The next driver takes it up
//! with [`VfioTransport::resume`](super::VfioTransport::resume).
//!
//! Two descriptors do it: the device's, which keeps its group open, and the container's, without which nobody could
//! change what the IOMMU lets through.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use super::kernel::Device;
use crate::pci::Address;

/// Descriptors that keep a card as it is when its driver ends: it goes on translating the sessions it has until the last copy
/// of them is closed. Of a type 1 container only; iommufd detaches a device when its user goes.
#[derive(Debug)]
pub struct Held {
    pub(super) address: Address,
    pub(super) device: OwnedFd,
    pub(super) container: OwnedFd,
    pub(super) wanted: Arc<AtomicBool>,
}

impl Held {
    /// From descriptors that an earlier process had, as [`Held::descriptors`] gave them.
    ///
    /// # Errors
    /// The first is not that of a PCI device behind VFIO.
    pub fn new(address: Address, [device, container]: [OwnedFd; 2]) -> io::Result<Self> {
        if !Device(device.as_fd()).is_pci()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no PCI device"));
        }
        Ok(Self {
            address,
            device,
            container,
            wanted: Arc::default(),
        })
    }

    /// Where the card is.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Device and container.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.device.as_fd(), self.container.as_fd()]
    }

    /// Whether the kernel has asked for the card: it is being removed or unbound, which waits for all copies of the
    /// descriptors to be closed.
    pub fn is_wanted_back(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Copies of the descriptors, of the same card.
    ///
    /// # Errors
    /// This process may have no more descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            address: self.address,
            device: self.device.try_clone()?,
            container: self.container.try_clone()?,
            wanted: self.wanted.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_card_is_not_held() {
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").expect("a file"));
        let address = "0000:03:00.0".parse().expect("an address");
        Held::new(address, [null(), null()]).expect_err("not a device of VFIO");
    }
}
