//! `nat64ctl` against a mock daemon: what it sends, what it prints, how it ends. Its manual is made on a real one, in
//! `tests/tests/manual.rs`.

mod mock;
mod pty;

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use mock::{program, Mock};
use nat64_host::ctl::grammar::PIPES;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn run(mock: &Mock, arguments: &[&str]) -> Output {
    program(&mock.socket).args(arguments).output().expect("nat64ctl runs")
}

fn out(mock: &Mock, arguments: &[&str]) -> String {
    let output = run(mock, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn script(mock: &Mock, arguments: &[&str], input: &str) -> Output {
    let mut child = program(&mock.socket)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nat64ctl runs");
    // A program that ends early leaves the rest unread.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn compare(file: &Path, wanted: &str) {
    if std::env::var_os("NAT64_GENERATE").is_some() {
        std::fs::write(file, wanted).unwrap();
    } else {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            text == wanted,
            "{} is out of date: cargo xtask generate",
            file.display()
        );
    }
}

#[test]
fn man_pages_are_current() {
    let mock = Mock::start();
    let page = out(&mock, &["--man"]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    compare(&folder.join("nat64ctl.1"), &page);
    let daemon = std::process::Command::new(env!("CARGO_BIN_EXE_nat64d"))
        .arg("--man")
        .output()
        .expect("nat64d runs");
    compare(&folder.join("nat64d.8"), &text(&daemon.stdout));
}

#[test]
fn filters_reach_the_daemon() {
    let mock = Mock::start();
    out(
        &mock,
        &[
            "sh",
            "serv",
            "sess",
            "ext",
            "source-prefix",
            "2001:db8::/96",
            "protocol",
            "tcp",
            "offload",
            "yes",
        ],
    );
    let requests = mock.requests();
    let wanted = "source-prefix=2001%3Adb8%3A%3A%2F96&protocol=tcp&offload=true&extensive=true";
    assert!(requests.iter().any(|request| request.contains(wanted)), "{requests:#?}");
    let mock = Mock::start();
    out(&mock, &["clear services sessions destination-port 443"]);
    let requests = mock.requests();
    assert!(
        requests.contains(&"POST /v1/sessions/clear {\"destination-port\":443}".to_string()),
        "{requests:#?}"
    );
}

#[test]
fn flows_are_the_sessions_by_direction() {
    let mock = Mock::start();
    let all = out(&mock, &["show services stateful-firewall flows"]);
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines[0], "Interface: ms-0/1/0, Service set: sset-nat64");
    assert!(
        lines[1].starts_with("Flow ") && lines[1].ends_with("Dir   Frm count"),
        "{all}"
    );
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    let flows: Vec<String> = lines[2..].iter().map(|line| words(line)).collect();
    assert_eq!(
        flows[..4],
        [
            "TCP 2001:db8::1:40000 -> 64:ff9b::c000:201:80 Forward I 9",
            "TCP 192.0.2.1:80 -> 203.0.113.1:1024 Forward O 12",
            "ICMPV6 2001:db8::2:7 -> 64:ff9b::c000:201:7 Forward I 1",
            "ICMP 192.0.2.1:1025 -> 203.0.113.1:1025 Forward O 1",
        ]
    );
    // The same lines as the sessions have.
    let sessions = out(&mock, &["show services sessions"]);
    assert_eq!(sessions.lines().skip(1).collect::<Vec<_>>(), lines[2..]);
    // A limit is of flows, and may end between the two of a session.
    for limit in 1..=4 {
        let some = out(
            &mock,
            &[&format!("show services stateful-firewall flows limit {limit}")],
        );
        assert_eq!(some.lines().collect::<Vec<_>>(), lines[..2 + limit]);
    }
    let extensive = out(
        &mock,
        &["show services stateful-firewall flows extensive application-protocol none limit 2"],
    );
    assert!(mock
        .requests()
        .iter()
        .any(|request| request.contains("application-protocol=none")));
    for wanted in [
        "    NAT source             2001:db8::1:40000      ->     203.0.113.1:1024",
        "    NAT source             192.0.2.1:80           ->     64:ff9b::c000:201:80",
        "    NAT destination        203.0.113.1:1024       ->     2001:db8::1:40000",
        "    Byte count: 1026, Session: 4294967296, State: ESTABLISHED, Application protocol: none",
        "    Flow role: Responder, Timeout: 7432",
    ] {
        assert!(extensive.lines().any(|line| line == wanted), "{wanted}\n{extensive}");
    }
    let json = out(&mock, &["--json", "show services stateful-firewall flows limit 3"]);
    let flows: Vec<serde_json::Value> = serde_json::from_str(&json).expect("a list");
    assert_eq!(flows.len(), 3);
    assert_eq!(flows[1]["role"], "responder");
    assert_eq!(flows[1]["direction"], "output");
    assert_eq!(flows[1]["nat-destination-address"], "2001:db8::1");
    let counts = out(&mock, &["--json", "show services stateful-firewall flows count"]);
    let sessions = out(&mock, &["--json", "show services sessions count"]);
    let read = |text: &str| serde_json::from_str::<Vec<serde_json::Value>>(text).expect("a list");
    let (counts, sessions) = (read(&counts), read(&sessions));
    assert_eq!(
        counts[0]["flow-count"].as_u64(),
        sessions[0]["sess-count"].as_u64().map(|n| 2 * n)
    );
}

#[test]
fn listings_are_fetched_page_by_page_and_end_at_the_limit() {
    let mock = Mock::start();
    let all = out(&mock, &["show services sessions terse"]);
    assert_eq!(all.lines().count(), 3, "{all}");
    let asked = |mock: &Mock| {
        mock.requests()
            .iter()
            .filter(|r| r.starts_with("GET /v1/sessions?"))
            .count()
    };
    assert_eq!(asked(&mock), 2);
    let mock = Mock::start();
    out(&mock, &["show services sessions terse limit 1"]);
    assert_eq!(asked(&mock), 1);
}

#[test]
fn errors_are_json_too_and_exit_codes_tell_them_apart() {
    let mock = Mock::start();
    let cases: [(&[&str], i32, &str); 4] = [
        (&["show", "nonsense"], 2, "usage"),
        (&["show services nat pool other"], 1, "not-found"),
        (&["-c", "configure", "-c", "set services nonsense"], 1, "syntax"),
        (&["set services nat"], 2, "usage"),
    ];
    for (arguments, code, kind) in cases {
        let plain = run(&mock, arguments);
        assert_eq!(plain.status.code(), Some(code), "{arguments:?}");
        assert!(
            text(&plain.stderr).contains("error"),
            "{arguments:?}: {}",
            text(&plain.stderr)
        );
        let mut with_json = vec!["--json"];
        with_json.extend(arguments);
        let json = run(&mock, &with_json);
        assert_eq!(json.status.code(), Some(code), "{arguments:?}");
        let answers = text(&json.stdout);
        let last = answers.lines().last().unwrap_or_default();
        let error: serde_json::Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{answers}"));
        assert_eq!(error["error"]["code"], kind, "{arguments:?}");
    }
}

#[test]
fn without_a_daemon_it_says_what_to_do() {
    let output = program(Path::new("/nonexistent/control.sock"))
        .arg("show drops")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let error = text(&output.stderr);
    assert!(
        error.contains("/nonexistent/control.sock") && error.contains("systemctl start nat64d"),
        "{error}"
    );
}

#[test]
fn a_script_stops_at_the_first_error_unless_told_otherwise() {
    let mock = Mock::start();
    let lines = "show version\nshow nonsense\nshow drops\n";
    let stopped = script(&mock, &[], lines);
    assert_eq!(stopped.status.code(), Some(2));
    assert!(!text(&stopped.stdout).contains("Explanation"));
    assert!(
        text(&stopped.stderr).starts_with("show nonsense\n     ^^^^^^^^\n"),
        "{}",
        text(&stopped.stderr)
    );
    let went_on = script(&mock, &["--keep-going"], lines);
    assert_eq!(went_on.status.code(), Some(2));
    assert!(text(&went_on.stdout).contains("Explanation"));
}

#[test]
fn the_worked_example_loads_in_both_forms() {
    let seed = mock::SEED;
    let tree = nat64_host::config::parse(seed, "seed").unwrap();
    for (how, body) in [("override", seed.to_string()), ("set", tree.to_set())] {
        let mock = Mock::start();
        let input = format!(
            "configure\ndelete\nload {how} terminal\n{body}\u{4}\nshow | compare | count\ncommit and-quit\nshow system commit\n"
        );
        let output = script(&mock, &[], &input);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        assert!(
            said.starts_with("load complete\nCount: 0 lines\ncommit complete\n0   2026"),
            "{said}"
        );
        let ended = mock
            .requests()
            .iter()
            .any(|request| request.starts_with("DELETE /v1/configuration/edit/"));
        assert!(ended, "{:#?}", mock.requests());
    }
}

#[test]
fn statements_are_relative_to_the_level() {
    let mock = Mock::start();
    let lines = "configure\nedit services nat pool src-pool-nat64\nset address 198.51.100.0/24\nup\nset pool \"p 2\" address 192.0.2.0/24\n\
                 top\nshow | compare\nexit\n";
    let output = script(&mock, &[], lines);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let requests = mock.requests();
    let sent: Vec<&String> = requests
        .iter()
        .filter(|request| request.contains("/commands"))
        .collect();
    assert!(
        sent[0].contains("set services nat pool src-pool-nat64 address 198.51.100.0/24"),
        "{sent:#?}"
    );
    assert!(
        sent[1].contains(r#"set services nat pool \"p 2\" address 192.0.2.0/24"#),
        "{sent:#?}"
    );
    let said = text(&output.stdout);
    assert!(said.contains("[edit services nat pool src-pool-nat64]"), "{said}");
    assert!(said.contains("+  ") && said.contains("198.51.100.0/24;"), "{said}");
}

#[test]
fn a_commit_check_tells_every_problem() {
    let mock = Mock::start();
    let lines = "configure\ndelete services nat pool src-pool-nat64\ndelete services nat rule stateful-nat64 match-direction\ncommit check\n";
    let output = script(&mock, &[], lines);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(
        error.contains("src-pool-nat64") && error.contains("match-direction"),
        "{error}"
    );
}

#[test]
fn completion_for_shells_knows_statements_and_live_names() {
    let mock = Mock::start();
    let complete = |line: &str| out(&mock, &["--complete", line]);
    assert_eq!(complete("show services nat pool s"), "src-pool-nat64\tOnly this pool\n");
    assert!(complete("show services ").contains("sessions\t"));
    let statements = complete("show configuration services nat ");
    assert!(
        statements.contains("pool\t") && statements.contains("rule\t"),
        "{statements}"
    );
    for shell in ["bash", "zsh", "fish"] {
        assert!(out(&mock, &["--completions", shell]).contains("--complete"), "{shell}");
    }
}

#[test]
fn bash_completes_with_the_script() {
    let mock = Mock::start();
    let script = format!(
        "source <(nat64ctl --completions bash)\n\
         COMP_WORDS=(nat64ctl --socket {} show services nat pool src)\nCOMP_CWORD=7\n_nat64ctl\necho \"${{COMPREPLY[@]}}\"",
        mock.socket.display()
    );
    let output = std::process::Command::new("bash")
        .args(["--norc", "-c", &script])
        .env("PATH", path())
        .output()
        .expect("bash runs");
    assert_eq!(text(&output.stdout), "src-pool-nat64\n", "{}", text(&output.stderr));
}

/// The path with the folder of the program under test in front.
fn path() -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_nat64ctl"));
    let rest = std::env::var("PATH").unwrap_or_default();
    format!("{}:{rest}", program.parent().unwrap().display())
}

#[test]
fn fish_completes_with_the_script() {
    let mock = Mock::start();
    let socket = mock.socket.display();
    let script = format!(
        "source (nat64ctl --completions fish | psub)\n\
         complete -C 'nat64ctl --socket {socket} show services nat pool src'\n\
         complete -C 'nat64ctl --socket {socket} --js'"
    );
    let output = std::process::Command::new("fish")
        .args(["--no-config", "-c", &script])
        .env("PATH", path())
        .env("HOME", mock.socket.parent().unwrap())
        .output()
        .expect("fish runs; `cargo xtask setup` installs it");
    let said = text(&output.stdout);
    let words: Vec<&str> = said.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(words, ["src-pool-nat64", "--json"], "{said}{}", text(&output.stderr));
}

#[test]
fn zsh_completes_with_the_script() {
    let mock = Mock::start();
    let home = mock.socket.parent().unwrap();
    let rc = format!(
        "PATH='{}'\nPS1='ready%% '\nautoload -Uz compinit\ncompinit -u -D\nsource <(nat64ctl --completions zsh)\n",
        path()
    );
    std::fs::write(home.join(".zshrc"), rc).unwrap();
    let zsh = pty::Terminal::start(Path::new("zsh"), &["-i"], home, 24);
    zsh.wait("a prompt", |screen| screen.ends_with("ready%"));
    zsh.keys(&format!(
        "nat64ctl --socket {} show services nat pool src\t",
        mock.socket.display()
    ));
    zsh.wait("the completed name", |screen| {
        // The line is longer than the screen is wide.
        screen
            .replace('\n', "")
            .contains("show services nat pool src-pool-nat64")
    });
    zsh.keys("\x15nat64ctl --js\t");
    zsh.see("nat64ctl --json");
}

#[test]
fn scripts_of_completion_have_no_errors() {
    let mock = Mock::start();
    let home = mock.socket.parent().unwrap();
    for (shell, flag) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let file = home.join(shell);
        std::fs::write(&file, out(&mock, &["--completions", shell])).unwrap();
        let output = std::process::Command::new(shell)
            .arg(flag)
            .arg(&file)
            .output()
            .unwrap_or_else(|error| panic!("{shell}: {error}; run `cargo xtask setup`"));
        let said = text(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{shell}: {said}");
    }
}

#[test]
fn pages_of_the_manual_have_no_warnings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let output = std::process::Command::new("mandoc")
        .args(["-T", "lint", "-W", "warning"])
        .args([folder.join("nat64ctl.1"), folder.join("nat64d.8")])
        .output()
        .expect("mandoc runs; `cargo xtask setup` installs it");
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn pipes_are_the_same_everywhere() {
    let mock = Mock::start();
    for pipe in PIPES
        .iter()
        .filter(|pipe| pipe.args.is_empty() && pipe.words != "display set")
    {
        if pipe.words == "compare" {
            continue;
        }
        out(&mock, &[&format!("show drops | {}", pipe.words)]);
    }
    let refused = run(&mock, &["show drops | display set"]);
    assert_eq!(refused.status.code(), Some(2));
}
