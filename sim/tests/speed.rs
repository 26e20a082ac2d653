//! Clocks per second of the simulators of the card. By themselves: what runs beside them takes their caches.

#[path = "../../driver/tests/pace/mod.rs"]
mod pace;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nat64_driver::HostMemory;
use nat64_sim::bench_engine::measure;
use nat64_sim::compiled::Compiled;
use nat64_sim::engine::Engine;
use nat64_sim::rtl;
use pace::{median, Pace};

/// Clocks per second of processor time that the engines must reach at W = 64, on a machine as fast as the [`pace`] says.
const RTL_CLOCKS: f64 = 50_000.0;
const COMPILED_CLOCKS: f64 = 400_000.0;

/// Held by the one that is measured.
static ALONE: Mutex<()> = Mutex::new(());

/// Clocks per second of processor time of an engine, in the middle of some slices, each put in relation to the [`pace`] of the
/// machine in the same moments.
fn clocks_per_second(make: impl FnOnce(HostMemory) -> Box<dyn Engine> + Send + 'static) -> f64 {
    let measured = std::thread::Builder::new()
        .stack_size(nat64_hdl::export::STACK_BYTES)
        .spawn(move || {
            let (mut engine, pace) = (make(HostMemory::new()), Pace::new());
            let slice = || {
                let before = pace.stretch();
                let speed = measure(engine.as_mut(), Duration::from_millis(200)).expect("it runs");
                let stretch = (before + pace.stretch()) / 2.0;
                println!("{:.0} clocks/s, pace {stretch:.2}", speed.best);
                speed.best * stretch
            };
            median(std::iter::repeat_with(slice).take(9).collect())
        });
    measured.expect("a thread").join().expect("nobody panicked")
}

/// The RustHDL simulator. `nat64-sim bench-engine` shows the same numbers.
#[test]
fn the_rtl_engine_is_fast() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let speed = clocks_per_second(rtl::engine);
    println!("rtl: {speed:.0}");
    assert!(speed >= RTL_CLOCKS, "{speed:.0}");
}

#[test]
fn the_compiled_engine_is_fast() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let speed = clocks_per_second(|memory| Box::new(Compiled::start(memory).unwrap_or_else(|e| panic!("{e}"))));
    println!("rtl-compiled: {speed:.0}");
    assert!(speed >= COMPILED_CLOCKS, "{speed:.0}");
}
