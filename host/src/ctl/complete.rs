//! Completion in bash, zsh and fish: scripts that ask `nat64ctl --complete LINE`, so that the shell knows the grammar and
//! the live names as the own shell does.

use super::session::Session;

/// The script for a shell; source it, or put it where the shell looks for completions.
pub fn script(shell: &str) -> &'static str {
    match shell {
        "zsh" => include_str!("complete/nat64ctl.zsh"),
        "fish" => include_str!("complete/nat64ctl.fish"),
        _ => include_str!("complete/nat64ctl.bash"),
    }
}

/// What could stand at the end of `line`: word, tab, help. Empty when nothing or when the line is wrong.
pub fn answer(session: &Session, line: &str) -> String {
    let Ok(found) = session.complete(line) else {
        return String::new();
    };
    let mut out = String::new();
    for candidate in found.candidates.iter().filter(|candidate| candidate.literal) {
        out.push_str(&candidate.text);
        out.push('\t');
        out.push_str(&candidate.help);
        out.push('\n');
    }
    out
}
