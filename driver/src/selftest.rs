//! A test of the way to a card, in the field and in the test bench: the same checks for every transport.
//!
//! ```text
//!   identity --> reset --> registers --> order of writes --> card writes memory --> card reads memory --> interrupt
//! ```
//!
//! It resets the card and sends one frame of the local experimental ethertype 0x88b5 (IEEE 802, to the broadcast address)
//! out of port 0, because the card reads host memory for nothing else. Afterwards the card is reset again, with empty rings.
//!
//! What it leaves out: the exception ring, which needs a frame from outside.

use std::time::{Duration, Instant};

use nat64_layout::dump::{DUMP_BYTES, DUMP_WORDS};
use nat64_layout::regs::{
    AbiHash, Ctrl, DumpAddrHigh, DumpAddrLow, DumpDoneHigh, DumpDoneLow, DumpFirst, DumpGo, ExcCtrl, Ident,
    InjBaseHigh, InjBaseLow, InjCtrl, InjTail, InjWbHigh, InjWbLow, Scratch, MAGIC,
};
use nat64_layout::{ABI_HASH, MIN_FRAME};

use crate::link;
use crate::ring::{ring_bytes, InjectRing};
use crate::transport::{Bar, DeviceError, Transport, IRQ_PROGRESS};

/// Ethertype of the frame the test sends: IEEE 802 local experimental 1.
pub const ETHERTYPE: u16 = 0x88b5;
/// Records copied by the test.
const RECORDS: u32 = 8;
/// What memory holds before the card writes it.
const UNTOUCHED: u64 = 0x5555_aaaa_3333_cccc;

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// What was found when it is good, what is wrong when it is not.
    pub result: Result<String, String>,
}

impl Check {
    /// Whether it is good.
    pub fn passed(&self) -> bool {
        self.result.is_ok()
    }
}

struct Bench<'a> {
    card: &'a mut dyn Transport,
    timeout: Duration,
}

type Outcome = Result<String, String>;

fn text(error: DeviceError) -> String {
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(&error) {
        text.push_str(&format!(": {source}"));
    }
    text
}

impl Bench<'_> {
    fn read(&mut self, offset: u32) -> Result<u32, String> {
        self.card.read32(Bar::Bar0, offset).map_err(text)
    }

    fn write(&mut self, offset: u32, value: u32) -> Result<(), String> {
        self.card.write32(Bar::Bar0, offset, value).map_err(text)
    }

    fn write64(&mut self, low: u32, high: u32, value: u64) -> Result<(), String> {
        self.write(low, value as u32)?;
        self.write(high, (value >> 32) as u32)
    }

    /// Waits until `done`; which interrupts came meanwhile.
    fn until(&mut self, what: &str, mut done: impl FnMut() -> bool) -> Result<u32, String> {
        let start = Instant::now();
        let mut irqs = 0;
        while !done() {
            if start.elapsed() > self.timeout {
                return Err(format!("{what} did not happen in {:?}", self.timeout));
            }
            irqs |= self.card.wait(Duration::from_millis(10)).map_err(text)?;
        }
        Ok(irqs)
    }

    fn identity(&mut self) -> Outcome {
        let ident = self.read(Ident::OFFSET)?;
        let abi = self.read(AbiHash::OFFSET)?;
        match (ident, abi) {
            (MAGIC, ABI_HASH) => Ok(format!("ABI hash {abi:#010x}")),
            (MAGIC, _) => Err(format!(
                "ABI hash {abi:#010x}, the driver's is {ABI_HASH:#010x}: use a bitstream of this version"
            )),
            (u32::MAX, _) => Err("all ones: the card does not answer".into()),
            _ => Err(format!("identity {ident:#010x}, expected {MAGIC:#010x}")),
        }
    }

    fn reset(&mut self) -> Outcome {
        self.write(Scratch::OFFSET, 0x0bad_cafe)?;
        self.write(Ctrl::OFFSET, 1)?;
        let start = Instant::now();
        self.card.reset().map_err(text)?;
        let took = start.elapsed();
        for (name, offset) in [
            ("Scratch", Scratch::OFFSET),
            ("Ctrl", Ctrl::OFFSET),
            ("ExcCtrl", ExcCtrl::OFFSET),
        ] {
            let value = self.read(offset)?;
            if value != 0 {
                return Err(format!("{name} is {value:#x} after it"));
            }
        }
        Ok(format!("in {took:.1?}"))
    }

    fn registers(&mut self) -> Outcome {
        for bit in 0..32 {
            for value in [1u32 << bit, !(1u32 << bit)] {
                self.write(Scratch::OFFSET, value)?;
                let read = self.read(Scratch::OFFSET)?;
                if read != value {
                    return Err(format!("{value:#010x} came back as {read:#010x}"));
                }
            }
        }
        Ok("every bit, both ways".into())
    }

    fn order(&mut self) -> Outcome {
        for round in 0..64u32 {
            for i in 0..16 {
                self.write(Scratch::OFFSET, round << 8 | i)?;
            }
            let read = self.read(Scratch::OFFSET)?;
            if read != round << 8 | 15 {
                return Err(format!(
                    "the last of 16 writes was {:#x}, read {read:#x}",
                    round << 8 | 15
                ));
            }
        }
        Ok("reads come after the writes before them".into())
    }

    fn card_writes(&mut self) -> Outcome {
        let dump = self.card.dma_alloc(RECORDS as usize * DUMP_BYTES).map_err(text)?;
        let done = self.card.dma_alloc(64).map_err(text)?;
        (0..dump.memory.words()).for_each(|i| dump.memory.store(i, UNTOUCHED));
        self.write64(DumpAddrLow::OFFSET, DumpAddrHigh::OFFSET, dump.iova)?;
        self.write64(DumpDoneLow::OFFSET, DumpDoneHigh::OFFSET, done.iova)?;
        self.write(DumpFirst::OFFSET, 0)?;
        let mut go = DumpGo(0);
        go.set_count(RECORDS);
        go.set_sequence(0xa5);
        self.write(DumpGo::OFFSET, go.0)?;
        let word = done.memory.clone();
        let mut irqs = self.until("the copy of activity", || word.load_acquire(0) == 0xa5)?;
        let words = RECORDS as usize * DUMP_WORDS;
        if let Some(at) = (0..words).find(|&i| dump.memory.load(i) == UNTOUCHED) {
            return Err(format!("word {at} of {words} was not written before the completion"));
        }
        if let Some(at) = (words..dump.memory.words()).find(|&i| dump.memory.load(i) != UNTOUCHED) {
            return Err(format!("word {at}, behind the end, was written"));
        }
        let start = Instant::now();
        while irqs & IRQ_PROGRESS == 0 && start.elapsed() < self.timeout {
            irqs |= self.card.wait(Duration::from_millis(10)).map_err(text)?;
        }
        if irqs & IRQ_PROGRESS == 0 {
            return Err("the data came, the interrupt did not".into());
        }
        Ok(format!("{words} words in order, and the interrupt"))
    }

    fn card_reads(&mut self) -> Outcome {
        let ring = self.card.dma_alloc(ring_bytes(1)).map_err(text)?;
        let writeback = self.card.dma_alloc(64).map_err(text)?;
        self.write64(InjBaseLow::OFFSET, InjBaseHigh::OFFSET, ring.iova)?;
        self.write64(InjWbLow::OFFSET, InjWbHigh::OFFSET, writeback.iova)?;
        let mut control = InjCtrl(0);
        control.set_log2(1);
        control.set_enable(1);
        self.write(InjCtrl::OFFSET, control.0)?;
        let mut inject = InjectRing::new(ring.memory, 1, writeback.memory);
        let frame = link::build(
            [0xff; 6],
            [2, 0, 0, 0, 0, 1],
            [None; 2],
            ETHERTYPE,
            &[0x64; MIN_FRAME - 14],
        );
        inject.push(0, &frame).map_err(|e| e.to_string())?;
        self.write(InjTail::OFFSET, inject.doorbell())?;
        self.until("the sending of a frame", || inject.is_idle())?;
        Ok("one frame out of port 0".into())
    }
}

