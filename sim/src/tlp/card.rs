//! The handle of a card whose engine runs on a thread of its own.

use std::sync::mpsc::{channel, Sender};
use std::thread::JoinHandle;

use nat64_hdl::export::STACK_BYTES;
use nat64_layout::Bar;

use super::compiled::CompiledLink;
use super::link::RtlLink;
use super::root::Root;
use super::{DmaTarget, Function, Stepped};
use crate::engine::{EngineError, TxFrame};

/// Which engine simulates the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PciEngine {
    /// RustHDL's own simulation: the reference.
    Rtl,
    /// The exported Verilog, compiled: some ten times faster.
    Compiled,
}

type Job = Box<dyn FnOnce(&mut dyn Function) + Send>;

/// A simulated card with a PCI Express link; the methods are those of [`Function`].
///
/// Calls wait for the card's thread. An engine that panics or is gone answers every later call with
/// [`EngineError::Stopped`].
pub struct PciCard {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    dead: String,
}

impl PciCard {
    /// Starts a card. Its DMA goes to `memory`.
    ///
    /// # Errors
    /// That the engine cannot be built, or no thread can be had.
    pub fn start(engine: PciEngine, memory: Box<dyn DmaTarget>) -> Result<Self, EngineError> {
        Self::start_with(move || -> Result<Box<dyn Function>, EngineError> {
            match engine {
                PciEngine::Rtl => Ok(Box::new(Root::new(RtlLink::new(), memory)?)),
                PciEngine::Compiled => Ok(Box::new(Root::new(CompiledLink::start()?, memory)?)),
            }
        })
    }

    /// Starts a card around the function that `make` makes on the card's thread.
    ///
    /// # Errors
    /// What `make` says, or that no thread can be had.
    pub fn start_with(
        make: impl FnOnce() -> Result<Box<dyn Function>, EngineError> + Send + 'static,
    ) -> Result<Self, EngineError> {
        let (jobs, received) = channel::<Job>();
        let (ready_sender, ready) = channel();
        let thread = std::thread::Builder::new()
            .name("pci-card".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let mut function = match make() {
                    Ok(function) => function,
                    Err(e) => {
                        // Nobody listens only when the caller itself is gone.
                        let _ = ready_sender.send(Err(e));
                        return;
                    }
                };
                if ready_sender.send(Ok(())).is_ok() {
                    while let Ok(job) = received.recv() {
                        job(function.as_mut());
                    }
                }
            })
            .map_err(|e| EngineError::Stopped {
                reason: format!("no thread for it: {e}"),
            })?;
        let mut card = Self {
            jobs: Some(jobs),
            thread: Some(thread),
            dead: String::new(),
        };
        match ready.recv() {
            Ok(Ok(())) => Ok(card),
            Ok(Err(e)) => Err(e),
            Err(_) => Err(card.stopped()),
        }
    }

    fn stopped(&mut self) -> EngineError {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            self.dead = match thread.join() {
                Ok(()) => "its thread ended".to_string(),
                Err(panic) => panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_string()))
                    .unwrap_or_else(|| "its thread panicked".to_string()),
            };
        }
        EngineError::Stopped {
            reason: self.dead.clone(),
        }
    }

    /// Runs something on the card's thread and waits for what it gives.
    ///
    /// # Errors
    /// [`EngineError::Stopped`].
    pub fn with<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&mut dyn Function) -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let (sender, answer) = channel();
        let job: Job = Box::new(move |function| {
            // The receiver waits below; it is gone only when this process is.
            let _ = sender.send(job(function));
        });
        if self.jobs.as_ref().is_none_or(|jobs| jobs.send(job).is_err()) {
            return Err(self.stopped());
        }
        answer.recv().map_err(|_| self.stopped())
    }

    /// See [`Function::bar_read`].
    pub fn bar_read(&mut self, bar: Bar, address: u64, out: &mut [u8]) -> Result<(), EngineError> {
        let mut bytes = vec![0; out.len()];
        let bytes = self.with(move |f| f.bar_read(bar, address, &mut bytes).map(|()| bytes))??;
        out.copy_from_slice(&bytes);
        Ok(())
    }

    /// See [`Function::bar_write`].
    pub fn bar_write(&mut self, bar: Bar, address: u64, bytes: &[u8]) -> Result<(), EngineError> {
        let bytes = bytes.to_vec();
        self.with(move |f| f.bar_write(bar, address, &bytes))?
    }

    /// See [`Function::set_bus_master`].
    pub fn set_bus_master(&mut self, enable: bool) -> Result<(), EngineError> {
        self.with(move |f| f.set_bus_master(enable))?
    }

    /// See [`Function::set_msix`].
    pub fn set_msix(&mut self, enable: bool, function_mask: bool) -> Result<(), EngineError> {
        self.with(move |f| f.set_msix(enable, function_mask))?
    }

    /// See [`Function::set_payload`].
    pub fn set_payload(&mut self, max_payload: usize, max_read_request: usize) -> Result<(), EngineError> {
        self.with(move |f| f.set_payload(max_payload, max_read_request))?
    }

    /// See [`Function::program_vector`].
    pub fn program_vector(&mut self, vector: u16, masked: bool) -> Result<(), EngineError> {
        self.with(move |f| f.program_vector(vector, masked))?
    }

    /// See [`Function::function_reset`].
    pub fn function_reset(&mut self) -> Result<(), EngineError> {
        self.with(|f| f.function_reset())?
    }

    /// See [`Function::transactions_pending`].
    pub fn transactions_pending(&mut self) -> Result<bool, EngineError> {
        self.with(|f| f.transactions_pending())?
    }

    /// See [`Function::set_time`].
    pub fn set_time(&mut self, ns: u64) -> Result<(), EngineError> {
        self.with(move |f| f.set_time(ns))?
    }

    /// See [`Function::rx`].
    pub fn rx(&mut self, port: u8, frame: &[u8], error: bool) -> Result<(), EngineError> {
        let frame = frame.to_vec();
        self.with(move |f| f.rx(port, &frame, error))?
    }

    /// See [`Function::step`].
    pub fn step(&mut self, max_clocks: u64) -> Result<Stepped, EngineError> {
        self.with(move |f| f.step(max_clocks))?
    }

    /// See [`Function::take_tx`].
    pub fn take_tx(&mut self) -> Result<Vec<TxFrame>, EngineError> {
        self.with(|f| f.take_tx())
    }

    /// See [`Function::take_interrupts`].
    pub fn take_interrupts(&mut self) -> Result<Vec<u16>, EngineError> {
        self.with(|f| f.take_interrupts())
    }

    /// See [`Function::set_log`].
    pub fn set_log(&mut self, on: bool) -> Result<(), EngineError> {
        self.with(move |f| f.set_log(on))
    }

    /// See [`Function::take_log`].
    pub fn take_log(&mut self) -> Result<Vec<String>, EngineError> {
        self.with(|f| f.take_log())
    }

    /// See [`Function::dma_faults`].
    pub fn dma_faults(&mut self) -> Result<u64, EngineError> {
        self.with(|f| f.dma_faults())
    }

    /// See [`Function::clocks`].
    pub fn clocks(&mut self) -> Result<u64, EngineError> {
        self.with(|f| f.clocks())
    }
}

impl Drop for PciCard {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It ends as soon as it sees that nobody asks any more; a panic of it was told to whoever asked last.
            let _ = thread.join();
        }
    }
}
