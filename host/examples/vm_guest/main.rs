//! What `cargo xtask vm-test` runs inside the virtual machine, as the one program its init starts. It is the operator, who
//! lists, binds and configures with `nat64ctl`, and the service manager, who starts and restarts `nat64d`.
//!
//! ```text
//!   card.rs     before the daemon: list, bind, refusals with their remedies, self test of the card
//!   daemon.rs   nat64d on the card: worked example, translation, interrupts, ageing, reset, restarts, removal
//!   service.rs  the service manager: READY, FDSTORE, LISTEN_FDS
//! ```
//!
//! Lines that begin with `VM:` are for the host's side, which has the cables: `VM: pace silent|gentle|load` sets how much is
//! sent; `VM: begin NAME` and `VM: end NAME` bracket a time whose round trips it judges.
//! `PASS name: ...` and `FAIL name: ...` are the results.

mod card;
mod daemon;
mod service;

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Why a check failed.
#[derive(Debug)]
pub struct Failed(pub String);

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Self(text)
    }
}

/// A check that failed.
pub fn fail<T>(text: impl Into<String>) -> Result<T, Failed> {
    Err(Failed(text.into()))
}

/// Writes a result; whether it is good.
pub fn check(name: &str, result: Result<String, Failed>) -> bool {
    // One line each, whatever programs say.
    let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match result {
        Ok(text) => {
            println!("PASS {name}: {}", line(&text));
            true
        }
        Err(Failed(text)) => {
            println!("FAIL {name}: {}", line(&text));
            false
        }
    }
}

/// Tells the host's side.
pub fn tell(what: &str) {
    println!("VM: {what}");
}

/// How long one check may take: an emulated processor is slow.
const LIMIT: Duration = Duration::from_secs(60);

/// Looks until something is found; what was seen last is told when it is not.
pub fn until<T>(
    what: &str,
    mut look: impl FnMut() -> Result<Result<T, String>, Failed>,
) -> Result<(T, Duration), Failed> {
    let start = Instant::now();
    loop {
        let seen = match look()? {
            Ok(found) => return Ok((found, start.elapsed())),
            Err(seen) => seen,
        };
        if start.elapsed() > LIMIT {
            return fail(format!("{what} did not happen in {LIMIT:?}: {seen}"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, config] = &arguments[..] else {
        eprintln!("usage: vm_guest CONFIG");
        return ExitCode::from(2);
    };
    let good = match card::before_the_daemon() {
        Some(address) => daemon::all(address, config),
        None => false,
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