type Step<'a> = (&'static str, fn(&mut Bench<'a>) -> Outcome);

/// Runs all checks. The first that fails ends the test: what comes after it builds on it.
pub fn self_test(card: &mut dyn Transport, timeout: Duration) -> Vec<Check> {
    let steps: [Step<'_>; 7] = [
        ("identity", Bench::identity),
        ("function reset", Bench::reset),
        ("registers", Bench::registers),
        ("order of accesses", Bench::order),
        ("the card writes memory and interrupts", Bench::card_writes),
        ("the card reads memory", Bench::card_reads),
        ("function reset with rings on", Bench::reset),
    ];
    let mut bench = Bench { card, timeout };
    let mut checks = Vec::new();
    for (name, step) in steps {
        let result = step(&mut bench);
        let failed = result.is_err();
        checks.push(Check { name, result });
        if failed {
            break;
        }
    }
    checks
}

#[cfg(test)]
mod tests {
    use nat64_layout::Geometry;

    use super::*;
    use crate::testing::FakeTransport;

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn a_good_card_passes_and_sends_one_frame() {
        let mut card = FakeTransport::new(Geometry::STANDARD);
        let checks = self_test(&mut card, Duration::from_secs(5));
        assert!(checks.iter().all(Check::passed), "{checks:#?}");
        assert_eq!(checks.len(), 7);
        let sent = std::mem::take(&mut card.card().sent);
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].0, &sent[0].1[12..14]), (0, &ETHERTYPE.to_be_bytes()[..]));
    }

    #[test]
    fn each_fault_is_found_by_its_check() {
        let broken = |fault: fn(&mut crate::testing::Faults)| {
            let mut card = FakeTransport::new(Geometry::STANDARD);
            fault(&mut card.card().faults);
            let checks = self_test(&mut card, SHORT);
            let last = checks.last().expect("some").clone();
            assert!(!last.passed(), "{checks:?}");
            last.name
        };
        assert_eq!(broken(|f| f.gone = true), "identity");
        assert_eq!(broken(|f| f.abi = Some(1)), "identity");
        assert_eq!(broken(|f| f.scratch = true), "registers");
        assert_eq!(broken(|f| f.dump = true), "the card writes memory and interrupts");
        assert_eq!(broken(|f| f.inject = true), "the card reads memory");
    }
}
