//! Writes Verilog: `emit DIRECTORY NAME...` gives `DIRECTORY/coreWIDTH.v` for a width, `DIRECTORY/endpoint.v` for `endpoint`. `cargo xtask emit` runs it.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(directory) = arguments.next() else {
        eprintln!("usage: emit DIRECTORY WIDTH|endpoint...");
        return ExitCode::from(2);
    };
    for name in arguments {
        let text = match name.as_str() {
            "endpoint" => nat64_hdl::export::endpoint_verilog(),
            width => width.parse().ok().and_then(nat64_hdl::export::core_verilog),
        };
        let Some(text) = text else {
            eprintln!(
                "emit: there is no core of width {name}; {:?} or `endpoint`",
                nat64_hdl::export::WIDTHS
            );
            return ExitCode::from(2);
        };
        let file = match name.as_str() {
            "endpoint" => "endpoint.v".to_string(),
            width => format!("core{width}.v"),
        };
        let file = Path::new(&directory).join(file);
        if let Err(error) = std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&file, text)) {
            eprintln!("emit: {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
        println!("{}", file.display());
    }
    ExitCode::SUCCESS
}
