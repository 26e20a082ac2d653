//! `cargo xtask vm-test`: the card as a PCI device of a Linux guest, and the driver in it.
//!
//! ```text
//!   traffic (here) --SOCK_SEQPACKET--> nat64-sim serve <--vfio-user--> QEMU: vfio-user-pci behind intel-iommu
//!                                                                        guest: vfio-pci --> vm_guest (the driver)
//!                                                                        serial line: PASS, FAIL, VM:
//! ```
//!
//! QEMU comes from Debian's trixie and trixie-backports into a folder of its own, the kernel from this machine's Debian;
//! the mirror is the one this machine's apt is set up with. Needs root (`mmdebstrap` unpacks with it) and about 200 MB
//! once. There is no skipping: what cannot be had is an error.

mod guest;
mod traffic;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::run::Error;
use traffic::{Pace, Traffic};

/// How long the virtual machine may take from start to power-off.
const LIMIT: Duration = Duration::from_secs(270);
/// How long the simulated card may take until its socket is there.
const CARD_LIMIT: Duration = Duration::from_secs(240);
/// Results that must be there: a check that never ran is none that passed.
const CHECKS: [&str; 21] = [
    "card list",
    "an unbound card is refused with the remedy",
    "card bind",
    "ABI hash",
    "open /dev/vfio",
    "self test, identity",
    "self test, function reset",
    "self test, registers",
    "self test, order of accesses",
    "self test, the card writes memory and interrupts",
    "self test, the card reads memory",
    "self test, function reset with rings on",
    "a card in use is refused",
    "translation",
    "MSI-X",
    "activity",
    "ageing",
    "function reset under load",
    "driver restart",
    "round trips",
    "no refused DMA",
];

/// Ends its process when dropped; it is one we started.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn failed(what: impl Into<String>) -> Error {
    Error::Check { what: what.into() }
}

/// Where everything of the test is.
struct Place {
    root: PathBuf,
    folder: PathBuf,
}

