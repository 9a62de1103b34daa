//! A load of TLS connections for one request each, none of which resumes a session.

use anstream::println;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use serde_json::json;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Believes every certificate: what is measured is the other side.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Asks for `path` for as long as `time`, over so many connections at a time; says what came of it as JSON.
pub(crate) fn run(port: u16, path: &str, connections: usize, time: Duration) {
    let mut config = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (began, end) = (Instant::now(), Instant::now() + time);
    let outcomes: Vec<(Vec<u64>, u64)> = runtime.block_on(async {
        let each = |_| tokio::spawn(keep_asking(connector.clone(), port, request.clone(), end));
        let tasks: Vec<_> = (0..connections).map(each).collect();
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.expect("a task that does not panic"));
        }
        outcomes
    });
    let failed: u64 = outcomes.iter().map(|(_, failed)| failed).sum();
    let mut micros: Vec<u64> = outcomes.into_iter().flat_map(|(micros, _)| micros).collect();
    micros.sort_unstable();
    let at = |share: usize| micros.get(micros.len() * share / 100).copied().unwrap_or_default();
    let says = json!({
        "requests": micros.len(), "micros": began.elapsed().as_micros(),
        "p50": at(50), "p99": at(99), "failed": failed,
    });
    println!("{says}");
}

/// The times of the good answers in microseconds, and the number of the others.
async fn keep_asking(connector: TlsConnector, port: u16, request: String, end: Instant) -> (Vec<u64>, u64) {
    let (mut micros, mut failed) = (Vec::new(), 0);
    while Instant::now() < end {
        let began = Instant::now();
        match ask(&connector, port, &request).await {
            Ok(answer) if answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"ok\n") => {
                micros.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
            Ok(_) | Err(_) => failed += 1,
        }
    }
    (micros, failed)
}

async fn ask(connector: &TlsConnector, port: u16, request: &str) -> io::Result<Vec<u8>> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut stream = connector.connect(name, stream).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}
