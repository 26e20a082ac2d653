//! The lab: a real client and a real server, with the gateway between them.
//!
//! ```text
//!   namespace `client`          namespace of the lab              namespace `server`
//!   2001:db8::c6/96 --eth0-- port 0 [ card, driver ] port 1 --eth0-- 192.0.2.80/24
//!   64:ff9b::/96 by port 0                                           203.0.113.0/24 on link
//!
//!   with a narrow link:  client --1500-- `far6` --MTU-- `router6` --1500-- port 0
//!                        port 1 --1500-- `router4` --MTU-- `far4` --1500-- server
//! ```
//!
//! The program starts itself again in namespaces of its own (mount, network, process numbers), so that nothing it makes
//! can outlive it: when it ends, by whatever signal, the kernel takes all of it away. `ip netns` names live in a mount
//! that only the lab sees. The first one stays outside and waits: Ctrl-C is for those inside, SIGTERM and SIGHUP end
//! everything at once.

mod card;
mod daemon;
mod net;

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use nix::sys::signal::{kill, SigSet, Signal};
use nix::unistd::Pid;

use crate::failure::Failure;
use net::Network;

/// Set in the environment of the program when it runs inside its namespaces.
const INSIDE: &str = "NAT64_LAB";
/// The client's address.
pub const CLIENT: &str = "2001:db8::c6";
/// The server's address, and what the client calls it.
pub const SERVER: (&str, &str) = ("192.0.2.80", "64:ff9b::192.0.2.80");

/// What carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabEngine {
    /// The RustHDL core in its own simulator.
    Rtl,
    /// The exported Verilog, compiled.
    Compiled,
    /// The software card.
    Soft {
        /// Worker threads.
        workers: usize,
        /// On TAP devices, in place of veth pairs.
        tap: bool,
    },
}

/// What the lab is to be.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// What carries the packets.
    pub engine: LabEngine,
    /// `nat64d` owns the card, and `nat64ctl` speaks with it from every namespace; otherwise the card is in this program.
    pub daemon: bool,
    /// Configuration; the worked example unless given.
    pub config: Option<PathBuf>,
    /// Seed of everything random.
    pub seed: u64,
    /// MTU of a narrow link between client and gateway, between two routers.
    pub client_link_mtu: Option<u16>,
    /// MTU of a narrow link between gateway and server, between two routers.
    pub server_link_mtu: Option<u16>,
    /// Commands for the server's namespace, started first and ended at the end.
    pub server: Vec<String>,
    /// Directory for captures of both sides.
    pub capture: Option<PathBuf>,
    /// Waves of a packet in the RustHDL core.
    pub waves: Option<std::sync::Arc<crate::waves::Waves>>,
    /// No summary at the end.
    pub quiet: bool,
    /// Command for the client's namespace; a shell when empty.
    pub command: Vec<String>,
}

