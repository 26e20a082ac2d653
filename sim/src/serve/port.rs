//! What a port of the served card is plugged into: a TAP interface, a UNIX socket, or nothing.
//!
//! ```text
//!   TAP    frames of a network interface of this machine (needs CAP_NET_ADMIN)
//!   UNIX   a SOCK_SEQPACKET socket at a path: one packet is one frame, no FCS; one peer at a time, the next may come
//!   none   frames out are dropped and counted
//! ```
//!
//! Each port has a thread that reads frames and hands them to the card. A peer that does not take frames loses them, as a
//! cable would; the port counts those.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nat64_layout::MIN_FRAME;
use rustix::net::{
    accept_with, bind, listen, recv, send, socket_with, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::engine::MAX_RX;
use crate::SIDES;

/// What one port is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// A TAP interface of this name; made when it is not there.
    Tap(String),
    /// A listening UNIX socket.
    Unix(PathBuf),
    /// Nothing.
    None,
}

/// A port and what it is plugged into, as on the command line: `inside=tap:nat64-in`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// Port number.
    pub port: u8,
    /// What it is plugged into.
    pub kind: PortKind,
}

impl FromStr for PortSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (side, what) = text
            .split_once('=')
            .ok_or("expected SIDE=tap:NAME, SIDE=unix:PATH or SIDE=none")?;
        let port = SIDES.iter().position(|name| *name == side);
        let port = port.ok_or_else(|| format!("no side {side:?}; there are {}", SIDES.join(" and ")))? as u8;
        let kind = match what.split_once(':') {
            // IFNAMSIZ with its zero.
            Some(("tap", name)) if !name.is_empty() && name.len() < 16 => PortKind::Tap(name.into()),
            Some(("tap", _)) => return Err("a TAP interface has a name of 1 to 15 characters".into()),
            Some(("unix", path)) if !path.is_empty() => PortKind::Unix(path.into()),
            None if what == "none" => PortKind::None,
            _ => return Err(format!("{what:?} is none of tap:NAME, unix:PATH and none")),
        };
        Ok(Self { port, kind })
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = SIDES[usize::from(self.port) % SIDES.len()];
        match &self.kind {
            PortKind::Tap(name) => write!(f, "{side}=tap:{name}"),
            PortKind::Unix(path) => write!(f, "{side}=unix:{}", path.display()),
            PortKind::None => write!(f, "{side}=none"),
        }
    }
}

enum Plug {
    Tap(Arc<SyncDevice>),
    Unix(Arc<Mutex<Option<OwnedFd>>>),
    None,
}

/// A port, plugged in. Its reading thread ends with the process.
pub struct Port {
    plug: Plug,
    lost: Arc<AtomicU64>,
}

fn context(what: String) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// A listening socket; what an earlier server left at the path is removed, what is no socket is not.
fn listener(path: &Path) -> io::Result<OwnedFd> {
    super::remove_stale(path, SocketType::SEQPACKET)?;
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, 4)?;
    Ok(socket)
}

impl Port {
    /// Plugs a port in; frames that arrive go to `frames`, which says whether the card still takes any.
    ///
    /// # Errors
    /// That there is no such interface and it cannot be made, or the socket cannot be had.
    pub fn plug(kind: &PortKind, mut frames: impl FnMut(&[u8]) -> bool + Send + 'static) -> io::Result<Self> {
        let lost = Arc::new(AtomicU64::new(0));
        let plug = match kind {
            PortKind::None => Plug::None,
            PortKind::Tap(name) => {
                let builder = DeviceBuilder::new().name(name).layer(Layer::L2).mtu(1500);
                let device = builder.build_sync().map_err(context(format!(
                    "cannot make the TAP interface {name} (that needs root or CAP_NET_ADMIN, and /dev/net/tun)"
                )))?;
                let device = Arc::new(device);
                let reader = device.clone();
                spawn(move || {
                    let mut frame = vec![0; MAX_RX];
                    loop {
                        match reader.recv(&mut frame) {
                            Ok(length) if !frames(&frame[..length]) => return,
                            Ok(_) => {}
                            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                            Err(_) => return,
                        }
                    }
                })?;
                Plug::Tap(device)
            }
            PortKind::Unix(path) => {
                let socket = listener(path).map_err(context(path.display().to_string()))?;
                let peer = Arc::new(Mutex::new(None));
                let current = peer.clone();
                spawn(move || {
                    let mut frame = vec![0; MAX_RX];
                    while let Ok(connection) = accept_with(&socket, SocketFlags::CLOEXEC) {
                        let Ok(writer) = connection.try_clone() else { continue };
                        *current.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
                        // A packet of no bytes is the end of the peer too.
                        while let Ok((_, length @ 1..)) = recv(&connection, &mut frame[..], RecvFlags::empty()) {
                            if !frames(&frame[..length.min(MAX_RX)]) {
                                return;
                            }
                        }
                        *current.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    }
                })?;
                Plug::Unix(peer)
            }
        };
        Ok(Self { plug, lost })
    }

    /// Sends a frame that left the card, padded as a MAC does.
    pub fn send(&self, frame: &[u8]) {
        let mut padded;
        let frame = if frame.len() < MIN_FRAME {
            padded = frame.to_vec();
            padded.resize(MIN_FRAME, 0);
            &padded
        } else {
            frame
        };
        let sent = match &self.plug {
            Plug::Tap(device) => device.send(frame).is_ok(),
            Plug::Unix(peer) => {
                let peer = peer.lock().unwrap_or_else(PoisonError::into_inner);
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                peer.as_ref().is_some_and(|fd| send(fd.as_fd(), frame, flags).is_ok())
            }
            Plug::None => false,
        };
        if !sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Frames that left the card and that nobody took.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

fn spawn(body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name("port".into()).spawn(body).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_and_read() {
        for text in ["inside=tap:nat64-in", "outside=unix:/tmp/out.sock", "inside=none"] {
            let spec: PortSpec = text.parse().expect(text);
            assert_eq!(spec.to_string(), text);
        }
        for text in [
            "inside",
            "left=none",
            "inside=tap:",
            "inside=tap:a-name-too-long-x",
            "outside=unix:",
            "inside=eth0",
        ] {
            assert!(text.parse::<PortSpec>().is_err(), "{text}");
        }
    }
}
