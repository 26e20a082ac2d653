//! Cards on the PCI bus: which there are, who has them, and how they come to vfio-pci and back.
//!
//! ```text
//!   /sys/bus/pci/devices/0000:03:00.0/{vendor,device,class,driver,iommu_group,driver_override}
//!   /sys/kernel/iommu_groups/7/devices/*          who shares the group
//!   /sys/bus/pci/drivers_probe                    hands a function to the driver it shall have
//! ```
//!
//! A group is what the IOMMU can keep apart from the rest; VFIO gives it to one process whole. So [`Sysfs::bind`] first
//! looks at every other function of the group and refuses, naming them, while one of them is at work for another
//! driver: it never takes anything away from anyone but the card itself.
//!
//! Everything goes through a [`Sysfs`] with a root, so tests give it a tree of their own.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nat64_layout::pci;
use pci_ids::FromId as _;

use crate::transport::OpenError;

/// Where a function is on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Domain.
    pub domain: u32,
    /// Bus.
    pub bus: u8,
    /// Device, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

/// Not a PCI address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a PCI address is written 0000:03:00.0")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    /// Reads `0000:03:00.0`, or `03:00.0` of domain 0.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let hex = |text: &str, digits: std::ops::RangeInclusive<usize>| {
            let good = digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
            good.then(|| u32::from_str_radix(text, 16).ok())
                .flatten()
                .ok_or(AddressError)
        };
        let (place, function) = text.split_once('.').ok_or(AddressError)?;
        let parts: Vec<&str> = place.split(':').collect();
        let (domain, bus, device) = match parts[..] {
            [bus, device] => (0, bus, device),
            [domain, bus, device] => (hex(domain, 4..=8)?, bus, device),
            _ => return Err(AddressError),
        };
        let address = Self {
            domain,
            bus: hex(bus, 2..=2)? as u8,
            device: hex(device, 2..=2)? as u8,
            function: hex(function, 1..=1)? as u8,
        };
        if address.device < 32 && address.function < 8 {
            Ok(address)
        } else {
            Err(AddressError)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            domain,
            bus,
            device,
            function,
        } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
    }
}

/// A function on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where.
    pub address: Address,
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Class, sub-class and programming interface: 0xCCSSPP.
    pub class: u32,
    /// Driver that has it.
    pub driver: Option<String>,
    /// IOMMU group.
    pub group: Option<u32>,
}

impl Function {
    /// Whether it shows the identity of our card. What it really is, its registers tell.
    pub fn is_card(&self) -> bool {
        (self.vendor, self.device) == (pci::VENDOR_ID, pci::DEVICE_ID)
    }

    /// Vendor and device by name, as far as the PCI ID database knows them.
    pub fn name(&self) -> String {
        if self.is_card() {
            return "NAT64 card".into();
        }
        let device = pci_ids::Device::from_vid_pid(self.vendor, self.device);
        let vendor = pci_ids::Vendor::from_id(self.vendor);
        match (vendor, device) {
            (Some(vendor), Some(device)) => format!("{} {}", vendor.name(), device.name()),
            (Some(vendor), None) => format!("{} {:04x}", vendor.name(), self.device),
            _ => format!("{:04x}:{:04x}", self.vendor, self.device),
        }
    }

    /// Bridges do no DMA of their own: the kernel lets them stay with their driver in a group that VFIO owns.
    const fn is_bridge(&self) -> bool {
        self.class >> 16 == 0x06
    }

    /// Whether it keeps VFIO from having its group.
    fn is_in_the_way(&self) -> bool {
        !self.is_bridge() && self.driver.as_deref().is_some_and(|driver| driver != DRIVER)
    }
}

/// The driver that hands a function to a process.
pub const DRIVER: &str = "vfio-pci";

