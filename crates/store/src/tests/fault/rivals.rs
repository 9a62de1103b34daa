//! Two controllers on one database.

use crate::tests::cluster::Cluster;
use crate::tests::fixtures::{Place, holder};
use crate::{ConnectError, Holder, LeaseError, connect};
use dockswap_core::Timestamp;
use dockswap_proof::Proof;
use futures_util::future::join_all;

/// `count` others try at once, while the first one runs.
async fn ctl_two(place: &Place, count: u32, setting: &str) {
    let first = place.open().await;
    let mut promise = Proof::of("P12", setting);
    let mut fault = Proof::of("ctl.two", setting);
    let others = (0..count).map(|n| {
        let other = Holder { pid: 100 + n, host: "build-2".to_owned(), since: Timestamp::default() };
        async move { connect(&place.url, &other).await.map(drop) }
    });
    for refused in join_all(others).await {
        match refused {
            Err(ConnectError::Lease(LeaseError::Held { holder: named })) if named == holder().to_string() => {
                promise.kept();
                fault.kept();
            }
            other => {
                promise.broken(format!("{other:?}"));
                fault.broken(format!("{other:?}"));
            }
        }
    }
    first.check_writable().await.unwrap();
    first.close().await;
    place.open().await.close().await;
    promise.conclude();
    fault.conclude();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_two_on_sqlite() {
    ctl_two(&Place::sqlite(), 100, "a hundred at once on SQLite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctl_two_on_postgres() {
    let Some(cluster) = Cluster::start() else { return };
    let place = Place::postgres(&cluster, "rivals").await;
    ctl_two(&place, 20, "twenty at once on PostgreSQL").await;
}
