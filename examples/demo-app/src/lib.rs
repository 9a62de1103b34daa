//! A tiny web app in a `FROM scratch` image, for the demo, the tests and the benchmarks: a well
//! behaved HTTP/1.1 server whose misbehavior can be ordered by environment variables (see
//! `settings.rs`). It knows nothing of dockswap. As a library it runs inside another process, for a
//! Docker that is only played.

mod answers;
mod settings;
mod websocket;

pub use answers::InFlight;
pub use settings::Settings;

use answers::{App, Stopping};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// Runs the app until it ends: its exit code. It listens on `listen`; each message of `signals` is a
/// SIGTERM, each call of `say` a line that it writes. Dropping the future together with its runtime is
/// SIGKILL.
pub async fn run(
    settings: Settings,
    listen: IpAddr,
    mut signals: mpsc::Receiver<()>,
    in_flight: InFlight,
    say: impl Fn(&str),
) -> u8 {
    if let Some(lines) = &settings.print {
        say(lines);
    }
    let (exit_after, exit_code) = (settings.exit_after, settings.exit_code);
    let ignores_sigterm = settings.ignores_sigterm;
    let stop = async {
        while signals.recv().await.is_some() {
            if !ignores_sigterm {
                return;
            }
            say("demo-app: ignoring the signal");
        }
        future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = after(exit_after) => {
            say("demo-app: cannot reach the database at db.internal:5432: connection refused");
            say(&format!("demo-app: giving up with exit code {exit_code}"));
            exit_code
        }
        served = serve(settings, listen, stop, in_flight, &say) => match served {
            Ok(()) => 0,
            Err(error) => {
                say(&format!("demo-app: {error}"));
                1
            }
        },
    }
}

async fn after(delay: Option<Duration>) {
    match delay {
        Some(Duration::ZERO) => {}
        Some(delay) => tokio::time::sleep(delay).await,
        None => future::pending().await,
    }
}

async fn serve(
    settings: Settings,
    listen: IpAddr,
    stop: impl Future<Output = ()>,
    in_flight: InFlight,
    say: &impl Fn(&str),
) -> std::io::Result<()> {
    tokio::pin!(stop);
    tokio::select! {
        () = tokio::time::sleep(settings.boot) => {}
        () = &mut stop => return Ok(()),
    }
    let listener = TcpListener::bind(SocketAddr::from((listen, settings.port))).await?;
    say(&format!("demo-app {} listens on {}", settings.version, listener.local_addr()?));

    let (stopping, receiver) = watch::channel(Stopping::No);
    let app = Arc::new(App::new(settings, in_flight, receiver));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
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
    say("demo-app: stopped, nothing left in flight");
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
