//! The Lattice ECP5-5G Versa board: the whole card with two network ports of 1 Gbit/s, its TLPs on a serial line.
//!
//! ```text
//!  clk100 --> PLL --+--> gate (until locked) --> core, transaction layer, serial link (see [`CORE_NS`])
//!                   +--> gate (until locked) --> 125 MHz: transmit clock of the ports
//!                   +--> 125 MHz, a quarter later: clocks that leave with transmitted data
//!  eth0 pins <--> rgmii_port <--> |          |     (streams; words of the MACs, with MDIO behind them)
//!  eth1 pins <--> rgmii_port <--> | endpoint | <--TLPs--> serial_link <--> uart pins (second line of the FTDI)
//! ```
//!
//! * The gateware has power-on values and no reset, so its clock begins when the PLL has locked: what a clock does before that would
//!   leave registers anywhere.
//! * The PHYs (Marvell 88E1512) are held in reset for 16.8 ms after that, and while the button `rst_n` is pressed. Delays between clock
//!   and data are made here in both directions ([`crate::mac::pads`]).
//! * Lights, from the first: port 0 is up at 1 Gbit/s, port 1 is, nothing is in flight, the clock runs (blinks).
//! * A soft PCI Express link goes where the serial link is: both sides of [`crate::serial`] are TLP ports.
//!
//! The pins are those that open projects use on this board. Each PHY has a management bus (MDIO) of its own.

use crate::export::{endpoint_verilog, rgmii_port_verilog, text};
use crate::mac::pads;
use crate::serial::SerialLink;
use nat64_layout::serial::{BAUD, RESEND_LOG2};

use super::{on_a_large_stack, BoardClock, Pin, TOP};

/// Period of the core's clock as the PLL makes it, ns; an even number, since the PLL's oscillator has 2 ns. Two ports of
/// 1 Gbit/s need a word of 64 bits every 32 ns.
const CORE_NS: usize = 8;
/// Period of the PLL's oscillator, ns.
const OSCILLATOR_NS: usize = 2;
const _: () = assert!(
    CORE_NS.is_multiple_of(OSCILLATOR_NS),
    "the PLL divides by whole numbers"
);
/// Clocks of a bit on the serial line, as near to [`BAUD`], which FTDI's divider gives exactly, as whole clocks are.
const DIV: usize = (1_000_000_000 / CORE_NS + BAUD as usize / 2) / BAUD as usize;

/// Clocks; the PLL's is named by its net.
pub(super) const CLOCKS: &[BoardClock] = &[
    BoardClock {
        net: "core_clock",
        port: false,
        mhz: 125.0,
        runs: 1000.0 / CORE_NS as f64,
        what: "core: 64 bits a clock are 8 Gbit/s",
    },
    BoardClock {
        net: "tx_clock",
        port: false,
        mhz: 125.0,
        runs: 125.0,
        what: "transmit clock of the ports",
    },
    BoardClock {
        net: "eth0_rx_clk",
        port: true,
        mhz: 125.0,
        runs: 125.0,
        what: "port 0: receive clock of the PHY",
    },
    BoardClock {
        net: "eth1_rx_clk",
        port: true,
        mhz: 125.0,
        runs: 125.0,
        what: "port 1: receive clock of the PHY",
    },
];

const fn pin(name: &'static str, site: &'static str, standard: &'static str) -> Pin {
    Pin { name, site, standard }
}

