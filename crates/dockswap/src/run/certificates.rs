//! The custodian of certificates, put together: what the apps want, where their files are, who holds the keys.

use super::Parts;
use crate::paths::Paths;
use async_trait::async_trait;
use dockswap_certs::{AcmeConfig, CertificateFiles, ChallengeKind, Custodian, CustodianConfig, Wanted};
use dockswap_config::{ChallengeKind as Asked, Settings, StoredFiles, Trust};
use dockswap_controller::Controller;
use std::sync::Arc;

/// Files, as far as app files may name them.
struct Named(StoredFiles, Trust);

#[async_trait]
impl CertificateFiles for Named {
    async fn read(&self, path: &str) -> Result<String, String> {
        self.0.certificate_file(path, self.1).await
    }
}

/// Starts looking after what the routes of `controller` want.
pub(crate) fn start(
    paths: &Paths,
    parts: &Parts,
    settings: &Settings,
    controller: Arc<Controller>,
) -> Custodian {
    // The proxy's own copy is where the proxy lives.
    let home = paths.proxy_keyfile().file_name().map(|name| paths.proxy_home().join(name));
    let copies = [Some(paths.proxy_keyfile()), home].into_iter().flatten();
    Custodian::start(CustodianConfig {
        wanted: Box::new(move || wanted(&controller)),
        files: Arc::new(Named(StoredFiles::new(paths.apps_dir(), parts.policy.clone()), settings.trust)),
        keyholder: parts.proxy.clone(),
        clock: parts.clock.clone(),
        acme: AcmeConfig {
            directory: settings.acme.directory.clone(),
            email: settings.acme.email.clone(),
            ca_file: settings.acme.ca_file.clone(),
            challenge: match settings.acme.challenge {
                Asked::Http01 => ChallengeKind::Http01,
                Asked::TlsAlpn01 => ChallengeKind::TlsAlpn01,
            },
            dir: paths.acme_dir(),
        },
        last: copies
            .map(|path| dockswap_proxy::last_keyring(&path))
            .find(|ring| !ring.tag.is_empty())
            .unwrap_or_default(),
    })
}

fn wanted(controller: &Controller) -> Vec<Wanted> {
    let routes = controller.secure_routes().into_iter();
    let mut wanted: Vec<Wanted> = routes
        .filter_map(|(app, route)| Some(Wanted { app, host: route.host, source: route.tls?.source }))
        .collect();
    wanted.sort();
    wanted.dedup();
    wanted
}
