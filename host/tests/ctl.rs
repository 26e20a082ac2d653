//! `nat64ctl` against a mock daemon: what it sends, what it prints, how it ends; and the manual made from that.

mod mock;

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use mock::{program, Mock};
use nat64_host::ctl::grammar::{Command, CONFIGURATION, OPERATIONAL, PIPES};
use nat64_host::ctl::manual::{self, Example};
use nat64_host::ctl::parse::Mode;

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

/// Lines for the manual: each is run in a session of its own, after `configure` and what prepares it.
const EXAMPLES: &[(Mode, &str)] = &[
    (Mode::Operational, "show services nat pool"),
    (Mode::Operational, "show services nat pool src-pool-nat64 detail"),
    (Mode::Operational, "show services nat mappings"),
    (
        Mode::Operational,
        "show services nat mappings detail private 2001:db8::1",
    ),
    (Mode::Operational, "show services nat mappings summary"),
    (Mode::Operational, "show services nat statistics"),
    (
        Mode::Operational,
        "show services nat deterministic-nat internal-host 203.0.113.9 nat-port 1600",
    ),
    (
        Mode::Operational,
        "show services nat deterministic-nat nat-port-block 2001:db8::1",
    ),
    (Mode::Operational, "show services sessions"),
    (Mode::Operational, "show services sessions extensive limit 1"),
    (Mode::Operational, "show services sessions terse"),
    (Mode::Operational, "show services sessions count protocol tcp"),
    (Mode::Operational, "show services sessions utilization"),
    (Mode::Operational, "show services service-sets summary"),
    (Mode::Operational, "show services service-sets statistics packet-drops"),
    (Mode::Operational, "show chassis card"),
    (Mode::Operational, "show drops punts"),
    (Mode::Operational, "show registers"),
    (Mode::Operational, "show neighbours"),
    (Mode::Operational, "show nat64 drain"),
    (Mode::Operational, "show configuration services service-set sset-nat64"),
    (
        Mode::Operational,
        "show configuration services nat pool src-pool-nat64 | display set",
    ),
    (
        Mode::Operational,
        "show configuration services nat pool src-pool-nat64 | display json",
    ),
    (Mode::Operational, "show system commit"),
    (Mode::Operational, "show system rollback 0 | match pool"),
    (Mode::Operational, "show system uptime"),
    (Mode::Operational, "show system alarms"),
    (Mode::Operational, "show log severity warning"),
    (Mode::Operational, "show version"),
    (Mode::Operational, "show cli"),
    (Mode::Operational, "monitor drops count 1"),
    (Mode::Operational, "monitor sessions"),
    (Mode::Operational, "clear services sessions source-prefix 2001:db8::/96"),
    (
        Mode::Operational,
        "clear services nat mappings eim subscriber 2001:db8::1",
    ),
    (Mode::Operational, "clear services nat statistics"),
    (Mode::Operational, "clear system commit"),
    (
        Mode::Operational,
        "test nat64 packet source 2001:db8::1 source-port 40000 destination 64:ff9b::192.0.2.1 destination-port 80 \
         protocol tcp",
    ),
    (
        Mode::Operational,
        "request nat64 drain pool src-pool-nat64 address 203.0.113.7",
    ),
    (
        Mode::Operational,
        "request nat64 undrain pool src-pool-nat64 address 203.0.113.7",
    ),
    (Mode::Operational, "request support information"),
    (Mode::Operational, "card list"),
    (Mode::Operational, "card bind ffff:ff:1f.7"),
    (Mode::Operational, "card unbind ffff:ff:1f.7"),
    (Mode::Operational, "set cli screen-length 40"),
    (Mode::Operational, "configure"),
    (Mode::Operational, "help show services nat pool"),
    (Mode::Operational, "exit"),
    (Mode::Operational, "quit"),
    (
        Mode::Configuration,
        "set services nat pool src-pool-nat64 address 198.51.100.0/24",
    ),
    (Mode::Configuration, "delete services nat pool src-pool-nat64 port"),
    (Mode::Configuration, "deactivate services service-set sset-nat64"),
    (Mode::Configuration, "activate services service-set sset-nat64"),
    (
        Mode::Configuration,
        "annotate services nat pool src-pool-nat64 \"leased until 2030\"",
    ),
    (
        Mode::Configuration,
        "rename services nat pool src-pool-nat64 to customers",
    ),
    (Mode::Configuration, "copy services nat pool src-pool-nat64 to spare"),
    (
        Mode::Configuration,
        "insert services nat rule stateful-nat64 term t2 before term t1",
    ),
    (Mode::Configuration, "replace pattern src-pool-nat64 with customers"),
    (Mode::Configuration, "edit services nat"),
    (Mode::Configuration, "up"),
    (Mode::Configuration, "top"),
    (Mode::Configuration, "show services nat pool src-pool-nat64"),
    (Mode::Configuration, "show | compare"),
    (Mode::Configuration, "commit check"),
    (Mode::Configuration, "commit comment \"more addresses\""),
    (Mode::Configuration, "commit confirmed 5"),
    (Mode::Configuration, "rollback 1"),
    (
        Mode::Configuration,
        "load set inline set services nat pool p2 address 198.51.100.0/24",
    ),
    (Mode::Configuration, "save terminal | match pool"),
    (Mode::Configuration, "status"),
    (Mode::Configuration, "run show services sessions count"),
    (Mode::Configuration, "help insert"),
    (Mode::Configuration, "exit"),
    (Mode::Configuration, "quit"),
];

