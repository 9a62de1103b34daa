//! The Debian package on a fresh machine with systemd: installed, used, upgraded under load, killed, removed.

use dockswap_proof::kept;
use dockswap_tests::{AppFile, Load, Machine, Mix, free_port, holds, package};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);

/// The app's containers, removed at the end also when the test failed.
struct Swept<'a>(&'a Machine, &'a str);

impl Drop for Swept<'_> {
    fn drop(&mut self) {
        self.0.sweep(self.1);
    }
}

fn write(machine: &Machine, file: &str, text: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let local = dir.path().join("file");
    std::fs::write(&local, text).expect("a file");
    machine.copy(&local, file);
    machine.run(&format!("chmod 0644 {file} && chown root:root {file}"));
}

/// Where the machine's proxy listens: beside those of other tests.
fn listen_on(machine: &Machine, http: SocketAddr) {
    machine.run("mkdir -p /etc/systemd/system/dockswap.service.d");
    let overlay = format!(
        "[Service]\nEnvironment=DOCKSWAP_PROXY__HTTP={http} DOCKSWAP_PROXY__HTTPS=127.0.0.1:{}\n",
        free_port()
    );
    write(machine, "/etc/systemd/system/dockswap.service.d/ports.conf", &overlay);
}

fn is_ready(machine: &Machine) {
    holds("the controller is ready", PATIENCE, || {
        machine.shell("curl -fsS --unix-socket /var/lib/dockswap/api.sock http://x/readyz").code == 0
    });
}

fn pid(machine: &Machine, pattern: &str) -> String {
    machine.shell(&format!("pgrep -o -f '{pattern}'")).stdout.trim().to_owned()
}

#[test]
fn a_package_is_installed_used_upgraded_under_load_and_removed() {
    let Some(machine) = Machine::boot() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let deb = package(dir.path());
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    listen_on(&machine, http);
    machine.copy(&deb, "/root/dockswap.deb");

    // From nothing to an app that serves: what a person types.
    let app = format!("web-{}", std::process::id());
    let _swept = Swept(&machine, &app);
    machine.run("apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends /root/dockswap.deb");
    write(&machine, &format!("/etc/dockswap/apps/{app}.yaml"), &AppFile::new(&app).to_string());
    machine.run(&format!("dockswap deploy {app}"));
    let answer = machine.run(&format!("curl -fsS -H 'Host: {app}.localhost' http://{http}/"));
    assert!(answer.contains("v1"), "{answer}");
    assert!(machine.run("dockswap status").contains(&app));

    // As its unit says: ready, with manual pages and completions, and a proxy that is nobody in particular.
    assert_eq!(machine.run("systemctl is-active dockswap"), "active");
    assert_eq!(machine.run("systemctl is-enabled dockswap"), "enabled");
    machine.run("test -s /usr/share/man/man1/dockswap-rollback.1.gz && test -s /usr/share/bash-completion/completions/dockswap");
    let proxy = pid(&machine, "dockswap .*proxy");
    assert_eq!(machine.run(&format!("stat -c %U /proc/{proxy}")), "dockswap-proxy");
    machine.run("systemd-analyze verify --man=no /lib/systemd/system/dockswap.service /lib/systemd/system/dockswap-proxy.service");

    // Another build of it, under load: the same process, another proxy, no request lost.
    let controller = machine.run("systemctl show --property MainPID --value dockswap");
    let load = Load::start(http, &format!("{app}.localhost"), Mix::default());
    machine.run("dpkg -i /root/dockswap.deb");
    holds("another proxy has taken over", PATIENCE, || {
        let now = pid(&machine, "dockswap .*proxy .*--takeover");
        !now.is_empty() && now != proxy
    });
    is_ready(&machine);
    load.goes_on(200);
    assert_eq!(machine.run("systemctl show --property MainPID --value dockswap"), controller);

    // Killed, it is started again, and the proxy has served on.
    machine.run(&format!("kill -KILL {controller}"));
    holds("systemd has started another", PATIENCE, || {
        let now = machine.shell("systemctl show --property MainPID --value dockswap").stdout;
        !["0", controller.as_str(), ""].contains(&now.trim())
    });
    is_ready(&machine);
    load.goes_on(100);
    write(&machine, &format!("/etc/dockswap/apps/{app}.yaml"), &AppFile::new(&app).image("v2").to_string());
    machine.run(&format!("dockswap wait {app} --for stable --timeout 60s"));
    load.goes_on(100);
    load.stop().assert_unbroken();

    // Gone, it leaves what runs.
    machine.run("DEBIAN_FRONTEND=noninteractive apt-get remove -y -qq dockswap");
    assert_eq!(machine.shell("pgrep -x dockswap").code, 1, "neither controller nor proxy is left");
    assert!(!dockswap_tests::docker::running(&app).is_empty(), "the app runs on");
    assert!(machine.shell("test -s /var/lib/dockswap/dockswap.db").code == 0, "the records are left");
    machine.run("test -f /etc/dockswap/dockswap.yaml && test ! -e /usr/bin/dockswap");
    kept("ctl.upgrade", "another build installed as a package under load, on a machine with systemd");
}
