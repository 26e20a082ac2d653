//! Verilog text of the cores.

use crate::prelude::*;

use crate::cam::Way;
use crate::core::{Core128, Core512, Core64};
use crate::ingress::Skid;
use crate::mac::fifo::AsyncFifo;
use crate::mac::port::RgmiiPort;
use crate::pcie::{Endpoint512, Endpoint64};
use crate::prim::SmallFifo;
use crate::punt::Punt;

/// Name of the top module in the exported text (RustHDL gives no choice).
pub const TOP: &str = "top";

/// Bus widths that [`core_verilog`] exports.
pub const WIDTHS: [usize; 3] = [64, 128, 512];

pub(crate) fn text<B: Block + Default>() -> String {
    let mut core = Box::<B>::default();
    core.connect_all();
    generate_verilog(core.as_ref())
}

/// The core as Verilog-2005 with the pins of ARCHITECTURE.md; `None` for a width there is no core of.
pub fn core_verilog(width: usize) -> Option<String> {
    match width {
        64 => on_a_large_stack(text::<Core64>),
        128 => on_a_large_stack(text::<Core128>),
        512 => on_a_large_stack(text::<Core512>),
        _ => None,
    }
}

/// The endpoint (core at 64 bits and PCI Express transaction layer) as Verilog-2005 with the pins of ARCHITECTURE.md.
pub fn endpoint_verilog() -> Option<String> {
    on_a_large_stack(text::<Endpoint64>)
}

/// A network port of 1 Gbit/s (from the double data rate registers of RGMII to the core's streams) as Verilog-2005.
pub fn rgmii_port_verilog() -> Option<String> {
    on_a_large_stack(text::<RgmiiPort>)
}

/// The endpoint with the core at 512 bits, the same way.
pub fn endpoint512_verilog() -> Option<String> {
    on_a_large_stack(text::<Endpoint512>)
}

/// Makes the Verilog of one block.
type Build = fn() -> String;

/// The blocks that `hdl/formal/` has proofs of, as small as the proof allows: names and Verilog-2005.
pub fn proven_blocks() -> Option<Vec<(&'static str, String)>> {
    let blocks: [(&str, Build); 5] = [
        ("async_fifo", text::<AsyncFifo<Bits<2>, Bits<1>, 2, 3>>),
        ("small_fifo", text::<SmallFifo<Bits<2>, 2>>),
        ("skid", text::<Skid<16, 1>>),
        ("way", text::<Way<2, 2>>),
        ("punt", text::<Punt<64, 3>>),
    ];
    let text = |(name, build)| on_a_large_stack(build).map(|text| (name, text));
    blocks.into_iter().map(text).collect()
}

/// Builds on a thread of its own, because a core is larger than an ordinary stack.
fn on_a_large_stack(build: fn() -> String) -> Option<String> {
    let thread = std::thread::Builder::new()
        .name("export".into())
        .stack_size(STACK_BYTES)
        .spawn(build)
        .ok()?;
    thread.join().ok()
}

/// Stack a thread needs to hold a core while it is built.
pub const STACK_BYTES: usize = 256 << 20;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::process::Command;

    /// Lints text whose top module is `top` with Verilator; what it says, but for [`WAIVERS`].
    pub(crate) fn lint(name: &str, text: &str, top: &str) -> (bool, String) {
        let file = std::env::temp_dir().join(format!("nat64-lint-{name}-{}.v", std::process::id()));
        std::fs::write(&file, text).unwrap();
        let out = Command::new("verilator")
            .args([
                "--lint-only",
                "-Wall",
                "--default-language",
                "1364-2005",
                "--top-module",
                top,
            ])
            .args(WAIVERS.map(|waiver| format!("-Wno-{waiver}")))
            .arg(&file)
            .output()
            .unwrap_or_else(|e| panic!("verilator: {e}; run `cargo xtask setup`"));
        let _ = std::fs::remove_file(&file);
        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        (out.status.success(), said)
    }

    /// Every text there is, by its file's name.
    fn texts() -> impl Iterator<Item = (String, String)> {
        let cores = WIDTHS.map(|w| (format!("core{w}"), core_verilog as fn(usize) -> Option<String>, w));
        let endpoint = (
            "endpoint".to_string(),
            (|_| endpoint_verilog()) as fn(usize) -> Option<String>,
            64,
        );
        let port = (
            "rgmii_port".to_string(),
            (|_| rgmii_port_verilog()) as fn(usize) -> Option<String>,
            64,
        );
        cores
            .into_iter()
            .chain([endpoint, port])
            .map(|(name, make, width)| (name, make(width).expect("it exports")))
    }

    #[test]
    fn every_text_elaborates_without_a_warning() {
        for (name, text) in texts() {
            let file = std::env::temp_dir().join(format!("nat64-{name}-{}.v", std::process::id()));
            std::fs::write(&file, text).unwrap();
            let out = Command::new("iverilog")
                .args(["-g2005", "-Wall", "-t", "null", "-s", TOP])
                .arg(&file)
                .output()
                .unwrap_or_else(|e| panic!("iverilog: {e}; run `cargo xtask setup`"));
            let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
            let said: Vec<&str> = said.lines().filter(|line| !crate::testkit::tolerated(line)).collect();
            assert!(out.status.success() && said.is_empty(), "{name}: {}", said.join("\n"));
            let _ = std::fs::remove_file(&file);
        }
    }

    /// What Verilator's lint may say about the exported text, and why it means nothing there. All else fails the test: latches,
    /// several drivers, missing pins, blocking assignments in clocked blocks, ...
    pub(crate) const WAIVERS: [&str; 5] = [
        // The module is named `top` whatever the file's name is.
        "DECLFILENAME",
        // RustHDL writes every literal and slice offset with 32 or 64 bits and casts with masks. That widths mean the same in
        // both descriptions is what the replays of every block check.
        "WIDTH",
        // Structs travel whole, and a block reads the fields it needs.
        "UNUSEDSIGNAL",
        // A kernel is one `always @(*)`, so that two independent paths through it look like one loop. A real loop makes
        // RustHDL's simulator panic.
        "UNOPTFLAT",
        // A sub-block's port may have the name of a block of its parent: `sum.sum`.
        "VARHIDDEN",
    ];

    #[test]
    fn lint_of_every_text_is_clean_but_for_the_waivers() {
        for (name, text) in texts() {
            let (ok, said) = lint(&name, &text, TOP);
            assert!(ok && said.trim().is_empty(), "{name}: {said}");
        }
    }

    #[test]
    fn there_is_no_core_of_other_widths() {
        assert!(core_verilog(96).is_none());
    }
}