/// Why a card does not change hands.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// There is no such function.
    #[error("there is no PCI device {address}; `nat64ctl card list` shows the cards there are")]
    NoDevice {
        /// Address.
        address: Address,
    },
    /// It is something else than our card.
    #[error("{address} is no NAT64 card but {name}; it is left alone")]
    NotACard {
        /// Address.
        address: Address,
        /// What it is.
        name: String,
    },
    /// It has no IOMMU group.
    #[error(
        "{address} has no IOMMU group: switch the IOMMU (VT-d, AMD-Vi) on in the firmware and boot Linux with \
         intel_iommu=on or amd_iommu=on"
    )]
    NoIommu {
        /// Address.
        address: Address,
    },
    /// Others of the group are at work.
    #[error(
        "IOMMU group {group} of {address} also has {others}; VFIO would need all of it, and those are left alone. Move \
         the card to another slot, or unbind them first if nothing needs them"
    )]
    SharedGroup {
        /// Address.
        address: Address,
        /// Group.
        group: u32,
        /// The others, with their drivers.
        others: String,
    },
    /// A process has it open.
    #[error("{address} is in use by a process (group {group} is open); stop that first, `fuser -v /dev/vfio/{group}` names it")]
    InUse {
        /// Address.
        address: Address,
        /// Group.
        group: u32,
    },
    /// The kernel has no vfio-pci.
    #[error("the kernel has no driver vfio-pci loaded: `modprobe vfio-pci` first")]
    NoDriver,
    /// It is not bound to vfio-pci.
    #[error("{address} is {}, not bound to vfio-pci; it is left alone", driver.as_ref().map_or("bound to no driver".to_string(), |d| format!("bound to {d}")))]
    NotBound {
        /// Address.
        address: Address,
        /// Its driver.
        driver: Option<String>,
    },
    /// The kernel took the request and did something else.
    #[error("{address} is {} after it was given to vfio-pci; `dmesg` tells why", driver.as_ref().map_or("bound to no driver".to_string(), |d| format!("bound to {d}")))]
    Refused {
        /// Address.
        address: Address,
        /// Its driver now.
        driver: Option<String>,
    },
    /// A file of sysfs.
    #[error("{}: {source}{}", path.display(), if source.kind() == io::ErrorKind::PermissionDenied { "; binding needs root" } else { "" })]
    File {
        /// File.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// A sysfs tree.
#[derive(Clone, Debug)]
pub struct Sysfs {
    root: PathBuf,
    dev: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self::at("/sys", "/dev")
    }
}

