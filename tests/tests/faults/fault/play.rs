//! The scripted Docker itself: dockswap cannot tell it from a real one.

use dockswap_tests::scripted::Call;
use dockswap_tests::{AppFile, Load, Mix, Site, assert_records_fit, assert_traffic_follows_switches};

#[test]
fn a_scripted_docker_plays_its_part() {
    let mut site = Site::scripted();
    site.run();
    let app = site.name("web");
    site.deployed(&AppFile::new(&app).version("one"));
    let load = Load::start(site.http(), &site.host_of(&app), Mix::default());
    for version in ["two", "three", "four"] {
        site.deployed(&AppFile::new(&app).version(version));
    }
    let _ = site.command(&["rollback", &app]).exits(0);
    load.goes_on(50);
    site.kill_controller();
    site.run();
    site.deployed(&AppFile::new(&app).version("five"));
    load.goes_on(50);
    let report = load.stop();
    report.assert_unbroken();
    assert_traffic_follows_switches(&site, &app, &report);
    assert_records_fit(&site, &app);
    assert!(site.docker().count(Call::ContainerCreate) >= 4);
    assert_eq!(site.docker().touched_strangers(), Vec::<String>::new());
}
