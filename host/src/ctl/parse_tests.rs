//! Tests of the parser and of completion.

use super::super::grammar::{Action, Purpose, GROUPS};
use super::*;

struct Fixture;

impl Names for Fixture {
    fn names(&self, kind: Live) -> Vec<String> {
        let names: &[&str] = match kind {
            Live::Pool => &["br", "src-pool-nat64"],
            Live::ServiceSet => &["sset nat64", "sset-b"],
            _ => &[],
        };
        names.iter().map(|name| (*name).to_string()).collect()
    }
}

fn parsed(mode: Mode, line: &str) -> Line {
    parse(mode, line, &Fixture)
        .unwrap_or_else(|error| panic!("{line}: {error}"))
        .unwrap_or_else(|| panic!("{line}: empty"))
}

fn operational(line: &str) -> Line {
    parsed(Mode::Operational, line)
}

fn error(line: &str) -> String {
    let error = parse(Mode::Operational, line, &Fixture).unwrap_err();
    format!("{}..{} {error}", error.span.start, error.span.end)
}

#[test]
fn abbreviations_mean_the_only_command_they_begin() {
    let line = operational("sh serv nat pool");
    assert_eq!(line.command.command.action, Action::ShowNatPool);
    assert_eq!(operational("cl se n s").command.command.action, Action::ClearStatistics);
    assert_eq!(
        error("sh se"),
        "5..5 missing one of nat, sessions, stateful-firewall, service-sets"
    );
    assert_eq!(error("sh s"), "3..4 `s` is ambiguous: services, system");
}

#[test]
fn a_name_that_exists_beats_an_abbreviation_and_loses_to_a_keyword() {
    assert_eq!(
        operational("show services nat pool br").command.value("pool"),
        Some("br")
    );
    let line = operational("show services nat pool det");
    assert_eq!(line.command.value("level"), Some("detail"));
    let line = operational("show services nat pool brief br");
    assert_eq!(
        (line.command.value("level"), line.command.value("pool")),
        (Some("brief"), Some("br"))
    );
    let line = operational("show services nat pool \"detail\"");
    assert_eq!(
        (line.command.value("level"), line.command.value("pool")),
        (None, Some("detail"))
    );
}

#[test]
fn arguments_come_in_any_order_and_once() {
    let line = operational("show services sessions protocol t extensive source-prefix 2001:db8::/96 limit 5");
    let values: Vec<_> = line.command.values().collect();
    let wanted = [
        ("protocol", "tcp"),
        ("view", "extensive"),
        ("source-prefix", "2001:db8::/96"),
        ("limit", "5"),
    ];
    assert_eq!(values, wanted);
    assert_eq!(
        error("show services sessions limit 5 limit 6"),
        "31..36 unknown command or argument `limit`"
    );
    assert_eq!(
        error("show services sessions brief extensive"),
        "29..38 unknown command or argument `extensive`"
    );
}

#[test]
fn errors_say_what_was_expected_and_where() {
    assert_eq!(
        error("show servces nat"),
        "5..12 unknown command or argument `servces`; did you mean `services`?"
    );
    assert_eq!(
        error("show services sessions source-port 70000"),
        "35..40 `70000` is not a number from 0 to 65535"
    );
    assert_eq!(
        error("show services sessions source-port"),
        "34..34 missing a number from 0 to 65535 after `source-port`"
    );
    assert_eq!(
        error("show services sessions sorce-port 1"),
        "23..33 unknown command or argument `sorce-port`; did you mean `source-port`?"
    );
    assert_eq!(error("request nat64 drain pool p"), "26..26 missing `address ADDRESS`");
    assert_eq!(
        error("commit"),
        "0..6 unknown command or argument `commit`; it is a command of the configuration mode: `configure`"
    );
    assert_eq!(error("show \"a"), "5..7 the quote does not end");
    assert_eq!(error("show drops | match ("), "19..20 `(` is not a regular expression");
}

