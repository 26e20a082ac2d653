//! The 100G-class card as a project for a vendor's tool: the endpoint at W = 512 between AXI-Stream ports.
//!
//! ```text
//!  s_axis_rxP --> axis_to_beats --> |                 | --> beats_to_axis --> m_axis_txP      P = 0, 1
//!                                   | nat64_endpoint  |
//!  s_axis_tlp --------------------> |                 | --------------------> m_axis_tlp
//!             clock counter ------> | time_ns         |
//! ```
//!
//! One clock for everything; MACs and the PCI Express block bring their own clocks and the FIFOs to this one. AXI-Stream as 100G
//! MACs have it: byte 0 of a frame in the lowest lane, `tkeep` without holes and never 0, only the last beat may be short, `tuser`
//! with the last beat says that the frame is damaged. The TLP streams are the endpoint's own (ARCHITECTURE.md), `tkeep` by DW.
//!
//! Frames of 60 bytes come at most every 6.72 ns on a 100G link, so 150 MHz is one lookup for each of them; [`CLOCK_NS`] is what the
//! project asks for. No vendor tool has been run on it: nobody knows whether it meets that.

use crate::export::endpoint512_verilog;
use nat64_layout::MAX_FRAME;

/// Part of the project: an accelerator card that can be bought with two 100G cages.
pub const PART: &str = "xcu250-figd2104-2L-e";
/// Period the project asks for: 200 MHz, 102.4 Gbit/s.
pub const CLOCK_NS: u32 = 5;

