//! The program `nat64ctl`: its options, and the three ways to give commands.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};

use crate::api::DEFAULT_SOCKET;

use super::client::Client;
use super::error::CtlError;
use super::lex;
use super::output::{Format, Plain, Screen};
use super::session::{Front, Next, Session};
use super::shell::{self, Shell};
use super::{complete, manual};

const EXAMPLES: &str = "Examples:
  nat64ctl                                       a shell; ? helps
  nat64ctl show services sessions count
  nat64ctl --json show services nat pool
  nat64ctl -c 'configure; set services nat pool p address 203.0.113.0/24; commit and-quit'
  nat64ctl < commands.txt
  nat64ctl clear services sessions source-prefix 2001:db8::7

Exit codes: 0 done, 1 refused, 2 wrong command line, 3 no daemon, 4 not allowed, 5 the daemon failed, 130 interrupted.";

/// Looks at and configures a nat64d: in a shell, or with the commands that are given.
#[derive(Parser, Debug)]
#[command(name = "nat64ctl", version, after_help = EXAMPLES)]
pub struct Options {
    /// Socket of the daemon.
    #[arg(long, value_name = "PATH", env = "NAT64CTL_SOCKET", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,

    /// Answer in JSON, errors too.
    #[arg(long)]
    pub json: bool,

    /// Commands, separated by `;` or line ends; may be given several times.
    #[arg(short = 'c', long = "command", value_name = "COMMANDS")]
    pub commands: Vec<String>,

    /// Go on with the next command when one fails; the exit code is that of the first that did.
    #[arg(long)]
    pub keep_going: bool,

    /// Seconds to wait for an answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,

    /// Print the completion script for a shell: bash, zsh or fish.
    #[arg(long, value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
    pub completions: Option<String>,

    /// Print the manual page.
    #[arg(long)]
    pub man: bool,

    /// What could follow this begun line, one a line with a tab and help: for completion scripts.
    #[arg(long, value_name = "LINE", hide = true)]
    pub complete: Option<String>,

    /// One command, as it would be typed in the shell.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub line: Vec<String>,
}

/// Output on standard output, text from standard input.
struct Script {
    screen: Plain<io::Stdout>,
}

impl Front for Script {
    fn screen(&mut self) -> &mut dyn Screen {
        &mut self.screen
    }

    fn text(&mut self) -> Result<String, CtlError> {
        let mut text = String::new();
        for line in io::stdin().lock().lines() {
            let line = line.map_err(CtlError::Output)?;
            if line.starts_with('\u{4}') {
                break;
            }
            text.push_str(&line);
            text.push('\n');
        }
        Ok(text)
    }

    fn confirm(&mut self, _: &str) -> Result<bool, CtlError> {
        Ok(true)
    }

    fn interactive(&self) -> bool {
        false
    }
}

/// The program.
pub fn main() -> ExitCode {
    let mut options = Options::parse();
    // `nat64ctl show drops --json`: an option behind a command, where hands put it.
    if options.line.last().is_some_and(|last| last == "--json") {
        options.line.pop();
        options.json = true;
    }
    let json = options.json;
    match run(&options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            tell(&error, json, true);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Tells an error: as JSON where the answer would be, or as text on standard error.
fn tell(error: &CtlError, json: bool, echo: bool) {
    // Nobody is left to tell when this fails.
    let _ = if json {
        writeln!(io::stdout(), "{}", error.to_json())
    } else {
        write!(io::stderr(), "{}", error.to_text(echo))
    };
}

/// Writes the whole of a text to standard output.
fn print(text: &str) -> Result<(), CtlError> {
    let mut screen = Plain::new(io::stdout());
    for line in text.lines() {
        if screen.line(line)?.is_enough() {
            break;
        }
    }
    screen.flush()
}

fn run(options: &Options) -> Result<u8, CtlError> {
    if let Some(shell) = &options.completions {
        return print(complete::script(shell)).map(|()| 0);
    }
    if options.man {
        let page = manual::man_page(Options::command()).map_err(CtlError::Output)?;
        return print(&page).map(|()| 0);
    }
    let client = Client::new(&options.socket, Duration::from_secs(options.timeout))?;
    let mut session = Session::new(client, options.json.then_some(Format::JsonLines));
    if let Some(line) = &options.complete {
        return print(&complete::answer(&session, line)).map(|()| 0);
    }
    let mut front = Script {
        screen: Plain::new(io::stdout()),
    };
    let mut first = 0;
    if !options.commands.is_empty() || !options.line.is_empty() {
        let given = options.commands.iter().flat_map(|script| lex::commands(script));
        let mut lines: Vec<String> = given.map(str::to_string).collect();
        if !options.line.is_empty() {
            lines.push(joined(&options.line));
        }
        for line in lines {
            match one(&mut session, &line, &mut front, options) {
                Ok(Next::Go) => {}
                Ok(Next::Leave) => break,
                Err(code) if options.keep_going => first = if first == 0 { code } else { first },
                Err(code) => {
                    first = code;
                    break;
                }
            }
        }
    } else if shell::possible_here() && !options.json {
        session.greet()?;
        println!("{}", shell::greeting(session.mode()));
        let mut shell = Shell::new(session);
        return shell.run().map(|()| 0);
    } else {
        first = lines(&mut session, &mut front, options)?;
    }
    session.close();
    Ok(first)
}

/// Commands from standard input, one a line.
fn lines(session: &mut Session, front: &mut Script, options: &Options) -> Result<u8, CtlError> {
    let mut first = 0;
    loop {
        // Not held between lines: `load ... terminal` reads on from here.
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line).map_err(CtlError::Output)? == 0 {
            return Ok(first);
        }
        match one(session, line.trim_end_matches(['\r', '\n']), front, options) {
            Ok(Next::Go) => {}
            Ok(Next::Leave) => return Ok(first),
            Err(code) if options.keep_going => first = if first == 0 { code } else { first },
            Err(code) => return Ok(code),
        }
    }
}

fn one(session: &mut Session, line: &str, front: &mut Script, options: &Options) -> Result<Next, u8> {
    session.execute(line, front).map_err(|error| {
        let _ = front.screen.flush();
        tell(&error, options.json, true);
        error.exit_code()
    })
}

/// Arguments of the program as one line: each is one word, but `|` and lines given whole are what they are.
fn joined(words: &[String]) -> String {
    if let [line] = words {
        return line.clone();
    }
    let word = |word: &String| {
        if word == "|" {
            word.clone()
        } else {
            lex::quoted_value(word)
        }
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn arguments_become_one_line() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_string()).collect::<Vec<_>>();
        assert_eq!(
            joined(&words(&["show", "drops", "|", "match", "a b"])),
            "show drops | match \"a b\""
        );
        assert_eq!(
            joined(&words(&["show services nat pool | count"])),
            "show services nat pool | count"
        );
    }

    #[test]
    fn the_command_may_have_options_of_its_own() {
        let options = Options::try_parse_from(["nat64ctl", "--json", "show", "drops", "--x"]).unwrap();
        assert_eq!(options.line, ["show", "drops", "--x"]);
        assert!(options.json);
    }
}
