//! One app switched again and again, both under load: what the other app's clients notice of it.

use crate::load;
use crate::load::{Each, Tool};
use crate::peer::Running;
use crate::process::{Core, pin, pinned};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often it is switched, in all rounds of one proxy together.
pub(crate) const SWITCHES: u32 = 1000;

/// How often in a second: far more often than anybody deploys, and seldom enough that it is not the processor time of the
/// switches themselves that is measured.
pub(crate) const SWITCHES_PER_SECOND: u32 = 20;

/// Rounds of one proxy, besides the one that finds things cold.
pub(crate) const ROUNDS: u32 = 10;

/// The app whose clients are listened to, and the one that is switched.
pub(crate) const HOSTS: [&str; 2] = ["localhost", "switched.test"];

const CALM: Tool = Tool::Wrk { connections: 32, each: Each::ManyRequests, hosts: 1 };

/// The 99th percentile of the neighbor's latencies in microseconds: alone, and with so many switches in that time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neighbor {
    pub(crate) calm_micros: f64,
    pub(crate) switched_micros: f64,
}

/// One round, with switches first where `round` is odd. `table` is the table with a revision, its second app's target being another one each time.
pub(crate) fn measure(
    running: &Running,
    table: impl Fn(u32) -> String + Send + Sync,
    round: u32,
    dir: &Path,
) -> Neighbor {
    let control = running.dir().join("proxy.sock");
    let switches = SWITCHES / ROUNDS;
    let gap = Duration::from_secs(1) / SWITCHES_PER_SECOND;
    let time = gap * switches;
    let first = 2 + round * (switches + 1);
    apply(&control, &table(first));
    let p99 = || {
        let busy = Busy::start(running.doors.http, time);
        let measured = load::run(CALM, ("http", running.doors.http), "/tiny", time, dir);
        drop(busy);
        measured.p99_micros
    };
    let disturbed = || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Who switches is no load on the proxy's core.
                pin(Core::Load);
                let began = Instant::now();
                for switch in 1..=switches {
                    apply(&control, &table(first + switch));
                    sleep((gap * switch).saturating_sub(began.elapsed()));
                }
            });
            p99()
        })
    };
    let (calm_micros, switched_micros) = if round.is_multiple_of(2) {
        (p99(), disturbed())
    } else {
        let disturbed = disturbed();
        (p99(), disturbed)
    };
    Neighbor { calm_micros, switched_micros }
}

/// The load on the app that is switched.
struct Busy(Child);

impl Busy {
    fn start(port: u16, time: Duration) -> Self {
        let mut command = pinned(Core::Load, "wrk");
        // A little more at both ends.
        command.args(["-t", "1", "-c", "32", "-d", &format!("{}s", time.as_secs() + 2), "--timeout", "10s"]);
        command.args(["-H", &format!("Host: {}", HOSTS[1])]).arg(format!("http://localhost:{port}/tiny"));
        Self(command.stdout(Stdio::piped()).spawn().expect("wrk"))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let said = self.0.stdout.take().map(std::io::read_to_string);
        let said = said.expect("its output").expect("a text");
        drop(self.0.wait());
        let bad = ["Non-2xx", "Socket errors"].iter().any(|bad| said.contains(bad));
        assert!(!bad && said.contains("requests in"), "the switched app: {said}");
    }
}

/// Puts a table in force.
fn apply(control: &Path, table: &str) {
    let mut stream = UnixStream::connect(control).expect("the control socket");
    let length = table.len();
    let head = format!(
        "PUT /v1/table HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all((head + table).as_bytes()).expect("a table sent");
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).expect("an answer");
    assert!(status.contains(" 200 ") || status.contains(" 204 "), "a table was answered {status}");
}
