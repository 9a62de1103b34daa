//! `h2load` as a client: the HTTP/1.1 and HTTP/2 of nghttp2, which is none of ours, while the route is switched.

use crate::support::Running;
use crate::upstreams::App;
use std::process::Stdio;
use tokio::process::Command;

const REQUESTS: u32 = 3_000;

/// Asks so many times over eight connections while the route goes back and forth between two apps; no request may fail.
async fn ask(how: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let (proxy, blue, green) =
        (Running::start(&dir).await, App::start("blue").await, App::start("green").await);
    proxy.lead_to([&blue.upstream]).await;
    let load = Command::new("h2load")
        .args(how)
        .args(["-t", "1", "-c", "8", "-n", &REQUESTS.to_string()])
        .arg(format!("http://{}/", proxy.addr))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("h2load (Debian has it in nghttp2-client)");
    let done = async { load.wait_with_output().await.unwrap() };
    tokio::pin!(done);
    let mut switches = 0;
    let done = loop {
        let next = if switches % 2 == 0 { &green } else { &blue };
        tokio::select! {
            done = &mut done => break done,
            () = proxy.lead_to([&next.upstream]) => switches += 1,
        }
    };
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let all_good = format!("{REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout");
    assert!(said.contains(&all_good) && said.contains(&format!("{REQUESTS} 2xx")), "{how:?}: {said}");
    assert!(switches > 1, "it was switched under load");
}

#[tokio::test]
async fn http1_loses_nothing_when_the_route_is_switched() {
    ask(&["--h1"]).await;
}

#[tokio::test]
async fn http2_with_prior_knowledge_loses_nothing_when_the_route_is_switched() {
    ask(&["-m", "10"]).await;
}
