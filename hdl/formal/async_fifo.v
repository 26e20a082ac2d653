// AsyncFifo, four words, two clocks with nothing in common: a step of the proof has an edge of either, of both or of none.
//
// Proven by induction over one step, for runs of any length: no side reads or writes past the other, what each side knows of the
// other lies behind the truth and in order, one bit of a count moves at a time, and every word comes out as it went in.
//
// expose top$writer: wire [2:0] at_now = at$q & 3'h7, gray_now = gray$q & 3'h7;
// expose top$reader: wire [2:0] at_now = at$q & 3'h7, gray_now = gray$q & 3'h7;
// expose top$writer$seen: wire [2:0] meta_now = meta & 3'h7, stable_now = stable & 3'h7;
// expose top$reader$seen: wire [2:0] meta_now = meta & 3'h7, stable_now = stable & 3'h7;
// expose top$writer$memory: wire [7:0] all = {mem[3], mem[2], mem[1], mem[0]};
// expose top$writer$metas: wire [3:0] all = {mem[3], mem[2], mem[1], mem[0]};
// break: two_top = 3'b110 => two_top = 3'b100
// break: take = push & free => take = push
// break: gray$d = after ^ (after >> 32'h1) => gray$d = after
// break: seen$d = write_gray => seen$d = write_gray + 1
module proof(input write_clock, input read_clock, input push, input pop, input [1:0] data_in, input meta_in);
wire room, valid, meta; wire [1:0] data;
top dut(.write_clock(write_clock), .read_clock(read_clock), .push(push), .data_in(data_in), .meta_in(meta_in), .room(room),
  .valid(valid), .data(data), .meta(meta), .pop(pop));
(* hierconn *) wire [2:0] \dut.writer.at_now ;
(* hierconn *) wire [2:0] \dut.writer.gray_now ;
(* hierconn *) wire [2:0] \dut.reader.at_now ;
(* hierconn *) wire [2:0] \dut.reader.gray_now ;
(* hierconn *) wire [2:0] \dut.reader.seen.meta_now ;
(* hierconn *) wire [2:0] \dut.reader.seen.stable_now ;
(* hierconn *) wire [2:0] \dut.writer.seen.meta_now ;
(* hierconn *) wire [2:0] \dut.writer.seen.stable_now ;
(* hierconn *) wire \dut.reader.load ;
(* hierconn *) wire \dut.writer.take ;
(* hierconn *) wire [7:0] \dut.writer.memory.all ;
(* hierconn *) wire [3:0] \dut.writer.metas.all ;
wire [2:0] w = \dut.writer.at_now , r = \dut.reader.at_now ;
function [2:0] bin(input [2:0] g); bin = {g[2], g[2] ^ g[1], g[2] ^ g[1] ^ g[0]}; endfunction
wire [2:0] ws1 = bin(\dut.reader.seen.meta_now ), ws2 = bin(\dut.reader.seen.stable_now );
wire [2:0] rs1 = bin(\dut.writer.seen.meta_now ), rs2 = bin(\dut.writer.seen.stable_now );
wire [2:0] used = w - r, seen1 = ws1 - r, seen2 = ws2 - r, held1 = w - rs1, held2 = w - rs2;
(* anyconst *) wire [2:0] place;
reg [2:0] want = 0; reg [2:0] got = 0; reg taken = 0;
wire [2:0] ahead = place - r;
wire [1:0] slot = place[1:0];
wire [2:0] there = { \dut.writer.metas.all [slot], \dut.writer.memory.all [2*slot +: 2]};
// what was written last at a place, and whether the reader's register has it
always @(posedge write_clock) if ( \dut.writer.take && w == place) want <= {meta_in, data_in};
always @(posedge read_clock) begin
  if ( \dut.reader.load ) begin taken <= r == place; got <= want; end
end
reg [2:0] gray_before = 0;
always @(posedge write_clock) gray_before <= \dut.writer.gray_now ;
wire [2:0] moved = gray_before ^ \dut.writer.gray_now ;
reg [2:0] back_before = 0;
always @(posedge read_clock) back_before <= \dut.reader.gray_now ;
wire [2:0] back_moved = back_before ^ \dut.reader.gray_now ;
always @(*) begin
  // never more words than places; what each side knows lies behind the truth and in order
  assert (used <= 4);
  assert (seen2 <= seen1 && seen1 <= used);
  assert (held2 <= 4 && used <= held1 && held1 <= held2);
  assert ( \dut.writer.gray_now == (w ^ (w >> 1)));
  assert ( \dut.reader.gray_now == (r ^ (r >> 1)));
  // one bit moves at a time
  assert ((moved & (moved - 3'd1)) == 0);
  assert ((back_moved & (back_moved - 3'd1)) == 0);
  // the word at any place is the one that was written there, until it is read
  if (ahead < used) assert (there == want);
  if (taken && valid) assert ({meta, data} == got);
end
endmodule
