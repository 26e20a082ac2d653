//! `show system ...`, `show version`, answers to `commit` and `load`.

use std::fmt::Write;

use nat64_layout::ABI_HASH;

use crate::api::configuration::{Changed, Commits, Committed, Comparison, EditMode, Editor};
use crate::api::nat::MappingsCleared;
use crate::api::system::{LogLine, Severity, System};
use crate::api::Place;

use super::{duration, plural, time};

/// Versions of both sides.
pub fn version(system: &System) -> String {
    format!(
        "Hostname: {}\nnat64ctl: {}\nnat64d: {}\nABI hash: {} (nat64ctl {ABI_HASH:#010x})\n",
        system.host_name,
        env!("CARGO_PKG_VERSION"),
        system.version,
        system.abi_hash,
    )
}

/// Since when what runs; the daemon's clock counts.
pub fn uptime(system: &System, commits: &Commits) -> String {
    let now = system.started + system.uptime;
    let mut out = format!("Current time: {}\n", time(now));
    let _ = writeln!(
        out,
        "Daemon started: {} ({} ago), process {}",
        time(system.started),
        duration(system.uptime),
        system.pid
    );
    if let Some(last) = commits.commits.first() {
        let _ = writeln!(
            out,
            "Last configured: {} ({} ago) by {}",
            time(last.time),
            duration(now.saturating_sub(last.time)),
            last.user
        );
    } else {
        out += "Last configured: never\n";
    }
    out
}

/// What an operator should know.
pub fn alarms(system: &System) -> String {
    if system.alarms.is_empty() {
        return "No alarms currently active\n".into();
    }
    let mut out = format!("{} currently active\n", plural(system.alarms.len() as u64, "alarm"));
    for alarm in &system.alarms {
        let _ = writeln!(out, "  {alarm}");
    }
    out
}

/// A page of the log.
pub fn log(lines: &[LogLine]) -> String {
    let mut out = String::new();
    for line in lines {
        let severity = match line.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
            Severity::Debug => "debug",
        };
        let _ = write!(
            out,
            "{} {severity:<7} {}: {}",
            time(line.time / 1000),
            line.target,
            line.message
        );
        for (name, value) in &line.fields {
            let _ = match value.as_str() {
                Some(text) => write!(out, " {name}={text}"),
                None => write!(out, " {name}={value}"),
            };
        }
        out.push('\n');
    }
    out
}

/// The log of commits.
pub fn commits(commits: &Commits) -> String {
    let mut out = String::new();
    for entry in &commits.commits {
        let _ = writeln!(
            out,
            "{:<3} {} by {} via {}",
            entry.rollback,
            time(entry.time),
            entry.user,
            entry.client
        );
        if let Some(comment) = &entry.comment {
            let _ = writeln!(out, "    {comment}");
        }
        if let Some(damaged) = &entry.damaged {
            let _ = writeln!(out, "    damaged: {damaged}");
        }
    }
    if commits.commits.is_empty() {
        out += "Nothing was committed yet.\n";
    }
    if let Some(at) = commits.rolls_back_at {
        let _ = writeln!(
            out,
            "commit confirmed: rolls back at {} unless committed again",
            time(at)
        );
    }
    if let Some(at) = commits.pending_at {
        let _ = writeln!(out, "commit requested for {}", time(at));
    }
    out
}

/// Who edits.
pub fn editors(editors: &[Editor]) -> String {
    if editors.is_empty() {
        return "Nobody edits the configuration.\n".into();
    }
    let mut out = String::from("Users currently editing the configuration:\n");
    for editor in editors {
        let mode = match editor.mode {
            EditMode::Shared => "",
            EditMode::Exclusive => " [exclusive]",
            EditMode::Private => " [private]",
        };
        let _ = writeln!(
            out,
            "  {}{mode} since {}, idle {}",
            editor.user,
            time(editor.since),
            duration(editor.idle)
        );
    }
    out
}

/// Warnings of the configuration.
pub fn warnings(warnings: &[Place]) -> String {
    let mut out = String::new();
    for warning in warnings {
        match &warning.rendered {
            Some(rendered) => {
                let _ = writeln!(out, "{}", rendered.trim_end());
            }
            None => {
                let _ = writeln!(out, "warning: {}", warning.message);
                if let Some(help) = &warning.help {
                    let _ = writeln!(out, "  {help}");
                }
            }
        }
    }
    out
}

/// Answer to a change of the candidate; `done` is what Junos says then.
pub fn changed(changed: &Changed, done: &str) -> String {
    let mut out = warnings(&changed.warnings);
    if !done.is_empty() {
        let _ = writeln!(out, "{done}");
    }
    out
}

/// Sessions that ended because of a commit.
pub fn sessions_lost(committed: &Committed) -> String {
    let mut out = String::new();
    for card in &committed.cards {
        if card.sessions_removed + card.mappings_removed > 0 {
            let _ = writeln!(
                out,
                "card {}: {} and {} ended with what was configured, {} live on",
                card.card,
                plural(card.sessions_removed, "session"),
                plural(card.mappings_removed, "mapping"),
                plural(card.sessions_kept, "session"),
            );
        }
    }
    out
}

/// Answer to a commit; `minutes` as given with `confirmed`.
pub fn commit(committed: &Committed, minutes: Option<u32>) -> String {
    let mut out = warnings(&committed.warnings);
    out += &sessions_lost(committed);
    if let Some(at) = committed.at {
        let _ = writeln!(
            out,
            "configuration check succeeds\ncommit will be executed at {}",
            time(at)
        );
        return out;
    }
    if let Some(minutes) = minutes.filter(|_| committed.rolls_back_at.is_some()) {
        let _ = writeln!(
            out,
            "commit confirmed will be automatically rolled back in {} unless confirmed",
            plural(u64::from(minutes), "minute")
        );
    }
    out += "commit complete\n";
    out
}

/// A comparison; a line when there is no difference would disturb scripts, so there is none.
pub fn compared(comparison: &Comparison) -> String {
    comparison.text.clone()
}

/// What a clear of mappings did.
pub fn mappings_cleared(cleared: &MappingsCleared) -> String {
    format!(
        "Mappings removed: {}\nSessions cleared: {}\n",
        cleared.mappings_removed, cleared.sessions_cleared
    )
}
