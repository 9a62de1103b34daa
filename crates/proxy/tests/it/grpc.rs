//! gRPC through the proxy as programs use it: a client and a server of the common implementation for Rust, with the
//! services that come with it. One answers once, one goes on answering, one is a conversation.

use crate::support::{Running, eventually, soon, upstream};
use dockswap_core::ports::Router;
use dockswap_core::routes::{InFlight, Upstream};
use dockswap_core::spec::Protocol;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::HealthReporter;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// The service that is asked after.
const SERVICE: &str = "shop.Orders";

/// A gRPC server.
struct App {
    upstream: Upstream,
    health: HealthReporter,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Drop for App {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl App {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Upstream { protocol: Protocol::H2c, ..upstream(listener.local_addr().unwrap()) };
        let (health, service) = tonic_health::server::health_reporter();
        health.set_service_status(SERVICE, tonic_health::ServingStatus::Serving).await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .unwrap();
        let server = Server::builder().add_service(service).add_service(reflection);
        let serving = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { upstream, health, serving }
    }
}

async fn channel(proxy: &Running) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", proxy.addr)).unwrap();
    soon(endpoint.timeout(Duration::from_secs(20)).connect()).await.unwrap()
}

async fn status(answers: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    soon(answers.message()).await.unwrap().expect("another answer").status()
}

fn asks(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn a_call_is_answered_and_an_error_keeps_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let (proxy, app) = (Running::start(&dir).await, App::start().await);
    proxy.lead_to([&app.upstream]).await;
    let mut client = HealthClient::new(channel(&proxy).await);
    let answer = soon(client.check(asks(SERVICE))).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    // Its status is in the head: there is no message that could have trailers.
    let error = soon(client.check(asks("nobody"))).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::NotFound, "service not registered"));
}

#[tokio::test]
async fn a_stream_outlives_a_switch_and_counts_as_a_call() {
    let dir = tempfile::tempdir().unwrap();
    let (proxy, old, new) = (Running::start(&dir).await, App::start().await, App::start().await);
    proxy.lead_to([&old.upstream]).await;
    let mut client = HealthClient::new(channel(&proxy).await);
    let mut answers = soon(client.watch(asks(SERVICE))).await.unwrap().into_inner();
    assert_eq!(status(&mut answers).await, ServingStatus::Serving);

    new.health.set_service_status(SERVICE, tonic_health::ServingStatus::NotServing).await;
    proxy.lead_to([&new.upstream]).await;
    // Who asks now asks the new one, over the same connection; who was being answered still is.
    let asked = soon(client.check(asks(SERVICE))).await.unwrap().into_inner();
    assert_eq!(asked.status(), ServingStatus::NotServing);
    old.health.set_service_status(SERVICE, tonic_health::ServingStatus::NotServing).await;
    assert_eq!(status(&mut answers).await, ServingStatus::NotServing);
    let in_flight = || async { proxy.control.status().await.unwrap().load.iter().sum::<InFlight>() };
    assert_eq!(in_flight().await, InFlight { calls: 1, ..InFlight::default() });
    drop(answers);
    eventually("nothing is in flight", || async { in_flight().await == InFlight::default() }).await;
}

#[tokio::test]
async fn a_conversation_takes_turns() {
    let dir = tempfile::tempdir().unwrap();
    let (proxy, app) = (Running::start(&dir).await, App::start().await);
    proxy.lead_to([&app.upstream]).await;
    let mut client = ServerReflectionClient::new(channel(&proxy).await);
    let (questions, asked) = mpsc::unbounded_channel();
    let answers = soon(client.server_reflection_info(UnboundedReceiverStream::new(asked))).await;
    let mut answers = answers.unwrap().into_inner();
    for question in [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("grpc.health.v1.Health".to_owned()),
        MessageRequest::FileContainingSymbol("nobody".to_owned()),
    ] {
        let wants_list = matches!(question, MessageRequest::ListServices(_));
        questions
            .send(ServerReflectionRequest { host: String::new(), message_request: Some(question) })
            .unwrap();
        match soon(answers.message()).await {
            Ok(Some(answer)) => match answer.message_response.unwrap() {
                MessageResponse::ListServicesResponse(list) => {
                    assert!(wants_list);
                    assert!(list.service.iter().any(|one| one.name == "grpc.health.v1.Health"));
                }
                MessageResponse::FileDescriptorResponse(file) => {
                    assert!(!wants_list && !file.file_descriptor_proto.is_empty());
                }
                other => panic!("{other:?}"),
            },
            // The server ends the conversation with an error, after it has answered.
            Err(error) => assert_eq!(error.code(), Code::NotFound),
            Ok(None) => panic!("the conversation ended"),
        }
    }
}