impl Place {
    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Runs the whole test.
pub fn vm_test(root: &Path, engine: &str) -> Result<(), Error> {
    let start = Instant::now();
    let place = Place {
        root: root.to_path_buf(),
        folder: root.join("target/vm-test"),
    };
    std::fs::create_dir_all(&place.folder).map_err(|error| Error::file(&place.folder, error))?;
    guest::fetch(&place)?;
    guest::build(&place)?;
    println!("vm-test: ready to boot after {:.0?}", start.elapsed());
    let results = boot(&place, engine)?;
    let bad: Vec<&str> = results
        .iter()
        .filter(|(_, good)| !good)
        .map(|(name, _)| &name[..])
        .collect();
    let missing: Vec<&str> = CHECKS
        .into_iter()
        .filter(|name| !results.iter().any(|(n, _)| n == name))
        .collect();
    println!(
        "vm-test: {} passed, {} failed, {} did not run, in {:.0?}; the serial line is in {}",
        results.len() - bad.len(),
        bad.len(),
        missing.len(),
        start.elapsed(),
        place.at("serial.log").display()
    );
    if bad.is_empty() && missing.is_empty() {
        return Ok(());
    }
    Err(failed(format!("failed: {bad:?}; did not run: {missing:?}")))
}

/// `PASS name: text` or `FAIL name: text`.
fn result_line(line: &str) -> Option<(String, bool)> {
    let (good, rest) = match (line.strip_prefix("PASS "), line.strip_prefix("FAIL ")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return None,
    };
    // A name may have no colon; what follows it may.
    let name = rest.split(": ").next().unwrap_or(rest);
    Some((name.trim().to_string(), good))
}

fn serve(place: &Place, engine: &str) -> Result<Running, Error> {
    let socket = place.at("card.sock");
    let log = std::fs::File::create(place.at("serve.log")).map_err(|e| Error::file(&place.at("serve.log"), e))?;
    let again = log.try_clone().map_err(|e| Error::file(&place.at("serve.log"), e))?;
    let port = |side: &str| format!("{side}=unix:{}", place.at(&format!("{side}.sock")).display());
    let mut command = Command::new(place.root.join("target/debug/nat64-sim"));
    command
        .arg("serve")
        .arg("--engine")
        .arg(engine)
        .arg("--socket")
        .arg(&socket)
        .arg("--json")
        .arg("--once");
    command
        .arg("--port")
        .arg(port("inside"))
        .arg("--port")
        .arg(port("outside"));
    println!(
        "$ nat64-sim serve --engine {engine} --socket {} --json --once --port ...",
        socket.display()
    );
    let child = command
        .stdout(log)
        .stderr(again)
        .spawn()
        .map_err(|source| Error::Start {
            command: "nat64-sim serve".into(),
            source,
        })?;
    let mut running = Running(child);
    let start = Instant::now();
    while !socket.exists() {
        let text = || std::fs::read_to_string(place.at("serve.log")).unwrap_or_default();
        if let Ok(Some(status)) = running.0.try_wait() {
            return Err(failed(format!("nat64-sim serve ended with {status}: {}", text())));
        }
        if start.elapsed() > CARD_LIMIT {
            return Err(failed(format!("the card was not ready in {CARD_LIMIT:?}: {}", text())));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("vm-test: the card is ready after {:.1?}", start.elapsed());
    Ok(running)
}

fn boot(place: &Place, engine: &str) -> Result<Vec<(String, bool)>, Error> {
    for name in ["card.sock", "inside.sock", "outside.sock"] {
        match std::fs::remove_file(place.at(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file(&place.at(name), error))
            }
            _ => {}
        }
    }
    let mut card = serve(place, engine)?;
    let traffic =
        Traffic::start(&place.at("inside.sock"), &place.at("outside.sock")).map_err(|e| failed(e.to_string()))?;
    let mut qemu = guest::qemu(place, LIMIT);
    println!("$ timeout {} qemu-system-x86_64 ... (boots the guest)", LIMIT.as_secs());
    let child = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|source| Error::Start {
            command: "qemu-system-x86_64".into(),
            source,
        })?;
    let mut qemu = Running(child);
    let Some(serial) = qemu.0.stdout.take() else {
        return Err(failed("QEMU has no output"));
    };
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(serial).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).trim_end().to_string();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let path = place.at("serial.log");
    let mut log = std::fs::File::create(&path).map_err(|error| Error::file(&path, error))?;
    let mut results = Vec::new();
    let start = Instant::now();
    let mut lspci: Option<String> = None;
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => {
                writeln!(log, "{line}").map_err(|error| Error::file(&path, error))?;
                if let Some(result) = result_line(&line) {
                    println!("{line}");
                    results.push(result);
                }
                match line.trim() {
                    "VM: traffic" => traffic.pace(Pace::Gentle),
                    "VM: pause" => traffic.pace(Pace::Silent),
                    "VM: reset" => traffic.pace(Pace::Load),
                    "VM: lspci" => lspci = Some(String::new()),
                    "VM: end of lspci" => {
                        let text = lspci.take().unwrap_or_default();
                        let path = place.at("lspci.txt");
                        std::fs::write(&path, text).map_err(|error| Error::file(&path, error))?;
                    }
                    _ => {
                        if let Some(text) = &mut lspci {
                            text.push_str(&line);
                            text.push('\n');
                        }
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) if start.elapsed() < LIMIT + Duration::from_secs(10) => {}
            Err(_) => break,
        }
    }
    drop(qemu);
    let counts = traffic.end();
    let mut add = |name: &str, result: Result<String, String>| {
        match &result {
            Ok(text) => println!("PASS {name}: {text}"),
            Err(text) => println!("FAIL {name}: {text}"),
        }
        results.push((name.to_string(), result.is_ok()));
    };
    add("round trips", counts.judge());
    // It ends by itself when its only client has gone.
    let ended = Instant::now();
    while ended.elapsed() < Duration::from_secs(20) && matches!(card.0.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = std::fs::read_to_string(place.at("serve.log")).unwrap_or_default();
    let refused = text
        .split_once("\"dma_faults\":")
        .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    add(
        "no refused DMA",
        match refused.as_deref() {
            Some("0") => Ok("every access of the card was to memory it had been given".into()),
            Some(n) => Err(format!("{n} accesses were refused")),
            None => Err(format!("the card told nothing at its end: {text}")),
        },
    );
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_from_the_serial_line() {
        assert_eq!(result_line("PASS card bind: it: is"), Some(("card bind".into(), true)));
        assert_eq!(
            result_line("FAIL self test, identity: all ones"),
            Some(("self test, identity".into(), false))
        );
        assert_eq!(result_line("[    1.0] PASS"), None);
    }
}
