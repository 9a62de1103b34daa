//! What a request costs in instructions, counted by callgrind: of the processor's time only what the proxy itself does, and
//! nothing of the kernel's; but to the last digits the same whatever else the machine does.

use crate::peer::{Peer, Running};
use crate::process::{Core, pinned};
use std::fs;
use std::path::Path;
use std::process::Command;

/// How many requests are counted, after as many again have warmed everything up.
const REQUESTS: u32 = 20_000;

/// Over how many connections.
const CONNECTIONS: u32 = 64;

/// The instructions of one small answer over a connection that is kept.
pub(crate) fn measure(peer: &Peer, upstream: u16, keys: &Path) -> f64 {
    let (running, counted) = peer.start_counted(upstream, keys);
    load(&running);
    control(&running, &["--instr=on"]);
    load(&running);
    control(&running, &["--instr=off"]);
    control(&running, &["--dump=done"]);
    let of_dump = |path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("totals: "))?.parse::<f64>().ok()
    };
    // Each thread and each dump has a file, whose names begin alike.
    let dumps = fs::read_dir(running.dir()).expect("its directory").flatten().map(|file| file.path());
    let dumps = dumps.filter(|path| path.to_string_lossy().starts_with(&*counted.to_string_lossy()));
    let instructions: f64 = dumps.filter_map(|path| of_dump(&path)).sum();
    assert!(instructions > 0.0, "callgrind said nothing: {}", running.process.said());
    instructions / f64::from(REQUESTS)
}

fn load(running: &Running) {
    let mut command = pinned(Core::Load, "h2load");
    command.args(["--h1", "-n", &REQUESTS.to_string(), "-c", &CONNECTIONS.to_string()]);
    let said = said(command.arg(format!("http://localhost:{}/tiny", running.doors.http)));
    let all = format!("status codes: {REQUESTS} 2xx");
    assert!(said.contains(&all), "{command:?}: {said}");
}

/// Has callgrind do something, and waits until it has.
fn control(running: &Running, orders: &[&str]) {
    said(Command::new("callgrind_control").args(orders).arg(running.process.id().to_string()));
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}
