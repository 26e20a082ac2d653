//! Boards: what stands around a core on a card, as Verilog, and what place and route must know of it.
//!
//! A board is described once, here: part, clocks with their constraints, pins. Its Verilog ([`Board::verilog`]), its
//! pin and clock constraints ([`Board::constraints`]) and the tools' options come from this description;
//! `cargo xtask synth` builds it and writes `bitstreams/NAME/`.
//!
//! | board | what it is for |
//! |---|---|
//! | `ecp5-versa` | the ECP5-5G Versa board: two network ports, TLPs on a serial line ([`versa`]); fills its part, and is not routed yet |
//! | `ecp5-85f` | the core at W = 64 on a harness of three pins: what the gateware reaches on the largest ECP5 |
//! | `ecp5-85f-w128` | the same at W = 128 |
//! | `ecp5-45f` | the same at W = 64 on the smaller part of the Versa board, no MACs |
//!
//! A block alone, on the same harness, is placed and timed in a minute or two ([`TIMED_BLOCKS`]): the place to look for a path
//! before a whole core is built.
//!
//! [`ultrascale`] is the 100G-class card as a project for a vendor's tool.

mod blocks;
mod harness;
pub mod ultrascale;
pub mod versa;

use crate::core::{Core128, Core64};
use crate::export::STACK_BYTES;
use crate::prelude::*;

pub use blocks::{TimedBlock, TIMED_BLOCKS};
pub use harness::TOP;

/// One clock of a board.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoardClock {
    /// Name of the port or net it enters by.
    pub net: &'static str,
    /// It is a port of the top, not a net.
    pub port: bool,
    /// What place and route must reach, MHz.
    pub mhz: f64,
    /// What it has on the board, MHz; of a harness what it is meant to have.
    pub runs: f64,
    /// What runs on it.
    pub what: &'static str,
}

/// A pin of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Bit of a port of the top.
    pub name: &'static str,
    /// Ball of the package.
    pub site: &'static str,
    /// Electrical standard, as Lattice names it.
    pub standard: &'static str,
}

/// A board that `cargo xtask synth` can build.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// Name: of the command line and of the folder below `bitstreams/`.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub what: &'static str,
    /// The maker's name of the part, with package and speed grade.
    pub part: &'static str,
    /// Options of nextpnr-ecp5 that name the part.
    pub device: &'static [&'static str],
    /// Options of openFPGALoader that reach the board; none for a harness, which is no board.
    pub loader: &'static [&'static str],
    /// Bus width of the core, bits.
    pub width: usize,
    /// Two-way sessions the card's table holds.
    pub sessions: usize,
    /// Its clocks.
    pub clocks: &'static [BoardClock],
    /// Its pins; none where place and route may choose.
    pub pins: &'static [Pin],
    /// Models of the part's primitives in its Verilog, to simulate it with.
    pub models: &'static [&'static str],
    build: fn() -> Option<String>,
}

/// 10 Gbit/s at 64 bits a clock.
const TEN_GIGABIT: &[BoardClock] = &[BoardClock {
    net: "clk",
    port: true,
    mhz: 156.25,
    runs: 156.25,
    what: "core: 64 bits a clock are 10 Gbit/s, 128 bits are 20",
}];

