//! What the driver's side of a card costs, against a transport that does nothing: sessions go into the card by posted
//! writes alone, and both that and the exception ring are fast enough that the driver is never the narrow place.
//!
//! Times are processor time of this thread, each put in relation to what the [`pace`] of the machine was in the same moment,
//! and the middle one of many rounds counts, so that a busy machine does not matter. The figures are printed: `cargo test --release -p nat64-driver --test speed -- --nocapture`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nat64_driver::{Card, CardOptions, DeviceError, DmaBuffer, HostMemory, Transport};
use nat64_layout::regs::{AbiHash, Geometry as GeometryRegister, Ident, Scratch, MAGIC};
use nat64_layout::ring::{own_phase, ExceptionDescriptor, DESCRIPTOR_BYTES, SLOT_BYTES};
use nat64_layout::{Bar, Geometry, Protocol, Reason, Record, ABI_HASH, WAYS};
use nat64_xlate::SessionId;

mod pace;

use pace::{cpu, median, Pace};

/// What is asked for, of either.
const FLOOR: f64 = 1e6;

#[derive(Default)]
struct Counts {
    reads: AtomicUsize,
    writes: AtomicUsize,
    scratch: AtomicUsize,
    buffers: Mutex<Vec<DmaBuffer>>,
}

/// Registers enough to be opened, and nothing behind them.
struct Null(Arc<Counts>, HostMemory);

impl Transport for Null {
    fn read32(&mut self, _: Bar, offset: u32) -> Result<u32, DeviceError> {
        self.0.reads.fetch_add(1, Ordering::Relaxed);
        Ok(match offset {
            Ident::OFFSET => MAGIC,
            AbiHash::OFFSET => ABI_HASH,
            GeometryRegister::OFFSET => {
                let mut register = GeometryRegister(0);
                register.set_record_log2(Geometry::STANDARD.record_log2 as u32);
                register.set_bucket_log2(Geometry::STANDARD.bucket_log2 as u32);
                register.set_stash(Geometry::STANDARD.stash as u32);
                register.set_ways(WAYS as u32);
                register.0
            }
            Scratch::OFFSET => self.0.scratch.load(Ordering::Relaxed) as u32,
            _ => 0,
        })
    }

    fn write32(&mut self, bar: Bar, offset: u32, value: u32) -> Result<(), DeviceError> {
        self.0.writes.fetch_add(1, Ordering::Relaxed);
        if (bar, offset) == (Bar::Bar0, Scratch::OFFSET) {
            self.0.scratch.store(value as usize, Ordering::Relaxed);
        }
        Ok(())
    }

    fn write_burst(&mut self, _: Bar, _: u32, values: &[u32]) -> Result<(), DeviceError> {
        self.0.writes.fetch_add(values.len(), Ordering::Relaxed);
        std::hint::black_box(values);
        Ok(())
    }

    fn dma_alloc(&mut self, bytes: usize) -> Result<DmaBuffer, DeviceError> {
        let buffer = self.1.alloc(bytes).ok_or(DeviceError::DmaAlloc { bytes })?;
        self.0.buffers.lock().expect("no panics").push(buffer.clone());
        Ok(buffer)
    }

    fn wait(&mut self, _: Duration) -> Result<u32, DeviceError> {
        Ok(0)
    }

    fn reset(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

const EXCEPTION_LOG2: usize = 10;

fn card() -> (Arc<Counts>, Card) {
    let counts = Arc::new(Counts::default());
    let options = CardOptions {
        exception_log2: EXCEPTION_LOG2,
        ..CardOptions::default()
    };
    let card = Card::open(Box::new(Null(counts.clone(), HostMemory::new())), options).expect("opens");
    (counts, card)
}

fn session(n: u32) -> (SessionId, Record) {
    let id = SessionId { slot: n, generation: 1 };
    let record = Record {
        protocol: Protocol::Udp,
        pref64: 0,
        unit: 0,
        hop6: 0,
        hop4: 1,
        client_port: 1024 + (n % 60_000) as u16,
        remote_port: 443,
        pool_port: 1024 + (n % 60_000) as u16,
        remote: 0x5db8_d822,
        pool: 0xcb00_7101,
        client: 0x2001_0db8 << 96 | u128::from(n >> 4),
    };
    (id, record)
}

#[test]
fn sessions_are_installed_by_posted_writes_alone_and_fast() {
    let (counts, mut card) = card();
    // Three quarters full: as a card in use.
    let sessions: Vec<_> = (0..1536).map(session).collect();
    let (mut rates, pace) = (Vec::new(), Pace::new());
    let (reads, writes) = (
        counts.reads.load(Ordering::Relaxed),
        counts.writes.load(Ordering::Relaxed),
    );
    let mut installed = 0;
    for _ in 0..200 {
        let start = cpu();
        for (id, record) in &sessions {
            card.install(*id, record, 0).expect("room");
        }
        let rate = sessions.len() as f64 / (cpu() - start);
        rates.push(rate * pace.stretch());
        installed += sessions.len();
        for (id, _) in &sessions {
            card.remove(*id).expect("installed").expect("installed");
        }
    }
    assert_eq!(counts.reads.load(Ordering::Relaxed), reads, "not one register is read");
    let per_session = (counts.writes.load(Ordering::Relaxed) - writes) as f64 / installed as f64;
    // A record of nine words and two tags, and the same to clear them; a few more where tags had to move.
    assert!((22.0..26.0).contains(&per_session), "{per_session} words a session");
    let rate = median(rates);
    println!(
        "installs: {:.2} M records/s of processor time, {per_session:.1} words a session with its removal",
        rate / 1e6
    );
    assert!(rate >= FLOOR, "{rate:.0} records a second, {FLOOR:.0} are wanted");
}

#[test]
fn exceptions_are_taken_fast() {
    let (counts, mut card) = card();
    // The first buffer is the exception ring.
    let ring = counts.buffers.lock().expect("no panics")[0].memory.clone();
    let slots = 1u32 << EXCEPTION_LOG2;
    let mut frame = Vec::new();
    let (mut rates, pace) = (Vec::new(), Pace::new());
    let reads = counts.reads.load(Ordering::Relaxed);
    for lap in 0..40u32 {
        // The card's part, not counted: short frames, as first packets are.
        for slot in 0..slots {
            let words = ExceptionDescriptor {
                time_ns: 1,
                sequence: lap * slots + slot,
                reason: Reason::NoSession as u8,
                port: 0,
                unit: Some(0),
                cut: false,
                length: 78,
                own: own_phase(lap * slots + slot, EXCEPTION_LOG2),
            }
            .to_words();
            let at = slot as usize * SLOT_BYTES;
            ring.write_bytes(at + DESCRIPTOR_BYTES, &[lap as u8; 78]);
            (0..4).for_each(|i| ring.store_release(at / 8 + i, words[i]));
        }
        let start = cpu();
        for _ in 0..slots {
            let taken = card.take(&mut frame).expect("filled").expect("good");
            assert_eq!(
                (taken.reason, frame.len(), frame[77]),
                (Reason::NoSession, 78, lap as u8)
            );
            card.give_back().expect("posted");
        }
        let rate = f64::from(slots) / (cpu() - start);
        rates.push(rate * pace.stretch());
        assert!(card.take(&mut frame).is_none());
    }
    assert_eq!(counts.reads.load(Ordering::Relaxed), reads, "not one register is read");
    let rate = median(rates);
    println!(
        "exceptions: {:.2} M slots/s of processor time, each given back by itself",
        rate / 1e6
    );
    assert!(rate >= FLOOR, "{rate:.0} slots a second, {FLOOR:.0} are wanted");
}