fn number(path: &Path) -> io::Result<u32> {
    let text = fs::read_to_string(path)?;
    let digits = text.trim().trim_start_matches("0x");
    u32::from_str_radix(digits, 16).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// Last part of where a link points.
fn link_name(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

impl Sysfs {
    /// The tree at `root` (`/sys`), with its device files in `dev` (`/dev`).
    pub fn at(root: impl Into<PathBuf>, dev: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            dev: dev.into(),
        }
    }

    /// Folder of a function.
    pub fn device(&self, address: Address) -> PathBuf {
        self.root.join("bus/pci/devices").join(address.to_string())
    }

    /// Device file of a group.
    pub fn group_file(&self, group: u32) -> PathBuf {
        self.dev.join("vfio").join(group.to_string())
    }

    /// Device file of the IOMMU container.
    pub fn container_file(&self) -> PathBuf {
        self.dev.join("vfio/vfio")
    }

    /// One function.
    ///
    /// # Errors
    /// What the operating system says; `NotFound` when there is no such function.
    pub fn function(&self, address: Address) -> io::Result<Function> {
        let folder = self.device(address);
        Ok(Function {
            address,
            vendor: number(&folder.join("vendor"))? as u16,
            device: number(&folder.join("device"))? as u16,
            class: number(&folder.join("class"))?,
            driver: link_name(&folder.join("driver")),
            group: link_name(&folder.join("iommu_group")).and_then(|name| name.parse().ok()),
        })
    }

    fn addresses(folder: &Path) -> io::Result<Vec<Address>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            found.extend(name.to_str().and_then(|name| name.parse::<Address>().ok()));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Every function there is, by address. One that vanishes meanwhile is left out.
    ///
    /// # Errors
    /// What the operating system says about the list of functions.
    pub fn scan(&self) -> io::Result<Vec<Function>> {
        let addresses = match Self::addresses(&self.root.join("bus/pci/devices")) {
            // A machine without PCI has no cards.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        Ok(addresses.into_iter().filter_map(|a| self.function(a).ok()).collect())
    }

    /// Our cards.
    ///
    /// # Errors
    /// As [`Sysfs::scan`].
    pub fn cards(&self) -> io::Result<Vec<Function>> {
        Ok(self.scan()?.into_iter().filter(Function::is_card).collect())
    }

    /// The other functions of a function's group.
    ///
    /// # Errors
    /// What the operating system says about the group's list.
    pub fn companions(&self, function: &Function) -> io::Result<Vec<Function>> {
        let Some(group) = function.group else {
            return Ok(Vec::new());
        };
        let folder = self
            .root
            .join("kernel/iommu_groups")
            .join(group.to_string())
            .join("devices");
        let others = Self::addresses(&folder)?.into_iter().filter(|&a| a != function.address);
        Ok(others.filter_map(|a| self.function(a).ok()).collect())
    }

    /// The functions that keep VFIO from having a function's group, as text; `None` when there are none.
    fn in_the_way(&self, function: &Function) -> io::Result<Option<String>> {
        let others: Vec<String> = self
            .companions(function)?
            .iter()
            .filter(|other| other.is_in_the_way())
            .map(|other| {
                let driver = other.driver.as_deref().unwrap_or("no driver");
                format!("{} ({}, driver {driver})", other.address, other.name())
            })
            .collect();
        Ok((!others.is_empty()).then(|| others.join(", ")))
    }

    fn known(&self, address: Address) -> Result<Function, BindError> {
        let function = self.function(address).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BindError::NoDevice { address },
            _ => BindError::File {
                path: self.device(address),
                source,
            },
        })?;
        if function.is_card() {
            Ok(function)
        } else {
            let name = function.name();
            Err(BindError::NotACard { address, name })
        }
    }

    fn write(&self, path: PathBuf, text: &str) -> Result<(), BindError> {
        fs::write(&path, text).map_err(|source| BindError::File { path, source })
    }

    /// Whether a process has the group open: VFIO gives it out once.
    fn is_open(&self, group: u32) -> bool {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.group_file(group));
        file.is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
    }

    /// Gives a card to vfio-pci; returns the other functions of its group, none of which is at work. A card that has
    /// that driver already is left as it is.
    ///
    /// # Errors
    /// [`BindError`]; the driver of no other function is touched in any case.
    pub fn bind(&self, address: Address) -> Result<Vec<Function>, BindError> {
        let function = self.known(address)?;
        let group = function.group.ok_or(BindError::NoIommu { address })?;
        let file = |source| BindError::File {
            path: self.root.join("kernel/iommu_groups").join(group.to_string()),
            source,
        };
        if let Some(others) = self.in_the_way(&function).map_err(file)? {
            return Err(BindError::SharedGroup { address, group, others });
        }
        let companions = self.companions(&function).map_err(file)?;
        if function.driver.as_deref() == Some(DRIVER) {
            return Ok(companions);
        }
        if !self.root.join("bus/pci/drivers").join(DRIVER).is_dir() {
            return Err(BindError::NoDriver);
        }
        let folder = self.device(address);
        self.write(folder.join("driver_override"), DRIVER)?;
        if function.driver.is_some() {
            self.write(folder.join("driver/unbind"), &address.to_string())?;
        }
        self.write(self.root.join("bus/pci/drivers_probe"), &address.to_string())?;
        match self.known(address)?.driver {
            Some(driver) if driver == DRIVER => Ok(companions),
            driver => Err(BindError::Refused { address, driver }),
        }
    }

    /// Takes a card from vfio-pci and lets the kernel give it to whatever driver it has for it.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn unbind(&self, address: Address) -> Result<(), BindError> {
        let function = self.known(address)?;
        if function.driver.as_deref() != Some(DRIVER) {
            let driver = function.driver;
            return Err(BindError::NotBound { address, driver });
        }
        // The kernel would wait for the process, and we with it.
        if let Some(group) = function.group.filter(|&group| self.is_open(group)) {
            return Err(BindError::InUse { address, group });
        }
        let folder = self.device(address);
        self.write(folder.join("driver_override"), "\n")?;
        self.write(folder.join("driver/unbind"), &address.to_string())?;
        self.write(self.root.join("bus/pci/drivers_probe"), &address.to_string())
    }

    /// Checks everything that can be seen before a card is opened, and says what to do about what is wrong. Returns
    /// the card's group.
    ///
    /// # Errors
    /// [`OpenError`], with the remedy.
    pub fn ready(&self, address: Address) -> Result<u32, OpenError> {
        let function = self.function(address).map_err(|_| OpenError::NoDevice { address })?;
        if !function.is_card() {
            return Err(OpenError::WrongDevice {
                device: address.to_string(),
                what: format!("it is {}", function.name()),
            });
        }
        let group = function.group.ok_or(OpenError::NoIommu { address })?;
        if function.driver.as_deref() != Some(DRIVER) {
            let driver = function.driver;
            return Err(OpenError::NotBound { address, driver });
        }
        // A list that cannot be read is the kernel's to judge.
        if let Ok(Some(others)) = self.in_the_way(&function) {
            return Err(OpenError::NotViable { address, group, others });
        }
        for path in [self.container_file(), self.group_file(group)] {
            match fs::OpenOptions::new().read(true).write(true).open(&path) {
                Ok(_) => {}
                Err(error) => {
                    return Err(match error.kind() {
                        io::ErrorKind::NotFound => OpenError::NoVfio { path },
                        io::ErrorKind::PermissionDenied => OpenError::Permission { path },
                        io::ErrorKind::ResourceBusy => OpenError::InUse { path },
                        _ => OpenError::Vfio {
                            address,
                            what: format!("{}: {error}", path.display()),
                        },
                    })
                }
            }
        }
        Ok(group)
    }
}

#[cfg(test)]
#[path = "pci_tests.rs"]
mod tests;
