// Skid, the stream register of the receive ports: beats come out in order, none is lost or made up, whatever the other side does, and
// it is ready unless both of its places are taken.
// break: ready = ~spare$q => ready = ~full$q
// break: spare$d = 1'b1 => spare$d = 1'b0
module proof(input clock, input valid, input pop, input [15:0] data, input count, input [2:0] flags);
wire ready, out_valid; wire [15:0] out_data; wire out_count; wire [2:0] out_flags;
top dut(.clock(clock), .valid(valid), .ready(ready), .data(data), .count(count), .flags(flags), .out_valid(out_valid),
  .out_data(out_data), .out_count(out_count), .out_flags(out_flags), .pop(pop));
reg [1:0] held = 0; reg [19:0] q0 = 0, q1 = 0;
wire take = valid && ready;
wire [1:0] left = held - pop;
always @(*) begin
  assume (clock);
  assume (!(pop && !out_valid));
  assert (out_valid == (held != 0));
  assert (ready == (held != 2));
  if (out_valid) assert ({out_data, out_count, out_flags} == q0);
end
always @(posedge clock) begin
  if (pop) q0 <= q1;
  if (take && left == 0) q0 <= {data, count, flags};
  if (take && left == 1) q1 <= {data, count, flags};
  held <= left + take;
end
endmodule
