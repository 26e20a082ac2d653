//! Namespaces for tests with real clients and servers: an IPv6-only client, an IPv4-only server, and the gateway's two
//! links between them. Everything goes when the value does. Needs root, or the right to make user namespaces.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Address of the client.
pub const CLIENT: &str = "2001:db8::64";
/// The server as the client sees it, under the translation prefix of the worked example.
pub const SERVER: &str = "64:ff9b::192.0.2.80";
/// The link-local address of the gateway's port 0.
const GATEWAY: &str = "fe80::4e:36ff:fe34:0";

/// The gateway's links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// `inside` and `outside` are ends of veth pairs.
    Veth,
    /// They are made by the gateway.
    Tap,
}

/// See the module documentation.
pub struct Network {
    holder: Child,
    enter: Vec<String>,
}

fn unshare(extra: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(extra)
        .args(["--mount", "--net", "--", "sh", "-c"])
        // It ends with its standard input, that is with the test.
        .arg("mount -t tmpfs tmpfs /run && ip link set lo up && echo ready && exec cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Network {
    /// Makes the namespaces; links that the gateway makes come with [`Network::address`].
    pub fn new(links: Links) -> Self {
        let mut said = String::new();
        for (extra, enter) in [
            (&[][..], &[][..]),
            (&["--user", "--map-root-user"], &["-U", "--preserve-credentials"]),
        ] {
            let mut holder = unshare(extra).spawn().expect("unshare of util-linux");
            let mut line = [0; 6];
            if holder.stdout.as_mut().expect("a pipe").read_exact(&mut line).is_ok() && &line == b"ready\n" {
                let mut command = vec!["nsenter".into(), "-t".into(), holder.id().to_string()];
                command.extend(["-m", "-n"].iter().chain(enter).map(ToString::to_string));
                // Whatever happens to the test, nothing of it is left.
                command.extend(["--", "setpriv", "--pdeathsig", "KILL", "--"].map(String::from));
                let network = Self { holder, enter: command };
                network.build(links);
                return network;
            }
            said = String::from_utf8_lossy(&holder.wait_with_output().expect("it ended").stderr).into_owned();
        }
        panic!("no network namespaces: {said}; run as root, or where users may make them");
    }

    fn build(&self, links: Links) {
        for name in ["client", "server"] {
            self.good(&format!("ip netns add {name}; ip -n {name} link set lo up"));
            // Addresses are used at once, and nobody else is there to have them.
            for key in ["default", "all"] {
                self.good(&format!(
                    "ip netns exec {name} sysctl -qw net.ipv6.conf.{key}.accept_dad=0 || true"
                ));
            }
        }
        if links == Links::Veth {
            for port in ["inside", "outside"] {
                self.link(port);
            }
        }
    }

    /// Makes a veth pair for a port, one end still unnamed and nowhere.
    pub fn link(&self, port: &str) {
        self.good(&format!(
            "ip link add {port} type veth peer name {port}-peer && ip link set {port} up
             sysctl -qw net.ipv6.conf.{port}.disable_ipv6=1 || true"
        ));
    }

    /// Gives client and server their ends of the links and their addresses.
    pub fn address(&self, links: Links) {
        self.client_side(links);
        self.server_side(links);
    }

    /// The client's part of [`Network::address`].
    pub fn client_side(&self, links: Links) {
        let end = end(links, "inside");
        self.good(&format!(
            "ip link set {end} netns client name eth0
             ip -n client link set eth0 up
             ip -n client addr add {CLIENT}/96 dev eth0 nodad
             ip -n client route add 64:ff9b::/96 via {GATEWAY} dev eth0"
        ));
    }

    /// The server's part of [`Network::address`].
    pub fn server_side(&self, links: Links) {
        let end = end(links, "outside");
        self.good(&format!(
            "ip link set {end} netns server name eth0
             ip -n server link set eth0 up
             ip -n server addr add 192.0.2.80/24 dev eth0
             ip -n server route add 203.0.113.0/24 dev eth0"
        ));
    }

    /// A program in the namespace of the gateway; its process is that of the command.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.enter[0]);
        command.args(&self.enter[1..]).arg(program);
        command
    }

    /// A shell script in the namespace of the gateway.
    pub fn shell(&self, script: &str) -> Output {
        let mut command = self.command(Path::new("sh"));
        command.args(["-ec", script]).stdin(Stdio::null());
        command.output().expect("nsenter of util-linux")
    }

    /// One that must end well; gives what it printed.
    pub fn good(&self, script: &str) -> String {
        let out = self.shell(script);
        let (printed, said) = (
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr),
        );
        assert!(out.status.success(), "{script}\n{}\n{printed}{said}", out.status);
        printed.into_owned()
    }

    /// A shell script at the client or the server, in the background; it ends when the value is dropped.
    pub fn background(&self, place: &str, script: &str) -> Background {
        let mut command = self.command(Path::new("ip"));
        command.args(["netns", "exec", place, "sh", "-c", script]);
        Background(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .expect("nsenter of util-linux"),
        )
    }

    /// A shell script at the client that must end well.
    pub fn client(&self, script: &str) -> String {
        self.good(&format!("ip netns exec client sh -ec '{script}'"))
    }

    /// A web server in Python that is in a folder and serves it, and waits until it can be reached from where it is.
    pub fn web(&self, folder: &Path, script: &str) -> Background {
        let serving = self.background(
            "server",
            &format!("cd {} && exec python3 {script} 2>/dev/null", folder.display()),
        );
        self.good("ip netns exec server curl -sS -o /dev/null --retry 50 --retry-connrefused --retry-delay 1 http://192.0.2.80/");
        serving
    }
}

fn end(links: Links, port: &str) -> String {
    match links {
        Links::Veth => format!("{port}-peer"),
        Links::Tap => port.into(),
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // With its last process a namespace goes.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A process that ends with its value.
pub struct Background(pub Child);

impl Background {
    /// Waits for its end; gives what it printed.
    pub fn finish(mut self) -> (std::process::ExitStatus, String) {
        let mut printed = String::new();
        if let Some(out) = &mut self.0.stdout {
            // What is no text is of no use to a test.
            let _ = out.read_to_string(&mut printed);
        }
        (self.0.wait().expect("it can be waited for"), printed)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks until the answer is yes, for at most `patience`.
pub fn until(patience: Duration, what: &str, mut yes: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !yes() {
        assert!(Instant::now() < end, "{what}: not within {patience:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
