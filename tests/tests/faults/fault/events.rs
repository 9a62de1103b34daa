//! Events that are lost, doubled, late: they are hints, and nobody may need them.

use crate::stage::Stage;
use dockswap_proof::{Proof, long};
use dockswap_tests::holds;
use dockswap_tests::scripted::{Death, Flow};
use std::time::{Duration, Instant};

/// The longest until dockswap looks of itself, and what it may take on a busy machine.
const RELIST: Duration = Duration::from_secs(30);
const SLACK: Duration = Duration::from_secs(60);

/// What happens while the events are not to be trusted.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// A new version is deployed.
    Deploy,
    /// A new version is deployed, and ends at once.
    BadDeploy,
    /// A new version ends after it was switched to.
    Postcrash,
    /// Somebody removes what serves.
    Removed,
}

const CHANGES: [Change; 4] = [Change::Deploy, Change::BadDeploy, Change::Postcrash, Change::Removed];

#[test]
fn dck_evgap() {
    let mut proof = Proof::of("dck.evgap", "scripted Docker, events lost, doubled, out of order, cut off");
    let mut flows =
        vec![Some(Flow::Silent), Some(Flow::Gaps), Some(Flow::Doubled), Some(Flow::Reordered), None];
    flows = flows.repeat(if long() { 10 } else { 1 });
    // The flow is the whole Docker's: each has its own.
    let stages: Vec<Stage> = std::thread::scope(|scope| {
        let plays: Vec<_> = flows
            .iter()
            .enumerate()
            .map(|(index, flow)| scope.spawn(move || play(&format!("dck.evgap-{index}"), *flow)))
            .collect();
        let join = |play: std::thread::ScopedJoinHandle<'_, Stage>| {
            play.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        plays.into_iter().map(join).collect()
    });
    for stage in stages {
        stage.promises.conclude();
        proof.kept_times(CHANGES.len() as u64);
    }
    proof.conclude();
}

fn play(row: &str, flow: Option<Flow>) -> Stage {
    let mut stage = Stage::set(row);
    stage.play(&CHANGES, |actor, change| {
        let app = actor.app.clone();
        match flow {
            Some(flow) => actor.docker.tells(flow),
            None => actor.docker.cuts_events(),
        }
        let began = Instant::now();
        match change {
            Change::Deploy => {
                let (status, _) = actor.deploys(&actor.file().version("new"));
                assert_eq!(status, "success", "{flow:?}: {}", actor.site.events(&app));
                actor.leaves().waited("a deploy", began.elapsed(), SLACK)
            }
            Change::BadDeploy => {
                let (status, _) = actor.deploys(&actor.file().image("exits"));
                assert_eq!(status, "failed", "{flow:?}: {}", actor.site.events(&app));
                actor.leaves().untouched().waited("an exit to be noticed", began.elapsed(), SLACK)
            }
            Change::Postcrash => {
                actor.site.save(&actor.file().version("new").deployment("watch", "60s"));
                actor.site.reaches(&app, "watching");
                let new = actor.site.running(&app).into_iter().find(|found| !actor.old.contains(found));
                actor.docker.dies(&new.expect("the new container").id, Death::Exit(1));
                actor.site.settled(&app);
                let (_, status) = actor.site.database().newest(&app).expect("a deployment");
                assert_eq!(status, "rolled_back", "{flow:?}: {}", actor.site.events(&app));
                actor.leaves_broken().untouched().waited("a crash to be noticed", began.elapsed(), SLACK)
            }
            Change::Removed => {
                actor.docker.vanishes(&actor.old[0].id);
                holds(&format!("{flow:?}: it is made to run again"), RELIST + SLACK, || {
                    !actor.docker.running(&app).is_empty()
                });
                actor.leaves_broken().waited("a removal to be noticed", began.elapsed(), RELIST + SLACK)
            }
        }
    });
    stage
}