/// Beats of AXI-Stream to beats of the core and back, for any width. Combinational but for `first`.
pub const ADAPTERS: &str = "\
module axis_to_beats #(parameter W = 512, parameter LB = 6) (
  input wire clock,
  input wire tvalid, output wire tready, input wire [W-1:0] tdata, input wire [W/8-1:0] tkeep, input wire tlast, input wire tuser,
  output wire valid, input wire ready, output reg [W-1:0] data, output reg [LB-1:0] count, output wire first, output wire last,
  output wire error
);
reg within;
initial within = 1'b0;
always @(posedge clock) if (tvalid && tready) within <= !tlast;
assign valid = tvalid;
assign tready = ready;
assign first = !within;
assign last = tlast;
assign error = tlast && tuser;
integer i;
always @(*) begin
  count = {LB{1'b0}};
  for (i = 0; i < W/8; i = i + 1) begin
    data[W-1-8*i -: 8] = tdata[8*i +: 8];
    // the highest lane in use; all of them are 0 modulo 2^LB
    if (tlast && tkeep[i] && (i == W/8-1 || !tkeep[(i+1) % (W/8)])) count = i + 1;
  end
end
endmodule
module beats_to_axis #(parameter W = 512, parameter LB = 6) (
  input wire valid, output wire ready, input wire [W-1:0] data, input wire [LB-1:0] count, input wire last, input wire error,
  output wire tvalid, input wire tready, output reg [W-1:0] tdata, output reg [W/8-1:0] tkeep, output wire tlast, output wire tuser
);
assign tvalid = valid;
assign ready = tready;
assign tlast = last;
assign tuser = last && error;
integer i;
always @(*) begin
  for (i = 0; i < W/8; i = i + 1) begin
    tdata[8*i +: 8] = data[W-1-8*i -: 8];
    tkeep[i] = !last || (count == {LB{1'b0}}) || (i < count);
  end
end
endmodule
";

/// Files of the project, by name; `None` when the endpoint cannot be built.
pub fn project() -> Option<Vec<(String, String)>> {
    let endpoint = endpoint512_verilog()?
        .replace("module top(", "module nat64_endpoint(")
        .replace("top$", "nat64_endpoint$");
    let files = [
        ("nat64_endpoint.v", endpoint),
        ("nat64_us.v", wrapper()),
        ("nat64_us.xdc", constraints()),
        ("build.tcl", script()),
    ];
    Some(files.map(|(name, text)| (name.to_string(), text)).into())
}

fn port(p: usize) -> String {
    format!(
        "  input wire s_axis_rx{p}_tvalid, output wire s_axis_rx{p}_tready, input wire [511:0] s_axis_rx{p}_tdata,\n  \
           input wire [63:0] s_axis_rx{p}_tkeep, input wire s_axis_rx{p}_tlast, input wire s_axis_rx{p}_tuser,\n  \
           output wire m_axis_tx{p}_tvalid, input wire m_axis_tx{p}_tready, output wire [511:0] m_axis_tx{p}_tdata,\n  \
           output wire [63:0] m_axis_tx{p}_tkeep, output wire m_axis_tx{p}_tlast, output wire m_axis_tx{p}_tuser,\n"
    )
}

fn adapters(p: usize) -> String {
    format!(
        "wire rx{p}_valid, rx{p}_ready, rx{p}_first, rx{p}_last, rx{p}_error;\nwire [511:0] rx{p}_data;\nwire [5:0] rx{p}_count;\n\
         axis_to_beats in{p}(.clock(clk), .tvalid(s_axis_rx{p}_tvalid), .tready(s_axis_rx{p}_tready), .tdata(s_axis_rx{p}_tdata),\n  \
           .tkeep(s_axis_rx{p}_tkeep), .tlast(s_axis_rx{p}_tlast), .tuser(s_axis_rx{p}_tuser), .valid(rx{p}_valid),\n  \
           .ready(rx{p}_ready), .data(rx{p}_data), .count(rx{p}_count), .first(rx{p}_first), .last(rx{p}_last), .error(rx{p}_error));\n\
         wire tx{p}_valid, tx{p}_ready, tx{p}_first, tx{p}_last, tx{p}_error;\nwire [511:0] tx{p}_data;\nwire [5:0] tx{p}_count;\n\
         beats_to_axis out{p}(.valid(tx{p}_valid), .ready(tx{p}_ready), .data(tx{p}_data), .count(tx{p}_count), .last(tx{p}_last),\n  \
           .error(tx{p}_error), .tvalid(m_axis_tx{p}_tvalid), .tready(m_axis_tx{p}_tready), .tdata(m_axis_tx{p}_tdata),\n  \
           .tkeep(m_axis_tx{p}_tkeep), .tlast(m_axis_tx{p}_tlast), .tuser(m_axis_tx{p}_tuser));\n"
    )
}

/// Module `nat64_us`: see the module documentation.
fn wrapper() -> String {
    let stream = ["valid", "ready", "data", "count", "first", "last", "error"];
    let streams: String = (0..2)
        .flat_map(|p| ["rx", "tx"].map(|side| (p, side)))
        .flat_map(|(p, side)| stream.map(|pin| format!(",\n  .{side}{p}_{pin}({side}{p}_{pin})")))
        .collect();
    format!(
        "// Made from hdl/src/board/ultrascale.rs; do not edit. Frames of at most {MAX_FRAME} bytes.\n{ADAPTERS}\
         module nat64_us(\n  input wire clk,\n{}{}  \
           input wire s_axis_tlp_tvalid, output wire s_axis_tlp_tready, input wire [63:0] s_axis_tlp_tdata,\n  \
           input wire [1:0] s_axis_tlp_tkeep, input wire s_axis_tlp_tlast, input wire [1:0] s_axis_tlp_tuser,\n  \
           output wire m_axis_tlp_tvalid, input wire m_axis_tlp_tready, output wire [63:0] m_axis_tlp_tdata,\n  \
           output wire [1:0] m_axis_tlp_tkeep, output wire m_axis_tlp_tlast, output wire tlp_np_ok,\n  \
           input wire credit_p, input wire credit_n, input wire credit_c,\n  \
           input wire [15:0] cfg_id, input wire [2:0] cfg_max_payload, input wire [2:0] cfg_max_read,\n  \
           input wire cfg_bus_master, input wire cfg_msix_enable, input wire cfg_msix_mask, input wire cfg_flr,\n  \
           output wire resetting, output wire pending, output wire idle,\n  \
           output wire [4:0] mac_word, output wire mac_write, output wire [31:0] mac_wdata, input wire [31:0] mac_data\n);\n\
         reg [63:0] time_ns;\ninitial time_ns = 64'h0;\nalways @(posedge clk) time_ns <= time_ns + 64'd{CLOCK_NS};\n{}{}\
         nat64_endpoint endpoint(.clock(clk), .time_ns(time_ns){streams},\n  \
           .tlp_rx_valid(s_axis_tlp_tvalid), .tlp_rx_ready(s_axis_tlp_tready), .tlp_rx_data(s_axis_tlp_tdata),\n  \
           .tlp_rx_keep(s_axis_tlp_tkeep), .tlp_rx_last(s_axis_tlp_tlast), .tlp_rx_bar(s_axis_tlp_tuser), .tlp_rx_np_ok(tlp_np_ok),\n  \
           .tlp_tx_valid(m_axis_tlp_tvalid), .tlp_tx_ready(m_axis_tlp_tready), .tlp_tx_data(m_axis_tlp_tdata),\n  \
           .tlp_tx_keep(m_axis_tlp_tkeep), .tlp_tx_last(m_axis_tlp_tlast), .credit_p(credit_p), .credit_n(credit_n),\n  \
           .credit_c(credit_c), .cfg_id(cfg_id), .cfg_max_payload(cfg_max_payload), .cfg_max_read(cfg_max_read),\n  \
           .cfg_bus_master(cfg_bus_master), .cfg_msix_enable(cfg_msix_enable), .cfg_msix_mask(cfg_msix_mask), .cfg_flr(cfg_flr),\n  \
           .resetting(resetting), .pending(pending), .idle(idle),\n  \
           .mac_word(mac_word), .mac_write(mac_write), .mac_wdata(mac_wdata), .mac_data(mac_data));\nendmodule\n",
        port(0),
        port(1),
        adapters(0),
        adapters(1),
    )
}

fn constraints() -> String {
    format!(
        "# Made from hdl/src/board/ultrascale.rs; do not edit.\n\
         # The one clock. The pins are the neighbours' (MACs, PCI Express block), so they have no places here.\n\
         create_clock -name clk -period {CLOCK_NS}.000 [get_ports clk]\n"
    )
}

fn script() -> String {
    format!(
        "# Made from hdl/src/board/ultrascale.rs; do not edit.\n\
         # vivado -mode batch -source build.tcl: synthesis, place and route of the card out of context, with reports. Fails when the clock\n\
         # misses its period.\n\
         set here [file dirname [file normalize [info script]]]\n\
         create_project -in_memory -part {PART}\n\
         read_verilog [list $here/nat64_endpoint.v $here/nat64_us.v]\nread_xdc $here/nat64_us.xdc\n\
         synth_design -top nat64_us -mode out_of_context -flatten_hierarchy rebuilt\n\
         opt_design\nplace_design\nphys_opt_design\nroute_design\n\
         report_utilization -hierarchical -hierarchical_depth 3 -file utilization.txt\n\
         report_timing_summary -max_paths 10 -file timing.txt\nwrite_checkpoint -force nat64_us.dcp\n\
         set slack [get_property SLACK [get_timing_paths -max_paths 1 -setup]]\n\
         puts \"worst setup slack: $slack ns of {CLOCK_NS} ns\"\n\
         if {{$slack < 0}} {{ error \"the clock misses its period\" }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn run(program: &str, arguments: &[&str], folder: &std::path::Path) -> (bool, String) {
        let out = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .output()
            .unwrap_or_else(|e| panic!("{program}: {e}; run `cargo xtask setup`"));
        let said = [out.stdout, out.stderr].concat();
        (out.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    fn scratch(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("nat64-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn the_project_elaborates_without_a_warning() {
        let folder = scratch("us");
        for (name, text) in project().expect("the endpoint exports") {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let files = [
            "-g2005",
            "-Wall",
            "-t",
            "null",
            "-s",
            "nat64_us",
            "nat64_endpoint.v",
            "nat64_us.v",
        ];
        let (ok, said) = run("iverilog", &files, &folder);
        let said: Vec<&str> = said.lines().filter(|line| !crate::testkit::tolerated(line)).collect();
        assert!(ok && said.is_empty(), "{}", said.join("\n"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// Frames of every length from 1 to 200 bytes, and some damaged ones, with gaps and back-pressure, through both adapters: each
    /// byte where it belongs, as a core would see it, and the same beats behind.
    #[test]
    fn adapters_keep_every_byte_and_mark_first_and_last() {
        let folder = scratch("axis");
        let bench = "
module bench;
localparam W = 64, LB = 3, B = W / 8;
reg clk = 0;
always #1 clk = !clk;
reg tvalid = 0, tlast = 0, tuser = 0, out_ready = 0;
reg [W-1:0] tdata = 0;
reg [B-1:0] tkeep = 0;
wire tready, valid, ready, first, last, error, out_valid, out_last, out_user;
wire [W-1:0] data, out_data;
wire [LB-1:0] count;
wire [B-1:0] out_keep;
axis_to_beats #(W, LB) a(clk, tvalid, tready, tdata, tkeep, tlast, tuser, valid, ready, data, count, first, last, error);
beats_to_axis #(W, LB) b(valid, ready, data, count, last, error, out_valid, out_ready, out_data, out_keep, out_last, out_user);
integer length, at, i, n, seen = 0, seed = 7;
initial begin
  for (length = 1; length <= 200; length = length + 1) begin
    for (at = 0; at < length; at = at + B) begin
      @(negedge clk);
      while ($random(seed) & 1) begin tvalid = 0; out_ready = $random(seed); @(negedge clk); end
      n = length - at > B ? B : length - at;
      tvalid = 1; tlast = length - at <= B; tuser = tlast & length[0];
      for (i = 0; i < B; i = i + 1) begin tkeep[i] = i < n; tdata[8*i +: 8] = at + i + length; end
      out_ready = $random(seed);
      #0.1;
      while (!tready) begin
        @(negedge clk); out_ready = $random(seed); #0.1;
      end
      if (!valid || first != (at == 0) || last != tlast || error != tuser) begin $display(\"marks of %0d at %0d\", length, at); $finish; end
      if (last && count != n % B) begin $display(\"count of %0d: %0d\", length, count); $finish; end
      for (i = 0; i < n; i = i + 1) if (data[W-1-8*i -: 8] != ((at + i + length) & 255)) begin $display(\"byte %0d of %0d\", at + i, length); $finish; end
      if (!out_valid || out_data != tdata || out_keep != tkeep || out_last != tlast || out_user != tuser) begin $display(\"behind: %0d at %0d\", length, at); $finish; end
      seen = seen + n;
      @(posedge clk);
    end
  end
  $display(\"BYTES %0d\", seen);
  $finish;
end
endmodule
";
        std::fs::write(folder.join("axis.v"), ADAPTERS.to_string() + bench).unwrap();
        let (ok, said) = run(
            "iverilog",
            &["-g2005", "-o", "axis.vvp", "-s", "bench", "axis.v"],
            &folder,
        );
        assert!(ok, "{said}");
        let (ok, said) = run("vvp", &["-n", "axis.vvp"], &folder);
        assert!(ok && said.contains("BYTES 20100"), "{said}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