/// Pins.
pub(super) const PINS: &[Pin] = &[
    pin("clk100", "P3", "LVDS"),
    pin("rst_n", "T1", "LVCMOS33"),
    pin("uart_rx", "C11", "LVCMOS33"),
    pin("uart_tx", "A11", "LVCMOS33"),
    pin("led_n[0]", "E16", "LVCMOS25"),
    pin("led_n[1]", "D17", "LVCMOS25"),
    pin("led_n[2]", "D18", "LVCMOS25"),
    pin("led_n[3]", "E18", "LVCMOS25"),
    pin("eth0_rst_n", "U17", "LVCMOS25"),
    pin("eth0_mdc", "T18", "LVCMOS25"),
    pin("eth0_mdio", "U18", "LVCMOS25"),
    pin("eth0_rx_clk", "L20", "LVCMOS25"),
    pin("eth0_rx_ctl", "U19", "LVCMOS25"),
    pin("eth0_rxd[0]", "T20", "LVCMOS25"),
    pin("eth0_rxd[1]", "U20", "LVCMOS25"),
    pin("eth0_rxd[2]", "T19", "LVCMOS25"),
    pin("eth0_rxd[3]", "R18", "LVCMOS25"),
    pin("eth0_tx_clk", "P19", "LVCMOS25"),
    pin("eth0_tx_ctl", "R20", "LVCMOS25"),
    pin("eth0_txd[0]", "N19", "LVCMOS25"),
    pin("eth0_txd[1]", "N20", "LVCMOS25"),
    pin("eth0_txd[2]", "P18", "LVCMOS25"),
    pin("eth0_txd[3]", "P20", "LVCMOS25"),
    pin("eth1_rst_n", "F20", "LVCMOS25"),
    pin("eth1_mdc", "G19", "LVCMOS25"),
    pin("eth1_mdio", "H20", "LVCMOS25"),
    pin("eth1_rx_clk", "J19", "LVCMOS25"),
    pin("eth1_rx_ctl", "F19", "LVCMOS25"),
    pin("eth1_rxd[0]", "G18", "LVCMOS25"),
    pin("eth1_rxd[1]", "G16", "LVCMOS25"),
    pin("eth1_rxd[2]", "H18", "LVCMOS25"),
    pin("eth1_rxd[3]", "H17", "LVCMOS25"),
    pin("eth1_tx_clk", "C20", "LVCMOS25"),
    pin("eth1_tx_ctl", "E19", "LVCMOS25"),
    pin("eth1_txd[0]", "J17", "LVCMOS25"),
    pin("eth1_txd[1]", "J16", "LVCMOS25"),
    pin("eth1_txd[2]", "D19", "LVCMOS25"),
    pin("eth1_txd[3]", "D20", "LVCMOS25"),
];

/// Gives the top module of exported text another name, and with it all that are below.
fn renamed(verilog: &str, name: &str) -> String {
    verilog
        .replace("module top(", &format!("module {name}("))
        .replace("top port(", &format!("{name} port("))
        .replace("top$", &format!("{name}$"))
}

/// What is between a network port's pins and the endpoint.
fn port(p: usize) -> String {
    let mine = if p == 0 { "~mac_word[4]" } else { "mac_word[4]" };
    format!(
        "wire rx{p}_valid, rx{p}_ready, rx{p}_first, rx{p}_last, tx{p}_valid, tx{p}_ready, tx{p}_first, tx{p}_last, tx{p}_error;\n\
         wire [63:0] rx{p}_data, tx{p}_data;\nwire [2:0] rx{p}_count, tx{p}_count;\nwire [31:0] word{p};\nwire up{p}, mdio{p}_out, mdio{p}_enable, mdio{p}_in;\n\
         rgmii_port port{p}(.rgmii_rx_clk(eth{p}_rx_clk), .rgmii_rxd(eth{p}_rxd), .rgmii_rx_ctl(eth{p}_rx_ctl),\n  \
           .rgmii_tx_clk(eth{p}_tx_clk), .rgmii_txd(eth{p}_txd), .rgmii_tx_ctl(eth{p}_tx_ctl),\n  \
           .core_clock(core_clock), .tx_clock(tx_clock), .tx_clock90(late_clock),\n  \
           .rx_valid(rx{p}_valid), .rx_ready(rx{p}_ready), .rx_data(rx{p}_data), .rx_count(rx{p}_count),\n  \
           .rx_first(rx{p}_first), .rx_last(rx{p}_last), .tx_valid(tx{p}_valid), .tx_ready(tx{p}_ready), .tx_data(tx{p}_data),\n  \
           .tx_count(tx{p}_count), .tx_last(tx{p}_last), .tx_error(tx{p}_error), .word(mac_word[3:0]), .word_data(word{p}),\n  \
           .word_write(mac_write & {mine}), .word_wdata(mac_wdata), .mdc(eth{p}_mdc), .mdio_out(mdio{p}_out),\n  \
           .mdio_enable(mdio{p}_enable), .mdio_in(mdio{p}_in), .up(up{p}));\n\
         BB mdio{p}(.I(mdio{p}_out), .T(~mdio{p}_enable), .O(mdio{p}_in), .B(eth{p}_mdio));\n\
         assign eth{p}_rst_n = phys_run;\n"
    )
}

