//! A tiny web app in a `FROM scratch` image, for the demo, the tests and the benchmarks: a well
//! behaved HTTP/1.1 server whose misbehavior can be ordered by environment variables (see
//! `settings.rs`). It knows nothing of dockswap.

mod answers;
mod settings;
mod websocket;

use answers::{App, Stopping};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use settings::Settings;
use std::convert::Infallible;
use std::future;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let settings = match Settings::from_env() {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("demo-app: {problem}");
            return ExitCode::from(2);
        }
    };
    if let Some(lines) = &settings.print {
        println!("{lines}");
    }
    let (exit_after, exit_code) = (settings.exit_after, settings.exit_code);
    if exit_after == Some(Duration::ZERO) {
        return give_up(exit_code);
    }
    let stop = stop_signal(&settings);
    tokio::select! {
        served = serve(settings, stop) => match served {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("demo-app: {error}");
                ExitCode::FAILURE
            }
        },
        () = after(exit_after) => give_up(exit_code),
    }
}

fn give_up(code: u8) -> ExitCode {
    eprintln!("demo-app: cannot reach the database at db.internal:5432: connection refused");
    eprintln!("demo-app: giving up with exit code {code}");
    ExitCode::from(code)
}

async fn after(delay: Option<Duration>) {
    match delay {
        Some(delay) => tokio::time::sleep(delay).await,
        None => future::pending().await,
    }
}

/// Resolves when the app is asked to stop. The handlers are in place once this returns: process 1
/// of a container that has none is deaf to SIGTERM.
fn stop_signal(settings: &Settings) -> impl Future<Output = std::io::Result<()>> + use<> {
    let signals =
        signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    let ignores = settings.ignores_sigterm;
    async move {
        let (mut term, mut interrupt) = signals?;
        loop {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
            if ignores {
                println!("demo-app: ignoring the signal");
            } else {
                return Ok(());
            }
        }
    }
}

async fn serve(settings: Settings, stop: impl Future<Output = std::io::Result<()>>) -> std::io::Result<()> {
    tokio::pin!(stop);
    tokio::select! {
        () = tokio::time::sleep(settings.boot) => {}
        stopped = &mut stop => return stopped,
    }
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, settings.port))).await?;
    println!("demo-app {} listens on {}", settings.version, listener.local_addr()?);

    let (stopping, receiver) = watch::channel(Stopping::No);
    let app = Arc::new(App::new(settings, receiver));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            stopped = &mut stop => {
                stopped?;
                break;
            }
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, or a peer that is gone: the next one may do better.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Answers are small: waiting to fill a packet only costs time. A socket that is gone
        // already says so when it is read.
        let _ = stream.set_nodelay(true);
        tokio::spawn(converse(stream, Arc::clone(&app), stopping.subscribe()));
    }
    drop(listener);
    // The app's own receiver must not keep `closed` waiting: only open connections may.
    drop(app);
    stopping.send_replace(Stopping::Yes);
    stopping.closed().await;
    println!("demo-app: stopped, nothing left in flight");
    Ok(())
}

/// Serves one connection until the client leaves. Once the app stops: until what is in flight on it
/// is answered, with `Connection: close`.
async fn converse(stream: TcpStream, app: Arc<App>, mut stopping: watch::Receiver<Stopping>) {
    let service = service_fn(move |request| {
        let app = Arc::clone(&app);
        async move { Ok::<_, Infallible>(app.answer(request).await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    // A client that goes away in the middle is its own business: the result does not matter.
    tokio::select! {
        _ = &mut connection => return,
        () = answers::told_to_stop(&mut stopping) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
