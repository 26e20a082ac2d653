//! A daemon for tests: serves example answers of every route over a UNIX socket, and a configuration that can be
//! changed, compared and committed. Answers are API types, so they cannot drift from what the daemon would say; times
//! and numbers never change, so output made from them can be compared.

// Each test uses its part.
#![allow(dead_code)]

pub mod answers;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nat64_host::api::configuration::{
    Changed, Checked, Commands, Commit, CommitEntry, Commits, Committed, Comparison, Edit, EditMode, EditRequest,
    Editor, Format, Load, LoadMode, Rollback, Text,
};
use nat64_host::api::error::ErrorAnswer;
use nat64_host::api::{Done, ErrorBody, ErrorCode, Place, ROUTES};
use nat64_host::config::{self, EditPath, Tree};
use serde::Serialize;
use serde_json::json;

/// When the test's commits were made, Unix time.
pub const TIME: u64 = 1_798_000_000;

/// The configuration of the example, as it stands in `examples/`.
pub const SEED: &str = include_str!("../../../examples/seed.conf");

struct State {
    candidate: Tree,
    /// Newest first: text, user, comment.
    stored: Vec<(Tree, String, Option<String>)>,
    editors: Vec<(String, EditMode)>,
    rolls_back: Option<u64>,
}

/// A running mock; it ends with the test's process.
pub struct Mock {
    /// Its socket.
    pub socket: PathBuf,
    _folder: tempfile::TempDir,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Mock {
    /// Starts one whose active configuration is the example.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("control.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let seed = config::parse(SEED, "seed.conf").expect("the example is good");
        let state = Arc::new(Mutex::new(State {
            candidate: seed.clone(),
            stored: vec![
                (seed, "admin".into(), Some("first customers".into())),
                (Tree::new(), "root".into(), None),
            ],
            editors: Vec::new(),
            rolls_back: None,
        }));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away in between is its own affair.
                let _ = serve(&stream, &state, &seen);
            }
        });
        Self {
            socket,
            _folder: folder,
            requests,
        }
    }

    /// The requests so far: method, path and query, body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }
}

fn serve(stream: &UnixStream, state: &Mutex<State>, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let mut words = first.split_whitespace();
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let line = format!("{method} {target} {body}");
    seen.lock().expect("no panic").push(line.trim_end().to_string());
    let answer = answer(method, target, &body, state);
    let (status, text) = match answer {
        Ok(text) => (200, text),
        Err(error) => (
            error.code.status(),
            serde_json::to_string(&ErrorAnswer { error }).expect("plain data"),
        ),
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )
}

fn text<T: Serialize>(answer: &T) -> Result<String, ErrorBody> {
    Ok(serde_json::to_string(answer).expect("plain data"))
}

fn read<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, ErrorBody> {
    serde_json::from_str(body).map_err(|error| ErrorBody::new(ErrorCode::BadRequest, error.to_string()))
}

/// Value of a query parameter.
fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn wrong(error: &config::ConfigError, message: &str) -> ErrorBody {
    ErrorBody {
        code: ErrorCode::Syntax,
        message: message.into(),
        places: vec![Place {
            message: error.to_string(),
            rendered: Some(error.to_string()),
            ..Place::default()
        }],
    }
}

