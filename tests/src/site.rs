//! A place to operate a gateway: namespaces of its own, `nat64d` on a simulated card in it, its socket.
//!
//! ```text
//!   namespaces (mount, network) held by one process that sleeps
//!     nat64d --card sim --> nat64-sim serve --> TAP interfaces, moved to `client` and `server` by `ip netns`
//!     /run is a tmpfs of its own: names of `ip netns` are nobody else's
//! ```
//!
//! Everything ends with it, by whatever way the test ends: the sleeping process is told to die with its parent.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::program;

/// How long a daemon and its simulated card may take to be there.
const START: Duration = Duration::from_secs(120);

/// A child that ends with this.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// See the module documentation.
pub struct Site {
    // Fields are dropped in this order: the daemon before what it stands in.
    daemon: Option<Ended>,
    holder: Ended,
    /// Namespaces were made by an ordinary user, as root of a user namespace.
    mapped: bool,
    folder: tempfile::TempDir,
}

fn text(mut from: impl Read) -> String {
    let mut text = String::new();
    // Cut off it is as good for a message.
    let _ = from.read_to_string(&mut text);
    text
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// Namespaces and an empty folder; no daemon yet.
    ///
    /// # Panics
    /// Neither root nor an ordinary user may make namespaces here.
    pub fn new() -> Self {
        let hold = |extra: &[&str]| {
            let script = "mount -t tmpfs tmpfs /run && ip link set lo up && echo ready && exec sleep infinity";
            let mut child = Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "unshare"])
                .args(extra)
                .args(["--mount", "--net", "--", "sh", "-c", script])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("setpriv starts; it belongs to util-linux");
            let mut line = String::new();
            let out = child.stdout.as_mut().expect("a pipe");
            let _ = BufReader::new(out).read_line(&mut line);
            if line == "ready\n" {
                return Ok(Ended(child));
            }
            let _ = child.kill();
            let said = child.stderr.take().map_or(String::new(), text);
            let _ = child.wait();
            Err(said)
        };
        let (holder, mapped) = match hold(&[]) {
            Ok(holder) => (holder, false),
            Err(first) => match hold(&["--user", "--map-root-user"]) {
                Ok(holder) => (holder, true),
                Err(second) => panic!("no namespaces: as it is: {first}; in a user namespace: {second}"),
            },
        };
        Self {
            daemon: None,
            holder,
            mapped,
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Folder of the daemon's files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.folder().join("control.sock")
    }

    /// A program that runs inside.
    pub fn inside(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "nsenter"]);
        command.args(["--target", &self.holder.0.id().to_string(), "--mount", "--net"]);
        if self.mapped {
            command.args(["--user", "--preserve-credentials"]);
        }
        // Without it the way into another mount namespace ends in its root.
        command.arg(format!("--wd={}", program::workspace().display()));
        command.arg("--").arg(program);
        command
    }

    /// Runs a shell script inside; gives what it printed.
    ///
    /// # Panics
    /// It fails.
    pub fn script(&self, script: &str) -> String {
        program::output(self.inside(Path::new("sh")).args(["-ec", script]).stdin(Stdio::null()))
    }

    /// Starts `nat64d` with these arguments, and `--folder` and `--run` of this place unless they are given, and waits for
    /// its socket. A daemon that runs already is ended first, as `kill -9` would.
    ///
    /// # Panics
    /// It ends, or does not come.
    pub fn start(&mut self, arguments: &[&str]) {
        self.daemon = None;
        program::nat64_sim();
        let daemon = PathBuf::from(program::nat64d().get_program());
        let log = self.folder().join("log");
        let file = std::fs::File::create(&log).expect("a file");
        let mut command = self.inside(&daemon);
        command.args(arguments);
        if !arguments.contains(&"--folder") {
            command.arg("--folder").arg(self.folder().join("config"));
        }
        if !arguments.contains(&"--run") {
            command.arg("--run").arg(self.folder());
        }
        let socket = self.socket();
        // What another one left; the wait is for the new one's.
        let _ = std::fs::remove_file(&socket);
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file"))
            .stderr(file)
            .spawn()
            .expect("nsenter starts; it belongs to util-linux");
        let mut child = Ended(child);
        let start = Instant::now();
        while !socket.exists() {
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            if let Ok(Some(status)) = child.0.try_wait() {
                panic!("nat64d ended: {status}\n{}", said());
            }
            assert!(start.elapsed() < START, "nat64d does not come\n{}", said());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.daemon = Some(child);
    }

    /// What the daemon logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// A call of `nat64ctl` on the daemon.
    pub fn ctl(&self) -> Command {
        let mut command = program::nat64ctl();
        command.arg("--socket").arg(self.socket()).env("TZ", "UTC");
        command
    }

    /// Ends the daemon as a service manager would, and says whether it ended well.
    ///
    /// # Panics
    /// There is none.
    pub fn stop(&mut self) -> bool {
        let mut daemon = self.daemon.take().expect("a daemon runs");
        let pid = daemon.0.id().to_string();
        program::output(Command::new("kill").args(["-TERM", &pid]));
        daemon.0.wait().is_ok_and(|status| status.success())
    }

    /// Waits until a command prints what is wanted; gives that.
    ///
    /// # Panics
    /// It does not within a minute.
    pub fn until(&self, command: &str, wanted: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let out = self.ctl().arg(command).output().expect("nat64ctl starts");
            let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
            if wanted(&said) {
                return said;
            }
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "`{command}` says\n{said}\nthe log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
