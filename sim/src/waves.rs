//! Waves of the RustHDL core while it works on one packet, as an FST file for GTKWave or Surfer.
//!
//! ```text
//!   Watched (a Device) -- packet N begins, ends --> Waves <-- every clock: all signals -- Rtl (the engine)
//!                                                     |
//!                                                     v  kept: the chosen packet, or the first that failed
//!                                                  FILE.fst
//! ```
//!
//! Every signal of every block is in the file, under the names of the RustHDL source. What is recorded for a clock is the settled state
//! before its edge, and stands in the file from the edge before it, so a viewer shows what a register takes in at the
//! rising edge where it takes it in. The compiled engine has no waves; it agrees with this one clock by clock.
//!
//! A wanted packet costs milliseconds for each clock, all others nothing; to find the first that fails, each is recorded until then.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use fst_writer::{
    FstBodyWriter, FstFileType, FstHeaderWriter, FstInfo, FstScopeType, FstSignalId, FstSignalType, FstVarDirection,
    FstVarType, FstWriteError,
};
use nat64_layout::ReasonKind;
use rust_hdl::core::prelude::{Atom, Block, Probe, VCDValue};

use crate::device::{Device, DeviceFailure, Output, Totals};

/// Picoseconds of a clock in the file: 156.25 MHz, what the 10 Gbit/s of 64 bits take.
pub const PERIOD_PS: u64 = 6400;

/// Which packet's waves are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This one, counted from 1 in the order of arrival.
    Packet(u64),
    /// The first that was dropped, or in which two engines differ, or with which the card failed.
    Failing,
}

impl std::str::FromStr for Pick {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if number > 0 => Ok(Self::Packet(number)),
            _ if text == "failing" => Ok(Self::Failing),
            _ => Err("a number from 1 on, or `failing`".into()),
        }
    }
}

/// The file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write waves to {}: {source}", path.display())]
pub struct WavesError {
    /// File.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: FstWriteError,
}

/// A request for waves, shared by who counts packets and by the engine.
#[derive(Debug)]
pub struct Waves {
    path: PathBuf,
    pick: Pick,
    on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    packets: u64,
    recorder: Option<Recorder>,
    failed: Option<FstWriteError>,
    kept: Option<u64>,
}

struct Recorder {
    writer: FstBodyWriter<std::io::Cursor<Vec<u8>>>,
    clock: FstSignalId,
    signals: Vec<FstSignalId>,
    clocks: u64,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recorder({} signals, {} clocks)", self.signals.len(), self.clocks)
    }
}

impl Waves {
    /// Waves of one packet, for a file that is written when they are there.
    pub fn new(path: &Path, pick: Pick) -> Self {
        Self {
            path: path.to_owned(),
            pick,
            on: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Whoever panicked left a recording that is not kept.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The packet whose waves are in the file, when there is one.
    pub fn kept(&self) -> Option<u64> {
        self.state().kept
    }

    /// A packet arrives.
    pub fn begin(&self) {
        let mut state = self.state();
        state.packets += 1;
        state.recorder = None;
        let wanted = match self.pick {
            Pick::Packet(number) => number == state.packets,
            Pick::Failing => true,
        };
        self.on.store(wanted && state.kept.is_none(), Ordering::Relaxed);
    }

    /// Everything the packet caused at once has happened.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn end(&self, failing: bool) -> Result<(), WavesError> {
        if !self.on.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let mut state = self.state();
        let recorder = state.recorder.take();
        let fail = |source| WavesError {
            path: self.path.clone(),
            source,
        };
        if let Some(source) = state.failed.take() {
            return Err(fail(source));
        }
        let wanted = failing || self.pick != Pick::Failing;
        if let Some(recorder) = recorder.filter(|_| wanted) {
            let bytes = recorder.finish().map_err(fail)?;
            std::fs::write(&self.path, bytes).map_err(|source| fail(source.into()))?;
            state.kept = Some(state.packets);
        }
        Ok(())
    }

    /// The core has settled before an edge.
    pub fn clock(&self, core: &dyn Block) {
        if !self.on.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state();
        if state.failed.is_some() {
            return;
        }
        let result = match &mut state.recorder {
            Some(recorder) => recorder.sample(core),
            none => Recorder::new(core).map(|recorder| *none = Some(recorder)),
        };
        if let Err(error) = result {
            state.failed = Some(error);
        }
    }
}

/// Names and widths, at the first clock.
struct Names {
    header: FstHeaderWriter<std::io::Cursor<Vec<u8>>>,
    signals: Vec<FstSignalId>,
    failed: Option<FstWriteError>,
}

impl Names {
    fn note<T>(&mut self, result: Result<T, FstWriteError>) -> Option<T> {
        result.map_err(|error| self.failed = Some(error)).ok()
    }
}

impl Probe for Names {
    fn visit_start_scope(&mut self, name: &str, _: &dyn Block) {
        let result = self.header.scope(name, "", FstScopeType::Module);
        self.note(result);
    }

    fn visit_start_namespace(&mut self, name: &str, node: &dyn Block) {
        self.visit_start_scope(name, node);
    }

