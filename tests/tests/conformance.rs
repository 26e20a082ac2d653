//! The conformance suite in `conformance/`: the program as a co-process, judged by scapy, without a card and with the
//! compiled one. Debian's Python is called by its path, since that is the one scapy is installed for.

use std::process::Command;

use nat64_tests::program::{nat64_sim, output, workspace};

#[test]
fn translates_as_the_rfcs_say_with_both_engines() {
    let program = nat64_sim().get_program().to_owned();
    let text = output(
        Command::new("/usr/bin/python3")
            .arg(workspace().join("tests/conformance/run.py"))
            .arg(program)
            .args(["soft", "rtl-compiled"])
            .current_dir(workspace()),
    );
    print!("{text}");
    for engine in ["soft", "rtl-compiled"] {
        let passed = text
            .lines()
            .filter(|line| line.starts_with(&format!("ok {engine} ")))
            .count();
        assert!(passed > 100, "{passed} cases with {engine}");
    }
}
