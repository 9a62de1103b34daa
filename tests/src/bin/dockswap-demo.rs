//! The main job, shown: an app under constant load, an edit of its file, a rollback. Everything is
//! real: the released program, Docker, the proxy, the load. scripts/demo does the set-up.

use anstream::{eprintln, println};
use dockswap_tests::{AppFile, Load, Micros, Mix, Report, Site, docker, holds, now};
use std::io::{BufRead, BufReader};
use std::process::{Child, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// How many requests are watched between two steps: a few seconds of the load.
const WHILE: usize = 600;

fn step(text: &str) {
    println!("\n{BOLD}{text}{PLAIN}");
}

fn note(text: &str) {
    println!("{DIM}  {text}{PLAIN}");
}

/// The events of the app as `dockswap events -f` prints them, shown as they happen.
struct Events {
    child: Child,
    printer: Option<JoinHandle<()>>,
    /// How often the app has become stable, as far as has been shown.
    settled: Arc<AtomicUsize>,
}

impl Events {
    fn follow(site: &Site, app: &str) -> Self {
        let mut child = site.begin(&["events", app, "-f"]);
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let settled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&settled);
        let printer = std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                println!("  {line}");
                if line.contains("→ stable") {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { child, printer: Some(printer), settled }
    }

    /// Waits until it has been shown that the app became stable for the `times`th time.
    fn show_stable(&self, times: usize) {
        holds("the app is stable", Duration::from_secs(60), || self.settled.load(Ordering::Relaxed) >= times);
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(printer) = self.printer.take() {
            let _ = printer.join();
        }
    }
}

fn seconds(micros: Micros) -> f64 {
    Duration::from_micros(micros.max(0).unsigned_abs()).as_secs_f64()
}

fn milliseconds(micros: Micros) -> String {
    format!("{:.0} ms", seconds(micros) * 1_000.0)
}

fn main() -> ExitCode {
    let mut site = Site::prepare();
    site.clean_up_on_interrupt();
    let app = site.name("hello");
    let file = AppFile::new(&app).deployment("watch", "2s");
    step("1. An app file, and dockswap on its directory");
    println!("{DIM}{}{PLAIN}", indented(&file.clone().image("v1").to_string()));
    site.save(&file.clone().image("v1"));
    site.run();
    note(&format!(
        "dockswap run --config-dir {} --data-dir {} --proxy-http {}",
        site.config_dir().display(),
        site.data_dir().display(),
        site.http()
    ));
    let events = Events::follow(&site, &app);
    events.show_stable(1);

    step("2. Constant load: GETs on kept connections, GETs on new connections, POSTs with bodies");
    let began = now();
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    load.goes_on(WHILE);
    let (requests, failed) = load.counts();
    note(&format!("{requests} requests so far, {failed} failed, all answered by v1"));

    step("3. The edit: image: dockswap-demo:v1 becomes v2, and the file is saved");
    let saved = now();
    site.save(&file.clone().image("v2"));
    let arrived = load.first_answer("v2", saved) - saved;
    events.show_stable(2);
    note(&format!("the first answer of v2 came {} after the save", milliseconds(arrived)));
    load.goes_on(WHILE);

    step(&format!("4. dockswap rollback {app}"));
    let asked = now();
    let done = site.command(&["rollback", &app]);
    let commanded = now() - asked;
    if done.code != 0 {
        eprintln!("{RED}{done}{PLAIN}");
        return ExitCode::FAILURE;
    }
    let back = load.first_answer("v1", asked) - asked;
    events.show_stable(3);
    drop(events);
    load.goes_on(WHILE);
    let report = load.stop();
    let took = now() - began;

    summary(&report, took, arrived, back, commanded);
    step("6. Cleaning up");
    drop(site);
    let rest = docker::containers(&app).len();
    note(&format!("{rest} containers left; the directories are gone"));
    if report.failures.is_empty() && rest == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn summary(report: &Report, took: Micros, arrived: Micros, back: Micros, commanded: Micros) {
    let count = |version: &str| report.samples.iter().filter(|sample| sample.version == version).count();
    let failed = report.failures.len();
    let color = if failed == 0 { GREEN } else { RED };
    step("5. Summary");
    let line = |name: &str, value: String| println!("  {name:<48}{value}");
    line("requests sent", format!("{} in {:.1} s", report.requests(), seconds(took)));
    line("answered by v1, by v2", format!("{}, {}", count("v1"), count("v2")));
    line("requests failed", format!("{BOLD}{color}{failed}{PLAIN}"));
    line("from the save to the first answer of v2", milliseconds(arrived));
    line("from the rollback command to v1's next answer", milliseconds(back));
    line("the rollback command, from start to end", milliseconds(commanded));
    if failed > 0 {
        println!("{RED}{report}{PLAIN}");
    }
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |text, line| text + "  " + line + "\n")
}
