// Stands in for the core in tests of the bench; `src/fake.rs` is the same in Rust.
module top(
  input clock, input [63:0] time_ns,
  input rx0_valid, output rx0_ready, input [63:0] rx0_data, input [2:0] rx0_count, input rx0_first, input rx0_last, input rx0_error,
  input rx1_valid, output rx1_ready, input [63:0] rx1_data, input [2:0] rx1_count, input rx1_first, input rx1_last, input rx1_error,
  output tx0_valid, input tx0_ready, output [63:0] tx0_data, output [2:0] tx0_count, output tx0_first, output tx0_last, output tx0_error,
  output tx1_valid, input tx1_ready, output [63:0] tx1_data, output [2:0] tx1_count, output tx1_first, output tx1_last, output tx1_error,
  input csr_write, input csr_bar2, input [23:0] csr_addr, input [31:0] csr_wdata,
  input csr_read, input [15:0] csr_raddr, output csr_done, output [31:0] csr_rdata,
  output mw_valid, input mw_ready, output [63:0] mw_addr, output [63:0] mw_data, output mw_first, output mw_last,
  output mr_valid, input mr_ready, output [63:0] mr_addr, output [12:0] mr_len,
  input md_valid, output md_ready, input [63:0] md_data, input md_last, input md_error,
  output [1:0] irq, output idle);
  reg v0 = 0, v1 = 0, done = 0, pulse = 0, stuck = 0;
  reg [69:0] b0 = 0, b1 = 0;
  reg [31:0] rdata = 0, scratch = 0, low = 0, high = 0, written = 0;
  reg [12:0] len = 0;
  reg [63:0] sum = 0;
  reg [1:0] state = 0;
  assign rx0_ready = !v0 || tx1_ready;
  assign rx1_ready = !v1 || tx0_ready;
  assign tx1_valid = v0;
  assign tx0_valid = v1;
  assign {tx1_data, tx1_count, tx1_first, tx1_last, tx1_error} = b0;
  assign {tx0_data, tx0_count, tx0_first, tx0_last, tx0_error} = b1;
  assign csr_done = done;
  assign csr_rdata = rdata;
  assign mr_valid = state == 1;
  assign mr_addr = {high, low};
  assign mr_len = len;
  assign md_ready = state == 2;
  assign mw_valid = state == 3;
  assign mw_addr = {high, low} + 64'h800;
  assign mw_data = sum;
  assign mw_first = 1;
  assign mw_last = 1;
  assign irq = {pulse, 1'b0};
  assign idle = state == 0 && !v0 && !v1 && !stuck;
  always @(posedge clock) begin
    if (!v0 || tx1_ready) begin v0 <= rx0_valid; b0 <= {rx0_data, rx0_count, rx0_first, rx0_last, rx0_error}; end
    if (!v1 || tx0_ready) begin v1 <= rx1_valid; b1 <= {rx1_data, rx1_count, rx1_first, rx1_last, rx1_error}; end
    done <= csr_read && csr_raddr != 16'hfff0;
    case (csr_raddr)
      16'h001c: rdata <= scratch;
      16'h0110: rdata <= time_ns[31:0];
      16'h0200: rdata <= written;
      default: rdata <= 0;
    endcase
    pulse <= 0;
    if (csr_write) begin
      written <= written + 1;
      if (!csr_bar2 && csr_addr == 24'h1c) scratch <= csr_wdata;
      if (!csr_bar2 && csr_addr == 24'h400) low <= csr_wdata;
      if (!csr_bar2 && csr_addr == 24'h404) high <= csr_wdata;
      if (!csr_bar2 && csr_addr == 24'h408) stuck <= csr_wdata[0];
      if (!csr_bar2 && csr_addr == 24'h414) begin len <= csr_wdata[12:0]; sum <= 0; state <= 1; end
    end
    if (state == 1 && mr_ready) state <= 2;
    if (state == 2 && md_valid) begin
      sum <= md_error ? 64'hffffffffffffffff : sum + md_data;
      if (md_last) state <= 3;
    end
    if (state == 3 && mw_ready) begin state <= 0; pulse <= 1; end
  end
endmodule
