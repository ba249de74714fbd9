//! `wakemq agents list`, `show` and `import`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use anyhow::Context as _;
use wakemq_protocol::AgentId;
use wakemq_protocol::http::{AgentView, ImportLine, ImportResult, Profile};
use wakemq_publisher::{IMPORT_LINES_MAX, Management};

use crate::duration::print_secs;
use crate::exit::ExitCode;
use crate::failure::Failure;
use crate::output::{Out, complain, say};
use crate::progress::Progress;
use crate::text::{plain, table};

/// Agents asked for at once.
const PAGE: u32 = 1_000;
/// Longest line of an import file, in bytes: more than the longest id and group take.
const LINE_MAX: u64 = 4_096;

/// Prints all agents, page by page, until nobody reads any more.
pub(crate) async fn list(json: bool, profile: &Profile, out: &mut Out) -> Result<ExitCode, Failure> {
    let mut management = Management::new(profile)?;
    let mut after: Option<String> = None;
    let mut first = true;
    while !out.is_closed() {
        let page = management.agents(after.as_deref(), PAGE).await?;
        if json {
            page.agents.iter().try_for_each(|agent| out.json(agent))?;
        } else {
            let rows: Vec<_> = page.agents.iter().map(row).collect();
            let lines = table(["AGENT", "GROUP", "STATE", "PENDING", "LAST SEEN"], &rows);
            // The headings once; each page lines up for itself, so that any number of agents can be listed.
            lines.iter().skip(usize::from(!first)).try_for_each(|line| out.line(line))?;
        }
        out.flush()?;
        first = false;
        match page.next {
            Some(next) if Some(&next) != after.as_ref() => after = Some(next),
            Some(_) | None => break,
        }
    }
    Ok(ExitCode::AllAsWanted)
}

fn row(agent: &AgentView) -> [String; 5] {
    [
        agent.agent.to_string(),
        if agent.group.is_root() { "/".to_owned() } else { agent.group.to_string() },
        state(agent).to_owned(),
        agent.pending.to_string(),
        last_seen(agent),
    ]
}

fn state(agent: &AgentView) -> &'static str {
    if agent.connected { "connected" } else { "offline" }
}

fn last_seen(agent: &AgentView) -> String {
    agent.last_seen.map_or_else(|| "never".to_owned(), |at| at.whole_secs().to_string())
}

/// Prints one agent.
pub(crate) async fn show(
    agent: &AgentId,
    json: bool,
    profile: &Profile,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let view = Management::new(profile)?.agent(agent).await?;
    if json {
        out.json(&view)?;
    } else {
        for line in describe(&view) {
            out.line(&line)?;
        }
    }
    Ok(ExitCode::AllAsWanted)
}

fn describe(view: &AgentView) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |name: &str, value: &str| lines.push(format!("{:<12}{}", format!("{name}:"), plain(value)));
    add("agent", view.agent.as_str());
    add("group", if view.group.is_root() { "/" } else { view.group.as_str() });
    add("state", state(view));
    add("pending", &view.pending.to_string());
    add("created", &view.created.to_string());
    add("last seen", &last_seen(view));
    if let Some(address) = &view.address {
        add("address", address);
    }
    if let Some(facts) = &view.facts {
        let texts = [("host name", &facts.host_name), ("os", &facts.os), ("version", &facts.version)];
        for (name, value) in texts {
            if let Some(value) = value {
                add(name, value);
            }
        }
        // As of the connection at which the agent told it.
        for (name, secs) in [("up for", facts.since_boot), ("resumed", facts.since_resume)] {
            if let Some(secs) = secs {
                add(name, &format!("{} when it connected", print_secs(secs)));
            }
        }
    }
    lines
}

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
    use wakemq_protocol::{Facts, Timestamp};

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

    #[test]
    fn an_agent_is_described() {
        let view = AgentView {
            agent: "pc-1".parse().unwrap(),
            group: "paris".parse().unwrap(),
            connected: false,
            created: Timestamp::from_unix_ms(0),
            last_seen: None,
            address: None,
            facts: Some(Facts {
                host_name: Some("pc\u{1b}1".into()),
                since_boot: Some(90_000),
                ..Facts::default()
            }),
            pending: 2,
        };
        assert_eq!(
            describe(&view).join("\n"),
            "agent:      pc-1\n\
             group:      paris\n\
             state:      offline\n\
             pending:    2\n\
             created:    1970-01-01T00:00:00Z\n\
             last seen:  never\n\
             host name:  pc\\u{1b}1\n\
             up for:     1d1h when it connected"
        );
        assert_eq!(row(&view), ["pc-1", "paris", "offline", "2", "never"]);
    }
}
