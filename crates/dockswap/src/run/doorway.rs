//! Opening the API's TCP listener. What is served there is the API's business.

use crate::api::tcp::Doorway;
use crate::cli::holder_of;
use anyhow::{Context, Result};
use dockswap_certs::Presented;
use dockswap_config::ApiSettings;
use std::io::ErrorKind;
use tokio::net::TcpListener;

/// Settings that are well-formed and cannot be used: the user's to mend.
#[derive(Debug, thiserror::Error)]
#[error("api.tls cannot be used")]
pub(crate) struct UnfitCertificate(#[source] dockswap_certs::PresentError);

/// Listens where `settings` say; `None`: nowhere.
///
/// # Errors
/// When the port is taken (with by whom), or the certificate cannot be used ([`UnfitCertificate`]).
pub(crate) async fn open(settings: &ApiSettings) -> Result<Option<Doorway>> {
    let Some(address) = settings.http else { return Ok(None) };
    let certificate = match &settings.tls {
        Some(tls) => Some(Presented::open(&tls.cert, &tls.key).await.map_err(UnfitCertificate)?),
        None => None,
    };
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let taken = error.kind() == ErrorKind::AddrInUse;
        let holder = taken.then(|| holder_of(address.port())).flatten();
        let holder = holder.map(|holder| format!(": {holder} listens there; end it, or write another port"));
        anyhow::Error::new(error)
            .context(format!("api.http: cannot listen on {address}{}", holder.unwrap_or_default()))
    });
    let listener = listener.context("the API cannot be served over TCP")?;
    Ok(Some(Doorway { listener, certificate, hosts: settings.hosts.clone() }))
}
