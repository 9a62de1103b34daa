//! After a kill: what the records say, what Docker shows and what traffic saw, and whether these three are
//! one story. It knows nothing of where the controller died.

use crate::host::Strangers;
use crate::tally::Breach;
use dockswap_tests::{Kind, Micros, Report, Site, Story, once, within};
use std::time::Duration;

/// How long what nobody needs any more may take until it is gone.
const CLEAN_UP: Duration = Duration::from_secs(40);

/// What is judged of every app that is settled, in traffic or not.
pub(crate) fn settled(
    site: &Site,
    strangers: &Strangers,
    app: &str,
    story: &Story,
    since: Micros,
) -> Vec<Breach> {
    let mut breaches: Vec<Breach> = Vec::new();
    breaches.extend(story.contradictions(&site.database()).iter().map(|what| Breach::of("P5", what)));
    breaches.extend(serves_by_its_records(site, app, story).map(|what| Breach::of("P5", what)));
    let stops = strangers.stops(app, since);
    breaches.extend(story.stops_too_early(&stops).iter().map(|what| Breach::of("P4", what)));
    breaches.extend(left_over(site, app, story).map(|what| Breach::of("P10", what)));
    breaches.extend(strangers.touched().iter().map(|what| Breach::of("P10", what)));
    breaches
}

/// What is judged of the traffic on an app that was to serve all the time.
pub(crate) fn traffic(story: &Story, seen: &Report) -> Vec<Breach> {
    let lost = (!seen.failures.is_empty()).then(|| Breach::of("P17", seen));
    let early = story.answers_before_the_gate(&seen.samples);
    let stale = story.answers_after_the_switch(&seen.samples);
    let early = early.iter().map(|what| Breach::of("P1", what));
    lost.into_iter().chain(early).chain(stale.iter().map(|what| Breach::of("P2", what))).collect()
}

/// `None`: what answers is what the records say, in the color that they say.
fn serves_by_its_records(site: &Site, app: &str, story: &Story) -> Option<String> {
    let answer = once(site.http(), &site.host_of(app), Kind::OneShot);
    let color = site.database().text("SELECT active_color FROM current_state WHERE app_name = ?1", &[app]);
    let (Some(version), Some(color)) = (story.serves(), color) else {
        return answer.ok().map(|answer| format!("{app} serves nothing by its records, and {answer:?} came"));
    };
    let answer = match answer {
        Ok(answer) if answer.version == version => answer,
        other => return Some(format!("{app} serves {version} by its events, and {other:?} came")),
    };
    let running = site.running(app);
    let server = running.iter().find(|container| container.id.starts_with(&answer.container));
    let fits = server.is_some_and(|server| server.color == color);
    (!fits).then(|| format!("{app} serves from {color} by its records, and {answer:?} came from {server:?}"))
}

/// `None`: of the containers that the app has none is too many, and none too few.
fn left_over(site: &Site, app: &str, story: &Story) -> Option<String> {
    let kept = story.kept();
    let fits = || {
        let there: Vec<i64> = site.containers(app).iter().map(|container| container.deployment).collect();
        let live_runs = kept.first().is_none_or(|live| there.contains(live));
        let once_each = there.iter().all(|one| there.iter().filter(|other| *other == one).count() == 1);
        live_runs && once_each && there.iter().all(|deployment| kept.contains(deployment))
    };
    let clean = within(CLEAN_UP, || fits().then_some(()));
    clean
        .is_none()
        .then(|| format!("{app} needs the deployments {kept:?}, and has {:?}", site.containers(app)))
}
