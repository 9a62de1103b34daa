//! Listeners of a route's own: opened and closed as tables come and go.

use crate::support::{Running, Wire, any_host, app, free_port, host};
use crate::upstreams::App;
use dockswap_core::ports::{Router, RouterError};
use dockswap_core::routes::AppRoutes;
use dockswap_core::spec::Route;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

fn on_port(name: &str, port: u16, to: &App) -> AppRoutes {
    app(name, vec![Route { listen_port: Some(port), ..any_host() }], [&to.upstream])
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[tokio::test]
async fn a_listener_opens_with_its_route_and_closes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (one, two) = (App::start("one").await, App::start("two").await);
    let port = free_port().await;
    for _ in 0..3 {
        proxy.apply(vec![on_port("one", port, &one)]).await.unwrap();
        let mut wire = Wire::connect(local(port)).await;
        assert_eq!(wire.get("/").await.text(), "one");
        assert_eq!(
            proxy.connect().await.get("/").await.status(),
            404,
            "the route is on its own listener only"
        );
        assert_eq!(proxy.control.status().await.unwrap().listeners, [proxy.addr, local(port)]);

        proxy.apply(vec![on_port("two", port, &two)]).await.unwrap();
        assert_eq!(wire.get("/").await.text(), "two", "the listener stayed, and its connections");

        proxy.apply(vec![]).await.unwrap();
        assert!(TcpStream::connect(local(port)).await.is_err(), "nobody listens any more");
        assert_eq!(wire.rest().await, b"", "idle connections are closed");
    }
}

#[tokio::test]
async fn the_common_port_as_listen_port_is_the_common_listener() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let one = App::start("one").await;
    proxy.apply(vec![on_port("one", proxy.addr.port(), &one)]).await.unwrap();
    assert_eq!(proxy.connect().await.get("/").await.text(), "one");
    assert_eq!(proxy.control.status().await.unwrap().listeners, [proxy.addr]);
}

#[tokio::test]
async fn scar_p01_a_new_listener_that_cannot_open_refuses_its_table_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Running::start(&dir).await;
    let (well, new) = (App::start("well").await, App::start("new").await);
    let serving = app("well", vec![host("well")], [&well.upstream]);
    proxy.apply(vec![serving.clone()]).await.unwrap();
    let before = proxy.control.status().await.unwrap().table;

    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (taken_port, port) = (taken.local_addr().unwrap().port(), free_port().await);
    let refused =
        proxy.apply(vec![on_port("a", port, &new), on_port("new", taken_port, &new), serving.clone()]).await;
    let Err(RouterError::Refused { message }) = refused else { panic!("{refused:?}") };
    assert!(message.contains(&local(taken_port).to_string()) && message.contains("app new"), "{message}");
    assert!(message.contains("in use"), "{message}");
    assert_eq!(proxy.control.status().await.unwrap().table, before);
    assert!(TcpStream::connect(local(port)).await.is_err());
    assert_eq!(proxy.connect().await.get_from("well", "/").await.text(), "well");

    // Without the one that cannot be, the rest is served.
    proxy.apply(vec![on_port("a", port, &new), serving]).await.unwrap();
    assert_eq!(Wire::connect(local(port)).await.get("/").await.text(), "new");
    dockswap_proof::kept("scar-P01", "proxy alone, a table with a listener that cannot be opened");
}
