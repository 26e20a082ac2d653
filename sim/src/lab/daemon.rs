//! The gateway of the lab as an operator has it: `nat64d` with its card, configured by `nat64ctl`.
//!
//! `/run` belongs to the lab alone, so the daemon's socket is where every `nat64ctl` looks for it, in all namespaces.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::net::PORTS;
use super::{LabEngine, LabError};

/// Configuration and log of the daemon; gone with the lab.
const FOLDER: &str = "/run/nat64-lab";
/// Between two looks for the daemon's answer.
const LOOK: Duration = Duration::from_millis(50);
/// How long the daemon may take until it answers. The compiled engine is built on the way when it is not there yet.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long it may take to end when it is told to.
const END: Duration = Duration::from_secs(10);

/// Directories of programs, that of this program first.
pub fn search_path() -> OsString {
    let own = std::env::current_exe().ok();
    let own = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all: Vec<PathBuf> = own.into_iter().chain(std::env::split_paths(&path)).collect();
    // None of them has a colon in it: they come out of such a list, but for the first.
    std::env::join_paths(all).unwrap_or(path)
}

fn program(name: &'static str) -> Result<PathBuf, LabError> {
    let found = std::env::split_paths(&search_path())
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.ok_or(LabError::Program {
        program: name,
        hint: "`cargo build -p nat64-host` puts it beside this program",
    })
}

/// A daemon that runs.
pub struct Daemon {
    child: Child,
    ctl: PathBuf,
}

impl Daemon {
    /// Starts it with a card of this kind and commits a configuration.
    pub fn start(engine: LabEngine, config: &Path) -> Result<Self, LabError> {
        let (daemon, ctl) = (program("nat64d")?, program("nat64ctl")?);
        let failed = |what: &str| {
            let what = what.to_string();
            move |source: std::io::Error| LabError::Daemon {
                what,
                said: source.to_string(),
            }
        };
        std::fs::create_dir_all(FOLDER).map_err(failed(FOLDER))?;
        let log = std::fs::File::create(format!("{FOLDER}/log")).map_err(failed("its log"))?;
        let mut command = Command::new(&daemon);
        // The rights of the lab are those of its namespaces.
        command.args(["--keep-privileges", "--folder", FOLDER]);
        match engine {
            LabEngine::Soft { workers, tap } => {
                let ports = PORTS.map(|port| if tap { format!("tap:{port}") } else { port.to_string() });
                command.args(["--card", &format!("soft:{}", ports.join(","))]);
                command.args(["--workers", &workers.to_string()]);
            }
            LabEngine::Rtl | LabEngine::Compiled => {
                let rtl = engine == LabEngine::Rtl;
                command.args(["--card", if rtl { "sim:rtl" } else { "sim:rtl-compiled" }]);
                for port in PORTS {
                    command.args(["--sim-port", &format!("{port}=tap:{port}")]);
                }
            }
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed("its log"))?)
            .stderr(log)
            // Ctrl-C is for the client's command; the daemon is asked for its sums after that.
            .process_group(0)
            .spawn()
            .map_err(failed("nat64d"))?;
        let mut running = Self { child, ctl };
        running.ready()?;
        let path = config.display();
        running.ctl(&format!("configure; load override {path}; commit comment lab and-quit"))?;
        Ok(running)
    }

    /// Waits for its socket.
    fn ready(&mut self) -> Result<(), LabError> {
        let started = Instant::now();
        loop {
            let ended = self.child.try_wait();
            match self.ctl("show version") {
                Ok(_) => return Ok(()),
                Err(_) if matches!(ended, Ok(None)) && started.elapsed() < PATIENCE => std::thread::sleep(LOOK),
                Err(_) => {
                    return Err(LabError::Daemon {
                        what: "nat64d did not start".into(),
                        said: std::fs::read_to_string(format!("{FOLDER}/log")).unwrap_or_default(),
                    })
                }
            }
        }
    }

    /// Some commands; what they answer.
    fn ctl(&self, commands: &str) -> Result<String, LabError> {
        let out = Command::new(&self.ctl).args(["-c", commands]).output();
        let failed = |said: String| LabError::Daemon {
            what: format!("nat64ctl -c '{commands}'"),
            said,
        };
        match out {
            Ok(out) if out.status.success() => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
            Ok(out) => Err(failed(
                String::from_utf8_lossy(&[out.stdout, out.stderr].concat())
                    .trim()
                    .into(),
            )),
            Err(source) => Err(failed(source.to_string())),
        }
    }

    /// Tells what it did, and stops it.
    pub fn stop(mut self) -> Result<String, LabError> {
        let summary = self.ctl("show services sessions count; show drops")?;
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        );
        let told = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && told.elapsed() < END {
            std::thread::sleep(LOOK);
        }
        Ok(summary)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended already is no matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
