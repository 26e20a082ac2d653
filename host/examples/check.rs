//! Reads a configuration file, says what is wrong with it, or prints it in both forms.
//!
//! `cargo run -p nat64-host --example check -- FILE`

use std::process::ExitCode;

use nat64_host::config::{self, BuildOptions};

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        eprintln!("usage: check FILE");
        return ExitCode::from(2);
    };
    let text = match std::fs::read_to_string(&name) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{name}: {error}");
            return ExitCode::from(2);
        }
    };
    let tree = match config::parse(&text, &name) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match config::build(&tree, BuildOptions::default()) {
        Ok((_, warnings)) => {
            for warning in warnings {
                eprintln!("{warning}\n");
            }
            print!("{}\n{}", tree.to_curly(), tree.to_set());
            ExitCode::SUCCESS
        }
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}\n");
            }
            ExitCode::from(2)
        }
    }
}
