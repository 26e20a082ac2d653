//! Pads: the double data rate pins of RGMII on a part, as Verilog, and models of the part's primitives to simulate them.
//!
//! ```text
//!  rgmii_rxd  --> DELAYG --> IDDRX1F --> rxd_rise, rxd_fall       rgmii_txd  <-- ODDRX1F <-- txd_rise, txd_fall
//!  rgmii_rx_clk ------------------> rx_clock                      rgmii_tx_clk <-- ODDRX1F <-- 1, 0
//! ```
//!
//! RGMII wants 1.5 to 2 ns between a clock edge and the data it belongs to (RGMII 2.0, 3.3, "internal delay"). Of the receive side
//! [`RECEIVE_DELAY`] steps of the pin's delay line give it, when the PHY does not add it itself; the transmit clock leaves
//! through a register of its own, on a clock that the board's PLL shifts by a quarter (`tx_clock90`), or on the same clock
//! when the PHY delays it.
//!
//! The Verilog is text because a pin has both edges, and RustHDL's clocked blocks one. What is behind the pins is
//! [`super::port::RgmiiPort`].

/// Steps of 25 ps (nominal) of the delay line in front of each receive register on an ECP5: 2 ns.
pub const RECEIVE_DELAY: u32 = 80;

/// Module `rgmii_pads` for an ECP5: pins on one side, the ports of [`super::port::RgmiiPort`] on the other.
///
/// `delay` is in steps of 25 ps, 0 to 127; 0 when the PHY delays.
pub fn ecp5(delay: u32) -> String {
    let mut text = String::from(
        "module rgmii_pads(\n  input wire rgmii_rx_clk, input wire [3:0] rgmii_rxd, input wire rgmii_rx_ctl,\n  \
         output wire rgmii_tx_clk, output wire [3:0] rgmii_txd, output wire rgmii_tx_ctl,\n  \
         input wire tx_clock, input wire tx_clock90,\n  output wire rx_clock,\n  \
         output wire [3:0] rxd_rise, output wire [3:0] rxd_fall, output wire rx_ctl_rise, output wire rx_ctl_fall,\n  \
         input wire [3:0] txd_rise, input wire [3:0] txd_fall, input wire tx_ctl_rise, input wire tx_ctl_fall\n);\n\
         assign rx_clock = rgmii_rx_clk;\nwire [4:0] in = {rgmii_rx_ctl, rgmii_rxd};\nwire [4:0] late, rise, fall, out;\n\
         assign {rx_ctl_rise, rxd_rise} = rise;\nassign {rx_ctl_fall, rxd_fall} = fall;\n\
         assign {rgmii_tx_ctl, rgmii_txd} = out;\nwire [4:0] out_rise = {tx_ctl_rise, txd_rise};\n\
         wire [4:0] out_fall = {tx_ctl_fall, txd_fall};\n",
    );
    for i in 0..5 {
        text += &format!(
            "DELAYG #(.DEL_MODE(\"USER_DEFINED\"), .DEL_VALUE({delay})) delay{i}(.A(in[{i}]), .Z(late[{i}]));\n\
             IDDRX1F iddr{i}(.D(late[{i}]), .SCLK(rgmii_rx_clk), .RST(1'b0), .Q0(rise[{i}]), .Q1(fall[{i}]));\n\
             ODDRX1F oddr{i}(.D0(out_rise[{i}]), .D1(out_fall[{i}]), .SCLK(tx_clock), .RST(1'b0), .Q(out[{i}]));\n"
        );
    }
    text + "ODDRX1F oddr_clk(.D0(1'b1), .D1(1'b0), .SCLK(tx_clock90), .RST(1'b0), .Q(rgmii_tx_clk));\nendmodule\n"
}