fn pins(p: usize) -> String {
    format!(
        ",\n  input wire eth{p}_rx_clk, input wire [3:0] eth{p}_rxd, input wire eth{p}_rx_ctl, output wire eth{p}_tx_clk,\n  \
           output wire [3:0] eth{p}_txd, output wire eth{p}_tx_ctl, output wire eth{p}_rst_n, output wire eth{p}_mdc,\n  \
           inout wire eth{p}_mdio"
    )
}

/// Verilog of the whole board; `None` when a part of it cannot be built.
pub(super) fn verilog() -> Option<String> {
    at_rate::<DIV>()
}

/// The same with another rate of the serial line: clocks of a bit.
fn at_rate<const BIT: usize>() -> Option<String> {
    let endpoint = renamed(&endpoint_verilog()?, "nat64_endpoint");
    let link = renamed(&on_a_large_stack(text::<SerialLink<BIT, RESEND_LOG2>>)?, "serial_link");
    let rgmii = renamed(
        &pads::with_pins(&rgmii_port_verilog()?, pads::RECEIVE_DELAY),
        "mac_port",
    );
    let stream = ["valid", "ready", "data", "count", "first", "last"];
    let streams: String = (0..2)
        .flat_map(|p| ["rx", "tx"].map(|side| (p, side)))
        .flat_map(|(p, side)| stream.map(|pin| format!(",\n  .{side}{p}_{pin}({side}{p}_{pin})")))
        .collect();
    // the same names on both sides of the TLP ports
    let tlp: String = [
        "tlp_rx_valid",
        "tlp_rx_ready",
        "tlp_rx_data",
        "tlp_rx_keep",
        "tlp_rx_last",
        "tlp_rx_bar",
        "tlp_rx_np_ok",
        "tlp_tx_valid",
        "tlp_tx_ready",
        "tlp_tx_data",
        "tlp_tx_keep",
        "tlp_tx_last",
        "cfg_id",
        "cfg_max_payload",
        "cfg_max_read",
        "cfg_bus_master",
        "cfg_msix_enable",
        "cfg_msix_mask",
        "cfg_flr",
        "resetting",
        "pending",
        "idle",
    ]
    .map(|name| format!(",\n  .{name}({name})"))
    .concat();
    let divide = CORE_NS / OSCILLATOR_NS;
    let (core_mhz, core_phase) = (1000.0 / CORE_NS as f64, divide - 1);
    Some(format!(
        "// Made from hdl/src/board/versa.rs; do not edit.\n\
         module {TOP}(\n  input wire clk100, input wire rst_n, input wire uart_rx, output wire uart_tx, output wire [3:0] led_n{}{}\n);\n\
         // 100 MHz / 4 * 5; the oscillator of the PLL is at 500 MHz, a quarter of 8 ns is one of its periods\n\
         wire pll_clock, late_clock, pll_core, locked, core_clock, tx_clock;\n\
         (* FREQUENCY_PIN_CLKI=\"100\", FREQUENCY_PIN_CLKOP=\"125\", FREQUENCY_PIN_CLKOS=\"125\", FREQUENCY_PIN_CLKOS2=\"{core_mhz}\",\n   \
            ICP_CURRENT=\"12\", LPF_RESISTOR=\"8\", MFG_ENABLE_FILTEROPAMP=\"1\", MFG_GMCREF_SEL=\"2\" *)\n\
         EHXPLLL #(.PLLRST_ENA(\"DISABLED\"), .INTFB_WAKE(\"DISABLED\"), .STDBY_ENABLE(\"DISABLED\"), .DPHASE_SOURCE(\"DISABLED\"),\n  \
           .OUTDIVIDER_MUXA(\"DIVA\"), .OUTDIVIDER_MUXB(\"DIVB\"), .OUTDIVIDER_MUXC(\"DIVC\"), .OUTDIVIDER_MUXD(\"DIVD\"),\n  \
           .CLKI_DIV(4), .CLKFB_DIV(5), .FEEDBK_PATH(\"CLKOP\"), .CLKOP_ENABLE(\"ENABLED\"), .CLKOP_DIV(4), .CLKOP_CPHASE(1),\n  \
           .CLKOP_FPHASE(0), .CLKOS_ENABLE(\"ENABLED\"), .CLKOS_DIV(4), .CLKOS_CPHASE(2), .CLKOS_FPHASE(0),\n  \
           .CLKOS2_ENABLE(\"ENABLED\"), .CLKOS2_DIV({divide}), .CLKOS2_CPHASE({core_phase}), .CLKOS2_FPHASE(0))\n\
         pll(.CLKI(clk100), .CLKFB(pll_clock), .CLKOP(pll_clock), .CLKOS(late_clock), .CLKOS2(pll_core), .LOCK(locked), .RST(1'b0), .STDBY(1'b0),\n  \
           .PHASESEL0(1'b0), .PHASESEL1(1'b0), .PHASEDIR(1'b1), .PHASESTEP(1'b1), .PHASELOADREG(1'b1), .PLLWAKESYNC(1'b0),\n  \
           .ENCLKOP(1'b0));\n\
         DCCA core_gate(.CLKI(pll_core), .CE(locked), .CLKO(core_clock));\n\
         DCCA tx_gate(.CLKI(pll_clock), .CE(locked), .CLKO(tx_clock));\n\
         // card time, and the PHYs' reset: 2^21 clocks\n\
         reg [63:0] time_ns;\nreg [21:0] phys;\nreg button_meta, button;\n\
         initial begin time_ns = 64'h0; phys = 22'h0; button_meta = 1'b0; button = 1'b0; end\n\
         always @(posedge core_clock) begin\n  time_ns <= time_ns + 64'd{CORE_NS};\n  button_meta <= rst_n;\n  button <= button_meta;\n  \
           if (!button) phys <= 22'h0; else if (!phys[21]) phys <= phys + 22'h1;\nend\n\
         wire phys_run = phys[21];\nwire [4:0] mac_word;\nwire mac_write;\nwire [31:0] mac_wdata;\n{}{}\
         wire tlp_rx_valid, tlp_rx_ready, tlp_rx_last, tlp_rx_np_ok, tlp_tx_valid, tlp_tx_ready, tlp_tx_last;\n\
         wire [63:0] tlp_rx_data, tlp_tx_data;\nwire [1:0] tlp_rx_keep, tlp_tx_keep, tlp_rx_bar;\nwire [15:0] cfg_id;\n\
         wire [2:0] cfg_max_payload, cfg_max_read;\nwire cfg_bus_master, cfg_msix_enable, cfg_msix_mask, cfg_flr, resetting, pending, idle;\n\
         wire link_busy;\n\
         nat64_endpoint endpoint(.clock(core_clock), .time_ns(time_ns), .rx0_error(1'b0), .rx1_error(1'b0),\n  \
           .tx0_error(tx0_error), .tx1_error(tx1_error), .mac_word(mac_word), .mac_write(mac_write), .mac_wdata(mac_wdata),\n  \
           .mac_data(mac_word[4] ? word1 : word0), .credit_p(1'b1), .credit_n(1'b1), .credit_c(1'b1){streams}{tlp});\n\
         serial_link link(.clock(core_clock), .rx(uart_rx), .tx(uart_tx), .busy(link_busy){tlp});\n\
         assign led_n = ~{{time_ns[29], idle & ~link_busy, up1, up0}};\nendmodule\n{rgmii}{link}{endpoint}",
        pins(0),
        pins(1),
        port(0),
        port(1),
    ))
}

