//! What output goes through: `show ... | match x | count`.

use super::{alone, keyed, Action, Command, Value};

/// The commands that may follow a `|`.
pub static PIPES: &[Command] = &[
    Command::new("append", Action::PipeAppend, "Append the output to a file").args(&[alone(
        "file",
        Value::File,
        "File of this machine",
    )
    .required()]),
    Command::new("compare", Action::PipeCompare, "Show what the candidate changes").args(&[keyed(
        "rollback",
        Value::Number(0, 49),
        "Compare with this earlier configuration instead of the active one",
    )]),
    Command::new("count", Action::PipeCount, "Count the lines"),
    Command::new("display json", Action::PipeDisplayJson, "Show the answer in JSON"),
    Command::new(
        "display set",
        Action::PipeDisplaySet,
        "Show a configuration as set commands",
    ),
    Command::new("except", Action::PipeExcept, "Show only lines that do not match").args(&[alone(
        "pattern",
        Value::Pattern,
        "Regular expression",
    )
    .required()]),
    Command::new("find", Action::PipeFind, "Begin with the first line that matches").args(&[alone(
        "pattern",
        Value::Pattern,
        "Regular expression",
    )
    .required()]),
    Command::new("last", Action::PipeLast, "Show only the end").args(&[alone(
        "lines",
        Value::Number(1, 1_000_000),
        "How many lines; a screen when not given",
    )]),
    Command::new("match", Action::PipeMatch, "Show only lines that match").args(&[alone(
        "pattern",
        Value::Pattern,
        "Regular expression",
    )
    .required()]),
    Command::new("no-more", Action::PipeNoMore, "Do not stop at each screen"),
    Command::new(
        "save",
        Action::PipeSave,
        "Write the output to a file instead of the screen",
    )
    .args(&[alone("file", Value::File, "File of this machine; it is replaced").required()]),
    Command::new("trim", Action::PipeTrim, "Cut columns from the start of each line").args(&[alone(
        "columns",
        Value::Number(1, 10_000),
        "How many columns",
    )
    .required()]),
];
