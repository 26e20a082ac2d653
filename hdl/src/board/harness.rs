//! A harness of three pins around a block with hundreds, so that a bare core can be placed, routed and timed.
//!
//! ```text
//!   si -->| shift register |--> all inputs --> block --> all outputs -->| registers, XOR into a shift register |--> so
//! ```
//!
//! Every input comes from a register and every output ends in one, as beside real neighbours; nothing of the block can be
//! optimised away, because every output reaches the pin. It is for timing only: no frame can get through it.

use std::fmt::Write as _;

use crate::prelude::*;
use crate::testkit::Ports;

/// Name of the top module of a board.
pub const TOP: &str = "board";

/// The Verilog of `block` (connected), which becomes module `top`, and of the harness around it.
pub(super) fn wrap<B: Block>(block: &B) -> String {
    let ports = Ports::of(block);
    let total = |list: &[(String, usize)]| list.iter().map(|(_, bits)| bits).sum::<usize>();
    let (inputs, outputs) = (total(&ports.inputs), total(&ports.outputs));
    let mut text = format!(
        "// Made from hdl/src/board; do not edit.\nmodule {TOP}(input wire clk, input wire si, output reg so);\n\
         reg [{0}:0] feed = 0;\nwire [{1}:0] seen;\nreg [{1}:0] held = 0;\nreg [{1}:0] shift = 0;\ninitial so = 0;\n\
         always @(posedge clk) begin\n  feed <= {{feed[{2}:0], si}};\n  held <= seen;\n\
         \x20 shift <= {{shift[{3}:0], 1'b0}} ^ held;\n  so <= shift[{1}];\nend\ntop uut(.{4}(clk)",
        inputs - 1,
        outputs - 1,
        inputs - 2,
        outputs - 2,
        ports.clock.as_deref().unwrap_or("clock"),
    );
    for (bus, list) in [("feed", &ports.inputs), ("seen", &ports.outputs)] {
        let mut at = 0;
        for (name, bits) in list {
            let _ = write!(text, ",\n  .{name}({bus}[{}:{at}])", at + bits - 1);
            at += bits;
        }
    }
    text + ");\nendmodule\n" + &generate_verilog(block)
}
