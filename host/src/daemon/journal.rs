//! The daemon's own log: to the journal or to standard error, and its last lines kept for `show log`.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::unix_milliseconds;
use crate::api::system::{LogLine, Severity};

/// Lines kept.
const LINES: usize = 10_000;
/// Longest text of one line or field kept, bytes.
const TEXT: usize = 2048;

struct Kept {
    lines: VecDeque<LogLine>,
    /// Number of the first line kept.
    first: u64,
}

/// The last lines of the log. Clones are handles of the same.
#[derive(Clone)]
pub struct LogBuffer(Arc<Mutex<Kept>>);

impl Default for LogBuffer {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Kept {
            lines: VecDeque::new(),
            first: 0,
        })))
    }
}

impl LogBuffer {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: LogLine) {
        let mut kept = self.kept();
        if kept.lines.len() >= LINES {
            kept.lines.pop_front();
            kept.first += 1;
        }
        kept.lines.push_back(line);
    }

    /// Number from which on there are `count` lines of a severity or worse, or all that are kept.
    pub fn newest(&self, severity: Severity, count: usize) -> u64 {
        let kept = self.kept();
        let newest_first = kept.lines.iter().enumerate().rev();
        let mut matching = newest_first.filter(|(_, line)| line.severity <= severity);
        match count.checked_sub(1) {
            None => kept.first + kept.lines.len() as u64,
            Some(before) => matching
                .nth(before)
                .map_or(kept.first, |(index, _)| kept.first + index as u64),
        }
    }

    /// Lines of a severity or worse from number `from` on, oldest first, and the number to go on with.
    pub fn page(&self, from: u64, severity: Severity, limit: usize) -> (Vec<LogLine>, Option<u64>) {
        let kept = self.kept();
        let skip = usize::try_from(from.saturating_sub(kept.first)).unwrap_or(usize::MAX);
        let mut lines = Vec::new();
        for (index, line) in kept.lines.iter().enumerate().skip(skip) {
            if line.severity > severity {
                continue;
            }
            if lines.len() >= limit {
                return (lines, Some(kept.first + index as u64));
            }
            lines.push(line.clone());
        }
        (lines, None)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    fields: serde_json::Map<String, serde_json::Value>,
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT {
        let end = (0..=TEXT).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut text = String::new();
        // Writing to a string does not fail; a `Debug` that fails leaves what it has written.
        let _ = write!(text, "{value:?}");
        let text = cut(text);
        if field.name() == "message" {
            self.message = text;
        } else {
            self.fields.insert(field.name().into(), text.into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = cut(value.to_owned());
        if field.name() == "message" {
            self.message = text;
        } else {
            self.fields.insert(field.name().into(), text.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.insert(field.name().into(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.insert(field.name().into(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.insert(field.name().into(), value.into());
    }
}

fn line_of(event: &tracing::Event<'_>) -> LogLine {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let severity = match *event.metadata().level() {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        Level::INFO => Severity::Info,
        _ => Severity::Debug,
    };
    LogLine {
        time: unix_milliseconds(SystemTime::now()),
        severity,
        target: event.metadata().target().into(),
        message: fields.message,
        fields: fields.fields,
    }
}

impl<S: Subscriber> Layer<S> for LogBuffer {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        self.push(line_of(event));
    }
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// To the journal, with its fields, when the daemon runs under it (`JOURNAL_STREAM`); else a line of text on standard
    /// error: time, severity, part, message, `name=value` fields.
    #[default]
    Text,
    /// A JSON object on each line of standard error: what `show log` gives as JSON ([`LogLine`]).
    Json,
}

/// [`LogFormat::Json`].
struct JsonLines;

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if let Ok(mut line) = serde_json::to_vec(&line_of(event)) {
            line.push(b'\n');
            // A log that cannot be written has nowhere to say so; `show log` still has the line.
            let _ = std::io::stderr().lock().write_all(&line);
        }
    }
}

/// Starts logging. `level` is a filter as of `RUST_LOG`: `info`, `debug`, `nat64_host=debug,warn`.
///
/// # Errors
/// The filter cannot be read, or logging was started before.
pub fn start(level: &str, format: LogFormat) -> Result<LogBuffer, String> {
    let bad = |error: &dyn std::fmt::Display| format!("log level `{level}`: {error}");
    // The crate under the driver logs as errors what the driver tells itself when it is one.
    let quiet = "vfio_ioctls=off".parse().map_err(|error| bad(&error))?;
    let filter = EnvFilter::try_new(level).map_err(|error| bad(&error))?;
    let filter = filter.add_directive(quiet);
    let buffer = LogBuffer::default();
    let json = (format == LogFormat::Json).then_some(JsonLines);
    let under_journal = json.is_none() && std::env::var_os("JOURNAL_STREAM").is_some();
    let journal = under_journal.then(tracing_journald::layer).and_then(Result::ok);
    let stderr = (json.is_none() && journal.is_none()).then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
    });
    tracing_subscriber::registry()
        .with(filter)
        .with(buffer.clone())
        .with(journal)
        .with(json)
        .with(stderr)
        .try_init()
        .map_err(|error| error.to_string())?;
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_in_order_paged_and_bounded() {
        let buffer = LogBuffer::default();
        let subscriber = tracing_subscriber::registry().with(buffer.clone());
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..LINES as u64 + 5 {
                tracing::info!(number, "line");
            }
            tracing::warn!(card = "card0", "odd");
            tracing::debug!("{}", "x".repeat(2 * TEXT));
        });
        let (lines, next) = buffer.page(0, Severity::Info, 3);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].fields["number"], 7);
        assert_eq!(lines[0].message, "line");
        let (rest, end) = buffer.page(next.unwrap(), Severity::Info, usize::MAX);
        assert_eq!(rest[0].fields["number"], 10);
        assert_eq!((rest.len(), end), (LINES - 1 - 3, None));
        let (odd, _) = buffer.page(0, Severity::Warning, 10);
        assert_eq!(odd.len(), 1);
        assert_eq!(odd[0].fields["card"], "card0");
        for count in [0, 1, 2, 50, LINES, 2 * LINES] {
            for severity in [Severity::Warning, Severity::Info, Severity::Debug] {
                let (all, _) = buffer.page(0, severity, usize::MAX);
                let (newest, _) = buffer.page(buffer.newest(severity, count), severity, usize::MAX);
                assert_eq!(
                    newest,
                    all[all.len() - count.min(all.len())..],
                    "{count} of {severity:?}"
                );
            }
        }
        let (all, _) = buffer.page(0, Severity::Debug, usize::MAX);
        assert_eq!(all.last().unwrap().message.len(), TEXT);
    }
}
