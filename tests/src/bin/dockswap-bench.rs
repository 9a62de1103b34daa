//! From saving a file to the first answer of the new version, beside `docker run -d` and polling
//! until 200, for the same image on the same machine, interleaved; and from a rollback's command to the
//! first answer of the version before.

use anstream::println;
use clap::Parser;
use dockswap_tests::{AppFile, Kind, Micros, Site, docker, now, once};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Save to first answer, beside `docker run -d` and polling.
#[derive(Parser)]
struct Args {
    /// How often each is measured.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
}

/// How often the version wanted is asked for, in all three: seldom enough not to take the processor
/// from what is measured, which is asked for from the save on.
const POLL: Duration = Duration::from_millis(5);

fn main() {
    let args = Args::parse();
    let site = Site::start();
    site.clean_up_on_interrupt();
    let app = site.name("bench");
    let file = |number: usize| AppFile::new(&app).version(&format!("n{number}")).deployment("watch", "100ms");
    site.deployed(&file(0));
    // The first of each finds things cold: it is not counted.
    let rounds = (1..=args.rounds + 1).map(|number| {
        // In turns, so that neither always finds Docker busy with what the other has left.
        let (by_hand, swapped) = if number.is_multiple_of(2) {
            let by_hand = docker_run(&app, number);
            (by_hand, save(&site, &app, &file(number), number))
        } else {
            let swapped = save(&site, &app, &file(number), number);
            (docker_run(&app, number), swapped)
        };
        [by_hand, swapped, roll_back(&site, &app)]
    });
    let rounds: Vec<[Micros; 3]> = rounds.skip(1).collect();
    let [by_hand, swapped, back] =
        [0, 1, 2].map(|column| Spread::of(rounds.iter().map(|round| round[column]).collect()));
    println!("| from … to the first answer of the version wanted | median | fastest | slowest |");
    println!("|---|---:|---:|---:|");
    by_hand.row("`docker run -d`, polled until 200");
    swapped.row("saving the app's file, dockswap");
    back.row("`dockswap rollback`, the version before still warm");
    let ratio = milliseconds(swapped.median) / milliseconds(by_hand.median);
    println!();
    println!("ratio of the medians of {}: {ratio:.2} (target: at most 1.15)", args.rounds);
}

/// Saves a version of the app's file; the time until it answers.
fn save(site: &Site, app: &str, file: &AppFile, number: usize) -> Micros {
    let (version, host) = (format!("n{number}"), site.host_of(app));
    let began = now();
    site.save(file);
    let answered = first_answer(site.http(), &host, &version);
    site.settled(app);
    answered - began
}

/// Gives the traffic back to the first version; the time until it answers.
fn roll_back(site: &Site, app: &str) -> Micros {
    let began = now();
    let mut command = site.begin(&["rollback", app]);
    let answered = first_answer(site.http(), &site.host_of(app), "n0");
    let status = command.wait().expect("a child of ours");
    assert!(status.success(), "the rollback ended with {status}");
    site.settled(app);
    answered - began
}

/// Runs a container as a person would; the time until it answers.
fn docker_run(app: &str, number: usize) -> Micros {
    let (name, version) = (format!("{app}-by-hand-{number}"), format!("n{number}"));
    let variable = format!("VERSION={version}");
    let began = now();
    let run = ["run", "-d", "--name", &name, "--network", "dockswap", "-e", &variable, "dockswap-demo:v1"];
    docker::docker(&run);
    let running = now();
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = docker::docker(&["inspect", "--format", format, &name]);
    let address: SocketAddr = format!("{address}:8080").parse().expect("an address");
    let asked = now() - running;
    let answered = first_answer(address, "localhost", &version);
    docker::docker(&["rm", "-f", &name]);
    // Asking for the address is our need, not part of what is compared.
    answered - began - asked
}

fn first_answer(address: SocketAddr, host: &str, version: &str) -> Micros {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match once(address, host, Kind::OneShot) {
            Ok(sample) if sample.version == version => return sample.ended,
            _ => assert!(Instant::now() < deadline, "no answer of {version}"),
        }
        std::thread::sleep(POLL);
    }
}

struct Spread {
    median: Micros,
    fastest: Micros,
    slowest: Micros,
}

impl Spread {
    fn of(mut times: Vec<Micros>) -> Self {
        times.sort_unstable();
        let middle = times.len() / 2;
        // Of an even number the two in the middle; of an odd one both are the same.
        let median = Micros::midpoint(times[(times.len() - 1) / 2], times[middle]);
        Self { median, fastest: times[0], slowest: times[times.len() - 1] }
    }

    fn row(&self, name: &str) {
        let [median, fastest, slowest] = [self.median, self.fastest, self.slowest].map(milliseconds);
        println!("| {name} | {median:.0} ms | {fastest:.0} ms | {slowest:.0} ms |");
    }
}

fn milliseconds(micros: Micros) -> f64 {
    Duration::from_micros(micros.max(0).unsigned_abs()).as_secs_f64() * 1_000.0
}
