//! `nat64-sim`: the simulated card on the command line. Everything is in the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    if let Err(error) = nat64_xlate::pages::ask_for_large_pages() {
        eprintln!("warning: tables are in small pages: {error}");
    }
    nat64_sim::cli::main()
}
