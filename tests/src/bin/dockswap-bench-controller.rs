//! What a controller costs that has nothing to do, and how long one takes to be ready beside many app files: the real
//! program, real containers for what serves, and files whose image is not there for what only has to be read.

use anstream::println;
use clap::Parser;
use dockswap_tests::{AppFile, Site, unix_get};
use std::path::Path;
use std::time::{Duration, Instant};

/// An idle controller with apps that serve, and the time to `/readyz` with app files.
#[derive(Parser)]
struct Args {
    /// Apps that serve while the controller is idle.
    #[arg(long, default_value_t = 100)]
    apps: usize,
    /// How long it is watched, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// App files beside which a controller starts.
    #[arg(long, default_value_t = 1_000)]
    files: usize,
    /// How often such a start is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// How often it is asked whether it is ready.
const POLL: Duration = Duration::from_millis(2);

/// What comes to rest does so within this.
const PATIENCE: Duration = Duration::from_mins(20);

fn main() {
    let args = Args::parse();
    println!("| | measured | target |");
    println!("|---|---:|---:|");
    idle(&args);
    start(&args);
}

/// The processor time and the memory of a controller whose apps serve, and nothing happens.
fn idle(args: &Args) {
    let site = Site::start();
    site.clean_up_on_interrupt();
    let apps: Vec<String> = (0..args.apps).map(|number| site.name(&format!("i{number}"))).collect();
    for app in &apps {
        site.save(&AppFile::new(app).deployment("watch", "100ms"));
    }
    let serving = "SELECT count(*) FROM current_state WHERE status = 'stable' AND active_color IS NOT NULL";
    comes("every app serves", || site.database().number(serving, &[]) >= count(args.apps));
    let pid = site.controller_pid();
    // What deployments leave behind is over: their windows, their clean-up, what was read for them.
    comes("the controller rests", || {
        let before = ticks(pid);
        std::thread::sleep(Duration::from_secs(5));
        ticks(pid) - before < 10
    });
    let (began, before) = (Instant::now(), ticks(pid));
    std::thread::sleep(Duration::from_secs(args.seconds));
    let (used, took) = (ticks(pid) - before, began.elapsed().as_secs_f64());
    let ticks_per_second = f64::from(u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100));
    let share = f64::from(used) / ticks_per_second / took * 100.0;
    println!(
        "| processor of the idle controller, {} apps that serve, {took:.0} s | {share:.2} % of a core | < 0.5 % |",
        args.apps
    );
    println!("| memory of it (RSS) | {:.1} MiB | < 40 MiB |", mebibytes(pid, "VmRSS"));
    println!("| the most that it ever had (peak RSS) | {:.1} MiB | |", mebibytes(pid, "VmHWM"));
}

/// From the start of the process to a ready controller.
fn start(args: &Args) {
    let site = Site::prepare();
    for number in 0..args.files {
        let name = format!("s{number}");
        let file = AppFile::new(&name).image("dockswap-bench-nothing:v1").docker("pull_policy", "never");
        std::fs::write(site.file_of(&name), file.to_string()).expect("an app file");
    }
    let first = ready(&site, args.files);
    let mut later: Vec<f64> = (0..args.rounds).map(|_| ready(&site, args.files)).collect();
    later.sort_by(f64::total_cmp);
    let files = args.files;
    println!("| start to `/readyz`, {files} app files that no controller has seen | {first:.2} s | < 2 s |");
    let (median, slowest) = (later[later.len() / 2], later[later.len() - 1]);
    println!("| the same, of apps that are known: median of {} | {median:.2} s | < 2 s |", args.rounds);
    println!("| the slowest of them | {slowest:.2} s | |");
}

/// Starts a controller, lets it come to rest, and ends it; the seconds until it was ready.
fn ready(site: &Site, files: usize) -> f64 {
    let began = Instant::now();
    let mut controller = site.spawn();
    let socket = site.api_socket();
    comes("it is ready", || {
        std::thread::sleep(POLL);
        unix_get(&socket, "/readyz").is_some_and(|(status, _)| status == 200)
    });
    let took = began.elapsed().as_secs_f64();
    // Every file was tried once: nothing is left for the next start to do.
    let tried = "SELECT count(DISTINCT app_name) FROM deployments WHERE status = 'failed'";
    comes("every file was tried", || site.database().number(tried, &[]) >= count(files));
    let pid = i32::try_from(controller.id()).ok().and_then(rustix::process::Pid::from_raw);
    let told = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
    assert!(told.is_some_and(|told| told.is_ok()), "it can be told to end");
    let ended = controller.wait().expect("a child of ours");
    assert!(ended.success(), "it ended: {ended}");
    took
}

fn comes(what: &str, mut look: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < until, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(POLL);
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// User and system time of a process, in ticks of the clock.
fn ticks(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let fields: Vec<u32> = after.split_whitespace().skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
    fields.iter().sum()
}

fn mebibytes(pid: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    let status = status.expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("its memory");
    let kibibytes: u32 =
        line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse().expect("a number");
    f64::from(kibibytes) / 1_024.0
}
