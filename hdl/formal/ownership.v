// Punt, the writer of the exception ring: a slot belongs to one side at a time.
//
// Every word goes to the slot at `head`, only while that slot is the card's (fewer slots are full than there are); the frame is written
// before its descriptor; the word with OWN is the slot's last, and only when it has been taken does `head` move. So what the host
// finds behind OWN is whole, and nothing of it changes before the host gives the slot back.
//
// Ring of four slots at address 0, switched on once; frames of any length at any time, the DMA as slow as it likes. The host gives
// back slots it was given, in any number. Contents of buffers are any (their memories are cut out of the proof).
// block punt
// method induction
// cut memories
// expose top: wire [31:0] tail_now = tail$q & 32'hffffffff; wire [15:0] ctrl_address = at_ctrl & 16'hffff;
// expose top: wire [15:0] tail_address = at_tail & 16'hffff; wire [2:0] state_now = state$q & 3'h7; wire [63:0] slot_now = slot$q | 64'h0;
// expose top: wire [8:0] left_now = words_left$q & 9'h1ff; wire [15:0] length_now = length$q | 16'h0;
// expose top: wire [63:0] base_now = base$q | 64'h0; wire [15:0] slots_now = slots$q | 16'h0; wire [15:0] index_now = index$q | 16'h0;
// expose top: wire [15:0] low_address = at_base_low & 16'hffff; wire [15:0] high_address = at_base_high & 16'hffff;
// expose top: wire [10:0] offset_now = offset$q & 11'h7ff; wire no_room_now = no_room$q & 1'b1; wire on_now = switched_on$q & 1'b1; wire enable_now = enable$q & 1'b1; wire stale_now = stale$q & 1'b1;
// break: if ((~enable$q) | no_room$q) => if (~enable$q)
// break: no_room$d = |outside => no_room$d = no_room$q
// break: if ((state$q == 32'h5) & (~out_valid$q)) => if (state$q == 32'h5)
module proof(input clock, input [63:0] time_ns, input [48:0] write, input punt_valid, input [63:0] punt_data,
  input [2:0] punt_count, input punt_first, input punt_last, input punt_abort, input [11:0] punt_meta, input mw_ready);
wire mw_valid, mw_first, mw_last; wire [63:0] mw_addr, mw_data; wire [31:0] head;
top dut(.clock(clock), .time_ns(time_ns), .write(write), .punt_valid(punt_valid), .punt_data(punt_data), .punt_count(punt_count),
  .punt_first(punt_first), .punt_last(punt_last), .punt_abort(punt_abort), .punt_meta(punt_meta), .mw_valid(mw_valid),
  .mw_ready(mw_ready), .mw_addr(mw_addr), .mw_data(mw_data), .mw_first(mw_first), .mw_last(mw_last), .head(head));
(* hierconn *) wire [31:0] \dut.tail_now ;
(* hierconn *) wire [15:0] \dut.ctrl_address ;
(* hierconn *) wire [15:0] \dut.tail_address ;
(* hierconn *) wire [15:0] \dut.low_address ;
(* hierconn *) wire [15:0] \dut.high_address ;
(* hierconn *) wire [2:0] \dut.state_now ;
(* hierconn *) wire [63:0] \dut.slot_now ;
(* hierconn *) wire [10:0] \dut.offset_now ;
(* hierconn *) wire [15:0] \dut.slots_now ;
(* hierconn *) wire [15:0] \dut.index_now ;
(* hierconn *) wire \dut.no_room_now ;
(* hierconn *) wire \dut.on_now ;
(* hierconn *) wire [63:0] \dut.base_now ;
(* hierconn *) wire [8:0] \dut.left_now ;
(* hierconn *) wire [15:0] \dut.length_now ;
(* hierconn *) wire \dut.enable_now ;
(* hierconn *) wire \dut.stale_now ;
wire [31:0] tail = \dut.tail_now ;
wire [31:0] held = head - tail, given = write[48:17] - tail;
wire [2:0] state = \dut.state_now ;
wire fire = mw_valid && mw_ready;
reg own = 0, own_before = 0, described = 0; reg [31:0] head_before = 0;
always @(*) begin
  assume (clock);
  // a frame has at least a byte
  assume (state != 6 || \dut.length_now != 0);
  if (write[0]) begin
    assume (write[16:1] != \dut.low_address && write[16:1] != \dut.high_address );
    // on, with four slots
    if (write[16:1] == \dut.ctrl_address ) assume (write[48:17] == 32'h201);
    // the host gives back what it has
    if (write[16:1] == \dut.tail_address ) assume (given <= held);
  end
  // a slot is written only while it is the card's, and only the one at `head`
  assert (held <= 4);
  if (mw_valid) assert (held < 4 && mw_addr[63:11] == {51'd0, head[1:0]});
  // OWN is the last word of a slot, and `head` moves behind it
  if (own) assert (!mw_valid);
  if (head != head_before) assert (own_before && head == head_before + 1);
  // the frame first
  if (described && mw_valid) assert (mw_addr[10:0] < 32);
  // what makes the induction: how the slot writer stands
  assert (state <= 6 && \dut.base_now == 0);
  if (state != 0 && state != 4) assert (! \dut.stale_now );
  if (! \dut.enable_now ) assert (head == 0 && tail == 0);
  assert ( \dut.slots_now == (\dut.enable_now ? 3 : 0));
  // a ring just switched on is empty, and no slot of it is being written
  if ( \dut.on_now ) assert ( \dut.enable_now && head == 0 && tail == 0 && (state == 0 || state == 4 || state == 6));
  // what a frame finds decided of its slot: registers of the clock before
  if (state == 6) assert ( \dut.index_now == {14'd0, head[1:0]});
  if (state == 6 && \dut.enable_now && ! \dut.no_room_now ) assert (held < 4);
  if (state != 0 && state != 4 && state != 6) assert ( \dut.enable_now && held < 4 && \dut.slot_now == {51'd0, head[1:0], 11'd0});
  if (mw_valid) assert (state == 1 || state == 2 || state == 3 || state == 5);
  if (own) assert (state == 5);
  if (described) assert (state == 2 || state == 5);
  if (state == 1) assert ( \dut.left_now != 0 && \dut.offset_now >= 32 && \dut.offset_now [2:0] == 0
    && {2'd0, \dut.offset_now [10:3]} + \dut.left_now <= 256);
  if (state == 2 || state == 3) assert ( \dut.offset_now [2:0] == 0);
  if (state == 3) assert ( \dut.offset_now == 0);
  if (state == 2) assert ( \dut.offset_now <= 24 && !own);
  if (state == 2 && mw_valid && \dut.offset_now != 0) assert (mw_addr[10:0] < 24);
  if (state == 2 && mw_valid && \dut.offset_now == 0) assert (mw_addr[10:0] >= 32);
  if (state == 2 && described) assert ( \dut.offset_now != 0);
  if (state == 2 && described && mw_valid) assert (mw_addr[10:0] < 24);
  if (state == 5) assert (mw_valid != own);
  if (state == 5 && mw_valid) assert (mw_addr[10:0] == 24);
  if (state == 1 || state == 3) assert (!described && !own);
  if ((state == 1 || state == 3) && mw_valid) assert (mw_addr[10:0] >= 32);
end
always @(posedge clock) begin
  head_before <= head;
  own_before <= own;
  if (state == 5 && !mw_valid) begin own <= 0; described <= 0; end
  if (fire) begin
    own <= mw_addr[10:0] == 24;
    described <= mw_addr[10:0] < 32;
  end
end
endmodule