/// Every board.
pub const BOARDS: &[Board] = &[
    Board {
        name: "ecp5-85f",
        what: "the core at W = 64 with its streams on a harness of three pins, on the largest ECP5: the 10G timing target",
        part: "LFE5UM5G-85F-8BG381",
        device: &["--um5g-85k", "--package", "CABGA381", "--speed", "8"],
        loader: &[],
        width: 64,
        sessions: 1 << nat64_layout::RECORD_LOG2,
        clocks: TEN_GIGABIT,
        pins: &[],
        models: &[],
        build: || on_a_large_stack(harnessed::<Core64>),
    },
    Board {
        name: "ecp5-85f-w128",
        what: "the core at W = 128 with its streams on a harness of three pins, on the largest ECP5: the 20G timing target",
        part: "LFE5UM5G-85F-8BG381",
        device: &["--um5g-85k", "--package", "CABGA381", "--speed", "8"],
        loader: &[],
        width: 128,
        sessions: 1 << nat64_layout::RECORD_LOG2,
        clocks: TEN_GIGABIT,
        pins: &[],
        models: &[],
        build: || on_a_large_stack(harnessed::<Core128>),
    },
    Board {
        name: "ecp5-45f",
        what: "the core at W = 64 with its streams on a harness of three pins, on the part of the ECP5-5G Versa board",
        part: "LFE5UM5G-45F-8BG381",
        device: &["--um5g-45k", "--package", "CABGA381", "--speed", "8"],
        loader: &[],
        width: 64,
        sessions: 1 << nat64_layout::RECORD_LOG2,
        clocks: TEN_GIGABIT,
        pins: &[],
        models: &[],
        build: || on_a_large_stack(harnessed::<Core64>),
    },
    Board {
        name: "ecp5-versa",
        what: "the card on the Lattice ECP5-5G Versa board: two ports of 1 Gbit/s, TLPs on its serial line",
        part: "LFE5UM5G-45F-8BG381",
        device: &["--um5g-45k", "--package", "CABGA381", "--speed", "8"],
        // JTAG is the first channel of the board's FT2232H
        loader: &["--cable", "ft2232"],
        width: 64,
        sessions: 1 << nat64_layout::RECORD_LOG2,
        clocks: versa::CLOCKS,
        pins: versa::PINS,
        models: &[versa::MODELS, crate::mac::pads::ECP5_MODELS],
        build: versa::verilog,
    },
];

impl Board {
    /// The board of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        BOARDS.iter().find(|board| board.name == name)
    }

    /// Verilog-2005 of the whole board, top module [`TOP`]; `None` when no thread can be had to build it on.
    pub fn verilog(&self) -> Option<String> {
        (self.build)()
    }

    /// Constraints in Lattice's preference format: one frequency for each clock, place and standard of each pin. A harness has no
    /// board, so its pins have no places.
    pub fn constraints(&self) -> String {
        let frequency = |clock: &BoardClock| {
            let kind = if clock.port { "PORT" } else { "NET" };
            format!("FREQUENCY {kind} \"{}\" {} MHZ;\n", clock.net, clock.mhz)
        };
        let place = |pin: &Pin| {
            format!(
                "LOCATE COMP \"{0}\" SITE \"{1}\";\nIOBUF PORT \"{0}\" IO_TYPE={2};\n",
                pin.name, pin.site, pin.standard
            )
        };
        let head = format!(
            "# {}: {}. Made from hdl/src/board; do not edit.\n",
            self.name, self.part
        );
        head + &self.clocks.iter().map(frequency).collect::<String>() + &self.pins.iter().map(place).collect::<String>()
    }
}

impl Board {
    /// What `cargo xtask synth` has to know, as JSON: name, what, part, device (options of nextpnr-ecp5),
    /// loader (options of openFPGALoader), width (bits), sessions,
    /// abi_hash, top, clocks (net, mhz, runs, what).
    pub fn facts(&self) -> String {
        let quoted = |words: &[&str]| words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(", ");
        let clock = |c: &BoardClock| {
            format!(
                "{{\"net\": \"{}\", \"mhz\": {:?}, \"runs\": {:?}, \"what\": \"{}\"}}",
                c.net, c.mhz, c.runs, c.what
            )
        };
        let clocks: Vec<String> = self.clocks.iter().map(clock).collect();
        format!(
            "{{\"name\": \"{}\", \"what\": \"{}\", \"part\": \"{}\", \"device\": [{}], \"loader\": [{}], \"width\": {}, \"sessions\": {}, \
             \"abi_hash\": {}, \"top\": \"{TOP}\", \"clocks\": [{}]}}\n",
            self.name,
            self.what,
            self.part,
            quoted(self.device),
            quoted(self.loader),
            self.width,
            self.sessions,
            nat64_layout::ABI_HASH,
            clocks.join(", ")
        )
    }
}