    fn visit_atom(&mut self, name: &str, signal: &dyn Atom) {
        let width = FstSignalType::bit_vec(signal.bits() as u32);
        let result = self
            .header
            .var(name, width, FstVarType::Wire, FstVarDirection::Implicit, None);
        if let Some(id) = self.note(result) {
            self.signals.push(id);
        }
    }

    fn visit_end_namespace(&mut self, _: &str, _: &dyn Block) {
        let result = self.header.up_scope();
        self.note(result);
    }

    fn visit_end_scope(&mut self, name: &str, node: &dyn Block) {
        self.visit_end_namespace(name, node);
    }
}

/// Values, at every clock; signals come in the order of [`Names`].
struct Values<'a> {
    recorder: &'a mut Recorder,
    next: usize,
    text: Vec<u8>,
    failed: Option<FstWriteError>,
}

/// The characters of a value, the highest bit first.
fn digits(value: &VCDValue, out: &mut Vec<u8>) {
    let digit = |value: &vcd::Value| match value {
        vcd::Value::V0 => b'0',
        vcd::Value::V1 => b'1',
        vcd::Value::X => b'x',
        vcd::Value::Z => b'z',
    };
    match value {
        VCDValue::Single(one) => out.push(digit(one)),
        VCDValue::Vector(all) => out.extend(all.iter().map(digit)),
        // The core has neither: its enumerations are bits.
        VCDValue::String(_) => {}
        VCDValue::Composite(parts) => parts.iter().for_each(|part| digits(part, out)),
    }
}

impl Probe for Values<'_> {
    fn visit_atom(&mut self, _: &str, signal: &dyn Atom) {
        let Some(&id) = self.recorder.signals.get(self.next) else {
            return;
        };
        self.next += 1;
        self.text.clear();
        digits(&signal.vcd(), &mut self.text);
        if self.text.len() == signal.bits() {
            if let Err(error) = self.recorder.writer.signal_change(id, &self.text) {
                self.failed = Some(error);
            }
        }
    }
}

impl Recorder {
    fn new(core: &dyn Block) -> Result<Self, FstWriteError> {
        let header = FstHeaderWriter::write_to_mem(&FstInfo {
            start_time: 0,
            timescale_exponent: -12,
            version: concat!("nat64-sim ", env!("CARGO_PKG_VERSION")).into(),
            // A file is to be the same whenever it is made.
            date: String::new(),
            file_type: FstFileType::Verilog,
        })?;
        let mut names = Names {
            header,
            signals: Vec::new(),
            failed: None,
        };
        let bit = FstSignalType::bit_vec(1);
        let clock = names
            .header
            .var("edge", bit, FstVarType::Wire, FstVarDirection::Implicit, None)?;
        core.accept("core", &mut names);
        if let Some(error) = names.failed {
            return Err(error);
        }
        let mut recorder = Self {
            writer: names.header.finish()?,
            clock,
            signals: names.signals,
            clocks: 0,
        };
        recorder.sample(core)?;
        Ok(recorder)
    }

    fn sample(&mut self, core: &dyn Block) -> Result<(), FstWriteError> {
        let start = self.clocks * PERIOD_PS;
        self.clocks += 1;
        self.writer.time_change(start)?;
        self.writer.signal_change(self.clock, b"1")?;
        let mut values = Values {
            recorder: self,
            next: 0,
            text: Vec::new(),
            failed: None,
        };
        core.accept("core", &mut values);
        if let Some(error) = values.failed {
            return Err(error);
        }
        self.writer.time_change(start + PERIOD_PS / 2)?;
        self.writer.signal_change(self.clock, b"0")
    }

    fn finish(mut self) -> Result<Vec<u8>, FstWriteError> {
        self.writer.time_change(self.clocks * PERIOD_PS)?;
        self.writer.signal_change(self.clock, b"1")?;
        Ok(self.writer.finish()?.into_inner())
    }
}

/// A device whose packets are counted for [`Waves`].
pub struct Watched {
    inner: Box<dyn Device>,
    waves: std::sync::Arc<Waves>,
}

impl Watched {
    /// Counts the packets of `inner`.
    pub fn new(inner: Box<dyn Device>, waves: std::sync::Arc<Waves>) -> Self {
        Self { inner, waves }
    }
}

impl Device for Watched {
    fn packet(&mut self, now: u64, port: u8, bytes: &[u8], out: &mut Output) -> Result<(), DeviceFailure> {
        let before = out.exceptions.len();
        self.waves.begin();
        let result = self.inner.packet(now, port, bytes, out);
        let dropped = out.exceptions[before..]
            .iter()
            .any(|exception| exception.reasons.iter().any(|r| r.kind() == ReasonKind::Drop));
        let written = self.waves.end(result.is_err() || dropped);
        // The packet's own failure is what the waves were wanted for.
        result?;
        Ok(written?)
    }

    fn advance(&mut self, to: u64, out: &mut Output) -> Result<(), DeviceFailure> {
        self.inner.advance(to, out)
    }

    fn configure(&mut self, now: u64, commands: &[String], out: &mut Output) -> Result<(), DeviceFailure> {
        self.inner.configure(now, commands, out)
    }

    fn totals(&mut self) -> Result<Totals, DeviceFailure> {
        self.inner.totals()
    }

    fn describe(&mut self, port: u8, bytes: &[u8]) -> String {
        self.inner.describe(port, bytes)
    }
}
