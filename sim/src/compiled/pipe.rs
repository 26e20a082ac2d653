//! A compiled engine's process and its pipes. A child that dies or stops answering is an error with what it wrote to
//! stderr, never a hang.

use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::engine::EngineError;

/// How long the child may take for one answer; a million clocks take a few seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes kept of what the child writes to stderr.
const STDERR_KEPT: u64 = 8 << 10;

/// Kills the child when an answer takes too long: the reader then sees the end of the pipe.
struct Watch {
    commands: Sender<bool>,
    thread: Option<JoinHandle<()>>,
    fired: Arc<Mutex<bool>>,
}

impl Watch {
    fn new(child: Arc<Mutex<Child>>) -> std::io::Result<Self> {
        let (commands, received) = channel::<bool>();
        let fired = Arc::new(Mutex::new(false));
        let flag = Arc::clone(&fired);
        let thread = std::thread::Builder::new().name("card-watch".into()).spawn(move || {
            // `true`: an answer is awaited from now on. `false`: it came.
            while let Ok(mut awaited) = received.recv() {
                while awaited {
                    match received.recv_timeout(PATIENCE) {
                        Ok(next) => awaited = next,
                        Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
                        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                            *flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
                            // When it cannot be killed it is already dead.
                            let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
                            return;
                        }
                    }
                }
            }
        })?;
        Ok(Self {
            commands,
            thread: Some(thread),
            fired,
        })
    }

    fn set(&self, awaited: bool) {
        // The watch thread ends by itself only after it fired.
        let _ = self.commands.send(awaited);
    }

    fn fired(&self) -> bool {
        *self.fired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module documentation.
pub struct Pipe {
    child: Arc<Mutex<Child>>,
    stdin: Option<BufWriter<ChildStdin>>,
    stdout: BufReader<ChildStdout>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    watch: Watch,
}

impl Pipe {
    /// Starts the program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path) -> Result<Self, EngineError> {
        let failed = |e: std::io::Error| EngineError::Child {
            what: format!("cannot be started ({}: {e})", program.display()),
            stderr: String::new(),
        };
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the program that owns the card: it has sums to tell. The end of standard input ends this one.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(EngineError::Child {
                what: "has no pipes".into(),
                stderr: String::new(),
            });
        };
        let stderr = std::thread::Builder::new()
            .name("card-stderr".into())
            .spawn(move || {
                let mut stderr = stderr;
                let mut kept = Vec::new();
                // What cannot be read any more is not needed; the rest is drained so that the child never blocks.
                let _ = stderr.by_ref().take(STDERR_KEPT).read_to_end(&mut kept);
                let _ = std::io::copy(&mut stderr, &mut std::io::sink());
                kept
            })
            .map_err(failed)?;
        let child = Arc::new(Mutex::new(child));
        let watch = Watch::new(Arc::clone(&child)).map_err(failed)?;
        Ok(Self {
            child,
            stdin: Some(BufWriter::with_capacity(1 << 16, stdin)),
            stdout: BufReader::with_capacity(1 << 16, stdout),
            stderr: Some(stderr),
            watch,
        })
    }

    /// Writes to the child, buffered.
    ///
    /// # Errors
    /// When it is gone; so with all methods.
    pub fn send(&mut self, parts: &[&[u8]]) -> Result<(), EngineError> {
        for part in parts {
            if self.stdin.as_mut().is_none_or(|s| s.write_all(part).is_err()) {
                return Err(self.gone());
            }
        }
        Ok(())
    }

    /// Sends what is buffered.
    pub fn flush(&mut self) -> Result<(), EngineError> {
        if self.stdin.as_mut().is_none_or(|s| s.flush().is_err()) {
            return Err(self.gone());
        }
        Ok(())
    }

    /// Reads so many bytes of an answer.
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], EngineError> {
        let mut raw = [0; N];
        match self.stdout.read_exact(&mut raw) {
            Ok(()) => Ok(raw),
            Err(_) => Err(self.gone()),
        }
    }

    /// Reads a little-endian number.
    pub fn u8(&mut self) -> Result<u8, EngineError> {
        Ok(self.take::<1>()?[0])
    }

    /// Reads a little-endian number.
    pub fn u16(&mut self) -> Result<u16, EngineError> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    /// Reads a little-endian number.
    pub fn u32(&mut self) -> Result<u32, EngineError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    /// Reads a little-endian number.
    pub fn u64(&mut self) -> Result<u64, EngineError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    /// Reads so many bytes of an answer.
    pub fn bytes(&mut self, length: usize) -> Result<Vec<u8>, EngineError> {
        let mut bytes = vec![0; length];
        match self.stdout.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(_) => Err(self.gone()),
        }
    }

    /// An answer is awaited from now on; or it came.
    pub fn await_answer(&self, awaited: bool) {
        self.watch.set(awaited);
    }

    /// Process id of the child.
    pub fn id(&self) -> u32 {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).id()
    }

    /// The child said something that nobody knows: it is killed.
    pub fn nonsense(&mut self, op: u8) -> EngineError {
        // Nothing that follows could be trusted.
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        let mut error = self.gone();
        if let EngineError::Child { what, .. } = &mut error {
            *what = format!("answered with an unknown record {op:#04x}");
        }
        error
    }

    /// The child closed its pipes: says why.
    pub fn gone(&mut self) -> EngineError {
        self.stdin = None;
        let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        let stderr = self.stderr.take().and_then(|t| t.join().ok()).unwrap_or_default();
        let what = if self.watch.fired() {
            format!("did not answer within {} s", PATIENCE.as_secs())
        } else {
            match status {
                Ok(status) => format!("ended unexpectedly ({status})"),
                Err(e) => format!("cannot be waited for ({e})"),
            }
        };
        EngineError::Child {
            what,
            stderr: String::from_utf8_lossy(&stderr).trim().to_string(),
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.stdin = None;
        {
            let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
            // Both fail only when it ended before.
            let _ = child.kill();
            let _ = child.wait();
        }
        let (closed, _) = channel();
        self.watch.commands = closed;
        if let Some(thread) = self.watch.thread.take() {
            let _ = thread.join();
        }
    }
}
