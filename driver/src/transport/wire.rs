//! vfio-user on the wire (protocol version 0.0, docs/interop/vfio-user of QEMU): messages over a UNIX socket, each with
//! a deadline.
//!
//! ```text
//!   header 16 bytes:  id u16 | command u16 | size u32 (header included) | flags u32 | error u32
//!   flags: bits 3:0 type (0 command, 1 reply), bit 4 no reply wanted, bit 5 error
//! ```
//!
//! Never trusted: sizes, counts, ids and types of the other side. Whatever is not the answer that was asked for ends
//! the connection with [`DeviceError::Backend`] or [`DeviceError::Timeout`]; from then on every call fails at once
//! ([`DeviceError::Disconnected`]), so a confused peer is never taken for a card.
//!
//! Posted writes ask for no reply. A server may answer them with an error all the same; those are kept and told by the
//! next call.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{recv, sendmsg, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::DeviceError;

/// Commands of the protocol that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Command {
    Version = 1,
    DmaMap = 2,
    DmaUnmap = 3,
    GetInfo = 4,
    GetRegionInfo = 5,
    GetIrqInfo = 7,
    SetIrqs = 8,
    RegionRead = 9,
    RegionWrite = 10,
    Reset = 13,
}

impl Command {
    /// What the command does, for errors.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Version => "vfio-user: agree on a version",
            Self::DmaMap => "vfio-user: map memory",
            Self::DmaUnmap => "vfio-user: unmap memory",
            Self::GetInfo => "vfio-user: ask about the device",
            Self::GetRegionInfo => "vfio-user: ask about a region",
            Self::GetIrqInfo => "vfio-user: ask about interrupts",
            Self::SetIrqs => "vfio-user: set up interrupts",
            Self::RegionRead => "vfio-user: read a region",
            Self::RegionWrite => "vfio-user: write a region",
            Self::Reset => "vfio-user: reset the device",
        }
    }
}

