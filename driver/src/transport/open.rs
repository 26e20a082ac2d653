//! From what a user writes to an open card, and what to say when that fails: each error ends with its remedy.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use super::{DeviceError, SerialTransport, Transport, VfioUserTransport};
use crate::pci::Address;

/// Which card, as a user writes it.
///
/// ```
/// use nat64_driver::CardSpec;
/// let card: CardSpec = "vfio:0000:03:00.0".parse().unwrap();
/// assert_eq!(card.to_string(), "vfio:0000:03:00.0");
/// assert!("vfio-user:/run/card.sock".parse::<CardSpec>().is_ok());
/// assert!("serial:/dev/ttyUSB1".parse::<CardSpec>().is_ok());
/// assert!("vfio:eth0".parse::<CardSpec>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CardSpec {
    /// `vfio:0000:03:00.0`: a card in this machine, bound to vfio-pci.
    Vfio(Address),
    /// `vfio-user:/run/card.sock`: a card served at a socket.
    VfioUser(PathBuf),
    /// `serial:/dev/ttyUSB1`: a board on a serial line.
    Serial(PathBuf),
}

/// Not the name of a card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No such kind of card.
    #[error("{text:?} names no card: write vfio:0000:03:00.0, vfio-user:/run/card.sock or serial:/dev/ttyUSB1")]
    Kind {
        /// What was written.
        text: String,
    },
    /// `vfio:` with something that is no PCI address.
    #[error("{text:?} is no PCI address: write it as lspci -D shows it, 0000:03:00.0")]
    Address {
        /// What was written.
        text: String,
    },
    /// `vfio-user:` without a path.
    #[error("vfio-user: needs the path of a socket, as vfio-user:/run/card.sock")]
    Path,
    /// `serial:` without a device.
    #[error("serial: needs the device of a line, as serial:/dev/ttyUSB1")]
    Line,
}

impl FromStr for CardSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text.split_once(':') {
            Some(("vfio", address)) => {
                let address = address
                    .parse()
                    .map_err(|_| SpecError::Address { text: address.into() })?;
                Ok(Self::Vfio(address))
            }
            Some(("vfio-user", "")) => Err(SpecError::Path),
            Some(("vfio-user", path)) => Ok(Self::VfioUser(path.into())),
            Some(("serial", "")) => Err(SpecError::Line),
            Some(("serial", path)) => Ok(Self::Serial(path.into())),
            _ => Err(SpecError::Kind { text: text.into() }),
        }
    }
}

impl fmt::Display for CardSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vfio(address) => write!(f, "vfio:{address}"),
            Self::VfioUser(path) => write!(f, "vfio-user:{}", path.display()),
            Self::Serial(path) => write!(f, "serial:{}", path.display()),
        }
    }
}

/// Why a card could not be opened. The text says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nobody serves a card at that socket.
    #[error("nobody serves a card at {}: {source}; start one with `nat64-sim serve --socket {}`", path.display(), path.display())]
    Socket {
        /// Socket.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// There is no such serial line, or it is in use.
    #[error("cannot use the serial line {}: {source}; `ls -l /dev/serial/by-id` shows the lines there are, and a user of the \
         group dialout may open them", path.display())]
    Line {
        /// Device.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// No card answers on a serial line.
    #[error("no card answers on {}: is the board configured (`cargo xtask load`), and is this the second of its two lines?", path.display())]
    Silent {
        /// Device.
        path: PathBuf,
    },
    /// The server speaks another protocol.
    #[error("the server speaks vfio-user {major}.{minor}, this driver speaks 0.x")]
    Protocol {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// There is no such device.
    #[error("there is no PCI device {address}; `nat64ctl card list` shows the cards there are")]
    NoDevice {
        /// Address.
        address: Address,
    },
    /// Something answers that is not our card.
    #[error("{device} is no NAT64 card: {what}; `nat64ctl card list` shows the cards there are")]
    WrongDevice {
        /// Which device.
        device: String,
        /// What it is.
        what: String,
    },
    /// The device belongs to no IOMMU group.
    #[error(
        "{address} has no IOMMU group, so it could write to any memory: switch the IOMMU (VT-d, AMD-Vi) on in the \
         firmware and boot Linux with intel_iommu=on or amd_iommu=on"
    )]
    NoIommu {
        /// Address.
        address: Address,
    },
    /// The device is not bound to vfio-pci.
    #[error("{address} is {}; bind it with `nat64ctl card bind {address}`", driver.as_ref().map_or("bound to no driver".to_string(), |d| format!("in the hands of the driver {d}")))]
    NotBound {
        /// Address.
        address: Address,
        /// The driver that has it.
        driver: Option<String>,
    },
    /// Another device of the group is in the hands of another driver.
    #[error("IOMMU group {group} of {address} is not viable: {others} also belong(s) to it and must be bound to vfio-pci or to nothing")]
    NotViable {
        /// Address.
        address: Address,
        /// Group.
        group: u32,
        /// The devices in the way, with their drivers.
        others: String,
    },
    /// The user may not open the group.
    #[error("no permission to open {}: run as root, or `chown` it to the user of the daemon", path.display())]
    Permission {
        /// Device file.
        path: PathBuf,
    },
    /// Another process has the device.
    #[error("{} is in use by another process; only one can own a card", path.display())]
    InUse {
        /// Device file.
        path: PathBuf,
    },
    /// The kernel has no VFIO.
    #[error("{} is missing: load the driver with `modprobe vfio-pci`", path.display())]
    NoVfio {
        /// Device file.
        path: PathBuf,
    },
    /// VFIO refused for another reason.
    #[error("{address}: {what}")]
    Vfio {
        /// Address.
        address: Address,
        /// What it said.
        what: String,
    },
    /// The device failed while it was opened.
    #[error("the card failed while it was opened")]
    Device(#[from] DeviceError),
}

/// Opens a card.
///
/// # Errors
/// [`OpenError`], with the remedy in its text.
pub fn open(spec: &CardSpec) -> Result<Box<dyn Transport>, OpenError> {
    match spec {
        CardSpec::Vfio(address) => Ok(Box::new(super::VfioTransport::open(*address)?)),
        CardSpec::VfioUser(path) => Ok(Box::new(VfioUserTransport::open(path)?)),
        CardSpec::Serial(path) => Ok(Box::new(SerialTransport::open(path)?)),
    }
}

/// What a card says it is, without taking it over: the contract it was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardIdentity {
    /// `Ident`: `nat64_layout::regs::MAGIC` when it is a card of ours.
    pub ident: u32,
    /// `AbiHash`: the driver can only use a card that has its own, `nat64_layout::ABI_HASH`.
    pub abi_hash: u32,
}

impl CardIdentity {
    /// Whether this driver can use the card.
    pub const fn matches(&self) -> bool {
        self.ident == nat64_layout::regs::MAGIC && self.abi_hash == nat64_layout::ABI_HASH
    }
}

/// Asks a card what it is. It must not be in use; the kernel resets a card that is opened and closed.
///
/// # Errors
/// [`OpenError`], as [`open`].
pub fn identify(spec: &CardSpec) -> Result<CardIdentity, OpenError> {
    let mut card = open(spec)?;
    Ok(CardIdentity {
        ident: card.read32(super::Bar::Bar0, nat64_layout::regs::Ident::OFFSET)?,
        abi_hash: card.read32(super::Bar::Bar0, nat64_layout::regs::AbiHash::OFFSET)?,
    })
}
