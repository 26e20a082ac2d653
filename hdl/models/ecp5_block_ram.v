// Simulation model of the ECP5's block RAM as yosys uses it, for netlists: its own library has the ports alone.
//
//   1,024 words of 18 bits, two ports; a width of 9, 4, 2 or 1 is a part of a word, 36 are two words. In 36 bits port A
//   writes and port B reads: DIA and DOA are the lower half, DIB and DOB the upper one (Lattice FPGA-TN-02204).
//
// Latency: one clock to the outputs, which have no register of their own (REGMODE "NOREG", all that yosys makes).
//
// Stricter than the part: a port that reads what the other one writes in the same clock gets the complement of what was
// there. The part promises nothing then, so logic that depends on it is wrong, and shows here.
//
// Left out, and refused when used: resets of the outputs, output registers, chip selects that are decoded.
`timescale 1ns / 1ps

module DP16KD (
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
);
    parameter DATA_WIDTH_A = 18;
    parameter DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG";
    parameter REGMODE_B = "NOREG";
    parameter RESETMODE = "SYNC";
    parameter ASYNC_RESET_RELEASE = "SYNC";
    parameter WRITEMODE_A = "NORMAL";
    parameter WRITEMODE_B = "NORMAL";
    parameter CSDECODE_A = "0b000";
    parameter CSDECODE_B = "0b000";
    parameter CLKAMUX = "CLKA";
    parameter CLKBMUX = "CLKB";
    parameter GSR = "ENABLED";
    parameter INITVAL_00 = 320'h0;
    parameter INITVAL_01 = 320'h0;
    parameter INITVAL_02 = 320'h0;
    parameter INITVAL_03 = 320'h0;
    parameter INITVAL_04 = 320'h0;
    parameter INITVAL_05 = 320'h0;
    parameter INITVAL_06 = 320'h0;
    parameter INITVAL_07 = 320'h0;
    parameter INITVAL_08 = 320'h0;
    parameter INITVAL_09 = 320'h0;
    parameter INITVAL_0A = 320'h0;
    parameter INITVAL_0B = 320'h0;
    parameter INITVAL_0C = 320'h0;
    parameter INITVAL_0D = 320'h0;
    parameter INITVAL_0E = 320'h0;
    parameter INITVAL_0F = 320'h0;
    parameter INITVAL_10 = 320'h0;
    parameter INITVAL_11 = 320'h0;
    parameter INITVAL_12 = 320'h0;
    parameter INITVAL_13 = 320'h0;
    parameter INITVAL_14 = 320'h0;
    parameter INITVAL_15 = 320'h0;
    parameter INITVAL_16 = 320'h0;
    parameter INITVAL_17 = 320'h0;
    parameter INITVAL_18 = 320'h0;
    parameter INITVAL_19 = 320'h0;
    parameter INITVAL_1A = 320'h0;
    parameter INITVAL_1B = 320'h0;
    parameter INITVAL_1C = 320'h0;
    parameter INITVAL_1D = 320'h0;
    parameter INITVAL_1E = 320'h0;
    parameter INITVAL_1F = 320'h0;
    parameter INITVAL_20 = 320'h0;
    parameter INITVAL_21 = 320'h0;
    parameter INITVAL_22 = 320'h0;
    parameter INITVAL_23 = 320'h0;
    parameter INITVAL_24 = 320'h0;
    parameter INITVAL_25 = 320'h0;
    parameter INITVAL_26 = 320'h0;
    parameter INITVAL_27 = 320'h0;
    parameter INITVAL_28 = 320'h0;
    parameter INITVAL_29 = 320'h0;
    parameter INITVAL_2A = 320'h0;
    parameter INITVAL_2B = 320'h0;
    parameter INITVAL_2C = 320'h0;
    parameter INITVAL_2D = 320'h0;
    parameter INITVAL_2E = 320'h0;
    parameter INITVAL_2F = 320'h0;
    parameter INITVAL_30 = 320'h0;
    parameter INITVAL_31 = 320'h0;
    parameter INITVAL_32 = 320'h0;
    parameter INITVAL_33 = 320'h0;
    parameter INITVAL_34 = 320'h0;
    parameter INITVAL_35 = 320'h0;
    parameter INITVAL_36 = 320'h0;
    parameter INITVAL_37 = 320'h0;
    parameter INITVAL_38 = 320'h0;
    parameter INITVAL_39 = 320'h0;
    parameter INITVAL_3A = 320'h0;
    parameter INITVAL_3B = 320'h0;
    parameter INITVAL_3C = 320'h0;
    parameter INITVAL_3D = 320'h0;
    parameter INITVAL_3E = 320'h0;
    parameter INITVAL_3F = 320'h0;

    reg [17:0] words[0:1023];
    reg [35:0] out_a = 36'b0;
    reg [35:0] out_b = 36'b0;

    wire [13:0] at_a = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    wire [13:0] at_b = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire [35:0] in_a = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0, DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
    wire [35:0] in_b = {18'b0, DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};
    wire write_a = CEA & WEA & ~(CSA2 | CSA1 | CSA0);
    wire write_b = CEB & WEB & ~(CSB2 | CSB1 | CSB0);

    task fill(input [5:0] row, input [319:0] bits);
        integer i;
        for (i = 0; i < 16; i = i + 1) words[{row, 4'b0} + i[9:0]] = bits[20 * i+:18];
    endtask

    initial begin
        fill(6'd0, INITVAL_00);
        fill(6'd1, INITVAL_01);
        fill(6'd2, INITVAL_02);
        fill(6'd3, INITVAL_03);
        fill(6'd4, INITVAL_04);
        fill(6'd5, INITVAL_05);
        fill(6'd6, INITVAL_06);
        fill(6'd7, INITVAL_07);
        fill(6'd8, INITVAL_08);
        fill(6'd9, INITVAL_09);
        fill(6'd10, INITVAL_0A);
        fill(6'd11, INITVAL_0B);
        fill(6'd12, INITVAL_0C);
        fill(6'd13, INITVAL_0D);
        fill(6'd14, INITVAL_0E);
        fill(6'd15, INITVAL_0F);
        fill(6'd16, INITVAL_10);
        fill(6'd17, INITVAL_11);
        fill(6'd18, INITVAL_12);
        fill(6'd19, INITVAL_13);
        fill(6'd20, INITVAL_14);
        fill(6'd21, INITVAL_15);
        fill(6'd22, INITVAL_16);
        fill(6'd23, INITVAL_17);
        fill(6'd24, INITVAL_18);
        fill(6'd25, INITVAL_19);
        fill(6'd26, INITVAL_1A);
        fill(6'd27, INITVAL_1B);
        fill(6'd28, INITVAL_1C);
        fill(6'd29, INITVAL_1D);
        fill(6'd30, INITVAL_1E);
        fill(6'd31, INITVAL_1F);
        fill(6'd32, INITVAL_20);
        fill(6'd33, INITVAL_21);
        fill(6'd34, INITVAL_22);
        fill(6'd35, INITVAL_23);
        fill(6'd36, INITVAL_24);
        fill(6'd37, INITVAL_25);
        fill(6'd38, INITVAL_26);
        fill(6'd39, INITVAL_27);
        fill(6'd40, INITVAL_28);
        fill(6'd41, INITVAL_29);
        fill(6'd42, INITVAL_2A);
        fill(6'd43, INITVAL_2B);
        fill(6'd44, INITVAL_2C);
        fill(6'd45, INITVAL_2D);
        fill(6'd46, INITVAL_2E);
        fill(6'd47, INITVAL_2F);
        fill(6'd48, INITVAL_30);
        fill(6'd49, INITVAL_31);
        fill(6'd50, INITVAL_32);
        fill(6'd51, INITVAL_33);
        fill(6'd52, INITVAL_34);
        fill(6'd53, INITVAL_35);
        fill(6'd54, INITVAL_36);
        fill(6'd55, INITVAL_37);
        fill(6'd56, INITVAL_38);
        fill(6'd57, INITVAL_39);
        fill(6'd58, INITVAL_3A);
        fill(6'd59, INITVAL_3B);
        fill(6'd60, INITVAL_3C);
        fill(6'd61, INITVAL_3D);
        fill(6'd62, INITVAL_3E);
        fill(6'd63, INITVAL_3F);
    end

    // Which bits of a pair of words an access touches: the pair of even and odd word for 36 bits, else the lower half.
    function [35:0] lanes(input integer width, input [13:0] at);
        case (width)
            36: lanes = {{9{at[3]}}, {9{at[2]}}, {9{at[1]}}, {9{at[0]}}};
            18: lanes = {18'b0, {9{at[1]}}, {9{at[0]}}};
            9: lanes = 36'h1ff << (at[3] ? 9 : 0);
            4: lanes = 36'hf << ((at[3] ? 9 : 0) + (at[2] ? 4 : 0));
            2: lanes = 36'h3 << ((at[3] ? 9 : 0) + 2 * at[2:1]);
            default: lanes = 36'h1 << ((at[3] ? 9 : 0) + at[2:0]);
        endcase
    endfunction

    function integer shift(input integer width, input [13:0] at);
        case (width)
            36, 18: shift = 0;
            9: shift = at[3] ? 9 : 0;
            4: shift = (at[3] ? 9 : 0) + (at[2] ? 4 : 0);
            2: shift = (at[3] ? 9 : 0) + 2 * at[2:1];
            default: shift = (at[3] ? 9 : 0) + at[2:0];
        endcase
    endfunction

    function [9:0] word(input integer width, input [13:0] at);
        word = width == 36 ? {at[13:5], 1'b0} : at[13:4];
    endfunction

    wire [9:0] word_a = word(DATA_WIDTH_A, at_a);
    wire [9:0] word_b = word(DATA_WIDTH_B, at_b);
    wire [35:0] lanes_a = write_a ? lanes(DATA_WIDTH_A, at_a) : 36'b0;
    wire [35:0] lanes_b = write_b ? lanes(DATA_WIDTH_B, at_b) : 36'b0;
    wire [35:0] old_a = {words[word_a | 10'b1], words[word_a]};
    wire [35:0] old_b = {words[word_b | 10'b1], words[word_b]};
    wire [35:0] data_a = in_a << shift(DATA_WIDTH_A, at_a);
    wire [35:0] data_b = in_b << shift(DATA_WIDTH_B, at_b);
    wire [35:0] new_a = (old_a & ~lanes_a) | (data_a & lanes_a);
    wire [35:0] new_b = (old_b & ~lanes_b) | (data_b & lanes_b);

    // What the other port writes within what this one reads.
    wire [35:0] hit_a = word_b == word_a ? lanes_b
        : DATA_WIDTH_A == 36 && word_b == (word_a | 10'b1) ? lanes_b << 18
        : DATA_WIDTH_B == 36 && word_a == (word_b | 10'b1) ? lanes_b >> 18 : 36'b0;
    wire [35:0] hit_b = word_a == word_b ? lanes_a
        : DATA_WIDTH_B == 36 && word_a == (word_b | 10'b1) ? lanes_a << 18
        : DATA_WIDTH_A == 36 && word_b == (word_a | 10'b1) ? lanes_a >> 18 : 36'b0;

    wire clock_a = CLKAMUX == "INV" ? ~CLKA : CLKA;
    wire clock_b = CLKBMUX == "INV" ? ~CLKB : CLKB;

    always @(posedge clock_a) begin
        if (write_a) begin
            words[word_a] <= new_a[17:0];
            if (DATA_WIDTH_A == 36) words[word_a | 10'b1] <= new_a[35:18];
        end
        if (CEA && !(write_a && WRITEMODE_A == "NORMAL"))
            out_a <= (write_a && WRITEMODE_A == "WRITETHROUGH" ? new_a : old_a ^ hit_a) >> shift(DATA_WIDTH_A, at_a);
    end

    always @(posedge clock_b) begin
        if (write_b) begin
            words[word_b] <= new_b[17:0];
            if (DATA_WIDTH_B == 36) words[word_b | 10'b1] <= new_b[35:18];
        end
        if (CEB && !(write_b && WRITEMODE_B == "NORMAL"))
            out_b <= (write_b && WRITEMODE_B == "WRITETHROUGH" ? new_b : old_b ^ hit_b) >> shift(DATA_WIDTH_B, at_b);
    end

    // Reading 36 bits takes the outputs of both ports.
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0} = DATA_WIDTH_B == 36 ? out_b[17:0] : out_a[17:0];
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0} = DATA_WIDTH_B == 36 ? out_b[35:18] : out_b[17:0];

    initial
        if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG" || CSDECODE_A != "0b000" || CSDECODE_B != "0b000") begin
            $display("DP16KD: this model has no output registers and decodes no chip selects");
            $finish;
        end

    always @(posedge CLKA or posedge CLKB)
        if (RSTA | RSTB) begin
            $display("DP16KD: this model has no resets");
            $finish;
        end
endmodule
