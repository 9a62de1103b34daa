//! The demo app as a process: its environment, its signals, its exit code.

use demo_app::{InFlight, Settings, run};
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let settings = match Settings::read(std::env::vars()) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("demo-app: {problem}");
            return ExitCode::from(2);
        }
    };
    let signals = match stop_signals() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("demo-app: {error}");
            return ExitCode::FAILURE;
        }
    };
    let listen = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let code = run(settings, listen, signals, InFlight::default(), |line| println!("{line}")).await;
    ExitCode::from(code)
}

/// Every SIGTERM and SIGINT. The handlers are in place once this returns: process 1 of a container
/// that has none is deaf to SIGTERM.
fn stop_signals() -> std::io::Result<mpsc::Receiver<()>> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
            if sender.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
