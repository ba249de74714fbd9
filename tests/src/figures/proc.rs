//! What the kernel tells of a process and of its sockets: proc(5).

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::param::{clock_ticks_per_second, page_size};
use tokio::time::sleep;

/// How long memory must stay the same to count as settled, and how long that is waited for.
const LOOK: Duration = Duration::from_millis(200);
const SAME_LOOKS: usize = 5;
const LOOKS_MAX: usize = 75;

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All that is resident: VmRSS.
    pub resident: u64,
    /// What of it is the process's own: RssAnon.
    pub own: u64,
    /// What of it is pages of files, mostly the program itself: RssFile.
    pub file: u64,
}

/// What the kernel uses for all sockets of this machine, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketMemory {
    /// Their buffers: `mem` of TCP in /proc/net/sockstat.
    pub buffers: u64,
    /// The kernel's own objects, of which sockets are a part: `Slab` in /proc/meminfo.
    pub slab: u64,
}

/// Returns the memory of a process.
pub fn memory(pid: u32) -> Result<Memory> {
    let status = read(&format!("/proc/{pid}/status"))?;
    let field = |name| kib(&status, name);
    Ok(Memory { resident: field("VmRSS:")?, own: field("RssAnon:")?, file: field("RssFile:")? })
}

/// Returns the memory of a process once it has stopped to change.
pub async fn settled_memory(pid: u32) -> Result<Memory> {
    let mut last = memory(pid)?;
    let mut same = 0;
    for _ in 0..LOOKS_MAX {
        sleep(LOOK).await;
        let now = memory(pid)?;
        same = if now == last { same + 1 } else { 0 };
        if same == SAME_LOOKS {
            return Ok(now);
        }
        last = now;
    }
    bail!("the memory of process {pid} does not settle")
}

/// Returns the CPU time of a process, its own and the kernel's for it (utime + stime).
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    // The name may contain anything, but ends with the last parenthesis; utime and stime are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat is not understood")?;
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<u32>)
        .sum::<Result<u32, _>>()
        .context("/proc/PID/stat is not understood")?;
    Ok(Duration::from_secs(1) * ticks / u32::try_from(clock_ticks_per_second())?)
}

/// Returns how many threads a process has, and how often they were given or took up the processor so far.
///
/// A thread that makes a system call must have been running: two equal numbers say that there was none.
pub fn threads_and_switches(pid: u32) -> Result<(usize, u64)> {
    let (mut threads, mut switches) = (0, 0);
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the look at it.
        let Ok(status) = std::fs::read_to_string(task?.path().join("status")) else { continue };
        threads += 1;
        for name in ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"] {
            switches += number(&status, name)?;
        }
    }
    Ok((threads, switches))
}

/// Returns what the kernel uses for sockets.
pub fn socket_memory() -> Result<SocketMemory> {
    let sockstat = read("/proc/net/sockstat")?;
    let pages: u64 = sockstat
        .lines()
        .find_map(|line| line.strip_prefix("TCP:"))
        .and_then(|line| line.split_whitespace().skip_while(|word| *word != "mem").nth(1))
        .context("/proc/net/sockstat is not understood")?
        .parse()?;
    Ok(SocketMemory { buffers: pages * page_size() as u64, slab: kib(&read("/proc/meminfo")?, "Slab:")? })
}

/// Returns how much memory of this machine is free or can be freed: MemAvailable in /proc/meminfo.
pub fn available_memory() -> Result<u64> {
    kib(&read("/proc/meminfo")?, "MemAvailable:")
}

/// Tells whether anybody listens on a TCP port of IPv4.
pub fn listens(port: u16) -> Result<bool> {
    const LISTEN: &str = "0A";
    let end = format!(":{port:04X}");
    Ok(read("/proc/net/tcp")?.lines().skip(1).any(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, _, state) = (words.next(), words.next(), words.next());
        local.is_some_and(|local| local.ends_with(&end)) && state == Some(LISTEN)
    }))
}

/// Describes the machine.
pub fn machine(dir: &Path) -> Result<serde_json::Value> {
    let first =
        |path: &str| Ok::<_, anyhow::Error>(read(path)?.lines().next().unwrap_or_default().to_owned());
    let cpuinfo = read("/proc/cpuinfo")?;
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    Ok(serde_json::json!({
        "processors": std::thread::available_parallelism()?.get(),
        "model": model.trim_start_matches([' ', '\t', ':']),
        "memory_bytes": kib(&read("/proc/meminfo")?, "MemTotal:")?,
        "kernel": first("/proc/sys/kernel/osrelease")?,
        "load_average_at_start": first("/proc/loadavg")?,
        "file_system": file_system(dir)?,
    }))
}

/// Returns the kind of the file system on which a directory lies.
fn file_system(dir: &Path) -> Result<String> {
    let dir = dir.canonicalize()?;
    let mounts = read("/proc/self/mounts")?;
    let holding = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (Path::new(words.next()?), words.next()?);
        dir.starts_with(place).then(|| (place.components().count(), kind.to_owned()))
    });
    Ok(holding.max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind).unwrap_or_default())
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

fn number(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.with_context(|| format!("the kernel tells no {name}"))?.parse().context("no number")
}

fn kib(text: &str, name: &str) -> Result<u64> {
    Ok(number(text, name)? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        let own = std::process::id();
        let memory = memory(own).unwrap();
        assert!(memory.resident >= memory.own && memory.own > 0 && memory.file > 0);
        assert!(threads_and_switches(own).unwrap().0 >= 1);
        cpu(own).unwrap();
        assert!(socket_memory().unwrap().slab > 0);
        assert!(!file_system(Path::new("/proc")).unwrap().is_empty());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listens(port).unwrap());
        drop(listener);
        assert!(!listens(port).unwrap());
    }
}
