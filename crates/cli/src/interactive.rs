//! An interactive session: a line, a command, its output, and again.

use std::io::Write;
use std::os::fd::AsFd;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::commands::Session;
use crate::error::Error;
use crate::grammar::{Line, LineCommand};
use crate::output;
use crate::terminal::Terminal;
use crate::words;

const PROMPT: &str = "aws-cloudhsm > ";
const PROMPT_MORE: &str = "> ";

/// Runs commands until `quit` or the end of the input. Returns whether all of them succeeded.
pub(crate) fn run<I: AsFd>(
    session: &mut Session,
    terminal: &mut Terminal<I>,
    out: &mut dyn Write,
) -> std::io::Result<bool> {
    let mut all_good = true;
    loop {
        let result = match next_words(terminal) {
            Ok(None) => break,
            Ok(Some(words)) if words.is_empty() => continue,
            Ok(Some(words)) => match Line::try_parse_from(words.iter().map(|word| &**word)) {
                Ok(Line { command: LineCommand::Quit, .. }) => break,
                Ok(Line { command: LineCommand::Command(command), cluster }) => session
                    .check_cluster(cluster.cluster_id.as_deref())
                    .and_then(|()| session.run(&command, terminal)),
                Err(help) if asks_for_help(&help) => {
                    write!(out, "{}", help.render())?;
                    continue;
                }
                Err(error) => Err(misunderstood(&error)),
            },
            Err(error) => Err(error),
        };
        all_good &= result.is_ok();
        writeln!(out, "{}", output::render(&result))?;
        out.flush()?;
        if let Err(Error::Terminal(_)) = result {
            break;
        }
    }
    session.close();
    Ok(all_good)
}

/// The words of the next line, and of those that it goes on in.
fn next_words<I: AsFd>(terminal: &mut Terminal<I>) -> Result<Option<words::Words>, Error> {
    let Some(mut line) = terminal.line(PROMPT)? else { return Ok(None) };
    let mut words = words::Words::new();
    while words::continues(&line) {
        line.pop();
        words.extend(words::split(&line)?);
        match terminal.line(PROMPT_MORE)? {
            Some(next) => line = next,
            None => return Ok(Some(words)),
        }
    }
    words.extend(words::split(&line)?);
    Ok(Some(words))
}

/// Help and version are answers, not errors.
pub(crate) fn asks_for_help(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

/// A command line that the grammar does not have, in one line.
pub(crate) fn misunderstood(error: &clap::Error) -> Error {
    let text = error.render().to_string();
    let head: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let head = head.join(" ");
    let head = head.strip_prefix("error: ").unwrap_or(&head).trim();
    match error.kind() {
        // Only a category was written: clap's text is its help.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Error::usage("The command is not complete: see help")
        }
        _ => Error::usage(format!("{head} (see help)")),
    }
}