/// What goes before an example of the configuration mode so that it has something to work on.
fn prepared(line: &str) -> &'static [&'static str] {
    match line {
        "show | compare" | "commit comment \"more addresses\"" | "commit confirmed 5" => {
            &["set services nat pool src-pool-nat64 address 198.51.100.0/24"]
        }
        "activate services service-set sset-nat64" => &["deactivate services service-set sset-nat64"],
        line if line.starts_with("insert") => &["copy services nat rule stateful-nat64 term t1 to t2"],
        _ => &[],
    }
}

/// What an example prints, errors too, on a daemon of its own.
fn example(mode: Mode, line: &str) -> String {
    let mock = Mock::start();
    let mut lines = Vec::new();
    if mode == Mode::Configuration {
        lines.push("configure");
        lines.extend(prepared(line));
    }
    lines.push(line);
    let mut arguments = Vec::new();
    for line in &lines {
        arguments.extend(["-c", line]);
    }
    let output = run(&mock, &arguments);
    let text = text(&output.stdout) + &text(&output.stderr);
    // The folder of the socket has another name each time, and the hash moves with each change of the contract.
    text.replace(&*mock.socket.to_string_lossy(), "/run/nat64d/control.sock")
        .replace(&format!("{:#010x}", nat64_layout::ABI_HASH), "0x12345678")
}

fn of(command: &Command, line: &str) -> bool {
    line == command.words || line.starts_with(&format!("{} ", command.words))
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
fn commands_manual_is_current() {
    let examples = |mode: Mode, command: &Command| -> Vec<Example> {
        let prompt = if mode == Mode::Operational {
            "admin@gateway> "
        } else {
            "admin@gateway# "
        };
        EXAMPLES
            .iter()
            .filter(|(of_mode, line)| *of_mode == mode && of(command, line))
            .map(|(_, line)| Example {
                line: format!("{prompt}{line}"),
                output: example(mode, line),
            })
            .collect()
    };
    let wanted = manual::commands(&examples);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    compare(&folder.join("commands.md"), &wanted);
}

#[test]
fn man_page_is_current() {
    let mock = Mock::start();
    let page = out(&mock, &["--man"]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    compare(&folder.join("nat64ctl.1"), &page);
}

#[test]
fn every_command_has_an_example() {
    for (mode, commands) in [(Mode::Operational, OPERATIONAL), (Mode::Configuration, CONFIGURATION)] {
        for command in commands {
            let has = EXAMPLES
                .iter()
                .any(|(of_mode, line)| *of_mode == mode && of(command, line));
            assert!(has, "no example of `{}`", command.words);
        }
    }
}

#[test]
fn examples_do_what_they_show() {
    // A failed example would make the manual teach an error; these two show one on purpose.
    let errors = ["card bind ffff:ff:1f.7", "card unbind ffff:ff:1f.7"];
    for (mode, line) in EXAMPLES {
        let output = example(*mode, line);
        let failed = output.lines().any(|line| line.starts_with("error"));
        assert_eq!(failed, errors.contains(line), "{line}:\n{output}");
    }
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
fn every_command_answers_in_json() {
    // These two refuse, as there is no such device; others are lines of output, not answers.
    let refused = ["card bind ffff:ff:1f.7", "card unbind ffff:ff:1f.7"];
    let looks = EXAMPLES
        .iter()
        .filter(|(_, line)| !line.contains('|') && !refused.contains(line));
    for (mode, line) in looks {
        let mock = Mock::start();
        let mut arguments = vec!["--json"];
        if *mode == Mode::Configuration {
            arguments.extend(["-c", "configure"]);
            arguments.extend(prepared(line).iter().flat_map(|line| ["-c", *line]));
        }
        arguments.extend(["-c", *line]);
        let answers = out(&mock, &arguments);
        let parsed: Vec<Result<serde_json::Value, _>> =
            serde_json::Deserializer::from_str(&answers).into_iter().collect();
        let commands = arguments.iter().filter(|word| **word == "-c").count();
        let streamed = line.starts_with("monitor");
        assert!(parsed.iter().all(Result::is_ok), "{line}: {answers}");
        assert!(streamed || parsed.len() == commands, "{line}: {answers}");
    }
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
    let program = Path::new(env!("CARGO_BIN_EXE_nat64ctl"));
    let script = format!(
        "source <(nat64ctl --completions bash)\n\
         COMP_WORDS=(nat64ctl --socket {} show services nat pool src)\nCOMP_CWORD=7\n_nat64ctl\necho \"${{COMPREPLY[@]}}\"",
        mock.socket.display()
    );
    let path = format!(
        "{}:{}",
        program.parent().unwrap().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let output = std::process::Command::new("bash")
        .args(["--norc", "-c", &script])
        .env("PATH", path)
        .output()
        .expect("bash runs");
    assert_eq!(text(&output.stdout), "src-pool-nat64\n", "{}", text(&output.stderr));
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
