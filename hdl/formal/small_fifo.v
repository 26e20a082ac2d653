// SmallFifo, with three of its four places in use at most (whoever pushes counts): words come out in order, none is lost, and a word
// is shown two clocks after it was pushed, whatever was before.
// break: load = (write_at$q != read_at$q) & (~full$q | pop) => load = write_at$q != read_at$q
// break: full$d = load | (full$q & ~pop) => full$d = load | full$q
module proof(input clock, input push, input pop, input [1:0] data_in);
wire valid; wire [1:0] data;
top dut(.clock(clock), .push(push), .data_in(data_in), .pop(pop), .valid(valid), .data(data));
// a FIFO as simple as can be: the oldest word first
reg [1:0] count = 0; reg [1:0] q0 = 0, q1 = 0, q2 = 0; reg [1:0] waited = 0;
always @(*) begin
  assume (clock);
  assume (!(push && count == 3));
  assume (!(pop && !valid));
  if (valid) assert (count != 0 && data == q0);
  assert (!(waited >= 2 && !valid));
end
wire [1:0] left = count - pop;
always @(posedge clock) begin
  if (pop) begin q0 <= q1; q1 <= q2; end
  if (push) case (left)
    0: q0 <= data_in;
    1: q1 <= data_in;
    2: q2 <= data_in;
    default: ;
  endcase
  count <= left + push;
  waited <= (count == 0 || valid) ? 0 : waited + (waited != 3);
end
endmodule
