//! A service manager for one service, as sd_notify(3) and sd_listen_fds(3) describe it: it hears READY, keeps the
//! descriptors it is sent with FDSTORE, and passes them to the next process.

use std::fs::File;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::{fail, until, Failed};

/// Where the service tells its state.
const SOCKET: &str = "/run/notify";
/// What the service writes.
pub const LOG: &str = "/run/nat64d.log";
/// First descriptor that is passed (SD_LISTEN_FDS_START).
const FIRST: i32 = 3;

#[derive(Default)]
struct Heard {
    ready: bool,
    store: Vec<(String, OwnedFd)>,
}

/// The service and what it told.
pub struct Service {
    heard: Arc<Mutex<Heard>>,
    child: Option<Child>,
    program: &'static str,
    arguments: Vec<String>,
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One message of the service.
fn receive(socket: &UnixDatagram) -> rustix::io::Result<(String, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; 4096];
    let message = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut text)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = part {
            fds.extend(passed);
        }
    }
    Ok((String::from_utf8_lossy(&text[..message.bytes]).into_owned(), fds))
}

fn hear(heard: &Mutex<Heard>, text: &str, fds: Vec<OwnedFd>) {
    let mut heard = lock(heard);
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let name = field("FDNAME").unwrap_or("stored").to_owned();
    heard.ready |= field("READY") == Some("1");
    if field("FDSTOREREMOVE") == Some("1") {
        heard.store.retain(|(known, _)| *known != name);
    }
    if field("FDSTORE") == Some("1") {
        heard.store.extend(fds.into_iter().map(|fd| (name.clone(), fd)));
    }
}

impl Service {
    /// A service that is not started yet.
    pub fn new(program: &'static str, arguments: Vec<String>) -> Result<Self, Failed> {
        let socket = UnixDatagram::bind(SOCKET)?;
        let heard: Arc<Mutex<Heard>> = Arc::default();
        let hearing = heard.clone();
        std::thread::spawn(move || {
            while let Ok((text, fds)) = receive(&socket) {
                hear(&hearing, &text, fds);
            }
        });
        Ok(Self {
            heard,
            child: None,
            program,
            arguments,
        })
    }

    /// Starts the service, with what is in the store, and waits until it is ready.
    pub fn start(&mut self) -> Result<String, Failed> {
        let mut heard = lock(&self.heard);
        heard.ready = false;
        let log = File::options().create(true).append(true).open(LOG)?;
        // Only the process itself knows its number before it is the service.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\"", self.program]);
        command.args(&self.arguments).env("NOTIFY_SOCKET", SOCKET);
        let names: Vec<&str> = heard.store.iter().map(|(name, _)| &name[..]).collect();
        if !names.is_empty() {
            command.env("LISTEN_FDS", names.len().to_string());
            command.env("LISTEN_FDNAMES", names.join(":"));
        }
        let mut mappings = Vec::new();
        for ((_, fd), child_fd) in heard.store.iter().zip(FIRST..) {
            let parent_fd = fd.try_clone()?;
            mappings.push(FdMapping { parent_fd, child_fd });
        }
        let passed = mappings.len();
        command
            .fd_mappings(mappings)
            .map_err(|error| Failed(error.to_string()))?;
        drop(heard);
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        let (_, took) = until("READY of nat64d", || {
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                return fail(format!("nat64d ended with {status}"));
            }
            Ok(match lock(&self.heard).ready {
                true => Ok(()),
                false => Err(tail()),
            })
        })?;
        Ok(format!("ready in {took:.1?}, {passed} descriptors passed to it"))
    }

    /// Ends the service; what it stored stays.
    pub fn end(&mut self, signal: Signal) -> Result<(), Failed> {
        let Some(mut child) = self.child.take() else {
            return fail("it does not run");
        };
        kill(Pid::from_raw(child.id() as i32), signal)?;
        child.wait()?;
        Ok(())
    }

    /// How many descriptors are in the store.
    pub fn stored(&self) -> usize {
        lock(&self.heard).store.len()
    }

    /// Empties the store, as when a service is stopped and not started again.
    pub fn empty(&self) {
        lock(&self.heard).store.clear();
    }
}

/// The end of what the service wrote.
pub fn tail() -> String {
    let text = std::fs::read_to_string(Path::new(LOG)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(6).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}
