//! A port of the software card: an interface of this machine, or a device of our own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

pub use crate::config::Link;

use super::sys::{self, Interface, Received, Ring, Tap};

/// Frames taken from a port at a time.
pub const BATCH: usize = 64;

/// One worker's access to a port.
#[derive(Debug)]
pub enum Port {
    /// A packet socket.
    Ring(Ring),
    /// A TAP device, or one queue of it.
    Tap(Tap),
}

impl Port {
    /// Opens a port for one of `workers`. `group` is a number that only this card uses, `slots` the frames its receive
    /// ring holds.
    ///
    /// # Errors
    /// There is no such interface, or no right to open it.
    pub fn open(link: &Link, slots: usize, workers: usize, group: u16) -> io::Result<Self> {
        match link {
            Link::Interface(name) => {
                let interface = Interface::find(name)?;
                Ok(Self::Ring(Ring::open(
                    &interface,
                    slots,
                    (workers > 1).then_some(group),
                )?))
            }
            Link::Tap(name) => Ok(Self::Tap(Tap::open(name, true, workers > 1, true)?)),
        }
    }

    /// Looks for frames; returns how many can be taken, at most [`BATCH`].
    ///
    /// # Errors
    /// The device is gone.
    pub fn fill(&mut self) -> io::Result<usize> {
        match self {
            Self::Ring(ring) => Ok(ring.ready(BATCH)),
            Self::Tap(tap) => tap.fill(),
        }
    }

    /// Frame `index` of those.
    pub fn frame(&self, index: usize) -> Option<Received<'_>> {
        match self {
            Self::Ring(ring) => ring.frame(index),
            Self::Tap(tap) => tap.frame(index),
        }
    }

    /// Gives the first `count` frames back.
    pub fn release(&mut self, count: usize) {
        if let Self::Ring(ring) = self {
            ring.release(count);
        }
    }

    /// Frames the kernel lost since the last call because the ring was full.
    pub fn lost(&self) -> u64 {
        match self {
            Self::Ring(ring) => ring.lost(),
            Self::Tap(_) => 0,
        }
    }

    /// Sends frames, each in three parts that begin with the vnet header. Adds the numbers of those that were refused.
    pub fn send(&self, frames: &[[&[u8]; 3]], refused: &mut Vec<usize>) {
        match self {
            Self::Ring(ring) => sys::send(ring.as_fd(), frames, refused),
            Self::Tap(tap) => {
                let gone = |(_, frame): &(usize, &[&[u8]; 3])| !sys::write(tap.as_fd(), frame);
                refused.extend(frames.iter().enumerate().filter(gone).map(|(i, _)| i));
            }
        }
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Ring(ring) => ring.as_fd(),
            Self::Tap(tap) => tap.as_fd(),
        }
    }
}