/// Models of the board's primitives for simulation, beside those of the pads: a PLL that locks after some clocks and a clock gate
/// that changes while its clock is low. They have no delays and the oscillator's jitter is none.
pub const MODELS: &str = "\
`timescale 1ns/1ps
module EHXPLLL(input wire CLKI, input wire CLKFB, output reg CLKOP, output reg CLKOS, output reg CLKOS2, output reg LOCK, input wire RST, input wire STDBY,
  input wire PHASESEL0, input wire PHASESEL1, input wire PHASEDIR, input wire PHASESTEP, input wire PHASELOADREG,
  input wire PLLWAKESYNC, input wire ENCLKOP);
parameter PLLRST_ENA = \"\", INTFB_WAKE = \"\", STDBY_ENABLE = \"\", DPHASE_SOURCE = \"\", OUTDIVIDER_MUXA = \"\", OUTDIVIDER_MUXB = \"\",
  OUTDIVIDER_MUXC = \"\", OUTDIVIDER_MUXD = \"\", FEEDBK_PATH = \"\", CLKOP_ENABLE = \"\", CLKOS_ENABLE = \"\", CLKOS2_ENABLE = \"\";
parameter CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_DIV = 1, CLKOP_CPHASE = 0, CLKOP_FPHASE = 0, CLKOS_DIV = 1, CLKOS_CPHASE = 0, CLKOS_FPHASE = 0;
parameter CLKOS2_DIV = 1, CLKOS2_CPHASE = 0, CLKOS2_FPHASE = 0;
initial begin CLKOP = 0; CLKOS = 0; CLKOS2 = 0; LOCK = 0; #1000 LOCK = 1; end
// what CLKOP is at 100 MHz in, whatever the phase to CLKI
localparam real HALF = 10.0 * CLKI_DIV / CLKFB_DIV / 2.0;
localparam real STEP = 2.0 * HALF / CLKOP_DIV;
always #(HALF) CLKOP = !CLKOP;
always @(CLKOP) CLKOS <= #(STEP * (CLKOS_CPHASE - CLKOP_CPHASE) + STEP * (CLKOS_FPHASE - CLKOP_FPHASE) / 8.0) CLKOP;
always #(STEP * CLKOS2_DIV / 2.0) CLKOS2 = !CLKOS2;
endmodule
module DCCA(input wire CLKI, input wire CE, output wire CLKO);
reg open;
initial open = 0;
always @(negedge CLKI) open <= CE;
assign CLKO = CLKI & open;
endmodule
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mac::crc::check_sequence;
    use crate::serial::tests::frame;
    use nat64_layout::regs::{Ident, Mac0Mdio, Mac1Status, MAGIC};
    use nat64_layout::serial::{head, Kind, LinkSetup, ESCAPE, ESCAPED, FLAG};
    use std::process::Command;

    #[test]
    fn the_rate_of_the_line_is_near_enough() {
        let rate = 1e9 / CORE_NS as f64 / DIV as f64;
        assert!((rate / f64::from(BAUD) - 1.0).abs() < 0.01, "{rate} bits a second");
    }

    /// Clocks of a bit in the simulation: on a board's line it would take minutes.
    const FAST: usize = 6;

    /// A PHY at address 0 that has its register 2 read, once: it looks at the pin at rising edges of its clock, and its own bits
    /// come behind them (clause 22).
    const PHY: &str = "\
module phy(input wire mdc, inout wire mdio);
reg [6:0] n = 0; reg [63:0] s = 0; reg oe = 0, out = 0;
reg [15:0] word = 16'h0141;
pullup(mdio);
assign mdio = oe ? out : 1'bz;
always @(posedge mdc) begin
  n <= n + 1; s <= {s[62:0], mdio};
  if (n == 46) begin oe <= s[13:0] == {2'd1, 2'd2, 5'd0, 5'd2}; out <= 0; end
  if (n > 46) begin {out, word} <= {word, 1'b0}; oe <= oe & (n < 63); end
end
endmodule
";

    /// A host greets the board on its serial pins, reads a register of the core, one of a port, and one of a PHY: PLL, clock gates,
    /// pins, link, transaction layer, core, and the words of the MACs as they are wired.
    #[test]
    fn the_board_answers_on_its_serial_pins() {
        let mut setup = LinkSetup(0);
        setup.set_hello(true);
        setup.set_id(0x0100);
        let read = [0x0000_0001, 0x0000_050f, Ident::OFFSET];
        let [read_phy, read_port] = [Mac0Mdio::OFFSET, Mac1Status::OFFSET].map(|at| [0x0000_0001, 0x0000_060f, at]);
        let mut access = Mac0Mdio(0);
        access.set_go(1);
        access.set_register(2);
        let write_phy = [0x4000_0001, 0x0000_000f, Mac0Mdio::OFFSET, access.0.swap_bytes()];
        let send =
            |octets: Vec<u8>| -> String { octets.iter().map(|octet| format!("send(8'h{octet:02x});\n")).collect() };
        let sent = [
            send(frame(head(Kind::Setup, 6, 0), 0, &[setup.0])),
            send(frame(head(Kind::Tlp, 7, 0), 1, &read)),
            send(frame(head(Kind::Tlp, 0, 0), 1, &write_phy)),
            send(frame(head(Kind::Tlp, 1, 0), 1, &read_port)),
            // 64 bits of 64 clocks
            format!("#({});\n", 64 * 64 * CORE_NS),
            send(frame(head(Kind::Tlp, 2, 0), 1, &read_phy)),
        ]
        .concat();
        let bit = (FAST * CORE_NS) as f64;
        let bench = format!(
            "module bench;\nreg clk = 0, rx = 1;\nalways #5 clk = !clk;\nwire tx;\nwire [3:0] led_n;\nwire mdc, mdio;\n\
             phy phy(.mdc(mdc), .mdio(mdio));\n{TOP} uut(.clk100(clk), .rst_n(1'b1), .uart_rx(rx), .uart_tx(tx), .led_n(led_n), .eth0_rx_clk(1'b0), .eth0_rxd(4'h0),\n  \
               .eth0_rx_ctl(1'b0), .eth0_tx_clk(), .eth0_txd(), .eth0_tx_ctl(), .eth0_rst_n(),\n  \
               .eth0_mdc(mdc), .eth0_mdio(mdio), .eth1_mdc(), .eth1_mdio(), .eth1_rx_clk(1'b0), .eth1_rxd(4'h0),\n  \
               .eth1_rx_ctl(1'b0), .eth1_tx_clk(), .eth1_txd(), .eth1_tx_ctl(), .eth1_rst_n());\n\
             integer i, j;\nreg [7:0] got;\n\
             task send(input [7:0] octet);\nbegin\n  rx = 0; #({bit});\n  for (i = 0; i < 8; i = i + 1) begin rx = octet[i]; #({bit}); end\n  \
               rx = 1; #({bit});\nend\nendtask\n\
             initial begin\n#2000;\n{sent}#30000;\n$display(\"LEDS %b\", led_n);\n$finish;\nend\n\
             always @(negedge tx) begin\n  #({bit} * 1.5);\n  for (j = 0; j < 8; j = j + 1) begin got[j] = tx; #({bit}); end\n  \
               $display(\"OCTET %h\", got);\nend\nendmodule\n"
        );
        let folder = std::env::temp_dir().join(format!("nat64-versa-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let board = at_rate::<FAST>().expect("it exports");
        std::fs::write(
            folder.join("versa.v"),
            MODELS.to_string() + pads::ECP5_MODELS + PHY + &board + &bench,
        )
        .unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let out = Command::new(program).args(arguments).current_dir(&folder).output();
            let out = out.unwrap_or_else(|e| panic!("{program}: {e}; run `cargo xtask setup`"));
            let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
            assert!(out.status.success(), "{said}");
            said
        };
        run("iverilog", &["-g2005", "-o", "versa.vvp", "-s", "bench", "versa.v"]);
        let said = run("vvp", &["-n", "versa.vvp"]);
        let octets: Vec<u8> = said
            .lines()
            .filter_map(|line| u8::from_str_radix(line.strip_prefix("OCTET ")?, 16).ok())
            .collect();
        let frames: Vec<Vec<u8>> = octets
            .split(|&octet| octet == FLAG)
            .filter(|frame| !frame.is_empty())
            .map(|frame| {
                let mut escaped = false;
                let mut bytes = Vec::new();
                for &octet in frame {
                    if octet == ESCAPE {
                        escaped = true;
                    } else {
                        bytes.push(if std::mem::take(&mut escaped) {
                            octet ^ ESCAPED
                        } else {
                            octet
                        });
                    }
                }
                let (body, sum) = bytes.split_at(bytes.len() - 4);
                assert_eq!(check_sequence(body), sum, "{said}");
                body.to_vec()
            })
            .collect();
        assert_eq!(frames[0][0], head(Kind::Ack, 0, 7), "the answer to the hello: {said}");
        let completions: Vec<&[u8]> = frames
            .iter()
            .filter(|frame| Kind::of(frame[0]) == Kind::Tlp)
            .map(|frame| &frame[2..])
            .collect();
        let completion = |tag: u8, low: u32, value: u32| {
            [
                &[0x4a, 0, 0, 1, 1, 0, 0, 4, 0, 0, tag, low as u8 & 0x7f][..],
                &value.to_le_bytes(),
            ]
            .concat()
        };
        let want = [
            completion(5, Ident::OFFSET, MAGIC),
            // no cable
            completion(6, Mac1Status::OFFSET, 1 << 31),
            // what the PHY has, and that it answered
            completion(6, Mac0Mdio::OFFSET, 0x1000_0141),
        ];
        assert_eq!(completions, want, "{said}");
        // no cable, so no port is up
        assert!(
            said.contains("LEDS")
                && said
                    .lines()
                    .any(|line| line.starts_with("LEDS") && line.ends_with("11")),
            "{said}"
        );
        let _ = std::fs::remove_dir_all(&folder);
    }

    #[test]
    fn every_pin_of_the_top_has_a_place_of_its_own() {
        let board = verilog().expect("it exports");
        let head = board.split(");\n").next().expect("a top");
        let mut sites: Vec<&str> = PINS.iter().map(|pin| pin.site).collect();
        sites.sort_unstable();
        sites.dedup();
        assert_eq!(sites.len(), PINS.len(), "two pins at one place");
        for pin in PINS {
            let name = pin.name.split('[').next().expect("a name");
            assert!(head.contains(&format!(" {name}")), "{name}");
        }
        let bits = head.matches("wire").count() + head.matches("[3:0]").count() * 3;
        assert_eq!(bits, PINS.len(), "pins without a place:\n{head}");
    }
}
