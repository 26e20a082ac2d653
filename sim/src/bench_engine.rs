//! How fast an engine is: clocks per second with frames on both ports.

use std::time::{Duration, Instant};

use nat64_driver::HostMemory;

use crate::card::MAX_CLOCKS;
use crate::engine::{Engine, EngineError};

/// Length of a slice that is measured by itself.
const SLICE: Duration = Duration::from_millis(200);

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Clocks simulated.
    pub clocks: u64,
    /// Time they took on the wall.
    pub elapsed: Duration,
    /// Clocks per second of processor time in the fastest slice: what the engine can do, however busy the machine is
    /// with other work. On systems that do not tell processor time, the wall's.
    pub best: f64,
}

impl Speed {
    /// Clocks per second on the wall.
    pub fn clocks_per_second(&self) -> f64 {
        rate(self.clocks, self.elapsed)
    }
}

fn rate(clocks: u64, time: Duration) -> f64 {
    clocks as f64 / time.as_secs_f64().max(1e-9)
}

/// Processor time of this thread and of the engine's process, where there is one; they never work at the same moment.
fn processor_time(process: Option<u32>) -> Option<Duration> {
    let of = |path: &str| -> Option<u64> {
        let text = std::fs::read_to_string(path).ok()?;
        // Linux: nanoseconds on a processor, nanoseconds waiting for one, turns.
        text.split_whitespace().next()?.parse().ok()
    };
    let mut sum = of("/proc/thread-self/schedstat")?;
    if let Some(process) = process {
        sum += of(&format!("/proc/{process}/schedstat"))?;
    }
    Some(Duration::from_nanos(sum))
}

/// Frames of 60 to 1,514 bytes back to back on both ports into a card that forwards what it does not know, for about
/// `duration`.
///
/// # Errors
/// As [`Engine`].
pub fn measure(engine: &mut dyn Engine, duration: Duration) -> Result<Speed, EngineError> {
    use nat64_layout::regs::{Ctrl, Policy};
    use nat64_layout::tables::PortPolicy;
    use nat64_layout::Bar;

    let mut policy = Policy(0);
    policy.set_port0(PortPolicy::Forward as u32);
    policy.set_port1(PortPolicy::Forward as u32);
    engine.csr_write(Bar::Bar0, Policy::OFFSET, policy.0)?;
    engine.csr_write(Bar::Bar0, Ctrl::OFFSET, 1)?;
    engine.run(MAX_CLOCKS)?;
    let mut frame = vec![0u8; 1514];
    // IPv6, no next header, hop limit 64: nothing a card knows, so both ports forward it.
    frame[12..16].copy_from_slice(&[0x86, 0xdd, 0x60, 0]);
    let (start, first) = (Instant::now(), engine.clocks());
    let mut best: f64 = 0.0;
    while start.elapsed() < duration {
        let (slice, clocks, worked) = (Instant::now(), engine.clocks(), processor_time(engine.process()));
        while slice.elapsed() < SLICE {
            for length in [60usize, 128, 256, 594, 1514] {
                frame[18..22].copy_from_slice(&[((length - 54) >> 8) as u8, (length - 54) as u8, 59, 64]);
                for port in 0..2 {
                    engine.rx(port, &frame[..length], false)?;
                }
            }
            engine.run(MAX_CLOCKS)?;
            engine.take_tx();
        }
        let time = match (worked, processor_time(engine.process())) {
            (Some(before), Some(after)) if after > before => after - before,
            _ => slice.elapsed(),
        };
        best = best.max(rate(engine.clocks() - clocks, time));
    }
    Ok(Speed {
        clocks: engine.clocks() - first,
        elapsed: start.elapsed(),
        best,
    })
}

/// Runs [`measure`] on a new engine, on a thread with the stack the RustHDL core needs.
///
/// # Errors
/// As [`Engine`], and that the engine's thread panicked.
pub fn measure_new(
    make: impl FnOnce(HostMemory) -> Result<Box<dyn Engine>, EngineError> + Send + 'static,
    duration: Duration,
) -> Result<Speed, EngineError> {
    let stopped = |reason: &str| EngineError::Stopped { reason: reason.into() };
    std::thread::Builder::new()
        .stack_size(nat64_hdl::export::STACK_BYTES)
        .spawn(move || measure(make(HostMemory::new())?.as_mut(), duration))
        .map_err(|e| stopped(&e.to_string()))?
        .join()
        .map_err(|_| stopped("its thread panicked"))?
}