/// What can go wrong, beside what a device can.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A program is missing.
    #[error("{program} is missing: {hint}")]
    Program {
        /// Its name.
        program: &'static str,
        /// Where to get it.
        hint: &'static str,
    },
    /// No right to make namespaces.
    #[error(
        "the lab needs root, or user namespaces for ordinary users; here neither works: {0}\n\
         (as root, or with `sysctl kernel.unprivileged_userns_clone=1`, or without \
         `kernel.apparmor_restrict_unprivileged_userns`)"
    )]
    Rights(String),
    /// The daemon ended before it was ready, or refused the configuration.
    #[error("{what}: {said}")]
    Daemon {
        /// What was tried.
        what: String,
        /// What the program wrote.
        said: String,
    },
    /// A command that builds the network failed.
    #[error("`{command}` failed: {said}")]
    Step {
        /// The command.
        command: String,
        /// What it wrote to standard error.
        said: String,
    },
    /// A device cannot be made.
    #[error("cannot make the TAP device {name}: {source}")]
    Tap {
        /// Its name.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// The software card cannot be started, or stopped by itself.
    #[error(transparent)]
    Soft(#[from] nat64_host::soft::card::SoftError),
    /// The command cannot be run.
    #[error("cannot run {command}: {source}")]
    Run {
        /// The command.
        command: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Builds the lab and runs the command; returns how that ended: its exit code, 128 and the signal's number when a
/// signal ended it.
///
/// # Errors
/// [`Failure::Lab`] and what devices can fail with.
pub fn run(options: &LabOptions) -> Result<u8, Failure> {
    if std::env::var_os(INSIDE).is_none() {
        return Ok(code(enter()?));
    }
    // One that ends the command must not end the lab before it has told its sums.
    let _ = crate::cli::interrupted();
    let network = Network::build(options)?;
    let card = card::Running::start(options, network)?;
    net::address(options)?;
    let mut servers = Vec::new();
    for command in &options.server {
        servers.push(spawn(
            "server",
            &["sh".into(), "-c".into(), command.clone()],
            Stdio::null(),
        )?);
    }
    let result = if options.command.is_empty() {
        shell(options.daemon)
    } else {
        spawn("client", &options.command, Stdio::inherit()).and_then(|mut child| {
            child.wait().map_err(|source| LabError::Run {
                command: options.command.join(" "),
                source,
            })
        })
    };
    for mut server in servers {
        // One that has ended already is no matter.
        let _ = server.kill();
        let _ = server.wait();
    }
    let summary = card.stop()?;
    if !options.quiet {
        eprint!("{summary}");
    }
    Ok(code(result?))
}

fn code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128 + signal as u8,
        (None, None) => 1,
    }
}

/// A command in one of the namespaces.
fn spawn(namespace: &str, command: &[String], input: Stdio) -> Result<std::process::Child, LabError> {
    Command::new("ip")
        .args(["netns", "exec", namespace])
        .args(command)
        .env("SERVER", SERVER.1)
        .env("SERVER4", SERVER.0)
        .env("PATH", daemon::search_path())
        .env_remove(INSIDE)
        .stdin(input)
        .spawn()
        .map_err(|source| LabError::Run {
            command: command.join(" "),
            source,
        })
}

fn shell(daemon: bool) -> Result<ExitStatus, LabError> {
    eprintln!(
        "You are the client ({CLIENT}); the server {} is {} here ($SERVER).\n\
         `ip netns exec server COMMAND` runs something there. Leave with `exit`.",
        SERVER.0, SERVER.1
    );
    if daemon {
        eprintln!("`nat64ctl` looks at the gateway and configures it.");
    }
    let shell = ["bash", "--norc", "-i"].map(String::from);
    let mut child = Command::new("ip")
        .args(["netns", "exec", "client"])
        .args(&shell)
        .env("SERVER", SERVER.1)
        .env("SERVER4", SERVER.0)
        .env("PATH", daemon::search_path())
        .env("PS1", "nat64 client \\w \\$ ")
        .env_remove(INSIDE)
        .spawn()
        .map_err(|source| LabError::Run {
            command: shell.join(" "),
            source,
        })?;
    child.wait().map_err(|source| LabError::Run {
        command: shell.join(" "),
        source,
    })
}

/// Starts the program again inside its own namespaces and waits for its end.
fn enter() -> Result<ExitStatus, LabError> {
    let program = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/sbin".into(), "/usr/sbin".into()])
            .any(|folder| folder.join(name).is_file())
    };
    for (name, hint) in [
        ("setpriv", "it belongs to util-linux"),
        ("unshare", "it belongs to util-linux"),
        ("mount", "it belongs to util-linux"),
        ("ip", "`cargo xtask setup`, or Debian package iproute2"),
    ] {
        if !program(name) {
            return Err(LabError::Program { program: name, hint });
        }
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        return Err(LabError::Rights("there is no /dev/net/tun (kernel module tun)".into()));
    }
    let own = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let attempt = |extra: &[&str]| {
        Command::new("unshare")
            .args(extra)
            .args(own)
            .args(["--", "mount", "-t", "tmpfs", "tmpfs", "/run"])
            .output()
    };
    let mut extra: &[&str] = &[];
    let mut tried = attempt(extra);
    if !matches!(&tried, Ok(out) if out.status.success()) {
        extra = &["--user", "--map-root-user"];
        tried = attempt(extra);
    }
    match tried {
        Ok(out) if out.status.success() => {}
        Ok(out) => {
            return Err(LabError::Rights(
                String::from_utf8_lossy(&out.stderr).trim().to_string(),
            ))
        }
        Err(source) => return Err(LabError::Rights(source.to_string())),
    }
    let failed = |source| LabError::Run {
        command: "unshare".into(),
        source,
    };
    // Before there is another thread: each one leaves these to the one that waits for them. `unshare` would leave SIGTERM
    // pending until its child has ended, and Ctrl-C is for those inside.
    let awaited: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    awaited.thread_block().map_err(|errno| failed(errno.into()))?;
    // When this process is killed, `unshare` goes with it, and all the others with that.
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(extra)
        .args(own)
        .arg("--")
        .arg(std::env::current_exe().map_err(failed)?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .spawn()
        .map_err(failed)?;
    let process = Pid::from_raw(child.id() as i32);
    // Ends with the process.
    std::thread::spawn(move || {
        while let Ok(signal) = awaited.wait() {
            if signal != Signal::SIGINT {
                ENDED_BY.store(signal as u8, Ordering::Relaxed);
                // It may have ended by itself just now.
                let _ = kill(process, Signal::SIGKILL);
            }
        }
    });
    let status = child.wait().map_err(failed)?;
    Ok(match ENDED_BY.load(Ordering::Relaxed) {
        0 => status,
        signal => ExitStatus::from_raw(i32::from(signal)),
    })
}

/// The signal that the program outside of the namespaces was told to end by; 0 for none.
static ENDED_BY: AtomicU8 = AtomicU8::new(0);
