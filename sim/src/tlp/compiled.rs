//! The endpoint as compiled Verilog: the child has the bench of `link.rs` (`endpoint.cpp`), so that only TLPs and frames cross
//! the pipe, not clocks.

use crate::compiled::{build, Pipe};
use crate::engine::{EngineError, TxFrame};

use super::link::{Link, LinkRan, LinkSetup, SentTlp};

const HARNESS: &str = concat!(include_str!("../compiled/pipes.hpp"), include_str!("endpoint.cpp"));
/// Longest frame the child reports.
const MAX_FRAME: u32 = 1 << 17;

/// The endpoint's Verilog in a process of its own.
pub struct CompiledLink {
    pipe: Pipe,
    sent: Vec<SentTlp>,
    tx: Vec<TxFrame>,
    clocks: u64,
}

impl CompiledLink {
    /// Builds the program when it is not built yet (some minutes), and starts it.
    ///
    /// # Errors
    /// Missing tools, a failed build, a child that cannot be started.
    pub fn start() -> Result<Self, EngineError> {
        let verilog = nat64_hdl::export::endpoint_verilog().ok_or_else(|| EngineError::Build {
            what: "the endpoint cannot be exported as Verilog".into(),
            output: String::new(),
        })?;
        Ok(Self {
            pipe: Pipe::start(&build(&verilog, HARNESS)?)?,
            sent: Vec::new(),
            tx: Vec::new(),
            clocks: 0,
        })
    }
}

impl Link for CompiledLink {
    fn set_up(&mut self, setup: &LinkSetup) -> Result<(), EngineError> {
        let flags = [setup.bus_master, setup.msix_enable, setup.msix_mask, setup.reset];
        let flags = flags.iter().enumerate().fold(0, |v, (i, &f)| v | u8::from(f) << i);
        self.pipe.send(&[
            &[3],
            &setup.id.to_le_bytes(),
            &[setup.max_payload, setup.max_read, flags],
        ])
    }

    fn push(&mut self, dws: &[u32], bar: u8) -> Result<(), EngineError> {
        let bytes: Vec<u8> = dws.iter().flat_map(|dw| dw.to_le_bytes()).collect();
        self.pipe.send(&[&[2, bar], &(dws.len() as u16).to_le_bytes(), &bytes])
    }

    fn frame(&mut self, port: u8, bytes: &[u8], error: bool) -> Result<(), EngineError> {
        self.pipe
            .send(&[&[4, port, u8::from(error)], &(bytes.len() as u32).to_le_bytes(), bytes])
    }

    fn set_time(&mut self, ns: u64) -> Result<(), EngineError> {
        self.pipe.send(&[&[1], &ns.to_le_bytes()])
    }

    fn run(&mut self, max_clocks: u64) -> Result<LinkRan, EngineError> {
        self.pipe.send(&[&[5], &max_clocks.to_le_bytes()])?;
        self.pipe.flush()?;
        self.pipe.await_answer(true);
        loop {
            match self.pipe.u8()? {
                b'p' => {
                    let (clock, length) = (self.pipe.u64()?, usize::from(self.pipe.u16()?));
                    let bytes = self.pipe.bytes(4 * length)?;
                    let dws = bytes
                        .chunks_exact(4)
                        .map(|b| u32::from_le_bytes(b.try_into().unwrap_or_default()))
                        .collect();
                    self.sent.push(SentTlp { clock, dws });
                }
                b't' => {
                    let (port, error) = (self.pipe.u8()?, self.pipe.u8()? != 0);
                    let (clock, length) = (self.pipe.u64()?, self.pipe.u32()?);
                    if length > MAX_FRAME {
                        return Err(self.pipe.nonsense(b't'));
                    }
                    let bytes = self.pipe.bytes(length as usize)?;
                    self.tx.push(TxFrame {
                        port,
                        bytes,
                        error,
                        clock,
                    });
                }
                b'i' => {
                    let (flags, queued, clocks) = (self.pipe.u8()?, self.pipe.u64()?, self.pipe.u64()?);
                    self.pipe.await_answer(false);
                    let ran = LinkRan {
                        clocks: clocks.saturating_sub(self.clocks),
                        idle: flags & 1 != 0,
                        resetting: flags & 2 != 0,
                        pending: flags & 4 != 0,
                        queued,
                    };
                    self.clocks = clocks;
                    return Ok(ran);
                }
                op => return Err(self.pipe.nonsense(op)),
            }
        }
    }

    fn take_tlps(&mut self) -> Vec<SentTlp> {
        std::mem::take(&mut self.sent)
    }

    fn take_tx(&mut self) -> Vec<TxFrame> {
        std::mem::take(&mut self.tx)
    }

    fn clocks(&self) -> u64 {
        self.clocks
    }
}
