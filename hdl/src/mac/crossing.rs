//! What place and route must know of the crossings between clocks.
//!
//! Every crossing of the gateware is one of these, and is known by the name of the register it ends in:
//!
//! | ends in | from | why it is right |
//! |---|---|---|
//! | `meta` of a [`super::sync::Synchronizer`] | a register | two registers follow; of several bits one moves at a time, or they have nothing to do with each other |
//! | `word` and `word_meta` of a [`super::fifo::FifoRead`] | the FIFO's memory | the word was written before its writer's count came through a synchronizer, and is not written again before the reader's count goes back |
//!
//! The bits of a Gray-coded count may not be apart by more than a period of the clock they come from, else two moves could be
//! seen in the wrong order; and a word must be there one period of the writer's clock after its count. So every path is
//! limited to one period of the faster clock, without regard to the clocks' phase.

/// Ends of a path that crosses clocks, as patterns of hierarchical names in the exported Verilog.
pub const ENDS: [&str; 3] = ["meta", "word", "word_meta"];

/// Constraints in the language of Vivado for all crossings between two clocks of these periods (ns): each path at most the shorter
/// period long, whatever the phase.
///
/// nextpnr-ecp5 has no such statement: it takes paths between unrelated clocks as unconstrained. On an ECP5 the margin is in
/// the structure: a count needs two further edges before it is looked at, so a path may be two periods of the slower clock late
/// before a word could be read too early, as long as the bits of one count are not apart by more than a period.
pub fn vivado(clocks: &[(&str, f64)]) -> String {
    let mut text = String::from("# Crossings between clocks; made from hdl/src/mac/crossing.rs, do not edit.\n");
    for (from, from_ns) in clocks {
        for (to, to_ns) in clocks.iter().filter(|(to, _)| to != from) {
            let ns = from_ns.min(*to_ns);
            text += &format!(
                "set_max_delay -datapath_only -from [get_clocks {from}] -to [get_clocks {to}] {ns}\n\
                 set_bus_skew -from [get_clocks {from}] -to [get_cells -hierarchical -filter {{NAME =~ */meta_reg*}}] {ns}\n"
            );
        }
    }
    text + "set_property ASYNC_REG TRUE [get_cells -hierarchical -filter {NAME =~ */meta_reg* || NAME =~ */stable_reg*}]\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_of_clocks_is_limited_to_the_faster_one() {
        let text = vivado(&[("core", 6.4), ("rx0", 8.0), ("tx", 8.0)]);
        assert_eq!(text.matches("set_max_delay").count(), 6);
        assert!(text.contains("-from [get_clocks rx0] -to [get_clocks core] 6.4\n"));
        assert!(text.contains("-from [get_clocks tx] -to [get_clocks rx0] 8\n"));
    }
}