/// Builds on a thread of its own: a core is larger than an ordinary stack.
fn on_a_large_stack(build: fn() -> String) -> Option<String> {
    let thread = std::thread::Builder::new()
        .name("board".into())
        .stack_size(STACK_BYTES)
        .spawn(build)
        .ok()?;
    thread.join().ok()
}

fn harnessed<B: Block + Default>() -> String {
    let mut block = Box::<B>::default();
    block.connect_all();
    harness::wrap(block.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn every_board_elaborates_without_a_warning() {
        for board in BOARDS {
            let text = board.models.concat() + &board.verilog().expect("a board exports");
            let file = std::env::temp_dir().join(format!("nat64-{}-{}.v", board.name, std::process::id()));
            std::fs::write(&file, text).unwrap();
            let out = Command::new("iverilog")
                .args(["-g2005", "-Wall", "-t", "null", "-s", TOP])
                .arg(&file)
                .output()
                .unwrap_or_else(|e| panic!("iverilog: {e}; run `cargo xtask setup`"));
            let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
            let said: Vec<&str> = said.lines().filter(|line| !crate::testkit::tolerated(line)).collect();
            assert!(
                out.status.success() && said.is_empty(),
                "{}: {}",
                board.name,
                said.join("\n")
            );
            let _ = std::fs::remove_file(&file);
        }
    }

    /// Modules without what is in them, which is not ours to lint: models have delays.
    fn ports_only(models: &str) -> String {
        let mut text = String::new();
        for module in models.split("module ").skip(1) {
            let Some((head, body)) = module.split_once(");") else {
                continue;
            };
            let parameters: String = body
                .split(';')
                .map(str::trim)
                .filter(|part| part.starts_with("parameter"))
                .map(|part| format!("{part};\n"))
                .collect();
            text += &format!("module {head});\n{parameters}endmodule\n");
        }
        let codes = ["UNDRIVEN", "UNUSEDSIGNAL", "UNUSEDPARAM"];
        let all = |what: &str| {
            codes
                .map(|code| format!("/* verilator lint_{what} {code} */\n"))
                .concat()
        };
        all("off") + &text + &all("on")
    }

    #[test]
    fn lint_of_a_board_is_clean_but_for_the_waivers() {
        // the others are the same harness around other widths of the core, which are linted in `export`
        for name in ["ecp5-85f", "ecp5-versa"] {
            let board = Board::named(name).expect("there is such a board");
            let text = ports_only(&board.models.concat()) + &board.verilog().expect("a board exports");
            let (ok, said) = crate::export::tests::lint(board.name, &text, TOP);
            assert!(ok && said.trim().is_empty(), "{name}: {said}");
        }
    }

    #[test]
    fn every_block_that_can_be_timed_exports() {
        for block in TIMED_BLOCKS {
            let text = block.verilog().expect("a block exports");
            assert!(text.contains(&format!("module {TOP}(")), "{}", block.name);
            assert!(TimedBlock::named(block.name).is_some());
        }
        assert!(TimedBlock::named("none").is_none());
    }

    #[test]
    fn names_are_unique_and_every_clock_is_constrained() {
        for (i, board) in BOARDS.iter().enumerate() {
            assert!(
                BOARDS[..i].iter().all(|other| other.name != board.name),
                "{}",
                board.name
            );
            assert!(!board.clocks.is_empty(), "{}", board.name);
            for clock in board.clocks {
                let kind = if clock.port { "PORT" } else { "NET" };
                let line = format!("FREQUENCY {kind} \"{}\" {} MHZ;", clock.net, clock.mhz);
                assert!(board.constraints().contains(&line), "{}", board.name);
            }
        }
        assert!(Board::named("ecp5-85f").is_some() && Board::named("none").is_none());
    }
}
