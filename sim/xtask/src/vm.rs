//! `cargo xtask vm-test`: the card as a PCI device of a Linux guest, and the daemon in it.
//!
//! ```text
//!   traffic (here) --SOCK_SEQPACKET--> nat64-sim serve <--vfio-user--> QEMU: vfio-user-pci behind intel-iommu
//!                                                                        guest: vfio-pci --> nat64d <-- nat64ctl
//!                                                                        serial line: PASS, FAIL, VM:
//! ```
//!
//! The guest's programs are those that `cargo build` makes for this machine, with the libraries they want: nothing is
//! compiled twice. What is done there and in which order is `host/examples/vm_guest`'s.
//!
//! QEMU comes from Debian's trixie and trixie-backports into a folder of its own, the kernel from this machine's Debian;
//! the mirror is the one this machine's apt is set up with. Needs root (`mmdebstrap` unpacks with it) and about 200 MB
//! once. There is no skipping: what cannot be had is an error.

mod guest;
mod traffic;

use std::collections::HashMap;
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
const CHECKS: [&str; 30] = [
    "card list",
    "an unbound card is refused with the remedy",
    "card bind",
    "open /dev/vfio",
    "self test, identity",
    "self test, function reset",
    "self test, registers",
    "self test, order of accesses",
    "self test, the card writes memory and interrupts",
    "self test, the card reads memory",
    "self test, function reset with rings on",
    "a card in use is refused",
    "a card in use is listed so, and not unbound",
    "too little locked memory is refused with the remedy",
    "a held card outlives its driver",
    "nat64d on /dev/vfio",
    "the worked example is committed",
    "translation",
    "MSI-X",
    "activity",
    "nat64d stopped and started, the card adopted",
    "without nat64d after SIGTERM",
    "nat64d killed and started, the card adopted",
    "without nat64d after SIGKILL",
    "ageing",
    "function reset under load",
    "a card that is removed and comes back",
    "nat64d stopped for good, card unbind",
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

    fn open(&self, name: &str) -> Result<BufReader<std::fs::File>, Error> {
        let path = self.at(name);
        let file = std::fs::File::open(&path).map_err(|error| Error::file(&path, error))?;
        Ok(BufReader::new(file))
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
    // The network on one side, the processors on the other.
    std::thread::scope(|scope| {
        let fetched = scope.spawn(|| guest::fetch(&place));
        let built = guest::build(&place);
        let fetched = fetched.join().map_err(|_| failed("the fetching panicked"))?;
        built.and(fetched)
    })?;
    guest::pack(&place)?;
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

/// TLPs of the card to memory at address 0, where it copies activity to when a reset has made it forget the right place.
/// The IOMMU is there to refuse them.
fn lost_accesses(log: impl BufRead) -> u64 {
    let lost = |line: &str| {
        let (_, packet) = line.split_once("< ")?;
        let memory = packet.starts_with("MWr ") || packet.starts_with("MRd ");
        let address = packet.split_once(" addr 0x")?.1.split(' ').next()?;
        (memory && u64::from_str_radix(address, 16).ok()? < 4096).then_some(())
    };
    log.lines().map_while(Result::ok).filter_map(|line| lost(&line)).count() as u64
}

/// A result of this side.
fn add(results: &mut Vec<(String, bool)>, name: &str, result: Result<String, String>) {
    match &result {
        Ok(text) => println!("PASS {name}: {text}"),
        Err(text) => println!("FAIL {name}: {text}"),
    }
    results.push((name.to_string(), result.is_ok()));
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
        .arg("--tlp-log")
        .arg(place.at("card.tlp"))
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
    let mut marks = HashMap::new();
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => {
                writeln!(log, "{line}").map_err(|error| Error::file(&path, error))?;
                if let Some(result) = result_line(&line) {
                    println!("{line}");
                    results.push(result);
                }
                if let Some(name) = line.strip_prefix("VM: begin ") {
                    marks.insert(name.to_string(), traffic.counts());
                }
                if let Some((name, before)) = line.strip_prefix("VM: end ").and_then(|name| marks.remove_entry(name)) {
                    add(&mut results, &name, traffic.counts().judge_since(&before));
                }
                match line.trim() {
                    "VM: pace gentle" => traffic.pace(Pace::Gentle),
                    "VM: pace silent" => traffic.pace(Pace::Silent),
                    "VM: pace load" => traffic.pace(Pace::Load),
                    "VM: lspci" => lspci = Some(String::new()),
                    "VM: lspci is over" => {
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
    add(&mut results, "round trips", counts.judge());
    // It ends by itself when its only client has gone.
    let ended = Instant::now();
    while ended.elapsed() < Duration::from_secs(20) && matches!(card.0.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = std::fs::read_to_string(place.at("serve.log")).unwrap_or_default();
    let refused = text
        .split_once("\"dma_faults\":")
        .and_then(|(_, rest)| rest.split([',', '}']).next()?.parse::<u64>().ok());
    let result = match refused {
        Some(count) => place.open("card.tlp").map(|log| (count, lost_accesses(log))),
        None => Err(failed(format!("the card told nothing at its end: {text}"))),
    };
    let judged = match result {
        Ok((0, _)) => Ok("every access of the card was to memory it had been given".into()),
        Ok((count, lost)) if count == lost => Ok(format!(
            "{count} accesses to address 0, where a card that was reset copies to until its driver notices, and no other"
        )),
        Ok((count, lost)) => Err(format!("{count} accesses were refused, {lost} of them to address 0")),
        Err(error) => Err(error.to_string()),
    };
    add(&mut results, "no refused DMA", judged);
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_to_nowhere_are_told_from_others() {
        let log = "7 < MWr 01:00.0 addr 0x0 len 2 be 1111 1111 00\n7 < MWr 01:00.0 addr 0x123400000 len 2 be 1111 1111 00\n\
                   8 > MWr 00:00.0 addr 0x8 len 1 be 0000 1111 00\n9 < MRd 01:00.0 tag 0x01 addr 0x40 len 8 be 1111 1111\n\
                   9 < CplD 01:00.0 addr\n";
        assert_eq!(lost_accesses(log.as_bytes()), 2);
    }

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
