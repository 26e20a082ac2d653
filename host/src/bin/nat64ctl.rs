//! `nat64ctl`: the command line of the gateway. All of it is in [`nat64_host::ctl`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    nat64_host::ctl::args::main()
}
