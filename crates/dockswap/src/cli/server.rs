//! A controller on another host: where it is, by whom its certificate must be, and the way there. It must not know what
//! is asked.

use super::exit::{CliError, Exit};
use http::Uri;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A controller's address, and how it is reached.
#[derive(Clone)]
pub(crate) struct Server {
    /// As it is told.
    url: String,
    /// What stands in `Host`.
    pub(crate) authority: String,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// A connection to a controller.
pub(crate) enum Line {
    Plain(TcpStream),
    Secured(Box<TlsStream<TcpStream>>),
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum LineError {
    /// Nobody answers.
    Unreachable(String),
    /// Somebody answers who is not believed to be the controller.
    Distrusted(String),
}

impl Server {
    /// The controller at `url`; `ca`: the file of the root certificates that its own must lead to, instead of those of
    /// the system.
    ///
    /// # Errors
    /// When that is no URL of a controller, or the roots cannot be read.
    pub(crate) fn at(url: &str, ca: Option<&Path>) -> Result<Self, CliError> {
        let wrong = |why: &str| {
            CliError::new(Exit::Usage, format!("--server: {url:?} is no address of a controller"))
                .because(why)
        };
        let uri: Uri = url.parse().map_err(|_| wrong("write https://HOST:PORT"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong("write https://HOST:PORT"));
        };
        if authority.as_str().contains('@') || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("write https://HOST:PORT, without a user, a path or a query"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match scheme {
            "https" => {
                let name = ServerName::try_from(host.clone()).map_err(|_| wrong("its host is no name"))?;
                Some((TlsConnector::from(Arc::new(trusting(ca)?)), name))
            }
            "http" if is_loopback(&host) => None,
            "http" => {
                return Err(wrong(
                    "the token would go over the network in plain text: write https://HOST:PORT",
                ));
            }
            _ => return Err(wrong("write https://HOST:PORT")),
        };
        let port = authority.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let authority = authority.as_str().to_owned();
        Ok(Self { url: format!("{scheme}://{authority}"), authority, host, port, tls })
    }

    /// Connects, and sees whether it is the controller.
    pub(crate) async fn connect(&self) -> Result<Line, LineError> {
        let unreachable = |error: io::Error| LineError::Unreachable(error.to_string());
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let Some((connector, name)) = &self.tls else { return Ok(Line::Plain(stream)) };
        let secured = connector.connect(name.clone(), stream).await.map_err(|error| self.explain(&error))?;
        Ok(Line::Secured(Box::new(secured)))
    }

    /// Why the handshake failed.
    fn explain(&self, error: &io::Error) -> LineError {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        let Some(cause) = cause else { return LineError::Unreachable(error.to_string()) };
        let told = match cause {
            // The latter: by somebody who calls himself as one who is trusted.
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => "its certificate is by nobody who is trusted here: give the root certificate by --ca FILE"
                .to_owned(),
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => {
                format!(
                    "its certificate is for other hosts than {}: ask it by a name that is in it",
                    self.host
                )
            }
            rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => "its certificate has expired: renew the files of api.tls on its host".to_owned(),
            rustls::Error::InvalidMessage(_) => {
                "it does not speak TLS there: is that the port of api.http, with api.tls?".to_owned()
            }
            other => other.to_string(),
        };
        LineError::Distrusted(told)
    }
}

/// Whether a host is this one.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What believes certificates that lead to the roots in `ca`, else to those of the system.
fn trusting(ca: Option<&Path>) -> Result<ClientConfig, CliError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let failed = |why: String| {
                CliError::new(Exit::Usage, format!("--ca: {} cannot be used", path.display())).because(why)
            };
            let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
            for root in CertificateDer::pem_slice_iter(&pem) {
                let root = root.map_err(|error| failed(error.to_string()))?;
                roots.add(root).map_err(|error| failed(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(failed("it holds no certificate in PEM".to_owned()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(CliError::new(
                    Exit::Failed,
                    "this system has no root certificates to judge a server by",
                )
                .next("install the package ca-certificates, or give the roots by --ca FILE"));
            }
        }
    }
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| CliError::new(Exit::Failed, error.to_string()))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::Server;

    #[test]
    fn plain_http_is_for_this_host_alone() {
        for url in ["http://localhost:9000", "http://127.0.0.1:9000/", "http://[::1]:9000"] {
            assert!(Server::at(url, None).is_ok(), "{url}");
        }
        for (url, told) in [
            ("http://deploy.example.com", "plain text"),
            ("http://localhost.example.com", "plain text"),
            ("https://me:secret@host", "without a user"),
            ("https://host/v1", "without a user, a path"),
            ("ftp://host", "write https"),
            ("host:9000", "write https"),
            ("", "write https"),
        ] {
            let error = Server::at(url, None).expect_err(url);
            assert_eq!(error.exit.code(), 2, "{url}");
            assert!(error.why.as_ref().is_some_and(|why| why.contains(told)), "{url}: {error}");
        }
    }

    #[test]
    fn roots_that_cannot_be_read_are_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ca.pem");
        let told = |text: &str| {
            std::fs::write(&file, text).expect("a file");
            Server::at("https://host", Some(&file)).expect_err("no roots").to_string()
        };
        assert!(told("").contains("it holds no certificate"));
        assert!(told("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").contains("ca.pem"));
    }
}
