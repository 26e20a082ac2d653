//! `cargo xtask formal`: the proofs of `hdl/formal/`, and that each fails on a broken block.
//!
//! The files say what is to be done in comments; see the README there. Yosys makes one step of the proof of block and properties, its SAT
//! solver or ABC proves that no run of any length breaks a property. Everything is under `target/formal`.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::run::{Error, Step};

/// A file of `hdl/formal/`.
#[derive(Debug, Default, PartialEq)]
struct Proof {
    name: String,
    block: String,
    induction: bool,
    cut: bool,
    /// Module, declaration.
    expose: Vec<(String, String)>,
    /// Text, text in its place.
    breaks: Vec<(String, String)>,
}

impl Proof {
    /// Reads the comments of a file.
    fn read(name: &str, text: &str) -> Self {
        let mut proof = Self {
            name: name.into(),
            block: name.into(),
            ..Self::default()
        };
        for line in text.lines().filter_map(|line| line.strip_prefix("// ")) {
            if let Some(block) = line.strip_prefix("block ") {
                proof.block = block.trim().into();
            }
            proof.induction |= line == "method induction";
            proof.cut |= line == "cut memories";
            if let Some((module, wire)) = line.strip_prefix("expose ").and_then(|rest| rest.split_once(": ")) {
                proof.expose.push((module.into(), wire.into()));
            }
            if let Some((from, to)) = line.strip_prefix("break: ").and_then(|rest| rest.split_once(" => ")) {
                proof.breaks.push((from.into(), to.into()));
            }
        }
        proof
    }

    /// The block's Verilog with the wires the proof looks at.
    fn exposed(&self, verilog: &str) -> Result<String, Error> {
        let mut text = verilog.to_string();
        for (module, wire) in &self.expose {
            let at = text.find(&format!("module {module}("));
            let end = at.and_then(|at| text.get(at..)?.find("endmodule").map(|end| at + end));
            let end = end.ok_or_else(|| Error::Missing {
                what: format!("module {module} of {}", self.name),
            })?;
            text.insert_str(end, &format!("{wire}\n"));
        }
        Ok(text)
    }

    /// Whether nothing can break a property.
    fn holds(&self, folder: &Path, work: &Path, verilog: &str) -> Result<bool, Error> {
        let block = work.join("block.v");
        std::fs::write(&block, self.exposed(verilog)?).map_err(|e| Error::file(&block, e))?;
        let memories = if self.cut {
            "memory_collect; delete t:$mem_v2; setundef -undriven -anyseq"
        } else {
            "memory_map"
        };
        let prepare = format!(
            "read_verilog -formal block.v {folder}/{name}.v; hierarchy -top proof; proc; flatten; opt_clean; {memories}; \
             opt_clean; dffunmap; techmap -map {folder}/edge.v; opt_clean",
            folder = folder.display(),
            name = self.name,
        );
        if self.induction {
            let prove = "sat -tempinduct -prove-asserts -set-assumes -set-init-zero -seq 1 -maxsteps 1 -timeout 120";
            let said = said(work, "yosys", &["-p", &format!("{prepare}; {prove}")])?;
            return verdict(&said, "Induction step proven: SUCCESS!", &["proof failed", "FAIL"]);
        }
        let gates = "techmap; opt_clean; dffunmap; setundef -undriven -anyseq; opt -full; aigmap; opt_clean; write_aiger -zinit proof.aig";
        said(work, "yosys", &["-q", "-p", &format!("{prepare}; {gates}")])?;
        let prove = "read_aiger proof.aig; fold; strash; orpos; scorr; pdr -T 120";
        let said = said(work, "yosys-abc", &["-c", prove])?;
        verdict(&said, "Property proved", &["was asserted in frame"])
    }
}

/// A program's output, whatever its status says of the proof.
fn said(work: &Path, program: &str, arguments: &[&str]) -> Result<String, Error> {
    let out = Command::new(program).args(arguments).current_dir(work).output();
    let out = out.map_err(|source| Error::Start {
        command: program.into(),
        source,
    })?;
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    if text.contains("ERROR") {
        return Err(Error::Check { what: text });
    }
    Ok(text)
}

/// What the prover found; neither one nor the other is an error, not a proof.
fn verdict(said: &str, proven: &str, refuted: &[&str]) -> Result<bool, Error> {
    match (said.contains(proven), refuted.iter().any(|word| said.contains(word))) {
        (true, false) => Ok(true),
        (false, true) => Ok(false),
        _ => Err(Error::Unreadable {
            what: "verdict of the prover",
            output: said
                .chars()
                .rev()
                .take(2000)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect(),
        }),
    }
}

/// Runs the chore.
pub fn formal(root: &Path, emit: Step) -> Result<(), Error> {
    emit.run()?;
    let (folder, work) = (root.join("hdl/formal"), root.join("target/formal"));
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|e| Error::file(path, e));
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .map_err(|e| Error::file(&folder, e))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".v").map(str::to_string))
        .filter(|name| name != "edge")
        .collect();
    names.sort();
    if names.is_empty() {
        return Err(Error::Missing {
            what: format!("proof in {}", folder.display()),
        });
    }
    for name in names {
        let start = Instant::now();
        let proof = Proof::read(&name, &read(&folder.join(format!("{name}.v")))?);
        let verilog = read(&work.join(format!("{}.v", proof.block)))?;
        if !proof.holds(&folder, &work, &verilog)? {
            return Err(Error::Check {
                what: format!("{name}: a run breaks a property"),
            });
        }
        if proof.breaks.is_empty() {
            return Err(Error::Missing {
                what: format!("line `// break:` in {name}.v"),
            });
        }
        for (from, to) in &proof.breaks {
            let broken = verilog.replace(from, to);
            if broken == verilog {
                return Err(Error::Missing {
                    what: format!("`{from}` in the block of {name}.v"),
                });
            }
            if proof.holds(&folder, &work, &broken)? {
                return Err(Error::Check {
                    what: format!("{name}: with `{to}` in the place of `{from}` it is proven all the same"),
                });
            }
        }
        let (broken, seconds) = (proof.breaks.len(), start.elapsed().as_secs_f32());
        println!("{name}: proven, fails on {broken} broken blocks ({seconds:.1} s)");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comments_of_a_file_are_read() {
        let text = "// What it is.\n// block b\n// method induction\n// expose top$x: wire y = z;\n// break: a => b\nmodule proof;\n";
        let proof = Proof::read("n", text);
        let pair = |a: &str, b: &str| vec![(a.to_string(), b.to_string())];
        assert_eq!((proof.block.as_str(), proof.induction, proof.cut), ("b", true, false));
        assert_eq!(
            (proof.expose.clone(), proof.breaks.clone()),
            (pair("top$x", "wire y = z;"), pair("a", "b"))
        );
        let text = proof.exposed("module top$x(q);\nendmodule // top$x\n").unwrap();
        assert_eq!(text, "module top$x(q);\nwire y = z;\nendmodule // top$x\n");
        assert!(proof.exposed("module top(q);\nendmodule\n").is_err());
    }

    #[test]
    fn silence_is_no_proof() {
        assert!(verdict("Property proved.", "Property proved", &["was asserted"]).unwrap());
        assert!(!verdict("Output 0 was asserted in frame 3", "Property proved", &["was asserted"]).unwrap());
        assert!(verdict("Timeout", "Property proved", &["was asserted"]).is_err());
    }
}
