//! The commands of the configuration mode.

use crate::api::routes::RouteId;

use super::{choice, keyed, word, Action, Arg, Command, Form, Purpose, Value};

const fn statement(purpose: Purpose, help: &'static str) -> Arg {
    Arg::new("statement", Form::Statement(purpose), help)
}

/// The commands of the configuration mode, in the order of the manual.
pub static CONFIGURATION: &[Command] = &[
    Command::new("set", Action::Change, "Add a statement or change its value")
        .route(RouteId::Commands)
        .args(&[statement(Purpose::Whole, "Statement, from the current level down").required()]),
    Command::new("delete", Action::Change, "Remove a statement and all below it")
        .route(RouteId::Commands)
        .args(&[statement(
            Purpose::Existing,
            "Statement; all of the current level when not given",
        )]),
    Command::new(
        "deactivate",
        Action::Change,
        "Keep a statement but let it have no effect",
    )
    .route(RouteId::Commands)
    .args(&[statement(Purpose::Existing, "Statement").required()]),
    Command::new(
        "activate",
        Action::Change,
        "Let a deactivated statement have effect again",
    )
    .route(RouteId::Commands)
    .args(&[statement(Purpose::Existing, "Statement").required()]),
    Command::new("annotate", Action::Annotate, "Write a comment before a statement")
        .route(RouteId::Commands)
        .args(&[statement(
            Purpose::Existing,
            "Statement of the current level, then the comment in quotes; an empty one removes it",
        )
        .required()]),
    Command::new("rename", Action::Rename, "Give an entry another name")
        .route(RouteId::Commands)
        .args(&[statement(Purpose::Existing, "STATEMENT to STATEMENT").required()]),
    Command::new("copy", Action::Copy, "Copy an entry to another name")
        .route(RouteId::Commands)
        .args(&[statement(Purpose::Existing, "STATEMENT to STATEMENT").required()]),
    Command::new("insert", Action::Insert, "Move an entry before or after another one")
        .route(RouteId::Commands)
        .args(&[statement(Purpose::Existing, "STATEMENT before STATEMENT, or after").required()]),
    Command::new(
        "replace pattern",
        Action::Change,
        "Replace a text in names and values, from the current level down",
    )
    .route(RouteId::Commands)
    .args(&[Arg::new("statement", Form::Rest, "TEXT with TEXT").required()]),
    Command::new("edit", Action::Edit, "Go down to a level").args(&[statement(
        Purpose::Place,
        "Level to go to, from the current one",
    )
    .required()]),
    Command::new("up", Action::Up, "Go up a level").args(&[
        Arg::new(
            "levels",
            Form::Alone(Value::Number(1, 100)),
            "How many levels, 1 when not given",
        ),
        Arg::new(
            "command",
            Form::ConfigurationCommand,
            "Command to give there, without going",
        ),
    ]),
    Command::new("top", Action::Top, "Go to the top level").args(&[Arg::new(
        "command",
        Form::ConfigurationCommand,
        "Command to give there, without going",
    )]),
    Command::new(
        "show",
        Action::ShowCandidate,
        "Show the candidate, from the current level down",
    )
    .route(RouteId::Candidate)
    .args(&[statement(Purpose::Existing, "Only what stands below this statement")])
    .about(
        "`| compare` shows what the candidate changes, `| compare rollback N` against an \
         earlier configuration, `| display set` the set commands.",
    ),
    Command::new(
        "commit",
        Action::Commit,
        "Check the candidate and make it the active configuration",
    )
    .route(RouteId::Commit)
    .args(&[
        choice("check", &[("check", "Only check; all problems are told at once")]),
        Arg::new(
            "confirmed",
            Form::KeyedOptional(Value::Number(1, 65_535)),
            "Roll back after so many minutes, 10 when not given, unless committed again",
        ),
        keyed("comment", Value::Text, "Say in the log why"),
        keyed("at", Value::Time, "Commit at this time"),
        word("and-quit", "Leave the configuration mode when it succeeded"),
    ])
    .about(
        "Sessions live on unless their pool or rule goes; those that end are counted in the answer. A commit that \
             the card refuses changes nothing. After `commit confirmed` the earlier configuration comes back by itself \
             unless `commit` (or `commit check`) is given in time, also when the daemon was restarted meanwhile.",
    ),
    Command::new(
        "rollback",
        Action::Rollback,
        "Make the candidate an earlier configuration",
    )
    .route(RouteId::Rollback)
    .args(&[Arg::new(
        "number",
        Form::Alone(Value::Number(0, 49)),
        "Number of the configuration; 0, the active one, when not given",
    )]),
    Command::new("load", Action::Load, "Read statements into the candidate")
        .route(RouteId::Load)
        .args(&[
            Arg::new(
                "how",
                Form::Choice(&[
                    ("merge", "Add them to what is there"),
                    ("override", "Replace the whole candidate"),
                    ("replace", "Replace what is marked replace:, add the rest"),
                    ("update", "Replace the candidate, touching only what differs"),
                    ("set", "They are set, delete, ... commands"),
                ]),
                "",
            )
            .required(),
            Arg::new("from", Form::Rest, "FILE, `terminal`, or `inline` and the text").required(),
        ])
        .about(
            "`load merge terminal` reads until a line with Ctrl-D; `load merge inline { ... }` takes the rest of the \
             line. The text is read from the top level; add `relative` to read it from the current one. When anything \
             in it is wrong nothing is loaded, and all problems are told with their places.",
        ),
    Command::new(
        "save",
        Action::Save,
        "Write the candidate, from the current level down, to a file",
    )
    .route(RouteId::Candidate)
    .args(&[Arg::new("file", Form::Alone(Value::File), "File of this machine, or `terminal`").required()]),
    Command::new(
        "update",
        Action::Update,
        "Take what others committed into the private candidate",
    )
    .route(RouteId::Update)
    .about("What was changed here stays as it is here; statements that others changed too are told."),
    Command::new("status", Action::Status, "Who edits the configuration").route(RouteId::Commits),
    Command::new("run", Action::Run, "Give an operational command").args(&[Arg::new(
        "command",
        Form::Command,
        "Operational command",
    )
    .required()]),
    Command::new("help", Action::Help, "Explain a command").args(&[Arg::new(
        "command",
        Form::ConfigurationCommand,
        "Its first words; all commands when not given",
    )]),
    Command::new(
        "exit",
        Action::Exit,
        "Go back to the level of the last edit, or leave the mode",
    )
    .args(&[word("configuration-mode", "Leave the mode from whatever level")]),
    Command::new("quit", Action::Quit, "As exit")
        .args(&[word("configuration-mode", "Leave the mode from whatever level")]),
];
