//! The gateway as a co-process: one JSON object a line in, one a line out, in virtual time.
//!
//! ```text
//!   {"op":"packet","side":"inside","t_ns":N,"hex":".."}   -> {"tx":[{"side":"outside","t_ns":N,"hex":".."}]}
//!   {"op":"advance","t_ns":N}                             -> {"tx":[..]}
//!   {"op":"config","t_ns":N,"commands":[..]}              -> {"tx":[..]}
//!   {"op":"query","what":"sessions"|"bibs"}               -> {"count":N}
//!   {"op":"reset","config":PATH,"seed":N}                 -> {"tx":[]}
//!   anything that cannot be done                          -> {"error":".."}
//! ```
//!
//! Each line is answered by exactly one, at once, and no line ends the process. Time starts at 0 with each reset and
//! never goes back: an older `t_ns` means now. Timers that are due before a packet or command run first, and what they
//! send stands first in `tx`, each packet with the time it was sent at; when the command is then refused, it is in the
//! `tx` of the next answer that has one. A packet has at most 16 KiB; a card drops what does not fit into its longest
//! frame. `config` and `seed` of a reset may be left out: the last ones stay.

use std::io::{BufRead, Read, Write};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{json, Value};

use crate::compare::hex;
use crate::device::{Device, DeviceFailure, Output};
use crate::failure::Failure;
use crate::{MAX_TIME, SIDES};

/// Longest line, in bytes.
pub const MAX_LINE: u64 = 4 << 20;
/// Longest packet, in bytes.
const MAX_PACKET: usize = 16 << 10;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Request {
    Packet { side: String, t_ns: u64, hex: String },
    Advance { t_ns: u64 },
    Config { t_ns: u64, commands: Vec<String> },
    Query { what: String },
    Reset { config: Option<PathBuf>, seed: Option<u64> },
}

/// Makes a device from a configuration file and a seed.
pub type Open<'a> = dyn FnMut(&std::path::Path, u64) -> Result<Box<dyn Device>, DeviceFailure> + 'a;

/// The co-process.
pub struct Server<'a> {
    open: &'a mut Open<'a>,
    config: Option<PathBuf>,
    seed: u64,
    device: Option<Box<dyn Device>>,
    now: u64,
    out: Output,
}

impl<'a> Server<'a> {
    /// A server whose devices `open` makes; the first one at once when there is a configuration.
    ///
    /// # Errors
    /// As `open`.
    pub fn new(open: &'a mut Open<'a>, config: Option<PathBuf>, seed: u64) -> Result<Self, DeviceFailure> {
        let device = config.as_deref().map(|path| open(path, seed)).transpose()?;
        Ok(Self {
            open,
            config,
            seed,
            device,
            now: 0,
            out: Output::default(),
        })
    }

    /// Answers lines until the input ends.
    ///
    /// # Errors
    /// Only when reading or writing fails.
    pub fn serve(&mut self, mut input: impl BufRead, mut output: impl Write) -> Result<(), Failure> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let n = input
                .by_ref()
                .take(MAX_LINE + 1)
                .read_until(b'\n', &mut line)
                .map_err(Failure::Pipe)?;
            if n == 0 {
                return Ok(());
            }
            let answer = if n as u64 > MAX_LINE {
                skip_line(&mut input, &mut line).map_err(Failure::Pipe)?;
                json!({ "error": format!("the line is longer than {MAX_LINE} bytes") })
            } else {
                self.answer(&line)
            };
            serde_json::to_writer(&mut output, &answer).map_err(|e| Failure::Pipe(e.into()))?;
            output
                .write_all(b"\n")
                .and_then(|()| output.flush())
                .map_err(Failure::Pipe)?;
        }
    }

    /// The answer to one line.
    pub fn answer(&mut self, line: &[u8]) -> Value {
        let result = match serde_json::from_slice(line) {
            Ok(request) => self.perform(request),
            Err(e) => Err(format!("not a request: {e}")),
        };
        result.unwrap_or_else(|error| {
            // The configuration's parser begins with the word that is the key here.
            let text = error.strip_prefix("error: ").unwrap_or(&error);
            json!({ "error": text })
        })
    }

    fn perform(&mut self, request: Request) -> Result<Value, String> {
        match request {
            Request::Packet { side, t_ns, hex } => {
                let port = SIDES.iter().position(|name| *name == side);
                let port = port.ok_or_else(|| format!("no side {side:?}; there are inside and outside"))? as u8;
                let bytes = unhex(&hex)?;
                self.at(t_ns, |device, now, out| device.packet(now, port, &bytes, out))
            }
            Request::Advance { t_ns } => self.at(t_ns, |_, _, _| Ok(())),
            Request::Config { t_ns, commands } => {
                self.at(t_ns, |device, now, out| device.configure(now, &commands, out))
            }
            Request::Query { what } => {
                let totals = self.device()?.totals().map_err(|e| e.to_string())?;
                match what.as_str() {
                    "sessions" => Ok(json!({ "count": totals.sessions })),
                    "bibs" => Ok(json!({ "count": totals.bibs })),
                    other => Err(format!(
                        "nothing to query of the name {other:?}; there are sessions and bibs"
                    )),
                }
            }
            Request::Reset { config, seed } => {
                let path = config
                    .or_else(|| self.config.clone())
                    .ok_or("no configuration was given yet")?;
                let seed = seed.unwrap_or(self.seed);
                // The old one stays when the new one cannot be made.
                let device = (self.open)(&path, seed).map_err(|e| e.to_string())?;
                (self.device, self.config, self.seed, self.now) = (Some(device), Some(path), seed, 0);
                self.out.clear();
                Ok(json!({ "tx": [] }))
            }
        }
    }

    fn device(&mut self) -> Result<&mut Box<dyn Device>, String> {
        self.device
            .as_mut()
            .ok_or_else(|| "no configuration yet: send a reset with one".into())
    }

    /// Lets time pass up to `t_ns`, acts, and answers with everything sent.
    fn at(
        &mut self,
        t_ns: u64,
        act: impl FnOnce(&mut dyn Device, u64, &mut Output) -> Result<(), DeviceFailure>,
    ) -> Result<Value, String> {
        if t_ns > MAX_TIME {
            return Err(format!("t_ns {t_ns} is beyond {MAX_TIME}"));
        }
        let device = self
            .device
            .as_mut()
            .ok_or("no configuration yet: send a reset with one")?;
        self.now = self.now.max(t_ns);
        // Packets that timers sent before something was refused are still here: they belong to the next answer.
        device
            .advance(self.now, &mut self.out)
            .and_then(|()| act(device.as_mut(), self.now, &mut self.out))
            .map_err(|e| e.to_string())?;
        let tx: Vec<_> = self
            .out
            .sent
            .iter()
            .map(|s| json!({ "side": SIDES[usize::from(s.port & 1)], "t_ns": s.t_ns, "hex": hex(&s.bytes) }))
            .collect();
        self.out.clear();
        Ok(json!({ "tx": tx }))
    }
}

