//! `nat64-sim serve`: the simulated card as a PCI device behind a socket (vfio-user), for the driver itself or for a
//! hypervisor that puts it into a virtual machine.
//!
//! ```text
//!   driver (vfio-user:PATH) --\
//!                              +--socket--> backend: config space, memory --events--> pump --> PciCard (TLPs, RTL)
//!   QEMU (vfio-user-pci) -----/                                                        |  \--> eventfds
//!                                                                ports: TAP, UNIX <----+
//! ```
//!
//! Register accesses and DMA go through the RTL as transaction layer packets ([`crate::tlp`]); only configuration space,
//! which a board's link block keeps too, is kept here. Card time is the time since the server was started.
//!
//! [`serial`] serves the same card as a board on a serial line instead.
//!
//! One client at a time; when it goes, bus mastering and interrupts are switched off, its memory is unmapped, and the
//! card keeps its sessions and goes on translating. The next client finds it so. (A card behind the kernel's VFIO is reset
//! by the kernel when its file is closed.)

mod backend;
pub mod command;
pub mod port;
pub mod pump;
pub mod serial;
pub mod space;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, Receiver};
use std::time::Duration;

use nat64_driver::HostMemory;
use nat64_layout::{pci, regs, PORTS};
use rustix::io::Errno;
use rustix::net::{connect, socket_with, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use vfio_bindings::bindings::vfio::{
    vfio_region_info, VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_INFO_NORESIZE, VFIO_PCI_BAR0_REGION_INDEX,
    VFIO_PCI_BAR2_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_NUM_IRQS,
    VFIO_PCI_NUM_REGIONS, VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE,
};
use vfio_user::{IrqInfo, Server, ServerRegion};

use crate::engine::EngineError;
use crate::tlp::PciCard;

pub use port::{Port, PortKind, PortSpec};
pub use pump::{Pump, Stats};
pub use serial::{SerialBoardStats, SerialService};

/// Why a card cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The card does not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A port cannot be plugged in, or a thread cannot be had.
    #[error("{0}")]
    Port(io::Error),
    /// The socket.
    #[error("{}: {source}", path.display())]
    Socket {
        /// Path.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The log of TLPs.
    #[error("{}: {source}", path.display())]
    Log {
        /// Path.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// How a card is served.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Ports; those not named are plugged into nothing.
    pub ports: Vec<PortSpec>,
    /// File for one decoded line per TLP.
    pub tlp_log: Option<PathBuf>,
    /// What the card says its ABI hash is, in place of what it is: a card of another version.
    pub abi_hash: Option<u32>,
}

/// Removes a socket that nobody listens to any more; anything else stays, and the bind that follows says so.
fn remove_stale(path: &Path, kind: SocketType) -> io::Result<()> {
    if !std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        return Ok(());
    }
    let probe = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    match connect(&probe, &SocketAddrUnix::new(path)?) {
        Ok(()) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process serves there")),
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

/// A card being served. Its socket goes away when this is dropped; a client that is connected then is left with a
/// closed connection when the process ends.
pub struct Service {
    path: PathBuf,
    pump: Pump,
    ended: Receiver<()>,
}

fn regions() -> Vec<ServerRegion> {
    let size = |index| match index {
        VFIO_PCI_BAR0_REGION_INDEX => regs::BAR0_BYTES,
        VFIO_PCI_BAR2_REGION_INDEX => regs::BAR2_BYTES,
        VFIO_PCI_CONFIG_REGION_INDEX => pci::CONFIG_BYTES as u32,
        _ => 0,
    };
    (0..VFIO_PCI_NUM_REGIONS)
        .map(|index| {
            let size = u64::from(size(index));
            let access = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
            ServerRegion {
                region_info: vfio_region_info {
                    argsz: std::mem::size_of::<vfio_region_info>() as u32,
                    flags: if size > 0 { access } else { 0 },
                    index,
                    cap_offset: 0,
                    size,
                    offset: 0,
                },
                sparse_areas: Vec::new(),
                mmap_fd: None,
            }
        })
        .collect()
}

fn interrupts() -> Vec<IrqInfo> {
    (0..VFIO_PCI_NUM_IRQS)
        .map(|index| {
            let count = if index == VFIO_PCI_MSIX_IRQ_INDEX {
                pci::VECTORS as u32
            } else {
                0
            };
            let flags = if count > 0 {
                VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE
            } else {
                0
            };
            IrqInfo { index, flags, count }
        })
        .collect()
}

impl Service {
    /// Starts a card with `start`, plugs its ports in and serves it at `path`.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn start(
        path: &Path,
        options: &Options,
        start: impl FnOnce(HostMemory) -> Result<PciCard, EngineError>,
    ) -> Result<Self, ServeError> {
        let socket = |source| ServeError::Socket {
            path: path.into(),
            source,
        };
        // First what fails at once, then the engine, which may take its time.
        remove_stale(path, SocketType::STREAM).map_err(socket)?;
        let log = match &options.tlp_log {
            Some(path) => {
                let file = File::create(path).map_err(|source| ServeError::Log {
                    path: path.clone(),
                    source,
                })?;
                Some(Box::new(io::BufWriter::new(file)) as Box<dyn Write + Send>)
            }
            None => None,
        };
        let memory = HostMemory::new();
        let card = start(memory.clone())?;
        let plug = |inlet: &pump::Inlet| {
            (0..PORTS as u8)
                .map(|number| {
                    let kind = options.ports.iter().find(|spec| spec.port == number);
                    let inlet = inlet.clone();
                    Port::plug(kind.map_or(&PortKind::None, |spec| &spec.kind), move |frame| {
                        inlet.send(pump::Event::Frame(number, frame.to_vec()))
                    })
                })
                .collect()
        };
        let pump = Pump::start(card, memory.clone(), plug, log).map_err(ServeError::Port)?;
        let listener = UnixListener::bind(path).map_err(socket)?;
        let (sender, ended) = channel();
        let inlet = pump.inlet();
        let abi_hash = options.abi_hash;
        std::thread::Builder::new()
            .name("vfio-user".into())
            .spawn(move || {
                let server = Server::from_owned_fd(OwnedFd::from(listener), true, interrupts(), regions());
                loop {
                    let mut backend = backend::Backend::new(inlet.clone(), memory.clone(), abi_hash);
                    // The crate panics on some malformed messages; that ends their sender's connection and no other.
                    let run = std::panic::catch_unwind(AssertUnwindSafe(|| server.run(&mut backend)));
                    backend.end();
                    match run {
                        Ok(Ok(())) => {}
                        Ok(Err(vfio_user::Error::SocketAccept(_))) => return,
                        Ok(Err(error)) => eprintln!("nat64-sim: the connection ended: {error}"),
                        Err(_) => eprintln!("nat64-sim: the connection ended: the client sent what is no message"),
                    }
                    if sender.send(()).is_err() {
                        return;
                    }
                }
            })
            .map_err(ServeError::Port)?;
        Ok(Self {
            path: path.into(),
            pump,
            ended,
        })
    }

    /// Waits until a client has gone, at most this long; whether one has.
    pub fn wait_for_end(&self, timeout: Duration) -> bool {
        self.ended.recv_timeout(timeout).is_ok()
    }

    /// What the card did so far; `None` when it has failed.
    pub fn stats(&self) -> Option<Stats> {
        self.pump.stats()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Nobody connects from here on; whoever removed it before us did us no harm.
        let _ = std::fs::remove_file(&self.path);
    }
}
