// Techmap of the proofs: a register on a clock becomes one of the proof's steps, and its clock tells whether this step has an edge. So
// several clocks are in one proof, each with its edges whenever it likes.
(* techmap_celltype = "$dff" *)
module edge_to_step(CLK, D, Q);
parameter WIDTH = 1;
parameter CLK_POLARITY = 1;
input CLK;
input [WIDTH-1:0] D;
output [WIDTH-1:0] Q;
\$ff #(.WIDTH(WIDTH)) _TECHMAP_REPLACE_ (.D(CLK ? D : Q), .Q(Q));
endmodule
