// Moving a tag, the new one written before the old one is cleared: a lookup begun at any clock finds the record of the key, and the
// OR over the ways that hit is its index. Two ways as the session table has them, one in each bank; four buckets, four records.
//
// The key's record is any. Its buckets and its fingerprint are some: the ways do nothing with them but address and compare for equality,
// so that what holds for one value holds for all. The host writes what it likes but for its two rules: the claim rule (no other
// tag with the fingerprint lies in the key's buckets, ARCHITECTURE.md) and the order of a move.
// block way
// expose top$tags: wire [63:0] all = {mem[3], mem[2], mem[1], mem[0]};
// break: pipe <= mem[read_address] => pipe <= mem[read_address ^ 1]
// break: if (write) mem => mem
module proof(input clock, input write0, input write1, input [1:0] write_bucket, input [15:0] tag, input look);
localparam [1:0] bucket0 = 2, bucket1 = 1;
localparam [12:0] mine = 13'h0a5;
(* anyconst *) wire [1:0] record;
wire hit0, hit1; wire [1:0] index0, index1; wire [15:0] word0, word1;
top way0(.clock(clock), .bucket(bucket0), .fingerprint(mine), .write(write0), .write_bucket(write_bucket), .tag(tag), .hit(hit0),
  .index(index0), .word(word0));
top way1(.clock(clock), .bucket(bucket1), .fingerprint(mine), .write(write1), .write_bucket(write_bucket), .tag(tag), .hit(hit1),
  .index(index1), .word(word1));
(* hierconn *) wire [63:0] \way0.tags.all ;
(* hierconn *) wire [63:0] \way1.tags.all ;
(* hierconn *) wire [15:0] \way0.tags.pipe ;
(* hierconn *) wire [15:0] \way1.tags.pipe ;
wire [63:0] all0 = \way0.tags.all , all1 = \way1.tags.all ;
wire [15:0] pipe0 = \way0.tags.pipe , pipe1 = \way1.tags.pipe ;
function [15:0] tag_at(input [63:0] all, input [1:0] bucket); tag_at = all[16*bucket +: 16]; endfunction
function is(input [15:0] word); is = word == {1'b1, record, mine}; endfunction
function rule(input [15:0] word); rule = !(word[15] && word[12:0] == mine) || word[14:13] == record; endfunction
// where the tag is, as the host knows it
reg has0 = 0, has1 = 0;
wire names_mine = tag[15] && tag[12:0] == mine;
wire is_mine = names_mine && tag[14:13] == record;
wire at0 = write0 && write_bucket == bucket0, at1 = write1 && write_bucket == bucket1;
wire then0 = at0 ? is_mine : has0, then1 = at1 ? is_mine : has1;
// lookups under way
reg [2:0] asked = 0;
always @(*) begin
  assume (clock);
  // one write a clock
  assume (!(write0 && write1));
  // the claim rule
  if ((at0 || at1) && names_mine) assume (is_mine);
  // the order of a move, and no removal
  if (has0 || has1) assume (then0 || then1);
  // what makes the induction: where the tag is, and what is under way
  assert (is(tag_at(all0, bucket0)) == has0);
  assert (is(tag_at(all1, bucket1)) == has1);
  assert (rule(tag_at(all0, bucket0)) && rule(tag_at(all1, bucket1)));
  if (asked[0]) assert (rule(pipe0) && rule(pipe1) && (is(pipe0) || is(pipe1)));
  if (asked[1]) assert (rule(word0) && rule(word1) && (is(word0) || is(word1)));
  if (asked[2]) assert ((!hit0 || index0 == record) && (!hit1 || index1 == record));
  // the property
  if (asked[2]) begin
    assert (hit0 || hit1);
    assert (((hit0 ? index0 : 2'd0) | (hit1 ? index1 : 2'd0)) == record);
  end
end
always @(posedge clock) begin
  has0 <= then0;
  has1 <= then1;
  asked <= {asked[1:0], look && (has0 || has1)};
end
endmodule
