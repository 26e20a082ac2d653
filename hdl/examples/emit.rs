//! Writes the Verilog of the cores: `emit DIRECTORY WIDTH...` gives `DIRECTORY/coreWIDTH.v` each. `cargo xtask emit` runs it.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(directory) = arguments.next() else {
        eprintln!("usage: emit DIRECTORY WIDTH...");
        return ExitCode::from(2);
    };
    for width in arguments {
        let Some(text) = width.parse().ok().and_then(nat64_hdl::export::core_verilog) else {
            eprintln!(
                "emit: there is no core of width {width}; {:?}",
                nat64_hdl::export::WIDTHS
            );
            return ExitCode::from(2);
        };
        let file = Path::new(&directory).join(format!("core{width}.v"));
        if let Err(error) = std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&file, text)) {
            eprintln!("emit: {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
        println!("{}", file.display());
    }
    ExitCode::SUCCESS
}
