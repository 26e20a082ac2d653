//! How fast an engine is: clocks per second with frames on both ports.

use std::time::{Duration, Instant};

use nat64_driver::HostMemory;

use crate::card::MAX_CLOCKS;
use crate::engine::{Engine, EngineError};

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Clocks simulated.
    pub clocks: u64,
    /// Time they took.
    pub elapsed: Duration,
}

impl Speed {
    /// Clocks per second.
    pub fn clocks_per_second(&self) -> f64 {
        self.clocks as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
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
    while start.elapsed() < duration {
        for length in [60usize, 128, 256, 594, 1514] {
            frame[18..22].copy_from_slice(&[((length - 54) >> 8) as u8, (length - 54) as u8, 59, 64]);
            for port in 0..2 {
                engine.rx(port, &frame[..length], false)?;
            }
        }
        engine.run(MAX_CLOCKS)?;
        engine.take_tx();
    }
    Ok(Speed {
        clocks: engine.clocks() - first,
        elapsed: start.elapsed(),
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
