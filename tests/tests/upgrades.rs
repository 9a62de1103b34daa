//! New versions of dockswap itself, under load: of the proxy alone, by hand, and of everything.

use dockswap_proof::{Proof, kept};
use dockswap_tests::{AppFile, Load, Mix, Site, WebSocket, assert_records_fit, docker, holds, until};
use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for the end of proxies that have nothing left to carry.
fn end_by_themselves(proxies: Vec<Child>) {
    for mut proxy in proxies {
        let status = until("a proxy that was replaced has ended", PATIENCE, || {
            proxy.try_wait().expect("a child of ours")
        });
        assert!(status.success(), "{status}");
    }
}

#[test]
fn fifty_proxies_follow_each_other_under_load_with_a_hundred_websockets_open() {
    const TAKEOVERS: usize = 50;
    const SOCKETS: usize = 100;
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).deployment("watch", "0s").deployment("rollback_window", "0s"));
    let open = || WebSocket::open(site.http(), &site.host_of(&app), "/ws");
    let mut sockets: Vec<WebSocket> = (0..SOCKETS).map(|_| open()).collect();
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    let mut proxies = Vec::new();
    let mut proof =
        Proof::of("P18", "a proxy takes over under load with 100 WebSockets open, on real Docker");
    for round in 1..=TAKEOVERS {
        proxies.push(site.take_over_proxy());
        load.goes_on(10);
        // Some go and some come, so that every proxy has its own.
        for old in sockets.drain(..2) {
            old.close();
        }
        sockets.extend([open(), open()]);
        for socket in &mut sockets {
            assert_eq!(socket.echo("still there?"), "still there?", "after {round} takeovers");
        }
        proof.kept();
    }
    // What they carry counts: the old color goes when the last of them is closed.
    let old = docker::running(&app).remove(0);
    site.save(&AppFile::new(&app).image("v2").deployment("drain_timeout", "5m").deployment("watch", "0s"));
    site.reaches(&app, "draining");
    load.goes_on(50);
    assert!(docker::running(&app).iter().any(|container| container.id == old.id), "it is drained first");
    for mut socket in sockets {
        assert_eq!(socket.echo("still there?"), "still there?", "in the drain");
        socket.close();
    }
    assert_eq!(site.settled(&app), "stable");
    load.stop().assert_unbroken();
    proof.conclude();
    assert_records_fit(&site, &app);
    let last = proxies.pop().expect("the one that serves");
    end_by_themselves(proxies);
    assert_eq!(site.proxy_pid(), Some(last.id()));
    drop(site);
    let _ended = last.wait_with_output();
}

#[test]
fn a_new_build_takes_the_place_of_controller_and_proxy_and_nobody_notices() {
    let mut site = Site::prepare();
    let program = site.home().join("dockswap");
    let install = || {
        // Another file in its place, as package managers do.
        let fresh = program.with_extension("new");
        std::fs::copy(dockswap_tests::dockswap(), &fresh).expect("a copy of the program");
        std::fs::rename(&fresh, &program).expect("the program in its place");
    };
    install();
    let manager = site.home().join("notify.sock");
    let told = UnixDatagram::bind(&manager).expect("a socket of a service manager");
    told.set_nonblocking(true).expect("a socket");
    let hears = || {
        let mut words = String::new();
        let mut buffer = [0; 4096];
        while let Ok(count) = told.recv(&mut buffer) {
            words.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        words
    };
    site = site.program(program.clone()).variable("NOTIFY_SOCKET", &manager.display().to_string());
    site.run();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app));
    let mut socket = WebSocket::open(site.http(), &site.host_of(&app), "/ws");
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    for _ in 0..3 {
        let (controller, proxy) = (site.controller_pid(), site.proxy_pid());
        install();
        site.tell_controller(Signal::USR2);
        holds("another proxy has taken over", PATIENCE, || {
            let now = site.proxy_pid();
            now.is_some() && now != proxy
        });
        site.is_ready();
        assert_eq!(site.controller_pid(), controller, "a service manager sees the same process");
        assert_eq!(socket.echo("still there?"), "still there?");
        load.goes_on(50);
    }
    site.deployed(&AppFile::new(&app).image("v2"));
    load.goes_on(50);

    // A program that does not run is not gone on as.
    let proxy = site.proxy_pid();
    std::fs::remove_file(&program).expect("the program");
    std::fs::write(&program, "no program").expect("a file");
    site.tell_controller(Signal::USR2);
    holds("the log says why", PATIENCE, || site.log().contains("this program goes on"));
    site.is_ready();
    assert_eq!(site.proxy_pid(), proxy);
    std::fs::remove_file(&program).expect("the file");
    install();
    socket.close();
    load.stop().assert_unbroken();
    assert_records_fit(&site, &app);
    // One that hears of an end makes an end of what goes on.
    let words = hears();
    assert!(words.contains("READY=1") && !words.contains("STOPPING=1"), "{words}");
    assert!(site.end_controller(Signal::TERM).success());
    assert!(hears().contains("STOPPING=1"));
    assert_eq!(site.proxy_pid(), None, "what a controller started ends with it, whichever that is");
    kept("ctl.upgrade", "SIGUSR2 after another build was installed, under load, real Docker");
}

#[test]
fn a_proxy_that_hangs_in_its_last_connections_does_not_hold_up_a_switch() {
    let site = Site::start();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app));
    let socket = WebSocket::open(site.http(), &site.host_of(&app), "/ws");
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    let old = site.proxy_pid().expect("a proxy");
    let new = site.take_over_proxy();
    load.goes_on(50);
    // It can neither finish nor learn where requests go now.
    dockswap_tests::send(old, Signal::STOP);
    site.deployed(&AppFile::new(&app).image("v2"));
    load.goes_on(50);
    socket.end();
    load.stop().assert_unbroken();
    assert_records_fit(&site, &app);
    assert_eq!(site.proxy_pid(), Some(new.id()));
    drop(site);
    let _ended = new.wait_with_output();
    kept("P18", "the proxy before hangs with a WebSocket open when a switch comes, real Docker");
}

#[test]
fn a_proxy_is_served_by_the_sockets_of_a_service_manager() {
    let site = Site::prepare();
    let listener = std::net::TcpListener::bind(site.http()).expect("a free port");
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).expect("a descriptor to be inherited");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&listener);
    // As sd_listen_fds(3) has it: from descriptor 3 on, for this very process.
    let script = format!("exec 3<&{fd}; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"");
    let mut proxy = Command::new("bash")
        .args(["-c", &script, "bash"])
        .arg(dockswap_tests::dockswap())
        .arg("--config-dir")
        .arg(site.config_dir())
        .arg("--data-dir")
        .arg(site.data_dir())
        .args(["proxy", "--http", &site.http().to_string()])
        .stdin(Stdio::null())
        .spawn()
        .expect("bash");
    // Whoever connects before it is up waits, and is not refused.
    let mut early = std::net::TcpStream::connect(site.http()).expect("the socket is open");
    drop(listener);
    std::io::Write::write_all(&mut early, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut early, &mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    dockswap_tests::send(proxy.id(), Signal::TERM);
    assert!(proxy.wait().expect("a child of ours").success());
}