#[test]
fn pipes_follow_a_command() {
    let line = operational("show services sessions | match \"a|b\" | last 3 | count");
    let pipes: Vec<_> = line.pipes.iter().map(|pipe| pipe.command.action).collect();
    assert_eq!(pipes, [Action::PipeMatch, Action::PipeLast, Action::PipeCount]);
    assert_eq!(line.pipes[0].value("pattern"), Some("a|b"));
    assert_eq!(line.pipes[1].number("lines"), Some(3));
}

#[test]
fn statements_are_the_rest_of_the_line_as_it_stands() {
    let line = parsed(
        Mode::Configuration,
        r#"set services nat pool "a | b"  address 192.0.2.0/24"#,
    );
    assert_eq!(
        line.command.value("statement"),
        Some(r#"services nat pool "a | b"  address 192.0.2.0/24"#)
    );
    let line = parsed(Mode::Configuration, "show services nat | display set");
    assert_eq!(line.command.value("statement"), Some("services nat"));
    assert_eq!(line.pipes[0].command.action, Action::PipeDisplaySet);
    let line = parsed(Mode::Configuration, "show | compare rollback 1");
    assert_eq!(line.command.value("statement"), None);
    assert_eq!(line.pipes[0].number("rollback"), Some(1));
    let line = parsed(Mode::Configuration, "run show drops | count");
    assert_eq!(line.command.value("command"), Some("show drops | count"));
    assert!(line.pipes.is_empty());
}

#[test]
fn commit_takes_its_options_together() {
    let line = parsed(
        Mode::Configuration,
        "commit confirmed 5 comment \"more ports\" and-quit",
    );
    assert_eq!(line.command.number("confirmed"), Some(5));
    assert_eq!(line.command.value("comment"), Some("more ports"));
    assert!(line.command.has("and-quit"));
    let line = parsed(Mode::Configuration, "commit confirmed and-quit");
    assert_eq!(line.command.value("confirmed"), Some(""));
    assert!(line.command.has("and-quit"));
    assert!(parsed(Mode::Configuration, "commit check").command.has("check"));
    let error = parse(Mode::Configuration, "commit confirmed 0", &NoNames).unwrap_err();
    assert_eq!(error.to_string(), "`0` is not a number from 1 to 65535");
}

#[test]
fn up_and_top_take_a_command() {
    let line = parsed(Mode::Configuration, "up 2 set x");
    assert_eq!(
        (line.command.number("levels"), line.command.value("command")),
        (Some(2), Some("set x"))
    );
    let line = parsed(Mode::Configuration, "up show | display set");
    assert_eq!(
        (line.command.number("levels"), line.command.value("command")),
        (None, Some("show | display set"))
    );
    assert_eq!(parsed(Mode::Configuration, "up").command.value("command"), None);
    let line = parsed(Mode::Configuration, "top edit services nat");
    assert_eq!(line.command.value("command"), Some("edit services nat"));
}

#[test]
fn load_inline_takes_any_text() {
    let line = parsed(Mode::Configuration, "load merge inline services { nat { pool \"p");
    assert_eq!(line.command.value("how"), Some("merge"));
    assert_eq!(line.command.value("from"), Some("inline services { nat { pool \"p"));
}

#[test]
fn empty_lines_and_comments_mean_nothing() {
    for line in ["", "   ", "# show", "  # show"] {
        assert!(parse(Mode::Operational, line, &NoNames).unwrap().is_none(), "{line:?}");
    }
}

fn completions(mode: Mode, line: &str) -> (usize, Vec<String>, bool) {
    let found = complete(mode, line, &Fixture).unwrap();
    let texts = found.candidates.into_iter().map(|candidate| candidate.text).collect();
    (found.from, texts, found.enter)
}

#[test]
fn completes_words_of_commands() {
    let (from, texts, enter) = completions(Mode::Operational, "show services n");
    assert_eq!((from, &texts[..], enter), (14, &["nat".to_string()][..], false));
    let (_, texts, _) = completions(Mode::Operational, "sh s");
    assert_eq!(texts, ["services", "system"]);
    let (_, texts, enter) = completions(Mode::Operational, "show services nat ");
    assert_eq!(texts, ["pool", "mappings", "statistics", "deterministic-nat"]);
    assert!(!enter);
}

#[test]
fn completes_live_names_and_what_may_follow() {
    let (_, texts, enter) = completions(Mode::Operational, "show services nat pool ");
    assert_eq!(texts, ["br", "src-pool-nat64", "<pool>", "brief", "detail"]);
    assert!(enter);
    let (from, texts, _) = completions(Mode::Operational, "show services nat pool s");
    assert_eq!((from, &texts[..]), (23, &["src-pool-nat64".to_string()][..]));
    let (_, texts, enter) = completions(Mode::Operational, "clear services sessions service-set ");
    assert_eq!(texts, ["\"sset nat64\"", "sset-b", "<service-set>"]);
    assert!(!enter);
    let (_, texts, _) = completions(Mode::Operational, "show services sessions protocol ");
    assert_eq!(texts, ["tcp", "udp", "icmp", "icmp6"]);
}

#[test]
fn completes_after_a_pipe_and_inside_run() {
    let (from, texts, _) = completions(Mode::Operational, "show drops | ma");
    assert_eq!((from, &texts[..]), (13, &["match".to_string()][..]));
    let (from, texts, _) = completions(Mode::Configuration, "run show services nat pool s");
    assert_eq!((from, &texts[..]), (27, &["src-pool-nat64".to_string()][..]));
    let (from, texts, _) = completions(Mode::Configuration, "show services | disp");
    assert_eq!((from, &texts[..]), (16, &["display".to_string()][..]));
    let (from, texts, _) = completions(Mode::Configuration, "top sh");
    assert_eq!((from, &texts[..]), (4, &["show".to_string()][..]));
}

#[test]
fn statements_are_completed_by_the_configuration() {
    let statement = |line: &str| complete(Mode::Configuration, line, &Fixture).unwrap().statement;
    assert_eq!(statement("set services na"), Some((4, Purpose::Whole)));
    assert_eq!(statement("set "), Some((4, Purpose::Whole)));
    assert_eq!(statement("top set services "), Some((8, Purpose::Whole)));
    assert_eq!(statement("edit services nat "), Some((5, Purpose::Place)));
    assert_eq!(statement("show services nat "), Some((5, Purpose::Existing)));
}

#[test]
fn every_group_word_has_help() {
    for table in [OPERATIONAL, CONFIGURATION, PIPES] {
        for command in table {
            let words: Vec<&str> = command.words.split(' ').collect();
            for end in 1..words.len() {
                let path = words[..end].join(" ");
                assert!(GROUPS.iter().any(|(words, _)| *words == path), "no help for `{path}`");
            }
        }
    }
}

/// Words of the tables, punctuation and rubbish in all orders: parsing and completion give an answer, with places that
/// lie in the line.
#[test]
fn no_line_makes_the_parser_panic() {
    let mut pieces: Vec<&str> = vec![
        "|",
        "\"",
        "\\",
        " ",
        "é",
        "{",
        "}",
        ";",
        "#",
        "2001:db8::/32",
        "7",
        "-1",
    ];
    for table in [OPERATIONAL, CONFIGURATION, PIPES] {
        pieces.extend(table.iter().flat_map(|command| command.words.split(' ')));
        pieces.extend(table.iter().flat_map(|command| command.args).map(|arg| arg.name));
    }
    let seed = 0x6e61_7436_3463_746c_u64;
    let mut state = seed;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for _ in 0..20_000 {
        let mut line = String::new();
        for _ in 0..random(9) {
            line.push_str(pieces[random(pieces.len())]);
            if random(4) > 0 {
                line.push(' ');
            }
        }
        for mode in [Mode::Operational, Mode::Configuration] {
            if let Err(error) = parse(mode, &line, &Fixture) {
                assert!(
                    line.get(error.span.clone()).is_some(),
                    "seed {seed:#x}: {line:?} {error:?}"
                );
            }
            match complete(mode, &line, &Fixture) {
                Ok(found) => assert!(line.is_char_boundary(found.from), "seed {seed:#x}: {line:?}"),
                Err(error) => assert!(
                    line.get(error.span.clone()).is_some(),
                    "seed {seed:#x}: {line:?} {error:?}"
                ),
            }
        }
    }
}