fn answer(method: &str, target: &str, body: &str, state: &Mutex<State>) -> Result<String, ErrorBody> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut state = state.lock().expect("no panic");
    let state = &mut *state;
    let fits = |pattern: &str| {
        let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
        pattern.len() == path.len()
            && pattern
                .iter()
                .zip(&path)
                .all(|(pattern, path)| pattern.starts_with('{') || pattern == path)
    };
    if !ROUTES
        .iter()
        .any(|route| route.method.name() == method && fits(route.path))
    {
        return Err(ErrorBody::new(ErrorCode::NotFound, format!("no route {method} {path}")));
    }
    let last = path.rsplit('/').next().unwrap_or("");
    match path {
        "/v1/configuration/edit" => {
            let request: EditRequest = read(body)?;
            if let Some((user, _)) = state.editors.iter().find(|(_, mode)| *mode == EditMode::Exclusive) {
                return Err(ErrorBody::new(
                    ErrorCode::Conflict,
                    format!("configuration database locked by {user}"),
                ));
            }
            state.editors.push(("admin".into(), request.mode));
            text(&edit(state, request.mode))
        }
        _ if path.starts_with("/v1/configuration/edit/") => {
            if method == "GET" {
                return text(&edit(state, EditMode::Shared));
            }
            state.editors.clear();
            text(&Done {})
        }
        "/v1/configuration/active" => shown(&state.stored[0].0, query),
        "/v1/configuration/candidate" => shown(&state.candidate, query),
        "/v1/configuration/candidate/compare" => {
            let number = parameter(query, "rollback").and_then(|n| n.parse().ok()).unwrap_or(0);
            let text_of = config::compare_text(&stored(state, number)?.clone(), &state.candidate);
            text(&Comparison {
                differs: !text_of.is_empty(),
                text: text_of,
            })
        }
        "/v1/configuration/candidate/commands" => {
            let commands: Commands = read(body)?;
            let mut changed = state.candidate.clone();
            for command in &commands.commands {
                config::apply_command(&mut changed, command).map_err(|error| wrong(&error, "nothing was changed"))?;
            }
            state.candidate = changed;
            text(&Changed {
                applied: commands.commands.len(),
                ..Changed::default()
            })
        }
        "/v1/configuration/candidate/load" => {
            let load: Load = read(body)?;
            let mode = match load.mode {
                LoadMode::Override => config::LoadMode::Override,
                LoadMode::Merge => config::LoadMode::Merge,
                LoadMode::Replace => config::LoadMode::Replace,
                LoadMode::Set => config::LoadMode::Set,
                LoadMode::Update => config::LoadMode::Update,
            };
            let top = EditPath::top();
            let at = match &load.path {
                Some(path) => top.edit(path).map_err(|error| wrong(&error, "no such level"))?,
                None => top,
            };
            let name = load.name.as_deref().unwrap_or("terminal");
            let relative = load.path.is_some();
            config::load(&mut state.candidate, &at, mode, relative, &load.text, name)
                .map_err(|error| wrong(&error, "load failed, nothing was changed"))?;
            text(&Changed {
                applied: load.text.lines().count(),
                ..Changed::default()
            })
        }
        "/v1/configuration/candidate/rollback" => {
            let rollback: Rollback = read(body)?;
            state.candidate = stored(state, rollback.n as usize)?.clone();
            text(&Changed::default())
        }
        "/v1/configuration/candidate/update" => text(&Changed::default()),
        "/v1/configuration/candidate/check" => {
            checked(&state.candidate)?;
            text(&Checked::default())
        }
        "/v1/configuration/commit" if method == "DELETE" => text(&Done {}),
        "/v1/configuration/commit" => {
            let commit: Commit = read(body)?;
            checked(&state.candidate)?;
            if let Some(at) = commit.at {
                return text(&Committed {
                    at: Some(at),
                    ..Committed::default()
                });
            }
            state
                .stored
                .insert(0, (state.candidate.clone(), "admin".into(), commit.comment));
            state.rolls_back = commit.confirmed.map(|minutes| TIME + 60 * u64::from(minutes));
            let mut committed = answers::committed();
            committed.rolls_back_at = state.rolls_back;
            text(&committed)
        }
        "/v1/configuration/commits" => text(&commits(state)),
        _ if path.starts_with("/v1/configuration/rollback/") => {
            let number = last.parse().unwrap_or(usize::MAX);
            shown(stored(state, number)?, query)
        }
        _ => answers::answer(path, query, body),
    }
}

fn edit(state: &State, mode: EditMode) -> Edit {
    Edit {
        edit: "edit-1".into(),
        mode,
        modified: state.candidate != state.stored[0].0,
        others: Vec::new(),
    }
}

fn stored(state: &State, number: usize) -> Result<&Tree, ErrorBody> {
    let found = state.stored.get(number).map(|(tree, _, _)| tree);
    found.ok_or_else(|| ErrorBody::new(ErrorCode::NotFound, format!("there is no rollback {number}")))
}

fn shown(tree: &Tree, query: &str) -> Result<String, ErrorBody> {
    let (format, mine) = match parameter(query, "format").as_deref() {
        Some("set") => (Format::Set, config::Format::Set),
        Some("json") => (Format::Json, config::Format::Json),
        _ => (Format::Curly, config::Format::Curly),
    };
    let path = parameter(query, "path").unwrap_or_default();
    let shown =
        config::show(tree, &EditPath::top(), &path, mine).map_err(|error| wrong(&error, "no such statement"))?;
    text(&Text { format, text: shown })
}

fn checked(tree: &Tree) -> Result<(), ErrorBody> {
    match config::build(tree, config::BuildOptions::default()) {
        Ok(_) => Ok(()),
        Err(problems) => Err(ErrorBody {
            code: ErrorCode::CommitCheck,
            message: "configuration check-out failed".into(),
            places: problems
                .iter()
                .map(|problem| Place {
                    message: problem.to_string(),
                    rendered: Some(problem.to_string()),
                    ..Place::default()
                })
                .collect(),
        }),
    }
}

fn commits(state: &State) -> Commits {
    let entry = |(at, (_, user, comment)): (usize, &(Tree, String, Option<String>))| CommitEntry {
        rollback: u32::try_from(at).unwrap_or(u32::MAX),
        commit: (state.stored.len() - at) as u64,
        time: TIME - 86_400 * at as u64,
        user: user.clone(),
        client: "cli".into(),
        comment: comment.clone(),
        damaged: None,
    };
    Commits {
        commits: state.stored.iter().enumerate().map(entry).collect(),
        rolls_back_at: state.rolls_back,
        pending_at: None,
        editors: state
            .editors
            .iter()
            .map(|(user, mode)| Editor {
                user: user.clone(),
                mode: *mode,
                since: TIME,
                idle: 7,
            })
            .collect(),
    }
}

/// Answers of routes that are no configuration, as JSON of API types.
pub(crate) fn json_of<T: Serialize>(answer: &T) -> Result<String, ErrorBody> {
    Ok(json!(answer).to_string())
}

/// The program under test, with the mock's socket and a time zone of its own.
pub fn program(socket: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_nat64ctl"));
    command
        .arg("--socket")
        .arg(socket)
        .env("TZ", "UTC")
        .env_remove("NAT64CTL_SOCKET");
    command
}
