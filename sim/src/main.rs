//! `nat64-sim`: the simulated card on the command line. Everything is in the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    nat64_sim::cli::main()
}