/// Reads the rest of a line that is too long.
fn skip_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<()> {
    while line.last() != Some(&b'\n') {
        line.clear();
        if input.by_ref().take(MAX_LINE).read_until(b'\n', line)? == 0 {
            break;
        }
    }
    Ok(())
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    if !text.len().is_multiple_of(2) {
        return Err("hex has an odd number of digits".into());
    }
    if text.is_empty() || text.len() > 2 * MAX_PACKET {
        return Err(format!("a packet has 1 to {MAX_PACKET} bytes, not {}", text.len() / 2));
    }
    let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect::<Option<_>>()
        .ok_or_else(|| "hex has something that is no hexadecimal digit".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Sent, Totals};

    /// Sends each packet to the other side, and one packet at each full second.
    #[derive(Default)]
    struct Ticker {
        now: u64,
    }

    impl Device for Ticker {
        fn packet(&mut self, now: u64, port: u8, bytes: &[u8], out: &mut Output) -> Result<(), DeviceFailure> {
            out.sent.push(Sent {
                port: 1 - port,
                t_ns: now,
                bytes: bytes.to_vec(),
            });
            Ok(())
        }

        fn advance(&mut self, to: u64, out: &mut Output) -> Result<(), DeviceFailure> {
            assert!(to >= self.now, "time went back");
            for second in self.now / 1_000_000_000 + 1..=to / 1_000_000_000 {
                out.sent.push(Sent {
                    port: 0,
                    t_ns: second * 1_000_000_000,
                    bytes: vec![0xff],
                });
            }
            self.now = to;
            Ok(())
        }

        fn configure(&mut self, _: u64, commands: &[String], _: &mut Output) -> Result<(), DeviceFailure> {
            match commands {
                [] => Ok(()),
                [first, ..] => Err(DeviceFailure::Config(format!("unknown statement {first}"))),
            }
        }

        fn totals(&mut self) -> Result<Totals, DeviceFailure> {
            Ok(Totals {
                sessions: 3,
                bibs: 2,
                ..Totals::default()
            })
        }

        fn describe(&mut self, _: u8, _: &[u8]) -> String {
            String::new()
        }
    }

    fn talk(lines: &str, config: Option<PathBuf>) -> Vec<Value> {
        let mut open = |path: &std::path::Path, _: u64| -> Result<Box<dyn Device>, DeviceFailure> {
            match path.to_str() {
                Some("good") => Ok(Box::new(Ticker::default())),
                _ => Err(DeviceFailure::Config("no such file".into())),
            }
        };
        let mut server = Server::new(&mut open, config, 0).expect("a device");
        let mut output = Vec::new();
        server.serve(lines.as_bytes(), &mut output).expect("pipes work");
        String::from_utf8(output)
            .expect("text")
            .lines()
            .map(|l| serde_json::from_str(l).expect("JSON"))
            .collect()
    }

    #[test]
    fn every_line_has_one_answer_and_time_never_goes_back() {
        let answers = talk(
            concat!(
                r#"{"op":"packet","side":"inside","t_ns":5,"hex":"60Ab"}"#,
                "\n",
                r#"{"op":"packet","side":"outside","t_ns":1000000007,"hex":"45"}"#,
                "\n",
                r#"{"op":"advance","t_ns":3}"#,
                "\n",
                r#"{"op":"advance","t_ns":2000000000}"#,
                "\n",
                r#"{"op":"config","t_ns":0,"commands":[]}"#,
                "\n",
                r#"{"op":"query","what":"sessions"}"#,
                "\n",
                r#"{"op":"query","what":"bibs"}"#,
                "\n",
                r#"{"op":"reset","seed":4}"#,
                "\n",
                r#"{"op":"packet","side":"inside","t_ns":1,"hex":"61"}"#,
            ),
            Some("good".into()),
        );
        let tick = |second: u64| json!({"side": "inside", "t_ns": second * 1_000_000_000, "hex": "ff"});
        assert_eq!(
            answers,
            [
                json!({"tx": [{"side": "outside", "t_ns": 5, "hex": "60ab"}]}),
                json!({"tx": [tick(1), {"side": "inside", "t_ns": 1_000_000_007, "hex": "45"}]}),
                json!({"tx": []}),
                json!({"tx": [tick(2)]}),
                json!({"tx": []}),
                json!({"count": 3}),
                json!({"count": 2}),
                json!({"tx": []}),
                json!({"tx": [{"side": "outside", "t_ns": 1, "hex": "61"}]}),
            ]
        );
    }

    #[test]
    fn bad_lines_are_answered_and_the_next_one_works() {
        let long = "x".repeat(MAX_LINE as usize + 100);
        let bad = [
            "",
            "nonsense",
            "[]",
            r#"{"op":"fly"}"#,
            r#"{"op":"packet","side":"left","t_ns":1,"hex":"60"}"#,
            r#"{"op":"packet","side":"inside","t_ns":1,"hex":"6"}"#,
            r#"{"op":"packet","side":"inside","t_ns":1,"hex":""}"#,
            r#"{"op":"packet","side":"inside","t_ns":1,"hex":"zz"}"#,
            r#"{"op":"packet","side":"inside","t_ns":1,"hex":"\u00e9\u00e9"}"#,
            r#"{"op":"packet","side":"inside","t_ns":-1,"hex":"60"}"#,
            r#"{"op":"advance","t_ns":18446744073709551615}"#,
            r#"{"op":"config","t_ns":1,"commands":["set x"]}"#,
            r#"{"op":"query","what":"weather"}"#,
            r#"{"op":"reset","config":"missing"}"#,
            &long,
        ];
        let mut lines = bad.join("\n");
        lines.push_str("\n{\"op\":\"query\",\"what\":\"bibs\"}\n");
        let answers = talk(&lines, Some("good".into()));
        assert_eq!(answers.len(), bad.len() + 1);
        for (line, answer) in bad.iter().zip(&answers) {
            assert!(answer["error"].is_string(), "{line:.60} was answered {answer}");
        }
        assert_eq!(answers.last(), Some(&json!({"count": 2})));
    }

    #[test]
    fn what_timers_sent_before_a_refused_command_is_in_the_next_answer() {
        let answers = talk(
            concat!(
                r#"{"op":"config","t_ns":1000000000,"commands":["set x"]}"#,
                "\n",
                r#"{"op":"query","what":"bibs"}"#,
                "\n",
                r#"{"op":"advance","t_ns":0}"#,
                "\n",
                r#"{"op":"config","t_ns":2000000000,"commands":["set x"]}"#,
                "\n",
                r#"{"op":"reset"}"#,
                "\n",
                r#"{"op":"advance","t_ns":0}"#,
            ),
            Some("good".into()),
        );
        assert!(answers[0]["error"].is_string() && answers[3]["error"].is_string());
        assert_eq!(
            answers[2],
            json!({"tx": [{"side": "inside", "t_ns": 1_000_000_000, "hex": "ff"}]})
        );
        assert_eq!(answers[5], json!({"tx": []}), "a new start knows nothing of before");
    }

    #[test]
    fn without_a_configuration_only_reset_works() {
        let answers = talk(
            concat!(
                r#"{"op":"advance","t_ns":3}"#,
                "\n",
                r#"{"op":"reset"}"#,
                "\n",
                r#"{"op":"reset","config":"good"}"#,
                "\n",
                r#"{"op":"advance","t_ns":3}"#,
                "\n",
            ),
            None,
        );
        assert!(answers[0]["error"].is_string() && answers[1]["error"].is_string());
        assert_eq!(answers[2..], [json!({"tx": []}), json!({"tx": []})]);
    }
}