const HEADER: usize = 16;
const REPLY: u32 = 1;
const TYPE: u32 = 0xf;
const NO_REPLY: u32 = 1 << 4;
const ERROR: u32 = 1 << 5;
/// Longest message we take.
const MAX_MESSAGE: usize = 64 << 10;
/// Messages that are not the answer, read while one is waited for.
const MAX_STRAY: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Header {
    id: u16,
    command: u16,
    size: usize,
    flags: u32,
    error: u32,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..2].copy_from_slice(&self.id.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.command.to_le_bytes());
        bytes[4..8].copy_from_slice(&(self.size as u32).to_le_bytes());
        bytes[8..12].copy_from_slice(&self.flags.to_le_bytes());
        bytes[12..].copy_from_slice(&self.error.to_le_bytes());
        bytes
    }

    fn from_bytes(b: [u8; HEADER]) -> Self {
        let word = |at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        Self {
            id: word(0) as u16,
            command: (word(0) >> 16) as u16,
            size: word(4) as usize,
            flags: word(8),
            error: word(12),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    timeout: Duration,
    next_id: u16,
    /// Why nothing works any more.
    dead: Option<String>,
    /// A posted write was answered with this error.
    refused: Option<DeviceError>,
}

fn timespec(left: Duration) -> Timespec {
    Timespec {
        tv_sec: left.as_secs().min(i32::MAX as u64) as i64,
        tv_nsec: i64::from(left.subsec_nanos()),
    }
}

/// Waits until one of these is ready or the time is over; whether one is. Signals do not cut the wait short.
pub(super) fn poll_until(fds: &mut [PollFd<'_>], deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(fds, Some(&timespec(left))) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) => {}
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Connection {
    /// Connects; every message and its answer then have `timeout`.
    pub(super) fn open(path: &Path, timeout: Duration) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            timeout,
            next_id: 0,
            dead: None,
            refused: None,
        })
    }

    /// The socket, to notice its end.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Ends the connection for good.
    pub(super) fn fail(&mut self, operation: &'static str, reason: impl Into<String>) -> DeviceError {
        let reason = reason.into();
        self.dead = Some(reason.clone());
        // Nothing of what the other side still sends is of use, and it shall notice.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        DeviceError::Backend { operation, reason }
    }

    fn alive(&mut self) -> Result<(), DeviceError> {
        match &self.dead {
            Some(reason) => Err(DeviceError::Disconnected { reason: reason.clone() }),
            None => self.refused.take().map_or(Ok(()), Err),
        }
    }

    fn timed_out(&mut self, what: &'static str) -> DeviceError {
        let waited = self.timeout;
        self.fail(what, "no answer in time");
        DeviceError::Timeout { what, waited }
    }

    /// Sends a command without waiting for it to be done.
    pub(super) fn post(&mut self, command: Command, parts: &[&[u8]]) -> Result<(), DeviceError> {
        self.alive()?;
        self.send(command, NO_REPLY, parts, None)?;
        Ok(())
    }

    /// Sends a command and returns its answer, without the header: at least `least` bytes.
    pub(super) fn ask(
        &mut self,
        command: Command,
        parts: &[&[u8]],
        fd: Option<BorrowedFd<'_>>,
        least: usize,
    ) -> Result<Vec<u8>, DeviceError> {
        self.alive()?;
        let what = command.what();
        let deadline = Instant::now() + self.timeout;
        let id = self.send(command, 0, parts, fd)?;
        for _ in 0..MAX_STRAY {
            let (header, body) = self.receive(what, deadline)?;
            if header.flags & TYPE != REPLY {
                return Err(self.fail(
                    what,
                    format!("the server sent command {} instead of an answer", header.command),
                ));
            }
            let error = (header.flags & ERROR != 0).then(|| match header.error {
                0 => DeviceError::Backend {
                    operation: what,
                    reason: "the server refused and did not say why".into(),
                },
                code => DeviceError::Io {
                    operation: what,
                    source: io::Error::from_raw_os_error(code as i32),
                },
            });
            let mine = header.id == id && header.command == command as u16;
            match error {
                Some(error) if mine => return Err(error),
                Some(error) if header.command == Command::RegionWrite as u16 => {
                    self.refused.get_or_insert(error);
                }
                None if mine && body.len() >= least => return self.alive().map(|()| body),
                None if mine => {
                    let got = body.len();
                    return Err(self.fail(what, format!("an answer of {got} bytes where {least} are needed")));
                }
                _ => {
                    let (id, command) = (header.id, header.command);
                    return Err(self.fail(what, format!("an answer to command {command} number {id}, never sent")));
                }
            }
        }
        Err(self.fail(what, "thousands of messages and no answer"))
    }

    fn send(
        &mut self,
        command: Command,
        flags: u32,
        parts: &[&[u8]],
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<u16, DeviceError> {
        let what = command.what();
        self.next_id = self.next_id.wrapping_add(1);
        let header = Header {
            id: self.next_id,
            command: command as u16,
            size: HEADER + parts.iter().map(|p| p.len()).sum::<usize>(),
            flags,
            error: 0,
        };
        let mut message = Vec::with_capacity(header.size);
        message.extend_from_slice(&header.to_bytes());
        parts.iter().for_each(|part| message.extend_from_slice(part));
        let deadline = Instant::now() + self.timeout;
        let mut at = 0;
        while at < message.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let fds = fd.filter(|_| at == 0).map(|fd| [fd]);
            if let Some(fds) = &fds {
                control.push(SendAncillaryMessage::ScmRights(fds));
            }
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match sendmsg(&self.stream, &[IoSlice::new(&message[at..])], &mut control, flags) {
                Ok(sent) => at += sent,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    // The server may wait for us to take its error answers to posted writes before it reads on.
                    let mut ready = [PollFd::new(&self.stream, PollFlags::OUT | PollFlags::IN)];
                    match poll_until(&mut ready, deadline) {
                        Ok(true) => {}
                        Ok(false) => return Err(self.timed_out(what)),
                        Err(error) => return Err(self.fail(what, error.to_string())),
                    }
                    if ready[0].revents().contains(PollFlags::IN) {
                        self.take_stray(what, deadline)?;
                    }
                }
                Err(error) => {
                    self.fail(what, io::Error::from(error).to_string());
                    return Err(DeviceError::Disconnected {
                        reason: io::Error::from(error).to_string(),
                    });
                }
            }
        }
        Ok(header.id)
    }

    /// Reads a message nobody waits for: only a refused posted write may be one.
    fn take_stray(&mut self, what: &'static str, deadline: Instant) -> Result<(), DeviceError> {
        let (header, _) = self.receive(what, deadline)?;
        if header.flags & (TYPE | ERROR) != REPLY | ERROR || header.command != Command::RegionWrite as u16 {
            return Err(self.fail(what, format!("an answer to command {}, never sent", header.command)));
        }
        self.refused.get_or_insert(DeviceError::Backend {
            operation: Command::RegionWrite.what(),
            reason: "the server refused a posted write".into(),
        });
        Ok(())
    }

    fn receive(&mut self, what: &'static str, deadline: Instant) -> Result<(Header, Vec<u8>), DeviceError> {
        let mut bytes = [0; HEADER];
        self.read_exact(what, &mut bytes, deadline)?;
        let header = Header::from_bytes(bytes);
        if header.size < HEADER || header.size > HEADER + MAX_MESSAGE {
            return Err(self.fail(what, format!("a message of {} bytes", header.size)));
        }
        let mut body = vec![0; header.size - HEADER];
        self.read_exact(what, &mut body, deadline)?;
        Ok((header, body))
    }

    fn read_exact(&mut self, what: &'static str, out: &mut [u8], deadline: Instant) -> Result<(), DeviceError> {
        let mut at = 0;
        while at < out.len() {
            // File descriptors that come along are closed by the kernel: plain `recv` has no place for them.
            match recv(&self.stream, &mut out[at..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => {
                    let reason = "the server closed the connection".to_string();
                    self.fail(what, reason.clone());
                    return Err(DeviceError::Disconnected { reason });
                }
                Ok((_, n)) => at += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => match poll_until(&mut [PollFd::new(&self.stream, PollFlags::IN)], deadline) {
                    Ok(true) => {}
                    Ok(false) => return Err(self.timed_out(what)),
                    Err(error) => return Err(self.fail(what, error.to_string())),
                },
                Err(error) => {
                    let reason = io::Error::from(error).to_string();
                    self.fail(what, reason.clone());
                    return Err(DeviceError::Disconnected { reason });
                }
            }
        }
        Ok(())
    }
}
