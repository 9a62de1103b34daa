//! What runs in a container: the demo app, in a thread and a runtime of its own, so that killing it
//! closes everything it has open, as it does to a process.

use demo_app::{InFlight, Settings};
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// By itself, with this code.
    Exit(u8),
    /// By SIGKILL.
    Killed,
    /// By the kernel, for want of memory.
    OutOfMemory,
}

impl Death {
    pub(super) const fn code(self) -> i64 {
        match self {
            Self::Exit(code) => code as i64,
            Self::Killed | Self::OutOfMemory => 137,
        }
    }
}

/// A running container's process.
#[derive(Debug)]
pub(super) struct Process {
    signals: mpsc::Sender<()>,
    kill: Option<oneshot::Sender<Death>>,
    in_flight: InFlight,
}

impl Process {
    /// Starts it. `say` takes its lines, `end` is told how it ended, when nothing of it is left.
    pub(super) fn start(
        environment: Vec<(String, String)>,
        address: Ipv4Addr,
        say: impl Fn(&str) + Send + 'static,
        end: impl FnOnce(Death) + Send + 'static,
    ) -> Self {
        let (signals, received) = mpsc::channel(8);
        let (kill, killed) = oneshot::channel();
        let in_flight = InFlight::default();
        let counter = in_flight.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            let out_of_memory = environment.iter().find(|(name, _)| name == "OUT_OF_MEMORY_AFTER_MS");
            let out_of_memory = out_of_memory.and_then(|(_, ms)| ms.parse().ok()).map(Duration::from_millis);
            let death = runtime.block_on(async {
                let starved = async {
                    match out_of_memory {
                        Some(delay) => tokio::time::sleep(delay).await,
                        None => std::future::pending().await,
                    }
                };
                let settings = match Settings::read(environment) {
                    Ok(settings) => settings,
                    Err(problem) => {
                        say(&problem);
                        return Death::Exit(2);
                    }
                };
                tokio::select! {
                    biased;
                    death = killed => death.unwrap_or(Death::Killed),
                    () = starved => Death::OutOfMemory,
                    code = demo_app::run(settings, address.into(), received, counter, &say) => Death::Exit(code),
                }
            });
            // Closes every connection.
            drop(runtime);
            end(death);
        });
        Self { signals, kill: Some(kill), in_flight }
    }

    /// SIGTERM. One that finds it gone changes nothing.
    pub(super) fn terminate(&self) {
        let _ = self.signals.try_send(());
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self, death: Death) {
        if let Some(kill) = self.kill.take() {
            let _ = kill.send(death);
        }
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.count()
    }
}
