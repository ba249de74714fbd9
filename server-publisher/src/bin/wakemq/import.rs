//! `wakemq agents import`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use anyhow::Context as _;
use wakemq_protocol::http::{ImportLine, ImportResult, Profile};
use wakemq_publisher::{IMPORT_LINES_MAX, Management};

use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::output::{Out, complain, say};
use crate::progress::Progress;
use crate::text::plain;

/// Longest line of an import file, in bytes: more than the longest id and group take.
const LINE_MAX: u64 = 4_096;

/// Creates the agents of a file, and prints their secrets.
pub(crate) async fn import(file: &Path, profile: &Profile, out: &mut Out) -> Result<ExitCode, Failure> {
    let mut lines = ImportFile::open(file)?;
    let mut management = Management::new(profile)?;
    let mut progress = Progress::new();
    let mut created = 0_u64;
    loop {
        let chunk = lines.next_chunk(IMPORT_LINES_MAX, &mut progress)?;
        if chunk.is_empty() {
            break;
        }
        let numbers: Vec<_> = chunk.iter().map(|(number, _)| *number).collect();
        let agents: Vec<_> = chunk.into_iter().map(|(_, line)| line).collect();
        let mut done = 0;
        let result = import_chunk(&mut management, &agents, |result| {
            let number = numbers.get(done).copied().unwrap_or_default();
            done += 1;
            match result {
                ImportResult::Created { .. } => {
                    created += 1;
                    out.json(&result)?;
                }
                ImportResult::Failed { error, .. } => {
                    progress.clear();
                    complain(&format!("line {number}: {}", plain(&error)));
                    lines.failed += 1;
                }
            }
            progress.show(|| format!("{created} agents created, {} failed", lines.failed));
            Ok(())
        })
        .await;
        progress.clear();
        // Before anything else can go wrong: these secrets are told once.
        out.flush()?;
        if let Err(failure) = result {
            let from = numbers.get(done).copied().unwrap_or_default();
            return Err(in_doubt(failure, from));
        }
        if out.is_closed() {
            return Err(Failure::local(
                anyhow::anyhow!("nobody reads standard output any more, so secrets are lost; stopped"),
                "write them to a file: `wakemq agents import FILE > secrets.jsonl`",
            ));
        }
    }
    say(&format!("{created} agents created, {} lines failed", lines.failed));
    Ok(if lines.failed == 0 { ExitCode::AllAsWanted } else { ExitCode::SomeNot })
}

async fn import_chunk(
    management: &mut Management,
    agents: &[ImportLine],
    mut each: impl FnMut(ImportResult) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut answer = management.import(agents).await?;
    while let Some(result) = answer.next().await? {
        each(result)?;
    }
    Ok(())
}

/// Says from which line on nobody knows what was created.
fn in_doubt(failure: Failure, from: u64) -> Failure {
    let error =
        failure.error.context(format!("the import stopped; line {from} and those after it may be in doubt"));
    let hint = format!(
        "{}; then import from line {from} on: agents that exist already are told as errors",
        failure.hint
    );
    Failure::new(failure.code, error, hint)
}

/// The lines of an import file.
struct ImportFile {
    name: String,
    reader: Box<dyn BufRead>,
    number: u64,
    /// Lines that led to no agent.
    failed: u64,
}

impl ImportFile {
    fn open(path: &Path) -> Result<Self, Failure> {
        let (name, reader): (_, Box<dyn BufRead>) = if path == Path::new("-") {
            ("standard input".to_owned(), Box::new(BufReader::new(io::stdin())))
        } else {
            let name = path.display().to_string();
            let file = File::open(path)
                .with_context(|| format!("cannot read {name}"))
                .map_err(|error| Failure::usage(error, "FILE has JSON lines; `-` is standard input"))?;
            (name, Box::new(BufReader::new(file)))
        };
        Ok(Self { name, reader, number: 0, failed: 0 })
    }

    /// Returns at most `max` good lines with their numbers; bad ones are told and counted.
    fn next_chunk(&mut self, max: usize, progress: &mut Progress) -> Result<Vec<(u64, ImportLine)>, Failure> {
        let mut chunk = Vec::new();
        while chunk.len() < max {
            let Some(line) = self.next_line()? else { break };
            match line.and_then(|line| parse_line(&line)) {
                Ok(None) => {}
                Ok(Some(line)) => chunk.push((self.number, line)),
                Err(why) => {
                    progress.clear();
                    complain(&format!("line {}: {why}", self.number));
                    self.failed += 1;
                }
            }
        }
        Ok(chunk)
    }

    /// Returns the next line, or why it is none; `None` at the end.
    fn next_line(&mut self) -> Result<Option<Result<Vec<u8>, String>>, Failure> {
        use io::Read as _;
        let unreadable = |error: io::Error, name: &str| {
            let error = anyhow::Error::new(error).context(format!("cannot read {name}"));
            Failure::local(error, "agents of the lines before were imported")
        };
        let mut line = Vec::new();
        let read = (&mut self.reader)
            .take(LINE_MAX)
            .read_until(b'\n', &mut line)
            .map_err(|error| unreadable(error, &self.name))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if line.last() != Some(&b'\n') && read as u64 == LINE_MAX {
            self.reader.skip_until(b'\n').map_err(|error| unreadable(error, &self.name))?;
            return Ok(Some(Err(format!("it is longer than {LINE_MAX} bytes"))));
        }
        Ok(Some(Ok(line)))
    }
}

/// Parses a line; an empty one is none.
fn parse_line(line: &[u8]) -> Result<Option<ImportLine>, String> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(line).map(Some).map_err(|error| {
        // Its position counts lines of this one line.
        let text = error.to_string();
        let why = text.split(" at line ").next().unwrap_or(&text);
        format!("expected {{\"agent\":\"…\",\"group\":\"…\"}}: {}", plain(why))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> ImportFile {
        let reader = Box::new(io::Cursor::new(text.as_bytes().to_vec()));
        ImportFile { name: "test".into(), reader, number: 0, failed: 0 }
    }

    #[test]
    fn bad_lines_are_counted_and_the_others_keep_their_numbers() {
        let long = "x".repeat(10_000);
        let mut file = file(&format!(
            "{{\"agent\":\"a\",\"group\":\"\"}}\n\n{{\"agent\":\"?\",\"group\":\"\"}}\n{long}\n\
             {{\"agent\":\"b\",\"group\":\"x/y\"}}\r\n{{\"agent\":\"c\",\"group\":\"\"}}"
        ));
        let mut progress = Progress::new();
        let first = file.next_chunk(2, &mut progress).unwrap();
        let numbers: Vec<_> = first.iter().map(|(number, line)| (*number, line.agent.as_str())).collect();
        assert_eq!(numbers, [(1, "a"), (5, "b")]);
        let second = file.next_chunk(2, &mut progress).unwrap();
        assert_eq!(second[0].0, 6);
        assert!(file.next_chunk(2, &mut progress).unwrap().is_empty());
        assert_eq!(file.failed, 2);
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_with_it() {
        let why = parse_line(b"{\"agent\":\"-a\",\"group\":\"\"}").unwrap_err();
        assert_eq!(
            why,
            "expected {\"agent\":\"…\",\"group\":\"…\"}: not a valid agent id: it must begin with a letter or digit"
        );
        assert!(parse_line(b"{\"agent\":\"a\"}").unwrap_err().contains("missing field `group`"));
    }
}
