//! The interactive shell of `nat64ctl` in a pseudo terminal, against a mock daemon.

mod mock;
mod pty;

use std::path::Path;

use mock::Mock;
use pty::Terminal;

struct Shell {
    terminal: Terminal,
    _mock: Mock,
    _home: tempfile::TempDir,
}

impl std::ops::Deref for Shell {
    type Target = Terminal;

    fn deref(&self) -> &Terminal {
        &self.terminal
    }
}

fn shell(rows: u16) -> Shell {
    let mock = Mock::start();
    let home = tempfile::tempdir().unwrap();
    let socket = mock.socket.to_string_lossy().into_owned();
    let program = Path::new(env!("CARGO_BIN_EXE_nat64ctl"));
    let terminal = Terminal::start(program, &["--socket", &socket], home.path(), rows);
    terminal.see("admin@gateway>");
    Shell {
        terminal,
        _mock: mock,
        _home: home,
    }
}

#[test]
fn question_mark_helps_and_keeps_the_line() {
    let shell = shell(40);
    shell.clear();
    shell.keys("show services nat pool ?");
    let screen = shell.wait("help and the line again", |screen| {
        screen.matches("admin@gateway> show services nat pool").count() == 2
    });
    for wanted in [
        "Possible completions:",
        "  <[Enter]>            Execute this command",
        "  src-pool-nat64       Only this pool",
        "  detail               All counters and limits of each pool",
        "  |                    Pipe through a command",
    ] {
        assert!(screen.contains(wanted), "{wanted}\n{screen}");
    }
    // The line goes on where it was: tab completes the name.
    shell.keys("src\t");
    shell.see("pool src-pool-nat64");
    shell.keys("det\t");
    shell.see("pool src-pool-nat64 detail");
    shell.keys("\r");
    shell.see("Translation type: NAPT-64");
}

#[test]
fn space_completes_keywords_but_not_names() {
    let shell = shell(40);
    shell.clear();
    // Key by key, as hands do: what is typed ahead is taken as it is.
    for (keys, line) in [
        ("sh", "sh"),
        (" ", "show "),
        ("serv", "show serv"),
        (" ", "show services "),
    ] {
        shell.keys(keys);
        let wanted = format!("admin@gateway> {line}").trim_end().to_string();
        shell.wait(&wanted, |screen| screen.lines().next() == Some(&wanted));
    }
    shell.keys("nat pool src ");
    shell.see("show services nat pool src");
    shell.keys("\r");
    shell.see("there is no pool src");
}

#[test]
fn errors_are_marked_below_the_word() {
    let shell = shell(40);
    let screen = shell.command("show servces nat");
    let lines: Vec<&str> = screen.lines().collect();
    assert_eq!(lines[0], "admin@gateway> show servces nat");
    assert_eq!(lines[1], "                    ^", "{screen}");
    assert!(lines[2].contains("did you mean `services`?"), "{screen}");
}

#[test]
fn configuration_mode_has_levels_and_compares() {
    let shell = shell(40);
    let screen = shell.command("configure");
    assert!(
        screen.contains("Entering configuration mode\n\n[edit]\nadmin@gateway#"),
        "{screen}"
    );
    let screen = shell.command("edit services nat pool src-pool-nat64");
    assert!(
        screen.contains("\n[edit services nat pool src-pool-nat64]\nadmin@gateway#"),
        "{screen}"
    );
    shell.command("set address 198.51.100.0/24");
    let screen = shell.command("show");
    assert!(screen.contains("address 198.51.100.0/24;"), "{screen}");
    let screen = shell.command("top show | compare");
    assert!(screen.contains("+") && screen.contains("198.51.100.0/24;"), "{screen}");
    assert!(
        screen.contains("\n[edit services nat pool src-pool-nat64]\nadmin@gateway#"),
        "{screen}"
    );
    let screen = shell.command("commit confirmed 5");
    assert!(screen.contains("rolled back in 5 minutes"), "{screen}");
    assert!(screen.contains("commit complete"), "{screen}");
    shell.command("exit");
    let screen = shell.command("exit");
    assert!(screen.contains("Exiting configuration mode"), "{screen}");
    assert!(screen.ends_with("admin@gateway>"), "{screen}");
}

#[test]
fn statements_complete_with_names_of_the_candidate() {
    let shell = shell(40);
    shell.command("configure");
    shell.clear();
    shell.keys("set services nat rule stateful-nat64 term t1 then translated source-pool ?");
    let screen = shell.see("Possible completions:");
    let screen = if screen.contains("src-pool-nat64") {
        screen
    } else {
        shell.see("  src-pool-nat64")
    };
    assert!(screen.contains("src-pool-nat64"), "{screen}");
    shell.keys("\x15");
    shell.clear();
    shell.keys("delete services nat pool \t");
    shell.see("delete services nat pool src-pool-nat64");
}

#[test]
fn pasted_lines_are_done_one_after_the_other() {
    let shell = shell(40);
    shell.command("configure");
    shell.clear();
    let lines = "set services nat pool a address 198.51.100.0/25\nset services nat pool b address 198.51.100.128/25\nshow services nat pool b";
    shell.keys(&format!("\x1b[200~{}\x1b[201~", lines.replace('\n', "\r")));
    let screen = shell.wait("both lines done, the third kept", |screen| {
        screen.lines().last() == Some("admin@gateway# show services nat pool b")
    });
    assert!(
        screen.contains("admin@gateway# set services nat pool a address"),
        "{screen}"
    );
    shell.keys("\r");
    shell.see("address 198.51.100.128/25;");
}

#[test]
fn a_curly_text_is_pasted_into_load() {
    let shell = shell(60);
    shell.command("configure");
    shell.command("delete services nat pool src-pool-nat64 port");
    shell.clear();
    shell.keys("load override terminal\r");
    shell.see("[Type ^D at a new line to end input]");
    shell.keys(&mock::SEED.replace('\n', "\r"));
    shell.keys("\x04");
    shell.see("load complete");
    let screen = shell.command("show | compare | count");
    assert!(screen.contains("Count: 0 lines"), "{screen}");
}

#[test]
fn long_output_stops_at_each_screen() {
    let shell = shell(12);
    shell.clear();
    shell.keys("show chassis card\r");
    shell.see("---(more)---");
    let first = shell.screen();
    assert!(
        first.contains("Card card0: online") && !first.contains("stash"),
        "{first}"
    );
    shell.keys("\r");
    shell.wait("one line more", |screen| {
        screen != first && screen.contains("---(more)---")
    });
    shell.keys("G");
    shell.wait("the end", |screen| {
        screen.contains("stash") && screen.ends_with("admin@gateway>")
    });
    shell.clear();
    shell.keys("show chassis card\r");
    shell.see("---(more)---");
    shell.keys("q");
    let left = shell.wait("the prompt", |screen| screen.ends_with("admin@gateway>"));
    assert!(!left.contains("stash"), "{left}");
    let screen = shell.command("show chassis card | no-more | last 2");
    assert!(screen.contains("stash"), "{screen}");
}

#[test]
fn history_and_the_end() {
    let mut shell = shell(40);
    shell.command("show system alarms");
    shell.clear();
    shell.keys("\x1b[A");
    shell.see("admin@gateway> show system alarms");
    shell.keys("\r");
    shell.see("1 alarm currently active");
    shell.clear();
    shell.keys("\x04");
    assert!(shell.terminal.ended());
}
