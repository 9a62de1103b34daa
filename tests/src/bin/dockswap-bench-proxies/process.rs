//! A process on one core: started, watched, ended with this one whatever happens. Knows nothing of proxies.

use rustix::thread::{CpuSet, sched_setaffinity};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The core of what is measured, and that of the load and of the upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Core {
    Measured,
    Load,
}

impl Core {
    const fn number(self) -> usize {
        match self {
            Self::Measured => 0,
            Self::Load => 1,
        }
    }
}

/// Keeps the thread that calls it on one core.
pub(crate) fn pin(core: Core) {
    let mut cores = CpuSet::new();
    cores.set(core.number());
    sched_setaffinity(None, &cores).expect("a core of this machine");
}

/// `program` on one core. The kernel ends it when this process dies, however it dies.
pub(crate) fn pinned(core: Core, program: impl AsRef<Path>) -> Command {
    let core = core.number().to_string();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "--cpu-list", &core]).arg(program.as_ref());
    command.stdin(Stdio::null());
    command
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, its output in `log`, and waits until `address` accepts.
    pub(crate) fn start(mut command: Command, log: PathBuf, address: SocketAddr) -> Self {
        let output = File::create(&log).expect("a log file");
        command.stdout(output.try_clone().expect("a second handle")).stderr(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut process = Self { child, log };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            let ended = process.child.try_wait().expect("a child of ours");
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{command:?} does not serve {address}: {ended:?}\n{}",
                process.said()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        process
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The processor time that it took so far, user and system, of all its threads.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        // The name may hold blanks; what counts comes after it: utime is field 14, stime 15, from 1.
        let fields: Vec<&str> = stat[stat.rfind(')').expect("a name")..].split(' ').collect();
        let ticks: u64 = [12, 13].map(|index| fields[index].parse::<u64>().expect("ticks")).iter().sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    /// Its resident memory, in MiB.
    pub(crate) fn rss_mib(&self) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let kib: u32 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        f64::from(kib) / 1024.0
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.said()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