/// Models of `DELAYG`, `IDDRX1F`, `ODDRX1F` and `BB` (a pin of both directions) for simulation, after Lattice's description of them
/// (ECP5 and ECP5-5G high-speed I/O interface, FPGA-TN-02035): both bits of an input come together with the rising edge behind them; an output has `D0`
/// while the clock is high. They have no delays. Place and route has cells of these names, so these are never synthesized.
pub const ECP5_MODELS: &str = "\
module DELAYG(input wire A, output wire Z);
parameter DEL_MODE = \"USER_DEFINED\";
parameter DEL_VALUE = 0;
assign Z = A;
endmodule
module IDDRX1F(input wire D, input wire SCLK, input wire RST, output reg Q0, output reg Q1);
reg high = 0, low = 0;
initial begin Q0 = 0; Q1 = 0; end
always @(posedge SCLK) begin high <= D; Q0 <= RST ? 1'b0 : high; Q1 <= RST ? 1'b0 : low; end
always @(negedge SCLK) low <= D;
endmodule
module ODDRX1F(input wire D0, input wire D1, input wire SCLK, input wire RST, output wire Q);
reg first = 0, second = 0;
always @(posedge SCLK) begin first <= RST ? 1'b0 : D0; second <= RST ? 1'b0 : D1; end
assign Q = SCLK ? first : second;
endmodule
module BB(input wire I, input wire T, output wire O, inout wire B);
assign B = T ? 1'bz : I;
assign O = B;
endmodule
";

/// Module `rgmii_port`: a port from its pins to the core's streams, as the cocotb tests and boards use it. `port` is the Verilog of
/// [`super::port::RgmiiPort`], whose module stays `top`.
pub fn with_pins(port: &str, delay: u32) -> String {
    let (inside, outside) = (port_pins(port), ["rxd_", "rx_ctl_", "txd_", "tx_ctl_"]);
    let through: Vec<&(String, String)> = inside
        .iter()
        .filter(|(name, _)| name != "rx_clock" && !outside.iter().any(|ddr| name.starts_with(ddr)))
        .collect();
    let pins = [
        "input wire rgmii_rx_clk",
        "input wire [3:0] rgmii_rxd",
        "input wire rgmii_rx_ctl",
        "output wire rgmii_tx_clk",
        "output wire [3:0] rgmii_txd",
        "output wire rgmii_tx_ctl",
        "input wire tx_clock90",
    ];
    let mut list: Vec<String> = pins.map(str::to_string).into();
    list.extend(through.iter().map(|(name, kind)| format!("{kind} {name}")));
    let connected: Vec<String> = inside.iter().map(|(name, _)| format!(".{name}({name})")).collect();
    let wires = "wire rx_clock;\nwire [3:0] rxd_rise, rxd_fall, txd_rise, txd_fall;\n\
                 wire rx_ctl_rise, rx_ctl_fall, tx_ctl_rise, tx_ctl_fall;\n";
    let pads = [
        "rgmii_rx_clk",
        "rgmii_rxd",
        "rgmii_rx_ctl",
        "rgmii_tx_clk",
        "rgmii_txd",
        "rgmii_tx_ctl",
        "tx_clock",
        "tx_clock90",
        "rx_clock",
        "rxd_rise",
        "rxd_fall",
        "rx_ctl_rise",
        "rx_ctl_fall",
        "txd_rise",
        "txd_fall",
        "tx_ctl_rise",
        "tx_ctl_fall",
    ]
    .map(|pin| format!(".{pin}({pin})"));
    format!(
        "module rgmii_port(\n  {}\n);\n{wires}rgmii_pads pads({});\ntop port({});\nendmodule\n{}{port}",
        list.join(",\n  "),
        pads.join(", "),
        connected.join(", "),
        ecp5(delay)
    )
}

/// Names and declarations of the ports of module `top` in Verilog that RustHDL wrote.
fn port_pins(verilog: &str) -> Vec<(String, String)> {
    let body = verilog.split("module top(").nth(1).unwrap_or_default();
    let body = body.split("endmodule").next().unwrap_or_default();
    body.lines()
        .filter_map(|line| {
            let line = line.trim().strip_suffix(';')?;
            let (direction, rest) = line.split_once(' ')?;
            let rest = rest.trim().trim_start_matches("wire").trim_start_matches("reg").trim();
            let name = rest.rsplit(' ').next()?;
            let width = rest.strip_suffix(name)?.trim();
            matches!(direction, "input" | "output").then(|| (name.to_string(), format!("{direction} wire {width}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pins_of_a_module_are_found() {
        let text = "module top(a,b);\n    input wire  a;\n    output reg  [3:0] b;\n    reg c;\nendmodule\n";
        let pins = port_pins(text);
        let want = [("a", "input wire "), ("b", "output wire [3:0]")].map(|(n, d)| (n.to_string(), d.to_string()));
        assert_eq!(pins, want);
    }
}
