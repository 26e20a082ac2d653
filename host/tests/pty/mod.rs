//! A person at a terminal, for tests: a program in a pseudo terminal whose screen is kept as a terminal would show it.
//!
//! Answers the cursor position query that line editors send. Waiting is for what stands on the screen, never for time to
//! pass; what does not come in time fails with the screen as it is.

// Each test uses its part.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{native_pty_system, Child, CommandBuilder, PtySize};

/// How long something may take to appear; machines that build at the same time are slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// The query for the cursor's position.
const QUERY: &[u8] = b"\x1b[6n";

/// Columns of the screen.
const COLUMNS: NonZeroU16 = NonZeroU16::new(120).unwrap();

type Keyboard = Arc<Mutex<Box<dyn Write + Send>>>;

/// A program in a terminal.
pub struct Terminal {
    screen: Arc<Mutex<vt100::Parser>>,
    keyboard: Keyboard,
    child: Box<dyn Child + Send + Sync>,
    // Closing it would hang the terminal up.
    _master: Box<dyn portable_pty::MasterPty + Send>,
}

impl Terminal {
    /// Starts a program with `rows` lines of 120 columns. `home` is where it may keep its history.
    pub fn start(program: &Path, arguments: &[&str], home: &Path, rows: u16) -> Self {
        let lines = NonZeroU16::new(rows).expect("a screen has lines");
        let size = PtySize {
            rows,
            cols: COLUMNS.get(),
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).expect("a pseudo terminal");
        let mut command = CommandBuilder::new(program);
        command.args(arguments);
        // It would be the home directory.
        command.cwd(std::env::current_dir().expect("there is one"));
        command.env("TERM", "xterm-256color");
        command.env("TZ", "UTC");
        command.env("HOME", home);
        command.env_remove("XDG_STATE_HOME");
        command.env_remove("NAT64CTL_SOCKET");
        let child = pair.slave.spawn_command(command).expect("the program starts");
        drop(pair.slave);
        let mut output = pair.master.try_clone_reader().expect("its output");
        let keyboard: Keyboard = Arc::new(Mutex::new(pair.master.take_writer().expect("its input")));
        let screen = Arc::new(Mutex::new(vt100::Parser::new(lines, COLUMNS, 0)));
        let (shown, answers) = (Arc::clone(&screen), Arc::clone(&keyboard));
        std::thread::spawn(move || {
            let mut held = Vec::new();
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut chunk) {
                held.extend_from_slice(&chunk[..read]);
                while let Some(at) = held.windows(QUERY.len()).position(|window| window == QUERY) {
                    let (row, column) = {
                        let mut screen = shown.lock().expect("no panic");
                        screen.process(&held[..at]);
                        screen.screen().cursor_position()
                    };
                    held.drain(..at + QUERY.len());
                    let answer = format!("\x1b[{};{}R", row + 1, column + 1);
                    let _ = answers.lock().expect("no panic").write_all(answer.as_bytes());
                }
                // A query may be cut by the end of a read.
                let keep = (1..QUERY.len())
                    .rev()
                    .find(|n| held.ends_with(&QUERY[..*n]))
                    .unwrap_or(0);
                let now = held.len() - keep;
                shown.lock().expect("no panic").process(&held[..now]);
                held.drain(..now);
            }
        });
        Self {
            screen,
            keyboard,
            child,
            _master: pair.master,
        }
    }

    /// Presses keys.
    pub fn keys(&self, keys: &str) {
        let mut keyboard = self.keyboard.lock().expect("no panic");
        keyboard.write_all(keys.as_bytes()).expect("it listens");
        keyboard.flush().expect("it listens");
    }

    /// What stands on the screen, without the spaces at the ends of lines.
    pub fn screen(&self) -> String {
        let text = self.screen.lock().expect("no panic").screen().contents();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        lines.join("\n")
    }

    /// The line the cursor is in, up to the cursor, and the row.
    fn line(&self) -> (String, u16) {
        let screen = self.screen.lock().expect("no panic");
        let screen = screen.screen();
        let (row, column) = screen.cursor_position();
        (screen.contents_between(row, 0, row, column), row)
    }

    /// Waits until the screen is as wanted, and gives it.
    pub fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(start.elapsed() < PATIENCE, "{what} did not come; the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a text on the screen.
    pub fn see(&self, text: &str) -> String {
        self.wait(&format!("`{text}`"), |screen| screen.contains(text))
    }

    /// Waits until the cursor stands behind an empty prompt, below the first line.
    fn prompt(&self) {
        let start = Instant::now();
        loop {
            let (line, row) = self.line();
            if row > 0 && line.contains('@') && (line.ends_with("> ") || line.ends_with("# ")) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "no prompt; the screen:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Clears the screen, types a line and gives all that stands there when the next prompt came.
    pub fn command(&self, line: &str) -> String {
        self.clear();
        self.keys(&format!("{line}\r"));
        self.prompt();
        self.screen()
    }

    /// Clears the screen but for the prompt.
    pub fn clear(&self) {
        self.keys("\x0c");
        let start = Instant::now();
        while self.line().1 != 0 || !self.line().0.contains('@') {
            assert!(
                start.elapsed() < PATIENCE,
                "not cleared; the screen:\n{}",
                self.screen()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the program to end, and says whether it was content.
    pub fn ended(&mut self) -> bool {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.success();
            }
            assert!(
                start.elapsed() < PATIENCE,
                "it does not end; the screen:\n{}",
                self.screen()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
