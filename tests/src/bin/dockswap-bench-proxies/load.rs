//! One run of a load generator, and what it says. Every answer must be a good one.

use crate::process::{Core, pinned};
use serde::Deserialize;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What is asked, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tool {
    /// HTTP/1.1 over so many connections.
    Wrk { connections: u32, each: Each, hosts: usize },
    /// HTTP/2 over so many connections with so many streams each.
    H2load { connections: u32, streams: u32 },
    /// HTTP/1.1 over so many connections, so many requests a second in all.
    Paced { connections: u32, per_second: u32 },
    /// HTTP/1.1 over TLS with a whole handshake for each request, so many at a time. (wrk resumes sessions.)
    Handshakes { connections: usize },
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Each {
    ManyRequests,
    OneRequest,
}

/// What came of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
}

#[derive(Deserialize)]
struct Said {
    requests: u32,
    micros: u32,
    p50: u32,
    p99: u32,
    failed: u32,
}

/// Asks for `path` for as long as `time`. `url` is the scheme and the port of the proxy.
pub(crate) fn run(tool: Tool, url: (&str, u16), path: &str, time: Duration, dir: &Path) -> Measured {
    let (scheme, port) = url;
    match tool {
        Tool::Wrk { connections, each, hosts } => {
            let script = dir.join("wrk.lua");
            std::fs::write(&script, include_str!("configs/wrk.lua")).expect("a script");
            let mut command = pinned(Core::Load, "wrk");
            command.args(["-t", "1", "-c", &connections.to_string()]);
            command.args(["-d", &format!("{}s", time.as_secs()), "--timeout", "10s"]).arg("-s").arg(&script);
            if each == Each::OneRequest {
                command.args(["-H", "Connection: close"]);
            }
            command.arg(format!("{scheme}://localhost:{port}{path}")).arg("--").arg(hosts.to_string());
            believe(command.arg(path))
        }
        Tool::H2load { connections, streams } => {
            let log = dir.join("h2load.log");
            // It would write behind what is there.
            drop(std::fs::remove_file(&log));
            let mut command = pinned(Core::Load, "h2load");
            command.args(["-t", "1", "-c", &connections.to_string(), "-m", &streams.to_string()]);
            command.args(["-D", &time.as_secs().to_string()]).arg("--log-file").arg(&log);
            command.args(["--connect-to", &format!("127.0.0.1:{port}")]);
            h2load(command.arg(format!("{scheme}://localhost:{port}{path}")), &log, time)
        }
        Tool::Paced { connections, per_second } => {
            let mut command = own("pace", port, path);
            let rate = [connections, per_second].map(|number| number.to_string());
            believe(command.args(rate).arg(time.as_secs().to_string()))
        }
        Tool::Handshakes { connections } => {
            let mut command = own("shake-hands", port, path);
            believe(command.arg(connections.to_string()).arg(time.as_secs().to_string()))
        }
    }
}

/// A generator of our own.
fn own(which: &str, port: u16, path: &str) -> Command {
    let this = std::env::current_exe().expect("the path of this program");
    let mut command = pinned(Core::Load, this);
    command.args([which, &port.to_string(), path]);
    command
}

/// What a generator says in JSON.
fn believe(command: &mut Command) -> Measured {
    let said = said(command);
    let last = said.lines().last().and_then(|line| serde_json::from_str::<Said>(line).ok());
    let says = last.unwrap_or_else(|| panic!("{command:?} said {said}"));
    assert!(says.failed == 0 && says.requests > 0, "{command:?}: {} failed\n{said}", says.failed);
    Measured {
        requests: says.requests.into(),
        per_second: f64::from(says.requests) / (f64::from(says.micros) / 1e6),
        p50_micros: says.p50.into(),
        p99_micros: says.p99.into(),
    }
}

fn h2load(command: &mut Command, log: &Path, time: Duration) -> Measured {
    let said = said(command);
    let number = |line: &str, what: &str| -> u32 {
        let line = said.lines().find(|found| found.starts_with(line));
        let words: Vec<&str> = line.unwrap_or_else(|| panic!("{command:?} said {said}")).split(' ').collect();
        let at = words.iter().position(|word| word.trim_end_matches(',') == what);
        words[at.unwrap_or_else(|| panic!("no {what}: {said}")) - 1].parse().expect("a number")
    };
    let requests = number("requests:", "done");
    let failed = number("requests:", "failed") + number("requests:", "errored");
    let good = number("status codes:", "2xx");
    assert!(failed == 0 && good >= requests && requests > 0, "{command:?}: {said}");
    let lines = std::fs::read_to_string(log).expect("the log of h2load");
    // Start, status, microseconds.
    let times = lines.lines().map(|line| line.split('\t').nth(2).and_then(|time| time.parse().ok()));
    let mut times: Vec<u32> = times.map(|time| time.expect("a time")).collect();
    times.sort_unstable();
    Measured {
        requests: requests.into(),
        per_second: f64::from(requests) / time.as_secs_f64(),
        p50_micros: times[times.len() / 2].into(),
        p99_micros: times[times.len() * 99 / 100].into(),
    }
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}{error}", output.status);
    said
}
